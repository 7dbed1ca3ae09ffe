"""Resources of a stage: what the config says, and how much of it a cluster has room for."""

import pytest

from jobs import capacity
from jobs.scores import options
from jobs.stages import StageConfig, StagesConfig
from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import ClipConfig
from tests.jobs import curation

CLIP = {"model": "ViT-B-32", "pretrained": "file.pt"}
BIG = {"CPU": 16, "GPU": 2, "memory": 100e9, "node:10.0.0.1": 1}
SMALL = {"CPU": 3, "memory": 8e9, "pool_node": 1}


@pytest.fixture
def machines(monkeypatch):
    """A cluster of two machines, as Ray would list them."""
    nodes = [{"Alive": True, "Resources": found} for found in (BIG, SMALL)]
    nodes.append({"Alive": False, "Resources": {"CPU": 1000}})
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 19, "GPU": 2})
    monkeypatch.setattr(capacity, "_grows", lambda: False)


def test_a_stage_takes_what_it_says_and_the_default_for_the_rest():
    stage = StageConfig(gpus=0.25, memory=2_000_000_000, resources={"pool_node": 0.01})
    assert stage.options(num_cpus=4, num_gpus=1) == {
        "num_cpus": 4,
        "num_gpus": 0.25,
        "memory": 2_000_000_000,
        "resources": {"pool_node": 0.01},
    }
    assert StageConfig().options() == {}


def test_stages_change_no_snapshot(tmp_path):
    stages = {"write": {"memory": "2e9"}, "image": {"cpus": 0.5}}
    plain, asked = curation.config(tmp_path), curation.config(tmp_path, stages=stages)
    assert plain.identity == asked.identity
    assert asked.stages.write.options() == {"memory": 2_000_000_000}  # YAML's 2e9 is a text


@pytest.mark.parametrize(
    ("asked", "fit"),
    [
        ({}, 19),
        ({"num_cpus": 2}, 9),
        ({"num_cpus": 0.1}, 190),
        ({"num_gpus": 0.25, "num_cpus": 2}, 8),
        ({"memory": 50e9}, 2),
        ({"resources": {"pool_node": 0.4}}, 2),
    ],
)
def test_as_many_run_at_once_as_each_machine_has_room_for(machines, asked, fit):
    assert capacity.room(asked) == fit


def test_what_no_machine_has_is_an_error_that_names_stage_and_machines(machines):
    capacity.check("write", {"num_cpus": 16})
    with pytest.raises(HeadraceError) as caught:
        capacity.check("write", {"num_cpus": 2, "num_gpus": 3})
    assert str(caught.value) == (
        "stages.write: one task asks for 2 CPU, 3 GPU, and no machine has that; they have "
        "16 CPU, 2 GPU, 100000000000 memory; 3 CPU, 8000000000 memory, 1 pool_node; ask for less, "
        "or start a machine that has it"
    )


def test_a_cluster_that_adds_machines_is_waited_for(machines, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "_grows", lambda: True)
    capacity.check("clip", {"num_gpus": 8})
    assert "waiting for the cluster to add one" in capsys.readouterr().err


def test_actors_that_share_a_gpu_share_its_processors_too(machines):
    model = ClipConfig(**CLIP, device="cuda")
    assert options("clip", model, StageConfig()) == {"num_cpus": 8, "num_gpus": 1}
    assert options("clip", model, StageConfig(gpus=0.25)) == {"num_cpus": 2, "num_gpus": 0.25}
    assert options("clip", model, StageConfig(gpus=0.25, cpus=1))["num_cpus"] == 1


def test_each_family_finds_its_stage():
    stages = StagesConfig(clip={"cpus": 2}, models={"nsfw": {"cpus": 3}})
    assert stages.family("clip").cpus == 2
    assert stages.family("nsfw").cpus == 3
    assert stages.family("faces") == StageConfig()
    assert list(stages.named) == ["image", "clip", "decide", "write", "models.nsfw"]
