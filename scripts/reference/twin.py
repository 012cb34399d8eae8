"""The twin of `cellway train` and `cellway predict`: the same model as plain PyTorch.

    python scripts/reference/twin.py MODEL TRAIN.jsonl --out DIR [--predict TEST.jsonl] ...
    python scripts/reference/twin.py --score MODEL --input TEXTS.txt --output PREDICTIONS.jsonl
    python scripts/reference/twin.py --score MODEL --text "A good film."
    python scripts/reference/twin.py MODEL --latency 2000 --input TEXTS.txt

MODEL is a cellway model directory: its weights are the start. What tests and
benchmarks hold cellway against: an embedding, nn.LSTM, the last state, a linear
layer, Adam. Into DIR come losses.jsonl (one line a step), the trained model as a
model directory, and predictions.jsonl for the texts of --predict; on standard output
a line of JSON with the time that the steps took, of each epoch too, and on CUDA the
most memory that tensors had. Lines that have "ids" beside "text" need no
`tokenizers` package.

--score reads one text a line and writes a prediction for each; --latency answers one
text after another in one process and says how long half of them, and 99 of 100, took
at the most. Both say their times in a line of JSON on standard error and output.
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

import torch
from safetensors.torch import save_file
from torch import nn
from twin_model import load
from twin_score import latency, predict, predictions, score
from twin_texts import BATCHINGS, Labelled, is_padded, write_jsonl

DTYPES = {"f32": torch.float32, "f64": torch.float64}


def train(model, texts, epochs, args):
    """The loss of each step over the batches of each epoch, and the seconds of each epoch."""
    fused = True if args.fused_adam else None
    optimizer = torch.optim.Adam(model.parameters(), lr=args.learning_rate, fused=fused)
    model.train()
    losses, seconds = [], []
    for batches in epochs:
        started, of_epoch = time.perf_counter(), []
        for rows in batches:
            loss = model.loss(model(*texts.batch(rows)), texts.classes[rows])
            optimizer.zero_grad()
            loss.backward()
            if args.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), args.clip_norm)
            optimizer.step()
            of_epoch.append(loss.detach())
        # Here a device is waited for, and not at each step.
        losses += torch.stack(of_epoch).tolist()
        seconds.append(time.perf_counter() - started)
    return losses, seconds


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="model directory to start from")
    parser.add_argument("train", type=pathlib.Path, nargs="?", help="JSON lines with text and label")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--predict", type=pathlib.Path, help="as TRAIN; for the trained model")
    parser.add_argument("--batches", type=pathlib.Path, help="JSON: the rows of each step of an epoch")
    parser.add_argument(
        "--batching",
        choices=BATCHINGS,
        default="bucketed-packed",
        help="; ".join(f"{name}: {what}" for name, what in BATCHINGS.items()),
    )
    parser.add_argument("--padded", action="store_true", help="not packed (one direction only)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, help="texts in a batch without --batches [32; scoring: 64]")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--clip-norm", type=float)
    parser.add_argument("--fused-adam", action="store_true", help="Adam(fused=True)")
    parser.add_argument("--fresh", action="store_true", help="start from weights as torch makes them")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of batches and dropout")
    parser.add_argument("--score", action="store_true", help="label --input or --text, and train nothing")
    parser.add_argument("--latency", type=int, metavar="N", help="time N texts of --input one by one")
    parser.add_argument("--input", type=pathlib.Path, help="a text a line")
    parser.add_argument("--text", help="one text instead of --input")
    parser.add_argument("--output", type=pathlib.Path, help="JSON lines [standard output]")
    args = parser.parse_args(given)
    if args.score or args.latency:
        if (args.input is None) == (args.text is None or bool(args.latency)):
            parser.error("--score takes --input or --text, --latency takes --input")
    elif args.train is None or args.out is None:
        parser.error("training takes TRAIN and --out")
    return args


def train_and_write(args):
    padded = args.padded or is_padded(args.batching)
    model, config, labels = load(args.model, padded, args.device, DTYPES[args.dtype], args.fresh)
    texts = Labelled(args.train, args.model, config, labels, args.device)
    given = json.loads(args.batches.read_text(encoding="utf-8")) if args.batches else None
    started = time.perf_counter()
    epochs = (given or texts.epoch(args.batching, args.batch or 32) for _ in range(args.epochs))
    losses, epoch_seconds = train(model, texts, epochs, args)
    seconds = time.perf_counter() - started
    tokens = int(texts.lengths.sum())

    args.out.mkdir(parents=True, exist_ok=True)
    write_jsonl(args.out / "losses.jsonl", [{"step": n, "loss": loss} for n, loss in enumerate(losses, 1)])
    for name in ["config.json", "tokenizer.json"]:
        shutil.copy(args.model / name, args.out / name)
    save_file(model.state_dict(), args.out / "model.safetensors", {"format": "pt"})
    if args.predict:
        texts = Labelled(args.predict, args.model, config, labels, args.device)
        names = [row["text"] for row in texts.rows]
        write_jsonl(args.out / "predictions.jsonl", predictions(names, labels, predict(model, texts)))
    said = {"steps": len(losses), "seconds": seconds, "torch": torch.__version__}
    said |= {"epoch_seconds": epoch_seconds, "tokens": tokens}
    said["tokens_per_second"] = args.epochs * tokens / seconds
    if args.device.type == "cuda":
        said["peak_bytes"] = torch.cuda.max_memory_allocated(args.device)
    print(json.dumps(said))


def main(args):
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    if not (args.score or args.latency):
        return train_and_write(args)
    args.batch = args.batch or 64
    # Padded is faster here: the texts of a batch are of nearly one length.
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    model, config, labels = load(args.model, not config["bidirectional"])
    if args.latency:
        print(json.dumps(latency(args, model, config, labels)))
    else:
        print(json.dumps(score(args, model, config, labels)), file=sys.stderr)


if __name__ == "__main__":
    main(arguments())
