// The page of `cellway trace`: heat maps of units over steps, and one step of one unit
// worked out.
(() => {
  const data = JSON.parse(document.getElementById("trace").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const find = (id) => document.getElementById(id);
  const { steps, tokens } = data;

  // [steps, units], row by row, little-endian as everywhere that has a browser.
  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }
  for (const direction of data.directions) {
    for (const [name, text] of Object.entries(direction.arrays)) {
      direction.arrays[name] = decode(text);
    }
    direction.get = (name, at, unit) => direction.arrays[name][at * direction.units.length + unit];
  }

  // What is looked at: a direction, the place of a unit in it, the place of a step.
  const first = data.first ?? { direction: 0, unit: data.directions[0].units[0] };
  let here = data.directions[first.direction ?? 0];
  let unit = Math.max(0, here.units.indexOf(first.unit));
  let at = steps.length - 1;
  if (data.path) {
    let most = -1;
    data.path.values.forEach((value, n) => {
      const before = n > 0 ? data.path.values[n - 1] : data.path.start;
      if (value !== null && before !== null && Math.abs(value - before) > most) {
        most = Math.abs(value - before);
        at = n;
      }
    });
  }
  let rows = [];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const short = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);
  const labels = steps.map((step, n) => `${step} ${escape(tokens[n])}`);
  const config = { displaylogo: false, responsive: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const sequential = [[0, "#00224e"], [0.25, "#434e6c"], [0.5, "#7d7c78"], [0.75, "#bcae6c"], [1, "#fee838"]];
  const diverging = () => [[0, colour("--down")], [0.5, colour("--middle")], [1, colour("--up")]];

  // The axis of steps, with tokens where there is room for them.
  function timeAxis(width) {
    const room = width / steps.length;
    const every = Math.max(1, Math.ceil(16 / room));
    const shown = labels.filter((_, n) => n % every === 0);
    return {
      type: "category", categoryorder: "array", categoryarray: labels,
      range: [-0.5, steps.length - 0.5], tickmode: "array", tickvals: shown,
      ticktext: tokens.filter((_, n) => n % every === 0).map((token) => escape(short(token))),
      tickangle: -50, showgrid: false, zeroline: false,
    };
  }
  // Where steps are left out.
  function gaps(more) {
    const shapes = [];
    steps.forEach((step, n) => {
      if (n > 0 && step !== steps[n - 1] + 1) {
        shapes.push({
          type: "line", x0: n - 0.5, x1: n - 0.5, y0: 0, y1: 1,
          line: { color: colour("--soft"), width: 1, dash: "dot" }, ...more,
        });
      }
    });
    return shapes;
  }

  function overTime() {
    const canvas = find("over-time");
    const width = canvas.clientWidth;
    const height = data.path ? 560 : 420;
    canvas.style.height = `${height}px`;
    const lines = [
      ["∂y/∂C", here.norms.c, "--down", "solid", "circle"],
      ["∂y/∂h", here.norms.h, "--up", "dash", "square"],
      ["∂y/∂x", data.norms, "--ink", "dot", "diamond"],
    ];
    const mode = steps.length > 60 ? "lines" : "lines+markers";
    const traces = [];
    if (data.path) {
      traces.push({
        x: labels, y: data.path.values, mode, name: "probability", xaxis: "x", yaxis: "y",
        line: { color: colour("--ink"), width: 1.5 }, showlegend: false,
        hovertemplate: "%{x}<br>probability %{y:.4f}<extra></extra>",
      });
    }
    traces.push({
      type: "bar", x: labels, y: data.integrated, xaxis: "x", yaxis: "y2", showlegend: false,
      marker: { color: data.integrated.map((share) => colour(share < 0 ? "--down" : "--up")) },
      hovertemplate: "%{x}<br>integrated gradient %{y:.4f}<extra></extra>",
    });
    for (const [name, values, line, dash, symbol] of lines) {
      traces.push({
        x: labels, y: values, mode, name: `norm of ${name}`, xaxis: "x", yaxis: "y3",
        line: { color: colour(line), width: 1.5, dash }, marker: { symbol },
        hovertemplate: `%{x}<br>norm of ${name} %{y:.4g}<extra></extra>`,
      });
    }
    const domains = data.path ? [[0.72, 1], [0.4, 0.66], [0, 0.34]] : [null, [0.55, 1], [0, 0.45]];
    const axis = (domain, title, more) => ({ domain, title: { text: title }, automargin: true, ...more });
    const layout = {
      template: pageTemplate(), height, margin: { l: 60, r: 10, t: 25, b: 70 },
      xaxis: { ...timeAxis(width - 70), anchor: "y3" },
      yaxis2: axis(domains[1], "integrated", { zeroline: true, zerolinecolor: colour("--soft") }),
      yaxis3: axis(domains[2], "norm", { rangemode: "tozero" }),
      legend: { orientation: "h", x: 0, y: data.path ? 0.345 : 0.455, yanchor: "bottom" },
      shapes: gaps({ yref: "paper" }), dragmode: "zoom",
    };
    if (data.path) {
      layout.yaxis = axis(domains[0], "probability", { range: [-0.03, 1.03] });
      layout.shapes.push({
        type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: data.path.start, y1: data.path.start,
        line: { color: colour("--soft"), width: 1, dash: "dash" },
      });
      layout.annotations = [{
        xref: "paper", x: 1, xanchor: "right", yref: "y", y: data.path.start, yanchor: "bottom",
        text: "of no token", showarrow: false, font: { color: colour("--soft"), size: 11 },
      }];
    }
    Plotly.newPlot(canvas, traces, layout, config);
  }

  // Sorting and filtering.
  function mean(of) {
    return here.units.map((_, n) => {
      let sum = 0;
      for (let t = 0; t < steps.length; t++) sum += of(t, n);
      return sum / steps.length;
    });
  }
  const orders = {
    decisive: () => here.decisive,
    number: () => here.units.map((number) => -number),
    cell: () => mean((t, n) => Math.abs(here.get("c", t, n))),
    forget: () => mean((t, n) => here.get("f", t, n)),
    gradient: () => mean((t, n) => Math.abs(here.get("dc", t, n))),
  };
  function filtered() {
    const text = find("filter").value.trim();
    find("filter-says").textContent = "";
    if (text === "") return null;
    const wanted = new Set();
    for (const part of text.split(/[\s,;]+/).filter(Boolean)) {
      const range = /^(\d+)(?:-(\d+))?$/.exec(part);
      if (!range) {
        find("filter-says").textContent = `${part} is no unit: write numbers or ranges, such as 3, 20-30`;
        return null;
      }
      const [from, to] = [Number(range[1]), Number(range[2] ?? range[1])];
      here.units.forEach((number, n) => number >= from && number <= to && wanted.add(n));
    }
    if (wanted.size === 0) {
      find("filter-says").textContent = "the page has none of these units";
      return null;
    }
    return wanted;
  }
  function choose() {
    const key = orders[find("sort").value]();
    const wanted = filtered();
    const order = here.units.map((_, n) => n).filter((n) => !wanted || wanted.has(n));
    order.sort((a, b) => key[b] - key[a] || a - b);
    const most = Number(find("count").value);
    rows = most > 0 && !wanted ? order.slice(0, most) : order;
    if (!rows.includes(unit)) unit = rows[0];
    const select = find("unit");
    select.replaceChildren(...rows.map((n) => new Option(here.units[n], n, false, n === unit)));
  }

  // Nine maps, units down and steps along.
  const panels = [
    ["f", "forget gate f", "gate"], ["i", "input gate i", "gate"], ["o", "output gate o", "gate"],
    ["g", "candidate C̃", "signed"], ["c", "cell state C", "signed"], ["h", "hidden state h", "signed"],
    ["highway", "open highway ∏f", "gate"], ["dc", "gradient ∂y/∂C", "signed"], ["dh", "gradient ∂y/∂h", "signed"],
  ];
  let columns = 3;
  function heat() {
    const canvas = find("heat");
    const width = canvas.clientWidth;
    columns = width >= 860 ? 3 : width >= 560 ? 2 : 1;
    const lines = Math.ceil(panels.length / columns);
    const tall = Math.max(90, Math.min(520, rows.length * 13));
    const [title, bottom, left] = [26, 74, 44];
    const height = lines * (tall + title) + bottom;
    const inside = height - bottom;
    const wide = (width - left - 8) / columns;
    const names = rows.map((n) => String(here.units[n]));
    const traces = [];
    const layout = {
      template: pageTemplate(), height, margin: { l: left, r: 8, t: 0, b: bottom },
      annotations: [], dragmode: "zoom", showlegend: false,
    };
    panels.forEach(([name, label, kind], n) => {
      const [column, line] = [n % columns, Math.floor(n / columns)];
      const id = n === 0 ? "" : n + 1;
      const z = rows.map((row) => steps.map((_, t) => here.get(name, t, row)));
      let most = 1;
      if (kind === "signed") {
        most = z.flat().reduce((most, value) => Math.max(most, Number.isFinite(value) ? Math.abs(value) : 0), 0) || 1;
      }
      const low = kind === "gate" ? 0 : -most;
      traces.push({
        type: "heatmap", z, x: labels, y: names, xaxis: `x${id}`, yaxis: `y${id}`, zmin: low, zmax: most,
        colorscale: kind === "gate" ? sequential : diverging(), showscale: false, xgap: steps.length > 60 ? 0 : 1,
        ygap: rows.length > 60 ? 0 : 1,
        hovertemplate: `%{x}, unit %{y}<br>${label} = %{z:.5g}<extra></extra>`,
      });
      const from = (column * wide) / (width - left - 8);
      const to = ((column + 1) * wide - 10) / (width - left - 8);
      const top = 1 - (line * (tall + title) + title) / inside;
      const low2 = Math.max(0, 1 - ((line + 1) * (tall + title)) / inside);
      const lowest = n + columns >= panels.length;
      layout[`xaxis${id}`] = {
        ...timeAxis(wide - 10), domain: [from, to], anchor: `y${id}`, showticklabels: lowest,
        ...(n > 0 && { matches: "x" }),
      };
      layout[`yaxis${id}`] = {
        type: "category", categoryorder: "array", categoryarray: names, range: [rows.length - 0.5, -0.5],
        domain: [low2, top], anchor: `x${id}`, showgrid: false, zeroline: false,
        showticklabels: column === 0, ticks: "", dtick: Math.max(1, Math.ceil((12 * rows.length) / tall)),
        ...(n > 0 && { matches: "y" }),
      };
      layout.annotations.push({
        xref: "paper", yref: "paper", x: from, y: top, xanchor: "left", yanchor: "bottom", showarrow: false,
        text: kind === "gate" ? label : `${label} (±${most.toPrecision(3)})`, font: { size: 12 },
      });
    });
    layout.shapes = marks();
    canvas.style.height = `${height}px`;
    Plotly.newPlot(canvas, traces, layout, config);
    canvas.on("plotly_click", (event) => {
      const [row, column] = event.points[0].pointIndex ?? event.points[0].pointNumber;
      look(column, rows[row]);
    });
  }
  // Around the chosen cell, in each map.
  function marks() {
    const row = rows.indexOf(unit);
    const around = panels.map((_, n) => {
      const id = n === 0 ? "" : n + 1;
      return {
        type: "rect", xref: `x${id}`, yref: `y${id}`, x0: at - 0.5, x1: at + 0.5, y0: row - 0.5, y1: row + 0.5,
        line: { color: colour("--ink"), width: 2 },
      };
    });
    return panels.flatMap((_, n) => {
      const id = n === 0 ? "" : n + 1;
      return gaps({ xref: `x${id}`, yref: `y${id} domain` });
    }).concat(around);
  }

  // The equations of the chosen step and unit, with their numbers.
  const number = (value) => {
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e4) ? size.toExponential(3) : size.toFixed(4);
    return (value < 0 ? "−" : "") + text;
  };
  const term = (value) => (value < 0 ? `(${number(value)})` : number(value));
  function work() {
    const get = (name) => here.get(name, at, unit);
    const t = steps[at];
    const start = here.reverse ? t === data.time - 1 : t === 0;
    const before = start ? "start" : t + (here.reverse ? 1 : -1);
    const sub = (letter, index) => `${letter}<sub>${index}</sub>`;
    const gate = (letter, weight, squash, x, h, name) => {
      const [ofInput, ofHidden] = [get(x), get(h)];
      return `${sub(letter, t)} = ${squash}(W<sub>${weight}</sub>·${sub("x", t)} + U<sub>${weight}</sub>·${sub("h", before)} + b<sub>${weight}</sub>)` +
        ` = ${squash}(${number(ofInput)} + ${term(ofHidden)}) = ${squash}(${number(ofInput + ofHidden)}) = <strong>${number(get(name))}</strong>`;
    };
    const [f, i, g, o, c, was] = ["f", "i", "g", "o", "c", "before"].map(get);
    const hidden = here.projects
      ? `before the projection: ${sub("o", t)} · tanh(${sub("C", t)}) = ${number(o)} · ${term(Math.tanh(c))} = <strong>${number(o * Math.tanh(c))}</strong>; ${sub("h", t)} is W<sub>hr</sub> times these numbers of all units`
      : `${sub("h", t)} = ${sub("o", t)} · tanh(${sub("C", t)}) = ${number(o)} · tanh(${number(c)}) = ${number(o)} · ${term(Math.tanh(c))} = <strong>${number(get("h"))}</strong>`;
    const end = here.end[unit];
    const last = here.reverse ? 0 : data.time - 1;
    const lines = [
      ["1 forget gate", gate("f", "f", "σ", "xf", "hf", "f")],
      ["2 input gate", gate("i", "i", "σ", "xi", "hi", "i")],
      ["3 candidate", gate("C̃", "C", "tanh", "xg", "hg", "g")],
      ["4 cell state", `${sub("C", t)} = ${sub("f", t)} · ${sub("C", before)} + ${sub("i", t)} · ${sub("C̃", t)} = ${number(f)} · ${term(was)} + ${number(i)} · ${term(g)} = ${number(f * was)} + ${term(i * g)} = <strong>${number(c)}</strong>`],
      ["5 output gate", gate("o", "o", "σ", "xo", "ho", "o")],
      ["and hidden state", hidden],
      ["gradient", `∂y/∂${sub("C", t)} = <strong>${number(get("dc"))}</strong>; on the highway alone ∏f · ∂y/∂${sub("C", last)} = ${number(get("highway"))} · ${term(end)} = ${number(get("highway") * end)}` +
        (here.projects ? "" : `; ∂y/∂${sub("h", t)} = ${number(get("dh"))}`)],
    ];
    const name = `layer ${here.layer} ${here.reverse ? "backward" : "forward"}, unit ${here.units[unit]}, step ${t}: `;
    const list = lines.map(([what, equation]) => `<li><span class="what">${what}</span> <span class="equation">${equation}</span></li>`);
    find("worked").innerHTML = `<h3>${name}${escape(tokens[at])}</h3>` +
      `<ol>${list.join("")}</ol><p class="note">In the sums: the part from the input with its bias, then the part from the hidden state with its own. ${start ? "This step is the first that is read: h and C start at 0." : ""}</p>`;
    find("earlier").disabled = at === 0;
    find("later").disabled = at === steps.length - 1;
    for (const token of document.querySelectorAll(".token")) {
      token.setAttribute("aria-pressed", String(Number(token.dataset.at) === at));
    }
  }

  // Beside each other: what the highway alone would carry, and the true gradient.
  function unitPlot() {
    const canvas = find("unit-plot");
    const of = (name) => steps.map((_, t) => here.get(name, t, unit));
    const end = here.end[unit];
    const line = (name, y, tone, dash, symbol, axis) => ({
      x: labels, y, name, mode: steps.length > 60 ? "lines" : "lines+markers", yaxis: axis,
      line: { color: colour(tone), width: 1.5, dash }, marker: { symbol },
      hovertemplate: `%{x}<br>${name} %{y:.4g}<extra></extra>`,
    });
    const traces = [
      line("true ∂y/∂C", of("dc"), "--up", "solid", "circle", "y"),
      line("highway alone: ∏f · ∂y/∂C at the end", of("highway").map((product) => product * end), "--down", "dash", "square", "y"),
      line("C", of("c"), "--ink", "solid", "circle", "y2"),
      line("forget gate", of("f"), "--soft", "dot", "diamond", "y2"),
    ];
    const height = 460;
    canvas.style.height = `${height}px`;
    Plotly.newPlot(canvas, traces, {
      template: pageTemplate(), height, margin: { l: 60, r: 10, t: 40, b: 70 },
      xaxis: { ...timeAxis(canvas.clientWidth - 70), anchor: "y2" },
      yaxis: { domain: [0.54, 1], title: { text: "gradient" }, automargin: true, zeroline: true, zerolinecolor: colour("--soft") },
      yaxis2: { domain: [0, 0.46], title: { text: "state" }, automargin: true, zeroline: true, zerolinecolor: colour("--soft") },
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom" },
      shapes: gaps({ yref: "paper" }).concat([{
        type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1,
        line: { color: colour("--soft"), width: 1 },
      }]),
    }, config);
  }

  function look(step, row) {
    at = step;
    unit = row;
    find("unit").value = unit;
    Plotly.relayout(find("heat"), { shapes: marks() });
    work();
    unitPlot();
  }
  function redraw() {
    choose();
    overTime();
    heat();
    work();
    unitPlot();
  }

  const unique = (values) => [...new Set(values)];
  const wayOf = (direction) => (direction.reverse ? "backward" : "forward");
  const [layer, way] = [find("layer"), find("direction")];
  layer.replaceChildren(...unique(data.directions.map((one) => one.layer)).map((value) => new Option(value, value)));
  way.replaceChildren(...unique(data.directions.map(wayOf)).map((value) => new Option(value, value)));
  [layer.value, way.value] = [here.layer, wayOf(here)];
  find("filter").value = data.named.join(", ");
  const turn = () => {
    const number = here.units[unit];
    here = data.directions.find((one) => one.layer === Number(layer.value) && wayOf(one) === way.value) ?? here;
    unit = Math.max(0, here.units.indexOf(number));
    redraw();
  };
  layer.addEventListener("change", turn);
  way.addEventListener("change", turn);
  for (const id of ["sort", "count", "filter"]) {
    find(id).addEventListener("change", () => {
      choose();
      heat();
      look(at, unit);
    });
  }
  find("unit").addEventListener("change", (event) => look(at, Number(event.target.value)));
  find("earlier").addEventListener("click", () => at > 0 && look(at - 1, unit));
  find("later").addEventListener("click", () => at < steps.length - 1 && look(at + 1, unit));
  for (const token of document.querySelectorAll(".token")) {
    token.addEventListener("click", () => look(Number(token.dataset.at), unit));
  }
  find("heat").addEventListener("keydown", (event) => {
    const row = rows.indexOf(unit);
    const moves = {
      ArrowRight: [at + 1, row], ArrowLeft: [at - 1, row], ArrowDown: [at, row + 1], ArrowUp: [at, row - 1],
      Home: [0, row], End: [steps.length - 1, row],
    };
    const to = moves[event.key];
    if (!to) return;
    event.preventDefault();
    const clamp = (value, most) => Math.max(0, Math.min(most, value));
    look(clamp(to[0], steps.length - 1), rows[clamp(to[1], rows.length - 1)]);
  });
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    redraw();
  });
  dark.addEventListener("change", redraw);
  redraw();
})();
