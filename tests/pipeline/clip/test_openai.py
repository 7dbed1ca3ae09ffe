"""An archive's weights are read as torch reads them, and nothing that a stranger put in it runs."""

import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline.clip import openai
from pipeline.clip.opening import open_model
from pipeline.format.errors import HeadraceError
from tests.pipeline.clip import making
from tests.pipeline.clip.making import tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return making.archive_of_openai(tmp_path_factory.mktemp("archive") / "ViT.pt", tiny().clip)


def test_the_weights_are_those_that_torch_finds_by_running_the_archive(archive):
    weights, quick = openai.read(archive)
    theirs = torch.jit.load(str(archive)).state_dict()
    assert set(theirs) - set(weights) == {"input_resolution", "context_length", "vocab_size"}
    assert all(torch.equal(value, theirs[name]) for name, value in weights.items())
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert quick


def test_the_activation_is_told_by_the_modules_where_no_size_is_given(tmp_path):
    for quick in (True, False):
        path = making.scripted(tmp_path / f"{quick}.pt", tiny(quick=quick).clip)
        assert openai.read(path)[1] == quick


def test_only_an_archive_is_taken_for_one(archive, tmp_path):
    assert openai.is_archive(archive)
    torch.save(tiny().clip.state_dict(), tmp_path / "plain.pt")
    making.safetensors(tmp_path / "w.safetensors", tiny().clip)
    (tmp_path / "text.pt").write_text("no")
    assert not any(openai.is_archive(path) for path in tmp_path.iterdir())


def crafted(archive: Path, out: Path, changed: dict[str, bytes], compressed: bool = False) -> str:
    """The archive with some members written anew."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(out, "w", kind) as new:
        for member in old.namelist():
            _, _, name = member.partition("/")
            new.writestr(member, changed.get(name, old.read(member)))
    return str(out)


class Attack:
    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


def refused(path: str) -> str:
    with pytest.raises(
        HeadraceError, match=r"^measure\.clip\.model 'tiny-quick.* cannot"
    ) as caught:
        open_model("tiny-quickgelu", path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_crafted_pickle_runs_nothing(archive, tmp_path):
    trace = tmp_path / "it-ran"
    attacks = [
        Attack(os.mkdir, str(trace)),
        Attack(os.system, f"touch {trace}"),
        Attack(eval, f"__import__('os').mkdir({str(trace)!r})"),
        Attack(getattr, "text", "upper"),
        Attack(torch.jit.load, "x"),
    ]
    for number, attack in enumerate(attacks):
        for protocol in (0, 2, 4):
            data = pickle.dumps({"a": attack}, protocol)
            path = crafted(archive, tmp_path / f"{number}-{protocol}.pt", {"data.pkl": data})
            assert "could run code" in refused(path)
    assert not trace.exists()


STUB = b"c__torch__\nA\n)\x81"
"""A module of the archive, made and not yet filled."""

VIEW = b"ctorch._utils\n_rebuild_tensor_v2\n("


def tensor(key: bytes, count: int, offset: int, size: int, stride: int) -> bytes:
    storage = b"(Vstorage\nctorch\nHalfStorage\nV%s\nVcpu\nI%d\ntQ" % (key, count)
    return VIEW + storage + b"I%d\n(I%d\nt(I%d\nttR" % (offset, size, stride)


def towering(floor: bytes) -> bytes:
    """40 floors, each of which holds the one below twice."""
    return floor + b"".join(b"q%c0(h%ch%ct" % (at, at, at) for at in range(40))


def view(*numbers) -> bytes:
    """A module of one tensor."""
    return STUB + b"}Va\n" + tensor(*numbers) + b"sb."


OPEN = STUB + b"}Va\n" + VIEW + b"("
HALF = b"Vstorage\nctorch\nHalfStorage\n"
LONG = b"V" + b"n" * 100_000 + b"\nq\xff0"
"""Puts a long name aside, as number 255."""
LEAF = STUB + b"}h\xff" + tensor(b"0", 4, 0, 1, 1) + b"sb"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"N.",
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        STUB + b".",
        STUB + b"Nb.",
        STUB + b"]b.",
        b"c__torch__\nA\n(N}Vx\nI1\nstb.",  # sets what it likes on a class
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}Vx\nI1\nstb.",
        b"ctorch\nHalfStorage\n)R.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n_rebuild_parameter\n.",
        b"c__torch__.a\nA\x00B\n.",
        b"V" + b"x" * 1000,
        b"\x8a\xff",
        b"\x8e" + (2**62).to_bytes(8, "little"),  # bytes that would fill the memory
        b"Nr\xff\xff\xff\x7f.",  # a memo of 2 billion entries
        view(b"0", 10**12, 0, 1, 1),
        view(b"0", 4, 0, 10**9, 0),
        view(b"0", 4, 3, 4, 1),
        view(b"0", 4, 0, -4, 1),
        view(b"../x", 4, 0, 4, 1),
        view(b"0", -1, 0, 4, 1),
        # a size that is 10^10 times a text
        OPEN + HALF + b"V0\nVcpu\nI4\ntQI0\n(L10000000000L\nVa\nt(I1\nttRsb.",
        # a storage whose name would take for ever to write down
        OPEN + HALF + towering(b")") + b"Vcpu\nI4\ntQI0\n(I1\nt(I1\nttRsb.",
        # 5000 floors of modules, each of a name of 100,000 letters
        LONG + (STUB + b"}(h\xff") * 5000 + b"N" + b"ub" * 5000 + b".",
        # 5000 tensors under such a name, each of another module
        LONG + STUB + b"}(" + b"".join(b"Vm%d\n" % at + LEAF for at in range(5000)) + b"ub.",
    ],
)  # fmt: skip
def test_a_pickle_that_makes_no_sense_is_refused(archive, tmp_path, data):
    refused(crafted(archive, tmp_path / "a.pt", {"data.pkl": data}))


def test_modules_that_hold_each_other_end(archive, tmp_path):
    data = STUB + b"q\x00}Va\nh\x00sb."
    refused(crafted(archive, tmp_path / "a.pt", {"data.pkl": data}))
    # 60 floors of a module that holds the next one twice: 2^60 names, were each walked.
    tower = STUB + b"}b"
    for _ in range(60):
        tower = STUB + b"}(Va\n" + tower + b"q\x01Vb\nh\x01ub"
    refused(crafted(archive, tmp_path / "b.pt", {"data.pkl": tower + b"."}))


def test_members_that_blow_up_are_refused(archive, tmp_path):
    path = crafted(archive, tmp_path / "a.pt", {"data/0": bytes(10**8)}, compressed=True)
    assert "larger than the file" in refused(path)


def test_members_that_share_their_bytes_are_refused(archive, tmp_path):
    path = tmp_path / "a.pt"
    parts = [b"Vt%d\n" % n + tensor(b"%d" % n, 50_000, 0, 9, 1) for n in range(50)]
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("a/data.pkl", STUB + b"}(" + b"".join(parts) + b"ub.")
        new.writestr("a/constants.pkl", b"")
        new.writestr("a/data/0", bytes(100_000))
        for number in range(1, 50):
            shared = zipfile.ZipInfo(f"a/data/{number}")
            first = new.getinfo("a/data/0")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(shared, field, getattr(first, field))
            new.filelist.append(shared)
            new.NameToInfo[shared.filename] = shared
    assert re.search("larger than the file|Overlapped", refused(str(path)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(archive, tmp_path, share):
    data = archive.read_bytes()
    (tmp_path / "a.pt").write_bytes(data[: int(share * len(data))])
    refused(str(tmp_path / "a.pt"))


def test_a_damaged_tensor_is_refused(archive, tmp_path):
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    refused(str(tmp_path / "a.pt"))
