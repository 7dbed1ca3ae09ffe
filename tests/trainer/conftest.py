"""Small snapshots of real pictures, made as the pipeline makes them but without Ray."""

import contextlib
import hashlib
import resource
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import webdataset

from pipeline.format import store
from pipeline.format.errors import Unavailable
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.snapshot import (
    Shard,
    Snapshot,
    index_tar,
    manifest_bytes,
    parquet_bytes,
    read_snapshot,
    snapshot_id,
)
from tests.trainer.runs import MODEL, STEPS
from trainer import distributed
from trainer.distributed import World


@dataclass(frozen=True)
class Picture:
    """One picture of the demo data, as it goes into a shard."""

    key: str
    extension: str
    image: bytes
    text: bytes


MakeSnapshot = Callable[[Path, Sequence[Picture], Sequence[int]], Snapshot]


def read_pictures(path: Path) -> list[Picture]:
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            members.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return [
        Picture(key, extension, files[extension], files["txt"])
        for key, files in members.items()
        for extension in files.keys() & {"jpg", "png", "webp"}
    ]


@pytest.fixture(scope="session")
def pictures(demo_data) -> list[Picture]:
    """The target's validation pictures: JPEG, PNG and WebP, none of them damaged."""
    return read_pictures(demo_data / "target" / "val-00000.tar")


def write_shard(dataset: Path, path: str, pictures: Sequence[Picture]) -> Shard:
    file = dataset / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(file), mtime=0, encoder=False) as tar:
        for picture in pictures:
            tar.write(
                {
                    "__key__": picture.key,
                    picture.extension: picture.image,
                    "json": b"{}",
                    "txt": picture.text,
                }
            )
    data = file.read_bytes()
    shard = Shard(path, len(pictures), len(data), hashlib.sha256(data).hexdigest())
    (dataset / shard.index_path).write_bytes(parquet_bytes(index_tar(str(file))))
    return shard


def write_snapshot(dataset: Path, pictures: Sequence[Picture], sizes: Sequence[int]) -> Snapshot:
    id_ = snapshot_id({"sizes": list(sizes)}, " ".join(p.key for p in pictures), None)
    shards, taken = [], 0
    for number, size in enumerate(sizes):
        path = f"shards/{id_}/{number:08d}.tar"
        shards.append(write_shard(dataset, path, pictures[taken : taken + size]))
        taken += size
    snapshot = Snapshot(
        dataset=str(dataset),
        id=id_,
        parent=None,
        config={},
        plan_sha256="",
        counts={},
        not_downloaded=0,
        shards=tuple(shards),
        ledger={},
        libraries={},
    )
    folder = dataset / "snapshots" / id_
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest_bytes(snapshot))
    (dataset / "LATEST").write_text(id_ + "\n")
    return read_snapshot(str(dataset))


@pytest.fixture(scope="session")
def make_snapshot() -> MakeSnapshot:
    """Writes the first pictures into shards of these sizes, and publishes them."""
    return write_snapshot


@pytest.fixture(scope="session")
def web(pictures, tmp_path_factory) -> Snapshot:
    """23 samples in three shards. Read only: tests that damage a snapshot make their own."""
    return write_snapshot(tmp_path_factory.mktemp("web"), pictures, [9, 8, 6])


@pytest.fixture(scope="session")
def trusted(pictures, tmp_path_factory) -> Snapshot:
    """7 other samples in two shards."""
    return write_snapshot(tmp_path_factory.mktemp("trusted"), pictures[23:], [4, 3])


@pytest.fixture(scope="session")
def mixture(web, trusted) -> Mixture:
    """4 : 1 of the two."""
    return Mixture(
        (
            Source("web", web.url, 4, web.samples),
            Source("trusted", trusted.url, 1, trusted.samples),
        )
    )


@pytest.fixture
def run_config(tmp_path, mixture: Mixture, trusted) -> dict:
    """A run of a few seconds over two sources."""
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    return {
        "run": str(tmp_path / "run"),
        "mixture": str(tmp_path / "mixture.json"),
        "validation": trusted.url,
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": STEPS,
        "log_every": 3,
        "validate_every": 12,
        "checkpoint_every": 4,
        "threads": 1,
    }


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    """This process as a world of one; the process group is gone after the test."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.join() as joined:
        yield joined


@contextlib.contextmanager
def no_file_over(nbytes: int) -> Iterator[None]:
    """The system writes no file further than that: a part of the bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def busy_twice(monkeypatch) -> list[Unavailable]:
    """A store whose next two reads fail; what is left of these failures."""
    whole, failures = store.read_bytes, [Unavailable("busy"), Unavailable("busy")]

    def busy(*rest):
        if failures:
            raise failures.pop()
        return whole(*rest)

    monkeypatch.setattr(store, "read_bytes", busy)
    return failures
