// Figures of a page: says what a point is, goes from point to point by pointer and keys,
// hides series, zooms, and keeps a chart as a file. The charts themselves are drawn when
// the page is written; their attributes say what stands where.
(() => {
  const { read, isZoomed, redraw, stops } = charts;

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
    let all = [];
    const shown = () => all.find((chart) => !chart.view.hidden);

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
      all = [...figure.querySelectorAll(".view")].filter((view) => view.querySelector("svg.chart")).map(read);
      all.forEach(listen);
      reset.hidden = true;
    }
    function choose(index) {
      figure.querySelectorAll(".view").forEach((view, n) => { view.hidden = n !== Number(index); });
      all.forEach(leave);
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
})();
