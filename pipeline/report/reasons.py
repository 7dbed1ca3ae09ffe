"""The reasons of a plan in plain words, and the settings behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.decide.verdict import Reason

KEPT = "kept"
"""What a row without a reason is counted as, here as in the manifest."""


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
    Reason.CONTAMINATED: Words(
        "In an evaluation set",
        "The same picture is in a set that models are tested on.",
    ),
    Reason.TOO_SMALL: Words("Too small", "The shorter side has too few pixels to learn from."),
    Reason.EXTREME_ASPECT: Words(
        "Long strip", "One side is many times the other: banners, rulers, borders."
    ),
    Reason.CAPTION_TOO_SHORT: Words(
        "Caption too short", "The text beside the image is empty or too short to say anything."
    ),
    Reason.NO_SCORE: Words("No score", "The image-text model could not give this image a score."),
    Reason.LOW_SCORE: Words(
        "Caption does not fit",
        "A network scored how well image and text fit: below the cut.",
    ),
    Reason.EXACT_DUPLICATE: Words(
        "Exact copy", "Byte for byte the same file as another image; one of them stays."
    ),
    Reason.NEAR_DUPLICATE: Words(
        "Near copy",
        "Looks like another image, in other size or format; one of them stays.",
    ),
}

KINDS = {
    "archive_damaged": "The rest of the archive is lost",
    "decode_failed": "A damaged image",
    "empty": "An empty file",
    "no_image": "A sample without an image",
    "not_an_image": "Not an image",
    "too_many_bytes": "More bytes than allowed",
    "too_many_pixels": "More pixels than allowed",
    "unreadable_file": "The file cannot be opened",
}
"""How the ledger's `error` begins, in plain words."""

SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    Reason.CONTAMINATED: ("decontaminate", ("radius",)),
    Reason.TOO_SMALL: ("rules", ("min_side",)),
    Reason.EXTREME_ASPECT: ("rules", ("max_aspect",)),
    Reason.CAPTION_TOO_SHORT: ("rules", ("min_caption_words", "min_caption_characters")),
    Reason.NO_SCORE: ("cut", ()),
    Reason.LOW_SCORE: ("cut", ("top_fraction",)),
    Reason.EXACT_DUPLICATE: ("duplicates", ()),
    Reason.NEAR_DUPLICATE: ("duplicates", ("radius",)),
}
"""Reason → section of the `decide` config, and the fields there that set it."""


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
    section, names = SETTINGS[reason]
    values = decide.get(section)
    if not values:
        return "off"
    given = [f"{name} {values[name]:g}" for name in names if values.get(name)]
    return ", ".join(given) or ("off" if names else "on")
