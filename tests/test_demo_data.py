"""The shipped demo data is what its truth file and README say it is."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pdqhash
import pyarrow.parquet as pq
import pytest
from PIL import Image

DATA = Path(__file__).parents[1] / "jobs" / "demo_data"
NEAR_COPIES = {"recompressed", "resized", "reencoded", "in_target_val"}
UNDECODABLE = {"truncated", "html", "bomb", "archive_damaged"}


@dataclass
class Stored:
    image: bytes
    extension: str
    caption: str
    record: dict[str, Any]
    shard: str
    offset: int


def read_tar(path: Path) -> dict[str, dict[str, tuple[bytes, int]]]:
    """Key → extension → (bytes, offset); a cut archive gives what can be read whole."""
    found: dict[str, dict[str, tuple[bytes, int]]] = {}
    with tarfile.open(path) as tar:
        try:
            for member in tar:
                key, _, extension = member.name.partition(".")
                stream = tar.extractfile(member)
                assert stream is not None
                found.setdefault(key, {})[extension] = (stream.read(), member.offset)
        except tarfile.ReadError:
            pass
    return {key: files for key, files in found.items() if len(files) == 3}


def read_part(glob: str) -> dict[str, Stored]:
    samples: dict[str, Stored] = {}
    for path in sorted(DATA.glob(glob)):
        for key, files in read_tar(path).items():
            assert key not in samples
            extension = next(e for e in files if e not in ("json", "txt"))
            samples[key] = Stored(
                files[extension][0],
                extension,
                files["txt"][0].decode(),
                json.loads(files["json"][0]),
                path.name,
                min(offset for _, offset in files.values()),
            )
    return samples


def pdq(image: bytes) -> tuple[np.ndarray, int]:
    with Image.open(io.BytesIO(image)) as opened:
        picture = opened.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    bits, quality = pdqhash.compute(np.asarray(flat))
    return np.packbits(bits.astype(np.uint8)).view(np.uint64), int(quality)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).sum(axis=-1).astype(int)


@pytest.fixture(scope="module")
def truth() -> list[dict[str, Any]]:
    return pq.read_table(DATA / "truth.parquet").to_pylist()


@pytest.fixture(scope="module")
def pool() -> dict[str, Stored]:
    return read_part("pool/*.tar")


@pytest.fixture(scope="module")
def target() -> dict[str, Stored]:
    return read_part("target/*.tar")


@pytest.fixture(scope="module")
def trusted() -> dict[str, Stored]:
    return read_part("trusted/*.tar")


@pytest.fixture(scope="module")
def hashes(truth, pool, target, trusted) -> dict[tuple[str, str], tuple[np.ndarray, int]]:
    """(part, key) → PDQ, of every picture that can be decoded."""
    bad = {row["key"] for row in truth if row["kind"] in UNDECODABLE}
    parts = {"pool": pool, "target": target, "trusted": trusted}
    return {
        (part, key): pdq(sample.image)
        for part, samples in parts.items()
        for key, sample in samples.items()
        if part != "pool" or key not in bad
    }


def original_of(row: dict[str, Any]) -> tuple[str, str]:
    return ("target" if row["kind"] == "in_target_val" else "pool", row["of"])


def test_the_demo_data_fits_in_16_mb():
    files = [file for file in DATA.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 16_000_000


def test_the_truth_has_one_row_per_pool_sample_with_its_shard_uid_and_offset(truth, pool):
    whole = {row["key"]: row for row in truth if row["kind"] != "archive_damaged"}
    assert whole.keys() == pool.keys()
    for key, row in whole.items():
        sample = pool[key]
        assert (row["shard"], row["uid"], row["offset"]) == (
            sample.shard,
            sample.record["uid"],
            sample.offset,
        )
        assert row["caption_ok"] == (
            bool(row["true_caption"]) and sample.caption == row["true_caption"]
        )


def test_the_last_shard_ends_inside_the_image_that_the_truth_calls_damaged(truth):
    (row,) = [row for row in truth if row["kind"] == "archive_damaged"]
    assert row["shard"] == max(path.name for path in DATA.glob("pool/*.tar"))
    with tarfile.open(DATA / "pool" / row["shard"]) as tar, pytest.raises(tarfile.ReadError):
        for member in tar:
            last = member
    assert (last.name.partition(".")[0], last.offset) == (row["key"], row["offset"])
    end = (DATA / "pool" / row["shard"]).stat().st_size
    assert last.offset_data < end < last.offset_data + last.size


def test_json_members_have_the_fields_of_img2dataset(pool, target, trusted):
    for samples in (pool, target, trusted):
        for key, sample in samples.items():
            record = sample.record
            assert record["key"] == key
            assert len(key) == 12
            assert record["caption"] == sample.caption
            assert record["sha256"] == hashlib.sha256(sample.image).hexdigest()
            assert int(record["uid"], 16) < 2**128
            assert record["url"].startswith("https://example.org/")
    assert len({s.record["uid"] for part in (pool, target, trusted) for s in part.values()}) == (
        len(pool) + len(target) + len(trusted)
    )


def test_json_sizes_are_those_of_the_decodable_pictures(truth, pool, target, trusted):
    bad = {row["key"] for row in truth if row["kind"] in UNDECODABLE}
    good = [sample for key, sample in pool.items() if key not in bad]
    for sample in [*good, *target.values(), *trusted.values()]:
        with Image.open(io.BytesIO(sample.image)) as image:
            assert image.size == (sample.record["width"], sample.record["height"])
            assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[sample.extension]


def test_exact_duplicates_have_the_bytes_of_a_clean_original(truth, pool):
    kinds = {row["key"]: row["kind"] for row in truth}
    for row in truth:
        if row["kind"] == "exact_duplicate":
            assert pool[row["key"]].image == pool[row["of"]].image
            assert kinds[row["of"]] == "clean"


def test_near_copies_lie_within_31_bits_of_an_original_with_a_telling_hash(truth, hashes):
    for row in truth:
        if row["kind"] in NEAR_COPIES:
            bits, quality = hashes[original_of(row)]
            assert quality >= 50
            assert distance(hashes["pool", row["key"]][0], bits) <= 31


def test_no_two_pictures_are_near_but_those_that_the_truth_records(truth, hashes):
    places = list(hashes)
    recorded = {frozenset([("pool", row["key"]), original_of(row)]) for row in truth if row["of"]}
    bits = np.stack([hashes[place][0] for place in places])
    for index, place in enumerate(places):
        for other in np.flatnonzero(distance(bits[index], bits[:index]) <= 40):
            assert frozenset([place, places[other]]) in recorded


def test_three_in_ten_of_the_otherwise_normal_captions_are_wrong(truth):
    kinds = [row["kind"] for row in truth]
    wrong, clean = kinds.count("wrong_caption"), kinds.count("clean")
    assert abs(wrong / (wrong + clean) - 0.30) <= 0.02
    for row in truth:
        if row["kind"] in ("clean", "wrong_caption"):
            assert row["caption_ok"] == (row["kind"] == "clean")


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("empty_caption", 0.03),
        ("junk_caption", 0.03),
        ("exact_duplicate", 0.04),
        ("recompressed", 0.025),
        ("resized", 0.025),
        ("reencoded", 0.025),
        ("in_target_val", 0.02),
        ("tiny", 0.01),
        ("extreme_aspect", 0.01),
    ],
)
def test_each_fault_has_its_share_of_the_pool(truth, kind, share):
    count = sum(row["kind"] == kind for row in truth)
    assert abs(count / len(truth) - share) <= 0.005


def test_faults_of_size_and_shape_are_as_named(truth, pool):
    for row in truth:
        if row["kind"] not in ("tiny", "extreme_aspect", "bomb"):
            continue
        record = pool[row["key"]].record
        small, large = sorted([record["width"], record["height"]])
        assert row["kind"] != "tiny" or large < 24
        assert row["kind"] != "extreme_aspect" or large > 4 * small
        assert row["kind"] != "bomb" or large * small > 2 * (Image.MAX_IMAGE_PIXELS or 0)


def test_truncated_files_and_error_pages_do_not_decode(truth, pool):
    for row in truth:
        if row["kind"] in ("truncated", "html"):
            with pytest.raises((OSError, SyntaxError)):
                pdq(pool[row["key"]].image)


def test_the_bomb_is_a_small_valid_file_that_pillow_refuses_to_open(truth, pool):
    (row,) = [row for row in truth if row["kind"] == "bomb"]
    data = pool[row["key"]].image
    assert len(data) < 150_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_the_target_has_ten_balanced_classes_and_leaks_only_from_its_validation(truth, target):
    labels = [sample.record["label"] for sample in target.values()]
    assert {label: labels.count(label) for label in labels} == dict.fromkeys(labels, 50)
    assert len(set(labels)) == 10
    leaked = [row["of"] for row in truth if row["kind"] == "in_target_val"]
    assert all(target[key].shard.startswith("val-") for key in leaked)
