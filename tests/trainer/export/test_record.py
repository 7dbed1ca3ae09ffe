import pytest
from pydantic import ValidationError

from tests.trainer.export.foreign import CONFIG
from trainer.export.record import Record, training_of

SOURCE = {"samples": 100, "block": 8}
OBJECTIVE = {"order": "spiral", "mask_ratio": None, "target": {"kind": "pixels"}}
STATE = {
    "step": 8,
    "config": {"steps": 20, "seed": 3, "objective": OBJECTIVE, "optimiser": {"lr": 1e-3}},
    "parent": {"run": "/home/somebody/run", "step": 4, "digest": "aa", "differences": []},
    "stream": {
        "identity": {
            "sources": ["web", "trusted"],
            "source web": SOURCE | {"weight": 4, "shards": "w0"},
            "source trusted": SOURCE | {"weight": 1, "shards": "t0"},
        }
    },
    "delivered": {"drawn": {"web": 52}, "bad": {}, "digest": "ff"},
}
LOG = [
    {"step": 4, "loss": 1.0},
    {"step": 4, "validation": {"causal": 0.9, "prefix": 0.8}},
    {"step": 8, "validation": {"causal": 0.7, "prefix": 0.6}},
    {"step": 12, "validation": {"causal": 0.5, "prefix": 0.4}},
]


def test_a_checkpoint_tells_its_steps_data_and_parent():
    told = training_of(STATE, {}, [])
    assert (told.step, told.steps, told.seed, told.digest) == (8, 20, 3, "ff")
    assert told.images == 52
    assert {name: (s.share, s.drawn, s.shards) for name, s in told.sources.items()} == {
        "web": (0.8, 52, "w0"),
        "trusted": (0.2, 0, "t0"),
    }
    assert told.parent == {"step": 4, "digest": "aa"}
    assert (told.mixture, told.validation) == (None, None)


def test_the_last_validation_is_none_of_after_the_checkpoint():
    assert training_of(STATE, {}, LOG).validation == {"step": 8, "causal": 0.7, "prefix": 0.6}


def test_a_mixtures_credentials_are_not_repeated():
    config = {"mixture": "https://me:secret@host/m.json?key=secret"}
    assert training_of(STATE, config, []).mixture == "https://host/m.json"


def test_a_record_of_an_unknown_order_is_refused():
    with pytest.raises(ValidationError, match="no order 'snake'; known are raster"):
        Record(headrace="1", model=CONFIG, outputs=192, order="snake")
