"""Captions to tokens by open_clip's tokenizer, which no caption may stop and no pool may fill."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

MOST = 2_000
"""Characters of a caption that are read, several times what 77 tokens hold. open_clip's own pays
for a word by the square of its length: 7 seconds for 16,000 letters, and hours for a million."""

KEPT = 1_000_000
"""Words that are remembered, 0.2 GB. open_clip's own never forgets one."""


class Tokenizer:
    """n captions to (n, context length) int64. For one thread at a time."""

    def __init__(self, tokenizer: Callable[[list[str]], Tensor]) -> None:
        """Takes over one of open_clip's."""
        self.tokenizer: Any = tokenizer
        self.fresh = dict(getattr(tokenizer, "cache", {}))

    def __call__(self, captions: list[str]) -> Tensor:
        """The same tokens as open_clip's, whatever came before."""
        if len(getattr(self.tokenizer, "cache", ())) > KEPT:
            self.tokenizer.cache = dict(self.fresh)
        tokens: Tensor = self.tokenizer([caption[:MOST] for caption in captions])
        return tokens
