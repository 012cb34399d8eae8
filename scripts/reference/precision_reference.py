"""What torch.autocast and torch.amp.GradScaler do, for the tests of src/train.

    python scripts/reference/precision_reference.py scale
        The scale after each of 4600 steps whose gradients overflow at the steps
        0, 1, 2 and 2500, as JSON.

    python scripts/reference/precision_reference.py step FILE.safetensors bf16|f16
        FILE holds a classifier's parameters by the names of its model directory,
        token ids `ids` [B, T] and classes `truth` [B]; all texts have length T, the
        LSTM has one layer and one direction, the last state is read by a head of two
        classes or more. Prints the loss and the norm of each parameter's gradient,
        computed in f32 and under autocast, as JSON.
"""

import json
import sys

import torch
from safetensors.torch import load_file


def scales():
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    scaler = torch.amp.GradScaler("cpu")
    found = []
    for step in range(4600):
        factor = float("inf") if step in (0, 1, 2, 2500) else 1.0
        optimizer.zero_grad()
        scaler.scale((parameter * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append(scaler.get_scale())
    return found


def step(file, dtype):
    tensors = load_file(file)
    ids, truth = tensors.pop("ids"), tensors.pop("truth")
    weights = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    hidden = weights["lstm.weight_hh_l0"].shape[1]
    lstm = torch.nn.LSTM(weights["embedding.weight"].shape[1], hidden, batch_first=True)
    of_lstm = {name: weights[f"lstm.{name}"] for name, _ in lstm.named_parameters()}

    def run(enabled):
        # oneDNN has an LSTM in f16 only for some CPUs, and autocast does not ask.
        dnn = torch.backends.mkldnn.flags(enabled=dtype != torch.float16)
        with dnn, torch.autocast("cpu", dtype=dtype, enabled=enabled):
            vectors = torch.nn.functional.embedding(ids, weights["embedding.weight"])
            _, (h, _) = torch.func.functional_call(lstm, of_lstm, (vectors,))
            logits = torch.nn.functional.linear(
                h[-1], weights["head.weight"], weights["head.bias"]
            )
        loss = torch.nn.functional.cross_entropy(logits.float(), truth)
        names = sorted(weights)
        gradients = torch.autograd.grad(loss, [weights[name] for name in names])
        norms = {name: g.double().norm().item() for name, g in zip(names, gradients)}
        return {"loss": loss.item(), "norms": norms}

    return {"f32": run(False), "low": run(True)}


if __name__ == "__main__":
    if sys.argv[1] == "scale":
        print(json.dumps(scales()))
    else:
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[sys.argv[3]]
        print(json.dumps(step(sys.argv[2], dtype)))
