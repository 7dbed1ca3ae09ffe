"""The same image with the same caption gets the same bits, whatever is around it, whoever scores.

Held for slots of a full batch among other pictures, a short batch padded with zeros, another
process, and any number of threads that decode; at the default batch.
"""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.clip.architectures import model_cfg
from pipeline.clip.opening import new_model
from pipeline.clip.saving import save
from pipeline.format.snapshot import parquet_bytes
from pipeline.measure.clip import LOCAL, PairsConfig
from pipeline.measure.clip_model import PairScorer
from pipeline.measure.image import ImageConfig
from pipeline.pool.sample import Part
from tests.pipeline.making import png, tar_part
from tests.pipeline.measure.test_clip_model import save_model

IMAGES = ImageConfig()
CAPTION = b"a drawing of some colours"
BATCH = 64
SLOTS = (0, *range(1, BATCH, 2), BATCH)
"""Where the picture that is watched lies: in half of the slots, and alone in the second batch."""


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> Part:
    """A batch of drawings with captions of their own among the one that is watched, and one row."""
    members = {}
    for number in range(BATCH + 1):
        watched = number in SLOTS
        words = CAPTION if watched else f"other words {number} ".encode() * (number % 4)
        members[f"{number:02d}.png"] = png(1000) if watched else png(number, 40 + number, 50)
        members[f"{number:02d}.txt"] = words
    return tar_part(tmp_path_factory.mktemp("part") / "0.tar", members)


def shallow(architecture: str) -> dict:
    """Two blocks of each tower: every size that a product has, in a sixth of the time."""
    config = model_cfg(architecture, "model")
    return config | {part: config[part] | {"layers": 2} for part in ("vision_cfg", "text_cfg")}


@pytest.fixture(scope="module", params=["tiny", pytest.param("ViT-B-32", marks=pytest.mark.slow)])
def model(request, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("clip") / "model"
    if request.param == "tiny":
        return save_model(folder)
    made = new_model(shallow(request.param), 0, "model")
    save(str(folder), made.model_cfg, made.preprocess_cfg, dict(made.clip.state_dict()), {})
    return f"{LOCAL}{folder}"


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def config(model, request) -> PairsConfig:
    return PairsConfig(model=model, batch=BATCH, precision=request.param)


@pytest.fixture(scope="module")
def table(config, part) -> pa.Table:
    """What this process makes of the part."""
    return scored(config, part, 1)


def scored(config: PairsConfig, part: Part, decoders: int) -> pa.Table:
    threads = torch.get_num_threads()
    try:
        return PairScorer(config, decoders).score_part(part, IMAGES)
    finally:
        torch.set_num_threads(threads)


def distinct(table: pa.Table, slots) -> int:
    """How many different rows there are at these slots, to the last bit."""
    rows = [
        b"".join(
            np.array(table[name][slot].as_py(), np.float32).tobytes() for name in table.schema.names
        )
        for slot in slots
    ]
    return len(set(rows))


def test_slots_neighbours_and_short_batches_change_no_bit(table):
    assert len(SLOTS) == 34
    assert distinct(table, SLOTS) == 1
    assert distinct(table, range(BATCH + 1)) == 1 + 31  # others are others


PROGRAM = """
import sys
from pipeline.format.snapshot import parquet_bytes
from pipeline.measure.clip import PairsConfig
from pipeline.measure.clip_model import PairScorer
from pipeline.measure.image import ImageConfig
from pipeline.pool.source import SourceConfig, parts
(part,) = parts((SourceConfig(url=sys.argv[2]),))
scorer = PairScorer(PairsConfig.model_validate_json(sys.argv[1]), 4)
sys.stdout.buffer.write(parquet_bytes(scorer.score_part(part, ImageConfig())))
"""


def test_another_process_with_four_decoders_makes_the_same_bits(table, config, part):
    words = [sys.executable, "-c", PROGRAM, config.model_dump_json(), part.source]
    there = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    assert there.stdout == parquet_bytes(table)


@pytest.fixture
def tiny(tmp_path) -> PairsConfig:
    return PairsConfig(model=save_model(tmp_path / "model"))


def test_two_decoders_make_the_same_bits(tiny, part):
    assert scored(tiny, part, 1).equals(scored(tiny, part, 2))


def test_another_batch_and_more_threads_move_a_score_no_further_than_rounding(tiny, part):
    other = scored(tiny.model_copy(update={"batch": 7, "threads": 2}), part, 1)["clip_score"]
    gap = scored(tiny, part, 1)["clip_score"].to_numpy() - other.to_numpy()
    assert np.abs(gap).max() < 1e-6
