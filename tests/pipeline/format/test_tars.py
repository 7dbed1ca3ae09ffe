"""The scan of a tar: true offsets, and nothing that an archive can hold makes it fail."""

import io
import tarfile
import tracemalloc

import numpy as np
import pytest
import webdataset

from pipeline.format.tars import (
    BLOCK,
    Damage,
    Sample,
    key_at,
    key_in_header,
    printable,
    scan,
    short_key,
    split_name,
)
from tests.pipeline.making import END, member, tar_of, with_checksum

A = {"a.jpg": b"\xff" * 700, "a.txt": b"one", "a.json": b"{}"}
B = {"b.jpg": b"\xfe" * 100, "b.txt": b""}
GOOD = tar_of(A)[: -len(END)]
REST = tar_of(B)[: -len(END)]


def scanned(data: bytes) -> tuple[list[Sample], Damage | None]:
    found = list(scan(io.BytesIO(data)))
    damages = [one for one in found if isinstance(one, Damage)]
    assert len(damages) <= 1
    assert damages == found[len(found) - len(damages) :], "damage comes last"
    return [one for one in found if isinstance(one, Sample)], (damages or [None])[0]


def keys(data: bytes) -> list[str]:
    samples, damage = scanned(data)
    assert damage is None
    return [sample.key for sample in samples]


def contents(sample: Sample, data: bytes) -> dict[str, bytes]:
    return {
        extension: data[one.offset : one.offset + one.nbytes]
        for extension, one in sample.members.items()
    }


# Whole archives


def test_offsets_cut_every_member_out_of_a_tar_that_webdataset_wrote(demo_data):
    path = demo_data / "pool" / "00000000.tar"
    data = path.read_bytes()
    samples, damage = scanned(data)
    assert damage is None
    stock = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert len(samples) == len(stock) > 200
    for sample, other in zip(samples, stock, strict=True):
        assert sample.key == other["__key__"]
        assert contents(sample, data) == {
            name: value for name, value in other.items() if not name.startswith("__")
        }


def test_a_sample_begins_at_its_first_header_and_stops_after_its_last_byte():
    data = GOOD + REST + END
    (a, b), _ = scanned(data)
    assert (a.start, a.stop) == (0, 512 + 1024 + 512 + 512 + 512 + 2)
    assert b.start == len(GOOD)
    assert key_in_header(data[b.start : b.start + BLOCK]) == "b"


def test_the_image_is_the_member_with_an_image_extension():
    (a,), _ = scanned(tar_of({"a.txt": b"1", "a.cls": b"2", "a.WebP": b"3"}))
    assert a.image == a.members["webp"]
    (b,), _ = scanned(tar_of({"b.txt": b"1"}))
    assert b.image is None


@pytest.mark.parametrize(
    ("name", "key", "extension"),
    [
        ("a.jpg", "a", "jpg"),
        ("a.seg.PNG", "a", "seg.png"),
        ("d/e/a.jpg", "d/e/a", "jpg"),
        ("v1.2/a.jpg", "v1.2/a", "jpg"),
        ("./a.jpg", "./a", "jpg"),
        ("README", "README", ""),
        ("d/.hidden", "d/", "hidden"),
        ("ключ.jpg", "ключ", "jpg"),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_last_component(name, key, extension):
    assert split_name(name) == (key, extension)
    (sample,), _ = scanned(tar_of({name: b"1"}))
    assert sample.key == key
    assert list(sample.members) == [extension]


def test_members_of_one_key_make_one_sample_only_where_they_stand_together():
    data = tar_of({"a.jpg": b"1", "b.jpg": b"2", "a.txt": b"3"})
    assert keys(data) == ["a", "b", "a"]


def test_a_repeated_extension_begins_another_sample():
    data = b"".join(member(name, b"1") for name in ("a.jpg", "a.txt", "a.jpg", "a.txt")) + END
    samples, _ = scanned(data)
    assert [sorted(sample.members) for sample in samples] == [["jpg", "txt"]] * 2
    assert samples[0].stop <= samples[1].start


def test_folders_links_and_devices_are_no_samples():
    data = (
        member("d/", type=tarfile.DIRTYPE)
        + member("d/a.jpg", b"1")
        + member("b.jpg", type=tarfile.SYMTYPE, linkname="d/a.jpg")
        + member("c.jpg", type=tarfile.CHRTYPE)
        + END
    )
    assert keys(data) == ["d/a"]


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_come_whole(tar_format):
    long, foreign = "x" * 150 + "/" + "y" * 200, "картинка" * 20
    data = (
        member(f"{long}.jpg", b"1" * 600, tar_format)
        + member(f"{foreign}.jpg", b"2", tar_format)
        + END
    )
    samples, damage = scanned(data)
    assert damage is None
    assert [sample.key for sample in samples] == [long, foreign]
    assert [contents(sample, data)["jpg"] for sample in samples] == [b"1" * 600, b"2"]


def test_names_that_are_no_utf8_are_still_told_apart():
    data = member("\udcff.jpg", b"1") + member("\udcfe.jpg", b"2") + END
    assert keys(data) == ["\udcff", "\udcfe"]


@pytest.mark.parametrize(
    ("name", "key"), [("/etc/a.jpg", "/etc/a"), ("../../a.jpg", "../../a"), ("d//a.jpg", "d//a")]
)
def test_a_path_out_of_the_archive_is_only_a_key(name, key):
    assert keys(tar_of({name: b"1"})) == [key]


def test_a_nul_ends_a_plain_name_and_is_kept_in_a_pax_name():
    plain = with_checksum(b"a\0b.jpg".ljust(100, b"\0") + member("x.jpg", b"1")[100:512])
    record = b"17 path=c\0dd.jpg\n"
    pax = member("x", record, type=tarfile.XHDTYPE) + member("x.jpg", b"2")
    samples, damage = scanned(plain + b"1".ljust(512, b"\0") + pax + END)
    assert damage is None
    assert [(sample.key, *sample.members) for sample in samples] == [("a", ""), ("c\0dd", "jpg")]


def test_members_under_global_and_odd_pax_headers_come_whole():
    info = tarfile.TarInfo("a.jpg")
    info.size, info.pax_headers = 3, {"comment": "x" * 2000, "mtime": "1.5", "SCHILY.xattr.a": "b"}
    header = info.tobuf(tarfile.PAX_FORMAT)
    everywhere = tarfile.TarInfo.create_pax_global_header({"comment": "made by hand"})
    data = everywhere + header + b"one".ljust(512, b"\0") + member("a.txt", b"two") + END
    (a,), damage = scanned(data)
    assert damage is None
    assert contents(a, data) == {"jpg": b"one", "txt": b"two"}


def sparse(name: str, size: int, stored: bytes) -> bytes:
    """A file with one hole after its data, as GNU tar stores it."""
    header = bytearray(member(name, stored, type=tarfile.GNUTYPE_SPARSE)[:512])
    header[257:265] = b"ustar  \0"
    header[386:410] = b"%011o\0%011o\0" % (0, len(stored))
    header[483:495] = b"%011o\0" % size
    return with_checksum(bytes(header)) + stored.ljust(-(-len(stored) // 512) * 512, b"\0")


def test_a_file_stored_with_holes_is_no_image_and_hides_nothing_after_it():
    data = sparse("a.jpg", 5000, b"1" * 600) + member("a.txt", b"one") + REST + END
    (a, b), damage = scanned(data)
    assert damage is None
    assert a.image is None
    assert sorted(a.members) == ["jpg.sparse", "txt"]
    assert contents(a, data)["jpg.sparse"][:600] == b"1" * 600
    assert contents(b, data)["jpg"] == b"\xfe" * 100


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_of_nine_gigabytes_is_found_with_what_follows_it(tmp_path, tar_format):
    info = tarfile.TarInfo("a.jpg")
    info.size = 9 << 30
    header = info.tobuf(tar_format)
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + info.size)  # a hole: it takes no room on the disk
        file.seek(0, 2)
        file.write(REST + END)
    with path.open("rb") as file:
        a, b = scan(file)
        file.seek(b.members["jpg"].offset)
        assert file.read(100) == b"\xfe" * 100
    assert (a.members["jpg"].offset, a.members["jpg"].nbytes) == (len(header), 9 << 30)


def test_an_empty_member_is_a_member():
    (a,), _ = scanned(tar_of({"a.jpg": b"", "a.txt": b""}))
    assert [one.nbytes for one in a.members.values()] == [0, 0]


def test_an_archive_that_holds_nothing_is_whole():
    assert scanned(END) == ([], None)
    assert scanned(bytes(10240)) == ([], None)


# Names, and where a member begins


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_sample_begins_at_the_extended_header_of_its_first_member(tar_format):
    long = "x" * 300
    first, second = member(f"{long}.jpg", b"1", tar_format), member("b.jpg", b"2", tar_format)
    samples, _ = scanned(GOOD + first + second + END)
    _, a, b = samples
    assert a.start == a.members["jpg"].header == len(GOOD)
    assert a.members["jpg"].offset == len(GOOD) + len(first) - BLOCK > len(GOOD) + 2 * BLOCK
    assert b.start == len(GOOD) + len(first)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("key", ["a", "x" * 300, "ключ" * 40, "x" * 100, "\udcff"])
def test_a_key_is_found_by_where_its_members_data_begin(tar_format, key):
    one = member(f"{key}.txt", b"one", tar_format)
    data = one + member(f"{key}.jpg", b"x" * 700, tar_format)
    offset = len(data) - 1024
    assert key_at(data, offset) == key_at(data[:-300], offset) == printable(key)
    assert key_at(data, len(one) - BLOCK) == printable(key)
    for wrong in (0, BLOCK // 2, offset + 1, len(data)):
        with pytest.raises(ValueError, match=f"begin at byte {wrong}"):
            key_at(data, wrong)


def test_a_short_key_is_that_of_the_first_field_of_a_header():
    assert short_key(member("d/ключ.seg.png")[:BLOCK]) == "d/ключ"
    assert short_key(member("\udcff.png")[:BLOCK]) == r"\xff"
    assert short_key(b"x" * 100 + b".jpg") == "x" * 100
    assert short_key(b"") == ""


def test_a_printable_key_is_text_that_a_table_holds():
    assert printable("ключ/a b") == "ключ/a b"
    assert printable("a\udcff\udc80") == r"a\xff\x80"


# Damage


@pytest.mark.parametrize("cut", [1, 200, 511])
def test_a_cut_inside_a_header_gives_what_stands_before_it(cut):
    samples, damage = scanned((GOOD + REST)[: len(GOOD) + cut])
    assert [(sample.key, len(sample.members)) for sample in samples] == [("a", 3)]
    assert damage.offset == len(GOOD)


@pytest.mark.parametrize("cut", [512, 513, 611])
def test_a_cut_inside_data_gives_what_stands_before_it(cut):
    samples, damage = scanned((GOOD + REST)[: len(GOOD) + cut])
    assert [(sample.key, len(sample.members)) for sample in samples] == [("a", 3)]
    assert damage == Damage(len(GOOD), "the archive ends inside 'b.jpg'")


def test_a_cut_inside_a_sample_keeps_the_members_that_are_whole():
    samples, damage = scanned(GOOD[: 512 + 1024 + 100])
    assert [list(sample.members) for sample in samples] == [["jpg"]]
    assert damage.offset == 512 + 1024


def test_an_archive_without_its_end_mark_is_damaged_at_its_end():
    samples, damage = scanned(GOOD + REST)
    assert [sample.key for sample in samples] == ["a", "b"]
    assert damage == Damage(len(GOOD + REST), "the archive ends without its end mark")


def test_garbage_between_members_ends_the_archive_there():
    samples, damage = scanned(GOOD + b"\x55" * 1024 + REST + END)
    assert [sample.key for sample in samples] == ["a"]
    assert damage.offset == len(GOOD)


# Tars joined end to end


@pytest.mark.parametrize("end", [bytes(512), END, bytes(10240), bytes((1 << 20) + 512)])
def test_joined_tars_are_read_on_with_true_offsets(end):
    data = GOOD + end + REST + end + GOOD + END
    samples, damage = scanned(data)
    assert damage is None
    assert [sample.key for sample in samples] == ["a", "b", "a"]
    assert [contents(one, data) for one in samples] == [
        {"jpg": b"\xff" * 700, "txt": b"one", "json": b"{}"},
        {"jpg": b"\xfe" * 100, "txt": b""},
        {"jpg": b"\xff" * 700, "txt": b"one", "json": b"{}"},
    ]


def test_a_tar_joined_to_a_cut_one_is_lost_with_the_rest_of_it():
    samples, damage = scanned(GOOD + END + REST[:700] + GOOD + END)
    assert [(one.key, len(one.members)) for one in samples] == [("a", 3), ("b", 1)]
    assert damage.offset == len(GOOD + END) + 512 + 512


def test_a_joined_tar_that_is_cut_is_damaged_where_it_is():
    samples, damage = scanned(GOOD + END + REST[:600])
    assert [sample.key for sample in samples] == ["a"]
    assert damage == Damage(len(GOOD + END), "the archive ends inside 'b.jpg'")
    _, damage = scanned(GOOD + END + REST)
    assert damage == Damage(len(GOOD + END + REST), "the archive ends without its end mark")


@pytest.mark.parametrize("garbage", [b"x", b"\x55" * 512, b"<html>" * 500, bytes(300) + b"x" * 900])
def test_garbage_after_the_end_mark_is_damage_where_it_begins(garbage):
    samples, damage = scanned(GOOD + END + garbage + REST + END)
    assert [sample.key for sample in samples] == ["a"]
    assert damage == Damage(len(GOOD + END), "garbage follows the end mark")


def test_a_thousand_joined_tars_are_read_on():
    assert keys((GOOD + bytes(512) + REST + bytes(512)) * 500 + END) == ["a", "b"] * 500


def test_a_tar_inside_a_file_is_read_by_its_place():
    outer = member("n1.tar", GOOD + END) + member("n2.tar", REST + END) + END
    (n1, n2), _ = scanned(outer)
    for sample, key in ((n1, "a"), (n2, "b")):
        tar = sample.members["tar"]
        found = list(scan(io.BytesIO(outer), tar.offset, tar.offset + tar.nbytes))
        assert [one.key for one in found] == [key]
        assert contents(found[0], outer)["jpg"] in (b"\xff" * 700, b"\xfe" * 100)


def test_a_tar_inside_a_file_never_reads_beyond_its_place():
    outer = member("n1.tar", GOOD + REST[:600]) + member("n2.tar", REST + END) + END
    a, damage = scan(io.BytesIO(outer), 512, 512 + len(GOOD) + 600)
    assert (a.key, len(a.members)) == ("a", 3)
    assert damage == Damage(512 + len(GOOD), "the archive ends inside 'b.jpg'")
    (empty,) = scan(io.BytesIO(outer), 512, 512)
    assert empty.offset == 512


# Hostile archives


@pytest.mark.parametrize("data", [b"", b"short", b"<html>" * 1000, b"PK\3\4" + bytes(5000)])
def test_a_file_that_is_no_tar_is_damaged_from_its_first_byte(data):
    samples, damage = scanned(data)
    assert samples == []
    assert damage.offset == 0


def with_size(header: bytes, size: bytes) -> bytes:
    return with_checksum(header[:124] + size + header[136:])


HOSTILE = {
    "a member of a thousand petabytes": with_size(member("b.jpg"), b"\x80" + b"\x7f" * 11),
    "a member of negative size": with_size(
        member("b.jpg"), b"\xff" * 10 + (0x10000 - 2048).to_bytes(2, "big")
    ),
    "a name of eight gigabytes": with_size(
        member("b.jpg", type=tarfile.GNUTYPE_LONGNAME), b"77777777777\0"
    ),
    "a name of a thousand petabytes": with_size(
        member("b.jpg", type=tarfile.GNUTYPE_LONGNAME), b"\x80" + b"\x7f" * 11
    ),
    "ten thousand names of names": member("././@LongLink", b"name\0", type=tarfile.GNUTYPE_LONGNAME)
    * 10_000,
    "a sparse map that goes on after the end": with_checksum(
        member("b.jpg", type=tarfile.GNUTYPE_SPARSE)[:482] + b"\1" + bytes(29)
    ),
    "a pax size of minus one": member("b.jpg", b"13 size=-512\n", type=tarfile.XHDTYPE)
    + member("b.jpg", b"1"),
    "a pax record of no length": member("b.jpg", b"0 size=1\n", type=tarfile.XHDTYPE),
    "a pax header that is no text": member("b.jpg", b"\xff" * 600, type=tarfile.XHDTYPE),
    "a sparse pax map": member(
        "b.jpg", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", type=tarfile.XHDTYPE
    )
    + member("b.jpg", b"999999\n"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_damage_where_it_stands(kind):
    samples, damage = scanned(GOOD + HOSTILE[kind])
    assert samples[0].key == "a"
    assert len(samples[0].members) == 3
    assert damage.offset == len(GOOD)
    assert len(damage.message) < 200


class Counting(io.BytesIO):
    """A file that knows the largest read that was asked of it."""

    largest = 0

    def read(self, count=-1):
        self.largest = max(self.largest, count if count >= 0 else 1 << 62)
        return super().read(count)


def test_the_scan_reads_headers_and_never_a_whole_member():
    data = member("a.jpg", bytes(8_000_000)) + member("b.jpg", bytes(8_000_000), type=b"L") + END
    file = Counting(data)
    list(scan(file))
    assert file.largest <= 1 << 20


def test_the_scan_of_many_members_keeps_none_of_them():
    data = io.BytesIO(b"".join(member(f"{number}.jpg") for number in range(5000)) + END)
    tracemalloc.start()
    try:
        assert sum(1 for _ in scan(data)) == 5000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


class Failing(io.BytesIO):
    """A store that breaks down after some reads."""

    left = 3

    def read(self, count=-1):
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError("connection reset by the store")
        return super().read(count)


def test_a_store_that_fails_is_no_damage_of_the_archive():
    with pytest.raises(ConnectionResetError):
        list(scan(Failing(GOOD * 10 + END)))


def test_every_cut_gives_the_members_before_it_and_one_damage():
    data = GOOD + REST + END
    starts = [0, 1536, 2560, 3584, 4608]  # of the five headers; b.txt has no data
    ends = [512 + 700, 1536 + 512 + 3, 2560 + 512 + 2, 3584 + 512 + 100, 4608 + 512]
    for cut in range(0, len(GOOD + REST), 7):
        samples, damage = scanned(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert sum(len(sample.members) for sample in samples) == whole, cut
        assert damage.offset == min([*starts, 5120][whole], cut), cut


def test_no_flipped_bytes_make_the_scan_fail():
    data = np.frombuffer(GOOD + REST + GOOD.replace(b"a.", b"c.") + END, np.uint8)
    headers = np.concatenate([np.arange(at, at + 512) for at in range(0, len(data), 512)])
    random = np.random.default_rng(7)
    for _ in range(300):
        broken = data.copy()
        flips = random.integers(1, 5)
        broken[random.choice(headers, flips)] = random.integers(0, 256, flips)
        keep = random.integers(len(data) // 2, len(data) + 1)
        samples, _ = scanned(broken[:keep].tobytes())
        assert all(one.offset + one.nbytes <= keep for s in samples for one in s.members.values())


def test_flips_with_a_valid_checksum_do_not_make_the_scan_fail_either():
    random = np.random.default_rng(8)
    types = b"0\0xgLKSVMDN15"
    for _ in range(300):
        header = bytearray(member("b.jpg", b"")[:512])
        header[156] = types[random.integers(len(types))]
        for at in random.integers(100, 500, random.integers(1, 12)):
            if not 148 <= at < 157:
                header[at] = random.integers(256)
        header[124:136] = random.choice(
            [b"00000000144\0", b"\x80" + bytes(10) + b"\x80", b"zz" * 6]
        )
        body = random.choice([b"13 size=-512\n", b"1 \n", b"28 GNU.sparse.map=0,1,2,3,4\n", b"\0"])
        data = GOOD + with_checksum(bytes(header)) + body.ljust(512, b"\0") + REST + END
        samples, _ = scanned(data)
        assert samples[0].key == "a"


def test_a_block_that_is_no_header_has_no_key():
    for block in (bytes(512), b"x" * 512, b"short"):
        with pytest.raises(ValueError, match="no tar header"):
            key_in_header(block)
