"""Makes the checkpoints of tests/import.rs, with what torch computes from them.

    python scripts/reference/import_reference.py FOLDER

A small classifier of sentences under names of its own (`enc.emb`, `enc.rnn`,
`out.fc`) is saved in the ways that people save theirs; `probabilities.json` has
its answers to `TEXTS`, which are split at white space.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from torch import nn

WORDS = ["<pad>", "<unk>", "a", "fine", "dull", "film", "it", "is", "not"]
TEXTS = ["a fine film", "it is dull", "not a fine film it is dull", "unheard of"]


class Encoder(nn.Module):
    def __init__(self, directions):
        super().__init__()
        self.emb = nn.Embedding(len(WORDS), 5)
        self.rnn = nn.LSTM(5, 4, 2, batch_first=True, bidirectional=directions == 2)


class Classifier(nn.Module):
    def __init__(self, directions=2, logits=3, bias=True):
        super().__init__()
        self.enc = Encoder(directions)
        self.out = nn.ModuleDict({"fc": nn.Linear(4 * directions, logits, bias=bias)})
        self.directions = directions

    def forward(self, ids):
        _, (h, _) = self.enc.rnn(self.enc.emb(ids[None]))
        return self.out["fc"](h[-self.directions :].transpose(0, 1).flatten(1))[0]


def probabilities(model):
    rows = []
    with torch.inference_mode():
        for text in TEXTS:
            ids = torch.tensor([WORDS.index(w) if w in WORDS else 1 for w in text.split()])
            logits = model(ids)
            if len(logits) == 1:
                rows.append([1 - logits.sigmoid().item(), logits.sigmoid().item()])
            else:
                rows.append(logits.softmax(-1).tolist())
    return rows


def reordered(tensor, letters):
    """Blocks of rows from the order ifgo to another."""
    blocks = dict(zip("ifgo", tensor.chunk(4, 0)))
    return torch.cat([blocks[letter] for letter in letters])


def main(folder):
    folder = pathlib.Path(folder)
    answers = {}

    def save(name, value, model, **options):
        torch.save(value, folder / name, **options)
        answers[name] = probabilities(model)

    torch.manual_seed(7)
    model = Classifier().eval()
    stoi = {word: n for n, word in enumerate(WORDS)}
    state = model.state_dict()
    save("plain.pt", state, model)
    save("legacy.pt", state, model, _use_new_zipfile_serialization=False)
    save("whole.pt", model, model)
    save("parallel.pt", {f"module.{k}": v for k, v in state.items()}, model)
    save("compiled.pt", {"net": {f"_orig_mod.{k}": v for k, v in state.items()}}, model)
    optimizer = torch.optim.Adam(model.parameters())
    model.out["fc"](torch.ones(8)).sum().backward()
    optimizer.step()
    nested = {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "vocab": stoi,
        "id2label": {0: "bad", 1: "so-so", 2: "good"},
    }
    save("nested.pt", nested, model)
    double = Classifier().double().eval()
    save("double.pt", double.state_dict(), double)

    single = Classifier(directions=1, logits=1, bias=False).eval()
    save("sigmoid.pt", {"vocab": WORDS, "weights": single.state_dict()}, single)

    more = dict(state) | {"enc.norm.weight": torch.ones(5), "enc.norm.bias": torch.zeros(5)}
    save("unexpected.pt", more, model)
    two = {f"{part}.{k}": v for part in ("a", "b") for k, v in state.items()}
    save("two.pt", two, model)
    short = {k: v for k, v in state.items() if k != "enc.rnn.weight_hh_l1"}
    save("missing.pt", short, model)
    wrong = dict(state) | {"enc.rnn.bias_ih_l1": torch.zeros(3), "enc.rnn.bias_hh_l2": torch.zeros(16)}
    save("wrong.pt", wrong, model)
    gru = {"rnn." + k: v for k, v in nn.GRU(5, 4).state_dict().items()}
    save("gru.pt", gru, model)

    for name, letters in (("onnx", "iofg"), ("haste", "igfo")):
        other = {k: reordered(v, letters) if ".rnn." in k else v for k, v in state.items()}
        save(f"{name}.pt", other, model)

    # Keras: one layer, one direction, kernels transposed, one bias.
    keras = Classifier(directions=1).eval()
    keras.enc.rnn = nn.LSTM(5, 4, batch_first=True).eval()
    rnn = keras.enc.rnn
    arrays = {
        "embedding/embeddings": keras.enc.emb.weight,
        "lstm/lstm_cell/kernel:0": rnn.weight_ih_l0.T,
        "lstm/lstm_cell/recurrent_kernel:0": rnn.weight_hh_l0.T,
        "lstm/lstm_cell/bias:0": rnn.bias_ih_l0 + rnn.bias_hh_l0,
        "dense/kernel:0": keras.out["fc"].weight.T,
        "dense/bias:0": keras.out["fc"].bias,
    }
    arrays = {name: tensor.detach().numpy() for name, tensor in arrays.items()}
    np.savez(folder / "keras.npz", **arrays)
    np.savez(folder / "unnamed.npz", *arrays.values())
    answers["keras.npz"] = answers["unnamed.npz"] = probabilities(keras)

    (folder / "words.json").write_text(json.dumps(stoi))
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    (folder / "probabilities.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
