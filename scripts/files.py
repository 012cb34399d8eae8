"""Digests, and files that are either whole or not there."""

import contextlib
import hashlib
import os


class DataError(Exception):
    """Something that the user can act on; the message says how."""


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def written_atomically(path):
    """A binary file that takes the place of `path` when the block ends without an exception."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def megabytes(count):
    return f"{count / 1e6:.1f} MB"
