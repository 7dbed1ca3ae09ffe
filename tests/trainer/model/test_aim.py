import pytest
import torch

from tests.trainer.model import literal
from tests.trainer.model.literal import CONFIG, K, change_cell, random_images, tiny_model
from trainer.model.aim import AIM
from trainer.model.attending.choose import prepare
from trainer.model.orders import ORDERS, order
from trainer.model.sizes import ModelConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"head_block": "official", "norm_eps": 1e-5},
        {"head_block": "plain", "norm_eps": 1e-6},
        {"head_kind": "transformer", "order": "spiral"},
        {"head_kind": "none", "order": "random_fixed", "outputs": 10},
        {"order": "checkerboard"},
    ],
    ids=str,
)
def test_forward_is_the_specification_written_again_in_float64(changes):
    model = tiny_model(**changes)
    weights, images = model.state_dict(), random_images(2)
    prefix = torch.tensor([1, 6])
    cells = order(changes.get("order", "raster"), 4).tolist()
    features, predictions = model.features(images, prefix), model(images, prefix)
    for b in range(2):
        S = int(prefix[b])
        expected = literal.trunk(images[b], S, weights, model.config, cells)
        torch.testing.assert_close(features[b], expected, rtol=1e-10, atol=1e-10)
        expected = literal.head(expected, S, weights, model.config, cells)
        torch.testing.assert_close(predictions[b], expected, rtol=1e-10, atol=1e-10)


def test_masking_is_the_specification_written_again_in_float64():
    model = tiny_model(mask_token=True, order="spiral")
    images, full = random_images(1), torch.tensor([K])
    masked = torch.zeros(1, K, dtype=torch.bool)
    masked[0, [0, 5, 11]] = True
    features = model.features(images, full, masked)
    cells, weights = order("spiral", 4).tolist(), model.state_dict()
    expected = literal.trunk(images[0], K, weights, model.config, cells, hidden=[0, 5, 11])
    torch.testing.assert_close(features[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("prefix", [1, 7, K - 1])
def test_no_prediction_before_a_patch_outside_the_prefix_depends_on_it(prefix):
    model, images = tiny_model(), random_images(1)
    S = torch.tensor([prefix])
    before = model(images, S)
    for patch in range(prefix, K):
        after = model(change_cell(images, patch), S)
        changed = (after != before).any(dim=-1)[0].tolist()
        assert changed == [i >= patch for i in range(K)], patch


@pytest.mark.parametrize("kind", ["mlp", "transformer", "none"])
@pytest.mark.parametrize("name", ORDERS)
def test_in_every_order_nothing_before_a_cell_depends_on_it(name, kind):
    model, images = tiny_model(order=name, head_kind=kind), random_images(1)
    causal = torch.tensor([1])
    before = model(images, causal)
    for place, cell in enumerate(order(name, 4).tolist()):
        after = model(change_cell(images, cell), causal)
        changed = (after != before).any(dim=-1)[0].tolist()
        assert changed == [i >= place for i in range(K)], place


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_permutes_the_tokens_after_their_position_code_and_those_of_the_head(name):
    plain, images = tiny_model(), random_images(2)
    prefix, cells = torch.tensor([1, 5]), order(name, 4)
    seen = prepare("mask", prefix, K)
    features = plain.trunk(plain.preprocessor(images)[:, cells], seen)
    by_cell = features[:, cells.argsort()]
    expected = plain.pixel_head(by_cell, seen)[:, cells]
    torch.testing.assert_close(tiny_model(order=name)(images, prefix), expected)


def test_every_position_sees_the_whole_prefix():
    model, images = tiny_model(), random_images(1)
    S = torch.tensor([5])
    before = model(images, S)
    for patch in range(5):
        after = model(change_cell(images, patch), S)
        assert (after != before).any(dim=-1).all(), patch


def test_each_image_has_its_own_prefix_length():
    model, images = tiny_model(), random_images(3)
    prefix = torch.tensor([1, 8, K - 1])
    together = model(images, prefix)
    for b in range(3):
        alone = model(images[b : b + 1], prefix[b : b + 1])[0]
        other = model(images[b : b + 1], prefix[b : b + 1] % (K - 1) + 1)[0]
        torch.testing.assert_close(together[b], alone)
        assert not torch.allclose(together[b], other)


def test_pixels_under_the_mask_change_nothing_and_all_others_change_every_prediction():
    model, images = tiny_model(mask_token=True, order="spiral"), random_images(1)
    full = torch.tensor([K])
    masked = torch.rand(1, K, generator=torch.Generator().manual_seed(3)) < 0.5
    before = model(images, full, masked=masked)
    for place, cell in enumerate(order("spiral", 4).tolist()):
        after = model(change_cell(images, cell), full, masked=masked)
        changed = (after != before).any(dim=-1)
        assert changed.all() if not masked[0, place] else not changed.any(), place


def test_a_model_takes_its_outputs_from_the_config_or_from_the_call():
    images, causal = random_images(2, torch.float32), torch.tensor([1, 1])
    assert AIM(CONFIG)(images, causal).shape == (2, K, 27)
    assert AIM(CONFIG, outputs=5)(images, causal).shape == (2, K, 5)


def default_names():
    norms = {"weight", "bias"}
    names = {f"preprocessor.patchifier.{part}.{w}" for part in ("proj", "norm") for w in norms}
    names |= {f"trunk.post_trunk_norm.{w}" for w in norms}
    for i in range(2):
        block = f"trunk.blocks.{i}"
        names |= {f"{block}.{norm}.{w}" for norm in ("norm_1", "norm_2") for w in norms}
        linears = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        names |= {f"{block}.{linear}.weight" for linear in linears}
        block = f"pixel_head.decoder_blocks.{i}"
        names |= {f"{block}.{norm}.{w}" for norm in ("norm_1", "norm_2") for w in norms}
        names |= {f"{block}.mlp.fc1.weight", f"{block}.mlp.fc2.weight"}
    head = ("decoder_projection", "decoder_norm", "decoder_pred")
    return names | {f"pixel_head.{part}.{w}" for part in head for w in norms}


def test_state_dict_keys_are_those_of_the_released_weights_and_the_training_codes_head():
    assert set(AIM(CONFIG).state_dict()) == default_names()


def test_an_order_has_no_weights_and_a_mask_token_is_one_more():
    assert set(AIM(CONFIG, order="spiral").state_dict()) == default_names()
    one_more = {"preprocessor.mask_token"}
    assert set(AIM(CONFIG, mask_token=True).state_dict()) == default_names() | one_more


def test_blocks_are_those_of_the_trunk_and_then_of_the_head():
    model = AIM(CONFIG)
    names = {module: name for name, module in model.named_modules()}
    assert [names[block] for block in model.blocks()] == [
        "trunk.blocks.0",
        "trunk.blocks.1",
        "pixel_head.decoder_blocks.0",
        "pixel_head.decoder_blocks.1",
    ]


@pytest.mark.parametrize("kernel", ["mask", "causal_overwrite"])
def test_the_kernel_that_was_set_does_the_attention_of_trunk_and_head(kernel, monkeypatch):
    model, images = tiny_model(head_kind="transformer"), random_images(2)
    prefix = torch.tensor([1, 6])
    expected = model(images, prefix)
    asked = []

    def watched(kernel, *rest):
        asked.append(kernel)
        return prepare(kernel, *rest)

    monkeypatch.setattr("trainer.model.aim.prepare", watched)
    model.kernel = kernel
    torch.testing.assert_close(model(images, prefix), expected)
    assert asked == [kernel], "prepared once a forward"


def saved_bytes_and_gradients(model, half, images, prefix, rows):
    saved = []

    def pack(tensor):
        saved.append(tensor.nbytes)
        return tensor

    model.requires_grad_(True)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = model(images, prefix, rows).square().mean()
    return sum(saved), torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_recomputed_blocks_keep_less_and_have_the_same_gradients_to_the_bit(kind, half):
    model = tiny_model(torch.float32, head_kind=kind)
    batch = random_images(2, torch.float32), torch.tensor([1, 6]), torch.tensor([3, 9, 20, 31])
    whole, expected = saved_bytes_and_gradients(model, half, *batch)
    for block in model.blocks():
        block.recompute = True
    kept, gradients = saved_bytes_and_gradients(model, half, *batch)
    assert kept < whole / 4
    assert all(map(torch.equal, gradients, expected))


@pytest.fixture
def nothing_compiled():
    """What torch compiled stays with our functions, and other shapes would make it general."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_blocks_compile_whole_and_keep_their_names(backend):
    model = tiny_model(torch.float32, head_kind="transformer", depth=1, head_depth=1)
    model.requires_grad_(True)
    names = list(model.state_dict())
    batch = random_images(2, torch.float32), torch.tensor([1, 6])
    expected = model(*batch)
    for block in model.blocks():
        block.recompute = True
        block.compile(fullgraph=True, backend=backend)
    predictions = model(*batch)
    torch.testing.assert_close(predictions, expected)
    ours, theirs = (
        torch.autograd.grad(y.square().mean(), list(model.parameters()))
        for y in (predictions, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert list(model.state_dict()) == names


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_blocks_of_trunk_and_head_compile_once_each_for_sizes_that_do_not_vary(kind):
    model, graphs = tiny_model(torch.float32, head_kind=kind), []

    def backend(graph, inputs):
        graphs.append([size for size in inputs if isinstance(size, torch.SymInt)])
        return graph

    for block in model.blocks():
        block.compile(fullgraph=True, backend=backend)
    for rows in (torch.tensor([3, 9, 20]), torch.tensor([2, 8, 30])):
        model(random_images(2, torch.float32), torch.tensor([1, 6]), rows)
    assert graphs == [[], []]


def test_half_precision_gives_float32_predictions_and_float32_norms():
    model, images, S = (
        tiny_model(torch.bfloat16),
        random_images(2, torch.bfloat16),
        torch.tensor([1, 4]),
    )
    assert model(images, S).dtype == torch.float32
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(2)).bfloat16()
    norm_1 = model.trunk.blocks[0].norm_1
    wide = torch.nn.functional.layer_norm(
        x.float(), (16,), norm_1.weight.float(), norm_1.bias.float(), norm_1.eps
    )
    assert torch.equal(norm_1(x), wide.bfloat16())


@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_every_norm_has_the_epsilon_of_the_config(eps):
    config = ModelConfig(**CONFIG.model_dump() | {"norm_eps": eps})
    norms = [m for m in AIM(config).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * 2 + 2 * 2 + 3
    assert {norm.eps for norm in norms} == {eps}
    assert CONFIG.norm_eps == 1e-5, "the training code's"


IMAGES, PREFIX = torch.zeros(2, 3, 12, 12), torch.ones(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3, 12, 9), PREFIX), "images must be"),
        ((torch.zeros(2, 1, 12, 12), PREFIX), "images must be"),
        ((IMAGES, torch.ones(1)), "prefix must be"),
        ((IMAGES, torch.tensor(1)), "prefix must be"),
        ((IMAGES, PREFIX, torch.zeros(2, 2)), "rows must be"),
        ((IMAGES, PREFIX, None, torch.zeros(2, K - 1)), "masked must be"),
        ((IMAGES, PREFIX, None, torch.zeros(2, K).bool()), "without a mask token"),
    ],
)
def test_wrong_shapes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AIM(CONFIG)(*arguments)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="no order 'zigzag'; choose one of raster"):
        AIM(CONFIG, order="zigzag")
