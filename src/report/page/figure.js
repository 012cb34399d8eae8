"use strict";
// Figures of a page: says what a point is, goes from point to point by pointer and keys,
// hides series, zooms, and keeps a chart as a file. The charts themselves are drawn when
// the page is written; their attributes say what stands where.
const figures = (() => {
  const numbers = (text) => text.split(" ").map(Number);
  const lines = (text) => (text ? text.split("\n") : []);

  // Round numbers from `low` to `high`, each with its place and its words.
  function ticks({ spacing, unit }, low, high) {
    const linear = (from, to) => {
      const rough = (to - from) / 5;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough * 0.999999);
      const scale = unit === "%" ? 100 : 1;
      const decimals = Math.max(0, Math.min(9, -Math.floor(Math.log10(step * scale) + 1e-9)));
      const values = [];
      for (let n = Math.ceil(from / step - 1e-9); n * step <= to * (1 + 1e-9) + 1e-12 && values.length < 20; n++) values.push(n * step);
      const large = values.some((value) => Math.abs(value) >= 1e6 || (value !== 0 && step < 1e-6));
      return values.map((value) => [value, large ? value.toExponential(2) : (value * scale).toFixed(decimals) + (unit ? ` ${unit}` : "")]);
    };
    if (spacing !== "log") return linear(low, high);
    const digits = high - low < 2.5 ? [1, 2, 5] : [1];
    const every = Math.floor((high - low) / 8) + 1;
    const found = [];
    for (let power = Math.floor(low); power <= high; power++) {
      if (power % every !== 0) continue;
      for (const digit of digits) {
        const at = power + Math.log10(digit);
        const plain = Math.abs(power) <= 3;
        if (at >= low && at <= high) found.push([at, plain ? String(Number((digit * 10 ** power).toPrecision(1))) : `${digit}e${power}`]);
      }
    }
    if (found.length > 2) return found;
    return linear(10 ** low, 10 ** high).map(([value, text]) => [Math.log10(value), text]);
  }

  // What a chart's attributes say.
  function read(view) {
    const svg = view.querySelector("svg.chart");
    const axis = (text) => {
      const [spacing, low, high, unit] = text.split(" ");
      return { spacing, low: Number(low), high: Number(high), unit };
    };
    const panels = [...svg.querySelectorAll(".panel")].map((group) => {
      const [left, top, width, height] = numbers(group.dataset.frame);
      const inside = group.querySelector(".window");
      const series = [...inside.querySelectorAll(".series")].map((element) => {
        const at = element.dataset.at ? numbers(element.dataset.at) : [];
        const says = lines(element.dataset.says);
        const points = says.map((text, n) => ({ x: at[2 * n], y: at[2 * n + 1], text: (element.dataset.lead ?? "") + text }));
        return { element, points };
      });
      return {
        left, top, width, height, inside, series, hover: group.dataset.hover,
        x: axis(group.dataset.x), y: axis(group.dataset.y),
        ticks: { x: group.querySelector(".ticks-x"), y: group.querySelector(".ticks-y") },
      };
    });
    const heads = new Map(lines(svg.dataset.heads).map((line) => {
      const [x, ...text] = line.split("\t");
      return [Number(x), text.join(" ")];
    }));
    return { view, svg, panels, heads, canvas: view.querySelector(".canvas"), zoom: { x: [0, 1], y: [0, 1] }, at: -1 };
  }

  const hidden = (series) => series.element.classList.contains("off");
  const isZoomed = ({ zoom }) => zoom.x[0] > 0 || zoom.x[1] < 1 || zoom.y[0] > 0 || zoom.y[1] < 1;

  // Where a place of the whole chart is in what is zoomed into.
  function moved(chart, panel, x, y) {
    const within = (value, start, size, [low, high]) => start + (((value - start) / size - low) / (high - low)) * size;
    const vertical = panel.hover === "point" ? chart.zoom.y : [0, 1];
    return [within(x, panel.left, panel.width, chart.zoom.x), within(y, panel.top, panel.height, vertical)];
  }

  function redraw(chart) {
    const zoomed = isZoomed(chart);
    chart.view.classList.toggle("zoomed", zoomed);
    for (const panel of chart.panels) {
      if (panel.hover === "row") continue;
      for (const path of panel.inside.querySelectorAll("path")) {
        path.whole ??= path.getAttribute("d");
        path.setAttribute("d", path.whole.replace(/([ML])(-?[\d.]+) (-?[\d.]+)/g, (_, letter, x, y) => {
          const [left, top] = moved(chart, panel, Number(x), Number(y));
          return `${letter}${left.toFixed(2)} ${top.toFixed(2)}`;
        }));
      }
      for (const axis of ["x", "y"]) relabel(chart, panel, axis);
    }
  }

  function relabel(chart, panel, which) {
    const [group, axis] = [panel.ticks[which], panel[which]];
    group.whole ??= group.innerHTML;
    if (group.innerHTML !== group.whole) group.innerHTML = group.whole;
    const [from, to] = which === "x" ? chart.zoom.x : panel.hover === "point" ? [1 - chart.zoom.y[1], 1 - chart.zoom.y[0]] : [0, 1];
    if (from === 0 && to === 1) return;
    if (axis.spacing === "category") {
      // A path and a text for each name, behind the axis itself.
      const parts = [...group.children].slice(1);
      for (let n = 0; n < parts.length; n += 2) {
        const x = numbers(parts[n].getAttribute("d").slice(1).split("L")[0])[0];
        const by = moved(chart, panel, x, 0)[0] - x;
        const out = x + by < panel.left - 1 || x + by > panel.left + panel.width + 1;
        for (const part of parts.slice(n, n + 2)) {
          part.setAttribute("style", out ? "display:none" : `translate:${by}px`);
        }
      }
      return;
    }
    const span = axis.high - axis.low;
    const [low, high] = [axis.low + from * span, axis.low + to * span];
    const bottom = panel.top + panel.height;
    const right = panel.left + panel.width;
    let html = which === "x" ? `<path d="M${panel.left} ${bottom}L${right} ${bottom}" stroke="var(--soft)"/>` : "";
    for (const [value, text] of ticks(axis, low, high)) {
      const share = (value - low) / (high - low);
      if (which === "x") {
        const x = panel.left + share * panel.width;
        html += `<path d="M${x} ${bottom}L${x} ${bottom + 4}" stroke="var(--soft)"/><text x="${x}" y="${bottom + 17}" text-anchor="middle" font-size="11.5" fill="var(--soft)">${text}</text>`;
      } else {
        const y = bottom - share * panel.height;
        html += `<path d="M${panel.left} ${y}L${right} ${y}" stroke="var(--rule)"/><text x="${panel.left - 8}" y="${y + 4.1}" text-anchor="end" font-size="11.5" fill="var(--soft)">${text}</text>`;
      }
    }
    group.innerHTML = html;
  }

  // The points that can be seen, one after another as the keys go: each stop has those
  // that are shown together.
  function stops(chart) {
    const found = [];
    for (const panel of chart.panels) {
      for (const series of panel.series) {
        if (hidden(series)) continue;
        for (const point of series.points) {
          const [x, y] = moved(chart, panel, point.x, point.y);
          const inside = x >= panel.left - 1 && x <= panel.left + panel.width + 1 && y >= panel.top - 1 && y <= panel.top + panel.height + 1;
          if (inside) found.push({ panel, series, x, y, whole: point.x, text: point.text });
        }
      }
    }
    const hover = chart.panels[0]?.hover;
    if (hover === "point") return found.sort((a, b) => a.x - b.x || b.y - a.y).map((point) => [point]);
    const along = hover === "row" ? "y" : "x";
    const groups = new Map();
    for (const point of found) {
      const place = Math.round(point[along] * 10);
      groups.set(place, [...(groups.get(place) ?? []), point]);
    }
    return [...groups.keys()].sort((a, b) => a - b).map((place) => groups.get(place));
  }

  function attach(figure) {
    const spoken = figure.querySelector(".spoken");
    const select = figure.querySelector("label.choice select");
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.innerHTML = '<button type="button" hidden>reset zoom</button> <button type="button">save as SVG</button>';
    const [reset, save] = tools.children;
    figure.prepend(tools);
    figure.append(tip);
    let charts = [];
    const shown = () => charts.find((chart) => !chart.view.hidden);

    function leave(chart) {
      tip.hidden = true;
      chart.svg.querySelector(".cursor")?.remove();
    }

    function show(chart, points) {
      leave(chart);
      const head = chart.heads.get(points[0].whole) ?? "";
      const panels = new Set(points.map((point) => point.panel));
      let cursor = "";
      if (points[0].panel.hover === "column") {
        for (const { top, height } of panels) {
          cursor += `<path d="M${points[0].x} ${top}V${top + height}" stroke="var(--soft)"/>`;
        }
      }
      for (const { x, y } of points) {
        cursor += `<circle cx="${x}" cy="${y}" r="6" fill="none" stroke="var(--ink)" stroke-width="1.8"/>`;
      }
      chart.svg.insertAdjacentHTML("beforeend", `<g class="cursor">${cursor}</g>`);
      tip.replaceChildren();
      const line = (text, bold, mark) => {
        const row = document.createElement("div");
        if (mark) row.append(mark.cloneNode(true));
        const part = document.createElement(bold ? "b" : "span");
        part.textContent = text;
        row.append(part);
        tip.append(row);
      };
      if (head) line(head, true);
      for (const { panel, series, text } of points) {
        const key = `[data-panel="${chart.panels.indexOf(panel)}"][data-series="${series.element.dataset.series}"] svg`;
        const rows = text.split("\t");
        rows.forEach((row, n) => line(row, n === 0 && rows.length > 1, n === 0 ? chart.view.querySelector(`.series-key${key}`) : null));
      }
      spoken.textContent = (head ? `${head}: ` : "") + points.map(({ text }) => text.replaceAll("\t", "; ")).join("; ");
      tip.hidden = false;
      const box = chart.svg.getBoundingClientRect();
      const outer = figure.getBoundingClientRect();
      const scale = box.width / chart.svg.viewBox.baseVal.width;
      const x = box.left - outer.left + points[0].x * scale;
      const y = box.top - outer.top + Math.min(...points.map((point) => point.y)) * scale;
      const fits = x + 16 + tip.offsetWidth <= outer.width;
      tip.style.left = `${Math.max(0, fits ? x + 16 : x - 16 - tip.offsetWidth)}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight / 2)}px`;
    }

    // A place of the chart below the pointer.
    function place(chart, event) {
      const box = chart.svg.getBoundingClientRect();
      const scale = chart.svg.viewBox.baseVal.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }
    const panelAt = (chart, x, y) => chart.panels.find((panel) =>
      x >= panel.left - 12 && x <= panel.left + panel.width + 12 && y >= panel.top - 12 && y <= panel.top + panel.height + 12);

    function point(chart, event) {
      const [x, y] = place(chart, event);
      const panel = panelAt(chart, x, y);
      const all = stops(chart);
      const far = ([point]) => {
        if (panel.hover === "row") return Math.abs(point.y - y);
        return panel.hover === "column" ? Math.abs(point.x - x) : Math.hypot(point.x - x, point.y - y);
      };
      const limit = { row: 10, column: Math.max(20, panel?.width / all.length), point: 24 }[panel?.hover];
      const best = panel && all.length > 0 ? all.reduce((a, b) => (far(b) < far(a) ? b : a)) : null;
      if (!best || far(best) > limit) return leave(chart);
      chart.at = all.indexOf(best);
      show(chart, best);
    }

    function go(chart, to) {
      const all = stops(chart);
      if (all.length === 0) return;
      chart.at = Math.max(0, Math.min(all.length - 1, to(chart.at, all.length)));
      show(chart, all[chart.at]);
    }

    function zoom(chart, x, y) {
      const kept = ([low, high]) => {
        const size = Math.min(1, Math.max(1e-4, high - low));
        const start = Math.max(0, Math.min(1 - size, low));
        return [start, start + size];
      };
      chart.zoom = { x: kept(x), y: kept(y) };
      chart.at = -1;
      redraw(chart);
      leave(chart);
      reset.hidden = !isZoomed(chart);
    }
    // About the point that is shown, or the middle.
    function zoomBy(chart, factor) {
      if (chart.panels[0]?.hover === "row") return;
      const [at] = stops(chart)[chart.at] ?? [];
      const part = ([low, high], share) => [low + share * (high - low) - (share * (high - low)) / factor, low + share * (high - low) + ((1 - share) * (high - low)) / factor];
      const [x, y] = at ? [(at.x - at.panel.left) / at.panel.width, (at.y - at.panel.top) / at.panel.height] : [0.5, 0.5];
      zoom(chart, part(chart.zoom.x, x), chart.panels[0].hover === "point" ? part(chart.zoom.y, y) : [0, 1]);
    }

    function listen(chart) {
      const { canvas } = chart;
      let start = null;
      canvas.addEventListener("pointerdown", (event) => {
        const [x, y] = place(chart, event);
        const panel = panelAt(chart, x, y);
        if (event.pointerType !== "touch" && event.button === 0 && panel && panel.hover !== "row") start = { x, y, panel };
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!start) return point(chart, event);
        leave(chart);
        const [x, y] = place(chart, event);
        const { panel } = start;
        const [left, width] = [Math.min(x, start.x), Math.abs(x - start.x)];
        const [top, height] = panel.hover === "point" ? [Math.min(y, start.y), Math.abs(y - start.y)] : [panel.top, panel.height];
        chart.svg.insertAdjacentHTML("beforeend", `<g class="cursor"><rect x="${left}" y="${top}" width="${width}" height="${height}" fill="var(--soft)" fill-opacity="0.2"/></g>`);
      });
      canvas.addEventListener("pointerup", (event) => {
        if (!start) return;
        const [x, y] = place(chart, event);
        const { panel } = start;
        const part = (from, to, origin, size, [low, high]) => [from, to].sort((a, b) => a - b).map((value) => low + ((value - origin) / size) * (high - low));
        if (Math.abs(x - start.x) > 8) {
          const tall = panel.hover === "point" && Math.abs(y - start.y) > 8;
          zoom(chart, part(start.x, x, panel.left, panel.width, chart.zoom.x), tall ? part(start.y, y, panel.top, panel.height, chart.zoom.y) : chart.zoom.y);
        }
        start = null;
      });
      canvas.addEventListener("pointerleave", () => { start = null; leave(chart); });
      canvas.addEventListener("dblclick", () => zoom(chart, [0, 1], [0, 1]));
      canvas.addEventListener("blur", () => leave(chart));
      canvas.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const moves = {
          ArrowRight: (n) => n + 1, ArrowDown: (n) => n + 1, ArrowLeft: (n) => n - 1, ArrowUp: (n) => n - 1,
          Home: () => 0, End: (_, count) => count - 1,
        };
        const acts = {
          Escape: () => leave(chart), "+": () => zoomBy(chart, 2), "=": () => zoomBy(chart, 2),
          "-": () => zoomBy(chart, 0.5), 0: () => zoom(chart, [0, 1], [0, 1]),
        };
        if (moves[event.key]) go(chart, moves[event.key]);
        else if (acts[event.key]) acts[event.key]();
        else return;
        event.preventDefault();
      });
      const keys = [...chart.view.querySelectorAll(".series-key")];
      const press = (key, on) => {
        key.setAttribute("aria-pressed", String(on));
        const panel = chart.panels[key.dataset.panel];
        panel.series[key.dataset.series].element.classList.toggle("off", !on);
        leave(chart);
      };
      for (const key of keys) {
        key.addEventListener("click", () => press(key, key.getAttribute("aria-pressed") === "false"));
        // Alone, or with all others again.
        key.addEventListener("dblclick", () => {
          const alone = keys.every((other) => other === key || other.getAttribute("aria-pressed") === "false");
          keys.forEach((other) => press(other, alone || other === key));
        });
      }
    }

    // Reads the charts: at first, and where a script of the page has drawn one anew.
    function refresh() {
      charts = [...figure.querySelectorAll(".view")].filter((view) => view.querySelector("svg.chart")).map(read);
      charts.forEach(listen);
      reset.hidden = true;
    }
    function choose(index) {
      figure.querySelectorAll(".view").forEach((view, n) => { view.hidden = n !== Number(index); });
      charts.forEach(leave);
      reset.hidden = !isZoomed(shown());
    }
    reset.addEventListener("click", () => zoom(shown(), [0, 1], [0, 1]));
    save.addEventListener("click", () => keep(shown()));
    select?.addEventListener("change", () => choose(select.value));
    refresh();
    figure.plot = { refresh, choose };
  }

  // The chart as a file, in the colors in which it is seen.
  function keep({ svg, view }) {
    const copy = svg.cloneNode(true);
    const style = getComputedStyle(document.documentElement);
    copy.querySelectorAll(".cursor, .off").forEach((element) => element.remove());
    for (const element of copy.querySelectorAll("*")) {
      for (const { name, value } of [...element.attributes]) {
        if (name.startsWith("data-")) element.removeAttribute(name);
        else if (value.startsWith("var(")) element.setAttribute(name, style.getPropertyValue(value.slice(4, -1)).trim());
      }
    }
    const { width, height } = svg.viewBox.baseVal;
    copy.insertAdjacentHTML("afterbegin", `<rect width="${width}" height="${height}" fill="${style.getPropertyValue("--paper").trim()}"/>`);
    copy.removeAttribute("data-heads");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.setAttribute("font-family", "DejaVu Sans, Verdana, sans-serif");
    const link = document.createElement("a");
    link.download = `${document.title} ${view.dataset.name ?? ""}`.trim().replace(/[^\w.-]+/g, "-") + ".svg";
    const blob = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  document.querySelectorAll("figure.plot").forEach(attach);
  return { ticks };
})();
