import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from importlib import metadata

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
TOOLS = (
    "bash sed grep cat sha256sum cut sort head tail awk df uname readlink dirname ls flock tr ln mv rm mkdir tee cp"
).split()

BASE = getattr(sys, "_base_executable", sys.executable)

# Python as the probe sees it, changed before the probe runs.
OLD = "sys.version_info = (3, 9, 2, 'final', 0)"
NEW = "sys.version_info = (3, 15, 0, 'final', 0)"
NO_VENV = "sys.modules['ensurepip'] = None"


class SetupTest(unittest.TestCase):
    """A copy of the scripts in a folder of its own, and a PATH with just what they need."""

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
        self.python("")

    def fake(self, name, text):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def free(self, gigabytes):
        self.fake("df", f"echo Filesystem; echo /dev/x 1 1 {gigabytes}000001 1% /")

    def python(self, change):
        """A python3 whose `probe` runs after the statement `change`."""
        wrapper = self.folder / "wrapper.py"
        wrapper.write_text(
            f"import runpy, sys\n{change}\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        self.fake("python3", f'exec {BASE} -I {wrapper} "$@"')

    def run_setup(self, *arguments, **environment):
        return subprocess.run(
            [self.project / "scripts" / "setup", *arguments],
            env={"PATH": str(self.bin), "HOME": str(self.folder), "PIP_CONFIG_FILE": os.devnull} | environment,
            capture_output=True,
            text=True,
            cwd="/",
        )

    def problems(self, *patterns, arguments=("--check",), **environment):
        run = self.run_setup(*arguments, **environment)
        self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
        lines = [line for line in run.stderr.splitlines() if line.startswith("  - ")]
        self.assertEqual(len(lines), len(patterns), run.stderr)
        for line, pattern in zip(lines, patterns, strict=True):
            self.assertRegex(line, pattern)
        self.assertEqual(sorted(path.name for path in self.project.iterdir()), self.untouched)

    @property
    def untouched(self):
        return ["Cargo.toml", "scripts"]


class CheckTest(SetupTest):
    def test_all_there(self):
        run = self.run_setup("--check")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(sorted(path.name for path in self.project.iterdir()), self.untouched)

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
        self.python(OLD)
        self.problems("is Python 3.9, too old .*apt-get install python3")
        self.python(NO_VENV)
        self.problems("cannot make virtual environments: apt-get install python3-venv")
        self.python(NEW)
        self.problems(r"is Python 3.15, for which there is no torch 2.11.0 \(3.10 to 3.14\)")
        self.python("sys.exit(1)")
        self.problems("does not run: apt-get install --reinstall python3")

    def test_cargo(self):
        self.fake("cargo", "echo 'cargo 1.87.9 (abc 2025-01-01)'")
        self.problems("cargo is 1.87.9, too old .1.88 or newer.: rustup update stable")
        self.fake("cargo", "echo 'cargo 1.100.0-nightly (abc 2026-01-01)'")
        self.assertEqual(self.run_setup("--check").returncode, 0)
        self.fake("cargo", "echo 'no default toolchain' >&2; exit 1")
        self.problems("cargo does not run: rustup default stable")

    def test_compiler(self):
        self.fake("c++", "exit 1")
        self.problems(r"\(c\+\+\) does not run")
        self.problems(r"no C\+\+ compiler \(clang\+\+-99\)", CXX="clang++-99")
        self.fake("ccache", "echo ok")
        self.assertEqual(self.run_setup("--check", CXX="ccache g++").returncode, 0)

    def test_disk(self):
        self.free(14)
        self.problems("14 GB free .*15 GB needed")
        self.free(6)
        self.problems("6 GB free .*7 GB needed", arguments=("--check", "--cpu"))
        self.free(7)
        self.assertEqual(self.run_setup("--check", "--cpu").returncode, 0)

    def test_platform(self):
        self.fake("uname", "echo Darwin")
        self.problems("only Linux on x86_64 or aarch64")

    def test_arguments(self):
        run = self.run_setup("--gpu")
        self.assertEqual(run.returncode, 2)
        self.assertIn("unknown argument '--gpu'", run.stderr)
        run = self.run_setup("--help")
        self.assertEqual(run.returncode, 0)
        self.assertIn("scripts/setup --cpu", run.stdout)


class PlacesTest(SetupTest):
    @property
    def untouched(self):
        return [".libtorch", ".venv", "Cargo.toml", "scripts"]

    def test_what_is_in_the_way_is_left(self):
        (self.project / ".libtorch").mkdir()
        (self.project / ".venv").mkdir()
        (self.project / ".venv" / "mine").touch()
        self.problems(".libtorch is there and is not a link: mv", ".venv is there and is not a virtual", arguments=())


class EnvironmentTest(SetupTest):
    """Active environments with made-up packages, and no index that could be reached."""

    @classmethod
    def setUpClass(cls):
        # Every .venv of these tests is a copy of this one: ensurepip takes seconds.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.template = pathlib.Path(folder.name) / "template"
        subprocess.run([BASE, "-m", "venv", "--without-pip", cls.template], check=True)
        pip = metadata.distribution("pip")
        site = next(cls.template.glob("lib/python3.*/site-packages"))
        for source in (pip.locate_file("pip"), pip._path):
            shutil.copytree(source, site / source.name)
        # Without the programs in bin, which are not copied.
        record = site / pip._path.name / "RECORD"
        rows = record.read_text().splitlines()
        record.write_text("".join(f"{row}\n" for row in rows if not row.startswith("..")))

    def setUp(self):
        super().setUp()
        self.fake("maker", f'[ "$1 $2" = "-m venv" ] && cp -a {self.template} "$3"')
        self.python("")
        self.active = self.folder / "active"
        subprocess.run([BASE, "-m", "venv", "--without-pip", self.active], check=True)
        (self.active / "bin" / "real").symlink_to(BASE)
        (self.active / "bin" / "python3").unlink()
        self.fake(self.active / "bin" / "python3", f'exec {self.active}/bin/real -I {self.folder}/wrapper.py "$@"')
        self.site = next(self.active.glob("lib/python3.*")) / "site-packages"
        self.offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
        self.stamp = self.project / ".venv" / "cellway-setup"

    def python(self, change):
        super().python(f"sys._base_executable = {str(self.bin / 'maker')!r}\n{change}")

    def install(self, site, name, version, *files):
        folder = site / name
        folder.mkdir(parents=True, exist_ok=True)
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for file in ("__init__.py", *files):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        (info / "RECORD").write_text(f"{name}/__init__.py,,0\n{info.name}/METADATA,,\n")
        return info

    def install_torch(self, version, site=None):
        return self.install(site or self.site, "torch", version, "lib/libtorch_cpu.so", "include/ATen/ATen.h")

    def run_active(self, *arguments):
        return self.run_setup(*arguments, VIRTUAL_ENV=str(self.active), **self.offline)

    def wheel(self, folder, name, version, *files):
        """A wheel with these files, empty, that pip takes for the package."""
        folder.mkdir(exist_ok=True)
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for file in files:
                wheel.writestr(file, "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/METADATA"]))

    def test_the_small_set_from_an_index_of_its_own(self):
        wheels = self.folder / "wheels"
        pins = (self.project / "scripts/requirements-cpu.txt").read_text().splitlines()
        for pin in pins:
            if "==" in pin and not pin.startswith("#"):
                name, version = pin.split(";")[0].strip().split("==")
                name = name.replace("-", "_")
                files = ("lib/libtorch_cpu.so", "include/ATen/ATen.h") if name == "torch" else ()
                self.wheel(wheels, name, version, f"{name}/__init__.py", *(f"{name}/{file}" for file in files))
        index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_CACHE_DIR": "1"}
        run = self.run_setup("--cpu", **index)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("without the CUDA libraries", run.stdout)
        self.assertRegex(run.stdout.splitlines()[-1], r"^done: libtorch 2\.11\.0 in \.venv/lib/.*/torch$")
        self.assertTrue((self.project / ".libtorch/lib/libtorch_cpu.so").exists())
        again = self.run_setup("--cpu", **index)
        self.assertRegex(again.stdout, "^set up: libtorch in .*the small set")

    def test_right_torch_is_used_and_kept_in_view(self):
        info = self.install_torch("2.11.0+cu130")
        for name in ("numpy", "safetensors", "tokenizers", "pyarrow", "tensorboard"):
            self.install(self.site, name, "1.0")
        self.free(5)  # enough, since nothing is downloaded
        run = self.run_active()
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("torch 2.11.0+cu130 of", run.stdout)
        link = self.project / ".libtorch"
        self.assertEqual(os.readlink(link), str(self.site / "torch"))
        found = subprocess.run(
            [self.project / ".venv/bin/python", "-c", "import torch; print(torch.__file__)"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(found.stdout.strip(), str(self.site / "torch" / "__init__.py"))

        # Again, from another shell: nothing is started, not even Python.
        (self.bin / "python3").unlink()
        run = self.run_setup()
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertRegex(run.stdout, "^set up: libtorch in .*torch\n$")
        self.python("")

        # A link that someone changed is put right.
        link.unlink()
        link.symlink_to("elsewhere")
        self.assertEqual(self.run_active().returncode, 0)
        self.assertEqual(os.readlink(link), str(self.site / "torch"))

        # torch was upgraded in that environment: seen, left alone, an own one is wanted.
        shutil.rmtree(info)
        shutil.rmtree(self.site / "torch")
        self.install_torch("2.12.0")
        self.free(100)
        run = self.run_active()
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn("has torch 2.12.0, not 2.11: left alone", run.stdout)
        self.assertIn("The package index could not be reached: check the network", run.stderr)
        self.assertFalse(self.stamp.exists())
        self.assertEqual(list(self.project.glob(".venv/lib/python3.*/site-packages/cellway-borrowed.pth")), [])

    def test_lacking_packages_are_named_and_a_failure_is_no_success(self):
        self.install_torch("2.11.0")
        self.install(self.site, "numpy", "1.0")
        run = self.run_active()
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertRegex(run.stdout, r"\[3/4\] safetensors==0.8.0 tokenizers==0.23.1 pyarrow==[\d.]+ tensorboard==[\d.]+\n")
        self.assertIn("could not be reached", run.stderr)
        self.assertFalse(self.stamp.exists())

    def test_incomplete_package_is_noticed(self):
        info = self.install_torch("2.11.0")
        python = self.active / "bin" / "real"

        def damaged():
            command = [python, SCRIPTS / "environment.py", "damaged"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        self.assertEqual(damaged(), "")
        (self.site / "torch" / "__init__.py").write_text("longer")
        self.assertEqual(damaged(), "torch\n")
        (self.site / "torch" / "__init__.py").unlink()
        self.assertEqual(damaged(), "torch\n")
        (self.site / "torch" / "__init__.py").touch()
        (info / "RECORD").unlink()
        self.assertEqual(damaged(), "torch\n")

    def test_interrupted_installation_is_made_again(self):
        shutil.copytree(self.template, self.project / ".venv", symlinks=True)
        site = self.project / ".venv" / self.site.relative_to(self.active)
        info = self.install_torch("2.11.0", site)
        (info / "RECORD").unlink()
        run = self.run_setup(**self.offline)
        self.assertEqual(run.returncode, 1)
        self.assertIn("again (an earlier run was interrupted, incomplete: torch)", run.stdout)
        self.assertFalse(info.exists())
        self.assertTrue((self.project / ".venv/bin/python").exists())


class TestTest(SetupTest):
    """scripts/test and .ci/run with a cargo that only says what it was asked."""

    def setUp(self):
        super().setUp()
        self.fake("cargo", 'echo "cargo $* [${CELLWAY_SHARED_DATA:-none}] [${RUSTDOCFLAGS:-}]"')
        for name in ("setup", "demo", "python"):
            path = self.project / (".venv/bin/python" if name == "python" else f"scripts/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#!/usr/bin/env bash\necho "{name} $*"\n')
            path.chmod(0o755)

    def run_test(self, *arguments, cwd="/", **environment):
        environment = {"PATH": str(self.bin)} | environment
        command = [self.project / "scripts" / "test", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cwd)

    def test_every_step_in_its_order(self):
        run = self.run_test()
        self.assertEqual(run.returncode, 0, run.stderr)
        asked = [line for line in run.stdout.splitlines() if not line.startswith("==")]
        self.assertEqual(
            asked,
            [
                "setup ",
                "cargo fmt --check [none] []",
                "cargo clippy --release --all-targets -- -D warnings [none] []",
                "cargo doc --release --no-deps [none] [-D warnings]",
                "python -m unittest discover -s scripts/tests",
                "demo --set train.epochs=1",
                "cargo test --release -p cellway-kernels [none] []",
                "cargo test --release [none] []",
            ],
        )
        self.assertRegex(run.stdout.splitlines()[-1], r"^== all passed in 0 min \d+ s$")

    def test_the_first_failure_ends_it(self):
        self.fake("cargo", '[ "$1" != doc ]')
        run = self.run_test()
        self.assertEqual(run.returncode, 1)
        self.assertNotIn("unittest", run.stdout)

    def test_arguments_and_data(self):
        data = self.folder / "data"
        data.mkdir()
        for arguments, asked in (
            ([], "cargo test --release -- --include-ignored"),
            (["--lib", "a b"], "cargo test --release --lib a b -- --include-ignored"),
            (["--lib", "--", "x"], "cargo test --release --lib -- --include-ignored x"),
        ):
            browser = {"CELLWAY_CHROMIUM": "/browser"}
            run = self.run_test(*arguments, cwd=self.folder, CELLWAY_SHARED_DATA="data", **browser)
            self.assertIn(f"\n{asked} [{data}] []\n", run.stdout)
        self.assertIn("\ncargo test --release --lib [none] []\n", self.run_test("--lib").stdout)
        run = self.run_test(CELLWAY_SHARED_DATA="/nowhere")
        self.assertEqual(run.returncode, 2)
        self.assertIn("'/nowhere', which is no folder", run.stderr)

    def test_pages_are_opened_where_there_is_a_browser(self):
        data = self.folder / "data"
        data.mkdir()
        run = self.run_test(CELLWAY_SHARED_DATA=str(data))
        self.assertIn("\ncargo test --release -- --include-ignored --skip in_a_browser [", run.stdout)
        self.assertIn("\n== there is no Chromium", run.stdout)
        pages = "\ncargo test --release --test pages -- --ignored [none]"
        self.assertNotIn(pages, self.run_test().stdout)
        self.fake("chromium", "")
        self.assertIn(pages, self.run_test().stdout)
        self.assertNotIn("--skip", self.run_test(CELLWAY_SHARED_DATA=str(data)).stdout)

    def test_missing_components(self):
        self.fake("cargo", '[ "$1" != fmt ] && [ "$1" != clippy ]')
        run = self.run_test()
        self.assertEqual(run.returncode, 2)
        self.assertIn("rustup component add rustfmt clippy", run.stderr)


if __name__ == "__main__":
    unittest.main()
