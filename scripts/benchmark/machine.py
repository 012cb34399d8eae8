"""What is said of the machine and of the versions that were measured."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
from importlib import metadata

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def cpu():
    lines = dict(re.findall(r"^\s*(.*?):\s+(.*)$", output("lscpu"), flags=re.MULTILINE))
    flags = set(lines.get("Flags", "").split())
    known = ["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    family = [lines.get(name, "?") for name in ("CPU family", "Model")]
    return {
        "CPU": f"{lines.get('Model name', platform.machine())}, family {family[0]}, model {family[1]}",
        "cores": str(len(os.sched_getaffinity(0))),
        "caches": ", ".join(f"{name} {lines[f'{name} cache']}" for name in ("L1d", "L2", "L3") if f"{name} cache" in lines),
        "instruction sets": ", ".join(name for name in known if name in flags) or "none of " + ", ".join(known),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    } | ({"virtual machine of": lines["Hypervisor vendor"]} if "Hypervisor vendor" in lines else {})


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def locked(crate, lock):
    """The version of a crate that a lock file names."""
    path = ROOT / lock
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(rf'name = "{crate}"\nversion = "(.*?)"', text)
    return found[1] if found else "not built"


def describe(quick):
    """A dict that `Results` keeps of a run; matmul rates are put in later."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "date": now.isoformat(timespec="seconds"),
        "sizes": "quick" if quick else "full",
        "machine": cpu(),
        "versions": {
            "cellway": output("git", "describe", "--always", "--dirty", "--abbrev=12") or "unknown",
            "libtorch and torch": version("torch"),
            "ONNX Runtime": version("onnxruntime"),
            "candle": locked("candle-core", "benches/candle/Cargo.lock"),
            "Python": platform.python_version(),
            "rustc": output("rustc", "--version"),
        },
        "rates": {},
    }


def matmul_rates(worker, sizes=(256, 512, 768, 1024, 2048), ways=("torch.mm", "oneDNN")):
    """GFLOP/s of products of square f32 matrices by way and size, the median of some."""
    rates = {}
    for by in ways:
        for size in sizes:
            worker.make("matmul", kind="matmul", size=size, by=by)
            worker.run("matmul", 3)
            seconds = statistics.median(worker.run("matmul", 9))
            worker.drop("matmul")
            rates[f"{by} {size}"] = 2 * size**3 / seconds / 1e9
    return rates


def fastest(rates):
    """Of what `matmul_rates` returned: way and size of the highest."""
    by, size = max(rates, key=rates.get).split(" ")
    return by, int(size)
