"""Whether a validation loss turns up again, on curves made by hand."""

from xml.etree import ElementTree

from jobs.sweep import curves
from trainer.metrics import Metrics

STEPS = [0, 10, 20, 30]


def test_a_loss_that_rises_in_every_seed_turns_up_at_its_best_step():
    losses = [[9, 3, 1.0, 1.5], [9, 3, 1.1, 1.7], [9, 3, 0.9, 1.5]]
    found = curves.turns_up(STEPS, losses)
    assert (found["answer"], found["best_step"], found["last_step"]) == ("yes", 20, 30)
    assert found["rise"]["low"] > 0
    assert found["rise"]["n"] == 3


def test_a_loss_that_falls_to_the_end_does_not():
    found = curves.turns_up(STEPS, [[9, 3, 1.0, 0.9], [9, 3, 1.1, 1.0]])
    assert (found["answer"], found["best_step"]) == ("no", 30)


def test_noise_alone_is_not_taken_for_a_rise():
    """The least of each seed lies below its end by itself; the other seeds do not confirm it."""
    losses = [[9, 0.8, 1.0, 1.0], [9, 1.0, 0.8, 1.0], [9, 1.0, 1.0, 0.97]]
    found = curves.turns_up(STEPS, losses)
    assert found["answer"] == "within the noise"
    assert found["rise"]["low"] < 0


def test_one_seed_is_told_without_an_interval():
    found = curves.turns_up(STEPS, [[9, 3, 1.0, 1.5]])
    assert found["answer"] == "yes"
    assert found["rise"] == {"value": 0.5, "low": None, "high": None, "n": 1}


def test_a_curve_has_the_steps_that_all_seeds_have():
    found = curves.told({1: {0: 9.0, 10: 2.0, 20: 1.0}, 0: {0: 8.0, 10: 3.0}})
    assert found["steps"] == [0, 10]
    assert found["seeds"] == {"0": [8.0, 3.0], "1": [9.0, 2.0]}
    assert found["mean"] == [8.5, 2.5]
    assert curves.told({}) is None


def test_the_curve_is_read_from_the_log_without_what_is_not_finite(tmp_path):
    log = Metrics(tmp_path / "metrics.jsonl", lambda line: True)
    log.write(step=0, validation={"causal": 2.0, "prefix": 3.0})
    log.write(step=5, loss=1.0)
    log.write(step=10, validation={"causal": float("nan"), "prefix": 3.0})
    log.write(step=20, validation={"causal": 1.0, "prefix": 3.0})
    log.close()
    assert curves.of_run(str(tmp_path)) == {0: 2.0, 20: 1.0}


def test_the_chart_has_each_row_by_its_label_and_the_same_bytes_twice(tmp_path):
    told = {
        label: curves.told({0: {0: 9.0, 10: end + 1, 20: end}, 1: {0: 9.0, 10: end, 20: end}})
        for label, end in (("web <alone>", 1.0), ("mix", 0.8))
    }
    files = [tmp_path / name for name in ("one.svg", "two.svg")]
    for file in files:
        curves.draw(str(file), told)
    ElementTree.fromstring(files[0].read_bytes())
    assert b"web &lt;alone&gt;" in files[0].read_bytes()
    assert files[0].read_bytes() == files[1].read_bytes()
