"""Retired snapshots name the one to go on with."""

import json

import pytest

from pipeline.format import retired
from pipeline.format.errors import HeadraceError
from pipeline.format.retired import Retired


def url(tmp_path, name: str) -> str:
    return f"file://{tmp_path}/snapshots/{name}"


def test_what_was_not_retired_passes(tmp_path):
    retired.check(url(tmp_path, "a"))
    assert not retired.is_retired(url(tmp_path, "a"))


def test_the_successor_is_one_that_was_not_retired_itself(tmp_path):
    retired.retire(url(tmp_path, "a"), "b")
    retired.retire(url(tmp_path, "b"), "c")
    with pytest.raises(Retired) as caught:
        retired.check(url(tmp_path, "a"))
    assert caught.value.snapshot == url(tmp_path, "a")
    assert caught.value.successor == url(tmp_path, "c")
    assert str(caught.value).startswith(f"{url(tmp_path, 'a')}: was retired")
    assert f"{url(tmp_path, 'c')} is its successor" in str(caught.value)
    assert "--fork RUN" in str(caught.value)


def test_retiring_again_changes_nothing(tmp_path):
    retired.retire(url(tmp_path, "a"), "b")
    retired.retire(url(tmp_path, "a"), "c")
    kept = (tmp_path / "snapshots" / "a" / "retired.json").read_text()
    assert json.loads(kept) == {"successor": "b"}


def test_successors_that_lead_in_a_circle_end_all_the_same(tmp_path):
    retired.retire(url(tmp_path, "a"), "b")
    retired.retire(url(tmp_path, "b"), "a")
    with pytest.raises(Retired):
        retired.check(url(tmp_path, "a"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"successor": 7}'])
def test_a_file_that_names_no_successor_is_named_with_the_fix(tmp_path, text):
    path = tmp_path / "snapshots" / "a" / "retired.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(HeadraceError, match=r"a/retired\.json: does not say .*restore it"):
        retired.check(url(tmp_path, "a"))
