"use strict";
// What a chart of a page says by its attributes: points, axes, and where they are when a
// part is zoomed into.
const charts = (() => {
  const numbers = (text) => text.split(" ").map(Number);
  const lines = (text) => (text ? text.split("\n") : []);

  // The words of a template with values, between tabs, in its places.
  const fill = (template, values) => {
    if (!template) return values;
    const each = values.split("\t");
    return template.replaceAll("{}", () => each.shift());
  };

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
        const points = says.map((text, n) => ({ x: at[2 * n], y: at[2 * n + 1], text: (element.dataset.lead ?? "") + fill(element.dataset.template, text) }));
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

  return { ticks, read, isZoomed, redraw, stops };
})();
