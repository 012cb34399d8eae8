"""Chosen members of a zip archive, each checked, all or none put in place."""

import hashlib
import os
import pathlib
import zipfile
import zlib

from files import DataError


def extract(archive, targets, lines=None):
    """Unpacks members to the paths that `targets` gives for their names.

    `lines` has the expected number of lines for some of the names. Returns the
    SHA-256 of each target. No name out of the archive becomes a path.
    """
    lines = lines or {}
    temporary = {}
    digests = {}
    try:
        with zipfile.ZipFile(archive) as bundle:
            _check_names(archive, bundle.namelist(), targets)
            for name, target in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary[name] = target.with_name(f".{target.name}.tmp")
                # Reading to the end also checks the member's CRC.
                with bundle.open(name) as source, open(temporary[name], "wb") as file:
                    digests[target], found = _copy(source, file)
                if found != lines.get(name, found):
                    raise DataError(f"{archive}: {name} has {found} lines, expected {lines[name]}")
        for name, target in targets.items():
            os.replace(temporary[name], target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # The last two: compression that this Python does not know, encryption.
        raise DataError(f"{archive}: no sound zip archive ({error}): remove it and run this again") from None
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return digests


def _check_names(archive, names, targets):
    for name in names:
        path = pathlib.PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{archive}: refused, it has a member with the unsafe name {name!r}")
    for name in targets:
        if names.count(name) != 1:
            raise DataError(f"{archive}: {name} is in it {names.count(name)} times, expected once")


def _copy(source, file):
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    while block := source.read(1 << 20):
        file.write(block)
        digest.update(block)
        lines += block.count(b"\n")
        last = block[-1:]
    file.flush()
    os.fsync(file.fileno())
    # A last line without its newline counts.
    return digest.hexdigest(), lines + (last != b"\n")
