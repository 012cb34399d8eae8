"""Holds probabilities of cellway against torch's, from the same model directory.

    python scripts/reference/torch_check.py MODEL TEXTS.jsonl NAME=PREDICTIONS.jsonl ...

Runs the model on the texts with torch.nn and Hugging Face's tokenizers, as a
PyTorch user would, and prints for each pair (torch and the named files, as
`cellway predict --json` writes them) the largest difference of a probability.
Exits with 1 if one is above the bound.
"""

import itertools
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# Sums in another order: some ULPs of f32 at 1, more than any seen.
BOUND = 1e-5
BATCH = 64


class Classifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pooling, self.activation = config["pooling"], config["head"]
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_size"], padding_idx=0)
        self.lstm = nn.LSTM(
            config["embedding_size"],
            config["hidden_size"],
            config["num_layers"],
            bias=config["bias"],
            batch_first=True,
            bidirectional=config["bidirectional"],
            proj_size=config["proj_size"],
        )
        width = config["proj_size"] or config["hidden_size"]
        width *= (2 if config["bidirectional"] else 1) * (3 if self.pooling == "all" else 1)
        classes = 1 if self.activation == "sigmoid" else len(config["id2label"])
        self.head = nn.Linear(width, classes)

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        output, (h, _) = self.lstm(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        padding = torch.arange(output.shape[1])[None, :, None] >= lengths[:, None, None]
        directions = 2 if self.lstm.bidirectional else 1
        pooled = {
            "last": h[-directions:].transpose(0, 1).flatten(1),
            "mean": output.sum(1) / lengths[:, None],
            "max": output.masked_fill(padding, float("-inf")).amax(1),
        }
        parts = pooled.values() if self.pooling == "all" else [pooled[self.pooling]]
        logits = self.head(torch.cat(list(parts), -1))
        if self.activation == "sigmoid":
            second = logits.sigmoid()
            return torch.cat([1 - second, second], -1)
        return logits.softmax(-1)


def torch_probabilities(directory, texts):
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    model = Classifier(config)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    model.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            ids = [torch.tensor(tokenizer.encode(text).ids) for text in batch]
            lengths = torch.tensor([len(text) for text in ids])
            if not lengths.all():
                sys.exit(f"{batch[lengths.tolist().index(0)]!r} has no token; torch refuses a length of 0")
            padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
            rows.append(model(padded, lengths))
    labels = [label for _, label in sorted(config["id2label"].items(), key=lambda kv: int(kv[0]))]
    return torch.cat(rows), labels


def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main(directory, texts_file, *files):
    texts = [row["text"] for row in read_jsonl(texts_file)]
    torch_rows, labels = torch_probabilities(pathlib.Path(directory), texts)
    sources = {}
    for name, path in (file.split("=", 1) for file in files):
        rows = read_jsonl(path)
        if [row["text"] for row in rows] != texts:
            sys.exit(f"{path}: has not the texts of {texts_file}, in their order")
        values = [[row["probabilities"][label] for label in labels] for row in rows]
        sources[name] = torch.tensor(values, dtype=torch.float64)
    sources[f"torch {torch.__version__} in Python"] = torch_rows.double()

    print(f"largest difference of a probability, {len(texts)} texts:")
    outside = len(sources) < 2
    for (a, rows_a), (b, rows_b) in itertools.combinations(sources.items(), 2):
        difference = (rows_a - rows_b).abs().max().item()
        flips = (rows_a.argmax(-1) != rows_b.argmax(-1)).sum().item()
        print(f"  {a} - {b}: {difference:.1e}, {flips} labels differ")
        outside |= not difference <= BOUND
    if outside:
        sys.exit(f"above the bound of {BOUND:.0e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
