"""scripts/test and scripts/prove ask cargo for what they should, and say how it went."""

import subprocess
import unittest

from sandbox import Sandbox


class TestTest(Sandbox):
    """scripts/test with a cargo that only says what it was asked."""

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
                "cargo fmt --all --check [none] []",
                "cargo clippy --release --workspace --all-targets -- -D warnings [none] []",
                "cargo doc --release --workspace --no-deps [none] [-D warnings]",
                "python -m unittest discover -s scripts/tests",
                "demo --set train.epochs=1",
                "cargo test --release --workspace --no-fail-fast [none] []",
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
            ([], "cargo test --release --workspace --no-fail-fast -- --include-ignored"),
            (["--lib", "a b"], "cargo test --release --workspace --no-fail-fast --lib a b -- --include-ignored"),
            (["--lib", "--", "x"], "cargo test --release --workspace --no-fail-fast --lib -- --include-ignored x"),
        ):
            browser = {"CELLWAY_CHROMIUM": "/browser"}
            run = self.run_test(*arguments, cwd=self.folder, CELLWAY_SHARED_DATA="data", **browser)
            self.assertIn(f"\n{asked} [{data}] []\n", run.stdout)
        self.assertIn("\ncargo test --release --workspace --no-fail-fast --lib [none] []\n", self.run_test("--lib").stdout)
        run = self.run_test(CELLWAY_SHARED_DATA="/nowhere")
        self.assertEqual(run.returncode, 2)
        self.assertIn("'/nowhere', which is no folder", run.stderr)

    def test_pages_are_opened_where_there_is_a_browser(self):
        data = self.folder / "data"
        data.mkdir()
        run = self.run_test(CELLWAY_SHARED_DATA=str(data))
        self.assertIn("\ncargo test --release --workspace --no-fail-fast -- --include-ignored --skip in_a_browser [", run.stdout)
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


class ProveTest(Sandbox):
    """scripts/prove with a cargo that passes, but fails with our portable loops."""

    def setUp(self):
        super().setUp()
        (self.bin / "env").symlink_to("/usr/bin/env")
        (self.project / "scripts/setup").write_text("#!/usr/bin/env bash\n")
        said = 'echo "test result: ok. 5 passed; 0 failed;"'
        failed = 'printf "failures:\n    a::b\n\ntest result: FAILED. 3 passed; 1 failed;\n"; exit 101'
        self.fake("cargo", f'echo "$* ${{CELLWAY_KILLS:-}}"; {said}; [ "${{CELLWAY_ISA:-}}" != portable ] || {{ {failed}; }}')

    def test_a_line_for_each_proof(self):
        run = self.run_script("prove", "parity", "resume", CELLWAY_SHARED_DATA=str(self.folder))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(
            run.stdout,
            "CELLWAY_PARITY_CASES=10000: 5 passed, 0 failed\nCELLWAY_RESUME=all CELLWAY_KILLS=100: 10 passed, 0 failed\n",
        )
        log = (self.project / "target/prove/CELLWAY_RESUME-all-CELLWAY_KILLS-100.log").read_text()
        self.assertIn("test --release --no-fail-fast --test resume -- --nocapture --include-ignored 100\n", log)

    def test_paths(self):
        run = self.run_script("prove", "paths")
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn("\nATEN_CPU_CAPABILITY=default: 10 passed, 0 failed\n", run.stdout)
        self.assertIn("\nCELLWAY_ISA=portable: 16 passed, 2 failed (exit code 101)\n    a::b\n    target/prove/", run.stdout)
        log = (self.project / "target/prove/CELLWAY_ISA-portable.log").read_text()
        self.assertRegex(log, "--test=lstm_parity .* -- --nocapture \n(.*\n)*.*--lib lstm:: -- --nocapture \n")

    def test_arguments(self):
        run = self.run_script("prove", "everything")
        self.assertEqual(run.returncode, 2)
        self.assertIn("unknown argument 'everything'", run.stderr)


if __name__ == "__main__":
    unittest.main()
