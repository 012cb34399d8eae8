"""Whole jobs, as users have them: Cellway's command against scripts/reference/twin.py, which is the
same model written in plain PyTorch, both from the start of the process to its end.

What both made of a job is held against each other; where it differs there is no result.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from lab import Case, Result, Skip, alternate
from machine import ROOT
from report_jobs import report  # noqa: F401  what __main__.py calls

SECTION = "jobs"
HERE = pathlib.Path(__file__).resolve().parent
CELLWAY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/cellway"
TWIN = ROOT / "scripts/reference/twin.py"
REVIEWS = ROOT / "data/movie_reviews.tsv"
GLOVE = ROOT / "data/glove.6B.50d.txt"

# Ours first: the ratios are to it.
ENGINES = ("native", "fused")
SENTENCES = 10_000
BATCH = 32
# Of a probability: other sums of f32, in another order.
TOLERANCE = 1e-5
# Mean losses of an epoch from other initial weights, in another order.
LOSSES_APART = 0.05


class Process:
    """A process that ran: its wall time, the most memory that it had, what it said."""

    def __init__(self, words, threads):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        environment = os.environ | {name: str(threads) for name in names}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.perf_counter()
            child = subprocess.Popen([*map(str, words)], stdout=out, stderr=err, env=environment)
            _, status, usage = os.wait4(child.pid, 0)
            self.seconds = time.perf_counter() - started
            # So that Popen does not wait for what is gone.
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            self.out, self.err = out.read().decode(), err.read().decode()
        self.peak_mib = usage.ru_maxrss / 1024
        if child.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))}: code {child.returncode}\n{self.err[-2000:]}")


def cellway(threads, *words):
    return Process([CELLWAY, *words, "--threads", threads, "--quiet"], threads)


def twin(threads, *words):
    return Process([sys.executable, TWIN, *words, "--threads", threads], threads)


def worker(threads, *words):
    """Our worker for what is timed inside of a process."""
    path = os.environ.get("CELLWAY_BENCH_JOBS")
    if not path or not os.path.exists(path):
        raise Skip("benches/jobs.rs is not built; start it by scripts/bench")
    return json.loads(Process([path, "--bench", *words, "--threads", threads], threads).out)


@functools.cache
def work():
    """The folder of a run of the benchmark, removed at its end."""
    folder = tempfile.TemporaryDirectory(prefix="cellway-jobs-")
    work.folder = folder
    return pathlib.Path(folder.name)


@functools.cache
def texts():
    """`train.jsonl`, `dev.jsonl` and `sentences.txt` of the demo's movie reviews."""
    if not REVIEWS.exists():
        raise Skip(f"{REVIEWS} is not there; run scripts/data demo")
    reviews = [line.split("\t") for line in REVIEWS.read_text(encoding="utf-8").split("\n")[:-1]]
    sentences = "".join(text + "\n" for _, _, text in reviews[:SENTENCES])
    (work() / "sentences.txt").write_text(sentences, encoding="utf-8")
    rated = [(float(rating), text) for _, rating, text in reviews if abs(float(rating)) > 0.5]
    rows = [{"text": text, "label": "positive" if rating > 0 else "negative"} for rating, text in rated]
    # The file begins with texts of one class: every tenth is measured on.
    for name, part in (("dev", rows[::10]), ("train", [row for n, row in enumerate(rows) if n % 10])):
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (work() / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (work() / "job.toml").write_text(f"""\
[data]
train = "{work()}/train.jsonl"
dev = "{work()}/dev.jsonl"
[read]
format = "jsonl"
labels = ["negative", "positive"]
[text]
min_frequency = 1
[embedding]
size = 100
[lstm]
hidden_size = 128
[head]
pooling = "last"
dropout = 0.5
[train]
epochs = 1
batch = {{ sentences = {BATCH} }}
learning_rate = 1e-3
clip_norm = 1.0
""", encoding="utf-8")
    return work()


@functools.cache
def model():
    """A trained model, a directory."""
    folder = texts() / "model-run"
    cellway(len(os.sched_getaffinity(0)), "train", texts() / "job.toml", "--out", folder)
    return folder / "model"


def measured(contenders, rounds=9, budget_s=60.0, least=5):
    """The seconds of whole processes by contender, and the processes, a list of those of
    the rounds that count. `contenders`: by name a function that returns a Process."""
    done = {name: [] for name in contenders}

    def timed(name):
        def run():
            process = contenders[name]()
            done[name].append(process)
            return process.seconds

        return run

    times = alternate({name: timed(name) for name in contenders}, rounds, budget_s, least)
    return times, {name: processes[1:] for name, processes in done.items()}


def peaks(done):
    return {name: max(process.peak_mib for process in processes) for name, processes in done.items()}


TWINS = {
    "twin, packed": ("--batching", "packed"),
    "twin, padded": ("--batching", "padded"),
    "twin, bucketed": ("--batching", "bucketed"),
    "twin, bucketed, fused Adam": ("--batching", "bucketed", "--fused-adam"),
}


def training(bench, threads):
    """One epoch. Ours makes the vocabulary too, draws curves and keeps a snapshot; the
    twin has a vocabulary, and predicts dev as ours measures it."""
    start, folder = model(), texts()

    def ours(engine, fused_update="false"):
        out = folder / "train-ours"
        shutil.rmtree(out, ignore_errors=True)
        words = ["train", folder / "job.toml", "--engine", engine, "--set", f"train.fused_update={fused_update}"]
        process = cellway(threads, *words, "--json", "--out", out)
        (epoch,) = json.loads(process.out)["epochs"]
        process.speed, process.loss = epoch["tokens_per_second"], epoch["train_loss"]
        return process

    def theirs(words):
        out = folder / "train-twin"
        process = twin(
            *[threads, start, folder / "train.jsonl", "--out", out, "--predict", folder / "dev.jsonl"],
            *["--fresh", "--batch", BATCH, "--learning-rate", "1e-3", "--clip-norm", "1", *words],
        )
        process.speed = json.loads(process.out)["tokens_per_second"]
        losses = [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]
        process.loss = sum(losses) / len(losses)
        return process

    contenders = {f"cellway, {engine}": functools.partial(ours, engine) for engine in ENGINES}
    contenders["cellway, native, fused Adam"] = functools.partial(ours, "native", "true")
    contenders |= {name: functools.partial(theirs, words) for name, words in TWINS.items()}
    times, done = measured(contenders, rounds=5 if bench.quick else 9, budget_s=90 if bench.quick else 240)
    losses = {name: sum(process.loss for process in of) / len(of) for name, of in done.items()}
    if not max(losses.values()) - min(losses.values()) < LOSSES_APART:
        raise RuntimeError(f"mean losses of the epoch are too far apart: {losses}")
    facts = {"losses": losses, "peak MiB": peaks(done)}
    # As seconds of a token, so that the ratio says how much faster ours is.
    inner = {name: [1 / process.speed for process in of] for name, of in done.items()}
    ours_name = f"cellway, {ENGINES[0]}"
    return [
        Result.of(SECTION, "train one epoch: a token", threads, inner, ours_name, **facts),
        Result.of(SECTION, "train one epoch: whole process", threads, times, ours_name, **facts),
    ]


def scoring(bench, threads):
    """10,000 sentences from a file to a file."""
    start, folder = model(), texts()
    outputs = {name: folder / f"scored-{name}.jsonl" for name in (*ENGINES, "twin")}

    def ours(engine):
        words = ["predict", start, "--input", folder / "sentences.txt", "--output", outputs[engine]]
        return cellway(threads, *words, "--engine", engine)

    def theirs():
        return twin(threads, "--score", start, "--input", folder / "sentences.txt", "--output", outputs["twin"])

    contenders = {f"cellway, {engine}": functools.partial(ours, engine) for engine in ENGINES}
    times, done = measured(contenders | {"twin": theirs}, budget_s=30 if bench.quick else 60)
    facts = {"sentences": SENTENCES, "peak MiB": peaks(done), "largest difference": {}}
    for engine in ENGINES:
        facts["largest difference"][engine] = difference(outputs[engine], outputs["twin"])
    parts = [json.loads(process.err.splitlines()[-1])["seconds"] for process in done["twin"]]
    facts["twin's parts"] = {name: sorted(part[name] for part in parts)[len(parts) // 2] for name in parts[0]}
    return [Result.of(SECTION, "score 10,000 sentences", threads, times, f"cellway, {ENGINES[0]}", **facts)]


def difference(ours, theirs):
    """The largest of a probability; an error where labels or texts differ, or it is too large."""
    rows = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (ours, theirs)]
    largest = 0.0
    if len(rows[0]) != SENTENCES:
        raise RuntimeError(f"{ours}: {len(rows[0])} predictions for {SENTENCES} sentences")
    for number, (a, b) in enumerate(zip(*rows, strict=True), 1):
        apart = max(abs(p - b["probabilities"][label]) for label, p in a["probabilities"].items())
        # At 1/2 a label is what rounding makes of it.
        same = a["label"] == b["label"] or max(a["probabilities"].values()) < 0.5 + TOLERANCE
        if a["text"] != b["text"] or not same or not apart <= TOLERANCE:
            raise RuntimeError(f"{ours}:{number}: not what the twin says: {a} instead of {b}")
        largest = max(largest, apart)
    return largest


def latency(bench, threads):
    """One sentence after another in a warm process."""
    start, sentences = model(), texts() / "sentences.txt"
    count = 1000 if bench.quick else 2000
    answers = {}

    def ours(engine):
        return worker(threads, "latency", start, sentences, "--engine", engine, "--count", count)

    def theirs():
        return json.loads(twin(threads, start, "--latency", count, "--input", sentences).out)

    def timed(name, run):
        def call():
            answers.setdefault(name, []).append(run())
            return answers[name][-1]["p50"]

        return call

    contenders = {f"cellway, {engine}": functools.partial(ours, engine) for engine in ENGINES} | {"twin": theirs}
    times = alternate({name: timed(name, run) for name, run in contenders.items()}, 9, 30 if bench.quick else 60)
    slow = {name: [answer["p99"] for answer in of[1:]] for name, of in answers.items()}
    ours_name = f"cellway, {ENGINES[0]}"
    return [
        Result.of(SECTION, "one sentence: the median", threads, times, ours_name, sentences=count),
        Result.of(SECTION, "one sentence: 99 of 100", threads, slow, ours_name, sentences=count),
    ]


def cold(bench, threads):
    """From the start of the process to the end, with one sentence answered."""
    start, text = model(), "This movie is really great!"
    contenders = {f"cellway, {engine}": lambda engine=engine: cellway(threads, "predict", start, text, "--engine", engine) for engine in ENGINES}
    contenders["twin"] = lambda: twin(threads, "--score", start, "--text", text)
    times, done = measured(contenders, rounds=15, budget_s=30 if bench.quick else 60)
    answers = {name: of[-1].out for name, of in done.items()}
    label = json.loads(answers["twin"])["label"]
    if not all(answer.startswith(label) for name, answer in answers.items() if name != "twin"):
        raise RuntimeError(f"other labels than the twin's: {answers}")
    return [Result.of(SECTION, "first answer of a new process", threads, times, f"cellway, {ENGINES[0]}", **{"peak MiB": peaks(done)})]


def python(threads, *words):
    return float(Process([sys.executable, HERE / "readers.py", *words], threads).out)


def checkpoint(bench, threads):
    """256 MiB that torch.save wrote, in the page cache."""
    path = work() / "large.pt"
    if not path.exists():
        make = f"import torch; torch.save({{f'layer.{{n}}': torch.randn(1 << 20) for n in range(64)}}, {str(path)!r})"
        Process([sys.executable, "-c", make], threads)
    budget = 30 if bench.quick else 60
    ways = {"torch.load": "load", "torch.load(mmap=True), a clone of each": "mmap-clone"}
    loads = {"cellway": lambda: worker(threads, "checkpoint", path)["load"]}
    loads |= {name: functools.partial(python, threads, way, path) for name, way in ways.items()}
    opens = {
        "cellway": lambda: worker(threads, "checkpoint", path)["open"],
        "torch.load(mmap=True)": lambda: python(threads, "mmap", path),
    }
    return [
        Result.of(SECTION, "checkpoint of 256 MiB: all tensors", threads, alternate(loads, 9, budget), "cellway"),
        Result.of(SECTION, "checkpoint of 256 MiB: open", threads, alternate(opens, 9, budget), "cellway"),
    ]


def vectors(bench, threads):
    """The vectors of a vocabulary out of GloVe's 400,000."""
    if not GLOVE.exists():
        raise Skip(f"{GLOVE} is not there; run scripts/data demo")
    words = work() / "words.txt"
    vocabulary = json.loads((model() / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words.write_text("".join(word + "\n" for word in vocabulary), encoding="utf-8")
    contenders = {
        "cellway": lambda: worker(threads, "vectors", GLOVE, words)["seconds"],
        "a loop over the lines, numpy": lambda: python(threads, "lines", GLOVE, words),
        "pyarrow.csv": lambda: python(threads, "arrow", GLOVE, words),
    }
    times = alternate(contenders, 9, 40 if bench.quick else 90)
    return [Result.of(SECTION, "vectors of a vocabulary from GloVe's file", threads, times, "cellway", words=len(vocabulary))]


# Each with about how many seconds it takes, quick and full.
JOBS = {
    "train one epoch": (training, 90, 200),
    "score 10,000 sentences": (scoring, 30, 60),
    "one sentence after another": (latency, 35, 60),
    "first answer of a new process": (cold, 30, 40),
    "checkpoint": (checkpoint, 60, 120),
    "vectors": (vectors, 40, 90),
}


def cases(options):
    return [
        Case(SECTION, name, threads, quick if options.quick else full, functools.partial(measure, job, threads))
        for threads in options.threads
        for name, (job, quick, full) in JOBS.items()
    ]


def measure(job, threads, bench):
    return job(bench, threads)
