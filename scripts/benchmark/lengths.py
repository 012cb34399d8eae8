"""Lengths of real texts: the sentences of movie reviews that scripts/demo trains on."""

import functools
import pathlib
import random
import re

from lab import Skip

FILE = pathlib.Path(__file__).resolve().parents[2] / "data/movie_reviews.tsv"

# What torchtext's basic_english makes tokens of: words, and each of these marks.
TOKEN = re.compile(r"['.,()!?]|[^\s'.,()!?;:\"]+")


@functools.cache
def sentences(path=FILE):
    """Tokens of each sentence."""
    if not path.exists():
        raise Skip(f"{path.name} is not there; scripts/data demo fetches it")
    with open(path, encoding="utf-8") as file:
        texts = [line.rstrip("\n").split("\t")[2] for line in file]
    return [length for text in texts if (length := len(TOKEN.findall(text)))]


def random_batches(count, size, seed=1):
    """Batches of sentences in random order."""
    chosen = random.Random(seed).sample(sentences(), count * size)
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


def bucketed_batches(count, size, seed=1, pool=50):
    """Batches of sentences of similar length, as an epoch has them that sorts pools of
    so many batches; so many of its batches, at random."""
    shuffle = random.Random(seed)
    order = shuffle.sample(sentences(), len(sentences()))
    batches = []
    for start in range(0, len(order), size * pool):
        part = sorted(order[start : start + size * pool])
        batches += [part[at : at + size] for at in range(0, len(part) - size + 1, size)]
    return shuffle.sample(batches, count)


def scaled(size, longest, seed=1):
    """One batch with the proportions of real sentences, the longest of this length."""
    chosen = random.Random(seed).sample(sentences(), size)
    return [max(1, round(length * longest / max(chosen))) for length in chosen]
