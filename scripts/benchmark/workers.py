"""Processes that run what is timed, each with its own threads.

A worker reads lines of JSON and answers each with one:

    {"make": {"name": ..., ...}}     {"ok": true, ...}            something to run
    {"run": NAME, "times": N}        {"seconds": [...]}           N runs, one after another
    {"drop": NAME}                   {"ok": true}
    anything that fails              {"error": "..."}

Clocks are read in the worker: what goes through the pipe is not in the times.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from lab import Skip

HERE = pathlib.Path(__file__).resolve().parent

# Threads of OpenMP spin for a while after their work is done; nobody is to run beside
# those of another process.
PAUSE_S = 0.02

# Put behind a kind: glibc's allocator keeps memory that was freed, as `cellway train`
# asks it to; for Python it is these two variables.
KEPT = " kept"
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def command(kind):
    """How the worker of a kind is started; Skip where it is not there."""
    if kind == "python":
        return [sys.executable, str(HERE / "peers.py")]
    variable = {"ours": "CELLWAY_BENCH_OURS", "candle": "CELLWAY_BENCH_CANDLE"}[kind]
    path = os.environ.get(variable)
    if not path or not os.path.exists(path):
        raise Skip(f"{kind}: not built; start it by scripts/bench")
    return [path, "--worker"]


class Worker:
    """A child process; `with` ends it."""

    latest = None

    def __init__(self, kind, threads, words=None, environment=()):
        """`words`: another command than that of this kind."""
        self.kind = kind
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        self.process = subprocess.Popen(
            words or command(kind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for who asks; a worker ends with its input.
            start_new_session=True,
            env=os.environ | {name: str(threads) for name in names} | dict(environment),
        )
        self.made = set()
        self.ask({"threads": threads})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, question):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Skip(f"{self.kind}: the worker ended, code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Skip(f"{self.kind}: {answer['error']}")
        return answer

    def make(self, name, **what):
        answer = self.ask({"make": {"name": name, **what}})
        self.made.add(name)
        return answer

    def run(self, name, times=1):
        """Seconds of each of so many runs."""
        if Worker.latest is not self:
            time.sleep(PAUSE_S)
        Worker.latest = self
        return self.ask({"run": name, "times": times})["seconds"]

    def memory(self, which):
        """MiB of the process: VmRSS is what it has, VmHWM the most that it ever had."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(which))
        return int(line.split()[1]) / 1024

    def drop(self, name):
        if name in self.made:
            self.made.discard(name)
            self.ask({"drop": name})

    def drop_all(self):
        for name in list(self.made):
            self.drop(name)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Workers:
    """One worker of each kind and number of threads, started when first asked for."""

    def __init__(self):
        self.workers = {}

    def get(self, kind, threads):
        worker = self.workers.get((kind, threads))
        if worker is None or worker.process.poll() is not None:
            environment = KEEPING if kind.endswith(KEPT) else {}
            words = command(kind.removesuffix(KEPT))
            worker = self.workers[kind, threads] = Worker(kind, threads, words, environment)
        return worker

    def drop_all(self):
        """Frees what was made for a case."""
        for key, worker in list(self.workers.items()):
            try:
                worker.drop_all()
            except Skip:
                del self.workers[key]

    def close(self):
        for worker in self.workers.values():
            worker.close()
        self.workers = {}
