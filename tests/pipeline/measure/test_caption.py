"""Facts of captions: words, characters, language."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.measure.caption import facts


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("A photograph of a red fox in the snow, taken near the old mill", "en"),
        ("Ein Foto von einem roten Fuchs im Schnee neben der alten Mühle", "de"),
        ("Une photo d'un renard roux dans la neige, près du vieux moulin", "fr"),
        ("Фотография рыжей лисы в снегу возле старой мельницы", "ru"),
        ("雪の中の赤いキツネの写真、古い水車小屋の近く", "ja"),
        ("صورة ثعلب أحمر في الثلج بالقرب من الطاحونة القديمة", "ar"),
    ],
)
def test_the_language_of_a_sentence_is_known(caption, language):
    found = facts(caption)
    assert found["language"] == language
    assert 0.5 < found["language_score"] <= 1


def test_words_are_what_whitespace_divides():
    found = facts(" a  red\tfox\u00a0runs\n")
    assert (found["caption_words"], found["caption_characters"]) == (4, 17)
    assert found["caption"] == " a  red\tfox\u00a0runs\n"


@pytest.mark.parametrize("caption", ["", " ", "\n\t\u2003"])
def test_without_words_there_is_no_language(caption):
    found = facts(caption)
    assert (found["caption_words"], found["language"], found["language_score"]) == (0, None, None)


@pytest.mark.parametrize(
    "caption", ["?", "12345", "\x00", "😀 😀", "\ufffd\ufffd", "a\nb\r\nc\u2028d", "\u202e\u0301"]
)
def test_any_words_have_some_language(caption):
    found = facts(caption)
    assert isinstance(found["language"], str)
    assert 0 <= found["language_score"] <= 1


def test_lines_count_as_spaces():
    assert facts("a red fox\nin the snow")["language_score"] == pytest.approx(
        facts("a red fox in the snow")["language_score"]
    )


def test_of_a_very_long_caption_the_beginning_is_judged():
    english = "a red fox in the snow " * 500
    found = facts(english + "Фотография рыжей лисы в снегу " * 20_000)
    assert found["language"] == "en"
    assert found["caption_words"] == 3000 + 100_000


def test_the_model_is_the_packages_own_and_nothing_is_fetched_or_written(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*words): raise OSError('no network here')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from pipeline.measure.caption import facts\n"
        "print(facts('a photograph of a red fox in the snow')['language'])\n"
    )
    place = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "FTLANG_CACHE": str(tmp_path / "c")}
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env=os.environ | place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.stdout == "en\n", process.stderr
    assert list(tmp_path.iterdir()) == []
