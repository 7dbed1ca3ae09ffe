"""Noisy pictures of eight colours as a person may have labelled images: folders, tars, parquet."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.pipeline.making import tar_of
from tests.trainer.conftest import Picture


def folder(path: Path, pictures: list[Picture]) -> dict[str, str]:
    """Class folders."""
    for one in pictures:
        place = path / one.text.decode() / f"{one.key}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(one.image)
    return {"url": str(path), "format": "folder"}


def tar(path: Path, pictures: list[Picture]) -> dict[str, str]:
    """A tar of key.png, key.cls, and key.txt with other words."""
    members = {}
    for one in pictures:
        members |= {f"{one.key}.png": one.image, f"{one.key}.cls": one.text}
        members |= {f"{one.key}.txt": b"a picture"}
    path.write_bytes(tar_of(members))
    return {"url": str(path)}


def parquet(path: Path, pictures: list[Picture]) -> dict[str, str]:
    """Columns image, caption and label."""
    columns = {
        "image": [one.image for one in pictures],
        "caption": ["a picture"] * len(pictures),
        "label": [one.text.decode() for one in pictures],
    }
    pq.write_table(pa.table(columns), path)
    return {"url": str(path), "format": "parquet"}
