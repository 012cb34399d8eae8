"""Makes the inputs that the fuzz targets start from: corpus/TARGET/*.

    .venv/bin/python fuzz/seeds.py
"""

import collections
import io
import json
import pathlib
import pickle
import pickletools
import warnings
import zipfile

import numpy
import torch

warnings.simplefilter("ignore")
torch.manual_seed(1)
CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def script(module):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def behind_the_start(file):
    """What stands behind the first three pickles of a legacy file."""
    stream = io.BytesIO(file)
    for _ in range(3):
        for _ in pickletools.genops(stream):
            pass
    return file[stream.tell() :]


lstm = torch.nn.LSTM(1, 1, bidirectional=True, num_layers=2)
base = torch.arange(16.0)
values = {
    "plain": base,
    "views": {"a": base[2:6], "b": base.view(4, 4).t(), "c": torch.ones(4)},
    "lstm": torch.nn.LSTM(1, 2, bias=False).state_dict(),
    "lstm2": lstm.state_dict(),
    "module": lstm,
    "sequential": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LSTM(2, 1)),
    "parameter": torch.nn.Parameter(torch.ones(4)),
    "dtypes": [torch.zeros(2, dtype=d) for d in (torch.bfloat16, torch.int64, torch.bool, torch.uint16)],
    "odd": {
        "sparse": torch.eye(2).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "conj": torch.ones(2, dtype=torch.complex64).conj(),
        "meta": torch.empty(2, device="meta"),
        "storage": torch.ones(2).untyped_storage(),
        "expanded": torch.ones(1).expand(9),
    },
    "training": {
        "epoch": 3,
        "loss": 0.5,
        "big": 1 << 70,
        "vocabulary": {"<pad>": 0, "good": 1, "schön": 2},
        "optimizer": torch.optim.Adam(lstm.parameters()).state_dict(),
        "set": {1, 2},
        "tuple": (None, True, False, b"bytes"),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {"x": [1]}),
    },
}
for name, value in values.items():
    new = saved(value)
    write("zip", name, new)
    if name in ("plain", "views"):
        write("zip", f"{name}-proto4", saved(value, pickle_protocol=4))
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        pickles = [n for n in archive.namelist() if n.endswith("data.pkl")]
        write("pickle", name, archive.read(pickles[0]))
    old = saved(value, _use_new_zipfile_serialization=False)
    write("legacy", name, behind_the_start(old))

scripted = script(torch.nn.LSTM(1, 1))
write("zip", "script", scripted)
with zipfile.ZipFile(io.BytesIO(scripted)) as archive:
    for n in archive.namelist():
        if n.endswith(".pkl"):
            write("pickle", "script-" + n.rsplit("/", 1)[-1], archive.read(n))

plain = {
    "numbers": [0, 1, -1, 255, 65535, 1 << 31, -(1 << 63), 1 << 70, 0.5, float("nan")],
    "strings": ["", "a", "ä", "'\"\\\n", "x" * 300, b"", b"b" * 300, "\ud800"],
    "nested": [[], (), {}, set(), frozenset({1}), ((1, 2), {"a": [{"b": (3,)}]})],
    "class": collections.OrderedDict(a=1, b=collections.OrderedDict),
}
shared = [1]
plain["shared"] = [shared, shared, (shared,)]
for name, value in plain.items():
    for protocol in range(6):
        write("pickle", f"{name}-{protocol}", pickle.dumps(value, protocol))
cyclic = []
cyclic.append(cyclic)
write("pickle", "cyclic", pickle.dumps(cyclic, 2))
write("pickle", "instance", b"(S'x'\nicollections\nOrderedDict\n(S'k'\nI01\nL5L\nF1.5\nVa\\u00e4\nd.")

arrays = {
    "f4": numpy.ones((2, 2), "f4"),
    "fortran": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "big": numpy.ones(2, ">i4"),
    "bool": numpy.ones(3, "?"),
    "scalar": numpy.array(1, "i8"),
    "fields": numpy.zeros(2, [("x", "f4"), ("y", "i4", (2,))]),
    "text": numpy.array(["ab"]),
    "objects": numpy.array([{}], object),
}
for name, array in arrays.items():
    buffer = io.BytesIO()
    numpy.save(buffer, array)
    write("npz", name, buffer.getvalue())
for name, save in (("npz", numpy.savez), ("npz-deflated", numpy.savez_compressed)):
    buffer = io.BytesIO()
    save(buffer, numpy.ones((1, 4), "f4"), numpy.ones((1, 4), "f4"), numpy.ones(4, "f4"))
    write("zip", name, buffer.getvalue())


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


headers = {
    "one": {"a": entry("F32", [1, 2], 0, 8)},
    "lstm": {
        "weight_ih_l0": entry("F32", [4, 1], 0, 16),
        "weight_hh_l0": entry("F32", [4, 1], 16, 32),
        "__metadata__": {"format": "pt", "note": "ä\n"},
    },
    "odd": {"x": entry("F4", [2], 0, 1), "y": entry("F8_E8M0", [], 1, 2), "z": entry("BOOL", [0, 3], 2, 2)},
    "empty": {},
}
for name, header in headers.items():
    ends = [e["data_offsets"][1] for k, e in header.items() if k != "__metadata__"]
    write("safetensors", name, json.dumps(header).encode() + b"\n" + bytes(max(ends, default=0)))

index = {"metadata": {"total_size": 3}, "weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}
write("index", "good", json.dumps(index).encode())
write("index", "outside", b'{"weight_map":{"a":"../1.safetensors"}}')
write("index", "missing", b'{"weight_map":{"a":"2.safetensors"}}')

# Files of other kinds, which the `zip` target tells apart.
write("zip", "safetensors", (len(json.dumps(headers["one"]))).to_bytes(8, "little") + json.dumps(headers["one"]).encode() + bytes(8))
write("zip", "legacy", saved(values["views"], _use_new_zipfile_serialization=False))
write("zip", "lfs", b"version https://git-lfs.github.com/spec/v1\n")
write("zip", "index", json.dumps(index).encode())
