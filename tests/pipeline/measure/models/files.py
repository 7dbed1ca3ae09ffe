"""Tiny networks as files: ONNX written by hand (its protobuf), TorchScript by torch."""

import struct
import warnings
from pathlib import Path

import torch

FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: int) -> bytes:
    names = b"".join(field(1, one) for one in inputs) + b"".join(field(2, one) for one in outputs)
    extra = b"".join(
        field(5, field(1, name) + field(3, value) + field(20, 2))
        for name, value in attributes.items()
    )
    return field(1, names + field(4, kind) + extra)


def tensor(name: str, dims: list[int], values: list[float], outside: str = "") -> bytes:
    """A weight, or the place of one in another file."""
    head = b"".join(field(1, dim) for dim in dims) + field(2, FLOAT) + field(8, name)
    if not outside:
        return field(5, head + field(9, struct.pack(f"<{len(values)}f", *values)))
    place = field(13, field(1, "location") + field(2, outside))
    return field(5, head + place + field(14, 1))


def value(number: int, name: str, dims: list[int | str], kind: int = FLOAT) -> bytes:
    shape = b"".join(
        field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in dims
    )
    return field(number, field(1, name) + field(2, field(1, field(1, kind) + field(2, shape))))


def model(graph: bytes) -> bytes:
    return field(1, 8) + field(7, graph + field(2, "g")) + field(8, field(2, 13))


def colours(path: Path, outside: str = "", batch: int | str = "batch") -> Path:
    """ONNX: the mean of each colour, times 1, 10 and 100: (batch, 3)."""
    graph = (
        node("GlobalAveragePool", ["x"], ["means"])
        + node("Flatten", ["means"], ["flat"], axis=1)
        + node("Mul", ["flat", "w"], ["y"])
        + tensor("w", [3], [1.0, 10.0, 100.0], outside)
        + value(11, "x", [batch, 3, "height", "width"])
        + value(12, "y", [batch, 3])
    )
    path.write_bytes(model(graph))
    return path


def token_sum(path: Path) -> Path:
    """ONNX: the sum of a caption's tokens: (batch, 1)."""
    graph = (
        node("Cast", ["x"], ["floats"], to=FLOAT)
        + node("MatMul", ["floats", "w"], ["y"])
        + tensor("w", [77, 1], [1.0] * 77)
        + value(11, "x", ["batch", 77], INT64)
        + value(12, "y", ["batch", 1])
    )
    path.write_bytes(model(graph))
    return path


class Colours(torch.nn.Module):
    """(batch, 3, h, w) to (batch, 3): the mean of each colour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def script(path: Path) -> Path:
    """TorchScript: the mean of each colour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Colours()).save(str(path))
    return path
