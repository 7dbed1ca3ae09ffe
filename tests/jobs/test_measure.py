"""What is measured of what, and what follows when a task does not come back."""

from dataclasses import replace

import pytest
import ray

from jobs import facts, measure
from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.pool.sample import Part
from tests.jobs import curation
from tests.jobs.test_curate import tiny_clip

PART = Part("webdataset", "s3://pool/7.tar", "0" * 32, 5_000_000)
FAST = facts._Attempt(PART)
CRASH = ray.exceptions.WorkerCrashedError()
NODE = ray.exceptions.NodeDiedError("the node died")


def raised(cause: Exception) -> ray.exceptions.RayTaskError:
    """What ray.get raises for a task that raised."""
    return ray.exceptions.RayTaskError("task", "traceback", cause)


@pytest.mark.parametrize("error", [CRASH, raised(MemoryError()), raised(ValueError("of ours"))])
def test_a_part_whose_fast_task_fails_is_measured_with_care(error, capsys):
    assert facts._rescue(0, FAST, error) == facts._Attempt(PART, careful=True)
    assert "s3://pool/7.tar: " in capsys.readouterr().err


def test_a_lost_node_is_not_the_images_fault_once():
    again = facts._rescue(0, FAST, NODE)
    assert again == facts._Attempt(PART, deaths=1)
    assert facts._rescue(0, again, NODE).careful


def test_what_a_task_says_to_a_person_ends_the_job():
    for attempt in (FAST, replace(FAST, careful=True)):
        with pytest.raises(HeadraceError, match="disk is full"):
            facts._rescue(0, attempt, raised(HeadraceError("the disk is full")))


def test_careful_mode_that_dies_thrice_names_its_part():
    attempt = facts._Attempt(PART, careful=True)
    for _ in range(facts.DEATHS - 1):
        attempt = facts._rescue(0, attempt, CRASH)
    with pytest.raises(HeadraceError, match=r"s3://pool/7\.tar: .* died 3 times"):
        facts._rescue(0, attempt, CRASH)


def test_a_bug_in_careful_mode_keeps_its_traceback():
    with pytest.raises(ray.exceptions.RayTaskError, match="traceback"):
        facts._rescue(0, facts._Attempt(PART, careful=True), raised(ValueError()))


def test_a_larger_part_has_more_time():
    assert facts.time_limit(replace(PART, nbytes=0)) == 60
    assert facts.time_limit(PART) == 80


def test_references_have_the_image_family_and_the_one_that_finds_copies(tmp_path):
    clip = {"clip": {"model": tiny_clip(tmp_path / "model")}}
    plain = curation.fields(tmp_path / "dataset", measure=clip)
    found = measure.inputs(measure.CurateConfig.model_validate(plain))
    assert list(found.families) == ["image", "clip"]
    assert list(found.reference_families) == ["image"]
    plain["decide"]["decontaminate"] |= {"embedding": {"model": "clip"}}
    config = measure.CurateConfig.model_validate(plain)
    found = measure.inputs(config)
    assert found.reference_families == found.families
    everything = [*found.lineage.parts, *found.references]
    assert measure.missing(config, found) == {"image": everything, "clip": everything}


def test_what_is_in_the_ledger_is_not_to_do(tmp_path):
    config = curation.config(tmp_path / "dataset")
    found = measure.inputs(config)
    done = found.lineage.parts[2]
    url = ledger.part_url(config.dataset_url, "image", found.families["image"], done.name)
    ledger.write_part(url, ledger.IMAGE_SCHEMA.empty_table())
    todo = measure.missing(config, found)["image"]
    assert todo == [part for part in [*found.lineage.parts, *found.references] if part != done]
