"""`headrace train` and `headrace mix` as commands, and the recipes they ship with."""

import shutil
from pathlib import Path

import open_clip
import pytest
import yaml

from jobs import curate, mix
from jobs.config import CurateConfig, MixConfig, load
from jobs.judging.config import EvaluateConfig
from jobs.scaling.config import ScalingConfig
from jobs.sweep.config import SweepConfig
from pipeline.fetch.config import FetchConfig
from pipeline.format import retired
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import read_mixture
from pipeline.format.snapshot import read_snapshot
from trainer import metrics
from trainer.config import TrainConfig
from trainer.contrastive.config import FilterConfig

KINDS = {
    "aim": TrainConfig,
    "curate": CurateConfig,
    "fetch": FetchConfig,
    "filter": FilterConfig,
    "filter-evaluate": EvaluateConfig,
    "mix": MixConfig,
    "scaling": ScalingConfig,
    "sweep": SweepConfig,
}
RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, demo_data) -> str:
    folder = str(tmp_path_factory.mktemp("val") / "dataset")
    sources = [{"url": str(demo_data / "target" / "val-*.tar")}]
    curate.run(CurateConfig(dataset=folder, sources=sources), workers=1)
    return folder


def mixture(path: Path, dataset: str, **ratios: float) -> MixConfig:
    sources = [{"name": n, "snapshot": dataset, "ratio": r} for n, r in ratios.items()]
    return MixConfig(mixture=str(path), sources=sources)


def test_a_mixture_pins_snapshots_and_is_published_once(tmp_path, dataset):
    url = tmp_path / "mixture.json"
    published = mix.run(mixture(url, dataset, web=0.8, target=0.2))
    assert read_mixture(str(url)) == published
    assert [(s.name, s.weight, s.samples) for s in published.sources] == [
        ("web", 4, 100),
        ("target", 1, 100),
    ]
    assert all("/snapshots/" in source.snapshot for source in published.sources)
    assert mix.run(mixture(url, dataset, web=0.8, target=0.2)) == published
    with pytest.raises(HeadraceError, match="holds another mixture"):
        mix.run(mixture(url, dataset, web=0.5, target=0.5))


def test_a_retired_snapshot_is_not_mixed(tmp_path, dataset):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    retired.retire(read_snapshot(str(copy)).url, "00ff")
    with pytest.raises(retired.Retired, match="00ff is its successor"):
        mix.run(mixture(tmp_path / "mixture.json", str(copy), all=1))
    assert not (tmp_path / "mixture.json").exists()


def test_the_command_trains_and_forks_on_two_processes_and_says_how_far_it_is(
    tmp_path, dataset, headrace, headrace_here
):
    mix.run(mixture(tmp_path / "mixture.json", dataset, all=1))
    model = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
    fields = {
        "run": str(tmp_path / "run"),
        "mixture": str(tmp_path / "mixture.json"),
        "validation": dataset,
        "model": model | {"head_width": 32, "head_depth": 1},
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": 4,
        "log_every": 2,
    }
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(fields))
    done = headrace("train", config, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    assert "step 4/4" in done.stdout
    assert done.stderr.count("MB on each of 2 ranks: blocks") == 1
    steps = [line["step"] for line in metrics.read(tmp_path / "run" / "metrics.jsonl")]
    assert steps == [0, 2, 4, 4]
    config.write_text(yaml.safe_dump(fields | {"run": str(tmp_path / "fork"), "steps": 6}))
    done = headrace("train", config, "--nproc", "2", "--fork", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "step 6/6" in done.stdout
    steps = [line["step"] for line in metrics.read(tmp_path / "fork" / "metrics.jsonl")]
    assert steps == [4, 6, 6]
    done = headrace_here("stream", "verify", tmp_path / "run", tmp_path / "fork")
    assert done.returncode == 1
    assert f"equal until {tmp_path / 'fork'} ends, after 2 steps" in done.stdout
    assert f"parent.run: absent and {tmp_path / 'run'}" in done.stdout


def test_what_has_no_mixtures_name_is_refused_with_the_field_and_the_fix(tmp_path):
    fields = yaml.safe_load((RECIPES / "aim-600m.yaml").read_text())
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(fields | {"mixture": "/m/plus"}))
    with pytest.raises(HeadraceError, match=r"mixture: '/m/plus' does not end in \.json; name"):
        load(str(path), TrainConfig)


# Those of evaluations are no configs yet: tests/jobs/evaluation/test_recipes.py.
GOOD = [path for path in sorted(RECIPES.glob("*.yaml")) if not path.stem.startswith("eval-")]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_every_recipe_is_a_good_config(path):
    load(str(path), KINDS.get(path.stem) or KINDS[path.stem.partition("-")[0]])


def test_the_filters_recipes_have_the_papers_counts_and_begin_with_weights_that_are_known():
    dfn, public = (
        load(str(RECIPES / f"filter-{name}.yaml"), FilterConfig) for name in ("dfn", "public")
    )
    assert dfn.steps * dfn.stream.batch == 5_120_000_000
    assert dfn.steps * dfn.optimiser.warmup_fraction == pytest.approx(2000)
    assert public.steps * public.stream.batch == 1_280_000_000
    assert public.steps * public.optimiser.warmup_fraction == pytest.approx(500)
    tag = open_clip.get_pretrained_cfg(dfn.model, dfn.pretrained)
    assert tag["quick_gelu"]
    assert open_clip.get_model_config(dfn.model)["quick_gelu"]
