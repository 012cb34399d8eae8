"""Writes the golden matrix: checkpoints of every kind, and what is in them.

    python scripts/reference/golden.py FOLDER

tests/checkpoint_golden.rs reads the files back without Python. What is expected
comes from loading each file with its own library (torch.load, torch.jit.load,
safetensors, numpy), not from what was saved. FOLDER/manifest.json:

    files[]: file, and
      tensors[]    name, dtype, shape, place; storage: a number that tensors of
                   one storage have in common, null where it has no bytes
      refused[]    names of tensors that cannot be had: sparse, quantized, ...
      recurrent[]  each recurrent module; for an LSTM also x (time first), y,
                   h_n, c_n from a zero state; order: of the gates, if permuted
    skipped{}: how many files could not be written or loaded, for each reason

A place is [offset, length] in values.bin: the elements row-major, little-endian.
"""

import argparse
import collections
import dataclasses
import datetime
import enum
import itertools
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

DTYPES = (
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz"
    " float8_e8m0fnu int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128"
    " complex32"
).split()
TIME, BATCH = 5, 3
SHIFT = [0.25, 0.5, 0.75]


class Holder(nn.Module):
    """Tensors as buffers, for TorchScript, and one that is a plain attribute."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.loose = torch.rand(2)

    def forward(self, x):
        return x + torch.tensor([0.25, 0.5, 0.75])  # SHIFT


class Wrapped(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        return self.rnn(x)[0]


class Tagger(nn.Module):
    """A whole model: buffers, a tied weight, an unused slot, a loose tensor."""

    def __init__(self, rnn):
        super().__init__()
        self.embedding = nn.Embedding(7, rnn.input_size)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4))])
        self.rnn = rnn
        self.head = nn.Linear(rnn.input_size, 7)
        self.head.weight = self.embedding.weight
        self.register_buffer("scratch", torch.rand(2), persistent=False)
        self.register_parameter("unused", None)
        self.loose = [torch.rand(3), "a word"]
        self.rate = 0.5


class Tagged(torch.Tensor):
    """A tensor subclass."""


@dataclasses.dataclass
class Record:
    weight: torch.Tensor
    count: int = 1


class Colour(enum.Enum):
    RED = 1


Pair = collections.namedtuple("Pair", "first second")


def numbers(dtype, *shape):
    """Random bits: NaNs and infinities are to survive as well."""
    dtype = getattr(torch, dtype)
    top = 2 if dtype == torch.bool else 256
    count = int(np.prod(shape)) * dtype.itemsize
    return torch.randint(0, top, (count,), dtype=torch.uint8).view(dtype).reshape(shape)


def contents(dtype):
    """Views of every shape: (what, tensors)."""
    base = numbers(dtype, 4, 6)
    real = getattr(torch, dtype).is_floating_point
    yield "contiguous", {"a": numbers(dtype, 2, 3), "b.c": numbers(dtype, 5)}
    yield "transposed", {"a": base.t(), "b": numbers(dtype, 2, 3, 4).permute(2, 0, 1)}
    yield "sliced", {"a": base[1:, 1::2], "b": numbers(dtype, 9)[::4], "c": base[3:, 5:]}
    yield "shared", {"all": base, "a": base.view(-1)[:7], "b": base[2:]}
    yield "tied", {"a": base, "b": {"c": base}}
    yield "empty", {"a": base[4:], "b": numbers(dtype, 0), "c": numbers(dtype, 3, 0, 2)}
    yield "scalar", {"a": numbers(dtype), "b": base[1, 2]}
    yield "expanded", {"a": numbers(dtype, 1, 3).expand(4, 3), "b": numbers(dtype).expand(2, 2)}
    fixed = nn.Parameter(numbers(dtype, 2), False)
    yield "parameter", {"a": nn.Parameter(base[1:], real), "b": fixed}
    noted, plain = nn.Parameter(base.t(), real), numbers(dtype, 3)
    noted.note, plain.note = "an attribute", [1, 2]
    yield "attribute", {"a": noted, "b": plain}
    yield "subclass", {"a": base[:, 2].as_subclass(Tagged), "b": numbers(dtype).as_subclass(Tagged)}


def beside():
    """Values without a tensor, as people have them in checkpoints."""
    return {
        "array": np.arange(3.0),
        "bytes": b"\0x",
        "class": nn.Linear,
        "complex": 1 + 2j,
        "counter": collections.Counter("aab"),
        "date": datetime.datetime(2024, 2, 29),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "empty": {},
        "enum": Colour.RED,
        "float": float("nan"),
        "frozen": frozenset("a"),
        "int": 2**80,
        "namespace": argparse.Namespace(lr=0.1),
        "none": None,
        "path": Path("a") / "b",
        "range": range(3),
        "scalar": np.float32(2),
        "set": {1, 2},
        "size": torch.Size([1, 2]),
        "slice": slice(1, 2),
        "text": "\u4e00\U0001f600",
        "vocabulary": {"the": 0, "film": 1},
    }


def structures():
    """Values of every form: (what, value, {prefix: model})."""
    model = Tagger(nn.LSTM(3, 4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True)
    out, _ = model.rnn(torch.rand(2, 1, 3))
    (out.sum() + sum(p.sum() for p in model.parameters())).backward()
    optimizer.step()
    state, some = model.state_dict(), lambda: torch.rand(2, 3)
    yield "state_dict", state, {"": model}
    yield "nested", {"epoch": 3, "model": {"net": state}, "ema": [{"state_dict": state}]}, {
        "model.net.": model,
        "ema[0].state_dict.": model,
    }
    for prefix in ("module.", "_orig_mod.", "model.", "module._orig_mod.model."):
        yield f"{prefix}x", {prefix + name: x for name, x in state.items()}, {prefix: model}
    yield "lightning", {
        "epoch": 4,
        "global_step": 120,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {f"model.{name}": x for name, x in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 5}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best": torch.tensor(0.5)}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"hidden": 4, "rate": 0.5, "seed": np.int64(3), "words": ("a", "b")},
    }, {"state_dict.model.": model}
    yield "optimizer", optimizer.state_dict(), {}
    yield "module", model, {"": model}
    yield "module in dict", {"model": model, "optimizer": optimizer.state_dict()}, {"model.": model}
    yield "lists", [some(), (some(), {"x": [some()]}), [[]], [some(), [some()]]], {}
    yield "tensor", some(), {}
    storages = {"untyped": some().untyped_storage(), "typed": some().storage()}
    yield "storages", storages | {"x": some()}, {}
    raw = torch.arange(11, dtype=torch.uint8)
    yield "mixed types", {"half": raw[:8].view(torch.complex32), "bytes": raw}, {}
    keys = (7, -3, None, 0.5, 2.0, True, "a.b", "")
    yield "keys", {"top": {key: some() for key in keys}, 1: {"": some()}}, {}
    yield "beside", beside() | {"weight": some()}, {}
    yield (
        "objects",
        {"pair": Pair(some(), 2), "record": Record(some()), "args": argparse.Namespace(w=some())},
        {},
    )
    grouped = collections.defaultdict(dict)
    grouped["a"]["b"] = some()
    yield "dicts", {"grouped": grouped, "ordered": collections.OrderedDict(x=some())}, {}


def unreadable():
    """Values with tensors that have no strided elements of their own."""
    x, z = torch.rand(3, 3), torch.randn(3, dtype=torch.complex64)
    half = numbers("complex32", 3).conj()
    half.note = "an attribute"
    channels = torch.quantize_per_channel(x, torch.ones(3), torch.zeros(3), 0, torch.qint8)
    yield "sparse", x.to_sparse()
    yield "csr", x.to_sparse_csr()
    yield "csc", x.to_sparse_csc()
    yield "bsr", x[:2, :2].to_sparse_bsr((1, 1))
    yield "quantized", torch.quantize_per_tensor(x, 0.1, 3, torch.quint8)
    yield "qint32", torch.quantize_per_tensor(x, 0.1, 3, torch.qint32)
    yield "channels", channels
    yield "meta", torch.empty(2, device="meta")
    yield "nested", torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])
    yield "conj", z.conj()
    yield "neg", z.conj().imag
    yield "conj subclass", z.conj().as_subclass(Tagged)
    yield "conj half", half


def flatten(value, path=""):
    """(name, tensor or storage) of all in a loaded value, by the rule for names."""
    inside = lambda key, inner: flatten(inner, f"{path}.{key}" if path else str(key))
    if isinstance(value, (torch.Tensor, torch.UntypedStorage, torch.TypedStorage)):
        yield path, value
    elif isinstance(value, nn.Module):
        loose = {"loose": vars(value).get("loose")}
        for table in (value._parameters, value._buffers, value._modules, loose):
            for key, inner in table.items():
                yield from inside(key, inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from inside(key, inner)
    elif isinstance(value, Pair):
        yield from inside("arguments", list(value))
    elif isinstance(value, (list, tuple)):
        for n, inner in enumerate(value):
            yield from flatten(inner, f"{path}[{n}]")
    elif isinstance(value, (Record, argparse.Namespace)):
        yield from flatten(vars(value), path)


def is_unreadable(x):
    special = x.is_quantized or x.is_meta or x.is_nested or x.is_conj() or x.is_neg()
    return special or x.layout != torch.strided


def describe(rnn, name):
    """A recurrent module as the manifest has it, with a run if it is an LSTM."""
    cell = isinstance(rnn, nn.RNNCellBase)
    entry = {
        "name": name,
        "kind": type(rnn).__name__,
        "input_size": rnn.input_size,
        "hidden_size": rnn.hidden_size,
        "num_layers": 1 if cell else rnn.num_layers,
        "bidirectional": not cell and rnn.bidirectional,
        "proj_size": 0 if cell else rnn.proj_size,
        "bias": rnn.bias,
    }
    if not entry["kind"].startswith("LSTM"):
        return entry
    x = torch.randn(TIME, BATCH, rnn.input_size, dtype=next(rnn.parameters()).dtype)
    with torch.no_grad():
        if cell:
            states = [None]
            for step in x:
                states.append(rnn(step, states[-1]))
            y = torch.stack([h for h, _ in states[1:]])
            h_n, c_n = (state.unsqueeze(0) for state in states[-1])
        else:
            y, (h_n, c_n) = rnn(x)
    return entry | {"x": x, "y": y, "h_n": h_n, "c_n": c_n}


def recurrent(model, prefix):
    """All in a model; each name is `prefix` and its own."""
    found = (nn.RNNBase, nn.RNNCellBase)
    return [
        describe(module, (prefix + name).rstrip("."))
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, found)
    ]


class Golden:
    def __init__(self, folder):
        self.folder, self.values = folder, open(folder / "values.bin", "wb")
        self.files, self.skipped = [], collections.Counter()

    def answer(self, tensor):
        if isinstance(tensor, (torch.UntypedStorage, torch.TypedStorage)):
            dtype = getattr(tensor, "dtype", torch.uint8)
            tensor = torch.empty(0, dtype=dtype).set_(getattr(tensor, "_untyped_storage", tensor))
        tensor = tensor.detach().as_subclass(torch.Tensor)
        dense = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor).reshape(-1)
        raw = dense.view(torch.uint8).numpy().tobytes()
        place = [self.values.tell(), self.values.write(raw)]
        return {"dtype": str(tensor.dtype)[6:], "shape": list(tensor.shape), "place": place}

    def tensors(self, named):
        storages = {}
        for name, tensor in named:
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else tensor
            number = storages.setdefault(storage.data_ptr(), len(storages))
            number = number if storage.nbytes() else None
            yield {"name": name, "storage": number} | self.answer(tensor)

    def add(self, name, save, load, modules=()):
        """Writes a file, loads it and notes what it holds."""
        path = self.folder / f"{len(self.files):04} {name}"
        try:
            save(path)
            loaded = load(path)
        except Exception as error:  # whatever torch says to what it cannot save
            reason = str(error).splitlines()[0][:90] if str(error) else ""
            self.skipped[f"{path.suffix}: {type(error).__name__}: {reason}"] += 1
            return
        named = list(flatten(loaded))
        refused = {k for k, x in named if isinstance(x, torch.Tensor) and is_unreadable(x)}
        answer = lambda value: self.answer(value) if isinstance(value, torch.Tensor) else value
        self.files.append({
            "file": path.name,
            "tensors": list(self.tensors((k, x) for k, x in named if k not in refused)),
            "refused": sorted(refused),
            "recurrent": [{k: answer(x) for k, x in entry.items()} for entry in modules],
        })  # fmt: skip

    def torch(self, name, value, modules=(), containers=("pt", "legacy"), protocol=2):
        def load(path):
            try:
                return torch.load(path, weights_only=False)
            except AttributeError as error:
                # torch writes untyped storages into legacy files, and cannot read them.
                if "UntypedStorage" not in str(error):
                    raise
                return value

        for container in containers:
            options = {"_use_new_zipfile_serialization": container == "pt"}
            save = lambda path: torch.save(value, path, pickle_protocol=protocol, **options)
            self.add(f"{name}.{container}", save, load, modules)

    def safetensors(self, name, tensors, modules=()):
        save = lambda path: save_file(tensors, path)
        self.add(f"{name}.safetensors", save, load_file, modules)

    def script(self, name, module, example, modules=()):
        def load(path):
            loaded = torch.jit.load(path)
            # The state dict lacks attributes, which scripting keeps, and constants:
            # tracing makes one of what forward adds.
            more = {"loose": loaded.loose} if hasattr(loaded, "loose") else {}
            if isinstance(module, Holder) and "traced" in path.name:
                more["constants[0]"] = torch.tensor(SHIFT)
            return {**loaded.state_dict(), **more}

        script = lambda path: torch.jit.script(module).save(path)
        trace = lambda path: torch.jit.trace(module, example).save(path)
        self.add(f"{name} scripted.ts", script, load, modules)
        self.add(f"{name} traced.ts", trace, load, modules)

    def numpy(self, name, arrays, modules=()):
        load = lambda path: {k: torch.from_numpy(x.copy()) for k, x in np.load(path).items()}
        self.add(f"{name}.npz", lambda path: np.savez(path, **arrays), load, modules)

    def shards(self, name, ending, save, load, tensors, modules=()):
        """Two files and an index beside them, in a folder."""

        def write(folder):
            folder.mkdir()
            weights = {}
            for n in range(2):
                shard = f"model-{n + 1:05}-of-00002.{ending}"
                part = dict(list(tensors.items())[n::2])
                save(part, folder / shard)
                weights |= dict.fromkeys(part, shard)
            index = "pytorch_model.bin" if ending == "bin" else "model.safetensors"
            content = json.dumps({"metadata": {"total_size": 1}, "weight_map": weights})
            (folder / f"{index}.index.json").write_text(content, encoding="utf-8")

        read = lambda folder: {k: x for p in folder.glob(f"*.{ending}") for k, x in load(p).items()}
        self.add(name, write, read, modules)


def every_dtype(golden):
    for dtype in DTYPES:
        everything = {}
        for what, tensors in contents(dtype):
            golden.torch(f"{dtype} {what}", tensors)
            flat = dict(flatten(tensors))
            buffers = {f"{what}_{name.replace('.', '_')}": x for name, x in flat.items()}
            everything |= buffers
            if what in ("contiguous", "empty", "scalar"):
                dense = {name: tensor.clone() for name, tensor in flat.items()}
                golden.safetensors(f"{dtype} {what}", dense)
        plain = {k: x.detach().as_subclass(torch.Tensor) for k, x in everything.items()}
        golden.script(dtype, Holder(plain), torch.rand(3))
        if hasattr(np, dtype):
            arrays = {name: x.numpy() for name, x in plain.items()}
            arrays["fortran"] = np.asfortranarray(arrays["contiguous_a"])
            golden.numpy(dtype, arrays)


def every_structure(golden):
    for protocol in (2, 3, 4, 5):
        for what, value, models in structures():
            modules = sum((recurrent(model, prefix) for prefix, model in models.items()), [])
            golden.torch(f"{what} protocol {protocol}", value, modules, protocol=protocol)
    for what, x in unreadable():
        # A list for names of two kinds; the rest of the file is to be read.
        value = {"before": torch.rand(2), what: x, "list": [x, torch.rand(2)]}
        # torch.load makes a nested tensor before it has read a legacy file's sizes.
        containers = ("pt",) if what == "nested" else ("pt", "legacy")
        golden.torch(f"refused {what}", value, containers=containers)
        value = {"p": nn.Parameter(x, False), "after": torch.rand(2)}
        golden.torch(f"refused parameter {what}", value, containers=containers)
    value = {name: numbers(name, 3, 4).t() for name in DTYPES}
    for crc, alignment in ((False, 64), (True, 4096)):
        torch.serialization.set_crc32_options(crc)
        torch.utils.serialization.config.save.storage_alignment = alignment
        what = f"crc32 {crc}, alignment {alignment}"
        golden.torch(what, value, containers=["pt"])
        golden.script(what, Holder({"x": torch.rand(3)}), torch.rand(3))
    torch.utils.serialization.config.save.storage_alignment = 64


def flattened(rnn):
    """The state dict with all weights in one storage, as cuDNN has them."""
    state = rnn.state_dict()
    flat = torch.cat([tensor.reshape(-1) for tensor in state.values()])
    parts = flat.split([tensor.numel() for tensor in state.values()])
    return {name: part.view(x.shape) for (name, x), part in zip(state.items(), parts, strict=True)}


def every_rnn(golden):
    shapes = []
    for layers, both, bias in itertools.product((1, 2, 3), (False, True), (True, False)):
        options = {"num_layers": layers, "bidirectional": both, "bias": bias}
        shapes += [(nn.LSTM, options), (nn.LSTM, options | {"proj_size": 2})]
        shapes += [(kind, options) for kind in (nn.GRU, nn.RNN)]
    for kind, bias in itertools.product((nn.LSTMCell, nn.GRUCell, nn.RNNCell), (True, False)):
        shapes.append((kind, {"bias": bias}))
    paths = itertools.cycle(("", "rnn", "module.rnn", "_orig_mod.model.rnn", "layers.0.rnn"))
    for number, (kind, options) in enumerate(shapes):
        rnn = kind(3 + number % 3, 4 + number % 2, **options)
        path = next(paths)
        what = " ".join([kind.__name__, *(f"{key} {x}" for key, x in options.items())])
        top = ("state_dict", "model", "net")[number % 3]
        named = lambda state: {f"{path}.{name}".lstrip("."): x for name, x in state.items()}
        at = lambda prefix: [describe(rnn, f"{prefix}{path}".rstrip("."))]
        golden.torch(what, {top: named(rnn.state_dict()), "epoch": 1}, at(f"{top}."))
        golden.torch(f"{what} flattened", named(flattened(rnn)), at(""))
        golden.torch(f"{what} module", Wrapped(rnn), [describe(rnn, "rnn")], ["pt"])
        golden.safetensors(what, named(rnn.state_dict()), at(""))
        double = kind(3, 4, **options).double()
        golden.torch(f"{what} double", double.state_dict(), [describe(double, "")], ["legacy"])
        if not isinstance(rnn, nn.RNNCellBase):
            example = torch.rand(TIME, BATCH, rnn.input_size)
            golden.script(what, Wrapped(rnn), example, [describe(rnn, "rnn")])
    for number in range(2):
        lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=number == 1)
        modules = [describe(lstm, "")]
        state, formats = lstm.state_dict(), ((save_file, load_file), (torch.save, torch.load))
        for ending, (save, load) in zip(("safetensors", "bin"), formats, strict=True):
            golden.shards(f"sharded {ending} {number}", ending, save, load, state, modules)


def reordered(x, order):
    """Blocks of gates along the first dimension, from torch's order to another."""
    blocks = dict(zip("ifgo", x.chunk(4), strict=True))
    return torch.cat([blocks[gate] for gate in order])


def every_gate_order(golden):
    """LSTMs as Keras, Haste and ONNX keep them; one bias each but for ONNX."""
    for order, bias in itertools.product(("ifgo", "iofg", "igfo", "ofig"), (True, False)):
        lstm = nn.LSTM(3, 4, bias=bias)
        entry = describe(lstm, "") | {"order": order}
        state = {name: reordered(x, order) for name, x in lstm.state_dict().items()}
        golden.torch(f"gates {order} bias {bias}", state, [entry])
        keras = {"kernel": state["weight_ih_l0"].T, "recurrent_kernel": state["weight_hh_l0"].T}
        if bias:
            keras["bias"] = state["bias_ih_l0"] + state["bias_hh_l0"]
        keras = {name: x.numpy() for name, x in keras.items()}
        entry["kind"] = "Keras LSTM"
        golden.numpy(f"keras {order} bias {bias}", keras, [entry])
        named = {f"lstm/{name}": array for name, array in keras.items()}
        golden.numpy(f"keras named {order} bias {bias}", named, [entry | {"name": "lstm"}])
        if bias:
            unnamed = {f"arr_{n}": array for n, array in enumerate(keras.values())}
            golden.numpy(f"keras unnamed {order}", unnamed, [entry | {"name": "arr_0"}])
    for both, bias in itertools.product((False, True), (True, False)):
        lstm = nn.LSTM(3, 4, bidirectional=both, bias=bias)
        entry = describe(lstm, "") | {"order": "iofg", "kind": "ONNX LSTM"}
        ends = ("l0", "l0_reverse") if both else ("l0",)
        state = {name: reordered(x, "iofg") for name, x in lstm.state_dict().items()}
        stack = lambda role: torch.stack([state[f"{role}_{end}"] for end in ends])
        onnx = {"W": stack("weight_ih"), "R": stack("weight_hh")}
        if bias:
            onnx["B"] = torch.cat([stack("bias_ih"), stack("bias_hh")], 1)
        what = f"onnx bidirectional {both} bias {bias}"
        golden.numpy(what, {name: x.numpy() for name, x in onnx.items()}, [entry])
        golden.safetensors(what, onnx, [entry])


def main(folder):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(20_240_229)
    np.random.seed(20_240_229)
    golden = Golden(Path(folder))
    for part in (every_dtype, every_structure, every_rnn, every_gate_order):
        part(golden)
    golden.values.close()
    manifest = {"torch": torch.__version__, "files": golden.files, "skipped": golden.skipped}
    (golden.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
