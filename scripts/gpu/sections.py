"""The sections of scripts/gpu-check. Each takes the lab and gives what was measured:
a dictionary for JSON, whose "tables" are for people. It raises Failed where
something does not hold.
"""

import json
import statistics
import sys

from lab import Failed, NotRun, read_jsonl, sha256, write_jsonl

# Of probabilities in f32, as docs/compare.md has it for values.
PREDICTIONS = {"cpu": 2e-6, "cuda": 1e-4}
# How far the accuracy of bf16 and f16 may lie below that of f32, and what f32 has
# to reach: 0.95 of the labels are right.
LESS_ACCURATE, LEARNT = 0.05, 0.8
# Of the optimizer steps of a comparison. Adam divides by the size of a gradient, so
# that in f32 the rounding of one that is nearly 0 becomes a whole step, in torch
# against itself as well.
STEPS = {
    "f32": ["--steps", "5", "--optimizer", "sgd", "--learning-rate", "0.1"],
    "f64": ["--steps", "5", "--optimizer", "adam"],
}


def doctor(lab):
    found = json.loads(lab.cellway("doctor", "--json").out)
    # Where it lies is of no interest elsewhere.
    found.pop("libtorch_folder", None)
    table = [["what", "found"]] + [[key, value] for key, value in found.items() if key != "advice"]
    lab.findings = found
    if lab.on_cuda and not found["cuda_devices"]:
        raise Failed("; ".join(found["advice"]) or "no CUDA device")
    return {"found": found, "tables": [table]}


def parity(lab):
    """A small model, trained on the CPU: torch against ours on the device."""
    config = lab.config(
        "small.toml",
        embedding={"size": 24},
        lstm={"hidden_size": 32, "num_layers": 2, "bidirectional": True},
        train={"epochs": 1, "learning_rate": 5e-3},
    )
    lab.cellway("train", config, "--device", "cpu", "--quiet", "--out", "small")
    compared, outside = [], []
    for dtype in ("f32", "f64"):
        for engine in ("plain", "fused"):
            for torch_device in dict.fromkeys(["cpu", lab.device]):
                row = {"dtype": dtype, "engine": engine, "torch on": torch_device}
                row |= compare(lab, dtype, engine, torch_device)
                compared.append(row)
                if row["verdict"] not in ("within", "identical"):
                    outside.append(f"{dtype} {engine}, torch on {torch_device}: {row['stage']}")
    headers = ["dtype", "engine", "torch on", "verdict", "of tolerance", "stage", "value", "gradient", "step"]
    tables = [[headers] + [[row[key] for key in headers] for row in compared]]

    said = {
        "cpu": predictions(lab, "cpu"),
        "device": predictions(lab, lab.device),
        "device, --tf32": predictions(lab, lab.device, "--tf32"),
    }
    bound = PREDICTIONS["cuda" if lab.on_cuda else "cpu"]
    headers = ["against cpu", "largest difference of a probability", "bound", "labels that differ"]
    predicted = [[*headers, "accuracy", "loss"]]
    for where, (rows, measured) in said.items():
        apart, labels = distance(said["cpu"][0], rows)
        bounded = where == "device"
        predicted.append([where, apart, bound if bounded else "-", labels, measured["accuracy"], measured["loss"]])
        if bounded and not apart <= bound:
            outside.append(f"probabilities differ by {apart:.1e}, more than {bound:.0e}")
    if outside:
        raise Failed("; ".join(outside), {"tables": [*tables, predicted]})
    return {"compared": compared, "tables": [*tables, predicted]}


def compare(lab, dtype, engine, torch_device):
    done = lab.cellway(
        *["compare", "small/model", "--json", "--quiet", "--gradients", *STEPS[dtype]],
        *["--dtype", dtype, "--engine", engine, "--python", sys.executable],
        *["--device", lab.device, "--torch-device", torch_device],
        code=None,
    )
    # 1: something is outside, and the answer is there.
    if done.code not in (0, 1):
        raise Failed(f"compare {dtype} {engine}, torch on {torch_device}: {done.last_words()}")
    found = json.loads(done.out)["comparison"]

    def largest(quantity):
        return max(stage["absolute"] for stage in found["stages"] if stage["quantity"] == quantity)

    # NaN has no share.
    shares = [stage["share"] for stage in found["stages"]]
    share = "-" if None in shares else max(shares)
    row = {"verdict": found["verdict"], "of tolerance": share, "stage": found.get("stage", "")}
    return row | {quantity: largest(quantity) for quantity in ("value", "gradient", "step")}


def predictions(lab, device, *flags):
    command = ["small/model", "--device", device, "--quiet", "--json", *flags]
    rows = lab.cellway("predict", *command, "--input", "test.jsonl").out.splitlines()
    measured = json.loads(lab.cellway("eval", *command, "test.jsonl").out)
    return [json.loads(row) for row in rows], measured


def distance(ours, theirs):
    pairs = list(zip(ours, theirs, strict=True))
    apart = max(
        abs(a["probabilities"][label] - b["probabilities"][label]) for a, b in pairs for label in a["probabilities"]
    )
    return apart, sum(a["label"] != b["label"] for a, b in pairs)


def trace(lab):
    """The inside of the cells and the gradients of a text: on the device and on the CPU."""
    text = read_jsonl(lab.folder / "test.jsonl")[0]["text"]
    names = ["i", "f", "g", "o", "c", "h", "grad_c", "grad_h", "highway", "grad/x", "integrated/x"]
    table, outside = [["dtype", "bound", *names]], []
    for dtype, bound in {"f32": PREDICTIONS["cuda"], "f64": 1e-10}.items():
        command = ["trace", "small/model", text, "--dtype", dtype, "--json", "--quiet", "--device"]
        ours, theirs = (json.loads(lab.cellway(*command, device).out)["trace"] for device in ("cpu", lab.device))
        apart = dict.fromkeys(names, 0.0)
        for path, array in ours["arrays"].items():
            name = path.rpartition("/")[2] if path.startswith("lstm/") else path
            if name in apart:
                apart[name] = max(apart[name], relative(array["values"], theirs["arrays"][path]["values"]))
        table.append([dtype, bound, *apart.values()])
        outside += [f"{dtype} {name}: {share:.1e}" for name, share in apart.items() if not share <= bound]
    if outside:
        raise Failed("; ".join(outside), {"tables": [table]})
    return {"tables": [table], "note": "The largest difference, relative to the largest value of its array."}


def relative(ours, theirs):
    ours, theirs = flat(ours), flat(theirs)
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return apart / max(map(abs, ours)) if apart else 0.0


def flat(values):
    return [inner for value in values for inner in flat(value)] if isinstance(values, list) else [values]


def dropout(lab):
    """Every form of dropout at once: some steps on the CPU and on the device, whose
    masks are the same."""
    config = lab.config(
        "dropout.toml",
        embedding={"size": 24, "word_dropout": 0.1, "dropout": 0.3},
        lstm={
            **{"hidden_size": 32, "num_layers": 2, "dropout": 0.3},
            "regularization": {
                **{"variational": True, "recurrent_dropout": 0.2, "candidate_dropout": 0.2},
                **{"weight_drop": 0.2, "zoneout_cell": 0.1, "zoneout_hidden": 0.1},
            },
        },
        head={"dropout": 0.5},
        train={"epochs": 1, "engine": "plain", "optimizer": "sgd", "limit_train_batches": 20},
    )
    losses = {}
    for name, device, seed in [("cpu", "cpu", 0), ("device", lab.device, 0), ("other masks", "cpu", 1)]:
        run = ["--set", f"seed={seed}", "--out", f"dropout-{name.replace(' ', '-')}"]
        done = lab.cellway("train", config, "--device", device, "--quiet", "--json", *run)
        losses[name] = json.loads(done.out)["epochs"][0]["train_loss"]
    table = [["run", "mean loss of 20 steps"], *([name, f"{loss:.7f}"] for name, loss in losses.items())]
    apart = abs(losses["cpu"] - losses["device"])
    bound = PREDICTIONS["cuda" if lab.on_cuda else "cpu"]
    if not apart <= bound:
        raise Failed(f"the losses differ by {apart:.1e}, more than {bound:.0e}", {"tables": [table]})
    return {"apart": apart, "tables": [table]}


def demo_sized(lab, name, pooling="all", dropout=0.5, **train):
    """As configs/demo.toml, with an embedding that starts at random."""
    return lab.config(
        name,
        embedding={"size": 50},
        lstm={"hidden_size": 128, "bidirectional": True, "forget_bias": 1.0, "orthogonal": True},
        head={"pooling": pooling, "dropout": dropout},
        train={"epochs": 3, "learning_rate": 5e-3, "clip_norm": 1.0, **train},
    )


def training(lab):
    """The demo's sizes in three precisions."""
    config = demo_sized(lab, "demo.toml")
    headers = ["precision", "train loss", "dev loss", "dev accuracy", "test accuracy", "test loss"]
    table = [[*headers, "skipped steps", "seconds"]]
    accuracy, wrong = {}, []
    for precision in ("f32", "bf16", "f16"):
        done = lab.cellway(
            *["train", config, "--device", lab.device, "--quiet", "--json"],
            *["--set", f"train.precision={precision}", "--out", f"demo-{precision}"],
            code=None,
        )
        if done.code != 0:
            wrong.append(f"{precision}: {done.last_words()}")
            table.append([precision, *["-"] * 6, done.seconds])
            continue
        results = json.loads(done.out)
        last, test = results["epochs"][-1], results["test"]
        accuracy[precision] = test["accuracy"]
        skipped = sum(epoch.get("skipped_steps", 0) for epoch in results["epochs"])
        of_dev = [last["dev"]["loss"], last["dev"]["accuracy"]]
        table.append([precision, last["train_loss"], *of_dev, test["accuracy"], test["loss"], skipped, done.seconds])
        least = LEARNT if precision == "f32" else accuracy.get("f32", LEARNT) - LESS_ACCURATE
        if test["accuracy"] < least:
            wrong.append(f"{precision}: test accuracy {test['accuracy']:.4f}, less than {least:.4f}")
    if wrong:
        raise Failed("; ".join(wrong), {"tables": [table]})
    return {"tables": [table]}


def resume(lab):
    """A run that SIGTERM stopped in its middle ends as one that was left alone."""
    config = demo_sized(lab, "resume.toml", snapshot_steps=5)
    command = ["train", config, "--device", lab.device, "--deterministic", "--quiet", "--out"]
    lab.cellway(*command, "whole")

    def in_second_epoch():
        folder = lab.folder / "stopped" / "snapshots"
        return folder.is_dir() and any(place.name >= "000002" for place in folder.iterdir())

    lab.cellway(*command, "stopped", code=130, stop_when=in_second_epoch)
    stopped_at = last_snapshot(lab, "stopped").name
    lab.cellway(*command, "stopped")
    table, differ = [["file", "SHA-256", "the same"]], []
    for name in ("model/model.safetensors", "snapshot/tensors.safetensors"):
        digests = [sha256(file_of(lab, run, name)) for run in ("whole", "stopped")]
        table.append([name, digests[0], "yes" if digests[0] == digests[1] else f"no: {digests[1]}"])
        if digests[0] != digests[1]:
            differ.append(name)
    if differ:
        raise Failed("other bytes in " + ", ".join(differ), {"tables": [table]})
    return {"stopped_at": stopped_at, "tables": [table], "note": f"Stopped at snapshot {stopped_at} (epoch, step)."}


def last_snapshot(lab, run):
    folder = lab.folder / run / "snapshots"
    return max(path for path in folder.iterdir() if not path.name.startswith("."))


def file_of(lab, run, name):
    kind, _, file = name.partition("/")
    return last_snapshot(lab, run) / file if kind == "snapshot" else lab.folder / run / name


def throughput(lab):
    """Tokens a second of training beside scripts/reference/twin.py: the same sizes, texts and
    batches of similar length; alternating. Of each run the median epoch behind the
    first, of each side the median run."""
    rounds = 3 if lab.quick else 5
    table = [["texts a batch", "cellway tokens/s", "twin tokens/s", "ratio", "cellway runs", "twin runs"]]
    for batch in batch_sizes(lab):
        ours, twins = [], []
        for n in range(rounds):
            done, model = train_ours(lab, batch, f"speed-{batch}-{n}")
            measured = [epoch["tokens_per_second"] for epoch in json.loads(done.out)["epochs"]]
            ours.append(statistics.median(measured[1:]))
            said = json.loads(train_twin(lab, batch, model).out)
            twins.append(statistics.median(said["tokens"] / seconds for seconds in said["epoch_seconds"][1:]))
        a, b = statistics.median(ours), statistics.median(twins)
        spread = [" ".join(f"{x:.0f}" for x in side) for side in (ours, twins)]
        table.append([batch, round(a), round(b), round(a / b, 3), *spread])
    note = "The twin is PyTorch as it is used with texts of different lengths: `nn.LSTM` over packed batches."
    return {"tables": [table], "note": note}


def batch_sizes(lab):
    return (32,) if lab.quick else (32, 256)


def epochs(lab):
    return 3 if lab.quick else 6


def train_ours(lab, batch, out, **more):
    """A run and its model: one state of the LSTM for each direction, no dropout."""
    settings = {"epochs": epochs(lab), "learning_rate": 1e-3, "batch": {"sentences": batch}}
    config = demo_sized(lab, f"{out}.toml", pooling="last", dropout=0.0, **settings)
    command = ["train", config, "--device", lab.device, "--quiet", "--json", "--out", out]
    return lab.cellway(*command, **more), lab.folder / out / "model"


def train_twin(lab, batch, model, **more):
    """The same from the weights of a model, by PyTorch."""
    with_ids(lab, model)
    return lab.python(
        *["twin.py", model, "ids.jsonl", "--out", "twin", "--device", lab.device],
        *["--epochs", epochs(lab), "--batch", batch, "--learning-rate", "1e-3", "--clip-norm", "1"],
        **more,
    )


def with_ids(lab, model):
    """The training texts with their ids, so that Python needs no tokenizer."""
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    rows = read_jsonl(lab.folder / "train.jsonl")
    for row in rows:
        row["ids"] = [vocabulary[word] for word in row["text"].split()]
    write_jsonl(lab.folder / "ids.jsonl", rows)


def memory(lab):
    """The most that runs as those of the throughput have."""
    table = [["texts a batch", "who", "peak RSS, MiB", "peak of the device, MiB", "of it tensors, MiB"]]
    lacking = False
    for batch in batch_sizes(lab):
        ours, model = train_ours(lab, batch, f"memory-{batch}", watch=True)
        twin = train_twin(lab, batch, model, watch=True)
        for who, done in (("cellway", ours), ("twin", twin)):
            lacking |= lab.on_cuda and done.device_mib is None
            on_device = "-" if done.device_mib is None else round(done.device_mib)
            said = json.loads(done.out)
            tensors = said.get("peak_bytes") if who == "twin" else said["epochs"][-1].get("peak_memory")
            tensors = "-" if tensors is None else round(tensors / 2**20)
            table.append([batch, who, round(done.rss_mib), on_device, tensors])
    if lacking:
        raise NotRun("nvidia-smi shows no memory of the device", {"tables": [table]})
    return {"tables": [table]}


SECTIONS = [
    ("doctor", "What is there", doctor),
    ("parity", "Ours on the device against torch, and against our CPU", parity),
    ("trace", "Gates, states and gradients of a text, against our CPU", trace),
    ("dropout", "Dropout has the same masks on the device", dropout),
    ("training", "Training of the demo's size, by precision", training),
    ("resume", "A stopped run goes on to the same bytes", resume),
    ("throughput", "Tokens a second, beside PyTorch", throughput),
    ("memory", "Peak memory of such runs", memory),
]
