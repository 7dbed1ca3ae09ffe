"""The vocabulary of DataComp's text_based filter, from a WordNet of a few words."""

from pathlib import Path

import pytest

from scripts.wordnet_vocabulary import first_synset, load, vocabulary

INDEX = {  # word, part, synsets, pointers and their signs, senses, ranked senses, offsets
    "noun": ["dog n 2 2 @ ~ 2 1 00000010 00000011", "mouse n 1 1 @ 1 1 00000020",
             "glass n 1 0 1 1 00000030", "running n 1 0 1 0 00000040"],
    "verb": ["run v 1 0 1 1 00000050", "dog v 1 0 1 0 00000060", "bake v 1 0 1 1 00000020"],
    "adj": ["big a 1 0 1 1 00000070"],
    "adv": ["fast r 1 0 1 1 00000080"],
}  # fmt: skip
EXCEPTIONS = {"noun": ["mice mouse"], "verb": ["ran run"], "adj": ["bigger big"], "adv": []}


@pytest.fixture
def speeches(tmp_path: Path):
    for name, lines in INDEX.items():
        licence = "  1 This software and database is being provided to you  \n"
        (tmp_path / f"index.{name}").write_text(licence + "".join(f"{s}  \n" for s in lines))
        (tmp_path / f"{name}.exc").write_text("".join(f"{line}\n" for line in EXCEPTIONS[name]))
    return load(tmp_path)


@pytest.mark.parametrize(
    ("word", "offset"),
    [
        ("dog", 10), ("dogs", 10), ("dogss", 10), ("dogged", None), ("mice", 20), ("mouses", 20),
        ("glass", 30), ("glasses", 30), ("running", 40), ("runs", 50), ("ran", 50), ("baked", 20),
        ("baking", 20), ("bigger", 70), ("biggest", None), ("fast", 80), ("cat", None), ("", None),
    ],
)  # fmt: skip
def test_the_first_synset_of_a_word(speeches, word, offset):
    assert first_synset(word, speeches) == offset


def test_a_word_passes_by_the_offset_of_its_first_synset(speeches):
    """That of `mouse` is by chance that of the verb `bake`."""
    words = vocabulary(speeches, ["n00000020", "n00000011"])
    assert {"mouse", "mice", "mouses", "bake", "bakes", "baked", "baking"} <= set(words)
    assert not {"dog", "dogs", "run", "glass"} & set(words)
    assert words == sorted(set(words))
