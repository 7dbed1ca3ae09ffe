"""The rows of every ablation, over a small base and the paper's."""

from collections import Counter

import pytest

from jobs.sweep.config import SweepConfig
from jobs.sweep.cost import cost
from jobs.sweep.plan import Planned, planned, units
from jobs.sweep.published import TABLES
from jobs.sweep.rows import ABLATIONS
from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig
from trainer.model.sizes import SIZES

PROBE = {"train": "labelled", "test": "labelled", "epochs": 1}
SIDES = {"aim-demo": 64, "aim-small": 112, "aim-600m": 224}
TOKENS = {"tokenizer": "dvae.pt", "tokenizer_size": 128, "vocabulary": 8192}


def config(tmp_path, model: str = "aim-demo", **changes) -> SweepConfig:
    fields = {
        "sweep": str(tmp_path / "sweep"),
        "sources": {"target": "target", "web": "web"},
        "train": {
            "model": model,
            "stream": {"batch": 16, "lanes": 4, "image_size": SIDES.get(model, 64)},
            "steps": 10,
        },
        "probe": PROBE,
    }
    return SweepConfig.model_validate(fields | changes)


def rows(tmp_path, name: str, model: str = "aim-demo", **changes) -> dict[str, Planned]:
    return {row.row.name: row for row in planned(name, config(tmp_path, model, **changes), {})}


@pytest.mark.parametrize("model", ["aim-demo", "aim-600m"])
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_row_is_a_training_and_is_in_the_papers_table(tmp_path, name, model):
    found = rows(tmp_path, name, model, discrete=TOKENS)
    assert list(found) == list(TABLES[name])
    run = [row for row in found.values() if not row.row.missing]
    assert len(run) >= len(found) - (model == "aim-demo" and name == "head-depth")
    for row in run:
        assert [unit.seed for unit in row.units] == [0, 1, 2]
        assert all(isinstance(unit.config, TrainConfig) for unit in row.units)
        assert cost(row.config, config(tmp_path).discrete).parameters > 0


def test_of_the_papers_base_the_rows_have_the_papers_sizes(tmp_path):
    deep, wide = (
        rows(tmp_path, "trunk-shape", "aim-600m")[n].config.shape for n in ("deep", "wide")
    )
    assert (deep, wide) == (SIZES["aim-600m-deep"], SIZES["aim-600m"])
    widths = [
        row.config.shape.head_width for row in rows(tmp_path, "head-width", "aim-600m").values()
    ]
    depths = [
        row.config.shape.head_depth for row in rows(tmp_path, "head-depth", "aim-600m").values()
    ]
    assert (widths, depths) == ([512, 1024, 2048], [6, 8, 12])


@pytest.mark.parametrize("model", ["aim-demo", "aim-small", "aim-600m"])
def test_the_deep_trunk_is_deeper_narrower_and_about_as_large(tmp_path, model):
    found = rows(tmp_path, "trunk-shape", model)
    deep, wide = found["deep"].config.shape, found["wide"].config.shape
    assert deep.depth > wide.depth
    assert deep.embed_dim < wide.embed_dim
    size = [shape.depth * shape.embed_dim**2 for shape in (deep, wide)]
    assert 0.9 < size[0] / size[1] < 1.1


def test_attention_trains_two_models_a_seed_and_probes_each_twice(tmp_path):
    found = rows(tmp_path, "attention")
    todo = units(found.values())
    assert len(todo) == 2 * 3
    assert all(len(unit.probes) == 2 for unit in todo)
    seen = Counter(probe.fields["attention"] for unit in todo for probe in unit.probes)
    assert seen == {"causal": 6, "bidirectional": 6}
    assert len({probe.run for unit in todo for probe in unit.probes}) == 12


def test_a_row_that_is_the_base_is_one_training_in_all_ablations(tmp_path):
    default = {
        "target": "pixels-norm",
        "crop-scale": "0.4",
        "attention": "prefix-bidirectional",
        "head": "mlp",
        "trunk-shape": "wide",
        "head-width": "whole",
        "head-depth": "whole",
        "objective": "ar",
        "data-mix": "target",
    }
    folders = {rows(tmp_path, name)[row].units[0].folder for name, row in default.items()}
    assert len(folders) == 1
    pairs = {"attention": "causal-causal", "order": "raster"}
    one, other = (rows(tmp_path, name)[row].units[0] for name, row in pairs.items())
    assert one.folder == other.folder
    assert one.probes == other.probes


def test_no_two_rows_of_an_ablation_are_the_same_but_for_attention(tmp_path):
    for name in ABLATIONS:
        found = rows(tmp_path, name, "aim-600m", discrete=TOKENS)
        folders = {row.units[0].folder for row in found.values()}
        assert len(folders) == (2 if name == "attention" else len(found))


def test_a_seed_changes_weights_stream_and_probe_and_shares_the_rest(tmp_path):
    first, second, _ = rows(tmp_path, "head")["mlp"].units
    assert (second.config.seed, second.config.stream.seed) == (1, 1)
    assert second.probes[0].fields["seed"] == second.probes[0].fields["stream"]["seed"] == 1
    assert first.folder.rpartition("/")[0] == second.folder.rpartition("/")[0]


def test_what_changes_no_weight_begins_no_new_training(tmp_path):
    base = config(tmp_path).model_dump(mode="json", exclude_unset=True)

    def folder(**changes) -> str:
        train = base["train"] | changes
        return rows(tmp_path, "head", train=train)["mlp"].units[0].folder

    assert folder(log_every=3, checkpoint_every=7) == folder()
    stream = base["train"]["stream"]
    assert folder(stream=stream | {"threads": 7}) == folder()
    assert folder(stream=stream | {"batch": 32}) != folder()
    assert folder(steps=11) != folder()
    assert folder(threads=2) != folder()


def test_a_row_that_lacks_something_says_what_to_name(tmp_path):
    tokens = rows(tmp_path, "target")["tokens"]
    assert tokens.units == ()
    assert "discrete.tokenizer" in tokens.row.missing
    assert "objective.target.tokenizer" in tokens.row.missing
    mix = rows(tmp_path, "data-mix", sources={"target": "target"})["mix"]
    assert mix.row.missing == "name sources.web"
    same = rows(tmp_path, "head-depth")["two-thirds"]
    assert "that of another row" in same.row.missing


def test_a_base_that_a_row_cannot_be_made_of_is_told_by_the_rows_name(tmp_path):
    train = config(tmp_path).train.written | {"objective": {"prefixes": "independent"}}
    found = rows(tmp_path, "objective", train=train)  # masked rows take no prefixes
    assert found["masked-75"].config.objective.mask_ratio == 0.75
    shape = SIZES["aim-demo"].model_dump() | {"head_width": 100}
    with pytest.raises(HeadraceError, match="the row transformer of head cannot be made of it: "):
        rows(tmp_path, "head", train=train | {"model": shape})


def test_an_unknown_ablation_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(HeadraceError, match="heads: no ablation of that name; there are data-mix"):
        rows(tmp_path, "heads")
