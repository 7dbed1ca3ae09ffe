"""Which rows a list names.

An entry is held as a code of fixed length, its own bytes if it is a digest, else a digest of it:
ten million entries take 160 MB (sha256: 320 MB) and are searched by halving. Only URLs with
wildcards stay text; RE2 matches them in time linear in the URL, whatever it was made to look like.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.domains import LONGEST, host_name, hosts
from pipeline.format.errors import HeadraceError
from pipeline.measure import told

Codes = npt.NDArray[np.bytes_]
COLUMN = {"uid": "uid", "sha256": "sha256", "url": "url", "domain": "url"}
"""The ledger column that each kind of list is held against."""

HEX_BYTES = {"uid": 16, "sha256": 32}
DIGEST_BYTES = 16
SHAPES = {
    "uid": (re.compile("[0-9a-fA-F]{32}"), "that has 32 hex digits"),
    "sha256": (re.compile("[0-9a-fA-F]{64}"), "that has 64 hex digits"),
    "url": (re.compile(r"(?s)\S.*"), "that is not empty"),
    "domain": (
        re.compile(r"(\*?\.)?([^\s/?#@:*\\\[\]]+|\[[0-9a-fA-F:.]+\])"),
        "write the host's name alone, as in example.com",
    ),
}
"""What an entry looks like: a list that holds something else would let through what it means."""

_USER = re.compile(r"(?<=://)[^/?#]*@")

PATTERNS_AT_ONCE = 100
"""URL patterns in one regular expression: RE2 refuses very large ones."""


@dataclass(frozen=True)
class Entries:
    """One list, ready to be searched: sorted codes of its entries, and its URL patterns."""

    kind: str
    name: str
    codes: Codes
    patterns: tuple[str, ...] = ()


def entries(kind: str, name: str, blocks: Iterable[list[str]]) -> Entries:
    """Builds a list from blocks of its entries. Raises HeadraceError for one that is malformed."""
    codes, patterns = [_codes(kind, [])], list[str]()
    for block in blocks:
        _check(kind, name, block)
        if kind == "url":
            block = list(map(as_told, block))
            patterns += [text for text in block if "*" in text]
            block = [text for text in block if "*" not in text]
        if kind == "domain":
            block = [host_name(text.removeprefix("*").removeprefix(".")) for text in block]
        codes.append(_codes(kind, block))
    return Entries(kind, name, np.unique(np.concatenate(codes)), tuple(dict.fromkeys(patterns)))


def match(rows: pa.Table, listed: Entries) -> dict[int, str]:
    """The rows that a list names, and of each the entry that names it."""
    column = rows[COLUMN[listed.kind]]
    if listed.kind == "domain":
        return _by_domain(column, listed)
    at = np.flatnonzero(column.is_valid().to_numpy())
    texts = column.drop_null().to_pylist()
    found = {int(at[number]): texts[number] for number in _met(listed, texts)}
    return _by_pattern(column, listed.patterns) | found


def _codes(kind: str, texts: Iterable[str]) -> Codes:
    if kind in HEX_BYTES:
        return np.frombuffer(bytes.fromhex("".join(texts)), f"S{HEX_BYTES[kind]}")
    encoded = (text.lower().encode(errors="replace") for text in texts)
    digests = (hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest() for text in encoded)
    return np.frombuffer(b"".join(digests), f"S{DIGEST_BYTES}")


def _check(kind: str, name: str, block: list[str]) -> None:
    shape, what = SHAPES[kind]
    for text in block:
        if not shape.fullmatch(text):
            raise HeadraceError(f"{name}: {text[:80]!r} is no {kind}: {what}")


def as_told(url: str) -> str:
    """A URL, or a pattern of URLs, as the ledger holds them: without passwords, and without the
    signature of one URL. Else it would not be met, and a manifest would repeat them."""
    if "*" in url:  # which would be written %2A by what takes signatures away
        return _USER.sub("", url)
    return told.facts({"url": url})["url"] or url


def _met(listed: Entries, texts: list[str]) -> list[int]:
    """The indices of the texts whose codes are listed."""
    if not len(listed.codes):
        return []
    wanted = _codes(listed.kind, texts)
    places = np.minimum(np.searchsorted(listed.codes, wanted), len(listed.codes) - 1)
    return np.flatnonzero(listed.codes[places] == wanted).tolist()


def _by_domain(urls: pa.ChunkedArray, listed: Entries) -> dict[int, str]:
    """Each host is looked up once, with all domains that it lies in, the host itself first."""
    encoded = hosts(urls).dictionary_encode()
    of_host = [
        (number, domain)
        for number, host in enumerate(encoded.dictionary.to_pylist())
        for domain in _domains(host)
    ]
    named: dict[int, str] = {}
    for at in _met(listed, [domain for _, domain in of_host]):
        named.setdefault(*of_host[at])
    indices = enumerate(encoded.indices.to_pylist())
    return {row: named[number] for row, number in indices if number in named}


def _domains(host: str) -> list[str]:
    """None longer than a name may be: a host of 4,000 dots was made to fill the memory."""
    if len(host) > LONGEST:
        host = host[-LONGEST:].partition(".")[2]
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _by_pattern(urls: pa.ChunkedArray, patterns: tuple[str, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(patterns), PATTERNS_AT_ONCE):
        some = patterns[start : start + PATTERNS_AT_ONCE]
        mask = pc.fill_null(pc.match_substring_regex(urls, _regex(some)), False)
        rows = np.flatnonzero(mask.to_numpy()).tolist()
        hit = urls.filter(mask)
        for pattern in some if rows else ():
            for number in np.flatnonzero(pc.match_substring_regex(hit, _regex([pattern]))).tolist():
                found.setdefault(rows[number], pattern)
    return found


def _regex(patterns: Iterable[str]) -> str:
    one_of = "|".join(
        ".*".join(re.escape(piece) for piece in pattern.split("*")) for pattern in patterns
    )
    return rf"(?is)^(?:{one_of})$"
