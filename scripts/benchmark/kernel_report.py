"""What the report says of kernels.py, all of it made of results."""

import plots
from report import table

# Whoever of these is fastest is libtorch at its best.
LIBTORCH = ("torch padded", "torch packed", "ours, fused")
SLOWER = 0.95

METHOD = """\
One LSTM layer in one direction, f32, weights and inputs the same numbers for all, and
each contender's output is checked against ours before it is timed. Each library runs in
a process of its own, with its own threads; contenders take turns, in an order that
changes from round to round, with a pause of 20 ms between processes. A turn is the
median of as many runs as fill 20 ms. Ratios are the median, with the quartiles in
brackets, of the ratios within a round: how many times longer than ours a peer took.
Forward is without gradients (torch: `inference_mode`). Training is forward and backward,
from a gradient of ones at every real token to the weights and the input; no loss, no
optimizer. The arithmetic of a run is 8·H·(I+H) FLOP for each real token, three times
that in training: padding and activations count nothing. The share of the matmul rate is
that over what the fastest matrix product of the machine reaches in the same rounds.

- ours: the native engine. ours, packed once: its form for reading, with weights
  packed once for many calls. ours, recomputing: of each token it keeps the states only,
  and computes the gates once more on the way back. ours, fused: libtorch's LSTM called
  from Rust.
- torch padded: `nn.LSTM` over the padded batch, which computes the padding too.
- torch packed: `pack_padded_sequence` with `enforce_sorted=False`, inside of the time.
- torch looped: `nn.LSTMCell` over the steps, in Python.
- ONNX Runtime: what `torch.onnx.export` makes of `nn.LSTM`; with its lengths where there are any.
- candle: `candle_nn`'s LSTM, padded, built with `target-cpu=native` and without MKL.
- freed memory kept: both processes with glibc's allocator set so that it gives no memory
  back to the system, as `cellway train` sets it; elsewhere neither has it so."""


def known(value):
    return value is not None


def with_spread(of):
    return f"{of['median']:.2f} [{of['low']:.2f}, {of['high']:.2f}]" if of else "–"


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def against_libtorch(result):
    """The fastest libtorch's time over ours."""
    found = [result.ratios[name]["median"] for name in LIBTORCH if name in result.ratios]
    return min(found) if found else None


def share(result, name="ours"):
    found = result.facts.get("shares", {}).get(name)
    return f"{found['median'] * 100:.0f} %" if found else "–"


def report(results, folder):
    parts = ["## The LSTM alone", METHOD]
    drawn = plots.Pictures(folder)
    for write in (named, lengths, grid):
        parts += write(results, drawn)
    if drawn.why_not:
        parts.append(f"Pictures are left out: {drawn.why_not}.")
    return parts if len(parts) > 2 else []


def peers_of(results):
    return list(dict.fromkeys(name for result in results for name in result.ratios))


def named(results, drawn):
    found = sorted(results.of("named"), key=lambda result: (result.facts["order"], result.case, result.threads))
    if not found:
        return []
    peers = peers_of(found)
    rows = [
        [
            result.case,
            result.threads,
            milliseconds(result.figures["ours"]["median"]),
            *[with_spread(result.ratios.get(name)) for name in peers],
            share(result),
        ]
        for result in found
    ]
    head = ["case", "threads", "ours", *[f"{name} / ours" for name in peers], "share of matmul rate"]
    parts = ["### Named cases", "Above 1 ours is faster.", table(head, rows)]
    fewest, most = min(result.rounds for result in found), max(result.rounds for result in found)
    parts.append(f"Rounds of a case: {fewest} to {most}. Of the larger sizes only real tokens count as arithmetic.")
    for result in found:
        if grown := result.facts.get("grown MiB"):
            all_of = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in grown.items())
            parts.append(
                f"Memory by which a process grows that has run a small one and then, once, "
                f"{result.case} (threads {result.threads}): {all_of}."
            )
    for threads in sorted({result.threads for result in found}):
        of = [result for result in found if result.threads == threads]
        picture = drawn.bars(f"named-{threads}.svg", of, f"Named cases, threads {threads}: a peer's time over ours")
        parts += filter(known, [picture])
    return parts


def lengths(results, drawn):
    parts = []
    found = sorted(results.of("length"), key=lambda result: result.facts["time"])
    names = ["ours", "torch padded", "torch packed"]
    if found:
        parts += ["### Longer texts", "Time of one token, B 32, I 100, H 128, all texts of length T."]
        parts += filter(known, [drawn.curves("length.svg", found)])
        rows = [
            [
                "training" if result.facts["backward"] else "forward",
                result.threads,
                result.facts["time"],
                *[per_token(result, name) for name in names],
            ]
            for result in sorted(found, key=lambda result: (result.facts["backward"], result.threads))
        ]
        parts.append(table(["", "threads", "T", *[f"{name}, ns a token" for name in names]], rows))
        parts += missing_of(found)
    found = sorted(results.of("tokens"), key=lambda r: (r.facts["backward"], r.threads, r.facts["tokens"]))
    if found:
        parts += [
            "### More real tokens in a batch of the same size",
            "One text of 500 tokens and 31 shorter ones: what a batch costs as its real tokens grow.",
        ]
        parts += filter(known, [drawn.tokens("tokens.svg", found)])
        rows = [
            [
                "training" if result.facts["backward"] else "forward",
                result.threads,
                f"{result.facts['tokens']} of {result.facts['steps']}",
                *[milliseconds(result.figures[name]["median"]) if name in result.figures else "–" for name in names],
            ]
            for result in found
        ]
        parts.append(table(["", "threads", "real tokens", *names], rows))
    return parts


def per_token(result, name):
    if name not in result.figures:
        return "–"
    return f"{result.figures[name]['median'] / result.facts['tokens'] * 1e9:.0f}"


def missing_of(found):
    """Why a contender is not there."""
    reasons = {}
    for result in found:
        for name, why in result.facts.get("missing", {}).items():
            reasons.setdefault((name, why), []).append(f"{result.case} (threads {result.threads})")
    return [f"Without {name} ({why}): {'; '.join(cases)}." for (name, why), cases in reasons.items()]


def grid(results, drawn):
    found = results.of("grid")
    if not found:
        return []
    parts = [
        "### The grid",
        "Each number is the time of the fastest libtorch (padded, packed, or called from Rust, as far as "
        "they were measured) over ours: above 1 ours is faster. Padded libtorch and ours are in every cell; "
        "libtorch called from Rust where a run is at most 0.1 TFLOP; packed where it is at most 0.03 TFLOP, "
        "I is 100 and T at most 200; ONNX Runtime and candle (forward) and, with T 20, the loop in Python where "
        "B is 1 or 32, T 20 or 200, I 100 and H at most 512. All of B, T and H are measured with I 100 and full "
        "lengths; I 50 and 300 with T 50, B 1, 32, 256 and H 64, 256, 1024; the proportions of real sentences, "
        "the longest of length T, with B 8 to 256, T 50 to 1000 and H 128, 512.",
    ]
    for threads in sorted({result.threads for result in found}):
        of = [result for result in found if result.threads == threads and full_hundred(result)]
        parts += filter(known, [drawn.heat(f"grid-{threads}.svg", of, threads, against_libtorch)])
        parts += filter(known, [drawn.shares(f"share-{threads}.svg", of, threads)])
    parts.append(slower(found))
    parts.append("All cells; in brackets our time and our share of the matmul rate:")
    parts += [*tables(found), *other_peers(found), *missing_of(found)]
    left = [item for item in results.left_out.values() if item["section"] == "grid"]
    if left:
        reasons = {}
        for item in left:
            reasons.setdefault(item["why"], []).append(f"{item['case']} (threads {item['threads']})")
        parts.append("Left out:")
        parts.append("\n".join(f"- {why}: {'; '.join(cases)}" for why, cases in reasons.items()))
    return parts


def full_hundred(result):
    return result.facts["input"] == 100 and not result.facts["real"]


def slower(found):
    of = [(result, ratio) for result in found if (ratio := against_libtorch(result)) is not None]
    slow = sorted((item for item in of if item[1] < SLOWER), key=lambda item: item[1])
    head = f"Of {len(of)} cells ours is slower than {SLOWER} of the fastest libtorch in {len(slow)}"
    faster = sum(ratio >= 1 for _, ratio in of)
    head += f", and at least as fast as it in {faster}."
    if not slow:
        return head
    rows = [[result.case, result.threads, f"{ratio:.2f}", result.facts.get("auto", "–")] for result, ratio in slow]
    return head + "\n\n" + table(["cell", "threads", "fastest libtorch / ours", "`auto` takes"], rows)


def tables(found):
    """One table for each of training, lengths and I: a row for each number of threads, H
    and B, a column for each T."""
    groups = {}
    for result in found:
        facts = result.facts
        key = facts["backward"], facts["real"], facts["input"]
        row = groups.setdefault(key, {}).setdefault((result.threads, facts["hidden"], facts["batch"]), {})
        row[facts["time"]] = result
    parts = []
    for (backward, real, input), rows in sorted(groups.items()):
        times = sorted({time for row in rows.values() for time in row})
        kind = "Training" if backward else "Forward"
        parts.append(f"{kind}, I {input}, {'lengths of real sentences' if real else 'full lengths'}:")
        lines = [
            [*key, *[one_cell(row.get(time)) for time in times]] for key, row in sorted(rows.items())
        ]
        parts.append(table(["threads", "H", "B", *[f"T {time}" for time in times]], lines))
    return parts


def one_cell(result):
    ratio = against_libtorch(result) if result else None
    if ratio is None:
        return "–"
    text = f"{ratio:.2f} ({milliseconds(result.figures['ours']['median'])}, {share(result)})"
    return f"**{text}**" if ratio < SLOWER else text


def other_peers(found):
    names = [name for name in peers_of(found) if name not in LIBTORCH]
    some = [result for result in found if any(name in result.ratios for name in names)]
    if not names:
        return []
    some.sort(key=lambda result: (result.facts["backward"], result.threads, result.facts["hidden"], result.facts["time"], result.facts["batch"]))
    rows = [
        [result.case, result.threads, milliseconds(result.figures["ours"]["median"])]
        + [with_spread(result.ratios.get(name)) for name in names]
        for result in some
    ]
    head = ["cell", "threads", "ours", *[f"{name} / ours" for name in names]]
    return ["The other peers:", table(head, rows)]
