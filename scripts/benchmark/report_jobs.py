"""What the report says of whole jobs: tables, and a picture of the ratios."""

from report import table

SECTION = "jobs"
PICTURE = "jobs.png"

TEXT = """Whole jobs by Cellway's command and by `scripts/reference/twin.py`, the same model in plain
PyTorch as a good user writes it. A process is timed from its start to its end, with reading,
tokenization and writing; who is measured inside of one is named. In brackets are quartiles
over the rounds; a ratio is how many times longer the other one took, in the same round."""

NOTES = """- **Training**: {batch} texts a batch, E = 100, H = 128, dropout 0.5, Adam, clipped, the demo's
  reviews. "A token" is the loop of steps alone, "whole process" has more on our side: ours makes
  the vocabulary, draws curves and keeps a snapshot. The twin packs or pads shuffled texts, or
  pads texts of similar length, which is what ours does; its batches are made in the loop, as the
  collate function of a DataLoader does it. Fused Adam is one operation for all parameters, of
  torch (`fused=True`) and of ours (`train.fused_update`), the default of neither on the CPU:
  hold those two against each other. Mean losses of the epoch, from other random weights
  and orders: {losses}.
- **Scoring**: labels are the same, but for probabilities of 1/2; the largest difference of a
  probability is {difference}. The twin sorts by length, pads and uses `torch.inference_mode`;
  of its time {parts} go into tokens, the model and writing.
- **One sentence** is timed inside of a process that has answered 200 others, from the text to
  the label.
- **Checkpoint and vectors** are timed inside of a process, the second call, the file in the
  page cache. `torch.load(mmap=True)` reads nothing until a tensor is used."""


def report(results, folder):
    """Paragraphs for the report; the picture goes into the folder."""
    found = results.of(SECTION)
    parts = ["## Whole jobs", TEXT]
    left_out = [item for item in results.left_out.values() if item["section"] == SECTION]
    if found:
        if draw(found, folder / PICTURE):
            parts.append(f"![How many times longer others take]({folder.name}/{PICTURE})")
        for threads in sorted({result.threads for result in found}):
            of = [result for result in found if result.threads == threads]
            name = "One thread" if threads == 1 else f"{threads} threads"
            head = ("job", "who", "time or rate", "times ours", "peak MiB")
            parts += [f"### {name}", table(head, [row for result in of for row in rows(result)])]
        parts.append(notes(found))
    parts += [f"Left out: {item['case']}, threads {item['threads']}: {item['why']}." for item in left_out]
    return parts


def rows(result):
    memory = result.facts.get("peak MiB", {})
    for name, figure in result.figures.items():
        ratio = result.ratios.get(name)
        yield (
            result.case if name == result.ours else "",
            name,
            shown(result, figure),
            f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else "1",
            f"{memory[name]:.0f}" if name in memory else "",
        )


def shown(result, figure):
    """A figure as people want it: tokens and sentences by the second, or a time."""
    middle, low, high = (figure[name] for name in ("median", "low", "high"))
    if result.case.endswith("a token"):
        return f"{1 / middle:,.0f} tokens/s [{1 / high:,.0f}, {1 / low:,.0f}]"
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if middle * s >= 0.1 or u == "µs")
    time = f"{middle * scale:.3g} {unit} [{low * scale:.3g}, {high * scale:.3g}]"
    if result.case.startswith("score"):
        time += f", {result.facts['sentences'] / middle:,.0f} sentences/s"
    return time


def notes(found):
    facts = {}
    for result in found:
        facts |= result.facts
    parts = facts.get("twin's parts", {})
    return NOTES.format(
        batch=32,
        losses=", ".join(f"{name} {loss:.3f}" for name, loss in facts.get("losses", {}).items()) or "not measured",
        difference=max(facts.get("largest difference", {}).values(), default="not measured"),
        parts=" + ".join(f"{seconds:.2f} s" for seconds in parts.values()) or "not measured",
    )


def draw(found, path):
    """Bars of the ratios to the peers, one picture; without matplotlib there is none."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    threads = sorted({result.threads for result in found})
    bars = {}
    for result in found:
        for peer, ratio in result.ratios.items():
            if not peer.startswith("cellway"):
                bars.setdefault((result.case, peer), {})[result.threads] = ratio
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.42 * len(bars)))
    height = 0.8 / len(threads)
    for n, count in enumerate(threads):
        at = [place + n * height for place, of in enumerate(bars.values()) if count in of]
        of = [of[count] for of in bars.values() if count in of]
        middle = [ratio["median"] for ratio in of]
        spread = [[r["median"] - r["low"] for r in of], [r["high"] - r["median"] for r in of]]
        label = "1 thread" if count == 1 else f"{count} threads"
        drawn = axes.barh(at, middle, height, xerr=spread, label=label, color=("#3b6ea5", "#e08e45")[n % 2], error_kw={"lw": 1})
        axes.bar_label(drawn, [f"{value:.1f}" for value in middle], padding=4, fontsize=8)
    axes.axvline(1, color="black", lw=1)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.set_yticks([n + 0.4 - height / 2 for n in range(len(bars))], [f"{case}\n{peer}" for case, peer in bars], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time of the other / time of cellway, native engine: right of 1 cellway is faster")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
