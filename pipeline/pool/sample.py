"""What every source format gives: parts to read, and the pool images in them."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pipeline.format.snapshot import canonical_json

MAX_TEXT_BYTES = 1_000_000
"""Captions and json members are read up to here; a larger one is cut, never loaded whole."""

CAPTIONS = ("caption", "text", "TEXT", "label")
"""Fields that hold a caption, the first that has words wins."""

_UID = re.compile(r"[0-9a-f]{32}")
_SECRET_PARAMETER = re.compile(
    r"(?i)^(x-(amz|goog)-.*|awsaccesskeyid|signature|sig|.*token|.*secret.*|passw(or)?d|api_?key)$"
)
_USER = re.compile(r"(?<=://)[^/?#]*@")
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Part:
    """What one task reads: a source shard, or a slice of one."""

    format: str
    source: str
    name: str
    """32 hex digits that change when the bytes behind the part do."""
    nbytes: int
    files: tuple[str, ...] = ()
    """Names in or beside the source: a folder's images in their order, then what tells of them."""
    begin: int = 0
    end: int = 0
    """[begin, end) of the source's rows or bytes, if the part is a slice of them."""
    classes: tuple[str, ...] = ()
    """The class names of the whole source in the order of their numbers, where it has them."""
    caption: str = ""
    """Field of a record whose value is its caption, if one was named."""


@dataclass(frozen=True)
class PoolImage:
    """One sample of the pool, readable or not. (source, key, offset) says where it lies."""

    source: str
    key: str
    offset: int
    nbytes: int
    uid: str
    image: bytes = b""
    caption: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """`<kind>: <words>` if its bytes could not be had at all."""


def part_name(*versions: str | int) -> str:
    """A part's name from what its store says of its files (URL, size, ETag)."""
    text = "\n".join(map(str, versions))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def uid_of(meta: dict[str, Any], source: str, key: str) -> str:
    """The source's own 128 bits as 32 hex digits, else a stable hash of source and key."""
    own = meta.get("uid")
    if isinstance(own, str) and _UID.fullmatch(own.lower()):
        return own.lower()
    return hashlib.sha256(f"{source}\n{key}".encode(errors="replace")).hexdigest()[:32]


def caption_of(meta: dict[str, Any]) -> str:
    """The caption in a record; a list or a number is none."""
    told = (meta.get(name) for name in CAPTIONS)
    return next((text.strip() for text in told if isinstance(text, str) and text.strip()), "")


def words_of(value: Any) -> str:
    """A field's value as a caption: text as it is, a number by its digits; of anything else "".

    3.0 is 3: columns of whole numbers become such where one has a gap.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return json.dumps(value) if is_number else ""


def clean_meta(meta: dict[str, Any]) -> str:
    """The source's own json, canonical, its URLs without passwords and signatures."""
    return canonical_json(_clean(meta)).decode()


def _clean(value: Any, levels: int = _MAX_DEPTH) -> Any:
    """Deeper than any record is nested lies only what was made to break a parser: null."""
    if isinstance(value, str) and "://" in value:
        return _clean_url(value)
    if isinstance(value, dict):
        return {k: _clean(v, levels - 1) for k, v in value.items()} if levels else None
    if isinstance(value, list):
        return [_clean(v, levels - 1) for v in value] if levels else None
    return value


def _clean_url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:  # not a URL after all
        return _USER.sub("", value)
    host = parts.netloc.rsplit("@", 1)[-1]
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, text) for name, text in query if not _SECRET_PARAMETER.match(name)]
    if host == parts.netloc and kept == query:
        return value
    return urlunsplit((parts.scheme, host, parts.path, urlencode(kept), parts.fragment))
