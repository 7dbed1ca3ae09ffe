"""Rules on the caption: long enough to say something, in the language wanted, about the world."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.rules import RulesConfig
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.format import store
from pipeline.format.errors import HeadraceError

Vocabulary = frozenset[str]

_TOKEN = r"[^ \n\r\t\v\f\x00]+"
"""What fastText 0.9.2 takes for a token, beside each line break. Checked against it on 20,000
random strings."""


def columns(config: RulesConfig) -> set[str]:
    """Ledger columns that the rules of this module read."""
    wanted = {
        "caption_words": config.min_caption_words,
        "caption_characters": config.min_caption_characters,
        "caption": config.min_caption_tokens or config.vocabulary,
        "language": config.languages,
    }
    return {column for column, setting in wanted.items() if setting}


def files(config: RulesConfig) -> list[str]:
    """Files whose content the verdicts depend on."""
    return [config.vocabulary] if config.vocabulary else []


def prepare(config: RulesConfig) -> Vocabulary:
    """The words of the vocabulary file; none without one. Raises HeadraceError if it is empty."""
    if config.vocabulary is None:
        return frozenset()
    text = store.read_bytes(config.vocabulary).decode(errors="replace")
    words = frozenset(text.lower().split())
    if not words:
        raise HeadraceError(f"{config.vocabulary}: no words in it; one word a line is expected")
    return words


def drop_by_length(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops captions that are too short to say anything."""
    for column, least, unit in (
        ("caption_words", config.min_caption_words, "words"),
        ("caption_characters", config.min_caption_characters, "characters"),
        ("caption", config.min_caption_tokens, "tokens"),
    ):
        if least:
            _drop_short(verdicts, rows[column], least, unit)


def _drop_short(verdicts: Verdicts, column: pa.ChunkedArray, least: int, unit: str) -> None:
    counted = tokens(column) if unit == "tokens" else column
    length = counted.fill_null(0).to_numpy()
    verdicts.drop(
        length < least,
        Reason.CAPTION_TOO_SHORT,
        lambda row: f"{length[row]} {unit}, fewer than {least}",
    )


def tokens(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """How many tokens fastText sees in each caption: runs between ASCII spaces, and line breaks."""
    runs = pc.count_substring_regex(captions, _TOKEN)
    return pc.add(runs, pc.count_substring(captions, "\n"))


def drop_by_language(verdicts: Verdicts, rows: pa.Table, config: RulesConfig) -> None:
    """Drops captions in other languages, and those in which none was found."""
    if not config.languages:
        return
    language = rows["language"]
    wanted = pc.is_in(language, pa.array(config.languages, pa.string()))
    verdicts.drop(
        ~wanted.to_numpy(),
        Reason.WRONG_LANGUAGE,
        lambda row: f"{language[row].as_py() or 'no language'}, not {', '.join(config.languages)}",
    )


def drop_by_vocabulary(
    verdicts: Verdicts, rows: pa.Table, config: RulesConfig, vocabulary: Vocabulary
) -> None:
    """Drops captions of which no word, between spaces and in lower case, is in the vocabulary."""
    if config.vocabulary is None:
        return
    captions = rows["caption"].fill_null("").to_pylist()
    lacking = [vocabulary.isdisjoint(caption.lower().split()) for caption in captions]
    verdicts.drop(
        np.array(lacking, bool),
        Reason.NOT_IN_VOCABULARY,
        lambda row: f"none of its words is in {config.vocabulary}",
    )
