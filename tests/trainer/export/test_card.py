import ast
import re

from tests.trainer.export.foreign import CONFIG
from tests.trainer.export.test_record import LOG, STATE
from trainer.export.card import card, name_of
from trainer.export.record import Record, training_of
from trainer.model.aim import AIM, count_parameters
from trainer.model.sizes import SIZES

MIXTURE = {"mixture": "s3://bucket/plus.json"}


def written(**changes) -> str:
    fields = {"headrace": "1.2", "model": CONFIG, "outputs": 192}
    sizes = {n: p.numel() for n, p in AIM(CONFIG).named_parameters()}
    return card(Record(**fields | changes), sizes)


def code_of(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_it_tells_what_the_model_is_with_its_parameters():
    counts = count_parameters(CONFIG)
    text = written()
    assert "# AIM of width 32 and 7 blocks" in text
    assert f"{counts.backbone:,}: patch embedding {counts.patch_embed:,}" in text
    assert f"mlp, {counts.pixel_head:,} parameters" in text
    assert "| LayerNorm epsilon | 1e-05 |" in text


def test_it_tells_data_steps_and_losses_of_a_trained_one():
    text = written(training=training_of(STATE, MIXTURE, LOG))
    assert "8 of 20 steps; 52 images" in text
    assert "Mixture: `s3://bucket/plus.json`" in text
    assert "Objective: order spiral, target pixels." in text
    assert "| `web` | 80.00% | 100 | 52 | `w0` |" in text
    assert "| validation loss at step 8 |" in text
    assert "| causal | 0.700000 |" in text
    assert "from step 4 of a run that was fed `aa`" in text


def test_an_imported_one_tells_whose_names_it_had_and_that_a_license_goes_with_it():
    text = written(origin="ml-aim")
    assert "Apple's release (apple/ml-aim); their license goes with them" in text
    assert "## Training" not in text


def test_a_named_size_is_named_whatever_its_head_and_epsilon():
    for name, size in SIZES.items():
        assert name_of(size.model_copy(update={"norm_eps": 1e-6, "head_depth": 1})) == name


def test_its_code_is_python_with_the_models_sizes():
    ours, theirs = code_of(written())
    ast.parse(ours)
    ast.parse(theirs)
    arguments = "img_size=32, patch_size=8, embed_dim=32, num_blocks=7, num_heads=2)"
    assert f"_aim({arguments}" in theirs


def test_apples_code_is_told_the_epsilon_that_is_not_its_own():
    assert "module.eps = 1e-05  # theirs is 1e-06" in written()
    theirs = written(model=CONFIG.model_copy(update={"norm_eps": 1e-6}))
    assert "module.eps" not in theirs


def test_apples_probe_is_told_of_fewer_than_six_blocks():
    assert "probe_layers" not in written()
    assert "probe_layers=4" in written(model=CONFIG.model_copy(update={"depth": 4}))


def test_an_order_that_apples_code_does_not_have_is_told():
    assert "Patches were read in spiral order" in written(order="spiral")
    assert "Patches were read" not in written()
