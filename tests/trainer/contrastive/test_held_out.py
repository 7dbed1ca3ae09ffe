"""Held-out pairs during a training: the figures of the evaluation, on any number of ranks."""

import pytest
import torch

from pipeline.assess.auc import matched_auc
from pipeline.clip.opening import open_model
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from tests.trainer.contrastive.runs import here, train
from trainer import metrics
from trainer.contrastive import validation
from trainer.contrastive.export import export
from trainer.stream.augment import whole_view
from trainer.stream.ordered import held_out, ordered


def validated(lines: list[dict]) -> dict[int, dict[str, float]]:
    return {line["step"]: line["validation"] for line in lines if "validation" in line}


@pytest.fixture
def judged_config(filter_config, mixture) -> dict:
    return filter_config | {"validation": mixture.sources[0].snapshot, "validate_every": 12}


def test_a_filter_is_judged_at_the_start_at_each_turn_and_at_the_end(judged_config):
    found = validated(here(judged_config))
    assert list(found) == [0, 12, 24]
    assert all(
        set(one) == {"auc", "image_to_caption@1", "caption_to_image@1"} for one in found.values()
    )
    assert found[24]["auc"] > found[0]["auc"]  # it has learnt these very pairs


def test_the_figures_are_those_of_the_model_that_is_exported(judged_config, tmp_path):
    """Scored as scoring does it: open_clip's own preparation of whole images."""
    lines = here(judged_config)
    opened = open_model(export(judged_config["run"], str(tmp_path / "model")))
    source = held_out(judged_config["validation"], Patience())
    (batch,) = ordered(source, 32, len(source), view=whole_view)
    pictures = [opened.preprocess(image) for image in images(source)]
    with torch.no_grad():
        image = opened.clip.encode_image(torch.stack(pictures), normalize=True).numpy()
        caption = opened.clip.encode_text(opened.tokenizer(batch.captions), normalize=True).numpy()
    expected = matched_auc(image, caption, batch.captions, seed=0, rounds=1).value
    assert validated(lines)[24]["auc"] == pytest.approx(expected, abs=1e-3)


def images(source):
    from trainer.stream.decode import decode_record

    return [decode_record(record) for record in source.records(0, len(source))]


def test_judging_changes_nothing_that_is_learnt(judged_config):
    with_it = here(judged_config)
    without = here(judged_config | {"run": judged_config["run"] + "-2", "validation": None})
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (with_it, without)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_ranks_that_share_the_pairs_find_the_same(judged_config):
    alone = validated(here(judged_config | {"steps": 2}))
    run = train(judged_config | {"run": judged_config["run"] + "-2", "steps": 2}, ranks=2)
    shared = validated(metrics.read(run / "metrics.jsonl"))
    assert shared.keys() == alone.keys()
    assert shared[0] == pytest.approx(alone[0], abs=1e-6)


def test_a_set_that_is_too_large_is_refused_before_anything_is_trained(judged_config, monkeypatch):
    monkeypatch.setattr(validation, "MOST", 5)
    with pytest.raises(HeadraceError, match=r"validation: .* pairs; give 2 to 5"):
        here(judged_config)
