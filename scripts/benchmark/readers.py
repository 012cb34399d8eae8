"""How Python programs read checkpoints and word vectors, timed inside of the process.

    python readers.py HOW FILE [WORDS.txt]

Prints the seconds of the second call: the first one has the file read into the page
cache. Each way is one that people use; none checks what it reads.
"""

import sys
import time


def load(path):
    import torch

    return torch.load(path, weights_only=True)


def mmap(path):
    import torch

    return torch.load(path, weights_only=True, mmap=True)


def mmap_clone(path):
    return {name: tensor.clone() for name, tensor in mmap(path).items()}


def lines(path, words):
    """A loop over the lines that parses those of words which are wanted."""
    import numpy

    wanted = {word: row for row, word in enumerate(words)}
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            word, _, numbers = line.rstrip().partition(" ")
            if word in wanted:
                found[wanted[word]] = numpy.array(numbers.split(" "), dtype=numpy.float32)
    return list(found), numpy.stack(list(found.values()))


def arrow(path, words):
    """The whole file as a table, then the rows that are wanted."""
    import numpy
    from pyarrow import csv

    with open(path, encoding="utf-8") as file:
        width = file.readline().count(" ")
    names = ["word", *map(str, range(width))]
    types = dict.fromkeys(names[1:], "float32") | {"word": "string"}
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names, block_size=1 << 24),
        parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
        convert_options=csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
    )
    rows = {word: row for row, word in enumerate(table["word"].to_pylist())}
    kept = [rows[word] for word in words if word in rows]
    table = table.take(kept)
    return kept, numpy.stack([table[name].to_numpy() for name in names[1:]], axis=1)


HOW = {"load": load, "mmap": mmap, "mmap-clone": mmap_clone, "lines": lines, "arrow": arrow}


def main(how, path, words=None):
    arguments = [path]
    if words:
        with open(words, encoding="utf-8") as file:
            arguments.append(file.read().splitlines())
    read = HOW[how]
    read(*arguments)
    started = time.perf_counter()
    result = read(*arguments)
    print(time.perf_counter() - started)
    del result


if __name__ == "__main__":
    main(*sys.argv[1:])
