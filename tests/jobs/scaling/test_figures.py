"""What may be claimed of runs side by side, and what may not."""

import json

import pytest

from jobs.scaling import findings
from jobs.scaling.figures import gather
from pipeline.format.errors import HeadraceError
from tests.jobs.scaling.made import made, measured, probed


def grid(**losses: float) -> list[dict]:
    """Runs named by parameters and steps: `p10_s100`."""
    sizes = {name: name.removeprefix("p").split("_s") for name in losses}
    return [made(name, *map(int, sizes[name]), loss) for name, loss in losses.items()]


def test_larger_models_are_compared_at_equal_steps_alone():
    found = findings.larger_models(
        findings.cases(gathered(grid(p10_s100=0.5, p40_s100=0.4, p40_s400=0.3, p90_s400=0.35)))
    )
    assert found == findings.Pairs(total=2, lower=1, higher=1, overlap=0, bare=2)


def gathered(runs: list[dict], evaluations: dict | None = None) -> list[dict]:
    """The runs with their finals, and what they have in common still there."""
    shown = gather(runs, evaluations or {})["runs"]
    return [run | {"alike": one["alike"]} for run, one in zip(shown, runs, strict=True)]


@pytest.mark.parametrize(("half", "overlap"), [(0.02, 1), (0.005, 0)])
def test_losses_whose_intervals_overlap_are_not_told_apart(half, overlap):
    runs = grid(p10_s100=0.50, p40_s100=0.48)
    evaluations = {
        "p10_s100": [measured(0.50, half, 100)],
        "p40_s100": [measured(0.48, half, 100)],
    }
    found = findings.more_compute(findings.cases(gathered(runs, evaluations)))
    assert found == findings.Pairs(1, lower=1 - overlap, higher=0, overlap=overlap, bare=0)


def test_losses_of_two_sets_and_of_some_runs_are_left_out():
    runs = grid(p10_s100=0.50, p40_s100=0.48)
    one, other = measured(0.7, 0.1, 100), measured(0.6, 0.1, 100, test="another set")
    for evaluations in ({"p10_s100": [one]}, {"p10_s100": [one], "p40_s100": [other]}):
        found = gather(runs, evaluations)
        assert found["losses_of"] is None
        assert [run["final"]["loss"]["high"] for run in found["runs"]] == [0.50, 0.48]
    both = gather(runs, {"p10_s100": [one], "p40_s100": [measured(0.6, 0.1, 100)]})
    assert both["losses_of"] == "set"
    assert [run["final"]["loss"]["value"] for run in both["runs"]] == [0.7, 0.6]


def test_seeds_are_one_case_and_its_loss_is_anywhere_between_them():
    runs = [
        made("a0", 10, 100, 0.50),
        made("a1", 10, 100, 0.44),
        made("b0", 40, 100, 0.45),
        made("b1", 40, 100, 0.43),
    ]
    found = findings.cases(gathered(runs))
    assert [(one.seeds, one.low, one.high) for one in found] == [(2, 0.44, 0.50), (2, 0.43, 0.45)]
    assert findings.larger_models(found).overlap == 1


def test_another_recipe_is_no_other_seed():
    runs = [made("a", 10, 100, 0.5), made("b", 10, 100, 0.4, recipe="a higher rate")]
    assert len(findings.cases(gathered(runs))) == 2


def test_only_ends_of_whole_schedules_make_the_law():
    runs = [
        *grid(p10_s100=0.5, p40_s100=0.4, p40_s400=0.3),
        made("half", 90, 400, 0.1, finished=False),
        made("burst", 90, 100, None),
        made("fork", 90, 100, 0.1) | {"fork": True},
    ]
    found = gather(runs, {})
    assert found["law"]["points"] == 3
    reasons = {run["run"]: run["outside"] for run in found["runs"] if run["outside"]}
    assert "learning rate has not come down" in reasons["half"]
    assert "not finite" in reasons["burst"]
    assert "another run" in reasons["fork"]
    assert len(found["runs"][3]["points"]) == 3


def test_runs_of_different_data_have_no_law_in_common():
    runs = grid(p10_s100=0.5, p40_s100=0.4, p40_s400=0.3)
    runs.append(made("in1k", 10, 400, 0.6, data="in1k"))
    found = gather(runs, {})
    assert "different data" in found["law"]["refused"]
    assert findings.more_compute(findings.cases(gathered(runs))).total == 3


def test_losses_of_different_targets_are_not_drawn_together():
    runs = [made("a", 10, 100, 0.5), made("b", 40, 100, 0.4, units="tokens")]
    with pytest.raises(HeadraceError, match="measure different things: a: pixels; b: tokens"):
        gather(runs, {})


def test_accuracy_is_claimed_only_where_intervals_are_apart():
    runs = grid(p10_s100=0.5, p40_s100=0.4, p90_s100=0.3)
    names = [run["run"] for run in runs]
    wide = gather(runs, {n: [probed(t)] for n, t in zip(names, (0.4, 0.42, 0.44), strict=True)})
    assert wide["accuracy"][0]["spearman"] == 1
    assert wide["accuracy"][0]["apart"] == 0
    assert "all accuracies' intervals overlap, so it says nothing" in wide["findings"][-1]
    apart = gather(runs, {n: [probed(t)] for n, t in zip(names, (0.4, 0.8, 0.6), strict=True)})
    assert apart["accuracy"][0]["spearman"] == 0.5
    assert "of 3 pairs whose" in apart["findings"][-1]
    assert apart["findings"][-1].endswith("more accurate in 2.")


def test_copies_of_a_set_are_one_set_and_another_snapshot_is_another():
    runs = grid(p10_s100=0.5, p40_s100=0.4, p90_s100=0.3)
    sets = ("file:///a/snapshots/0123", "file:///b/snapshots/0123", "file:///a/snapshots/4567")
    each = zip(runs, sets, strict=True)
    found = gather(runs, {run["run"]: [probed(0.4, test=test)] for run, test in each})
    assert [(one["test"], one["n"]) for one in found["accuracy"]] == [(sets[0], 2), (sets[2], 1)]


def test_a_probe_of_a_checkpoint_on_the_way_is_set_beside_the_loss_it_had_there():
    runs = grid(p10_s100=0.5)
    found = gather(runs, {"p10_s100": [probed(0.4, step=50), probed(0.5), probed(0.3, step=7)]})
    assert [one["loss"]["value"] for one in found["accuracy"][0]["points"]] == [0.8, 0.5]


def test_the_loss_by_position_takes_the_place_of_the_logs_parts():
    runs = [made("a", 10, 100, 0.5, curve=[0.6, 0.4])]
    assert gather(runs, {})["runs"][0]["curve"] == [0.6, 0.4]
    found = gather(runs, {"a": [measured(0.5, 0.01, 100)]})
    assert found["runs"][0]["curve"] == [0.6, 0.5, 0.4]
    assert gather(runs, {"a": [measured(0.5, 0.01, 50)]})["runs"][0]["curve"] == [0.6, 0.4]


def test_what_is_told_is_strict_json():
    found = gather(grid(p10_s100=0.5, p40_s100=0.4, p40_s400=0.3), {})
    json.dumps(found, allow_nan=False)
