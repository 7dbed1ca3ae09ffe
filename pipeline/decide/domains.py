"""Whose a URL is: its host, and the name by which that is listed and counted."""

import pyarrow as pa
import pyarrow.compute as pc

LONGEST = 253
"""Characters that a host's name may have (RFC 1035, as text)."""

_HOST = r"(?i)^\s*[a-z][a-z0-9+.-]*://(?:[^/?#\\]*@)?(?P<host>\[[^\]/?#\\]*\]|[^:/?#\\]+)"


def hosts(urls: pa.ChunkedArray) -> pa.Array:
    """The host of each URL: lower case, in ASCII (IDNA), without port and closing dot.

    Null where there is none, as in a path.
    """
    found = pc.struct_field(pc.extract_regex(urls, _HOST), "host").combine_chunks()
    encoded = found.dictionary_encode()
    names = pa.array(
        [host_name(name) or None for name in encoded.dictionary.to_pylist()], pa.string()
    )
    return names.take(encoded.indices)


def host_name(text: str) -> str:
    """One host in the form that all are compared in."""
    name = text.strip().lower().rstrip(".")
    if name.isascii() or len(name) > LONGEST:
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:  # no name that could be registered; compare it as it is
        return name


def domains(urls: pa.ChunkedArray) -> pa.Array:
    """The host of each URL without a leading `www.`, null where there is none."""
    return pc.replace_substring_regex(hosts(urls), r"^www\.(.)", r"\1")
