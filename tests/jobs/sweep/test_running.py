"""What is told of a unit whose Ray task did not come to its end."""

from ray.exceptions import RayTaskError, WorkerCrashedError

from jobs.sweep.plan import Unit
from jobs.sweep.running import _again, _Attempt

UNIT = Unit("web", 0, "folder", {}, (), {})


def test_the_reason_is_that_of_the_task_and_names_no_process():
    cause = FileNotFoundError("no such folder: /there\nmore of it")
    lost = _again(0, _Attempt(UNIT), RayTaskError("_task", "Traceback", cause))
    assert (lost.unit, lost.lost, lost.reason) == (UNIT, 1, "no such folder: /there")


def test_each_loss_of_a_worker_is_counted():
    lost = _again(0, _again(0, _Attempt(UNIT), WorkerCrashedError()), WorkerCrashedError())
    assert lost.lost == 2
    assert lost.reason.startswith("a Ray worker died each time")
