"""Cellway against its peers on the CPU: times, ratios, a report and pictures.

Into OUT go results.json, for programs, and the pictures; beside OUT, ending in .md,
the report for people. Each result is written when it is there: a run that is
interrupted loses nothing, and one with --only replaces only what it measured.
"""

import argparse
import importlib
import importlib.util
import os
import pathlib
import signal
import sys
import time

import machine
import report
from lab import Case, Results, Skip
from workers import Workers

# Modules of cases, in the order of the report.
MODULES = ("kernels", "jobs")


class Bench:
    """What a case measures with."""

    def __init__(self, options):
        self.options, self.quick = options, options.quick
        self.workers = Workers()
        self.rates = {}

    def worker(self, kind, threads):
        """The worker of this kind: "ours", "python" or "candle"."""
        return self.workers.get(kind, threads)


def arguments(words=None):
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few cases and rounds: a few minutes")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in 'section: name', as grid:")
    parser.add_argument(
        "--threads",
        type=lambda text: [int(word) for word in text.split(",")],
        default=sorted({1, min(2, cores)}),
        help="numbers of threads, as 1,2",
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder for results (docs/benchmark; with --quick target/benchmark)")
    parser.add_argument("--list", action="store_true", help="only names the cases, with about how long each takes")
    parser.add_argument("--report", action="store_true", help="only writes the report again, from results.json")
    options = parser.parse_args(words)
    options.out = options.out or machine.ROOT / ("target/benchmark" if options.quick else "docs/benchmark")
    if min(options.threads) < 1:
        parser.error("--threads: numbers from 1")
    if max(options.threads) > cores:
        parser.error(f"--threads: there are {cores} cores")
    return options


def modules():
    return [importlib.import_module(name) for name in MODULES if importlib.util.find_spec(name)]


def duration(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def measure(bench, cases: list[Case], results):
    """All cases; how much is left is the sum of what they expect, corrected by how long
    those before have really taken."""
    left, expected, started = sum(case.seconds for case in cases), 0.0, time.monotonic()
    for number, case in enumerate(cases, 1):
        passed = time.monotonic() - started
        pace = passed / expected if expected > 20 else 1.0
        head = f"[{number}/{len(cases)}, {duration(left * pace)} left] {case.section}: {case.name}, threads {case.threads}"
        try:
            found = case.measure(bench)
        except Skip as reason:
            results.leave_out(case.key, str(reason))
            print(f"{head}: left out, {reason}", flush=True)
            found = []
        finally:
            bench.workers.drop_all()
        for result in found:
            results.add(result)
            print(f"{head}: {line(result)}", flush=True)
        left, expected = left - case.seconds, expected + case.seconds
    print(f"{len(cases)} cases took {duration(time.monotonic() - started)}, expected were {duration(expected)}", flush=True)


def line(result):
    """A result in few words."""
    ours = result.figures[result.ours]["median"]
    shown = f"{ours * 1e3:.3g} ms" if result.unit == "s" else f"{ours:.4g} {result.unit}"
    peers = ", ".join(f"{name} {ratio['median']:.2f}x" for name, ratio in result.ratios.items())
    return f"{result.ours} {shown}" + (f"; {peers}" if peers else "")


def main():
    options = arguments()
    found = modules()
    cases = [case for module in found for case in module.cases(options)]
    cases = [case for case in cases if options.only in f"{case.section}: {case.name}"]
    if options.list:
        for case in cases:
            print(f"{case.section}: {case.name}, threads {case.threads} ({duration(case.seconds)})")
        print(f"{len(cases)} cases, about {duration(sum(case.seconds for case in cases))}")
        return
    results = Results(options.out / "results.json", machine.describe(options.quick))
    page = options.out.with_suffix(".md")
    if not options.report:
        if not cases:
            sys.exit(f"scripts/bench: no case has '{options.only}' in its name; --list names them")
        bench = Bench(options)
        # Whoever ends this gets the report of what there is, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for threads in sorted({case.threads for case in cases}):
                bench.rates[threads] = machine.matmul_rates(bench.worker("python", threads))
                results.run["rates"][str(threads)] = bench.rates[threads]
                best = max(bench.rates[threads].values())
                print(f"matmul of this machine, threads {threads}: {best:.0f} GFLOP/s", flush=True)
            measure(bench, cases, results)
        except KeyboardInterrupt:
            print("\nstopped: what was measured is kept", file=sys.stderr)
        finally:
            bench.workers.close()
    report.write(page, options.out, results, found)
    print(page)


if __name__ == "__main__":
    main()
