"""DataComp's baseline filters: the recipes against a literal reading of its rules."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.decide import cut, judge
from pipeline.decide.config import DecideConfig
from pipeline.ledger import CLIP_SCHEMA
from pipeline.measure import caption
from tests.pipeline.making import rows

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes" / "datacomp"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
COUNT = 3000
CENTROIDS = np.random.default_rng(7).standard_normal((9, 4)).astype(np.float32)
WANTED = [1, 4, 5]
VOCABULARY = {"dog", "cats"}


def recipe(name: str) -> DecideConfig:
    return DecideConfig(**yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).get("decide", {}))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_itself(name):
    assert f"headrace curate datacomp/{name}.yaml" in (FOLDER / f"{name}.yaml").read_text()


def test_all_seven_filters_are_there():
    assert RECIPES == [
        "basic", "clip_score_b32_30_percent", "clip_score_l14_30_percent", "image_based",
        "image_based_intersect_clip_score", "laion2b", "no_filter", "text_based",
    ]  # fmt: skip


WORDS = ["dog", "CATS", "a", "the", "und", "x\ny", "\n", "b\u00a0c", "of", "\u3000"]
LANGUAGES = np.array(["en", "en", "en", "de"])


def pool(random: np.random.Generator) -> pa.Table:
    """Rows around every threshold. Captions are counted by measure, but their language is made."""
    changes: list[dict[str, Any]] = []
    for _ in range(COUNT):
        text = random.choice([" ", "\t", "  "]).join(random.choice(WORDS, random.integers(6)))
        language = str(random.choice(LANGUAGES)) if text.split() else None
        changes.append(
            {
                "uid": random.bytes(16).hex(),
                "original_width": int(random.choice([199, 200, 201, 599, 600, 601, 603])),
                "original_height": int(random.choice([199, 200, 201, 599, 600, 601, 603])),
                "caption": text,
                "caption_words": caption.facts(text)["caption_words"],
                "caption_characters": caption.facts(text)["caption_characters"],
                "language": language,
                "clip_b32_similarity_score": float(random.choice(SCORES)),
                "clip_l14_similarity_score": float(random.choice(SCORES)),
                "clip_embedding": random.standard_normal(4).astype(np.float16),
            }
        )
    return rows(*changes, clip_embedding=CLIP_SCHEMA.field("clip_embedding").type)


SCORES = np.float32([0.1, 0.2, 0.27, np.nextafter(np.float32(0.28), 0), 0.28, 0.2801, 0.3, 0.4])


# DataComp's rules, in our words


def basic(row: dict[str, Any]) -> bool:
    sides = row["original_width"], row["original_height"]
    image = min(sides) >= 200 and max(sides) / min(sides) <= 3.0
    text = len(row["caption"].split()) > 2 and len(row["caption"]) > 5
    return row["language"] == "en" and text and image


def laion2b(row: dict[str, Any]) -> bool:
    enough = np.float32(row["clip_b32_similarity_score"]) >= np.float32(0.28)
    return bool(enough) and row["language"] == "en"


def text_based(row: dict[str, Any]) -> bool:
    return row["language"] == "en" and any(
        word.lower() in VOCABULARY for word in row["caption"].split()
    )


def image_based(row: dict[str, Any]) -> bool:
    """fastText's tokenizer: what ASCII spaces part, and a token for each line break."""
    for space in "\r\t\v\f\0":
        row["caption"] = row["caption"].replace(space, " ")
    tokens = [t for t in row["caption"].replace("\n", " </s> ").split(" ") if t]
    similar = [float(np.dot(np.float32(row["clip_embedding"]), one)) for one in CENTROIDS]
    near = similar.index(max(similar)) in WANTED
    return row["language"] == "en" and len(tokens) > 1 and len(row["caption"]) > 5 and near


def selected(table: pa.Table, config: DecideConfig, folder: Path) -> list[str]:
    """The uids that stand after the row rules of a recipe, its files being these."""
    np.save(folder / "centroids.npy", CENTROIDS)
    np.save(folder / "keep.npy", WANTED)
    (folder / "words.txt").write_text("\n".join(VOCABULARY))
    files = {"centroids": str(folder / "centroids.npy"), "keep": str(folder / "keep.npy")}
    changes: dict[str, Any] = {}
    if config.clusters:
        changes["clusters"] = config.clusters.model_copy(update=files)
    if config.rules.vocabulary:
        words = {"vocabulary": str(folder / "words.txt")}
        changes["rules"] = config.rules.model_copy(update=words)
    config = config.model_copy(update=changes)
    found = judge.judge(
        lambda part, wanted: table.select(sorted(wanted & {*table.column_names})),
        "part", 0, 0, False, config, judge.prepare(config, None),
    )  # fmt: skip
    return table["uid"].filter(found["reason"].is_null()).to_pylist()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("no_filter", lambda row: True),
        ("basic", basic),
        ("laion2b", laion2b),
        ("text_based", text_based),
        ("image_based", image_based),
        ("image_based_intersect_clip_score", image_based),  # but for its cut
    ],
)
def test_the_recipe_selects_what_datacomps_rule_selects(name, rule, tmp_path):
    table = pool(np.random.default_rng(3))
    wanted = [row["uid"] for row in table.to_pylist() if rule(row)]
    assert selected(table, recipe(name), tmp_path) == wanted
    assert len(wanted) in range(COUNT // 20, COUNT - COUNT // 4) or name == "no_filter"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("clip_score_b32_30_percent", "clip_b32_similarity_score"),
        ("clip_score_l14_30_percent", "clip_l14_similarity_score"),
        ("image_based_intersect_clip_score", "clip_l14_similarity_score"),
    ],
)
def test_the_cut_is_datacomps(name, column):
    """Its exactness is tested beside the cut."""
    assert recipe(name).cuts == (
        cut.CutConfig(score=column, top_fraction=0.3, of="scored", ties="included"),
    )
