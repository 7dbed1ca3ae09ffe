"""What actors of a model take of a cluster, and that they score with the model that was named."""

import pytest
import ray
import torch

from jobs import capacity, facts, scores
from jobs.config import CurateConfig
from jobs.stages import StageConfig
from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure import image
from pipeline.measure.clip import ClipConfig, PairsConfig
from pipeline.measure.models.config import ModelConfig
from pipeline.pool.source import parts
from tests.pipeline.making import png, tar_part
from tests.pipeline.measure.test_clip_model import save_model

IMAGES = image.ImageConfig()
MARKS = {"image": image.fingerprint(IMAGES)}


@pytest.fixture(scope="module", autouse=True)
def cluster_with_gpus():
    """A Ray that believes in eight processors and two GPUs."""
    ray.init(
        address="local",
        num_cpus=8,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=10**8,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> CurateConfig:
    """A dataset of one part, of whose five images one is bad and all are measured."""
    folder = tmp_path_factory.mktemp("scores")
    members = {f"{n}.png": png(n) if n != 3 else b"bad" for n in range(5)}
    part = tar_part(folder / "0.tar", members)
    config = CurateConfig(dataset=str(folder / "dataset"), sources=[{"url": part.source}])
    facts.measure(config, parts(config.sources), MARKS["image"])
    return config


def scored(config: CurateConfig, family: str, model: scores.Model, mark: str | None = None):
    """What the ledger then holds of the part."""
    marks = MARKS | {family: mark or scores.fingerprint(family, model, IMAGES)}
    (part,) = parts(config.sources)
    scores.measure(config, family, model, [part], marks)
    names = ledger.PAIRS_SCHEMA.names
    return ledger.read_part(config.dataset_url, {family: marks[family]}, part.name, names)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ClipConfig(model="m", device="cuda"), (2, {"num_gpus": 1, "num_cpus": 4})),
        (ModelConfig(kind="opennsfw", device="cuda"), (2, {"num_gpus": 1, "num_cpus": 4})),
        (ClipConfig(model="m", threads=3), (2, {"num_cpus": 3})),
        (ClipConfig(model="m", threads=9), (1, {"num_cpus": 8})),
    ],
)
def test_actors_share_what_the_cluster_has(model, expected):
    needs = scores.options("clip", model, StageConfig())
    room = capacity.room(needs)
    assert (room, needs) == expected
    ready = ray.remote(lambda: 1).options(**needs)
    assert ray.get([ready.remote() for _ in range(room)], timeout=60) == [1] * room


def test_a_cluster_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(capacity, "gpus", lambda: 0)
    with pytest.raises(HeadraceError, match="is to run on cuda, and this Ray has no GPU"):
        scores.options("clip", ClipConfig(model="m", device="cuda"), StageConfig())


def test_both_embeddings_of_a_filter_are_published(config, tmp_path):
    table = scored(config, "pairs", PairsConfig(model=save_model(tmp_path / "model")))
    assert table.schema == ledger.PAIRS_SCHEMA
    for column in table.columns:
        assert [value is None for value in column.to_pylist()] == [n == 3 for n in range(5)]


def test_a_worker_that_holds_another_filter_is_refused(config, tmp_path):
    model = ClipConfig(model=save_model(tmp_path / "model"))
    named = scores.fingerprint("clip", model, IMAGES)
    (tmp_path / "model").rename(tmp_path / "old")
    save_model(tmp_path / "model", seed=1)
    with pytest.raises(HeadraceError, match=r"clip: the machine .* holds another model"):
        scored(config, "clip", model, named)


@pytest.mark.slow
def test_a_worker_that_holds_another_network_of_ones_own_is_refused(config, tmp_path):
    file = tmp_path / "network.pt"
    model = ModelConfig(kind="torchscript", file=str(file), input_size=8)
    torch.jit.script(torch.nn.Flatten()).save(file)
    named = scores.fingerprint("mine", model, IMAGES)
    torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())).save(file)
    with pytest.raises(HeadraceError, match=r"mine: the machine .* holds another model"):
        scored(config, "mine", model, named)
