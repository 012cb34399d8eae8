#!/usr/bin/env python3
"""References as people get them wrong, computed by torch.nn.LSTM.

    mistakes.py CHECKPOINT --out FOLDER [--lstm NAME]
    mistakes.py I,H,L,D[,B,T] --out FOLDER [--seed 0] [--f64]

Writes `weights.safetensors` (the right weights), `right.safetensors` (their
reference), one bare reference for each mistake (`x`, `y`, `h_n`, `c_n`, time
first; `lengths` where texts differ in length), and `mistakes.json`: the files
with the cause that each should be put down to. B and T are H unless given, so
that no shape tells one axis from another. Needs torch, numpy and safetensors.
"""

import argparse
import json
import pathlib
import sys

import numpy
import torch
from safetensors.torch import load_file, save_file


def weights_of(path, name):
    """Parameters by nn.LSTM's names, of a safetensors or torch file."""
    if str(path).endswith(".safetensors"):
        tensors = load_file(path)
    else:
        tensors = torch.load(path, weights_only=True, map_location="cpu")
        tensors = tensors.get("state_dict", tensors)
    start = name + "." if name else ""
    roles = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l", "weight_hr_l")
    found = {
        key[len(start):]: tensor
        for key, tensor in tensors.items()
        if key.startswith(start) and key[len(start):].startswith(roles)
    }
    if "weight_ih_l0" not in found:
        sys.exit(f"mistakes.py: {path} has no {start}weight_ih_l0; name the LSTM with --lstm")
    return found


def module(weights, **settings):
    """torch.nn.LSTM with these weights."""
    w_ih, w_hh = weights["weight_ih_l0"], weights["weight_hh_l0"]
    layers = sum(1 for name in weights if name.startswith("weight_ih_l") and not name.endswith("_reverse"))
    lstm = torch.nn.LSTM(
        w_ih.shape[1],
        w_hh.shape[0] // 4,
        layers,
        bias="bias_ih_l0" in weights,
        bidirectional="weight_ih_l0_reverse" in weights,
        proj_size=w_hh.shape[1] if w_hh.shape[1] != w_hh.shape[0] // 4 else 0,
        dtype=w_ih.dtype,
        **settings,
    )
    lstm.load_state_dict(weights)
    return lstm.eval()


@torch.no_grad()
def run(lstm, x, lengths=None):
    """`y`, `h_n`, `c_n`, time first; packed if there are lengths."""
    if lengths is None:
        y, (h, c) = lstm(x)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, (h, c) = lstm(packed)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=x.shape[0])
    return {"y": y, "h_n": h, "c_n": c}


def changed(weights, change):
    """Each parameter through change(name, tensor)."""
    return {name: change(name, tensor).contiguous() for name, tensor in weights.items()}


def blocks(tensor, order):
    """The four blocks of the rows in another order."""
    parts = tensor.chunk(4)
    return torch.cat([parts[k] for k in order])


def mistakes(weights, x, lengths, long_x):
    """(file, cause, words that the message should have, tensors) of each."""
    right = module(weights)
    h = right.hidden_size
    layers, both = right.num_layers, right.bidirectional
    gates = [name for name in weights if not name.startswith("weight_hr")]
    def of(change, roles=""):
        return run(module(changed(weights, lambda name, tensor: (
            change(tensor) if name in gates and name.startswith(roles or "") else tensor
        ))), x)

    # A converter that took torch's rows for another framework's.
    for order, title in (("iofg", "onnx"), ("igfo", "tensorflow"), ("ifog", "coreml"), ("ogfi", "reversed")):
        take = [order.index(gate) for gate in "ifgo"]
        yield f"gates_{title}", "gate order", [" ".join(order)], {"x": x, **of(lambda t: blocks(t, take))}
    take = ["iofg".index(gate) for gate in "ifgo"]
    put = ["ifgo".index(gate) for gate in "iofg"]
    yield "gates_into_onnx", "gate order", ["ONNX"], {"x": x, **of(lambda t: blocks(t, put))}
    if right.bias:
        only = of(lambda t: blocks(t, take), "weight")
        yield "gates_weights_only", "gate order", ["not the biases"], {"x": x, **only}

        def biases(total):
            made = dict(weights)
            for name in weights:
                if name.startswith("bias_ih"):
                    other = name.replace("_ih", "_hh")
                    made[name], made[other] = total(weights[name], weights[other])
            return {"x": x, **run(module(made), x)}

        zero = torch.zeros_like
        yield "biases_twice", "biases", ["twice"], biases(lambda a, b: (a + b, a + b))
        yield "biases_none", "biases", ["no bias"], biases(lambda a, b: (zero(a), zero(b)))
        yield "bias_ih_only", "biases", ["bias_ih only"], biases(lambda a, b: (a, zero(b)))
        yield "bias_hh_only", "biases", ["bias_hh only"], biases(lambda a, b: (zero(a), b))
        yield "bias_ih_twice", "biases", ["bias_ih twice"], biases(lambda a, b: (a, a))

    def transposed(t):
        return torch.cat([part.T for part in t.chunk(4)])

    if right.proj_size == 0 and h > 1:
        yield "transposed_hh", "transposed weights", ["weight_hh"], {"x": x, **of(transposed, "weight_hh")}
    if right.input_size == h and not (both and layers > 1) and h > 1:
        yield "transposed_ih", "transposed weights", ["weight_ih"], {"x": x, **of(transposed, "weight_ih")}
    # Keras keeps [inputs, 4H]: a reshape to [4H, inputs] runs, too.
    for role in ("weight_hh", "weight_ih", "weight"):
        wrong = of(lambda t: t.T.contiguous().reshape(t.shape), role)
        yield f"reshaped_{role}", "reshaped weights", ["reshape"], {"x": x, **wrong}

    movable = [k for k in range(layers) if weights[f"weight_ih_l{k}"].shape == weights[f"weight_ih_l{layers - 1}"].shape]
    if len(movable) > 1:
        a, b = movable[0], movable[-1]
        swap = {f"_l{a}": f"_l{b}", f"_l{b}": f"_l{a}"}
        def other(name):
            role, direction = name.removesuffix("_reverse"), "_reverse" if name.endswith("_reverse") else ""
            role, layer = role[:role.rindex("_l")], role[role.rindex("_l"):]
            return role + swap.get(layer, layer) + direction
        made = {name: weights[other(name)] for name in weights}
        yield "layers_swapped", "layers swapped", ["order"], {"x": x, **run(module(made), x)}

    ours, packed = run(right, x), run(right, x, lengths)
    if both:
        p = ours["y"].shape[-1] // 2
        flip = lambda name: name.removesuffix("_reverse") if name.endswith("_reverse") else name + "_reverse"
        made = {name: weights[flip(name)] for name in weights}
        yield "directions_swapped", "directions swapped", ["_reverse"], {"x": x, **run(module(made), x)}
        yield "halves_swapped", "directions swapped", ["halves"], {"x": x, **ours, "y": ours["y"].roll(p, -1)}
        rows = [row ^ 1 for row in range(2 * layers)]
        states = {name: ours[name][rows] for name in ("h_n", "c_n")}
        yield "states_swapped", "directions swapped", ["rows"], {"x": x, **ours, **states}
        turned = torch.cat([ours["y"][..., :p], ours["y"][..., p:].flip(0)], -1)
        yield "backward_not_turned", "backward direction not turned", ["turn"], {"x": x, **ours, "y": turned}

    if x.shape[0] == x.shape[1]:
        first = module(weights, batch_first=True)
        yield "batch_first", "batch_first", ["batch_first"], {"x": x, **run(first, x)}

    # A batch with padding that is not zero, as embeddings of <pad> are not.
    ragged = {"x": x, "lengths": lengths}
    leaked = run(right, x)
    real = (torch.arange(x.shape[0])[:, None] < lengths[None, :])[..., None]
    yield "padding_read", "padding", ["lengths"], {**ragged, **leaked}
    yield "padding_read_y_masked", "padding", ["lengths"], {**ragged, **leaked, "y": leaked["y"] * real}
    zeroed = run(right, x * real)
    yield "padding_zeros_read", "padding", ["zeros"], {**ragged, **zeroed}
    if both and layers == 1:
        states = {}
        for name in ("h_n", "c_n"):
            states[name] = torch.stack([packed[name][0], leaked[name][1]])
        wrong = {**leaked, "y": leaked["y"] * real, **states}
        yield "padding_backward", "padding", ["backward direction starts"], {**ragged, **wrong}

    for dtype in (torch.float16, torch.bfloat16):
        name = {torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
        keep = x.dtype
        rounded = changed(weights, lambda _, t: t.to(dtype).to(keep))
        yield f"weights_{name}", "dtype", [name], {"x": x, **run(module(rounded), x)}
        low = module(changed(weights, lambda _, t: t.to(dtype)))
        outputs = {key: tensor.to(keep) for key, tensor in run(low, x.to(dtype)).items()}
        # The input as that dtype has it: only the arithmetic differs.
        yield f"computed_{name}", "dtype", [name], {"x": x.to(dtype).to(keep), **outputs}

    if layers > 1:
        training = module(weights, dropout=0.3).train()
        torch.manual_seed(7)
        yield "dropout", "dropout", ["eval()"], {"x": long_x, **run(training, long_x)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("of", metavar="CHECKPOINT or I,H,L,D[,B,T]")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--lstm", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--f64", action="store_true")
    options = parser.parse_args()
    dtype = torch.float64 if options.f64 else torch.float32
    torch.manual_seed(options.seed)
    batch = time = None
    if pathlib.Path(options.of).exists():
        weights = {name: t.to(dtype) for name, t in weights_of(options.of, options.lstm).items()}
    else:
        try:
            i, h, layers, directions, *rest = map(int, options.of.split(","))
        except ValueError:
            sys.exit(f"mistakes.py: {options.of} is neither a file nor sizes I,H,L,D[,B,T]")
        batch, time = rest or (h, h)
        lstm = torch.nn.LSTM(i, h, layers, bidirectional=directions == 2, dtype=dtype)
        weights = {name: t.detach().clone() for name, t in lstm.state_dict().items()}
    right = module(weights)
    batch = batch or right.hidden_size
    time = time or batch
    draw = numpy.random.default_rng(options.seed)
    normal = lambda *shape: torch.tensor(draw.standard_normal(shape), dtype=dtype)
    x = normal(time, batch, right.input_size)
    lengths = torch.tensor([time, *draw.integers(1, time + 1, batch - 1)])
    if batch > 1:
        lengths[1] = max(1, time // 2)
    width = right.num_layers and run(right, x)["y"].shape[-1]
    long_x = normal(24, 2 + width, right.input_size)

    options.out.mkdir(parents=True, exist_ok=True)
    def save(name, tensors):
        save_file({key: t.contiguous() for key, t in tensors.items()}, options.out / f"{name}.safetensors")
    save("weights", weights)
    save("right", {"x": x, "lengths": lengths, **run(right, x, lengths)})
    listed = []
    for name, cause, says, tensors in mistakes(weights, x, lengths, long_x):
        save(name, tensors)
        listed.append({"file": f"{name}.safetensors", "cause": cause, "says": says})
    (options.out / "mistakes.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
