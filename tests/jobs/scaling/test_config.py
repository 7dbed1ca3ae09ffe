"""A config is checked whole before the first of its runs has taken a week."""

from pathlib import Path

import pytest
import yaml

from jobs.config import load
from jobs.scaling.config import ScalingConfig
from pipeline.format.errors import HeadraceError

TRAIN = {
    "mixture": "web.json",
    "model": "aim-demo",
    "stream": {"batch": 16, "lanes": 4, "image_size": 64},
}


def config(folder: Path, **fields) -> ScalingConfig:
    path = folder / "scaling.yaml"
    path.write_text(yaml.safe_dump({"scaling": str(folder / "out"), "train": TRAIN} | fields))
    return load(str(path), ScalingConfig)


def test_a_run_is_the_common_fields_and_its_own_in_a_folder_of_its_name(tmp_path):
    found = config(tmp_path, runs={"short": {"steps": 5}, "there": {"folder": "runs/it"}}, probe={})
    assert list(found.trainings) == ["short"]
    assert found.trainings["short"].steps == 5
    assert found.trainings["short"].run == str(tmp_path / "out/runs/short")
    assert found.folders["there"] == Path("runs/it")
    assert found.probes["there"] == tmp_path / "out/probes/there"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"runs": {"a": {"stepps": 5}}}, r"runs\.a with train: "),
        ({"runs": {"a": {"steps": 5, "run": "x"}}}, r"runs\.a\.run: remove it"),
        ({"runs": {"a": {"folder": "x", "steps": 5}}}, "stands alone"),
        ({"runs": {"a/b": {"steps": 5}}}, "becomes a folder"),
        ({"runs": {"a": {"steps": 5}}, "probe": {"weights": "x"}}, r"probe\.weights: remove it"),
        ({"runs": {"a": {"steps": 5}}, "evaluations": {"b": ["x"]}}, r"evaluations\.b: no run"),
        ({"runs": {}}, "runs: "),
    ],
)
def test_a_fault_is_one_line_with_the_field_and_the_fix(tmp_path, fields, fault):
    with pytest.raises(HeadraceError, match=fault) as raised:
        config(tmp_path, **fields)
    assert "\n" not in str(raised.value)
