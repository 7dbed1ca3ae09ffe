"""Losses by place, against one image after the other and against the validation of a run."""

import numpy as np
import pytest
import torch

from pipeline.format.shards import of_snapshot
from tests.trainer.objective import dense
from trainer.model.aim import AIM
from trainer.model.orders import order
from trainer.model.sizes import ModelConfig
from trainer.objective import fixed, masks, prefixes
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective
from trainer.perposition import losses, places
from trainer.pixels import normalise
from trainer.stream.ordered import ordered
from trainer.stream.source import Source
from trainer.validation import Validation

CPU = torch.device("cpu")
SHAPE = ModelConfig(
    image_size=12, patch_size=3, embed_dim=16, depth=2, num_heads=2, head_width=8, head_depth=1
)
K = SHAPE.num_patches
KINDS = {
    "raster": {},
    "spiral": {"order": "spiral"},
    "causal": {"attention": "causal"},
    "masked": {"kind": "masked", "mask_ratio": 0.75},
}


@pytest.fixture(params=KINDS)
def objective(request):
    return Objective(ObjectiveConfig(**KINDS[request.param]), SHAPE, 0)


@pytest.fixture
def model(objective):
    config = objective.config
    model = AIM(SHAPE, objective.outputs, config.order, mask_token=config.kind == "masked")
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


@pytest.fixture
def source(web):
    return Source("validation", of_snapshot(web))


def found(source, model, objective, batch=10):
    """(23, forms, places)."""
    parts = []
    for first in range(0, 23, batch):
        whole = next(ordered(source, 12, 23))
        some = slice(first, first + batch)
        images = normalise(whole.images[some], CPU)
        parts.append(losses(model, objective, images, whole.samples[some]))
    return torch.cat(parts)


@torch.no_grad()
def literal(source, model, objective):
    """The same, from every position's prediction of one image after the other."""
    rows = []
    for image in next(ordered(source, 12, 23)).images:
        sample, x = np.array([len(rows)]), normalise(image[None], CPU)
        truth = dense.normalised(x, 3)[0]
        if objective.config.kind == "masked":
            mask = masks.chosen(fixed.SEED, 0, sample, np.array([0]), K, objective.masked_patches)
            shown = torch.from_numpy(mask)
            error = (model(x, torch.tensor([K]), None, shown)[0] - truth).square().mean(-1)
            rows.append(torch.where(shown[0], error, torch.nan)[None])
            continue
        truth, row = truth[order(objective.config.order, SHAPE.grid_size)], []
        drawn = prefixes.independent(fixed.SEED, 0, sample, np.array([0]), K)
        for prefix in (1, int(drawn[0])):
            predicted = model(x, torch.tensor([prefix]))[0, :-1]
            error = (predicted - truth[1:]).square().mean(-1)
            row.append(torch.where(torch.arange(1, K) >= prefix, error, torch.nan))
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("batch", [1, 10, 23])
def test_each_loss_is_that_of_its_own_image_and_place(source, model, objective, batch):
    forms = len(fixed.forms(objective))
    got = found(source, model, objective, batch)
    assert got.shape == (23, forms, places(objective))
    torch.testing.assert_close(
        got, literal(source, model, objective), rtol=1e-4, atol=1e-6, equal_nan=True
    )


def test_their_means_are_the_validation_losses_of_a_run(world, source, model, objective):
    told = Validation(source, world, objective, 7, 12).losses(model, lambda: None)
    rows = found(source, model.eval(), objective).double()
    for number, (name, mean) in enumerate(told.means.items()):
        assert rows[:, number].nanmean().item() == pytest.approx(mean, rel=1e-6), name


def test_causal_asks_every_place_and_masked_the_same_number_of_each_image(source, model, objective):
    counts = (~found(source, model, objective).isnan()).sum(dim=2)
    if objective.config.kind == "masked":
        assert (counts == objective.masked_patches).all()
    else:
        assert (counts[:, 0] == K - 1).all()
        assert counts[:, 1].unique().numel() > 3
