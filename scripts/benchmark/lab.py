"""How contenders are timed against each other, and how what was found is kept.

Other work slows a machine for seconds at a time. So contenders take turns, and it is
the ratio within a round that counts: its median over the rounds, with its quartiles.
Nothing here needs more than Python.
"""

import dataclasses
import datetime
import json
import os
import statistics
import time
from collections.abc import Callable

# Fewer rounds than that say nothing about a spread.
LEAST_ROUNDS = 5


class Skip(Exception):
    """A case that cannot be measured here, and why."""


def order_of(names, number):
    """Who runs after whom in a round: turned back to front every other round, and
    rotated every second one, so that nobody always follows the same one."""
    shift = number // 2 % len(names)
    order = [*names[shift:], *names[:shift]]
    return order[::-1] if number % 2 else order


def alternate(contenders, rounds=15, budget_s=20.0, least=LEAST_ROUNDS, warm_up=1, clock=time.perf_counter):
    """Seconds per run of each contender, a list with one number a round.

    `contenders`: by name a function that runs once and returns how many seconds that
    took. Before the first round `warm_up` ones are thrown away (0 for who has warmed up
    already). No round begins that would end after the budget, but `least` are made in
    any case.
    """
    names = list(contenders)
    times = {name: [] for name in names}
    started = clock()
    for number in range(warm_up + rounds):
        began = clock()
        for name in order_of(names, number):
            seconds = contenders[name]()
            if number >= warm_up:
                times[name].append(seconds)
        now = clock()
        if number + 1 >= warm_up + least and now - started + (now - began) > budget_s:
            break
    return times


def spread(values):
    """Median and quartiles."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return {"median": middle, "low": low, "high": high}


def ratios(times, ours):
    """For each peer how many times longer than ours it took: the spread of the ratios
    of the rounds, not the ratio of two medians."""
    return {
        name: spread([theirs / own for theirs, own in zip(peer, times[ours], strict=True)])
        for name, peer in times.items()
        if name != ours
    }


@dataclasses.dataclass
class Result:
    """What one case gave. Section, case and threads name it."""

    section: str
    case: str
    threads: int
    # Of the figures: "s" for seconds of a run.
    unit: str
    # The contender that the ratios are to.
    ours: str
    # By contender: {"median", "low", "high"}, the latter two the quartiles.
    figures: dict
    # By peer: theirs / ours, the same three; above 1 ours is faster.
    ratios: dict
    rounds: int
    # What a report needs beside: sizes, tokens, arithmetic, contenders that are missing.
    facts: dict = dataclasses.field(default_factory=dict)
    # In which run it was measured; `Results.add` writes it.
    run: str = ""

    @classmethod
    def of(cls, section, case, threads, times, ours, unit="s", **facts):
        """Of what `alternate` returned."""
        return cls(
            section=section,
            case=case,
            threads=threads,
            unit=unit,
            ours=ours,
            figures={name: spread(values) for name, values in times.items()},
            ratios=ratios(times, ours),
            rounds=len(times[ours]),
            facts=facts,
        )

    @property
    def key(self):
        return self.section, self.case, self.threads


@dataclasses.dataclass
class Case:
    """One thing to measure. A module of cases has `cases(options)`, a list of these,
    and `report(results, folder)`, a list of paragraphs in Markdown, which may put
    pictures into the folder."""

    section: str
    name: str
    threads: int
    # About how many seconds it takes, for the progress.
    seconds: float
    # Takes a Bench (see __main__.py) and returns a list of Result; may raise Skip.
    measure: Callable

    @property
    def key(self):
        return self.section, self.name, self.threads


class Results:
    """The file of results. It is whole after each `add`: an interrupted run loses
    nothing, and what a run did not measure stays as it was.

    `run`: what is said of this run, a dict; the file has those of which it has results.
    """

    def __init__(self, path, run):
        self.path, self.run = path, dict(run)
        self.id = run.get("date") or datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.runs, self.results, self.left_out = {}, {}, {}
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.runs = kept["runs"]
            for item in kept["results"]:
                result = Result(**item)
                self.results[result.key] = result
            self.left_out = {(item["section"], item["case"], item["threads"]): item for item in kept["left out"]}

    def __iter__(self):
        return iter(self.results.values())

    def of(self, section):
        return [result for result in self if result.section == section]

    def add(self, result):
        result.run = self.id
        self.left_out.pop(result.key, None)
        self.results[result.key] = result
        self.write()

    def leave_out(self, key, why):
        """A case that was not measured. What an earlier run found stays."""
        if key not in self.results:
            section, case, threads = key
            self.left_out[key] = {"section": section, "case": case, "threads": threads, "why": why}
            self.write()

    def write(self):
        used = {result.run for result in self}
        self.runs = {name: run for name, run in self.runs.items() if name in used}
        if self.id in used:
            self.runs[self.id] = self.run
        results = [dataclasses.asdict(result) for result in self]
        left_out = list(self.left_out.values())
        # A line each, so that a change of one is a change of a line.
        lists = [",\n".join(map(json.dumps, items)) for items in (results, left_out)]
        content = f'{{"runs": {json.dumps(self.runs)},\n"results": [\n{lists[0]}\n],\n"left out": [\n{lists[1]}\n]}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(content, encoding="utf-8")
        os.replace(new, self.path)
