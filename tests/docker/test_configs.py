import pytest
from pydantic import BaseModel

from jobs.config import CurateConfig, MixConfig, load
from tests.docker.files import DOCKER
from trainer.config import TrainConfig

KINDS = {"refresh": CurateConfig, "mix": MixConfig, "train": TrainConfig}


def read(name: str) -> BaseModel:
    return load(str(DOCKER / "configs" / f"{name}.yaml"), KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_a_config_for_the_images_is_valid(name: str) -> None:
    read(name)


def test_the_configs_lead_from_the_pool_to_the_training() -> None:
    refresh, mix, train = read("refresh"), read("mix"), read("train")
    assert [source.snapshot for source in mix.sources] == [refresh.dataset]
    assert train.mixture == mix.mixture
    assert train.run.startswith("/runs/")  # the volume of the manifest
