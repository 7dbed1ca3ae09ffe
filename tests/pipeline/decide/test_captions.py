"""The rules on captions."""

import pytest

from pipeline.decide import captions
from pipeline.decide.rules import RulesConfig
from pipeline.decide.verdict import Verdicts
from pipeline.format.errors import HeadraceError
from tests.pipeline.making import rows

KEPT = (None, None)


def judged(change, **rules) -> tuple[str | None, str | None]:
    config = RulesConfig(**rules)
    table = rows(change).select(sorted(captions.columns(config)))
    verdicts = Verdicts(1)
    captions.drop_by_length(verdicts, table, config)
    captions.drop_by_language(verdicts, table, config)
    captions.drop_by_vocabulary(verdicts, table, config, captions.prepare(config))
    return verdicts.reason[0], verdicts.detail[0]


def test_captions_fall_by_words_and_by_characters():
    short = {"caption_words": 2, "caption_characters": 5}
    assert judged(short, min_caption_words=3) == ("caption_too_short", "2 words, fewer than 3")
    assert judged(short, min_caption_words=2) == KEPT
    five = ("caption_too_short", "5 characters, fewer than 6")
    assert judged(short, min_caption_characters=6) == five
    assert judged(short, min_caption_characters=5) == KEPT


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [  # each as fastText 0.9.2's tokenize has it
        ("a b", 2), ("a\nb", 3), ("\n", 1), ("a\n", 2), ("\na", 2), (" a ", 1), ("", 0),
        ("a\u00a0b", 1), ("a\x1cb", 1), ("a\x00b", 2), ("a\x85b", 1), ("\n\n a", 3), (None, 0),
    ],
)  # fmt: skip
def test_tokens_are_counted_as_fasttext_does(caption, tokens):
    short = ("caption_too_short", f"{tokens} tokens, fewer than {tokens + 1}")
    assert judged({"caption": caption}, min_caption_tokens=tokens + 1) == short
    assert judged({"caption": caption}, min_caption_tokens=tokens) == KEPT


def test_captions_in_other_languages_fall():
    assert judged({"language": "en"}, languages=("en", "fr")) == KEPT
    assert judged({"language": "fr"}, languages=("en", "fr")) == KEPT
    wrong = ("wrong_language", "de, not en, fr")
    assert judged({"language": "de"}, languages=("en", "fr")) == wrong
    assert judged({"language": None}, languages=("en",)) == (
        "wrong_language",
        "no language, not en",
    )
    assert judged({"language": None}) == KEPT


def test_captions_without_a_listed_word_fall(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("dog\ncafé\nhot_dog\n", "utf-8")
    rules = {"vocabulary": str(path)}
    for caption in ("My DOG", "a\ndog\tran", "\u00a0dog\u3000here", "CAFÉ society", "a hot_dog"):
        assert judged({"caption": caption}, **rules) == KEPT
    none = ("not_in_vocabulary", f"none of its words is in {path}")
    for caption in ("dogs", "dog, cat", "hotdog", "", None):
        assert judged({"caption": caption}, **rules) == none


def test_a_vocabulary_without_words_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("\n \n")
    config = RulesConfig(vocabulary=str(tmp_path / "words.txt"))
    with pytest.raises(HeadraceError, match=r"words\.txt: no words in it"):
        captions.prepare(config)
    assert captions.files(config) == [config.vocabulary]
    with pytest.raises(HeadraceError, match="no such file"):
        captions.prepare(RulesConfig(vocabulary=str(tmp_path / "none.txt")))
