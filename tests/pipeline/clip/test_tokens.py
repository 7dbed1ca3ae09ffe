"""Captions of any kind become tokens, in time and in memory that are bounded."""

import random
import string
import time

import open_clip
import pytest
import torch

from pipeline.clip import tokens
from pipeline.clip.tokens import Tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(open_clip.SimpleTokenizer())


def test_captions_have_open_clips_own_tokens(tokenizer):
    captions = ["A dog's life &amp; more", "", "\0", "犬", "<end_of_text> x", "a cat, " * 300]
    assert torch.equal(tokenizer(captions), open_clip.SimpleTokenizer()(captions))


def test_a_million_letters_in_a_row_take_no_time(tokenizer):
    drawn = random.Random(0)
    word = "".join(drawn.choice(string.ascii_lowercase) for _ in range(1_000_000))
    begun = time.monotonic()
    assert tokenizer([word]).shape == (1, 77)
    assert time.monotonic() - begun < 30


def test_words_are_forgotten_once_there_are_many_and_tokens_stay_the_same(tokenizer, monkeypatch):
    monkeypatch.setattr(tokens, "KEPT", 10)
    captions = [
        f"{word}ling {word}ness" for word in ("quux", "frob", "zork", "blorb", "grue", "xyz")
    ]
    once, again = tokenizer(captions), tokenizer(captions)
    assert torch.equal(once, again)
    tokenizer(["dog"])
    assert len(tokenizer.tokenizer.cache) <= 3
