import numpy as np
import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.objective import dense
from trainer.model.aim import AIM
from trainer.model.orders import order
from trainer.model.sizes import ModelConfig
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective
from trainer.stream.plan import lanes_of_rank

SHAPE = ModelConfig(
    image_size=12, patch_size=3, embed_dim=16, depth=2, num_heads=2, head_width=8, head_depth=1
)
K, P = SHAPE.num_patches, SHAPE.patch_dim
LANES, DEPTH, STEP = 3, 4, 11
LANE, SLOT = np.repeat(np.arange(LANES), DEPTH), np.tile(np.arange(DEPTH), LANES)
B = LANES * DEPTH
KINDS = [
    {},
    {"prefixes": "independent"},
    {"attention": "causal"},
    {"kind": "masked"},
    {"kind": "masked", "mask_ratio": 0.75},
]


def objective(seed=5, shape=SHAPE, **fields):
    return Objective(ObjectiveConfig(**fields), shape, seed)


def random_tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = random_tensor(B, 3, 12, 12)


def tiny(chosen):
    config = chosen.config
    model = AIM(SHAPE, chosen.outputs, config.order, mask_token=config.kind == "masked").double()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    model.kernel = "mask"
    return model


def trained(chosen, model, parts):
    """Loss, and the gradients that adding up the parts' losses leaves."""
    counted, total = chosen.scored(STEP, LANE, SLOT), 0.0
    for part in parts:
        task = chosen.task(STEP, LANE[part], SLOT[part])
        predictions = model(IMAGES[part], task.prefix, task.rows, task.masked)
        loss = chosen.losses(predictions, IMAGES[part], task).sum() / counted
        loss.backward()
        total += loss.item()
    return total, [parameter.grad for parameter in model.parameters()]


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for gradient, reference in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["raster", "spiral", "random_fixed"])
@pytest.mark.parametrize(
    "fields", [{}, {"prefixes": "independent"}, {"attention": "causal"}, {"seed": 6}]
)
def test_scored_rows_have_the_loss_and_gradients_of_the_dense_masked_reference(kind, fields):
    chosen = objective(order=kind, **fields)
    prefix = chosen.task(STEP, LANE, SLOT).prefix
    reference = tiny(chosen)
    targets = dense.normalised(IMAGES, SHAPE.patch_size)[:, order(kind, SHAPE.grid_size)]
    loss = dense.next_patch_loss(reference(IMAGES, prefix), targets, prefix)
    loss.backward()
    expected = loss.item(), [parameter.grad for parameter in reference.parameters()]
    assert_same(trained(chosen, tiny(chosen), [np.arange(B)]), expected)


def test_the_masked_loss_is_that_of_the_masked_patches_alone():
    chosen, reference = objective(kind="masked"), tiny(objective(kind="masked"))
    task = chosen.task(STEP, LANE, SLOT)
    dense_predictions = reference(IMAGES, task.prefix, None, task.masked)
    errors = (dense_predictions - dense.normalised(IMAGES, SHAPE.patch_size)).square().mean(-1)
    loss = errors[task.masked].mean()
    loss.backward()
    expected = loss.item(), [parameter.grad for parameter in reference.parameters()]
    assert_same(trained(chosen, tiny(chosen), [np.arange(B)]), expected)


@pytest.mark.parametrize("fields", KINDS)
def test_any_split_of_a_step_has_the_same_loss_and_gradients(fields):
    chosen = objective(**fields)
    whole = trained(chosen, tiny(chosen), [np.arange(B)])
    halves = [np.flatnonzero(half == SLOT // 2) for half in range(2)]
    lanes = [np.flatnonzero(lane == LANE) for lane in range(LANES)]
    assert_same(trained(chosen, tiny(chosen), halves), whole)
    assert_same(trained(chosen, tiny(chosen), lanes), whole)


@pytest.mark.parametrize("fields", KINDS)
def test_scored_counts_the_predictions_of_a_task(fields):
    chosen = objective(**fields)
    for step in range(20):
        task = chosen.task(step, LANE, SLOT)
        counted = len(task.rows) if task.weights is None else int(task.weights.sum())
        assert chosen.scored(step, LANE, SLOT) == counted > 0


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, B // 2 * K),
        ({"attention": "causal"}, B * (K - 1)),
        ({"kind": "masked"}, B * K // 2),
        ({"kind": "masked", "mask_ratio": 0.75}, B * K * 3 // 4),
    ],
)
def test_every_step_has_the_same_shapes(fields, rows):
    chosen = objective(**fields)
    assert {len(chosen.task(step, LANE, SLOT).rows) for step in range(50)} == {rows}


def test_independent_prefixes_have_at_most_eight_shapes():
    chosen = objective(prefixes="independent")
    sizes = {len(chosen.task(step, LANE, SLOT).rows) for step in range(400)}
    assert 1 < len(sizes) <= 8


@pytest.mark.parametrize("fields", [fields for fields in KINDS if "attention" not in fields])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_get_the_questions_of_the_whole_batch_and_not_each_others(fields, ranks):
    """The official generator asks every rank the same."""
    chosen = objective(**fields)
    whole, begin, questions = chosen.task(STEP, LANE, SLOT), 0, set()
    for rank in range(ranks):
        mine = np.isin(LANE, lanes_of_rank(rank, ranks, LANES))
        task = chosen.task(STEP, LANE[mine], SLOT[mine])
        end = begin + len(task.prefix)
        assert torch.equal(task.prefix, whole.prefix[begin:end])
        if task.masked is not None:
            assert torch.equal(task.masked, whole.masked[begin:end])
        questions.add((tuple(task.prefix.tolist()), str(task.masked)))
        begin = end
    assert len(questions) == ranks


@pytest.mark.parametrize("fields", KINDS)
def test_other_seeds_and_steps_ask_otherwise(fields):
    def question(seed, step):
        task = objective(seed=seed, **fields).task(step, LANE, SLOT)
        return task.prefix.tolist(), str(task.masked)

    assert question(5, 0) == question(5, 0)
    random = fields.get("attention") != "causal"
    assert (question(5, 0) != question(6, 0)) == random
    assert (question(5, 0) != question(5, 1)) == random


def test_a_cut_pair_is_refused():
    with pytest.raises(ValueError, match="pair"):
        objective().task(0, LANE[:3], SLOT[:3])


def test_nothing_but_scored_rows_gets_a_gradient():
    chosen = objective(prefixes="independent")
    task = chosen.task(STEP, LANE, SLOT)
    predictions = random_tensor(len(task.rows), P).requires_grad_()
    chosen.losses(predictions, IMAGES, task).sum().backward()
    touched = (predictions.grad != 0).any(dim=1)
    assert torch.equal(touched, task.weights == 1)


def test_half_precision_predictions_have_a_float32_loss():
    chosen = objective()
    task = chosen.task(STEP, LANE, SLOT)
    predictions = random_tensor(len(task.rows), P).bfloat16()
    losses = chosen.losses(predictions, IMAGES.float(), task)
    assert (losses.dtype, losses.shape) == (torch.float32, (len(task.rows),))


@pytest.mark.parametrize("shape", [(B // 2 * K + 1, P), (B // 2 * K, P + 1), (B, K, P)])
def test_predictions_of_another_shape_are_refused(shape):
    chosen = objective()
    with pytest.raises(ValueError, match=r"predictions .* where \(96, 27\)"):
        chosen.losses(torch.zeros(shape), IMAGES, chosen.task(STEP, LANE, SLOT))


@pytest.mark.parametrize(("ratio", "masked"), [(0.01, 0), (0.99, 16)])
def test_a_mask_of_no_patch_or_of_all_is_refused(ratio, masked):
    with pytest.raises(HeadraceError, match=rf"mask_ratio {ratio} masks {masked} of 16 patches"):
        objective(kind="masked", mask_ratio=ratio)


def test_an_image_that_is_one_patch_is_refused():
    whole = SHAPE.model_copy(update={"patch_size": 12})
    with pytest.raises(HeadraceError, match="patch_size: an image of 1 patch"):
        objective(shape=whole)
