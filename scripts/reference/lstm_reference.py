"""Runs torch.nn.LSTM on the cases of tests/lstm_parity.rs.

    python scripts/reference/lstm_reference.py CASES.json CASES.safetensors REFERENCE.safetensors

CASES.json is a list of {name, tensors, config, lengths, dtype}. The tensors of a
case are stored under `TENSORS/`: x, h0, c0, each parameter, and the weights wy,
wh, wc of the loss `sum(wy * y) + sum(wh * h_n) + sum(wc * c_n)`. Out come, under
`NAME/`: y, h_n, c_n and `grad/` of the input, the initial state and each
parameter.
"""

import json
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ROOTS = ("x", "h0", "c0")


def run(config, lengths, tensors):
    batch_first = config["batch_first"]
    lstm = torch.nn.LSTM(**config).to(tensors["x"].dtype)
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            parameter.copy_(tensors[name])
    x, h0, c0 = (tensors[name].requires_grad_() for name in ROOTS)

    if lengths is None:
        y, (h_n, c_n) = lstm(x, (h0, c0))
    else:
        # torch refuses texts of length 0: they keep their initial state.
        read = [n for n, length in enumerate(lengths) if length > 0]
        time = x.shape[1 if batch_first else 0]
        batch_dim = 0 if batch_first else 1
        rows = torch.tensor(read, dtype=torch.long)
        width = lstm.proj_size or lstm.hidden_size
        width *= 2 if lstm.bidirectional else 1
        y = x.new_zeros(x.shape[0], x.shape[1], width)
        h_n, c_n = h0, c0
        if read:
            packed = pack_padded_sequence(
                x.index_select(batch_dim, rows),
                torch.tensor([lengths[n] for n in read]),
                batch_first=batch_first,
                enforce_sorted=False,
            )
            out, (h, c) = lstm(packed, (h0.index_select(1, rows), c0.index_select(1, rows)))
            out, _ = pad_packed_sequence(out, batch_first=batch_first, total_length=time)
            y = y.index_copy(batch_dim, rows, out)
            h_n = h0.index_copy(1, rows, h)
            c_n = c0.index_copy(1, rows, c)

    loss = (tensors["wy"] * y).sum() + (tensors["wh"] * h_n).sum() + (tensors["wc"] * c_n).sum()
    loss.backward()
    out = {"y": y, "h_n": h_n, "c_n": c_n}
    named = dict(lstm.named_parameters()) | {"x": x, "h0": h0, "c0": c0}
    for name, tensor in named.items():
        gradient = tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)
        out[f"grad/{name}"] = gradient
    return {name: tensor.detach().contiguous() for name, tensor in out.items()}


def main(cases_file, tensors_file, reference_file):
    with open(cases_file, encoding="utf-8") as file:
        cases = json.load(file)
    reference = {}
    with safe_open(tensors_file, framework="pt") as file:
        names = {}
        for key in file.keys():
            case, name = key.split("/", 1)
            names.setdefault(case, []).append(name)
        for case in cases:
            dtype = getattr(torch, case["dtype"])
            tensors = {
                name: file.get_tensor(f"{case['tensors']}/{name}").to(dtype)
                for name in names[case["tensors"]]
            }
            for name, tensor in run(case["config"], case["lengths"], tensors).items():
                reference[f"{case['name']}/{name}"] = tensor
    save_file(reference, reference_file, metadata={"torch": torch.__version__})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
