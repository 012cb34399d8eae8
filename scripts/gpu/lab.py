"""What scripts/gpu-check measures with: the binary, Python with torch, texts that
are made up here, and the memory that a process takes.

Nothing here imports torch: what a process weighs before it becomes another one
counts as the other's, so that this one has to be small.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A check did not hold, or a command failed: what it said."""


class NotRun(Exception):
    """A check that cannot be made here, and why."""


@dataclasses.dataclass
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str
    seconds: float
    rss_mib: float
    device_mib: float | None

    def last_words(self):
        lines = [line for line in self.err.splitlines() if line.strip()]
        return "\n".join(lines[:6]) or f"exit code {self.code}, nothing on standard error"


class Lab:
    """A folder to work in, and the commands that run there."""

    def __init__(self, binary, device, quick, folder):
        self.binary, self.device, self.quick = binary, device, quick
        self.folder = pathlib.Path(folder)
        torch = importlib.util.find_spec("torch")
        if torch is None:
            raise NotRun(f"{sys.executable} has no torch")
        torch = pathlib.Path(torch.origin).parent
        said = re.search(r"__version__ = '(.*)'", (torch / "version.py").read_text(encoding="utf-8"))
        self.torch = said[1] if said else "unknown"
        libraries = [str(torch / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self.environment = os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, libraries))}

    @property
    def on_cuda(self):
        return self.device.startswith("cuda")

    def cellway(self, *arguments, code=0, **more):
        """Runs the binary; Failed unless it ends with this code (None: with any)."""
        return self.run([self.binary, *arguments], code, **more)

    def python(self, script, *arguments, **more):
        return self.run([sys.executable, ROOT / "scripts/reference" / script, *arguments], **more)

    def run(self, command, code=0, environment=(), stop_when=None, watch=False):
        """`stop_when`: a question; SIGTERM follows when it is first answered with yes.
        `watch`: the memory on the device, too, which slows the machine a little."""
        command = [str(word) for word in command]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self.environment | dict(environment),
            )
            ended = threading.Event()
            memory = DeviceMemory(process.pid, ended) if watch and self.on_cuda else None
            if stop_when:
                threading.Thread(target=stop, args=(process, stop_when, ended), daemon=True).start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - started
            ended.set()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(self.plain(file.read().decode(errors="replace")))
        device_mib = memory.peak() if memory else None
        done = Ended(process.returncode, *texts, seconds, usage.ru_maxrss / 1024, device_mib)
        if code is not None and done.code != code:
            what = " ".join(self.plain(word) for word in command)
            raise Failed(f"`{what}`: exit code {done.code}, not {code}\n{done.last_words()}")
        return done

    def plain(self, text):
        """Without the folders of this machine."""
        places = [(self.folder, "WORK"), (self.binary, "cellway"), (ROOT, "."), (sys.executable, "python")]
        for place, name in places:
            text = text.replace(str(place), name)
        return text

    def config(self, name, **sections):
        """A configuration file for the texts of this folder."""
        sections = {
            "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
            "read": {"format": "jsonl"},
            **sections,
        }
        lines = []
        for section, entries in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {toml(value)}" for key, value in entries.items()]
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def write_texts(self):
        """Of the demo's number, lengths and vocabulary, or fewer."""
        counts = (1500, 200, 300) if self.quick else (8000, 1000, 1000)
        words = 2_000 if self.quick else 15_000
        made = made_texts(sum(counts), words, random.Random(20_240_301))
        for name, count in zip(["train", "dev", "test"], counts, strict=True):
            rows, made = made[:count], made[count:]
            write_jsonl(self.folder / f"{name}.jsonl", rows)


def toml(value):
    """A batch of so many texts is a table there."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def made_texts(count, words, draw):
    """Labelled texts of made-up words, the common ones often. One to three words of
    each tell its label, and a twentieth of the labels is wrong."""
    letters = "bcdfghklmnprstvz"
    syllables = [a + b for a in letters for b in "aeiou"]
    names = [
        "".join(syllables[n // size % len(syllables)] for size in (1, 80, 6400))
        for n in range(words + 40)
    ]
    telling, names = {"negative": names[:20], "positive": names[20:40]}, names[40:]
    rows = []
    for _ in range(count):
        label = draw.choice(list(telling))
        # Log-uniform ranks: near to Zipf's law.
        text = [names[int(words ** draw.random()) - 1] for _ in range(draw.randint(4, 40))]
        for _ in range(draw.randint(1, 3)):
            text.insert(draw.randint(0, len(text)), draw.choice(telling[label]))
        if draw.random() < 0.05:
            label = next(other for other in telling if other != label)
        rows.append({"text": " ".join(text), "label": label})
    return rows


def stop(process, when, ended):
    while not ended.wait(0.005):
        if when():
            process.terminate()
            return


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class DeviceMemory:
    """The most device memory that a process has, as nvidia-smi shows it five times a
    second; where it shows no processes (in a container), what the device has more
    than before."""

    def __init__(self, pid, ended):
        self.pid, self.ended, self.most = pid, ended, None
        self.before = self.of_device()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while True:
            found = self.of_process()
            if found is None:
                total = self.of_device()
                found = total - self.before if None not in (total, self.before) else None
            if found is not None:
                self.most = max(found, self.most or 0)
            if self.ended.wait(0.2):
                return

    def peak(self):
        self.thread.join()
        return self.most

    def of_process(self):
        for line in smi("--query-compute-apps=pid,used_memory"):
            pid, _, used = line.partition(",")
            if pid.strip() == str(self.pid) and used.strip().isdigit():
                return float(used)
        return None

    def of_device(self):
        used = smi("--query-gpu=memory.used")
        return float(used[0]) if used and used[0].strip().isdigit() else None


def smi(query):
    """Lines of nvidia-smi; none where it is not there."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.splitlines() if answer.returncode == 0 else []
