import json

from trainer.metrics import Metrics, read


def write(path, *steps, resumed_at=0):
    metrics = Metrics(path, lambda line: line["step"] <= resumed_at)
    for step in steps:
        metrics.write(step=step, loss=1 / (step + 1))
    metrics.close()


def steps(path):
    return [line["step"] for line in read(path)]


def test_lines_are_json_objects_and_give_their_numbers_back_exactly(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, 1, 2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == read(path)
    assert read(path) == [{"step": 1, "loss": 1 / 2}, {"step": 2, "loss": 1 / 3}]


def test_lines_after_the_step_that_a_run_resumes_at_are_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, 0, 10, 20, 20, 30)
    write(path, 30, 40, resumed_at=20)
    assert steps(path) == [0, 10, 20, 20, 30, 40]
    write(path, resumed_at=0)
    assert steps(path) == [0]


def test_a_torn_last_line_is_ignored_and_overwritten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, 1, 2)
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert steps(path) == [1, 2]
    write(path, 3, resumed_at=5)
    assert steps(path) == [1, 2, 3]


def test_a_line_is_readable_before_the_log_is_closed(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl", bool)
    metrics.write(step=1, digest="ä")
    assert read(tmp_path / "metrics.jsonl") == [{"step": 1, "digest": "ä"}]
    metrics.close()


def test_no_log_has_no_lines(tmp_path):
    assert read(tmp_path / "metrics.jsonl") == []


def test_a_number_that_is_not_finite_is_null_so_that_every_line_is_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": NaN}\n')  # as an older version wrote it
    metrics = Metrics(path, lambda line: line["step"] <= 1)
    metrics.write(
        step=2, loss=float("inf"), validation={"causal": float("nan")}, curve=[1.5, -1e999]
    )
    metrics.close()

    def refuse(name):
        raise AssertionError(name)

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": None},
        {"step": 2, "loss": None, "validation": {"causal": None}, "curve": [1.5, None]},
    ]
