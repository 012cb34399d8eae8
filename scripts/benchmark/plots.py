"""Pictures of the report. Without matplotlib there are none, and it says so."""

import math

# Of Okabe and Ito: told apart with every kind of colour vision.
COLOURS = {
    "ours": "#0072B2",
    "ours, packed once": "#332288",
    "ours, fused": "#56B4E9",
    "torch padded": "#D55E00",
    "torch packed": "#E69F00",
    "torch looped": "#CC79A7",
    "ONNX Runtime": "#009E73",
    "candle": "#000000",
}
MARKERS = {"ours": "o", "torch padded": "s", "torch packed": "^"}


class Pictures:
    """Draws into a folder; each method returns the line of Markdown that shows it."""

    def __init__(self, folder):
        self.folder, self.why_not = folder, None
        try:
            import matplotlib

            matplotlib.use("svg")
            import matplotlib.pyplot
        except ImportError as error:
            self.why_not = str(error)
            return
        self.plt = matplotlib.pyplot
        # The same picture has the same bytes; text stays text.
        settings = {"svg.hashsalt": "cellway", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
        matplotlib.rcParams.update(settings | {"axes.spines.right": False, "axes.axisbelow": True, "savefig.facecolor": "white"})

    def save(self, name, figure, words):
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / name, bbox_inches="tight", metadata={"Date": None})
        self.plt.close(figure)
        return f"![{words}]({self.folder.name}/{name})"

    def bars(self, name, results, words):
        if self.why_not or not results:
            return None
        peers = list(dict.fromkeys(peer for result in results for peer in result.ratios))
        height = sum(len(result.ratios) + 1 for result in results) * 0.16 + 1
        figure, axes = self.plt.subplots(figsize=(9, height))
        place, labels, named = 0.0, [], set()
        for result in results:
            start = place
            for peer in (peer for peer in peers if peer in result.ratios):
                ratio = result.ratios[peer]
                whiskers = [[ratio["median"] - ratio["low"]], [ratio["high"] - ratio["median"]]]
                label = None if peer in named else peer
                named.add(peer)
                axes.barh(place, ratio["median"], xerr=whiskers, height=0.85, color=COLOURS.get(peer), label=label, ecolor="#444444")
                axes.annotate(f" {ratio['median']:.2f}", (ratio["high"], place), va="center", fontsize=7)
                place += 1
            labels.append(((start + place - 1) / 2, result.case))
            place += 1
        axes.set_xscale("log")
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if tick <= 2 * max(r["median"] for x in results for r in x.ratios.values())]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.axvline(1, color="black", linewidth=1)
        axes.set_yticks([at for at, _ in labels], [text for _, text in labels], fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="x", color="#dddddd")
        axes.set_xlabel("times as long as ours (log); whiskers: quartiles of the rounds")
        axes.set_title(words, fontsize=10, pad=40)
        axes.legend(fontsize=7, ncol=4, loc="lower center", bbox_to_anchor=(0.5, 1))
        return self.save(name, figure, words)

    def panels(self, results):
        """Axes by (training, threads)."""
        keys = sorted({(result.facts["backward"], result.threads) for result in results})
        figure, axes = self.plt.subplots(1, len(keys), figsize=(4.2 * len(keys), 3.6), squeeze=False, sharey=True)
        for one, (backward, threads) in zip(axes[0], keys, strict=True):
            one.set_title(f"{'training' if backward else 'forward'}, threads {threads}", fontsize=9)
            one.grid(color="#dddddd")
        return figure, dict(zip(keys, axes[0], strict=True))

    def lines(self, results, at, value):
        figure, panels = self.panels(results)
        for key, axes in panels.items():
            of = sorted((r for r in results if (r.facts["backward"], r.threads) == key), key=at)
            for peer in MARKERS:
                points = [(at(r), value(r, r.figures[peer])) for r in of if peer in r.figures]
                if points:
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, marker=MARKERS[peer], color=COLOURS[peer], label=peer, markersize=4)
        next(iter(panels.values())).legend(fontsize=8)
        return figure, panels

    def curves(self, name, results):
        if self.why_not:
            return None
        figure, panels = self.lines(
            results, lambda r: r.facts["time"], lambda r, of: of["median"] / r.facts["tokens"] * 1e6
        )
        for axes in panels.values():
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("T, tokens of a text (log)")
        next(iter(panels.values())).set_ylabel("µs a token (log)")
        return self.save(name, figure, "Time of a token against the length of the texts")

    def tokens(self, name, results):
        if self.why_not:
            return None
        figure, panels = self.lines(results, lambda r: r.facts["tokens"], lambda r, of: of["median"] * 1e3)
        for axes in panels.values():
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("real tokens of the batch (log)")
        next(iter(panels.values())).set_ylabel("ms a batch (log)")
        return self.save(name, figure, "Time of a batch against its real tokens")

    def heat(self, name, results, threads, ratio):
        """Ratios over B and T, a panel for each H; 0.95 and 1 are edges of colours."""
        if self.why_not or not results:
            return None
        import matplotlib.colors

        edges = [0.5, 0.7, 0.85, 0.95, 1.0, 1.05, 1.2, 1.5, 2.0]
        colours = self.plt.get_cmap("PuOr", len(edges) + 1)
        norm = matplotlib.colors.BoundaryNorm(edges, colours.N, extend="both")
        facts = [result.facts for result in results]
        hidden, batches, times = (sorted({fact[key] for fact in facts}) for key in ("hidden", "batch", "time"))
        kinds = sorted({fact["backward"] for fact in facts})
        size = (2.1 * len(hidden) + 1.2, 2.2 * len(kinds) + 0.5)
        figure, axes = self.plt.subplots(len(kinds), len(hidden), figsize=size, squeeze=False, layout="constrained")
        for row, backward in enumerate(kinds):
            for column, width in enumerate(hidden):
                one = axes[row][column]
                values = [[math.nan] * len(times) for _ in batches]
                for result in results:
                    fact = result.facts
                    if (fact["backward"], fact["hidden"]) == (backward, width):
                        values[batches.index(fact["batch"])][times.index(fact["time"])] = ratio(result)
                shown = one.imshow(values, cmap=colours, norm=norm, aspect="auto", origin="lower")
                for y, line in enumerate(values):
                    for x, value in enumerate(line):
                        strong = not math.isnan(value) and (value < 0.7 or value > 1.5)
                        text = "–" if math.isnan(value) else f"{value:.2f}"
                        one.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if strong else "black")
                one.set_xticks(range(len(times)), times, fontsize=7)
                one.set_yticks(range(len(batches)), batches, fontsize=7)
                one.set_title(f"{'training' if backward else 'forward'}, H {width}", fontsize=8)
                if row == len(kinds) - 1:
                    one.set_xlabel("T")
                if column == 0:
                    one.set_ylabel("B")
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, ticks=edges)
        bar.set_label("fastest libtorch / ours; above 1 ours is faster")
        return self.save(name, figure, f"The fastest libtorch's time over ours by B, T and H, threads {threads}")

    def shares(self, name, results, threads, time=50):
        """The share of the matmul rate by H, a line for each B."""
        of = [result for result in results if result.facts["time"] == time]
        if self.why_not or not of:
            return None
        batches = sorted({result.facts["batch"] for result in of})
        kinds = sorted({result.facts["backward"] for result in of})
        figure, axes = self.plt.subplots(1, len(kinds), figsize=(4.5 * len(kinds), 3.6), squeeze=False, sharey=True)
        scale = self.plt.get_cmap("viridis", len(batches) + 1)
        for one, backward in zip(axes[0], kinds, strict=True):
            for number, batch in enumerate(batches):
                for contender, style in (("ours", "-"), ("torch padded", ":")):
                    points = sorted(
                        (result.facts["hidden"], result.facts["shares"][contender]["median"] * 100)
                        for result in of
                        if (result.facts["backward"], result.facts["batch"]) == (backward, batch)
                        and contender in result.facts["shares"]
                    )
                    label = f"{contender}, B {batch}"
                    one.plot(*zip(*points, strict=True), style, marker="o", markersize=3, color=scale(number), label=label)
            one.set_xscale("log", base=2)
            hidden = sorted({result.facts["hidden"] for result in of})
            one.set_xticks(hidden, hidden)
            one.set_xlabel("H")
            one.set_ylim(0, 105)
            one.grid(color="#dddddd")
            one.set_title("training" if backward else "forward", fontsize=9)
        axes[0][0].set_ylabel("% of the machine's matmul rate")
        axes[0][-1].legend(fontsize=6, ncol=1, loc="center left", bbox_to_anchor=(1, 0.5))
        words = f"Share of the matmul rate by H and B, T {time}, I 100, full lengths, threads {threads}"
        return self.save(name, figure, words)
