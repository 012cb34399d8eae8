"""The twin of `cellway train`: the same model and training as plain PyTorch.

    python scripts/twin.py MODEL TRAIN.jsonl --out DIR [--predict TEST.jsonl] ...

MODEL is a cellway model directory: its weights are the start. What tests and
benchmarks hold cellway against: an embedding, nn.LSTM over packed texts, the
last state, a linear layer, Adam. Into DIR come losses.jsonl (one line a step),
the trained model as a model directory, and predictions.jsonl for the texts of
--predict; on standard output a line of JSON with the time that the steps took, of
each epoch too, and on CUDA the most memory that tensors had. Lines that have "ids"
beside "text" need no `tokenizers` package.
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

DTYPES = {"f32": torch.float32, "f64": torch.float64}


class Classifier(nn.Module):
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


class Texts:
    """Token ids of the texts of a file, and their classes."""

    def __init__(self, path, tokenizer, config, labels, device):
        with open(path, encoding="utf-8") as file:
            self.rows = [json.loads(line) for line in file]
        self.device = device
        ids = [text[: config.get("max_tokens")] for text in self.encoded(tokenizer)]
        self.ids = [torch.tensor(text) for text in ids]
        self.lengths = torch.tensor([len(ids) for ids in self.ids])
        if not self.lengths.all():
            line = self.lengths.tolist().index(0) + 1
            sys.exit(f"{path}: line {line} has no token; torch refuses a length of 0")
        self.classes = torch.tensor([labels.index(row["label"]) for row in self.rows], device=device)

    def encoded(self, path):
        if all("ids" in row for row in self.rows):
            return [row["ids"] for row in self.rows]
        from tokenizers import Tokenizer

        encoded = Tokenizer.from_file(str(path)).encode_batch([row["text"] for row in self.rows])
        return [text.ids for text in encoded]

    def batch(self, rows):
        # The lengths stay: packing wants them on the CPU.
        ids = pad_sequence([self.ids[row] for row in rows], batch_first=True)
        return ids.to(self.device), self.lengths[rows]

    def bucketed(self, size, pool=50):
        """Shuffled batches of texts of similar length, for one epoch."""
        batches = []
        for part in torch.randperm(len(self.ids)).split(size * pool):
            part = part[self.lengths[part].argsort(stable=True)]
            batches += part.split(size)
        return [batches[n].tolist() for n in torch.randperm(len(batches))]


def train(model, texts, epochs, learning_rate, clip_norm):
    """The loss of each step over the batches of each epoch, and the seconds of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    model.train()
    losses, seconds = [], []
    for batches in epochs:
        started, of_epoch = time.perf_counter(), []
        for rows in batches:
            loss = model.loss(model(*texts.batch(rows)), texts.classes[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            of_epoch.append(loss.detach())
        # Here a device is waited for, and not at each step.
        losses += torch.stack(of_epoch).tolist()
        seconds.append(time.perf_counter() - started)
    return losses, seconds


@torch.inference_mode()
def predict(model, texts, size=64):
    model.eval()
    order = texts.lengths.argsort()
    parts = [model.probabilities(model(*texts.batch(rows))) for rows in order.split(size)]
    return torch.cat(parts)[order.argsort()].tolist()


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="model directory to start from")
    parser.add_argument("train", type=pathlib.Path, help="JSON lines with text and label")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--predict", type=pathlib.Path, help="as TRAIN; for the trained model")
    parser.add_argument("--batches", type=pathlib.Path, help="JSON: the rows of each step of an epoch")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32, help="texts in a batch without --batches")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--clip-norm", type=float)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of batches and dropout")
    parser.add_argument("--padded", action="store_true", help="not packed (one direction only)")
    return parser.parse_args()


def main(args):
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    if config["pooling"] != "last" or (args.padded and config["bidirectional"]):
        sys.exit(f"{args.model}: the twin pools the last state, and --padded reads in one direction")
    labels = [label for _, label in sorted(config["id2label"].items(), key=lambda kv: int(kv[0]))]
    tokenizer = args.model / "tokenizer.json"
    model = Classifier(config, args.padded).to(args.device, DTYPES[args.dtype])
    model.load_state_dict(load_file(args.model / "model.safetensors"))

    texts = Texts(args.train, tokenizer, config, labels, args.device)
    given = json.loads(args.batches.read_text(encoding="utf-8")) if args.batches else None
    started = time.perf_counter()
    epochs = (given or texts.bucketed(args.batch) for _ in range(args.epochs))
    losses, epoch_seconds = train(model, texts, epochs, args.learning_rate, args.clip_norm)
    seconds = time.perf_counter() - started
    tokens = int(texts.lengths.sum())

    args.out.mkdir(parents=True, exist_ok=True)
    write_jsonl(args.out / "losses.jsonl", [{"step": n, "loss": loss} for n, loss in enumerate(losses, 1)])
    for name in ["config.json", "tokenizer.json"]:
        shutil.copy(args.model / name, args.out / name)
    save_file(model.state_dict(), args.out / "model.safetensors", {"format": "pt"})
    if args.predict:
        texts = Texts(args.predict, tokenizer, config, labels, args.device)
        rows = []
        for row, probabilities in zip(texts.rows, predict(model, texts), strict=True):
            label = labels[probabilities.index(max(probabilities))]
            named = dict(zip(labels, probabilities, strict=True))
            rows.append({"text": row["text"], "label": label, "probabilities": named})
        write_jsonl(args.out / "predictions.jsonl", rows)
    said = {"steps": len(losses), "seconds": seconds, "torch": torch.__version__}
    said |= {"epoch_seconds": epoch_seconds, "tokens": tokens}
    if args.device.type == "cuda":
        said["peak_bytes"] = torch.cuda.max_memory_allocated(args.device)
    print(json.dumps(said))


if __name__ == "__main__":
    main(arguments())
