// The page of `cellway trace`: heat maps of units over steps, and one step of one unit
// worked out.
(() => {
  const data = recorded;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const find = (id) => document.getElementById(id);
  const { steps, tokens } = data;

  // What is looked at: a direction, the place of a unit in it, the place of a step; and
  // the steps that the maps show, from one to the other.
  const first = data.first ?? { direction: 0, unit: data.directions[0].units[0] };
  let here = data.directions[first.direction ?? 0];
  let unit = Math.max(0, here.units.indexOf(first.unit));
  let { at } = data;
  let rows = [];
  let span = [0, steps.length - 1];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const short = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);
  const label = (n) => `${steps[n]} ${tokens[n]}`;
  const isGap = (n) => n > 0 && steps[n] !== steps[n - 1] + 1;

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
    if (!rows.includes(unit)) [unit] = rows;
    options();
  }
  function options() {
    find("unit").replaceChildren(...rows.map((n) => new Option(here.units[n], n, false, n === unit)));
  }

  // Nine maps, units down and steps along.
  const panels = [
    ["f", "forget gate f", "gate"], ["i", "input gate i", "gate"], ["o", "output gate o", "gate"],
    ["g", "candidate C̃", "signed"], ["c", "cell state C", "signed"], ["h", "hidden state h", "signed"],
    ["highway", "open highway ∏f", "gate"], ["dc", "gradient ∂y/∂C", "signed"], ["dh", "gradient ∂y/∂h", "signed"],
  ];
  const LEVELS = 40;
  let maps = [];

  // From one color to another, as many as there are levels.
  function ramp(from, to) {
    const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
    const [a, b] = [parts(from), parts(to)];
    return Array.from({ length: LEVELS + 1 }, (_, level) => `rgb(${a.map((part, n) => Math.round(part + ((b[n] - part) * level) / LEVELS)).join(" ")})`);
  }

  function heat() {
    const canvas = find("heat");
    const width = canvas.clientWidth;
    const columns = width >= 860 ? 3 : width >= 560 ? 2 : 1;
    const lines = Math.ceil(panels.length / columns);
    const [title, left, space] = [24, 34, 14];
    const count = span[1] - span[0] + 1;
    const wide = (width - left - space * (columns - 1)) / columns;
    const room = wide / count;
    const high = Math.max(5, Math.min(15, 460 / rows.length));
    const tall = high * rows.length;
    const named = Math.max(1, Math.ceil(13 / room));
    const bottom = 12 + Math.min(90, 7 * Math.max(...tokens.map((token) => Math.min(14, token.length))));
    const height = lines * (tall + title + 8) + bottom;
    const [low, most] = [color("--low"), color("--high")];
    const scales = {
      gate: ramp(low, most), up: ramp(color("--middle"), color("--vermillion")), down: ramp(color("--middle"), color("--blue")),
    };
    const seam = room > 6 && high > 6 ? 1 : 0;
    maps = [];
    let svg = "";
    panels.forEach(([name, text, kind], n) => {
      const [column, line] = [n % columns, Math.floor(n / columns)];
      const [x, y] = [left + column * (wide + space), line * (tall + title + 8) + title];
      const values = rows.map((row) => Array.from({ length: count }, (_, t) => here.get(name, span[0] + t, row)));
      const largest = values.flat().reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0) || 1;
      const cells = new Map();
      values.forEach((row, r) => row.forEach((value, t) => {
        if (!Number.isFinite(value)) return;
        const share = kind === "gate" ? value : Math.abs(value) / largest;
        const scale = kind === "gate" ? "gate" : value < 0 ? "down" : "up";
        const fill = scales[scale][Math.round(Math.max(0, Math.min(1, share)) * LEVELS)];
        const cell = `M${(x + t * room).toFixed(1)} ${(y + r * high).toFixed(1)}h${(room - seam).toFixed(1)}v${(high - seam).toFixed(1)}h${(seam - room).toFixed(1)}z`;
        cells.set(fill, (cells.get(fill) ?? "") + cell);
      }));
      svg += `<text class="title" x="${x}" y="${y - 7}">${kind === "gate" ? text : `${text} (±${largest.toPrecision(3)})`}</text>`;
      for (const [fill, d] of cells) svg += `<path fill="${fill}" d="${d}"/>`;
      for (let t = 0; t < count; t++) {
        const middle = x + (t + 0.5) * room;
        if (t > 0 && isGap(span[0] + t)) svg += `<path d="M${x + t * room} ${y}v${tall}" stroke="var(--ink)" stroke-dasharray="1.5 3"/>`;
        if (n + columns >= panels.length && t % named === 0) {
          svg += `<text transform="translate(${middle + 4} ${y + tall + 6}) rotate(-90)" text-anchor="end">${escape(short(tokens[span[0] + t]))}</text>`;
        }
      }
      const every = Math.max(1, Math.ceil(12 / high));
      if (column === 0) {
        rows.forEach((row, r) => {
          if (r % every === 0) svg += `<text x="${x - 6}" y="${y + (r + 0.5) * high + 4}" text-anchor="end">${here.units[row]}</text>`;
        });
      }
      maps.push({ name, text, x, y, room, high, tall, count, values });
    });
    canvas.innerHTML = `<svg width="${width}" height="${height}">${svg}<g class="chosen"></g></svg><div class="tip" hidden></div>`;
    marks();
  }
  // Around the chosen cell, in each map.
  function marks() {
    const row = rows.indexOf(unit);
    const chosen = find("heat").querySelector(".chosen");
    const inside = row >= 0 && at >= span[0] && at <= span[1];
    chosen.innerHTML = !inside ? "" : maps.map(({ x, y, room, high }) =>
      `<rect x="${x + (at - span[0]) * room - 1}" y="${y + row * high - 1}" width="${room + 1}" height="${high + 1}" fill="none" stroke="var(--ink)" stroke-width="2"/>`).join("");
  }
  // The cell below the pointer.
  function cellAt(event) {
    const box = find("heat").getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    for (const map of maps) {
      const [t, r] = [Math.floor((left - map.x) / map.room), Math.floor((top - map.y) / map.high)];
      if (t >= 0 && t < map.count && r >= 0 && r < rows.length) return { map, t, r, left, top };
    }
    return null;
  }
  function point(event) {
    const tip = find("heat").querySelector(".tip");
    const cell = cellAt(event);
    tip.hidden = !cell;
    if (!cell) return;
    const value = cell.map.values[cell.r][cell.t];
    tip.textContent = `${label(span[0] + cell.t)}, unit ${here.units[rows[cell.r]]}: ${cell.map.text} = ${Number(value.toPrecision(5))}`;
    const fits = cell.left + 16 + tip.offsetWidth < find("heat").clientWidth;
    tip.style.left = `${Math.max(0, fits ? cell.left + 14 : cell.left - 14 - tip.offsetWidth)}px`;
    tip.style.top = `${cell.top + 16}px`;
  }
  // A press and a release at one cell choose it; at two cells of a map, all between them.
  let start = null;
  find("heat").addEventListener("pointerdown", (event) => { start = event.button === 0 ? cellAt(event) : null; });
  find("heat").addEventListener("pointerup", (event) => {
    const end = cellAt(event);
    if (!start || !end || start.map !== end.map) return;
    const sorted = (a, b) => [Math.min(a, b), Math.max(a, b)];
    const [[from, to], [top, bottom]] = [sorted(start.t, end.t), sorted(start.r, end.r)];
    start = null;
    if (from === to && top === bottom) return look(span[0] + from, rows[top]);
    if (event.pointerType === "touch") return;
    rows = rows.slice(top, bottom + 1);
    span = [span[0] + from, span[0] + to];
    if (!rows.includes(unit)) [unit] = rows;
    options();
    heat();
    look(Math.max(span[0], Math.min(span[1], at)), unit);
  });
  find("heat").addEventListener("pointermove", point);
  find("heat").addEventListener("pointerleave", () => { find("heat").querySelector(".tip").hidden = true; });
  find("heat").addEventListener("dblclick", all);
  function all() {
    span = [0, steps.length - 1];
    choose();
    heat();
    look(at, unit);
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
  const strokes = {
    dc: ["true ∂y/∂C", "--vermillion", ""], alone: ["highway alone: ∏f · ∂y/∂C at the end", "--blue", "6 4"],
    c: ["C", "--vermillion", ""], f: ["forget gate", "--blue", "1.5 3.5"],
  };
  function unitPlot() {
    const of = (name) => steps.map((_, t) => here.get(name, t, unit));
    const end = here.end[unit];
    const parts = [
      ["gradient", { dc: of("dc"), alone: of("highway").map((product) => product * end) }, 30, 150],
      ["state", { c: of("c"), f: of("f") }, 220, 150],
    ];
    const [wide, left] = [920, 64];
    const width = wide - left - 12;
    const x = (n) => left + ((n + 0.5) / steps.length) * width;
    const named = Math.max(1, Math.ceil(15 / (width / steps.length)));
    const bottom = 12 + Math.min(90, 7 * Math.max(...tokens.map((token) => Math.min(14, token.length))));
    let svg = "";
    let keys = "";
    parts.forEach(([title, lines, top, height], part) => {
      const all = Object.values(lines).flat().filter(Number.isFinite);
      let [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
      const space = (high - low) * 0.06 || 1e-6;
      [low, high] = [low - space, high + space];
      const y = (value) => top + height * (1 - (value - low) / (high - low));
      const grid = charts.ticks({ spacing: "linear", unit: "" }, low, high).map(([value, text]) =>
        `<path d="M${left} ${y(value)}L${left + width} ${y(value)}" stroke="var(--rule)"/><text x="${left - 8}" y="${y(value) + 4.1}" text-anchor="end" font-size="11.5" fill="var(--soft)">${text}</text>`);
      const edge = top + height;
      const times = steps.map((_, n) => (n % named !== 0 ? "" :
        `<path d="M${x(n)} ${edge}L${x(n)} ${edge + 4}" stroke="var(--soft)"/>` +
        `<text transform="translate(${x(n) + 4} ${edge + 8}) rotate(-90)" text-anchor="end" font-size="11.5" fill="var(--soft)">${part === 1 ? escape(short(tokens[n])) : ""}</text>`));
      const gaps = steps.map((_, n) => (isGap(n) ? `<path d="M${x(n - 0.5)} ${top}L${x(n - 0.5)} ${edge}" stroke="var(--soft)" stroke-dasharray="1.5 3.5"/>` : ""));
      const here = `<path d="M${x(at)} ${top}L${x(at)} ${edge}" stroke="var(--soft)"/>`;
      const zero = `<path d="M${left} ${y(0)}L${left + width} ${y(0)}" stroke="var(--soft)"/>`;
      const series = Object.entries(lines).map(([name, values], n) => {
        const [text, tone, dash] = strokes[name];
        const places = values.map((value, t) => [x(t).toFixed(1), y(value).toFixed(1)]);
        const mark = `<svg class="key-mark" width="26" height="12" aria-hidden="true"><path d="M0 6L26 6" stroke="var(${tone})" stroke-width="1.8" stroke-dasharray="${dash}"/></svg>`;
        keys += `<button type="button" class="series-key" data-panel="${part}" data-series="${n}" aria-pressed="true">${mark}${text}</button>`;
        const dots = steps.length > 60 ? "" : `<path d="${places.map(([left, top]) => `M${left} ${top}h.1`).join("")}" stroke="var(${tone})" stroke-width="6" stroke-linecap="round"/>`;
        return `<g class="series" data-series="${n}" data-at="${places.flat().join(" ")}" data-lead="${text} " data-says="${values.map((value) => Number(value.toPrecision(4))).join("\n")}">` +
          `<path d="M${places.map((place) => place.join(" ")).join("L")}" fill="none" stroke="var(${tone})" stroke-width="1.6" stroke-dasharray="${dash}"/>${dots}</g>`;
      });
      svg += `<g class="panel" data-frame="${left} ${top} ${width} ${height}" data-x="category -0.5 ${steps.length - 0.5} " data-y="linear ${low} ${high} " data-hover="column">` +
        `<g class="ticks-y">${grid.join("")}</g><g class="ticks-x"><path d="M${left} ${edge}L${left + width} ${edge}" stroke="var(--soft)"/>${times.join("")}</g>` +
        `<svg class="window" x="${left}" y="${top}" width="${width}" height="${height}" viewBox="${left} ${top} ${width} ${height}">${zero}${gaps.join("")}${here}${series.join("")}</svg></g>` +
        `<text x="${left}" y="${top - 14}" font-size="14" fill="var(--ink)">${title}</text>`;
    });
    const heads = steps.map((_, n) => `${Number(x(n).toFixed(1))}\t${escape(label(n))}`).join("\n");
    const figure = find("unit-plot");
    const canvas = figure.querySelector(".canvas");
    // A new element, so that nothing listens twice.
    const fresh = canvas.cloneNode(false);
    fresh.innerHTML = `<svg class="chart" viewBox="0 0 ${wide} ${372 + bottom}" data-heads="${heads}">${svg}</svg>`;
    canvas.replaceWith(fresh);
    figure.querySelector(".keys").innerHTML = keys;
    figure.plot.refresh();
  }

  function look(step, row) {
    at = step;
    unit = row;
    find("unit").value = unit;
    marks();
    work();
    unitPlot();
  }
  function redraw() {
    choose();
    heat();
    look(at, unit);
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
    document.querySelector("#over-time figure").plot.choose(data.directions.indexOf(here));
    redraw();
  };
  layer.addEventListener("change", turn);
  way.addEventListener("change", turn);
  for (const id of ["sort", "count", "filter"]) find(id).addEventListener("change", redraw);
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
      Home: [span[0], row], End: [span[1], row],
    };
    const to = moves[event.key];
    if (event.key === "Escape" || event.key === "0") all();
    if (!to) return;
    event.preventDefault();
    const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
    look(clamp(to[0], ...span), rows[clamp(to[1], 0, rows.length - 1)]);
  });
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    heat();
  });
  dark.addEventListener("change", heat);
  redraw();
})();
