"""Facts about a Python environment that scripts/setup decides by.

    python3 environment.py probe          facts about this interpreter, one `key=value` a line
    python3 environment.py missing LOCK   the entries of a lock file that a borrowed torch leaves to install

Nothing newer than Python 3.6 stands on the way of `probe`, which has to run on the
interpreter whose age it reports. No package is imported: torch would take seconds.
"""

import os
import sys


def probe():
    print("version=%d.%d" % sys.version_info[:2])
    # The interpreter below the active virtual environment: it outlives that one.
    print("executable=%s" % getattr(sys, "_base_executable", sys.executable))
    print("prefix=%s" % os.path.realpath(sys.prefix))
    if sys.version_info < (3, 10):
        return
    from importlib import metadata, util

    print("venv=%s" % ("yes" if all(map(util.find_spec, ("venv", "ensurepip"))) else "no"))
    print("sites=%s" % ":".join(path for path in sys.path if path.endswith(("site-packages", "dist-packages"))))
    try:
        torch, spec = metadata.distribution("torch"), util.find_spec("torch")
    except metadata.PackageNotFoundError:
        return
    if spec is None or spec.origin is None:
        return
    folder = os.path.dirname(os.path.realpath(spec.origin))
    print("torch=%s" % torch.version)
    print("folder=%s" % folder)
    # Gone or renamed when torch is upgraded in place: setup looks for it again.
    print("info=%s" % os.path.realpath(str(torch._path)))
    if os.path.exists(folder + "/lib/libtorch_cpu.so") and os.path.isdir(folder + "/include/ATen"):
        print("usable=yes")


def missing(lock):
    """Prints entries for packages of which no version is installed; torch has brought its CUDA packages."""
    from importlib import metadata

    wanted = True
    with open(lock, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith(" "):
                name = line.split("==")[0]
                wanted = not name.startswith(("cuda-", "nvidia-", "triton")) and not installed(metadata, name)
            if wanted:
                print(line, end="")


def installed(metadata, name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


if __name__ == "__main__":
    {"probe": probe, "missing": missing}[sys.argv[1]](*sys.argv[2:])
