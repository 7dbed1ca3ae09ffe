import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.export.reference import code
from trainer.export.positions import patches_of

OURS = code(32, 4)


def swapped(positions: torch.Tensor) -> torch.Tensor:
    """Rows first, as a known port has it."""
    return torch.cat([positions[:, 16:], positions[:, :16]], dim=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_our_code_is_known_in_any_precision_and_tells_the_patches(dtype):
    positions = {"preprocessor.pos_embed": OURS.to(dtype)[None]}
    assert patches_of("w.pth", positions) == 16


def test_without_a_code_nothing_is_known():
    assert patches_of("w.pth", {}) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swapped_halves_are_refused(dtype):
    positions = {"preprocessor.pos_embed": swapped(OURS).to(dtype)[None]}
    with pytest.raises(HeadraceError, match=r"w\.pth: preprocessor\.pos_embed .* rows and columns"):
        patches_of("w.pth", positions)


def test_a_learned_code_is_refused():
    positions = {"preprocessor.pos_embed": OURS[None] + 0.02 * torch.arange(16)[:, None]}
    with pytest.raises(HeadraceError, match="learned positions cannot be read"):
        patches_of("w.pth", positions)


@pytest.mark.parametrize(
    "code_", [torch.zeros(1, 17, 32), torch.zeros(1, 16, 30), torch.zeros(32), torch.zeros(0, 32)]
)
def test_a_code_of_no_square_grid_is_refused(code_):
    with pytest.raises(HeadraceError, match="square grid"):
        patches_of("w.pth", {"preprocessor.pos_embed": code_})


def test_codes_of_two_grids_are_refused():
    positions = {"preprocessor.pos_embed": OURS, "pixel_head.decoder_pos_embed": code(32, 3)}
    with pytest.raises(HeadraceError, match=r"\[9, 16\] patches at once"):
        patches_of("w.pth", positions)
