"""`headrace plan --compare`: what would change, exactly, and without writing anything."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from jobs import compare
from pipeline import plan
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot
from pipeline.report.comparison import Move
from tests.pipeline.report.curated import curate, photo, write_tar

LOOSE = {"rules": {"min_caption_words": 1}}
STRICT = {"rules": {"min_side": 60, "min_caption_words": 2}, "duplicates": {"radius": 31}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A measured pool of two tars."""
    folder = tmp_path_factory.mktemp("compare")
    small = [(f"s{n}", photo(n, 40), "two words") for n in range(3)]
    large = [(f"l{n}", photo(10 + n), "two words") for n in range(20)]
    write_tar(folder / "0.tar", [*small, *large])
    more = [("one", photo(40), "word"), ("none", photo(41), ""), ("copy", photo(12), "two words")]
    write_tar(folder / "1.tar", more)
    return folder


@pytest.fixture(scope="module")
def snapshot(folder) -> Snapshot:
    return curate(folder / "dataset", str(folder / "*.tar"))


def config(folder: Path, name: str, decide: dict, pool: str = "*.tar") -> str:
    fields = {
        "dataset": str(folder / "dataset"),
        "sources": [{"url": str(folder / pool)}],
        "decide": decide,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_and_moves_are_those_of_both_plans(folder, snapshot):
    loose, strict = config(folder, "loose", LOOSE), config(folder, "strict", STRICT)
    before = files(folder)
    found = compare.run(loose, strict)
    assert files(folder) == before
    assert found.before == Counter({"kept": 25, "caption_too_short": 1})
    assert found.after == Counter(
        {"kept": 20, "too_small": 3, "caption_too_short": 2, "exact_duplicate": 1}
    )
    moves = {(move.before, move.after): move.total for move in found.moves}
    assert moves == {
        ("kept", "too_small"): 3,
        ("kept", "caption_too_short"): 1,
        ("kept", "exact_duplicate"): 1,
    }
    assert [move.total for move in found.moves] == [3, 1, 1]
    assert found.entering == []


def test_turning_them_round_turns_the_moves_round(folder, snapshot):
    loose, strict = config(folder, "loose", LOOSE), config(folder, "strict", STRICT)
    there, back = compare.run(loose, strict), compare.run(strict, loose)
    assert (there.before, there.after) == (back.after, back.before)

    def turned(move: Move) -> Move:
        return Move(move.after, move.before, move.total, move.rows)

    assert sorted(map(str, there.moves)) == sorted(str(turned(move)) for move in back.moves)


def test_a_snapshot_may_stand_on_either_side(folder, snapshot):
    strict = config(folder, "strict", STRICT)
    found = compare.run(snapshot.url, strict)
    assert dict(found.before) == snapshot.counts
    assert compare.run(snapshot.url, snapshot.url).moves == ()
    assert "every image has the same verdict in both" in compare.lines(compare.run(strict, strict))


def test_the_numbers_are_printed_side_by_side(folder, snapshot):
    found = compare.run(config(folder, "loose", LOOSE), config(folder, "strict", STRICT))
    told = "\n".join(" ".join(line.split()) for line in compare.lines(found))
    assert "kept 25 20 -5" in told
    assert "caption_too_short 1 2 +1" in told
    assert "pool images 26 26" in told
    assert "kept too_small 3" in told
    assert told.endswith("0 enter, 5 leave")


def test_the_sheet_shows_who_enters_and_leaves_and_nothing_else_is_written(folder, snapshot):
    loose, strict = config(folder, "loose", LOOSE), config(folder, "strict", STRICT)
    before = files(folder)
    compare.run(strict, loose, str(folder / "out" / "sheet.html"))
    (made,) = files(folder).keys() - before.keys()
    html = Path(made).read_text()
    assert "5 images would enter, 0 would leave" in html
    assert html.count("data:image/jpeg") == 5
    assert "Too small → Kept" in html
    assert "40 x 40" in html
    compare.run(strict, loose, str(folder / "again.html"))
    assert (folder / "again.html").read_text() == html


def test_a_move_of_many_shows_a_bounded_choice(folder, snapshot):
    none = config(folder, "none", {"rules": {"min_side": 1000}})
    found = compare.run(none, config(folder, "loose", LOOSE))
    (move,) = found.entering
    assert (move.before, move.total, len(move.rows)) == ("too_small", 25, 16)
    uids = plan.read(snapshot.url)["uid"].to_pylist()
    kept = [number for number in range(26) if number != 24]
    assert list(move.rows) == sorted(kept, key=uids.__getitem__)[:16]


def test_two_pools_cannot_be_compared(folder, snapshot):
    part = config(folder, "part", LOOSE, pool="0.tar")
    with pytest.raises(HeadraceError, match="different pools"):
        compare.run(part, config(folder, "loose", LOOSE))


def test_what_is_not_measured_is_an_error_that_says_so(folder, snapshot, tmp_path):
    fields = yaml.safe_load(Path(config(folder, "loose", LOOSE)).read_text())
    path = tmp_path / "elsewhere.yaml"
    path.write_text(yaml.safe_dump(fields | {"dataset": str(tmp_path / "empty")}))
    with pytest.raises(HeadraceError, match="not measured yet"):
        compare.run(str(path), config(folder, "loose", LOOSE))
