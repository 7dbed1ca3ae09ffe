"""A pool of everything that the web, a broken disk or an attacker may put into one.

Each shard comes with what must become of it: for each row, in any order, its key and the kind of
its error, None where the image is good.
"""

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.pipeline import dying
from tests.pipeline.making import END, encode, member, picture, png, tar_of, with_checksum

Rows = list[tuple[str, str | None]]
"""(key, kind of error) of each row of a shard."""

TEXT = b"a caption of five words"


def write(folder: Path) -> dict[str, Rows]:
    """Writes the shards; returns what is expected of each, by its name."""
    folder.mkdir(parents=True)
    expected = {}
    for make in SHARDS:
        name = f"{make.__name__.strip('_')}.tar"
        expected[name] = make(folder / name)
    return expected


def _sample(key: str, image: bytes, text: bytes = TEXT, extension: str = "jpg") -> bytes:
    return member(f"{key}.{extension}", image) + member(f"{key}.txt", text)


def _truncated(path: Path) -> Rows:
    data = b"".join(_sample(f"{n}", png(n)) for n in range(4))
    path.write_bytes(data[: len(data) - 2000])
    return [("0", None), ("1", None), ("2", None), ("", "archive_damaged")]


def _joined(path: Path) -> Rows:
    path.write_bytes(tar_of({"a.png": png(1)}) + bytes(9216) + tar_of({"b.png": png(2)}))
    return [("a", None), ("b", None)]


def _garbage_follows(path: Path) -> Rows:
    path.write_bytes(tar_of({"a.png": png(1)}) + b"garbage" * 1000)
    return [("a", None), ("", "archive_damaged")]


def _repeated_keys(path: Path) -> Rows:
    path.write_bytes(b"".join(_sample("same", png(n)) for n in range(3)) + END)
    return [("same", None)] * 3


def _strange_paths(path: Path) -> Rows:
    names = [
        "/etc/passwd",
        "../../../up",
        "C:\\x",
        "./dot",
        "a//b",
        "x" * 90,
        " ",
        "-rf",
        "ü/é",
        "caf\udce9",
    ]
    path.write_bytes(b"".join(_sample(name, png(n)) for n, name in enumerate(names)) + END)
    return [(name.replace("\udce9", "?"), None) for name in names]


def _nuls(path: Path) -> Rows:
    headers = {"path": "with\0nul.png"}
    named = member("short.png", png(2), tarfile.PAX_FORMAT, pax_headers=headers)
    path.write_bytes(_sample("a", png(1), b"nul \0 in \0 it") + named + END)
    return [("a", None), ("with\0nul", None)]


def _four_gigabytes(path: Path) -> Rows:
    """Members of 4 GB that are holes on the disk: an image, a caption, a json."""
    with path.open("wb") as file:
        for name in ("big.png", "a.txt", "b.json"):
            file.write(_header(name, 4 << 30))
            file.seek(4 << 30, io.SEEK_CUR)
            if name != "big.png":
                file.write(member(name.replace("txt", "png").replace("json", "png"), png(1)))
        file.write(END)
    return [("big", "too_many_bytes"), ("a", None), ("b", None)]


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _promises_more_than_there_is(path: Path) -> Rows:
    path.write_bytes(_sample("a", png(1)) + _header("b.png", 1 << 60) + b"few" + END)
    return [("a", None), ("", "archive_damaged")]


def _broken_header(path: Path) -> Rows:
    header = bytearray(_header("b.png", 100))
    header[124:136] = b"not a number"
    path.write_bytes(_sample("a", png(1)) + with_checksum(bytes(header)) + bytes(512) + END)
    return [("a", None), ("", "archive_damaged")]


def _oddities(path: Path) -> Rows:
    """Links, folders, devices and long names of both dialects between the samples."""
    links = [
        member(f"link{n}.png", b"", type=kind, linkname="/etc/passwd")
        for n, kind in enumerate([tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
    ]
    long = "long/" * 60 + "name"
    folder = member("folder.png", b"", type=tarfile.DIRTYPE)
    path.write_bytes(
        b"".join(links)
        + folder
        + _sample("a", png(1))
        + member(f"{long}.png", png(2))
        + member(f"{long}2.png", png(3), tarfile.PAX_FORMAT)
        + END
    )
    return [("a", None), (long, None), (f"{long}2", None)]


def _endless_names(path: Path) -> Rows:
    """A long-name header for a long-name header, ten thousand deep."""
    long = member("././@LongLink", b"x\0", type=tarfile.GNUTYPE_LONGNAME)
    path.write_bytes(_sample("a", png(1)) + long * 10_000 + END)
    return [("a", None), ("", "archive_damaged")]


def _no_tar(path: Path) -> Rows:
    path.write_bytes(b"<html><body>404 Not Found</body></html>" * 100)
    return [("", "archive_damaged")]


def _zipped(path: Path) -> Rows:
    path.write_bytes(zlib.compress(tar_of({"a.png": png(1)})))
    return [("", "archive_damaged")]


def _nothing(path: Path) -> Rows:
    path.write_bytes(b"")
    return [("", "archive_damaged")]


def _only_an_end(path: Path) -> Rows:
    path.write_bytes(END)
    return []


def _no_images(path: Path) -> Rows:
    path.write_bytes(tar_of({"a.txt": TEXT, "b.json": b"{}", "c.mp4": b"film"}))
    return [(key, "no_image") for key in "abc"]


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _images(path: Path) -> Rows:
    small = picture(1, 64, 48)
    frames = [picture(n, 32, 32) for n in range(4)]
    jpeg = encode(small, "JPEG", quality=90)
    cases: dict[str, tuple[bytes, str | None]] = {
        "bomb": (_bomb(60_000, 60_000), "too_many_pixels"),
        "largest_bomb": (_bomb(2**31 - 1, 2**31 - 1), "too_many_pixels"),
        "empty_bomb": (_bomb(7000, 9000), "decode_failed"),
        "zero": (b"", "empty"),
        "html": (b"<!DOCTYPE html><html>", "not_an_image"),
        "text": (b"plain text", "not_an_image"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        "cut": (jpeg[: len(jpeg) // 2], "decode_failed"),
        "first_byte": (jpeg[:1], "not_an_image"),
        "start": (jpeg[:20], "not_an_image"),
        "noise_inside": (jpeg[:700] + bytes(300) + jpeg[1000:], None),
        "png_as_jpg": (encode(small), None),
        "cmyk": (encode(small.convert("CMYK"), "JPEG"), None),
        "grey": (encode(small.convert("L"), "JPEG"), None),
        "palette": (encode(small.convert("P")), None),
        "alpha": (encode(small.convert("RGBA")), None),
        "sixteen": (encode(Image.new("I;16", (40, 30), 40_000)), None),
        "float": (encode(Image.new("F", (40, 30), 0.5), "TIFF"), None),
        "moving": (encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), None),
        "line": (encode(Image.new("RGB", (1, 60_000))), None),
        "dot": (encode(Image.new("RGB", (1, 1))), None),
    }
    samples = [_sample(key, data) for key, (data, _) in cases.items()]
    path.write_bytes(b"".join(samples) + END)
    return [(key, kind) for key, (_, kind) in cases.items()]


def _captions(path: Path) -> Rows:
    texts = {
        "latin": "café".encode("latin-1"),
        "utf16": "wide".encode("utf-16"),
        "cut": "…".encode()[:2],
        "surrogate": b"\xed\xa0\x80 alone",
        "overlong": b"\xc0\xaf",
        "nul": b"\0\0\0",
        "controls": bytes(range(32)) + b"\x7f\x1b[31m",
        "right_to_left": "‮txet".encode(),
        "stacked": ("a" + "\u0301" * 5000).encode(),
        "long": b"word " * 500_000,
        "none": b"",
        "lines": b"\n\r\n\x0b\x0c",
    }
    data = b"".join(_sample(key, png(n), text) for n, (key, text) in enumerate(texts.items()))
    path.write_bytes(data + END)
    return [(key, None) for key in texts]


def _records(path: Path) -> Rows:
    records = {
        "surrogate": b'{"caption": "\\ud800", "\\udfff": 1, "url": "http://\\ud800/"}',
        "list": b"[1, 2]",
        "number": b"1e999999",
        "nan": b'{"clip_b32_similarity_score": NaN, "width": Infinity, "original_width": -1e400}',
        "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
        "no_json": b"{'single': quotes}",
        "wrong_types": json.dumps(
            {"uid": 7, "caption": [1], "url": {}, "width": "x", "original_height": 2**99,
             "face_bboxes": "none", "sha256": None}
        ).encode(),
        "boxes": b'{"face_bboxes": [[0.1, 0.2], ["a", null, 1, 2], 3, [0, 0, 1e400, NaN]]}',
        "secret": b'{"url": "https://u:p@h/?X-Amz-Signature=1&a=b"}',
        "huge_number": b'{"original_width": ' + b"9" * 5000 + b"}",
    }  # fmt: skip
    data = b"".join(
        _sample(key, png(n)) + member(f"{key}.json", record)
        for n, (key, record) in enumerate(records.items())
    )
    path.write_bytes(data + END)
    return [(key, None) for key in records]


def _deadly(path: Path) -> Rows:
    """Images that end the process that opens them, among good ones."""
    hows = ["SIGSEGV", "SIGABRT", "EXIT", "GROW"]
    data = b"".join(
        _sample(how, dying.image(how)) + _sample(f"beside {how}", png(n))
        for n, how in enumerate(hows)
    )
    path.write_bytes(data + END)
    ends = ["decoder_died", "decoder_died", "decoder_died", "decoder_out_of_memory"]
    beside: Rows = [(f"beside {how}", None) for how in hows]
    return beside + list(zip(hows, ends, strict=True))


def _hanging(path: Path) -> Rows:
    path.write_bytes(_sample("a", dying.image("HANG")) + _sample("b", png(1)) + END)
    return [("a", "decoder_hung"), ("b", None)]


SHARDS: list[Callable[[Path], Rows]] = [
    _truncated, _joined, _garbage_follows, _repeated_keys, _strange_paths, _nuls, _four_gigabytes,
    _promises_more_than_there_is, _broken_header, _oddities, _endless_names, _no_tar, _zipped,
    _nothing, _only_an_end, _no_images, _images, _captions, _records, _deadly, _hanging,
]  # fmt: skip
