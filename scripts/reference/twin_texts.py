"""The texts of the twin, and how they become batches."""

import json
import sys

import torch
from torch.nn.utils.rnn import pad_sequence

# How nn.LSTM reads a batch, and how an epoch is dealt into batches.
BATCHINGS = {
    "packed": "shuffled, packed: what every tutorial does",
    "padded": "shuffled, padded",
    "bucketed": "shuffled batches of texts of similar length, padded",
    "bucketed-packed": "the same, packed",
}


def is_padded(batching):
    return not batching.endswith("packed")


class Texts:
    """Token ids of texts, one tensor for each, as a Dataset would hold them."""

    def __init__(self, name, ids, device="cpu"):
        self.device = device
        self.ids = [torch.tensor(text) for text in ids]
        self.lengths = torch.tensor([len(text) for text in ids])
        if not self.lengths.all():
            line = self.lengths.tolist().index(0) + 1
            sys.exit(f"{name}: line {line} has no token; torch refuses a length of 0")

    def batch(self, rows):
        """Padded ids [B, T] and their lengths [B]; made when its turn comes, as by the
        collate_fn of a DataLoader without workers."""
        # The lengths stay: packing wants them on the CPU.
        ids = pad_sequence([self.ids[row] for row in rows], batch_first=True)
        return ids.to(self.device), self.lengths[rows]

    def epoch(self, batching, size):
        """The rows of each batch of one epoch."""
        if batching.startswith("bucketed"):
            return self.bucketed(size)
        return [rows.tolist() for rows in torch.randperm(len(self.ids)).split(size)]

    def bucketed(self, size, pool=50):
        batches = []
        for part in torch.randperm(len(self.ids)).split(size * pool):
            part = part[self.lengths[part].argsort(stable=True)]
            batches += part.split(size)
        return [batches[n].tolist() for n in torch.randperm(len(batches))]


class Labelled(Texts):
    """Those of a file of JSON lines with text and label, perhaps with ids, too."""

    def __init__(self, path, folder, config, labels, device):
        with open(path, encoding="utf-8") as file:
            self.rows = [json.loads(line) for line in file]
        if all("ids" in row for row in self.rows):
            ids = [row["ids"][: config.get("max_tokens")] for row in self.rows]
        else:
            ids = encode(tokenizer(folder), [row["text"] for row in self.rows], config)
        super().__init__(path, ids, device)
        self.classes = torch.tensor([labels.index(row["label"]) for row in self.rows], device=device)


def tokenizer(folder):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def encode(tokenizer, texts, config):
    """Ids of each text, as many as the model reads; without offsets, which is faster."""
    encoded = tokenizer.encode_batch_fast(texts)
    return [text.ids[: config.get("max_tokens")] for text in encoded]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
