import contextlib
import hashlib
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "reference.py"

try:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from torch import nn
except ImportError:
    torch = None

F64 = ("--dtype", "f64")


def reference(*arguments):
    """The exit status of the script and what it wrote to standard error."""
    said = io.StringIO()
    argv = ["reference.py", *map(str, arguments)]
    threads, status = torch.get_num_threads(), 0
    try:
        with unittest.mock.patch.object(sys, "argv", argv), contextlib.redirect_stderr(said):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        status = end.code
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    return status, said.getvalue()


class Nested(nn.Module if torch else object):
    def __init__(self, lstm):
        super().__init__()
        self.encoder = lstm

    def forward(self, x):
        return self.encoder(x)[0]


def equations(parameters, layer, suffix, x, state):
    """One layer, one direction, one text [T, I]: the equations, step by step."""
    get = lambda role: parameters.get(f"{role}_l{layer}{suffix}")
    h, c = state
    steps = []
    for row in x.flip(0) if suffix else x:
        gates = get("weight_ih") @ row + get("weight_hh") @ h
        if get("bias_ih") is not None:
            gates = gates + get("bias_ih") + get("bias_hh")
        i, f, g, o = gates.chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        if get("weight_hr") is not None:
            h = get("weight_hr") @ h
        steps.append((i, f, g, o, c, h))
    parts = dict(zip("ifgoch", ([step[n] for step in steps] for n in range(6))))
    if suffix:
        parts = {name: part[::-1] for name, part in parts.items()}
    return parts, (h, c)


def pad(rows, time, width):
    rows = torch.stack(rows) if rows else torch.zeros(0, width, dtype=torch.float64)
    return torch.cat([rows, rows.new_zeros(time - len(rows), width)])


def independent(parameters, layers, directions, x, lengths, h0, c0):
    """Every stage from the equations, text by text: nothing of torch.nn."""
    out, finals = {}, {}
    batch, time = x.shape[:2]
    hidden, width = parameters["weight_ih_l0"].shape[0] // 4, h0.shape[2]
    texts = []
    for n in range(batch):
        read = x[n, : lengths[n]]
        for layer in range(layers):
            tops = []
            for direction in range(directions):
                suffix = "_reverse" if direction else ""
                row = layer * directions + direction
                parts, final = equations(parameters, layer, suffix, read, (h0[row, n], c0[row, n]))
                finals[row, n] = final
                for name, part in parts.items():
                    padded = pad(part, time, width if name == "h" else hidden)
                    out.setdefault(f"lstm/l{layer}{suffix}/{name}", []).append(padded)
                tops.append(pad(parts["h"], lengths[n], width))
            read = torch.cat(tops, 1)
        texts.append(pad(list(read), time, width * directions))
    out = {name: torch.stack(rows) for name, rows in out.items()}
    out["lstm/y"] = torch.stack(texts)
    for name, k in (("lstm/h_n", 0), ("lstm/c_n", 1)):
        out[name] = torch.stack(
            [torch.stack([finals[row, n][k] for n in range(batch)]) for row in range(layers * directions)]
        )
    return out


@unittest.skipIf(torch is None, "needs torch and safetensors")
class Reference(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out.safetensors"
        torch.manual_seed(7)

    def run_script(self, *arguments):
        self.out.unlink(missing_ok=True)
        status, said = reference(*arguments, "--out", self.out)
        self.assertEqual((status, said), (0, ""))
        self.assertEqual(list(self.folder.glob("*.part")), [])
        with safe_open(self.out, framework="pt") as file:
            return load_file(self.out), file.metadata()

    def refused(self, *arguments, says):
        self.out.unlink(missing_ok=True)
        status, said = reference(*arguments, "--out", self.out)
        self.assertEqual(status, 2, said)
        self.assertEqual(said.count("\n"), 1, said)
        self.assertTrue(said.startswith("reference.py: "), said)
        self.assertIn(says, said)
        self.assertEqual([path.name for path in self.folder.glob("out*")], [])

    def close(self, got, expected, bound=1e-12):
        self.assertEqual(got.shape, expected.shape)
        self.assertLessEqual((got.double() - expected.double()).abs().max().item() if got.numel() else 0, bound)

    def lstm_file(self, *sizes, **options):
        lstm = nn.LSTM(*sizes, **options)
        path = self.folder / "lstm.safetensors"
        save_file({f"enc.{name}": p.detach() for name, p in lstm.named_parameters()}, path)
        return lstm, path

    def inputs(self, **tensors):
        path = self.folder / "in.safetensors"
        save_file(tensors, path)
        return path

    def hold_lstm(self, lstm, values):
        """The file's stages, loss and gradients against the equations, in f64."""
        parameters = {n: p.detach().double().requires_grad_() for n, p in lstm.named_parameters()}
        x, h0, c0 = (values[f"input/{n}"].double().requires_grad_() for n in ("x", "h0", "c0"))
        lengths = values["input/lengths"].tolist()
        directions = 2 if lstm.bidirectional else 1
        stages = independent(parameters, lstm.num_layers, directions, x, lengths, h0, c0)
        for name, stage in stages.items():
            self.close(values[name], stage.detach())
        real = torch.arange(x.shape[1])[None, :, None] < torch.tensor(lengths)[:, None, None]
        loss = (stages["lstm/y"] - values["input/target_y"] * real).square().mean()
        for name in ("h_n", "c_n"):
            loss = loss + (stages[f"lstm/{name}"] - values[f"input/target_{name}"]).square().mean()
        self.close(values["loss"], loss.detach())
        named = parameters | {"x": x, "h0": h0, "c0": c0}
        for name, gradient in zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True)):
            expected = torch.zeros_like(named[name]) if gradient is None else gradient
            self.close(values[f"grad/{name}"], expected)
        gradients = {name for name in values if name.startswith("grad/")}
        self.assertEqual(gradients, {f"grad/{name}" for name in named})

    def test_every_architecture_against_the_equations(self):
        for options in (
            {},
            {"bias": False},
            {"num_layers": 2, "bidirectional": True},
            {"proj_size": 2},
            {"num_layers": 2, "bidirectional": True, "proj_size": 3, "bias": False},
        ):
            with self.subTest(options):
                lstm, path = self.lstm_file(3, 5, **options)
                values, said = self.run_script(path, *F64, "--gradients", "--batch", 4, "--time", 6)
                self.assertEqual(json.loads(said["config"]), {
                    "input_size": 3, "hidden_size": 5, "num_layers": 1, "bias": True,
                    "bidirectional": False, "proj_size": 0, **options,
                })
                lengths = values["input/lengths"]
                self.assertEqual(lengths[0], 6)
                self.assertLess(lengths.min(), 6)
                self.hold_lstm(lstm, values)

    def test_texts_of_length_0_and_given_states(self):
        lstm, path = self.lstm_file(3, 4, num_layers=2, bidirectional=True)
        state = {n: torch.randn(4, 3, 4, dtype=torch.float64) for n in ("h0", "c0")}
        x = torch.randn(3, 5, 3, dtype=torch.float64)
        for lengths in ([0, 5, 2], [1, 0, 3], [0, 0, 0], [5, 5, 5]):
            with self.subTest(lengths):
                given = self.inputs(x=x, lengths=torch.tensor(lengths), **state)
                values, said = self.run_script(path, *F64, "--gradients", "--input", given)
                self.assertEqual(said["inputs"], "file")
                self.assertTrue(torch.equal(values["input/x"], x))
                self.hold_lstm(lstm, values)

    def test_every_container_gives_the_same(self):
        lstm = nn.LSTM(3, 4, num_layers=2)
        state = {f"model.encoder.{n}": p.detach() for n, p in lstm.named_parameters()}
        lightning = {"state_dict": state, "epoch": 3, "loops": [{"a": torch.ones(1)}, None]}
        file = self.folder / "checkpoint"
        script = lambda: torch.jit.script(Nested(lstm)).save(str(file))
        containers = {
            "state_dict.model.encoder": lambda: torch.save(lightning, file),
            "state_dict.model.encoder ": lambda: torch.save(lightning, file, _use_new_zipfile_serialization=False),
            "encoder": script,
            "model.encoder": lambda: save_file(state, file),
            "": lambda: torch.save(lstm.state_dict(), file),
            "0.1": lambda: torch.save([{"1": lstm.state_dict()}], file),
        }
        seen = []
        for module, write in containers.items():
            with self.subTest(module):
                write()
                values, said = self.run_script(file, "--time", 4)
                self.assertEqual(said["lstm"], module.strip())
                seen.append((json.loads(said["weights"]), values))
        for weights, values in seen:
            self.assertEqual(weights, seen[0][0])
            for name, value in values.items():
                self.assertTrue(torch.equal(value, seen[0][1][name]), name)

    def test_a_cell_is_layer_0(self):
        cell, lstm = nn.LSTMCell(3, 4), nn.LSTM(3, 4)
        lstm.load_state_dict({f"{n}_l0": p for n, p in cell.state_dict().items()})
        path = self.folder / "cell.pt"
        torch.save({"rnn." + n: p for n, p in cell.state_dict().items()}, path)
        values, said = self.run_script(path, *F64, "--gradients", "--batch", 3, "--time", 4)
        self.assertEqual(said["lstm"], "rnn")
        self.hold_lstm(lstm, values)

    def test_an_lstm_is_named_by_an_ending(self):
        lstm, path = nn.LSTM(2, 3), self.folder / "two.safetensors"
        modules = ("a.rnn", "b.rnn", "rnn2")
        save_file({f"{m}.{n}": p.detach().clone() for m in modules for n, p in lstm.named_parameters()}, path)
        for name, module in (("a.rnn", "a.rnn"), ("rnn2", "rnn2")):
            self.assertEqual(self.run_script(path, "--lstm", name)[1]["lstm"], module)
        self.refused(path, says="it has a.rnn, b.rnn, rnn2")
        self.refused(path, "--lstm", "rnn", says="has 2 LSTMs 'rnn'")
        self.refused(path, "--lstm", "c", says="has 0 LSTMs 'c'")

    def test_gates_of_other_networks_are_no_lstm(self):
        path = self.folder / "gru.pt"
        odd = {"odd.weight_hh_l0": torch.ones(4), "half.weight_hh_l0": torch.ones(8, 2)}
        torch.save(nn.GRU(3, 4).state_dict() | odd, path)
        self.refused(path, says="it has none")

    def test_updates(self):
        lstm, path = self.lstm_file(3, 4)
        for arguments, make in (
            (("--learning-rate", "0.1", "--weight-decay", "0.01"),
             lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01)),
            (("--optimizer", "sgd", "--momentum", "0.5"), lambda p: torch.optim.SGD(p, lr=0.001, momentum=0.5)),
        ):
            values, said = self.run_script(path, *F64, "--steps", 3, *arguments)
            other = nn.LSTM(3, 4, batch_first=True).double()
            other.load_state_dict(lstm.state_dict())
            optimizer, losses = make(other.parameters()), []
            lengths, real = values["input/lengths"], torch.arange(20)[None, :, None]
            real = real < lengths[:, None, None]
            for _ in range(3):
                # Forward only: the states at the ends are steps of the run.
                y = other(values["input/x"])[0] * real
                whole = [other(x[None, :n])[1] for x, n in zip(values["input/x"], lengths)]
                loss = (y - values["input/target_y"] * real).square().mean()
                for k, name in enumerate(("h_n", "c_n")):
                    final = torch.cat([state[k] for state in whole], 1)
                    loss = loss + (final - values[f"input/target_{name}"]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            self.close(values["steps/loss"], torch.stack(losses))
            for name, parameter in other.named_parameters():
                self.close(values[f"steps/{name}"], parameter.detach())
            self.assertEqual(json.loads(said["steps"])["steps"], 3)
        self.assertNotIn("steps", self.run_script(path)[1])

    def model(self, **changes):
        config = {
            "model_type": "cellway-lstm-classifier", "format_version": 1, "vocab_size": 11,
            "embedding_size": 3, "hidden_size": 4, "num_layers": 1, "bidirectional": True,
            "proj_size": 0, "bias": True, "dropout": 0.0, "pooling": "last", "head_dropout": 0.5,
            "head": "softmax", "id2label": {"0": "a", "1": "b", "2": "c"}, **changes,
        }
        parts = 3 if config["pooling"] == "all" else 1
        classes = 1 if config["head"] == "sigmoid" else len(config["id2label"])
        lstm, embedding, head = nn.LSTM(3, 4, bidirectional=True), nn.Embedding(11, 3), nn.Linear(8 * parts, classes)
        directory = self.folder / "model"
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        weights = {"embedding.weight": embedding.weight, "head.weight": head.weight, "head.bias": head.bias}
        weights |= {f"lstm.{n}": p for n, p in lstm.named_parameters()}
        weights = {name: p.detach() for name, p in weights.items()}
        save_file(weights, directory / "model.safetensors")
        return directory, weights

    def test_classifiers_against_the_equations(self):
        two = {"0": "no", "1": "yes"}
        ids = torch.tensor([[1, 2, 3, 4], [5, 99, -1, 7], [9, 9, 9, 9]])
        lengths, truth = [4, 1, 0], torch.tensor([1, 0, 1])
        given = self.inputs(ids=ids, lengths=torch.tensor(lengths), truth=truth)
        for pooling in ("last", "mean", "max", "all"):
            for head, labels in (("sigmoid", two), ("softmax", {**two, "2": "perhaps"})):
                with self.subTest(pooling=pooling, head=head):
                    directory, weights = self.model(pooling=pooling, head=head, id2label=labels)
                    values, said = self.run_script(directory, *F64, "--input", given, "--gradients")
                    self.assertEqual((said["kind"], said["lstm"]), ("classifier", "lstm"))
                    self.assertEqual(values["input/ids"].tolist(), [[1, 2, 3, 4], [5, 0, 0, 0], [0, 0, 0, 0]])
                    leaves = {n: w.double().requires_grad_() for n, w in weights.items()}
                    embedded = [leaves["embedding.weight"][ids[n, :k]] for n, k in enumerate(lengths)]
                    padded = torch.stack([pad(list(rows), 4, 3) for rows in embedded])
                    parameters = {n[5:]: w for n, w in leaves.items() if n.startswith("lstm.")}
                    zero = torch.zeros(2, 3, 4, dtype=torch.float64)
                    stages = independent(parameters, 1, 2, padded, lengths, zero, zero)
                    pooled = []
                    for n, length in enumerate(lengths):
                        y = stages["lstm/y"][n, :length]
                        nothing = torch.zeros(8, dtype=torch.float64)
                        parts = {
                            "last": torch.cat(list(stages["lstm/h_n"][:, n])),
                            "mean": y.mean(0) if length else nothing,
                            "max": y.amax(0) if length else nothing,
                        }
                        pooled.append(torch.cat([part for name, part in parts.items() if pooling in (name, "all")]))
                    stages["pooled"] = torch.stack(pooled)
                    stages["logits"] = stages["pooled"] @ leaves["head.weight"].T + leaves["head.bias"]
                    logits = stages["logits"]
                    if head == "sigmoid":
                        logits = torch.cat([torch.zeros_like(logits), logits], 1)
                    stages["probabilities"] = logits.softmax(1)
                    stages["loss"] = -logits.log_softmax(1)[range(3), truth].mean()
                    stages["embedded"] = padded
                    for name, stage in stages.items():
                        self.close(values[name], stage.detach())
                    named = leaves | {"embedded": padded}
                    gradients = torch.autograd.grad(stages["loss"], list(named.values()))
                    for name, gradient in zip(named, gradients):
                        self.close(values[f"grad/{name}"], gradient)

    def test_random_inputs_of_a_classifier_and_its_lstm_alone(self):
        directory, _ = self.model()
        values, said = self.run_script(directory, "--batch", 5, "--time", 7, "--seed", 3, "--steps", 1)
        again, _ = self.run_script(directory, "--batch", 5, "--time", 7, "--seed", 3)
        for name in again:
            self.assertTrue(torch.equal(values[name], again[name]), name)
        lengths, ids = values["input/lengths"], values["input/ids"]
        self.assertEqual((ids.shape, ids.dtype, lengths[0]), ((5, 7), torch.int64, 7))
        self.assertFalse(ids[torch.arange(7) >= lengths[:, None]].any())
        self.assertIn("lstm.weight_ih_l0", json.loads(said["weights"]))
        self.assertEqual(values["steps/loss"][0], values["loss"])
        _, said = self.run_script(directory, "--lstm", "lstm")
        self.assertEqual((said["kind"], said["lstm"]), ("lstm", "lstm"))
        self.assertIn("weight_ih_l0", json.loads(said["weights"]))

    def test_half_precision_follows_f64(self):
        directory, weights = self.model(pooling="all")
        arguments = (directory, "--gradients", "--steps", 1)
        exact, _ = self.run_script(*arguments, *F64)
        for dtype, kind, ulp in (("bf16", torch.bfloat16, 2**-8), ("f16", torch.float16, 2**-11)):
            values, said = self.run_script(*arguments, "--dtype", dtype)
            self.assertEqual(said["dtype"], dtype)
            self.assertEqual(json.loads(said["weights"])["head.bias"]["dtype"], "F32")
            self.assertEqual(set(values), set(exact))
            self.assertEqual(values["lstm/y"].dtype, kind)
            self.close(values["lstm/y"], exact["lstm/y"], 16 * ulp)
            self.close(values["probabilities"], exact["probabilities"], 16 * ulp)
        save_file({n: w.to(torch.bfloat16) for n, w in weights.items()}, directory / "model.safetensors")
        values, said = self.run_script(directory)
        self.assertEqual((said["dtype"], values["lstm/y"].dtype), ("bf16", torch.bfloat16))
        self.assertEqual(json.loads(said["weights"])["head.bias"]["dtype"], "BF16")

    def test_what_the_metadata_says(self):
        lstm, path = self.lstm_file(3, 4)
        _, said = self.run_script(path, "--threads", 1, "--seed", 5)
        self.assertEqual(said["cellway_reference"], "1")
        for key, value in (("kind", "lstm"), ("lstm", "enc"), ("torch", torch.__version__), ("device", "cpu"),
                           ("dtype", "f32"), ("seed", "5"), ("inputs", "random")):
            self.assertEqual(said[key], value)
        weight = lstm.weight_hh_l0.detach().numpy()
        self.assertEqual(json.loads(said["weights"])["weight_hh_l0"], {
            "dtype": "F32", "shape": [16, 4], "sha256": hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest(),
        })
        flags = json.loads(said["flags"])
        self.assertEqual((flags["tf32"], flags["threads"], flags["cudnn"]), (False, 1, None))

    def test_an_existing_file_stays(self):
        _, path = self.lstm_file(2, 3)
        self.out.write_text("mine")
        status, said = reference(path, "--out", self.out)
        self.assertEqual((status, said.count("\n"), self.out.read_text()), (2, 1, "mine"))
        self.assertIn("--replace", said)
        self.assertEqual(reference(path, "--out", self.out, "--replace"), (0, ""))
        self.assertIn("lstm/y", load_file(self.out))
        # Nothing half written stays where the last step fails.
        (self.folder / "taken").mkdir()
        status, said = reference(path, "--out", self.folder / "taken", "--replace")
        self.assertEqual((status, said.count("\n")), (2, 1), said)
        self.assertEqual(list(self.folder.glob("taken?*")), [])

    def test_files_that_are_no_reference_to_anything(self):
        torch.save(nn.LSTM(2, 3), self.folder / "whole.pt")
        self.refused(self.folder / "whole.pt", says="state_dict")
        self.refused(self.folder / "absent", says="not there")
        for text in ("version https://git-lfs.github.com/spec/v1\n", "<!DOCTYPE html>", "", "12345678{"):
            (self.folder / "text.pt").write_text(text)
            self.refused(self.folder / "text.pt", says="text.pt")
        (self.folder / "cut.pt").write_bytes((self.folder / "whole.pt").read_bytes()[:300])
        self.refused(self.folder / "cut.pt", says="cut.pt")
        lstm, path = nn.LSTM(2, 3, num_layers=2), self.folder / "lacks.pt"
        state = lstm.state_dict()
        torch.save({n: p for n, p in state.items() if n != "bias_hh_l1"}, path)
        self.refused(path, says="bias_hh_l1")
        torch.save(state | {"weight_ih_l1": torch.ones(12, 9)}, path)
        self.refused(path, says="weight_ih_l1")
        torch.save({n: p.to(torch.int64) for n, p in state.items()}, path)
        self.refused(path, says="--dtype")

    def test_directories_that_are_no_model(self):
        directory, weights = self.model()
        config = json.loads((directory / "config.json").read_text())
        save_file({n: w for n, w in weights.items() if n != "head.bias"}, directory / "model.safetensors")
        self.refused(directory, says="head.bias")
        save_file(weights, directory / "model.safetensors")
        for broken in ("{", "[]", "{}", json.dumps({k: v for k, v in config.items() if k != "bias"}),
                       json.dumps(config | {"hidden_size": "x"}), json.dumps(config | {"pooling": "sum"})):
            (directory / "config.json").write_text(broken)
            self.refused(directory, says="config.json")
        (directory / "config.json").unlink()
        self.refused(directory, says="config.json")

    def test_inputs_that_do_not_fit(self):
        _, path = self.lstm_file(3, 4)
        x, good = torch.randn(2, 5, 3), torch.tensor([5, 2])
        for says, tensors in (
            ("'x'", {"lengths": good}),
            ("[B, T, 3]", {"x": torch.randn(2, 5, 2)}),
            ("[B, T, 3]", {"x": torch.randn(2, 3)}),
            ("0 to 5", {"x": x, "lengths": torch.tensor([6, 1])}),
            ("0 to 5", {"x": x, "lengths": torch.tensor([-1, 1])}),
            ("lengths", {"x": x, "lengths": torch.tensor([1])}),
            ("lengths", {"x": x, "lengths": torch.tensor([1.0, 2.0])}),
            ("h0", {"x": x, "h0": torch.zeros(2, 1, 4)}),
            ("target_y", {"x": x, "target_y": torch.zeros(2, 5, 3)}),
            ("h_0", {"x": x, "h_0": torch.zeros(1, 2, 4)}),
        ):
            with self.subTest(says=says, tensors=list(tensors)):
                self.refused(path, "--input", self.inputs(**tensors), says=says)
        directory, _ = self.model()
        ids = torch.tensor([[1, 2], [3, 4]])
        for says, tensors in (
            ("0 to 10", {"ids": ids + 8}),
            ("ids", {"ids": ids.float()}),
            ("ids", {"ids": ids[0]}),
            ("truth", {"ids": ids, "truth": torch.tensor([0, 3])}),
            ("truth", {"ids": ids, "truth": torch.tensor([0])}),
        ):
            with self.subTest(says=says, tensors=list(tensors)):
                self.refused(directory, "--input", self.inputs(**tensors), says=says)
        self.refused(path, "--input", self.folder / "absent", says="absent")

    def test_arguments_that_cannot_be(self):
        _, path = self.lstm_file(3, 4)
        for arguments in (
            ("--batch", "0"), ("--time", "-1"), ("--steps", "x"), ("--seed", "-1"), ("--dtype", "f8"),
            ("--device", "gpu"), ("--device", "cuda:99"), ("--learning-rate", "fast"), ("--nothing",),
            ("--steps", "1", "--learning-rate", "-1"), ("--steps", "1", "--optimizer", "sgd", "--momentum", "-1"),
        ):
            with self.subTest(arguments):
                self.refused(path, *arguments, says=arguments[-2 if len(arguments) > 1 else 0].strip("-")[:5])
        status, said = reference(path, "--out", self.folder / "no" / "out")
        self.assertEqual((status, said.count("\n")), (2, 1), said)


class Alone(unittest.TestCase):
    def test_without_torch_it_says_what_to_install(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-S", "-", "x", "--out", f"{folder}/out"]
            with open(SCRIPT, "rb") as script:
                run = subprocess.run(command, stdin=script, capture_output=True, text=True,
                                     env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
            self.assertEqual((run.returncode, run.stderr.count("\n"), os.listdir(folder)), (2, 1, []), run.stderr)
            self.assertIn("pip install torch==2.11.0 numpy safetensors", run.stderr)

    @unittest.skipIf(torch is None, "needs torch and safetensors")
    def test_it_runs_from_standard_input(self):
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, out = f"{folder}/lstm.pt", f"{folder}/out"
            torch.save(nn.LSTM(2, 3).state_dict(), checkpoint)
            with open(SCRIPT, "rb") as script:
                run = subprocess.run([sys.executable, "-", checkpoint, "--out", out], stdin=script,
                                     capture_output=True, text=True)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            self.assertIn("lstm/y", load_file(out))


if __name__ == "__main__":
    unittest.main()
