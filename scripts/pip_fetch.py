"""One archive from the package index that pip is set up for, by its digest.

pip asks the build back end of a source archive for its metadata even when it
only downloads, which as a rule runs the archive's `setup.py`. Here pip gets a
back end that copies the archive's own PKG-INFO: nothing of what came is run.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from files import DataError, sha256_of

# Found by pip in place of setuptools; runs in the folder of the unpacked archive.
BACKEND = '''
import pathlib

class Inert:
    def prepare_metadata_for_build_wheel(self, folder, config_settings=None):
        text = pathlib.Path("PKG-INFO").read_text(encoding="utf-8")
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        name = f"{fields['Name']}-{fields['Version']}.dist-info"
        (pathlib.Path(folder) / name).mkdir()
        (pathlib.Path(folder) / name / "METADATA").write_text(text, encoding="utf-8")
        return name

__legacy__ = Inert()
'''


def pip_fetch(requirement, filename, sha256, folder):
    """Brings `filename` of `requirement` (`name==version`) into `folder`; returns its path.

    A file of that name with that digest which is there already is taken.
    """
    path = folder / filename
    if path.exists():
        if sha256_of(path) == sha256:
            return path
        raise DataError(f"{path}: not the expected file (SHA-256 {sha256}): remove it and run this again")
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as scratch:
        scratch = pathlib.Path(scratch)
        backend = scratch / "backend" / "setuptools"
        backend.mkdir(parents=True)
        (backend / "__init__.py").write_text("")
        (backend / "build_meta.py").write_text(BACKEND)
        (scratch / "requirements.txt").write_text(f"{requirement} --hash=sha256:{sha256}\n")
        arguments = ["--no-deps", "--no-build-isolation", "--require-hashes", "--ignore-requires-python"]
        if filename.endswith(".tar.gz"):
            arguments += ["--no-binary", ":all:"]
        run = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
            + arguments
            + ["-r", str(scratch / "requirements.txt"), "-d", str(scratch / "got")],
            env=os.environ
            | {"PYTHONPATH": str(backend.parent), "PIP_USE_PEP517": "1", "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        got = scratch / "got" / filename
        if run.returncode or not got.exists():
            said = [line.strip() for line in (run.stderr + run.stdout).splitlines() if line.strip()]
            raise DataError(
                f"pip could not download {requirement}: "
                f"{said[-1] if said else f'it brought no {filename}'}\n"
                f"Check the network and run this again. By hand: download {filename} from "
                f"https://pypi.org/project/{requirement.replace('==', '/')}/#files elsewhere, "
                f"put it at {path} and run this again."
            )
        if sha256_of(got) != sha256:
            raise DataError(f"{requirement}: pip brought a {filename} with another SHA-256 than {sha256}")
        os.replace(got, path)
    return path
