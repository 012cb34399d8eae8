"""What the benchmark of whole jobs refuses, and how it says what it found."""

import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "benchmark"))

import jobs  # noqa: E402
from lab import Result, Results  # noqa: E402
from report_jobs import report, shown  # noqa: E402


def prediction(text, yes, label=None):
    label = label or ("yes" if yes > 0.5 else "no")
    return {"text": text, "label": label, "probabilities": {"no": 1 - yes, "yes": yes}}


class DifferenceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def difference(self, ours, theirs):
        paths = []
        for name, rows in (("ours", ours), ("theirs", theirs)):
            paths.append(self.folder / name)
            paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
        with unittest.mock.patch.object(jobs, "SENTENCES", len(theirs)):
            return jobs.difference(*paths)

    def test_rounding_is_no_difference(self):
        ours = [prediction("a", 0.25), prediction("b", 0.5000001)]
        theirs = [prediction("a", 0.250002), prediction("b", 0.4999999)]
        self.assertAlmostEqual(self.difference(ours, theirs), 2e-6)

    def test_another_answer_is_refused(self):
        sound = [prediction("a", 0.25), prediction("b", 0.75)]
        for ours in (
            [prediction("a", 0.25), prediction("b", 0.75002)],
            [prediction("a", 0.25), prediction("b", 0.75, "no")],
            [prediction("b", 0.25), prediction("a", 0.75)],
            [prediction("a", 0.25), prediction("b", float("nan"), "yes")],
            sound[:1],
        ):
            with self.subTest(ours), self.assertRaises((RuntimeError, ValueError)):
                self.difference(ours, sound)


class ProcessTest(unittest.TestCase):
    def test_a_process_is_timed_with_its_memory_and_its_threads(self):
        code = "import os, sys; x = bytearray(64 << 20); print(os.environ['OMP_NUM_THREADS']); print('e', file=sys.stderr)"
        process = jobs.Process([sys.executable, "-c", code], 3)
        self.assertEqual((process.out, process.err), ("3\n", "e\n"))
        self.assertGreater(process.peak_mib, 64)
        self.assertGreater(process.seconds, 0)
        with self.assertRaisesRegex(RuntimeError, "code 7"):
            jobs.Process([sys.executable, "-c", "raise SystemExit(7)"], 1)


class ReportTest(unittest.TestCase):
    def test_each_contender_has_a_row(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        folder = pathlib.Path(folder.name)
        results = Results(folder / "results.json", {"date": "today"})
        times = {"cellway, native": [0.5] * 5, "twin": [2.0] * 5}
        facts = {"sentences": 10_000, "peak MiB": {"twin": 700.0}}
        results.add(Result.of("jobs", "score 10,000 sentences", 1, times, "cellway, native", **facts))
        results.leave_out(("jobs", "vectors", 1), "no file")
        said = "\n\n".join(report(results, folder))
        self.assertIn("| score 10,000 sentences | cellway, native | 0.5 s [0.5, 0.5], 20,000 sentences/s | 1 |  |", said)
        self.assertIn("|  | twin | 2 s [2, 2], 5,000 sentences/s | 4.00 [4.00, 4.00] | 700 |", said)
        self.assertIn("Left out: vectors, threads 1: no file.", said)

    def test_times_have_units_that_people_read(self):
        result = Result.of("jobs", "x", 1, {"a": [1.0]}, "a")
        for seconds, said in ((2.0, "2 s"), (0.02, "20 ms"), (0.00002, "20 µs")):
            self.assertTrue(shown(result, dict.fromkeys(("median", "low", "high"), seconds)).startswith(said))


if __name__ == "__main__":
    unittest.main()
