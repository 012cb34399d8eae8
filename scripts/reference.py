"""What torch computes for an LSTM or a whole classifier, for `cellway compare`.

    python scripts/reference.py CHECKPOINT --out F.safetensors [--lstm NAME]
        [--input IN.safetensors] [--seed 0] [--batch 8] [--time 20]
        [--device cpu] [--dtype f32] [--gradients] [--steps N] ...
    cellway compare CHECKPOINT --reference F.safetensors

This one file needs torch, numpy and safetensors, nothing of cellway. CHECKPOINT is
a model directory of cellway, or any file that torch.load(weights_only=True),
torch.jit.load or safetensors opens; of those the LSTM (nn.LSTM or nn.LSTMCell) that
--lstm names by its path, or the only one.

Inputs are drawn from the seed, or come from IN.safetensors, batch first: `ids`
[B, T] for a classifier, `x` [B, T, I] for an LSTM; `lengths` [B], `truth` [B], `h0`,
`c0` [L*D, B, ...] if they are there. F holds them under `input/`, and what came of
them, zero behind the ends of texts:

    embedded; lstm/l0/{i,f,g,o,c,h} of every layer and direction [B, T, H];
    lstm/y, lstm/h_n, lstm/c_n; pooled, logits, probabilities; loss;
    grad/NAME with --gradients; steps/loss, steps/NAME with --steps
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import platform
import sys
import warnings

FORMAT = "1"
TARGETS = ("target_y", "target_h_n", "target_c_n")
ROLES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class Refused(Exception):
    """What the user can mend, in one line."""


try:
    import numpy
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
except ImportError as error:
    python = sys.executable or "this python"
    print(
        f"reference.py: {python} cannot import {error.name}: {python} -m pip install "
        "torch==2.11.0 numpy safetensors",
        file=sys.stderr,
    )
    sys.exit(2)

DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
STORED = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


# Checkpoints


def read_safetensors(path):
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise Refused(f"{path}: {error}") from None


def read_tensors(path):
    """Every tensor of a checkpoint by its dotted path from the top of the file."""
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        return read_safetensors(path)
    if not head.startswith((b"PK", b"\x80")):
        raise Refused(f"{path}: is no checkpoint, neither of torch.save or TorchScript nor safetensors")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as plain:
        try:
            loaded = torch.jit.load(path, map_location="cpu").state_dict()
        except Exception:
            raise Refused(
                f"{path}: torch.load(weights_only=True) refuses it "
                f"({first_line(plain)}); a whole pickled module must become its state_dict: "
                "torch.save(module.state_dict(), FILE), or let `cellway compare` hand the weights over"
            ) from None
    tensors = {}

    def walk(value, name):
        if isinstance(value, torch.Tensor):
            tensors[name] = value
            return
        items = value.items() if isinstance(value, dict) else ()
        items = enumerate(value) if isinstance(value, (list, tuple)) else items
        for key, inner in items:
            walk(inner, f"{name}.{key}" if name else str(key))

    walk(loaded, "")
    return tensors


def first_line(error):
    return str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__


def find_lstms(tensors):
    """The parameters of each LSTM, as nn.LSTM names them, by its path."""
    found = {}
    for name, tensor in tensors.items():
        module, _, role = name.rpartition(".")
        cell = role in ROLES[:4]
        if cell or (role.startswith(ROLES) and "_l" in role):
            found.setdefault(module, {})[f"{role}_l0" if cell else role] = tensor
    # Four blocks of rows: a GRU has three, a plain RNN one.
    return {
        module: parameters
        for module, parameters in found.items()
        if is_lstm(parameters)
    }


def is_lstm(parameters):
    matrices = [parameters.get(f"{role}_l0") for role in ("weight_ih", "weight_hh")]
    matrices.append(parameters.get("weight_hr_l0", matrices[1]))
    if any(matrix is None or matrix.dim() != 2 for matrix in matrices):
        return False
    return matrices[0].shape[0] == matrices[1].shape[0] == 4 * matrices[2].shape[1]


def choose_lstm(path, tensors, name):
    found = find_lstms(tensors)
    names = ", ".join(module or "(the top)" for module in found) or "none"
    if name is None:
        if len(found) != 1:
            raise Refused(f"{path}: choose an LSTM with --lstm; it has {names}")
        return next(iter(found.items()))
    ending = [module for module in found if module == name or module.endswith(f".{name}")]
    ending = [name] if name in found else ending
    if len(ending) != 1:
        raise Refused(f"{path}: has {len(ending)} LSTMs {name!r}; it has {names}")
    return ending[0], found[ending[0]]


def lstm_config(parameters):
    projected = parameters.get("weight_hr_l0")
    return {
        "input_size": parameters["weight_ih_l0"].shape[1],
        "hidden_size": parameters["weight_ih_l0"].shape[0] // 4,
        "num_layers": sum(name.startswith("weight_hh") and "reverse" not in name for name in parameters),
        "bias": "bias_ih_l0" in parameters,
        "bidirectional": "weight_hh_l0_reverse" in parameters,
        "proj_size": 0 if projected is None else projected.shape[0],
    }


# Modules


class Lstm(nn.Module):
    """An LSTM by itself; its loss is the mean squared distance from targets."""

    kind, roots = "lstm", ("x", "h0", "c0")

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(**config, batch_first=True)

    def named(self):
        return dict(self.lstm.named_parameters())

    def forward(self, x, h0, c0, inputs):
        y, h_n, c_n = run(self.lstm, x, inputs["lengths"], h0, c0)
        padding = padding_of(x, inputs["lengths"])
        target_y = inputs["target_y"].masked_fill(padding, 0)
        loss = functional.mse_loss(y, target_y)
        loss = loss + functional.mse_loss(h_n, inputs["target_h_n"])
        loss = loss + functional.mse_loss(c_n, inputs["target_c_n"])
        return {"lstm/y": y, "lstm/h_n": h_n, "lstm/c_n": c_n, "loss": loss}


class Classifier(nn.Module):
    """What config.json of a model directory describes."""

    kind, roots = "classifier", ("embedded",)

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_size"])
        sizes = ("hidden_size", "num_layers", "bias", "bidirectional", "proj_size")
        sizes = {key: config[key] for key in sizes}
        self.lstm = nn.LSTM(config["embedding_size"], **sizes, batch_first=True)
        width = config["proj_size"] or config["hidden_size"]
        width *= (2 if config["bidirectional"] else 1) * (3 if config["pooling"] == "all" else 1)
        classes = 1 if config["head"] == "sigmoid" else len(config["id2label"])
        self.head = nn.Linear(width, classes)

    def named(self):
        return dict(self.named_parameters())

    def forward(self, embedded, inputs):
        lengths, truth = inputs["lengths"], inputs["truth"]
        h0, c0 = zero_state(self.lstm, embedded)
        y, h_n, c_n = run(self.lstm, embedded, lengths, h0, c0)
        pooled = self.pool(y, h_n, lengths)
        logits = self.head(pooled)
        if self.config["head"] == "sigmoid":
            second = logits.sigmoid()
            probabilities = torch.cat([1 - second, second], -1)
            loss = functional.binary_cross_entropy_with_logits(logits[:, 0], truth.to(logits.dtype))
        else:
            probabilities = logits.softmax(-1)
            loss = functional.cross_entropy(logits, truth)
        out = {"lstm/y": y, "lstm/h_n": h_n, "lstm/c_n": c_n, "pooled": pooled}
        return out | {"logits": logits, "probabilities": probabilities, "loss": loss}

    def pool(self, y, h_n, lengths):
        count = lengths[:, None].to(y.device)
        directions = 2 if self.lstm.bidirectional else 1
        highest = y.masked_fill(padding_of(y, lengths), float("-inf")).amax(1)
        pooled = {
            "last": h_n[-directions:].transpose(0, 1).flatten(1),
            "mean": y.sum(1) / count.clamp(min=1),
            "max": highest.masked_fill(count == 0, 0),
        }
        all_of_them = self.config["pooling"] == "all"
        return torch.cat(list(pooled.values()), -1) if all_of_them else pooled[self.config["pooling"]]


def padding_of(x, lengths):
    """[B, T, 1], true behind the ends."""
    steps = torch.arange(x.shape[1], device=x.device)
    return (steps >= lengths.to(x.device)[:, None])[..., None]


def zero_state(lstm, x):
    rows = lstm.num_layers * (2 if lstm.bidirectional else 1)
    h = x.new_zeros(rows, x.shape[0], lstm.proj_size or lstm.hidden_size)
    return h, x.new_zeros(rows, x.shape[0], lstm.hidden_size)


def run(lstm, x, lengths, h0, c0):
    """nn.LSTM as a PyTorch user runs it: packed if texts differ in length."""
    if bool((lengths == x.shape[1]).all()):
        y, (h_n, c_n) = lstm(x, (h0, c0))
        return y, h_n, c_n
    # Packing refuses texts of length 0: they keep their initial state.
    rows = torch.nonzero(lengths)[:, 0].to(x.device)
    width = (lstm.proj_size or lstm.hidden_size) * (2 if lstm.bidirectional else 1)
    y = x.new_zeros(x.shape[0], x.shape[1], width)
    if len(rows) == 0:
        return y + 0 * x.sum(), h0, c0
    packed = pack_padded_sequence(x[rows], lengths[lengths > 0], batch_first=True, enforce_sorted=False)
    out, (h, c) = lstm(packed, (h0[:, rows], c0[:, rows]))
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
    return y.index_copy(0, rows, out), h0.index_copy(1, rows, h), c0.index_copy(1, rows, c)


@torch.no_grad()
def steps_of_layers(lstm, x, lengths, h0, c0):
    """Every gate and state. The states are nn.LSTM's own, one step at a time; the
    gates follow from them by the equations."""
    padding = padding_of(x, lengths)
    x = x.masked_fill(padding, 0)
    values, directions = {}, 2 if lstm.bidirectional else 1
    for layer in range(lstm.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            own = {role: getattr(lstm, role + suffix, None) for role in ROLES}
            single = nn.LSTM(
                x.shape[2], lstm.hidden_size, bias=lstm.bias, batch_first=True, proj_size=lstm.proj_size
            ).to(x)
            for role, parameter in own.items():
                if parameter is not None:
                    getattr(single, f"{role}_l0").copy_(parameter)
            h, c = (state[layer * directions + direction][None] for state in (h0, c0))
            steps = [None] * x.shape[1]
            for t in reversed(range(x.shape[1])) if direction else range(x.shape[1]):
                gates = functional.linear(x[:, t], own["weight_ih"], own["bias_ih"])
                gates = gates + functional.linear(h[0], own["weight_hh"], own["bias_hh"])
                i, f, g, o = gates.chunk(4, -1)
                _, (next_h, next_c) = single(x[:, t : t + 1], (h.contiguous(), c.contiguous()))
                steps[t] = (i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), next_c[0], next_h[0])
                h, c = (torch.where(padding[:, t], *pair) for pair in ((h, next_h), (c, next_c)))
            name = f"lstm/l{layer}" + ("_reverse" if direction else "")
            for part, tensors in zip("ifgoch", zip(*steps)):
                values[f"{name}/{part}"] = torch.stack(tensors, 1).masked_fill(padding, 0)
            outputs.append(values[f"{name}/h"])
        x = torch.cat(outputs, -1)
    return values


# Inputs


def draw_inputs(model, given, seed, batch, time, dtype):
    """The inputs, batch first: those given, the rest from the seed."""
    random = numpy.random.default_rng(seed)
    lead = "ids" if model.kind == "classifier" else "x"
    lstm, inputs = model.lstm, {}
    names = ("ids", "lengths", "truth") if lead == "ids" else ("x", "lengths", "h0", "c0", *TARGETS)
    if set(given) - set(names):
        unknown = ", ".join(sorted(set(given) - set(names)))
        raise Refused(f"--input has {unknown}, but this comparison reads only {', '.join(names)}")
    for name in {"ids", "lengths", "truth"} & set(given):
        if given[name].is_floating_point():
            raise Refused(f"{name} must be whole numbers (i64), not {given[name].dtype}")
    if lead in given:
        shape = tuple(given[lead].shape)
        rank = 2 if lead == "ids" else 3
        if len(shape) != rank or 0 in shape or (rank == 3 and shape[2] != lstm.input_size):
            raise Refused(f"{lead} must be [B, T] with a step" if rank == 2 else
                          f"x must be [B, T, {lstm.input_size}] with a step, not {list(shape)}")
        batch, time = shape[:2]
        lengths = given.get("lengths", torch.full((batch,), time))
    elif given:
        raise Refused(f"the input has no tensor {lead!r}")
    else:
        lengths = torch.tensor([time, *random.integers(1, time + 1, batch - 1)])
    if lengths.shape != (batch,) or bool(((lengths < 0) | (lengths > time)).any()):
        raise Refused(f"lengths must be {batch} numbers from 0 to {time}")
    inputs["lengths"] = lengths.to(torch.int64)

    def normal(*shape, scale=1.0):
        return torch.from_numpy(random.standard_normal(shape) * scale)

    if lead == "ids":
        rows, classes = model.config["vocab_size"], len(model.config["id2label"])
        drawn = torch.from_numpy(random.integers(0, rows, (batch, time)))
        # Whatever fills the padding is no row of the embedding.
        ids = given.get("ids", drawn).masked_fill(torch.arange(time) >= lengths[:, None], 0)
        truth = given.get("truth", torch.from_numpy(random.integers(0, classes, batch)))
        if truth.shape != (batch,):
            raise Refused(f"truth must have the shape [{batch}], not {list(truth.shape)}")
        for name, tensor, limit in (("ids", ids, rows), ("truth", truth, classes)):
            if bool(((tensor < 0) | (tensor >= limit)).any()):
                raise Refused(f"{name} must be 0 to {limit - 1}, as this model has them")
        return inputs | {"ids": ids.to(torch.int64), "truth": truth.to(torch.int64)}

    directions = 2 if lstm.bidirectional else 1
    rows, width = lstm.num_layers * directions, lstm.proj_size or lstm.hidden_size
    h, c = (rows, batch, width), (rows, batch, lstm.hidden_size)
    drawn = {
        "x": normal(batch, time, lstm.input_size),
        "h0": torch.zeros(h),
        "c0": torch.zeros(c),
        "target_y": normal(batch, time, width * directions, scale=0.5),
        "target_h_n": normal(*h, scale=0.5),
        "target_c_n": normal(*c, scale=0.5),
    }
    for name, tensor in drawn.items():
        inputs[name] = given.get(name, tensor).to(dtype)
        if inputs[name].shape != tensor.shape:
            raise Refused(f"{name} must have the shape {list(tensor.shape)}, not {list(inputs[name].shape)}")
    return inputs


# The run


def load(path, name, dtype):
    """The module with its weights, and what stood in its file."""
    if path.is_dir() and name is None:
        config_file = path / "config.json"
        try:
            config = json.loads(config_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"{config_file}: {error}") from None
        if not isinstance(config, dict) or config.get("model_type") != "cellway-lstm-classifier":
            raise Refused(f"{config_file}: is of no model of cellway; name the file of the weights")
        weights = read_safetensors(path / "model.safetensors")
        try:
            if config["pooling"] not in ("last", "mean", "max", "all") or config["head"] not in ("sigmoid", "softmax"):
                raise ValueError(f"pooling {config['pooling']!r}, head {config['head']!r}")
            module, model = "lstm", Classifier(config)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise Refused(f"{config_file}: is no configuration of a classifier ({error!r})") from None
    else:
        path = path / "model.safetensors" if path.is_dir() else path
        module, weights = choose_lstm(path, read_tensors(path), name)
        model = Lstm(lstm_config(weights))
    dtype = DTYPES[dtype] if dtype else next(iter(weights.values())).dtype
    if dtype not in STORED:
        raise Refused(f"{path}: is {dtype}; choose one with --dtype: {', '.join(DTYPES)}")
    model = model.to(dtype).eval()
    own = model.named()
    shapes = [{name: t.shape for name, t in tensors.items()} for tensors in (own, weights)]
    wrong = sorted(name for name in own.keys() | weights.keys() if len({s.get(name) for s in shapes}) > 1)
    if wrong:
        raise Refused(f"{path}: its tensors do not fit together, missing, too many or of another shape: {', '.join(wrong)}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
    return model, module, {name: describe(tensor) for name, tensor in weights.items()}, dtype


def describe(tensor):
    data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    stored = STORED.get(tensor.dtype, str(tensor.dtype))
    return {"dtype": stored, "shape": list(tensor.shape), "sha256": hashlib.sha256(data).hexdigest()}


def compute(model, inputs, options):
    """Every stage by its name."""
    inputs = {name: tensor.to(options.device) for name, tensor in inputs.items()}
    inputs["lengths"] = inputs["lengths"].cpu()

    def roots():
        if model.kind == "classifier":
            return {"embedded": model.embedding(inputs["ids"])}
        return {name: inputs[name].clone().requires_grad_() for name in model.roots}

    start = roots()
    lengths = inputs["lengths"]
    state = [start[name].detach() for name in model.roots[1:]] or zero_state(model.lstm, start["embedded"])
    values = steps_of_layers(model.lstm, start[model.roots[0]].detach(), lengths, *state)
    if model.kind == "classifier":
        values["embedded"] = start["embedded"].masked_fill(padding_of(start["embedded"], lengths), 0)
    with contextlib.nullcontext() if options.gradients else torch.no_grad():
        values |= model(**start, inputs=inputs)
    if options.gradients:
        # cuDNN goes backwards only in training mode; there is no dropout in here.
        named = start | model.named()
        model.train()
        loss = model(**start, inputs=inputs)["loss"]
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for (name, tensor), gradient in zip(named.items(), gradients):
            values[f"grad/{name}"] = torch.zeros_like(tensor) if gradient is None else gradient
    if options.steps:
        model.train()
        optimizer = make_optimizer(model.named().values(), options)
        losses = []
        for _ in range(options.steps):
            optimizer.zero_grad()
            loss = model(**roots(), inputs=inputs)["loss"]
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        values["steps/loss"] = torch.stack(losses)
        values |= {f"steps/{name}": parameter for name, parameter in model.named().items()}
    values |= {f"input/{name}": tensor for name, tensor in inputs.items()}
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in values.items()}


def make_optimizer(parameters, options):
    kinds = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
        "adadelta": torch.optim.Adadelta,
    }
    settings = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        settings |= {"momentum": options.momentum}
    return kinds[options.optimizer](parameters, **settings)


def metadata(model, module, weights, dtype, options):
    device = options.device
    if device.startswith("cuda"):
        device = f"{torch.device(device)} {torch.cuda.get_device_name(device)}"
    flags = {
        "tf32": options.tf32,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": torch.backends.cudnn.version() if options.device.startswith("cuda") else None,
    }
    known = {
        "cellway_reference": FORMAT,
        "kind": model.kind,
        "lstm": module,
        "config": json.dumps(model.config),
        "weights": json.dumps(weights),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": device,
        "dtype": next(name for name, known in DTYPES.items() if known == dtype),
        "seed": str(options.seed),
        "inputs": "file" if options.input else "random",
        "flags": json.dumps(flags),
    }
    if options.steps:
        names = ("steps", "optimizer", "learning_rate", "momentum", "weight_decay")
        known["steps"] = json.dumps({name: getattr(options, name) for name in names})
    return known


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(f"{message}; --help lists the arguments")


def whole(least):
    def number(text):
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of {least} or more")

    return number


def arguments():
    parser = Parser(prog="reference.py", description=__doc__.split("\n")[0])
    positive = whole(1)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--replace", action="store_true", help="write over --out")
    parser.add_argument("--lstm", help="its path in the file")
    parser.add_argument("--input", type=pathlib.Path)
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--time", type=positive, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, help="default: of the weights")
    parser.add_argument("--tf32", action="store_true", help="let CUDA round products to TF32")
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--steps", type=positive)
    parser.add_argument("--optimizer", choices=("adam", "adamw", "sgd", "adagrad", "adadelta"), default="adam")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    return parser.parse_args()


def main(options):
    if options.out.exists() and not options.replace:
        raise Refused(f"{options.out}: is there already; --replace writes over it")
    kind, _, index = options.device.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal() or (kind == "cpu" and index):
        raise Refused(f"--device {options.device}: must be cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise Refused(f"--device {options.device}: this torch finds {torch.cuda.device_count()} CUDA devices")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if not options.checkpoint.exists():
        raise Refused(f"{options.checkpoint}: is not there")
    model, module, weights, dtype = load(options.checkpoint, options.lstm, options.dtype)
    given = read_safetensors(options.input) if options.input else {}
    inputs = draw_inputs(model, given, options.seed, options.batch, options.time, dtype)
    values = compute(model.to(options.device), inputs, options)
    part = options.out.with_name(options.out.name + ".part")
    try:
        save_file(values, part, metadata=metadata(model, module, weights, dtype, options))
        part.replace(options.out)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        # What torch remarks about files of others would hide the one line of an error.
        warnings.filterwarnings("ignore", message=".*TorchScript|.*torch.jit")
        main(arguments())
    except (Refused, OSError, SafetensorError) as refused:
        print(f"reference.py: {refused}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, ValueError) as error:
        # Out of memory, a dtype that this device cannot, an optimizer's setting.
        print(f"reference.py: torch refuses: {first_line(error)}", file=sys.stderr)
        sys.exit(2)
