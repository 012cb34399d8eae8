"""The worker of the peers that Python has: torch and ONNX Runtime. The protocol is in
workers.py; what is made is as in benches/worker/mod.rs, number for number."""

import io
import json
import sys
import time
import warnings

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def numbers(shape, start, scale):
    """The same in every worker: they are to compute the same."""
    count = torch.Size(shape).numel()
    places = torch.arange(start, start + count, dtype=torch.int64)
    return ((places * 7919 % 1009 / 1009 - 0.5) * scale).float().reshape(shape)


class Matmul:
    """A product of square matrices, of f32: `torch.mm`, which is MKL's, or oneDNN's
    with one matrix in the order that it likes, as its LSTM has them."""

    def __init__(self, size, by):
        a, b = torch.randn(size, size), torch.randn(size, size)
        if by == "torch.mm":
            self.once = lambda: torch.mm(a, b)
        else:
            ordered = torch.ops.mkldnn._reorder_linear_weight(b, size)
            self.once = lambda: torch.ops.mkldnn._linear_pointwise(a, ordered, None, "none", [], "")

    def __call__(self):
        with torch.inference_mode():
            self.once()


class Lstm:
    """One layer, one direction. A run reads every batch once, and goes back through
    it if `backward`, from ones on real tokens to the weights and the input."""

    def __init__(self, how, input, hidden, batches, backward):
        self.how, self.backward = how, backward
        module = nn.LSTM(input, hidden, batch_first=True)
        with torch.no_grad():
            for number, weight in enumerate(module.parameters()):
                weight.copy_(numbers(weight.shape, 31 * number, 2 / hidden**0.5))
        if how == "looped":
            self.cell = nn.LSTMCell(input, hidden)
            self.cell.load_state_dict({name.removesuffix("_l0"): w for name, w in module.state_dict().items()})
        self.module = module.train(backward)
        parameters = self.cell.parameters() if how == "looped" else module.parameters()
        self.parameters = list(parameters)
        self.batches = []
        for lengths in batches:
            x = numbers([len(lengths), max(lengths), input], 0, 2).requires_grad_(backward)
            full = min(lengths) == max(lengths)
            real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
            # Ones where a token is; None: everywhere.
            ones = None if full else real[..., None].expand(-1, -1, hidden).float().contiguous()
            self.batches.append((x, torch.tensor(lengths), ones))
        if how == "onnx":
            self.export(*self.batches[0])

    def export(self, x, lengths, ones):
        import onnxruntime

        # Those that the exporter turns into ONNX are sorted from long to short.
        lengths = lengths.sort(descending=True).values if ones is not None else None
        shell = Packed(self.module) if ones is not None else Full(self.module)
        inputs = {"x": x.detach()} | ({"lengths": lengths} if ones is not None else {})
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                shell,
                tuple(inputs.values()),
                file,
                dynamo=False,
                input_names=list(inputs),
                output_names=["y"],
                dynamic_axes={"x": {0: "B", 1: "T"}, "y": {0: "B", 1: "T"}, "lengths": {0: "B"}},
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
        self.feed = {name: tensor.numpy() for name, tensor in inputs.items()}

    def read(self, x, lengths):
        if self.how == "padded":
            return self.module(x)[0]
        if self.how == "packed":
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.module(packed)[0].data
        h = c = x.new_zeros(len(x), self.module.hidden_size)
        states = []
        for step in x.unbind(1):
            h, c = self.cell(step, (h, c))
            states.append(h)
        return torch.stack(states, 1)

    def __call__(self):
        if self.how == "onnx":
            return torch.from_numpy(self.session.run(None, self.feed)[0])
        if not self.backward:
            with torch.inference_mode():
                for x, lengths, _ in self.batches:
                    y = self.read(x, lengths)
            return y
        for x, lengths, ones in self.batches:
            y = self.read(x, lengths)
            if ones is None or self.how == "packed":
                ones = torch.ones_like(y)
            torch.autograd.grad(y, [x, *self.parameters], ones)
        return y

    def check(self):
        """The sum of what stands at real tokens of the last batch, without signs."""
        y = self().detach().double().abs()
        ones = self.batches[-1][2]
        if ones is not None and self.how == "onnx":
            ones = ones[self.batches[-1][1].argsort(descending=True, stable=True)]
        return float(y.sum() if ones is None or self.how == "packed" else (y * ones).sum())


class Full(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[0]


class Packed(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        return pad_packed_sequence(self.module(packed)[0], batch_first=True)[0]


def answer(made, question):
    if "threads" in question:
        torch.set_num_threads(question["threads"])
        torch.set_num_interop_threads(1)
        return {"ok": True}
    if "make" in question:
        what = dict(question["make"])
        name, kind = what.pop("name"), what.pop("kind")
        if kind == "matmul":
            made[name] = Matmul(**what)
            return {"ok": True}
        made[name] = Lstm(**what)
        return {"ok": True, "check": made[name].check()}
    if "drop" in question:
        del made[question["drop"]]
        return {"ok": True}
    run, seconds = made[question["run"]], []
    for _ in range(question["times"]):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


def main():
    # Only answers go to standard output, whatever a library prints.
    answers, sys.stdout = sys.stdout, sys.stderr
    made = {}
    for line in sys.stdin:
        try:
            said = answer(made, json.loads(line))
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
