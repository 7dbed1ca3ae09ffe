"""The README's first command, whole."""

import re
import shutil
import time

import pytest

from jobs import demo, scorecard
from jobs.config import CurateConfig, MixConfig, load
from jobs.judging.config import EvaluateConfig
from pipeline.format.snapshot import read_snapshot
from trainer import metrics
from trainer.config import TrainConfig
from trainer.contrastive.config import FilterConfig

ALWAYS_CAUGHT = [
    *("archive_damaged", "bomb", "empty_caption", "exact_duplicate", "extreme_aspect", "html"),
    *("in_target_val", "recompressed", "reencoded", "tiny", "truncated"),
]
MIRRORED = 6
"""Clean pictures that are another one turned or flipped: arrows, corners, a man with flags."""

MODELS = {
    "aim": TrainConfig,
    "evaluation": EvaluateConfig,
    "filter": FilterConfig,
    "mix": MixConfig,
}


def test_every_config_that_the_demo_writes_is_a_good_one(tmp_path):
    for name, path in demo.write_configs(tmp_path).items():
        load(path, MODELS.get(name, CurateConfig))


def test_the_target_is_unpacked_whole_or_not_at_all(tmp_path):
    demo.unpack_target(tmp_path / "target")
    train, val = (list((tmp_path / "target" / split).glob("*/*")) for split in ("train", "val"))
    assert (len(train), len(val)) == (400, 100)
    assert len({path.parent.name for path in train}) == 10
    half = tmp_path / "half.partial"
    shutil.copytree(tmp_path / "target" / "val", half / "train")  # as a killed run leaves it
    demo.unpack_target(tmp_path / "half")
    assert len(list((tmp_path / "half").glob("*/*/*"))) == 500
    assert not half.exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_runs_is_restartable_and_says_the_same_again(tmp_path, headrace):
    work = tmp_path / "work"
    killed = headrace.start("demo", "--work", work)
    while not list((work / "aim" / "checkpoints").glob("*/COMPLETE")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.2)
    killed.kill()
    killed.communicate()
    first = headrace("demo", "--work", work, timeout=1200)
    assert first.returncode == 0, first.stderr
    second = headrace("demo", "--work", work, timeout=300)
    assert card_lines(second.stderr) == card_lines(first.stderr)

    card = scorecard.score(read_snapshot(str(work / "web")), demo.DATA / "truth.parquet")
    for kind in ALWAYS_CAUGHT:
        caught, planted = card.caught[kind]
        assert caught == planted, kind
    assert card.caught["resized"][0] >= 30  # of 31: one is a postmark of 60 pixels
    assert set(card.false_drops) <= {"low_score", "near_duplicate", "contaminated"}
    assert sum(card.false_drops.values()) - card.false_drops["low_score"] <= MIRRORED
    assert card.pool_auc > 0.65
    assert card.precision > card.base_rate + 0.05
    losses = [
        line["validation"]["causal"]
        for line in metrics.read(work / "aim" / "metrics.jsonl")
        if "validation" in line
    ]
    assert losses[-1] < 0.4 * losses[0]
    page = (work / "report.html").read_text()
    assert "<html" in page
    assert not re.search(r'(src|href)="https?://', page)


def card_lines(text: str) -> list[str]:
    """The scorecard, from its title on."""
    return text[text.index("scorecard against the truth file") :].splitlines()
