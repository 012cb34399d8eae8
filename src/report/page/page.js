"use strict";
// Draws the figures of a page in its colours, light or dark, and lets the
// keyboard go where the pointer can.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function template() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--rule"), linecolor: colour("--soft"),
      tickcolor: colour("--soft"), zeroline: false,
    };
    return { layout: {
      paper_bgcolor: colour("--paper"), plot_bgcolor: colour("--paper"),
      font: { color: colour("--ink"), size: 12, family: getComputedStyle(document.body).fontFamily },
      xaxis: axis, yaxis: axis,
      hoverlabel: {
        align: "left", bgcolor: colour("--tint"), bordercolor: colour("--soft"),
        font: { color: colour("--ink"), size: 12 },
      },
      legend: { bgcolor: "rgba(0,0,0,0)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
      shapedefaults: { line: { color: colour("--ink") } },
    } };
  }

  // For the scripts of single pages.
  globalThis.pageTemplate = template;

  // Labels are HTML, escaped where they were made.
  const text = (html) =>
    new DOMParser().parseFromString(html.replaceAll("<br>", "; "), "text/html").body.textContent;

  for (const figure of document.querySelectorAll("figure.plot")) {
    const figures = JSON.parse(figure.querySelector("script").textContent);
    const canvas = figure.querySelector(".canvas");
    const spoken = figure.querySelector(".spoken");
    const select = figure.querySelector("select");
    let at = -1;
    let width = 0;

    function draw() {
      const { data, layout, config } = structuredClone(figures[select ? select.value : 0].plot);
      // Lines that are marked so take the colour of the text.
      const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
      for (const shape of layout.shapes ?? []) shape.line.color = ink;
      canvas.style.height = `${layout.height}px`;
      at = -1;
      width = canvas.clientWidth;
      Plotly.newPlot(canvas, data, { ...layout, template: template() }, config);
    }

    // Point by point, from left to right, where each is shown alone.
    function goClosest(to) {
      const points = canvas.data.flatMap((trace, curveNumber) =>
        trace.visible === "legendonly" ? [] : trace.x.map((x, pointNumber) =>
          ({ x, y: trace.y[pointNumber], curveNumber, pointNumber })));
      if (points.length === 0) return;
      points.sort((a, b) => a.x - b.x || a.y - b.y);
      at = Math.max(0, Math.min(points.length - 1, to(at, points.length)));
      const { curveNumber, pointNumber } = points[at];
      Plotly.Fx.hover(canvas, [{ curveNumber, pointNumber }]);
      spoken.textContent = text(canvas.data[curveNumber].text[pointNumber]);
    }

    // The points of all traces that share a place on the axis of hovering.
    function go(to) {
      if (canvas.layout.hovermode === "closest") return goClosest(to);
      const axis = canvas.layout.hovermode.startsWith("y") ? "y" : "x";
      const places = [...new Set(canvas.data.flatMap((trace) => trace[axis]))].sort((a, b) => a - b);
      at = Math.max(0, Math.min(places.length - 1, to(at, places.length)));
      Plotly.Fx.hover(canvas, { [`${axis}val`]: places[at] });
      const found = canvas.data.flatMap((trace) =>
        trace[axis].flatMap((place, n) => (place === places[at] ? [trace.text[n]] : [])));
      const isTime = axis === "x" && canvas.layout.xaxis.title.text.startsWith("time step");
      const step = isTime ? `step ${places[at]}: ` : axis === "x" ? `${places[at]}: ` : "";
      spoken.textContent = step + found.map(text).join("; ");
    }

    canvas.addEventListener("keydown", (event) => {
      const moves = {
        ArrowRight: (n) => n + 1, ArrowDown: (n) => n + 1,
        ArrowLeft: (n) => n - 1, ArrowUp: (n) => n - 1,
        Home: () => 0, End: (_, count) => count - 1,
      };
      if (event.key === "Escape") {
        Plotly.Fx.unhover(canvas);
      } else if (moves[event.key]) {
        event.preventDefault();
        go(moves[event.key]);
      }
    });
    select?.addEventListener("change", draw);
    dark.addEventListener("change", draw);
    addEventListener("resize", () => canvas.clientWidth !== width && draw());
    draw();
  }
})();
