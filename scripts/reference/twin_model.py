"""The model of the twin: a cellway model directory as plain PyTorch."""

import json
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence


class Classifier(nn.Module):
    """An embedding, nn.LSTM over packed or padded texts, the last state, a linear layer."""

    def __init__(self, config, padded):
        super().__init__()
        self.padded, self.directions = padded, 2 if config["bidirectional"] else 1
        # No padding_idx: what is packed has no padding.
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_size"])
        self.lstm = nn.LSTM(
            config["embedding_size"],
            config["hidden_size"],
            config["num_layers"],
            bias=config["bias"],
            batch_first=True,
            dropout=config["dropout"],
            bidirectional=config["bidirectional"],
            proj_size=config["proj_size"],
        )
        self.dropout = nn.Dropout(config["head_dropout"])
        width = self.directions * (config["proj_size"] or config["hidden_size"])
        self.head = nn.Linear(width, 1 if config["head"] == "sigmoid" else len(config["id2label"]))

    def forward(self, ids, lengths):
        embedded = self.embedding(ids)
        if self.padded:
            output, _ = self.lstm(embedded)
            last = output[torch.arange(len(lengths)), lengths - 1]
        else:
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            _, (h, _) = self.lstm(packed)
            last = h[-self.directions :].transpose(0, 1).flatten(1)
        return self.head(self.dropout(last))

    def loss(self, logits, classes):
        if logits.shape[1] == 1:
            classes = classes.to(logits.dtype).unsqueeze(1)
            return nn.functional.binary_cross_entropy_with_logits(logits, classes)
        return nn.functional.cross_entropy(logits, classes)

    def probabilities(self, logits):
        if logits.shape[1] == 1:
            second = logits.sigmoid()
            return torch.cat([1 - second, second], 1)
        return logits.softmax(1)


def load(folder, padded, device="cpu", dtype=torch.float32, fresh=False):
    """The model of a directory, its configuration and its labels in their order; with
    `fresh` initial weights of torch's own."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["pooling"] != "last" or (padded and config["bidirectional"]):
        sys.exit(f"{folder}: the twin pools the last state, and padded it reads in one direction")
    labels = [label for _, label in sorted(config["id2label"].items(), key=lambda kv: int(kv[0]))]
    model = Classifier(config, padded).to(device, dtype)
    if not fresh:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    return model, config, labels
