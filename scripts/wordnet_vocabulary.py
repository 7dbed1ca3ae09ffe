"""Writes the vocabulary of DataComp's text_based filter: `rules.vocabulary` of a config.

    apt-get download wordnet-base && dpkg-deb -x wordnet-base*.deb wordnet
    python scripts/wordnet_vocabulary.py wordnet/usr/share/wordnet wnids.txt vocabulary.txt

`wnids.txt` lists the synsets of ImageNet-21k (`n02084071`), one a line: DataComp's list, or
`timm/data/_info/imagenet22k_synsets.txt`, which open_clip_torch's own dependency timm installs.

DataComp keeps a caption if the first synset that NLTK 3.8.1 finds in WordNet 3.0 for one of its
words has an offset in that list. The words for which this holds are written here, so that nobody
needs NLTK to decide. As there, nouns come before verbs, adjectives and adverbs; an ending is cut
off a word where the word itself is not known; and the offset alone is compared, so that a verb
passes whose offset is by chance that of a listed noun.

The list holds all words of WordNet, its irregular forms, and those that end in one or two of the
endings that NLTK cuts. NLTK cuts on without limit: a word that needs a third cut ("dogsss") passes
there and not here. Checked against NLTK 3.8.1 on 250,008 words, half of them random letters with
such endings: the first synset is always the same, and 77 such words are missing from the list.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = {
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
"""What is cut and what is put in its place, by part of speech: Morphy's rules (WordNet, morphy(7)),
in NLTK's order."""

CUTS = 2


@dataclass(frozen=True)
class Speech:
    """One part of speech: the offset of each word's first synset, irregular forms, endings."""

    first: dict[str, int]
    irregular: dict[str, list[str]]
    endings: list[tuple[str, str]]


def load(folder: Path) -> list[Speech]:
    """The parts of speech in the order in which NLTK asks them."""
    return [
        Speech(_index(folder / f"index.{name}"), _exceptions(folder / f"{name}.exc"), _pairs(rules))
        for name, rules in ENDINGS.items()
    ]


def _index(path: Path) -> dict[str, int]:
    """Lines: word, part, synsets, p, p pointers, senses, ranked, offsets (WordNet, wndb(5))."""
    lines = (line.split() for line in path.read_text().splitlines() if not line.startswith(" "))
    return {fields[0]: int(fields[6 + int(fields[3])]) for fields in lines}


def _exceptions(path: Path) -> dict[str, list[str]]:
    return {fields[0]: fields[1:] for fields in map(str.split, path.read_text().splitlines())}


def _pairs(rules: str) -> list[tuple[str, str]]:
    return [(cut, put) for cut, _, put in (rule.partition(":") for rule in rules.split())]


def first_synset(word: str, speeches: list[Speech]) -> int | None:
    """The offset of the first synset of a word in lower case."""
    found = (speech.first[form] for speech in speeches for form in _known(word, speech))
    return next(found, None)


def _known(word: str, speech: Speech) -> list[str]:
    """The forms under which WordNet knows a word: itself, and what it is without its ending."""
    if word in speech.irregular:
        forms = [word, *speech.irregular[word]]
        return [form for form in forms if form in speech.first]
    cut = _without_ending([word], speech)
    known = [form for form in [word, *cut] if form in speech.first]
    while cut and not known:
        cut = _without_ending(cut, speech)
        known = [form for form in cut if form in speech.first]
    return known


def _without_ending(forms: list[str], speech: Speech) -> list[str]:
    return [
        form[: len(form) - len(cut)] + put
        for form in forms
        for cut, put in speech.endings
        if form.endswith(cut)
    ]


def candidates(speeches: list[Speech]) -> Iterator[str]:
    """All words, irregular forms, and what becomes of them with up to `CUTS` endings."""
    for speech in speeches:
        forms = {*speech.first, *speech.irregular}
        yield from forms
        for _ in range(CUTS):
            forms = set(_with_ending(forms, speech))
            yield from forms


def _with_ending(forms: Iterable[str], speech: Speech) -> Iterator[str]:
    for form in forms:
        for cut, put in speech.endings:
            if form.endswith(put):
                yield form[: len(form) - len(put)] + cut


def vocabulary(speeches: list[Speech], wnids: Iterable[str]) -> list[str]:
    """The words whose first synset is in the list, sorted."""
    listed = {int(wnid[1:]) for wnid in wnids}
    return sorted(
        word for word in set(candidates(speeches)) if first_synset(word, speeches) in listed
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wordnet", type=Path, help="folder of index.noun, noun.exc, …")
    parser.add_argument("wnids", type=Path, help="synsets, one a line")
    parser.add_argument("vocabulary", type=Path, help="file to write")
    arguments = parser.parse_args()
    words = vocabulary(load(arguments.wordnet), arguments.wnids.read_text().split())
    arguments.vocabulary.write_text("".join(f"{word}\n" for word in words))
    print(f"{len(words)} words in {arguments.vocabulary}")


if __name__ == "__main__":
    main()
