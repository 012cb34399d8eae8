"""A copy of the scripts in a folder of its own, and a PATH with just what they need."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
TOOLS = "bash sed cut sort head tail awk grep df uname readlink dirname ls flock tr ln mv rm mkdir sha256sum".split()
BASE = getattr(sys, "_base_executable", sys.executable)


class Sandbox(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.project, self.bin = self.folder / "project", self.folder / "bin"
        shutil.copytree(SCRIPTS, self.project / "scripts", ignore=shutil.ignore_patterns("__pycache__", "tests"))
        (self.project / "Cargo.toml").write_text('[package]\nname = "x"\nrust-version = "1.88"\n')
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.fake("cargo", "echo 'cargo 1.88.0 (abc 2025-01-01)'")
        self.fake("c++", "echo 'c++ 12'")
        self.free(100)
        self.python()

    def fake(self, name, text):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def free(self, gigabytes):
        self.fake("df", f"echo Filesystem; echo /dev/x 1 1 {gigabytes}000001 1% /")

    def python(self, change=""):
        """A python3 whose `probe` runs after the statement `change`."""
        wrapper = self.folder / "wrapper.py"
        wrapper.write_text(
            f"import runpy, sys\n{change}\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        self.fake("python3", f'exec {BASE} -I {wrapper} "$@"')

    def run_script(self, *words, **environment):
        return subprocess.run(
            [self.project / "scripts" / words[0], *words[1:]],
            env={"PATH": str(self.bin), "HOME": str(self.folder), "PIP_CONFIG_FILE": os.devnull} | environment,
            capture_output=True,
            text=True,
            cwd="/",
        )
