"""The reasons of a plan in plain words, and the settings behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.decide.verdict import Reason

KEPT = "kept"
"""What a row without a reason is counted as, here as in the manifest."""


OFF = "off"
"""What the setting of a rule says that the config does not ask for."""


@dataclass(frozen=True)
class Words:
    """How a verdict is called on the page, and what it means."""

    title: str
    explanation: str


WORDS = {
    KEPT: Words("Kept", "Passed every rule: these images are in the shards that a trainer reads."),
    Reason.UNREADABLE: Words(
        "Unreadable",
        "The file is damaged, is no image at all, or would unpack to an absurd size.",
    ),
    Reason.TAKEN_DOWN: Words(
        "Taken down", "On a list of images that may not be used: takedowns, opt-outs."
    ),
    Reason.UNSAFE: Words(
        "Unsafe", "Scored as unsafe above the limit, or not scored, so that nobody can tell."
    ),
    Reason.CONTAMINATED: Words(
        "In an evaluation set",
        "The same picture is in a set that models are tested on.",
    ),
    Reason.SOURCE_REPLACED: Words(
        "Source replaced", "The source changed since; what it holds now was judged anew."
    ),
    Reason.TOO_SMALL: Words("Too small", "The shorter side has too few pixels to learn from."),
    Reason.EXTREME_ASPECT: Words(
        "Long strip", "One side is many times the other: banners, rulers, borders."
    ),
    Reason.OUT_OF_RANGE: Words(
        "Out of range", "A figure that was measured lies outside of what the config allows."
    ),
    Reason.CAPTION_TOO_SHORT: Words(
        "Caption too short", "The text beside the image is empty or too short to say anything."
    ),
    Reason.WRONG_LANGUAGE: Words(
        "Other language", "The caption is not in a language that was asked for."
    ),
    Reason.NOT_IN_VOCABULARY: Words(
        "No known word", "No word of the caption is in the vocabulary that was given."
    ),
    Reason.NOT_SELECTED: Words(
        "Not selected", "Not on the lists, or not in the clusters, that are wanted."
    ),
    Reason.NO_SCORE: Words("No score", "There is no score to rank the image by."),
    Reason.LOW_SCORE: Words(
        "Below the cut",
        "Of all scored images only a top share stays, and this one scored lower.",
    ),
    Reason.EXACT_DUPLICATE: Words(
        "Exact copy", "Byte for byte the same file as another image; one of them stays."
    ),
    Reason.NEAR_DUPLICATE: Words(
        "Near copy",
        "Looks like another image, in other size or format, turned or flipped; one of them stays.",
    ),
    Reason.SEMANTIC_DUPLICATE: Words(
        "Same content",
        "Shows the same as another image, as a network sees it; one of them stays.",
    ),
    Reason.OVER_QUOTA: Words(
        "Over the quota", "Enough better images of the same origin or kind were kept already."
    ),
    Reason.SOURCE_GONE: Words(
        "Source gone", "Would be kept by now, and its source is no longer listed to copy it from."
    ),
}

KINDS = {
    "archive_damaged": "The rest of the archive is lost",
    "decode_failed": "A damaged image",
    "decoder_died": "An image that kills its decoder",
    "decoder_hung": "An image that hangs its decoder",
    "decoder_out_of_memory": "An image that unpacks to too much",
    "empty": "An empty file",
    "measuring_failed": "Measuring it failed",
    "no_image": "A sample without an image",
    "not_an_image": "Not an image",
    "too_many_bytes": "More bytes than allowed",
    "too_many_pixels": "More pixels than allowed",
    "unreadable_file": "The file cannot be opened",
}
"""How the ledger's `error` begins, in plain words."""


def words(reason: str) -> Words:
    """The words of a reason; a reason that this version does not know speaks for itself."""
    return WORDS.get(reason, Words(reason.replace("_", " ").capitalize(), ""))


def explain(error: str) -> str:
    """A row's `error` as `<what it is>: <message>`."""
    kind, colon, message = error.partition(": ")
    return KINDS.get(kind, kind) + colon + message


def setting(reason: str, decide: Mapping[str, Any]) -> str:
    """What the config says of a rule: its figures, `on`, `off`, or `always on`."""
    if reason not in SETTINGS:
        return "always on"
    return ", ".join(text for text in SETTINGS[reason](decide) if text) or OFF


Config = Mapping[str, Any]


def _in(config: Config, section: str) -> Config:
    """A section of the config; one that is not given is empty."""
    return config.get(section) or {}


def _figures(config: Config, *names: str) -> list[str]:
    """Those of the named fields that are set."""
    return [f"{name} {config[name]:g}" for name in names if config.get(name) is not None]


def _above_zero(config: Config, *names: str) -> list[str]:
    return _figures({name: config.get(name) or None for name in names}, *names)


def _lists(lists: Sequence[Config]) -> list[str]:
    names = [one["file"] or f"{len(one['values'])} in the config" for one in lists]
    return [f"{one['kind']}: {name}" for one, name in zip(lists, names, strict=True)]


def _selection(decide: Config) -> list[str]:
    chosen = [_in(decide, "select").get("uids"), _in(decide, "clusters").get("keep")]
    return [str(one) for one in chosen if one] + _lists(_in(decide, "lists").get("allow") or ())


def _ranges(decide: Config) -> list[str]:
    given = _in(_in(decide, "rules"), "ranges").items()
    return [f"{column} {' '.join(_figures(limits, 'min', 'max'))}" for column, limits in given]


def _duplicates(decide: Config) -> list[str]:
    return ["on"] if decide.get("duplicates") else []


SETTINGS: dict[str, Callable[[Config], list[str]]] = {
    Reason.TAKEN_DOWN: lambda decide: _lists(_in(decide, "lists").get("deny") or ()),
    Reason.UNSAFE: lambda decide: [
        f"{column} max {limit:g}" for column, limit in _in(_in(decide, "safety"), "max").items()
    ],
    Reason.CONTAMINATED: lambda decide: _figures(_in(decide, "decontaminate"), "radius", "cosine"),
    Reason.TOO_SMALL: lambda decide: _above_zero(_in(decide, "rules"), "min_side"),
    Reason.EXTREME_ASPECT: lambda decide: _figures(_in(decide, "rules"), "max_aspect"),
    Reason.OUT_OF_RANGE: _ranges,
    Reason.CAPTION_TOO_SHORT: lambda decide: _above_zero(
        _in(decide, "rules"), "min_caption_words", "min_caption_characters", "min_caption_tokens"
    ),
    Reason.WRONG_LANGUAGE: lambda decide: list(_in(decide, "rules").get("languages") or ()),
    Reason.NOT_IN_VOCABULARY: lambda decide: [_in(decide, "rules").get("vocabulary") or ""],
    Reason.NOT_SELECTED: _selection,
    Reason.NO_SCORE: lambda decide: [cut["score"] for cut in decide.get("cuts") or ()],
    Reason.LOW_SCORE: lambda decide: [
        f"{cut['score']} top {cut['top_fraction']:g}" for cut in decide.get("cuts") or ()
    ],
    Reason.EXACT_DUPLICATE: _duplicates,
    Reason.NEAR_DUPLICATE: lambda decide: _figures(_in(decide, "duplicates"), "radius"),
    Reason.SEMANTIC_DUPLICATE: lambda decide: _figures(
        _in(_in(decide, "duplicates"), "semantic"), "cosine"
    ),
    Reason.OVER_QUOTA: lambda decide: [
        f"{quota['at_most']:,} a {quota['per']}" for quota in [decide.get("quotas")] if quota
    ],
}
"""Reason → what the `decide` section of the config says of it."""
