"""Scoring of the twin: a file of texts to a file of predictions, and one text at a time."""

import json
import time

import torch
from twin_texts import Texts, encode, tokenizer, write_jsonl

# What a warm process has seen before it is timed.
WARM_UP = 200


@torch.inference_mode()
def predict(model, texts, size=64):
    """Probabilities of each text, in batches of texts of similar length."""
    model.eval()
    order = texts.lengths.argsort()
    parts = [model.probabilities(model(*texts.batch(rows))) for rows in order.split(size)]
    return torch.cat(parts)[order.argsort()].tolist()


def predictions(texts, labels, rows):
    for text, probabilities in zip(texts, rows, strict=True):
        label = labels[probabilities.index(max(probabilities))]
        yield {"text": text, "label": label, "probabilities": dict(zip(labels, probabilities, strict=True))}


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def score(args, model, config, labels):
    """From --input or --text to --output or standard output; gives the seconds of each part."""
    clock = [time.perf_counter()]

    def part():
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    texts = [args.text] if args.text is not None else lines(args.input)
    ids = encode(tokenizer(args.model), texts, config)
    seconds = {"tokenize": part()}
    rows = predict(model, Texts(args.input or "--text", ids), args.batch)
    seconds["model"] = part()
    found = predictions(texts, labels, rows)
    if args.output:
        write_jsonl(args.output, found)
    else:
        print(*map(json.dumps, found), sep="\n")
    seconds["write"] = part()
    return {"texts": len(texts), "tokens": sum(map(len, ids)), "seconds": seconds}


@torch.inference_mode()
def latency(args, model, config, labels):
    """The time of one text after another: tokens, model, label."""
    model.eval()
    tokens = tokenizer(args.model)
    texts = lines(args.input)

    def answer(text):
        ids = torch.tensor([tokens.encode(text).ids[: config.get("max_tokens")]])
        probabilities = model.probabilities(model(ids, torch.tensor([ids.shape[1]])))[0].tolist()
        return labels[probabilities.index(max(probabilities))], probabilities

    for text in texts[:WARM_UP]:
        answer(text)
    seconds = []
    for n in range(args.latency):
        text = texts[(WARM_UP + n) % len(texts)]
        started = time.perf_counter()
        answer(text)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    # The least that so many of the texts do not exceed.
    p50, p99 = (seconds[-(-len(seconds) * percent // 100) - 1] for percent in (50, 99))
    return {"texts": len(seconds), "p50": p50, "p99": p99, "mean": sum(seconds) / len(seconds)}
