// The numbers of the page of `cellway trace`, and those that follow from them.
const recorded = (() => {
  const data = JSON.parse(document.getElementById("trace").textContent);
  const { steps } = data;

  // [steps, units], row by row, little-endian as everywhere that has a browser.
  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }
  const sigma = (sum) => 1 / (1 + Math.exp(-sum));

  // Gates, the state before and the highway follow from what the page has.
  for (const direction of data.directions) {
    const width = direction.units.length;
    const { arrays, reverse } = direction;
    for (const [name, text] of Object.entries(arrays)) arrays[name] = decode(text);
    const stored = (name, at, unit) => arrays[name][at * width + unit];
    const gap = direction.gap && { before: decode(direction.gap.before), highway: decode(direction.gap.highway) };
    const [back, on] = reverse ? [1, -1] : [-1, 1];
    const beside = (at, by) => steps[at + by] === steps[at] + by;
    const first = (at) => steps[at] === (reverse ? data.time - 1 : 0);
    const last = (at) => steps[at] === (reverse ? 0 : data.time - 1);
    const derived = {
      i: (at, unit) => sigma(stored("xi", at, unit) + stored("hi", at, unit)),
      f: (at, unit) => sigma(stored("xf", at, unit) + stored("hf", at, unit)),
      o: (at, unit) => sigma(stored("xo", at, unit) + stored("ho", at, unit)),
      g: (at, unit) => Math.tanh(stored("xg", at, unit) + stored("hg", at, unit)),
      h: (at, unit) => derived.o(at, unit) * Math.tanh(stored("c", at, unit)),
      before: (at, unit) => (first(at) ? 0 : beside(at, back) ? stored("c", at + back, unit) : gap.before[unit]),
    };
    const highway = new Float64Array(steps.length * width).fill(1);
    for (let n = 0; n < steps.length; n++) {
      const at = reverse ? n : steps.length - 1 - n;
      for (let unit = 0; unit < width && !last(at); unit++) {
        highway[at * width + unit] = beside(at, on)
          ? derived.f(at + on, unit) * highway[(at + on) * width + unit]
          : gap.highway[unit];
      }
    }
    arrays.highway = highway;
    direction.get = (name, at, unit) => (arrays[name] ? stored(name, at, unit) : derived[name](at, unit));
  }
  return data;
})();

