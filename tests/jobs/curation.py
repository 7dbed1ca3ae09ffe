"""A curation of the demo pool that tests run, kill and compare."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from jobs.config import CurateConfig
from tests.conftest import DEMO_DATA

RULES = {"min_side": 24, "max_aspect": 4, "min_caption_words": 1}


def fields(dataset: Path, **changes: Any) -> dict[str, Any]:
    """A curation without a model: rules, decontamination and duplicates over the demo pool."""
    return {
        "dataset": str(dataset),
        "sources": [{"url": str(DEMO_DATA / "pool" / "*.tar")}],
        "decide": {
            "rules": RULES,
            "decontaminate": {"against": [{"url": str(DEMO_DATA / "target" / "val-*.tar")}]},
            "duplicates": {"radius": 31},
        },
        "write": {"shard_samples": 250},
    } | changes


def config(dataset: Path, **changes: Any) -> CurateConfig:
    """The same, checked."""
    return CurateConfig.model_validate(fields(dataset, **changes))


def config_file(folder: Path, **changes: Any) -> Path:
    """The same as a YAML file, whose dataset is `folder`/dataset."""
    path = folder / "curate.yaml"
    path.write_text(yaml.safe_dump(fields(folder / "dataset", **changes)))
    return path


def contents(dataset: Path) -> dict[str, str]:
    """Path → digest of every file of a dataset but its run records, which hold times."""
    return {
        str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*"))
        if path.is_file() and path.relative_to(dataset).parts[0] != "runs"
    }
