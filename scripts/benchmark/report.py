"""The report for people: all of it is made of results.json."""


def cell(value):
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def machine(run):
    rates = run.get("rates", {})
    best = {threads: max(of.items(), key=lambda item: item[1]) for threads, of in rates.items()}
    mkl = {threads: max(rate for name, rate in of.items() if name.startswith("torch.mm")) for threads, of in rates.items()}
    rows = [*run["machine"].items(), *run["versions"].items()]
    for threads, (name, rate) in best.items():
        other = f" (by torch.mm, which is MKL's, {mkl[threads]:.0f})"
        rows.append((f"best matmul, f32, threads {threads}", f"{rate:.0f} GFLOP/s by {name}{other}"))
    rows.append(("measured", f"{run['date']}, {run['sizes']}"))
    return table(("what", "found"), rows)


def write(page, folder, results, modules):
    parts = ["# Benchmark", "Written by `scripts/bench`, which measures all of it again."]
    runs = sorted(results.runs.values(), key=lambda run: run["date"])
    if not runs:
        parts.append("Nothing is measured yet.")
    elif len(runs) == 1:
        parts.append(machine(runs[0]))
    else:
        parts.append(f"Measured in {len(runs)} runs.")
        parts += [machine(run) for run in runs]
    for module in modules:
        parts += module.report(results, folder)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
