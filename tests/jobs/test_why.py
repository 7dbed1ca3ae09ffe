"""`headrace why`: any pool image by any of its names, or by a file, and its whole story."""

from pathlib import Path

import pytest
from PIL import Image

from jobs import why
from pipeline import plan
from pipeline.decide.cut import CutConfig
from pipeline.format import address
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot
from tests.pipeline.making import encode, picture
from tests.pipeline.report.curated import DECIDE, curate, photo, write_tar

CUT = DECIDE.model_copy(update={"cuts": (CutConfig(top_fraction=0.7),)})
ODD_KEY = "a#b@7"


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    """Two tars: twelve pictures, of which some repeat, and a file that is none."""
    folder = tmp_path_factory.mktemp("pool")
    samples = [(f"{n:04}", photo(n), f"number {n}") for n in range(8)]
    write_tar(folder / "0.tar", samples)
    more = [
        ("same", photo(3), "a longer caption"),
        ("near", photo(3, quality=60), "the same look"),
        ("text", b"<html>", "no image"),
        (ODD_KEY, photo(20), "an odd \x1b[31m key"),
    ]
    write_tar(folder / "1.tar", more)
    return folder


@pytest.fixture(scope="module")
def snapshot(pool) -> Snapshot:
    return curate(pool / "dataset", str(pool / "*.tar"))


def told(snapshot: Snapshot, name: str) -> str:
    return "\n".join(line for story in why.run(snapshot.url, name) for line in why.lines(story))


def places(stories: list[why.Story]) -> list[tuple[str, str]]:
    return [(Path(s.verdict["source"]).name, s.verdict["key"]) for s in stories]


def test_any_name_of_a_row_finds_it(snapshot):
    for row in plan.read(snapshot.url).to_pylist():
        source = row["source"]
        names = [row["uid"], f"{source}#{row['key']}", f"{source}#{row['key']}@{row['offset']}"]
        names += [row["shard_key"]] if row["shard_key"] else []
        names += [row["key"], f"{Path(source).name}#{row['key']}"]
        for name in names:
            assert [story.verdict for story in why.run(snapshot.url, name)] == [row]


def test_every_row_that_matches_is_told(tmp_path):
    for name in ("one", "two"):
        write_tar(tmp_path / f"{name}.tar", [("k", photo(len(name) + ord(name[0])), "x")])
    snapshot = curate(tmp_path / "d", str(tmp_path / "*.tar"))
    assert places(why.run(snapshot.url, "k")) == [("one.tar", "k"), ("two.tar", "k")]
    assert places(why.run(snapshot.url, "two.tar#k")) == [("two.tar", "k")]


def test_a_kept_image_tells_where_it_is_and_what_was_measured(snapshot):
    text = told(snapshot, "0001")
    assert f"kept in {snapshot.shards[0].path}, place " in text
    for fact in ("sharpness", "width", "caption", "language", "sha256", "number 1"):
        assert fact in text
    assert "rule:" not in text
    assert "phashes" in text


def test_a_duplicate_tells_its_keeper_and_where_that_one_is(snapshot):
    (story,) = why.run(snapshot.url, "near")
    (keeper,) = story.keepers
    text = "\n".join(why.lines(story))
    assert story.verdict["reason"] == "near_duplicate"
    assert f"dropped: near_duplicate: {story.verdict['detail']}" in text
    assert "rule: Near copy (radius 31)" in text
    assert f"duplicates {keeper['source']}#{keeper['key']}@{keeper['offset']}" in text
    assert f"which was kept in {snapshot.shards[keeper['shard']].path}" in text


def test_an_unreadable_image_tells_why(snapshot):
    text = told(snapshot, "text")
    assert "dropped: unreadable: not_an_image" in text
    assert "rule: Unreadable (always on)" in text


def test_a_score_and_its_threshold_are_told(pool):
    snapshot = curate(pool / "scored", str(pool / "*.tar"), CUT)
    row = next(r for r in plan.read(snapshot.url).to_pylist() if r["reason"] == "low_score")
    text = told(snapshot, row["uid"])
    assert f"dropped: low_score: {row['detail']}" in text
    assert "rule: Below the cut (clip_score top 0.7)" in text
    assert "clip_embedding             16 values" in text


def test_a_file_is_found_by_its_bytes_wherever_they_are(snapshot, tmp_path):
    path = tmp_path / "downloaded.jpg"
    path.write_bytes(photo(3))
    assert places(why.run(snapshot.url, str(path))) == [("0.tar", "0003"), ("1.tar", "same")]


def test_a_file_without_its_like_gets_the_nearest_look_as_a_hint(snapshot, tmp_path):
    path = tmp_path / "flipped.png"
    path.write_bytes(encode(picture(5, 64, 64).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    with pytest.raises(HeadraceError, match=r"no pool image has these bytes; .*0\.tar#0005@"):
        why.run(snapshot.url, str(path))
    path.write_bytes(encode(picture(99, 64, 64)))
    with pytest.raises(HeadraceError, match="nor does one look like it"):
        why.run(snapshot.url, str(path))
    path.write_bytes(encode(Image.new("RGB", (64, 64))))
    with pytest.raises(HeadraceError, match="too flat"):
        why.run(snapshot.url, str(path))
    path.write_text("not an image")
    with pytest.raises(HeadraceError, match="nor can it be decoded: not_an_image"):
        why.run(snapshot.url, str(path))


def test_a_name_that_nothing_has_is_an_error_that_shows_one(snapshot):
    with pytest.raises(HeadraceError, match=r"no pool image has the uid or key 'nothing'.*'0000'"):
        why.run(snapshot.url, "nothing")
    with pytest.raises(HeadraceError, match="no pool image"):
        why.run(snapshot.url, "elsewhere.tar#0001")


def test_what_a_terminal_would_obey_is_not_printed(snapshot):
    text = told(snapshot, ODD_KEY)
    assert "an odd  [31m key" in text
    assert all(sign.isprintable() for sign in text if sign != "\n")


def test_parts_that_cannot_hold_the_answer_are_not_read_whole(snapshot, monkeypatch):
    read = []
    monkeypatch.setattr(plan, "read_part", _noting(plan.read_part, read))
    why.run(snapshot.url, "0002")
    assert {number for _, number, *_ in read} == {0}


def _noting(function, calls: list):
    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return call


def test_a_plan_that_is_gone_is_an_error_that_names_it(pool):
    snapshot = curate(pool / "broken", str(pool / "1.tar"))
    Path(plan.part_url(snapshot.url, 0).removeprefix("file://")).unlink()
    with pytest.raises(HeadraceError, match="no such file"):
        why.run(address.join(snapshot.dataset), "same")
