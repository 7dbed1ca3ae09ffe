"""Every random choice is a hash of (seed, purpose, name): no generator, no order, no state."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

SEED = "headrace-demo-1"
T = TypeVar("T")


def digest(purpose: str, name: str) -> str:
    return hashlib.sha256(f"{SEED}|{purpose}|{name}".encode()).hexdigest()


def number(purpose: str, name: str) -> int:
    return int(digest(purpose, name)[:16], 16)


def fraction(purpose: str, name: str) -> float:
    """A number in [0, 1)."""
    return number(purpose, name) / 2**64


def pick(choices: Sequence[T], purpose: str, name: str) -> T:
    return choices[number(purpose, name) % len(choices)]


def shuffled(items: Iterable[T], purpose: str, name: Callable[[T], str]) -> list[T]:
    return sorted(items, key=lambda item: digest(purpose, name(item)))
