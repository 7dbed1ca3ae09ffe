"""A Ray that somebody else started on this machine: used when named, left alone when not."""

import os

import pytest

from tests.chaos import cluster
from tests.jobs import curation

pytestmark = pytest.mark.slow


def test_a_named_cluster_and_one_of_our_own_beside_it_give_the_same_bytes(tmp_path, headrace):
    made = []
    with cluster.running(tmp_path / "ray", nodes=1) as theirs:
        ours = {name: value for name, value in theirs.environment.items() if name != "RAY_ADDRESS"}
        for name, environment in (("theirs", theirs.environment), ("ours", ours)):
            (tmp_path / name).mkdir()
            config = curation.config_file(tmp_path / name)
            process = headrace.start("curate", config, env=environment)
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            made.append(curation.contents(tmp_path / name / "dataset"))
        assert os.path.exists(f"/proc/{theirs.head}")
    assert made[0] == made[1]
