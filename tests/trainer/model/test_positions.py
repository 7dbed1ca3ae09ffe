import math

import torch

from trainer.model.orders import order
from trainer.model.positions import GridPosition, sincos_2d


def literal_code(width, column, row):
    """AIM.md 1.2: columns, then rows; sines, then cosines; 1 / 10000^(i / (D/4))."""
    angles = [
        [place / 10000 ** (i / (width / 4)) for i in range(width // 4)] for place in (column, row)
    ]
    return [f(angle) for half in angles for f in (math.sin, math.cos) for angle in half]


def test_the_code_is_the_papers_formula_for_every_cell_row_by_row():
    code = sincos_2d(width=24, grid_size=5)
    literal = [literal_code(24, column, row) for row in range(5) for column in range(5)]
    torch.testing.assert_close(code, torch.tensor(literal, dtype=torch.float64))


def test_the_first_half_tells_columns_and_the_second_rows():
    code = sincos_2d(width=16, grid_size=4).view(4, 4, 16)  # row, column
    assert (code[:, :, :8] == code[:1, :, :8]).all()  # no row changes it
    assert (code[:, :, 8:] == code[:, :1, 8:]).all()  # no column changes it
    assert len(code[0, :, :8].unique(dim=0)) == len(code[:, 0, 8:].unique(dim=0)) == 4


def test_the_code_is_not_in_the_state_dict_and_survives_the_meta_device():
    with torch.device("meta"):
        position = GridPosition(width=8, grid_size=3)
    position.to_empty(device="cpu").reset_buffers()
    assert not position.state_dict()
    expected = sincos_2d(8, 3).float()
    assert torch.equal(position(torch.zeros(2, 9, 8)), expected.expand(2, 9, 8))


def test_in_an_order_each_position_has_the_code_of_its_cell():
    position = GridPosition(width=8, grid_size=3, kind="spiral")
    expected = sincos_2d(8, 3).float()[order("spiral", 3)]
    assert torch.equal(position(torch.zeros(2, 9, 8)), expected.expand(2, 9, 8))


def test_rows_have_the_code_of_their_position_whatever_their_image():
    position = GridPosition(width=8, grid_size=3, kind="spiral")
    rows = torch.tensor([4, 0, 17, 9])
    expected = position(torch.zeros(2, 9, 8)).flatten(0, 1)[rows]
    assert torch.equal(position(torch.zeros(4, 8), rows), expected)
