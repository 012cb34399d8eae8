"""Facts about a Python environment that scripts/setup decides by.

    python3 environment.py probe          facts about this interpreter, one `key=value` a line
    python3 environment.py missing FILE   the pins of a requirements file that nothing here satisfies
    python3 environment.py damaged        installed packages with missing or cut files
    python3 environment.py borrow DIR     make the packages in the folders on stdin importable from DIR

Only the standard library, and no syntax newer than 3.6 on the way of `probe`:
it has to run on the interpreter whose age it reports. Nothing is imported from
the packages in question; torch alone would take seconds.
"""

import os
import sys


def torch_facts():
    """Version, folder and metadata folder of the installed torch, as a dict; empty without one."""
    from importlib import metadata, util

    try:
        distribution = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        return {}
    spec = util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = os.path.realpath(list(spec.submodule_search_locations)[0])
    usable = os.path.exists(os.path.join(folder, "lib", "libtorch_cpu.so")) and os.path.isdir(
        os.path.join(folder, "include", "ATen")
    )
    return {
        "torch": distribution.version,
        "torch_dir": folder,
        # Gone or renamed when torch is upgraded in place: setup looks for it again.
        "torch_info": os.path.realpath(str(distribution._path)),
        "torch_usable": "yes" if usable else "no",
    }


def importable(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def probe():
    print("version=%d.%d" % sys.version_info[:2])
    # The interpreter below the active virtual environment: it outlives that one.
    print("executable=%s" % getattr(sys, "_base_executable", sys.executable))
    print("prefix=%s" % os.path.realpath(sys.prefix))
    if sys.version_info < (3, 10):
        return
    print("venv=%s" % ("yes" if importable("venv") and importable("ensurepip") else "no"))
    for key, value in torch_facts().items():
        print("%s=%s" % (key, value))
    for folder in sys.path:
        if os.path.basename(folder) in ("site-packages", "dist-packages") and os.path.isdir(folder):
            print("site=%s" % folder)


def missing(requirements):
    """Pins for packages of which no version at all is installed."""
    from importlib import metadata

    with open(requirements, encoding="utf-8") as lines:
        for line in lines:
            pin, _, marker = line.partition("#")[0].strip().partition(";")
            if not pin:
                continue
            # The only marker in use; pip knows the rest of the language.
            if "<" in marker and sys.version_info >= (3, 11):
                continue
            if ">=" in marker and sys.version_info < (3, 11):
                continue
            try:
                metadata.version(pin.split("==")[0])
            except metadata.PackageNotFoundError:
                print(pin.strip())


def damaged():
    """Packages of this environment whose files are not those of their RECORD.

    An interrupted pip leaves a folder of metadata that later runs take for an
    installed package; the list of files and sizes tells.
    """
    import csv
    from importlib import metadata

    for distribution in metadata.distributions():
        if not str(distribution._path).startswith(sys.prefix + os.sep):
            continue
        name = distribution.metadata["Name"] or os.path.basename(str(distribution._path))
        # Not `distribution.files`: newer Pythons leave the missing ones out of it.
        record = distribution.read_text("RECORD")
        if not record or not all(intact(distribution, row) for row in csv.reader(record.splitlines())):
            print(name)


def intact(distribution, row):
    path, _, size = row
    if path.endswith(".pyc"):
        return True
    try:
        found = os.stat(str(distribution.locate_file(path))).st_size
    except OSError:
        return False
    return not size or int(size) == found


def borrow(target):
    lines = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    temporary = os.path.join(target, "cellway-borrowed.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))
    os.replace(temporary, os.path.join(target, "cellway-borrowed.pth"))


if __name__ == "__main__":
    commands = {"probe": probe, "missing": missing, "damaged": damaged, "borrow": borrow}
    commands[sys.argv[1]](*sys.argv[2:])
