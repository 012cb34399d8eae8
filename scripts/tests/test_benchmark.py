"""How scripts/bench times contenders and keeps what it found."""

import dataclasses
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "benchmark"))

from lab import Result, Results, alternate, order_of, ratios, spread  # noqa: E402
from workers import Worker  # noqa: E402

# A worker that needs nothing: what is made takes as long as it is told.
WORKER = """
import json, sys
made = {}
for line in sys.stdin:
    asked = json.loads(line)
    if "make" in asked:
        made[asked["make"]["name"]] = asked["make"]["seconds"]
    if "run" in asked and asked["run"] in made:
        print(json.dumps({"seconds": [made[asked["run"]]] * asked["times"]}), flush=True)
    elif "run" in asked:
        print(json.dumps({"error": "nothing of this name"}), flush=True)
    else:
        print(json.dumps({"ok": True}), flush=True)
"""


class Clock:
    """Time passes when a contender runs, and only then."""

    def __init__(self):
        self.now, self.ran = 0.0, []

    def __call__(self):
        return self.now

    def contender(self, name, *seconds):
        """Takes these in turn, the last one from then on."""
        left = list(seconds)

        def run():
            took = left.pop(0) if len(left) > 1 else left[0]
            self.ran.append(name)
            self.now += took
            return took

        return run


class AlternateTest(unittest.TestCase):
    def test_nobody_always_follows_the_same_one(self):
        self.assertEqual([order_of("ab", n) for n in range(4)], [["a", "b"], ["b", "a"], ["b", "a"], ["a", "b"]])
        firsts = [order_of("abc", n)[0] for n in range(12)]
        self.assertEqual({name: firsts.count(name) for name in "abc"}, {"a": 4, "b": 4, "c": 4})

    def test_the_first_round_is_thrown_away(self):
        clock = Clock()
        times = alternate({"a": clock.contender("a", 9, 1), "b": clock.contender("b", 8, 2)}, 6, 1e9, clock=clock)
        self.assertEqual(times, {"a": [1] * 6, "b": [2] * 6})
        self.assertEqual("".join(clock.ran), "abbabaababbaba")
        warm = alternate({"a": clock.contender("a", 9, 1)}, 6, 1e9, warm_up=0, clock=clock)
        self.assertEqual(warm, {"a": [9, 1, 1, 1, 1, 1]})

    def test_a_round_that_would_end_after_the_budget_does_not_begin(self):
        clock = Clock()
        times = alternate({"a": clock.contender("a", 1)}, rounds=100, budget_s=10.5, clock=clock)
        self.assertEqual(len(times["a"]), 9)  # and the one that is thrown away

    def test_the_least_rounds_are_made_whatever_the_budget(self):
        clock = Clock()
        self.assertEqual(len(alternate({"a": clock.contender("a", 1)}, 100, 0, clock=clock)["a"]), 5)
        self.assertEqual(len(alternate({"a": clock.contender("a", 1)}, 100, 0, least=3, clock=clock)["a"]), 3)


class StatisticsTest(unittest.TestCase):
    def test_a_ratio_is_that_of_the_rounds(self):
        # The machine is slow in the last rounds: medians would say 20 / 1.
        times = {"ours": [1, 1, 1, 10, 10], "peer": [2, 2, 20, 20, 20]}
        self.assertEqual(ratios(times, "ours"), {"peer": {"median": 2, "low": 2, "high": 2}})

    def test_spread(self):
        self.assertEqual(spread([4, 1, 3, 2, 5]), {"median": 3, "low": 2, "high": 4})
        self.assertEqual(spread([7]), {"median": 7, "low": 7, "high": 7})


class ResultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "out" / "results.json"

    def open(self, date="one"):
        return Results(self.path, {"date": date})

    def result(self, case, ours=1.0, threads=1):
        return Result.of("section", case, threads, {"ours": [ours] * 5, "peer": [2.0] * 5}, "ours", tokens=7)

    def test_an_interrupted_run_keeps_what_it_had(self):
        results = self.open()
        results.add(self.result("first"))
        # What an interrupted write leaves is beside the file, not in it.
        self.path.with_name("results.json.new").write_text("{")
        kept = self.open("two").of("section")
        self.assertEqual([result.case for result in kept], ["first"])
        self.assertEqual(kept[0], dataclasses.replace(self.result("first"), run="one"))

    def test_a_run_replaces_only_what_it_measured(self):
        first = self.open()
        for case in ("a", "b"):
            first.add(self.result(case))
        second = self.open("two")
        second.add(self.result("b", ours=0.5))
        second.add(self.result("b", threads=2))
        found = {result.key: (result.run, result.ratios["peer"]["median"]) for result in self.open("three")}
        expected = {
            ("section", "a", 1): ("one", 2),
            ("section", "b", 1): ("two", 4),
            ("section", "b", 2): ("two", 2),
        }
        self.assertEqual(found, expected)
        self.assertEqual(set(json.loads(self.path.read_text())["runs"]), {"one", "two"})
        # A run of which nothing is left is forgotten.
        second.add(self.result("a"))
        self.assertEqual(set(json.loads(self.path.read_text())["runs"]), {"two"})

    def test_what_was_left_out_is_kept_until_it_is_measured(self):
        results = self.open()
        results.leave_out(("section", "a", 1), "too large")
        self.assertEqual([item["why"] for item in self.open().left_out.values()], ["too large"])
        results.add(self.result("a"))
        self.assertEqual(self.open().left_out, {})


class WorkerTest(unittest.TestCase):
    def test_questions_and_answers(self):
        with Worker("toy", 1, [sys.executable, "-c", WORKER]) as worker:
            worker.make("slow", seconds=3.0)
            self.assertEqual(worker.run("slow", 2), [3.0, 3.0])
            with self.assertRaisesRegex(Exception, "toy: nothing of this name"):
                worker.run("fast")
        self.assertEqual(worker.process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
