"""One layer in one direction, f32: ours against torch, ONNX Runtime and candle."""

import dataclasses
import statistics

import kernel_report
import lengths
import machine
from lab import Case, Result, Skip, alternate, spread
from workers import KEPT, Worker

# Name, worker, and how it is made there.
CONTENDERS = {
    "ours": ("ours", "native"),
    "ours, packed once": ("ours", "packed"),
    "ours, recomputing": ("ours", "recompute"),
    "ours, fused": ("ours", "fused"),
    "torch padded": ("python", "padded"),
    "torch packed": ("python", "packed"),
    "torch looped": ("python", "looped"),
    "ONNX Runtime": ("python", "onnx"),
    "candle": ("candle", "candle"),
}
MATMUL = "matmul"
BASE = ["ours", "ours, fused", "torch padded"]

# The grid.
BATCHES, TIMES, HIDDEN = (1, 8, 32, 128, 256), (20, 50, 200, 1000), (64, 128, 256, 512, 1024)
INPUTS = (50, 100, 300)
# Above these a cell of the grid is left out; a contender whose run takes longer, too.
MOST_WORK, MOST_BYTES, MOST_SECONDS = 2e12, 7e9, 30.0
# Packed training is left out where it would take longer.
MOST_PACKED_S = 10.0
# A process that has just got its turn runs slower at first: short runs are repeated
# until a turn is so long, and the median counts.
TURN_S, MOST_RUNS = 0.02, 200
# Runs from this on are made once a turn, and need no round to warm up beside the one
# that says how long they are.
LONG_S = 0.2


@dataclasses.dataclass
class Work:
    """What a run computes."""

    input: int
    hidden: int
    batches: list
    backward: bool

    @property
    def tokens(self):
        return sum(map(sum, self.batches))

    @property
    def steps(self):
        """Tokens and padding."""
        return sum(len(batch) * max(batch) for batch in self.batches)

    def flop(self, tokens=None):
        """Products of matrices alone: forward once, backward twice as much."""
        tokens = self.tokens if tokens is None else tokens
        return 8 * self.hidden * (self.input + self.hidden) * tokens * (3 if self.backward else 1)

    def bytes(self):
        """About what one process needs, in training with what is kept for the way back."""
        largest = max(len(batch) * max(batch) for batch in self.batches)
        numbers = 2 * self.input + 12 * self.hidden if self.backward else self.input + 6 * self.hidden
        return 4 * largest * numbers

    def seconds(self, threads):
        """Roughly, of one run, on a machine of 2025."""
        return 1e-4 + self.flop(self.steps) / (1.4e11 * threads**0.9)


def timer(worker, name, turn_s=TURN_S):
    """Runs `name` in turns, each the median of as many runs as it takes."""
    (once,) = worker.run(name)
    if once > MOST_SECONDS:
        raise Skip(f"a run takes {once:.0f} s")
    least = 1 if once > LONG_S else 3
    times = min(MOST_RUNS, max(least, round(turn_s / once)))
    return lambda: statistics.median(worker.run(name, times))


def worker_of(bench, contender, threads, kept):
    kind, how = CONTENDERS[contender]
    return bench.worker(kind + KEPT if kept else kind, threads), how


def prepare(bench, work, threads, names, kept=False):
    """Has every contender made and checked: by name its worker, by name why one is missing,
    and the engine that ours would take itself. What computes something else than ours is no
    contender."""
    ready, missing, expected, auto = {}, {}, None, None
    for name in names:
        try:
            worker, how = worker_of(bench, name, threads, kept)
            made = worker.make(
                name,
                kind="lstm",
                how=how,
                input=work.input,
                hidden=work.hidden,
                batches=work.batches,
                backward=work.backward,
            )
            if expected is None:
                expected, auto = made["check"], made["auto"]
            if abs(made["check"] - expected) > 1e-4 * abs(expected):
                worker.drop(name)
                raise Skip(f"computes something else: {made['check']} instead of {expected}")
            ready[name] = worker
        except Skip as reason:
            if name == "ours":
                raise
            missing[name] = str(reason)
    return ready, missing, auto


def race(bench, case, work, names, rounds, budget_s, least=5, kept=False, facts=()):
    """Measures a case: the contenders, and in the same rounds a product of matrices."""
    ready, missing, auto = prepare(bench, work, case.threads, names, kept)
    runs = {}
    for name, worker in ready.items():
        try:
            runs[name] = timer(worker, name)
        except Skip as reason:
            missing[name] = str(reason)
            worker.drop(name)
    if "ours" in missing:
        raise Skip(missing["ours"])
    by, size = machine.fastest(bench.rates[case.threads])
    torch = bench.worker("python", case.threads)
    torch.make(MATMUL, kind="matmul", size=size, by=by)
    runs[MATMUL] = timer(torch, MATMUL)
    warm_up = 0 if work.seconds(case.threads) > LONG_S else 1
    times = alternate(runs, rounds, budget_s, least, warm_up)
    rate = 2 * size**3
    shares = {
        name: spread([work.flop() / one / (rate / product) for one, product in zip(values, times[MATMUL], strict=True)])
        for name, values in times.items()
        if name != MATMUL
    }
    matmul = [rate / seconds / 1e9 for seconds in times.pop(MATMUL)]
    sizes = {"input": work.input, "hidden": work.hidden, "backward": work.backward}
    return Result.of(
        case.section,
        case.name,
        case.threads,
        times,
        "ours",
        tokens=work.tokens,
        steps=work.steps,
        flop=work.flop(),
        shares=shares,
        matmul=spread(matmul),
        missing=missing,
        auto=auto,
        **sizes,
        **dict(facts),
    )


def simple(section, name, threads, work, names, rounds, budget_s, least=5, kept=False, facts=()):
    """A case that is one race."""
    turn = max(work.seconds(threads), TURN_S) + 0.02
    made = min((rounds + 2) * (len(names) + 1) * turn, max(budget_s, (least + 2) * len(names) * turn))
    case = Case(section, name, threads, 0.3 + made, None)
    case.measure = lambda bench: [race(bench, case, work, names, rounds, budget_s, least, kept, facts)]
    return case


# ---- the named cases -------------------------------------------------------


def lazily(section, name, threads, seconds, work, names, rounds, budget_s, kept=False, facts=()):
    """A case whose lengths are read from the data when its turn comes."""
    case = Case(section, name, threads, seconds, None)
    case.measure = lambda bench: [race(bench, case, work(), names, rounds, budget_s, kept=kept, facts=facts)]
    return case


def named(options, threads):
    rounds, budget = (5, 4.0) if options.quick else (21, 20.0)
    count = 4 if options.quick else 16
    add = []

    def case(name, work, names, seconds=budget, kept=False):
        add.append(lazily("named", name, threads, seconds, work, names, rounds, budget, kept, {"order": len(add)}))

    random = lambda: Work(100, 128, lengths.random_batches(count, 32), True)  # noqa: E731
    bucketed = lambda: Work(100, 128, lengths.bucketed_batches(count, 32), True)  # noqa: E731
    ragged = lambda: Work(100, 128, [[200 - 6 * n for n in range(32)]], True)  # noqa: E731
    real = "real lengths, B 32, I 100, H 128"
    full = "B 256, T 50, I 256, H 256, full lengths"
    libtorch = [*BASE, "torch packed"]
    for kept in (False, True):
        names = [name for name in libtorch if name != "ours, fused"] if kept else libtorch
        more = ", freed memory kept" if kept else ""
        case(f"training, {real}, random order{more}", random, names, kept=kept)
        case(f"training, {real}, bucketed{more}", bucketed, names, kept=kept)
        case(f"training, lengths 14 to 200, B 32, I 100, H 128{more}", ragged, names, kept=kept)
        case(f"training, {full}{more}", lambda: Work(256, 256, [[50] * 256], True), names, kept=kept)
    case(f"forward, {full}", lambda: Work(256, 256, [[50] * 256], False), [*libtorch, "ONNX Runtime", "candle"])
    for hidden in (512, 1024):
        for size in (32, 128):
            if options.quick and (hidden, size) != (512, 32):
                continue
            for backward in (False, True):
                name = f"{'training' if backward else 'forward'}, real lengths, B {size}, I 100, H {hidden}, random order"
                work = lambda h=hidden, b=size, back=backward: Work(100, h, lengths.random_batches(2, b), back)  # noqa: E731
                case(name, work, libtorch)
    return [*add, memory(options, threads, len(add)), one_text(options, threads, len(add) + 1)]


def memory(options, threads, order):
    """A long batch in training: the time, and how far one run lets a new process grow."""
    work = Work(100, 256, [[200 if options.quick else 1000] * 32], True)
    names = ["ours", "ours, recomputing", *BASE[1:]]
    rounds, budget = (5, 4.0) if options.quick else (21, 20.0)
    case = Case("named", f"training, B 32, T {work.batches[0][0]}, I 100, H 256, full lengths", threads, budget + 5, None)

    def measure(bench):
        result = race(bench, case, work, names, rounds, budget, facts={"order": order})
        result.facts["grown MiB"] = {name: grown(name, work, threads) for name in result.figures}
        return [result]

    case.measure = measure
    return case


def grown(contender, work, threads):
    kind, how = CONTENDERS[contender]
    with Worker(kind, threads) as worker:
        sizes = {"input": work.input, "hidden": work.hidden, "batches": work.batches}
        # A small one first: threads and libraries are not what is asked.
        worker.make("small", kind="lstm", how=how, **sizes | {"batches": [[2]]}, backward=True)
        worker.run("small")
        before = worker.memory("VmRSS")
        worker.make("long", kind="lstm", how=how, **sizes, backward=True)
        worker.run("long")
        return worker.memory("VmHWM") - before


def one_text(options, threads, order):
    """One sentence at a time, the call of the module alone: of each turn the median and
    the 99th percentile."""
    rounds, times = (5, 200) if options.quick else (21, 400)
    work = Work(100, 128, [[20]], False)
    names = ["ours", "ours, packed once", *BASE[1:], "torch looped", "ONNX Runtime", "candle"]
    case = Case("named", "forward, one text of 20 tokens, B 1, I 100, H 128", threads, rounds * len(names) * times * 4e-4, None)

    def measure(bench):
        ready, missing, _ = prepare(bench, work, threads, names)
        turns = {name: [] for name in ready}

        def contender(name):
            def run():
                ready[name].run(name, 20)
                turns[name].append(ready[name].run(name, times))
                return statistics.median(turns[name][-1])

            return run

        p50 = alternate({name: contender(name) for name in ready}, rounds, 60.0)
        p99 = {name: [statistics.quantiles(turn, n=100)[98] for turn in all[1:]] for name, all in turns.items()}
        facts = {"missing": missing, "order": order, "tokens": 20, "hidden": 128, "input": 100, "backward": False}
        return [
            Result.of("named", f"{case.name}: {which}", threads, found, "ours", **facts)
            for which, found in (("median", p50), ("99th percentile", p99))
        ]

    case.measure = measure
    return case


# ---- what it costs to read longer texts ------------------------------------


def by_length(options, threads):
    """Time per token while T grows: full lengths, B 32."""
    times = (10, 100, 1000) if options.quick else (10, 30, 100, 300, 1000, 3000, 10000)
    cases = []
    for backward in (False, True):
        # What packed took at the T before: training by it is quadratic.
        last = {}
        for time in times:
            cases.append(length_case(options, threads, time, backward, last))
    return cases


def length_case(options, threads, time, backward, last):
    work = Work(100, 128, [[time] * 32], backward)
    kind = "training" if backward else "forward"
    name = f"{kind}, T {time}, B 32, I 100, H 128"
    rounds, budget = (5, 3.0) if options.quick else (9, 10.0)
    case = Case("length", name, threads, 1 + max(2.0, 30 * work.seconds(threads)), None)

    def measure(bench):
        names, facts = ["ours", "torch padded"], {"time": time}
        if last:
            before, seconds = max(last.items())
            expected = seconds * (time / before) ** 2
            if backward and expected > MOST_PACKED_S and before > 100:
                facts["packed left out"] = f"would take about {expected:.0f} s a run, if it goes on as before"
            else:
                names.append("torch packed")
        else:
            names.append("torch packed")
        result = race(bench, case, work, names, rounds, budget, 3, facts=facts)
        if "torch packed" in result.figures:
            last[time] = result.figures["torch packed"]["median"]
        if "packed left out" in facts:
            result.facts["missing"]["torch packed"] = facts["packed left out"]
        return [result]

    case.measure = measure
    return case


def by_tokens(options, threads):
    """Time while T stays and the number of real tokens grows: one text of 500 tokens,
    31 shorter ones."""
    shares = (0.1, 1.0) if options.quick else (0.02, 0.1, 0.25, 0.5, 0.75, 1.0)
    cases = []
    for backward in (False, True):
        for share in shares:
            work = Work(100, 128, [[500, *[round(500 * share)] * 31]], backward)
            kind = "training" if backward else "forward"
            name = f"{kind}, one text of 500 tokens, 31 of {round(500 * share)}, I 100, H 128"
            names = ["ours", "torch padded", "torch packed"]
            cases.append(simple("tokens", name, threads, work, names, 7, 6.0, 3))
    return cases


# ---- the grid --------------------------------------------------------------


def contenders_of(batch, time, input, hidden, work):
    """Ours and torch padded in every cell, the others in some."""
    names = ["ours", "torch padded"]
    if work.flop(work.steps) <= 0.1e12:
        names.insert(1, "ours, fused")
    if batch <= 8 and not work.backward:
        names.insert(1, "ours, packed once")
    if input == 100 and time <= 200 and work.flop(work.steps) <= 0.03e12:
        names.append("torch packed")
        if batch in (1, 32) and time in (20, 200) and hidden <= 512:
            if time == 20:
                names.append("torch looped")
            if not work.backward:
                names += ["ONNX Runtime", "candle"]
    return names


def cells(quick):
    """B, T, I, H and whether lengths are those of sentences."""
    if quick:
        for batch in (1, 32):
            for time in (20, 200):
                for hidden in (64, 256):
                    yield batch, time, 100, hidden, False
        yield 32, 50, 100, 128, True
        return
    for hidden in HIDDEN:
        for batch in BATCHES:
            for time in TIMES:
                yield batch, time, 100, hidden, False
    for batch in (8, 32, 128, 256):
        for time in (50, 200, 1000):
            for hidden in (128, 512):
                yield batch, time, 100, hidden, True
    for input in (50, 300):
        for batch in (1, 32, 256):
            for hidden in (64, 256, 1024):
                yield batch, 50, input, hidden, False


def cell_name(batch, time, input, hidden, real, backward):
    kind = "training" if backward else "forward"
    return f"{kind}, B {batch}, T {time}, I {input}, H {hidden}, {'real' if real else 'full'} lengths"


def grid(options, threads):
    return [
        grid_case(options, threads, cell, backward) for cell in cells(options.quick) for backward in (False, True)
    ]


def grid_case(options, threads, cell, backward):
    batch, time, input, hidden, real = cell
    name = cell_name(*cell, backward)
    full = Work(input, hidden, [[time] * batch], backward)
    facts = {"batch": batch, "time": time, "real": real}
    for reason, too_much in (
        (f"a run is more than {MOST_WORK / 1e12:g} TFLOP", full.flop() > MOST_WORK),
        (f"a process would need more than {MOST_BYTES / 1e9:g} GB", full.bytes() > MOST_BYTES),
    ):
        if too_much:
            return Case("grid", name, threads, 0.0, left_out(reason))
    names = contenders_of(batch, time, input, hidden, full)
    rounds, budget = (5, 2.0) if options.quick else (7, 2.5)
    # Of long runs three rounds.
    least = 3 if full.seconds(threads) > LONG_S else 5
    case = simple("grid", name, threads, full, names, rounds, budget, least, facts=facts)

    def measure(bench):
        work = Work(input, hidden, [lengths.scaled(batch, time)], backward) if real else full
        return [race(bench, case, work, names, rounds, budget, least, facts=facts)]

    case.measure = measure
    return case


def left_out(reason):
    def measure(_):
        raise Skip(reason)

    return measure


# ---- what the frame asks ---------------------------------------------------


def cases(options):
    parts = (named, by_length, by_tokens, grid)
    return [case for part in parts for threads in options.threads for case in part(options, threads)]


def report(results, folder):
    return kernel_report.report(results, folder)

