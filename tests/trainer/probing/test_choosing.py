"""The best cell of a grid is a pure choice."""

import pytest

from pipeline.format.errors import HeadraceError
from trainer.probing.choosing import best_window, chosen, judged_on


def figures(top1: int, loss: float | None = 1.0, n: int = 10) -> dict:
    return {"n": n, "top1": top1, "top5": n, "loss": loss}


def cell(kind: str, test: dict, held_out: dict | None = None, layers: tuple = (0,)) -> dict:
    return {"kind": kind, "layers": list(layers), "test": test, "held_out": held_out}


def test_the_test_set_chooses_only_where_nothing_is_held_out():
    probes = {
        "a": cell("linear", figures(9), figures(3)),
        "b": cell("linear", figures(1), figures(4)),
    }
    assert chosen(probes, "linear")[0] == "b"
    assert judged_on(probes["b"]) == "held_out"
    bare = {name: one | {"held_out": None} for name, one in probes.items()}
    assert chosen(bare, "linear") == ("a", bare["a"])
    assert judged_on(bare["a"]) == "test"


def test_of_equals_the_lower_loss_then_the_first_name_is_taken():
    probes = {
        "d": cell("linear", figures(5, None)),
        "c": cell("linear", figures(5, 2.0)),
        "b": cell("linear", figures(5, 1.0)),
        "a": cell("linear", figures(5, 1.0)),
        "e": cell("attentive", figures(9)),
    }
    assert chosen(probes, "linear")[0] == "a"
    del probes["a"], probes["b"], probes["c"]
    assert chosen(probes, "linear")[0] == "d"


def test_a_kind_that_was_not_trained_is_refused():
    with pytest.raises(HeadraceError, match="kinds: no attentive probe was trained"):
        chosen({"a": cell("linear", figures(5))}, "attentive")


def test_the_attentive_probe_finds_the_window_if_there_is_one():
    probes = {
        "a": cell("linear", figures(9), layers=(0, 1)),
        "b": cell("attentive", figures(5), layers=(1, 2)),
        "c": cell("attentive", figures(6), layers=(2, 3)),
    }
    assert best_window(probes) == (2, 3)
    assert best_window({"a": probes["a"]}) == (0, 1)
