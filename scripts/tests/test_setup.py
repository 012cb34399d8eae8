"""scripts/setup names what a machine lacks, and makes an environment that is whole."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import unittest
import zipfile

from sandbox import BASE, SCRIPTS, Sandbox


class CheckTest(Sandbox):
    def problems(self, *patterns, arguments=("--check",), **environment):
        before = sorted(self.project.rglob("*"))
        run = self.run_script("setup", *arguments, **environment)
        self.assertEqual(run.returncode, 2 if patterns else 0, run.stdout + run.stderr)
        lines = [line for line in run.stderr.splitlines() if line.startswith("  - ")]
        self.assertEqual(len(lines), len(patterns), run.stderr)
        for line, pattern in zip(lines, patterns, strict=True):
            self.assertRegex(line, pattern)
        self.assertEqual(sorted(self.project.rglob("*")), before)

    def test_all_there(self):
        self.problems()
        self.problems(CXX="c++ -x")

    def test_all_missing_in_one_go_before_anything_starts(self):
        for name in ("python3", "c++", "cargo"):
            (self.bin / name).unlink()
        for arguments in (("--check",), (), ("--cpu",)):
            self.problems(
                "no python3: apt-get install python3 python3-venv",
                r"no C\+\+ compiler \(c\+\+\): apt-get install g\+\+",
                "no cargo: curl .*rustup",
                arguments=arguments,
            )

    def test_python(self):
        for change, problem in (
            ("sys.version_info = (3, 9, 2, 'final', 0)", "is Python 3.9, too old .*apt-get install python3"),
            ("import importlib.util as u; u.find_spec = lambda _: None", "cannot make virtual .* apt-get install python3-venv"),
            ("sys.version_info = (3, 15, 0, 'final', 0)", r"is Python 3.15, for which there is no torch 2.11 \("),
            ("sys.exit(1)", "does not run: apt-get install --reinstall python3"),
        ):
            self.python(change)
            self.problems(problem)

    def test_the_rest_of_the_machine(self):
        self.fake("cargo", "echo 'cargo 1.100.0-nightly (abc 2026-01-01)'")
        self.problems()
        self.fake("cargo", "echo 'cargo 1.87.9 (abc 2025-01-01)'")
        self.fake("c++", "exit 1")
        self.fake("uname", "echo Darwin")
        self.free(14)
        (self.project / ".libtorch").mkdir()
        (self.project / ".venv").mkdir()
        (self.project / ".venv" / "mine").touch()
        self.problems(
            "only Linux on x86_64 or aarch64",
            r"\(c\+\+\) does not run",
            "cargo is 1.87.9, too old .1.88 or newer.: rustup update stable",
            "14 GB free .*15 GB needed",
            ".libtorch is there and is not a link: mv",
            ".venv is there and is not a virtual environment: mv",
            arguments=(),
        )

    def test_the_small_set_needs_less(self):
        self.free(7)
        self.problems(arguments=("--check", "--cpu"))
        self.free(6)
        self.problems("6 GB free .*7 GB needed", arguments=("--check", "--cpu"))

    def test_arguments(self):
        run = self.run_script("setup", "--gpu")
        self.assertEqual(run.returncode, 2)
        self.assertIn("unknown argument '--gpu'", run.stderr)
        run = self.run_script("setup", "--help")
        self.assertEqual(run.returncode, 0)
        self.assertIn("scripts/setup --cpu", run.stdout)


class LockTest(unittest.TestCase):
    def test_locks_have_every_pin_and_a_hash_for_every_entry(self):
        for name in ("requirements", "requirements-cpu", "requirements-bench"):
            entries = re.findall(r"^([a-z0-9-]+==\S+)([^#]*)", (SCRIPTS / f"{name}.txt").read_text(), re.MULTILINE)
            for entry, hashes in entries:
                self.assertRegex(hashes, r"--hash=sha256:[0-9a-f]{64}\n", f"{name}: {entry}")
            locked = {entry for entry, _ in entries}
            pins = re.findall(r"^[a-z0-9-]+==[^;\s]+", (SCRIPTS / f"{name}.in").read_text(), re.MULTILINE)
            self.assertGreater(len(pins), 2)
            self.assertLessEqual(set(pins), locked, name)


class InstallTest(Sandbox):
    """Made-up packages in a folder, and an active environment that may have some."""

    def setUp(self):
        super().setUp()
        self.wheels = self.folder / "wheels"
        self.wheels.mkdir()
        names = {"requirements-cpu": ["torch", "numpy", "pyarrow"]}
        names["requirements"] = [*names["requirements-cpu"], "safetensors", "tokenizers", "tensorboard", "nvidia-x"]
        for lock, packages in names.items():
            lines = [f"{name}==2.11.0 --hash=sha256:{self.wheel(name)}\n    # via x\n" for name in packages]
            (self.project / f"scripts/{lock}.txt").write_text("".join(lines))
        self.stamp = self.project / ".venv/cellway-setup"
        self.active = self.folder / "active"

    def wheel(self, package):
        """Makes a wheel that has next to nothing in it; gives its digest."""
        name = package.replace("-", "_")
        info, path = f"{name}-2.11.0.dist-info", self.wheels / f"{name}-2.11.0-py3-none-any.whl"
        files = {f"{name}/__init__.py": "", f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.11.0\n"}
        files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        if name == "torch":
            files |= {"torch/lib/libtorch_cpu.so": "", "torch/include/ATen/ATen.h": ""}
        files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in files)
        with zipfile.ZipFile(path, "w") as wheel:
            for file, text in files.items():
                wheel.writestr(zipfile.ZipInfo(file), text)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def setup(self, *arguments, code=0, active=False):
        environment = {"VIRTUAL_ENV": str(self.active)} if active else {}
        links = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_NO_CACHE_DIR": "1"}
        run = self.run_script("setup", *arguments, **links, **environment)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def activate(self, *packages):
        """An active environment that has these packages; gives the folder of its packages."""
        subprocess.run([BASE, "-m", "venv", "--without-pip", self.active], check=True)
        site = next(self.active.glob("lib/python3.*/site-packages"))
        for name in packages:
            with zipfile.ZipFile(self.wheels / f"{name}-2.11.0-py3-none-any.whl") as wheel:
                wheel.extractall(site)
        return site

    def test_the_small_set_then_all(self):
        self.assertRegex(self.setup("--cpu"), r"\ndone: libtorch 2\.11\.0 in \.venv/lib/.*/torch\n$")
        self.assertTrue((self.project / ".libtorch/lib/libtorch_cpu.so").exists())
        # Again: nothing is started, not even Python.
        (self.bin / "python3").unlink()
        self.assertRegex(self.setup("--cpu"), "^set up: libtorch in .* .the small set; .*\n$")
        self.assertRegex(self.setup(), "^set up: libtorch in .* .the small set; .*\n$")
        self.python()
        # A link that someone changed is put right, and the small set stays small.
        (self.project / ".libtorch").unlink()
        (self.project / ".libtorch").symlink_to("elsewhere")
        self.assertNotIn("safetensors", self.setup())
        self.assertIn("safetensors-2.11.0", self.setup("--full"))
        self.assertRegex(self.setup(), "^set up: libtorch in .*/torch\n$")

    def test_another_hash_is_refused(self):
        lock = self.project / "scripts/requirements-cpu.txt"
        lock.write_text(re.sub(r"(pyarrow.*sha256:)\w{64}", rf"\g<1>{'0' * 64}", lock.read_text()))
        said = self.setup("--cpu", code=1)
        self.assertIn("DO NOT MATCH THE HASHES", said)
        self.assertIn("pip failed; it keeps what it has downloaded. Check the network", said)
        self.assertEqual(self.stamp.read_text(), "set=unfinished\n")

    def test_an_interrupted_run_is_repaired(self):
        rest = (self.bin / "mv").resolve()
        self.fake("mv", f'[ "${{!#}}" != "{self.stamp}" ] || {{ kill -9 $PPID; exit; }}; exec {rest} "$@"')
        self.setup("--cpu", code=-signal.SIGKILL)
        self.fake("mv", f'exec {rest} "$@"')
        numpy = next(self.project.glob(".venv/lib/python3.*/site-packages/numpy/__init__.py"))
        numpy.unlink()
        self.assertIn("what an earlier run left in .venv is removed", self.setup("--cpu"))
        self.assertTrue(numpy.exists())

    def test_two_runs_take_turns(self):
        held = subprocess.Popen(["flock", self.project, "sleep", "100"])
        self.addCleanup(held.wait)
        self.addCleanup(held.kill)
        time.sleep(0.2)
        environment = {"PATH": str(self.bin)}
        with subprocess.Popen([self.project / "scripts/setup"], env=environment, stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"another scripts/setup is at work: waiting\n")
            run.kill()
        self.assertFalse((self.project / ".venv").exists())

    def test_a_right_torch_is_used_and_kept_in_view(self):
        site = self.activate("torch", "numpy", "pyarrow", "safetensors")
        (self.wheels / "torch-2.11.0-py3-none-any.whl").unlink()
        self.free(5)  # enough, since torch is not downloaded
        said = self.setup(active=True)
        self.assertIn(f"torch 2.11.0 in {site}/torch: used, not downloaded", said)
        self.assertRegex(said, "Successfully installed tensorboard-2.11.0 tokenizers-2.11.0\n")
        self.assertEqual(os.readlink(self.project / ".libtorch"), str(site / "torch"))
        code = "import torch, tokenizers; print(torch.__file__)"
        found = subprocess.run([self.project / ".venv/bin/python", "-c", code], capture_output=True, text=True)
        self.assertEqual(found.stdout.strip(), str(site / "torch/__init__.py"), found.stderr)
        self.assertRegex(self.setup(), "^set up: libtorch in .*torch\n$")

        # torch was upgraded in that environment: seen, left alone, an own one is wanted.
        info = site / "torch-2.11.0.dist-info"
        metadata = info / "METADATA"
        metadata.write_text(metadata.read_text().replace("2.11.0", "2.12.0"))
        info.rename(site / "torch-2.12.0.dist-info")
        self.free(100)
        said = self.setup(active=True, code=1)
        self.assertIn("has torch 2.12.0, not 2.11: left alone", said)
        self.assertEqual(list(self.project.glob(".venv/lib/python3.*/site-packages/cellway-borrowed.pth")), [])

    def test_a_virtual_environment_of_the_user_is_installed_into(self):
        shutil.rmtree(self.project / ".venv", ignore_errors=True)
        subprocess.run([BASE, "-m", "venv", self.project / ".venv"], check=True)
        (self.project / ".venv/mine").touch()
        self.setup("--cpu")
        self.assertTrue((self.project / ".venv/mine").exists())


if __name__ == "__main__":
    unittest.main()
