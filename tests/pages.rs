//! The pages in a headless Chromium: they draw, they answer to mouse and keyboard,
//! they note no error, and nothing leaves them.

mod common;

use common::browser::open;
use common::sandbox::{MODEL, Sandbox};
use serde_json::{Value, json};

#[test]
#[ignore = "needs CELLWAY_CHROMIUM"]
fn trace_in_a_browser() {
    let sandbox = Sandbox::trained();
    let text = ["trace", MODEL, "so good & <i>bad</i> film"];
    sandbox.stdout(&[&text[..], &["--html", "t.html"]].concat());
    let all: Value =
        serde_json::from_str(&sandbox.stdout(&[&text[..], &["--json"]].concat())).unwrap();
    let tokens = all["trace"]["tokens"].as_array().unwrap();
    let seen = open(
        &sandbox.path().join("t.html"),
        "const heat = document.getElementById('heat');
         const heading = () => document.querySelector('#worked h3').textContent;
         // Beside each line of maps.
         const units = () => [...new Set([...heat.querySelectorAll('svg text:not(.title):not([transform])')].map((text) => text.textContent))];
         const change = async (id, value) => {
           document.getElementById(id).value = value;
           document.getElementById(id).dispatchEvent(new Event('change'));
           await wait(100);
         };
         const seen = {
           maps: heat.querySelectorAll('svg .title').length,
           tokens: [...document.querySelectorAll('.token')].map((token) => token.textContent),
         };
         const [, x, y] = heat.querySelector('svg path').getAttribute('d').match(/M([\\d.]+) ([\\d.]+)/);
         await hover(heat, (Number(x) + 2) / heat.clientWidth, (Number(y) + 2) / heat.clientHeight);
         seen.hover = heat.querySelector('.tip').textContent;
         document.querySelectorAll('.token')[0].click();
         await wait(100);
         seen.first = heading();
         await press(heat, 'ArrowRight');
         seen.second = heading();
         seen.chosen = heat.querySelectorAll('.chosen rect').length;
         seen.worked = document.getElementById('worked').textContent;
         seen.worked_unit = Number(document.getElementById('unit').selectedOptions[0].text);
         const chart = document.querySelector('#over-time .canvas');
         await press(chart, 'Home');
         seen.spoken = document.querySelector('#over-time .spoken').textContent;
         await press(document.querySelector('#unit-plot .canvas'), 'End');
         seen.state = document.querySelector('#unit-plot .spoken').textContent;
         await change('filter', '5, 7');
         seen.filtered = units();
         await change('filter', 'none');
         seen.refused = document.getElementById('filter-says').textContent;
         await change('filter', '');
         await change('sort', 'number');
         seen.sorted = units();
         const [direction] = JSON.parse(document.getElementById('trace').textContent).directions;
         const bytes = Uint8Array.from(atob(direction.arrays.c), (c) => c.charCodeAt(0));
         seen.values = [...new Float32Array(bytes.buffer)];
         seen.units = direction.units;
         return seen;",
    );
    assert_eq!((&seen["maps"], &seen["chosen"]), (&json!(9), &json!(9)));
    assert_eq!(&seen["tokens"], &json!(tokens));
    let hover = seen["hover"].as_str().unwrap();
    assert!(hover.contains("forget gate f = 0."), "{hover}");
    let first = seen["first"].as_str().unwrap();
    assert!(first.ends_with("step 0: so"), "{first}");
    let second = seen["second"].as_str().unwrap();
    assert!(second.ends_with("step 1: good"), "{second}");
    assert_eq!(seen["filtered"].as_array().unwrap().len(), 2);
    assert!(
        seen["refused"]
            .as_str()
            .unwrap()
            .contains("none is no unit")
    );
    let units: Vec<String> = (0..8).map(|unit| unit.to_string()).collect();
    assert_eq!(seen["sorted"], json!(units));
    let spoken = seen["spoken"].as_str().unwrap();
    assert!(spoken.starts_with("0 so: probability 0."), "{spoken}");
    assert!(spoken.contains("; integrated gradient ") && spoken.contains("; norm of ∂y/∂C "));
    let state = seen["state"].as_str().unwrap();
    assert!(
        state.contains("true ∂y/∂C ") && state.contains("; forget gate 0."),
        "{state}"
    );
    // The numbers are those of the trace: the cell state, step by unit, ...
    let states = all["trace"]["arrays"]["lstm/l0/c"]["values"]
        .as_array()
        .unwrap();
    let shown: Vec<u64> = serde_json::from_value(seen["units"].clone()).unwrap();
    let all_states = states.iter().flat_map(|row| {
        let of = |unit: &u64| row[*unit as usize].as_f64().unwrap();
        shown.iter().map(of).collect::<Vec<_>>()
    });
    let values: Vec<f64> = serde_json::from_value(seen["values"].clone()).unwrap();
    assert_eq!(values, all_states.collect::<Vec<_>>());
    // ... and in the worked step.
    let unit = seen["worked_unit"].as_u64().unwrap() as usize;
    // ... also those that the script computes: gates, and the hidden state.
    for name in ["c", "f", "i", "g", "o", "h"] {
        let values = &all["trace"]["arrays"][format!("lstm/l0/{name}")]["values"];
        let number = format!("{:.4}", values[1][unit].as_f64().unwrap().abs());
        let worked = seen["worked"].as_str().unwrap();
        assert!(worked.contains(&number), "{name} {number}: {worked}");
    }
}

#[test]
#[ignore = "needs CELLWAY_CHROMIUM"]
fn units_in_a_browser() {
    let sandbox = Sandbox::trained();
    let arguments = [
        "units",
        MODEL,
        "toy.csv",
        "--unit",
        "3",
        "--matches",
        "2",
        "-q",
    ];
    sandbox.stdout(&[&arguments[..], &["--html", "u.html"]].concat());
    let all: Value =
        serde_json::from_str(&sandbox.stdout(&[&arguments[..], &["--json"]].concat())).unwrap();
    let seen = open(
        &sandbox.path().join("u.html"),
        "const [gates, histogram, memory] = document.querySelectorAll('figure.plot');
         const seen = {};
         const shown = (figure) => figure.querySelector('.view:not([hidden])');
         const values = () => {
           const { dataset } = shown(gates).querySelector('.panel');
           const [left, top, width, height] = dataset.frame.split(' ').map(Number);
           const axis = (name) => dataset[name].split(' ').slice(1, 3).map(Number);
           const [[x0, x1], [y0, y1]] = [axis('x'), axis('y')];
           const at = shown(gates).querySelector('.series').dataset.at.split(' ').map(Number);
           return {
             x: at.filter((_, n) => n % 2 === 0).map((x) => x0 + ((x - left) / width) * (x1 - x0)),
             y: at.filter((_, n) => n % 2 === 1).map((y) => y0 + ((top + height - y) / height) * (y1 - y0)),
           };
         };
         [seen.x, seen.y] = [values().x, values().y];
         const canvas = () => shown(gates).querySelector('.canvas');
         await press(canvas(), 'End');
         seen.spoken = gates.querySelector('.spoken').textContent;
         seen.hover = gates.querySelector('.tip').textContent;
         // Closer, and back again.
         const ticks = () => shown(gates).querySelector('.ticks-x').textContent;
         const reset = gates.querySelector('.tools button');
         const whole = ticks();
         await press(canvas(), '+');
         seen.zoomed = [ticks() !== whole, reset.hidden];
         await press(canvas(), '0');
         seen.reset = [ticks() === whole, reset.hidden];
         // What is hidden is not gone to.
         const key = shown(gates).querySelector('.series-key');
         key.click();
         gates.querySelector('.spoken').textContent = '';
         await press(canvas(), 'Home');
         seen.hidden = [key.getAttribute('aria-pressed'), gates.querySelector('.spoken').textContent];
         key.click();
         // The file has the chart in colors, without a variable.
         let file;
         URL.createObjectURL = (blob) => { file = blob; return ''; };
         HTMLAnchorElement.prototype.click = function () { seen.name = this.download; };
         gates.querySelector('.tools button:last-child').click();
         seen.file = await file.text();
         const select = gates.querySelector('select');
         select.value = 1;
         select.dispatchEvent(new Event('change'));
         await wait(100);
         seen.input = values().y;
         await press(shown(histogram).querySelector('.canvas'), 'Home');
         seen.bin = histogram.querySelector('.spoken').textContent;
         await press(memory.querySelector('.canvas'), 'Home');
         seen.memory = memory.querySelector('.spoken').textContent;
         const line = document.querySelector('.words');
         const value = line.nextElementSibling;
         await press(line, 'ArrowRight');
         seen.first = value.textContent;
         await press(line, 'ArrowRight');
         seen.second = value.textContent;
         await press(line, 'Escape');
         seen.left = value.textContent.trim();
         await hover(line.querySelector('.match'), 0.5, 0.5);
         seen.matching = value.textContent;
         return seen;",
    );
    let units = all["layers"][0]["units"].as_array().unwrap();
    let near = |seen: &Value, of: &dyn Fn(&Value) -> f64| {
        let seen = seen.as_array().unwrap();
        assert_eq!(seen.len(), units.len());
        for (seen, unit) in seen.iter().zip(units) {
            let (seen, value) = (seen.as_f64().unwrap(), of(unit));
            // Places have a decimal, of 330 pixels for at most 1.06.
            assert!((seen - value).abs() <= 2e-4, "{seen} {value}");
        }
    };
    near(&seen["x"], &|unit| unit["forget"]["left"].as_f64().unwrap());
    near(&seen["y"], &|unit| {
        unit["forget"]["right"].as_f64().unwrap()
    });
    near(&seen["input"], &|unit| {
        unit["input"]["right"].as_f64().unwrap()
    });
    let spoken = seen["spoken"].as_str().unwrap();
    assert!(spoken.starts_with("layer 0, forward, unit "), "{spoken}");
    assert!(
        seen["hover"]
            .as_str()
            .unwrap()
            .contains("forget gate below 0.1")
    );
    assert_eq!(seen["zoomed"], json!([true, false]));
    assert_eq!(seen["reset"], json!([true, true]));
    assert_eq!(seen["hidden"], json!(["false", ""]));
    assert_eq!(seen["name"], "Units-of-runs-toy-model-forget-gate.svg");
    let file = seen["file"].as_str().unwrap();
    assert!(file.starts_with("<svg ") && file.contains("http://www.w3.org/2000/svg"));
    assert!(!file.contains("var(") && !file.contains("data-"), "{file}");
    let bin = seen["bin"].as_str().unwrap();
    assert!(bin.contains("neg: ") && bin.contains("pos: "), "{bin}");
    assert!(!bin.contains("step"), "{bin}");
    assert!(seen["memory"].as_str().unwrap().contains("half-life"));
    let words = all["found"][0]["sentences"][0]["words"].as_array().unwrap();
    let said = |word: &Value| {
        let activation = word["activation"].as_f64().unwrap();
        format!("{}: {activation:+.3}", word["word"].as_str().unwrap())
    };
    assert_eq!(seen["first"], said(&words[0]));
    assert_eq!(seen["second"], said(&words[1]));
    assert_eq!(seen["left"], "");
    let matching = words.iter().find(|word| word["matches"] == true).unwrap();
    assert_eq!(seen["matching"], said(matching));
}

#[test]
#[ignore = "needs CELLWAY_CHROMIUM"]
fn comparison_in_a_browser() {
    let sandbox = Sandbox::trained();
    let arguments = ["compare", MODEL, "--gradients", "-q"];
    sandbox.stdout(&[&arguments[..], &["--html", "c.html"]].concat());
    let all: Value =
        serde_json::from_str(&sandbox.stdout(&[&arguments[..], &["--json"]].concat())).unwrap();
    let seen = open(
        &sandbox.path().join("c.html"),
        "const [stages, time] = document.querySelectorAll('figure.plot');
         const seen = { stages: [], steps: [] };
         const canvas = (figure) => figure.querySelector('.view:not([hidden]) .canvas');
         const spoken = (figure) => figure.querySelector('.spoken').textContent;
         await press(canvas(stages), 'Home');
         seen.stages.push(spoken(stages));
         await press(canvas(stages), 'ArrowDown');
         seen.stages.push(spoken(stages));
         await press(canvas(stages), 'End');
         seen.stages.push(spoken(stages));
         await press(canvas(time), 'Home');
         await press(canvas(time), 'ArrowRight');
         seen.step = spoken(time);
         await press(canvas(time), 'Escape');
         seen.left = time.querySelector('.tip').hidden;
         return seen;",
    );
    let stages = all["comparison"]["stages"].as_array().unwrap();
    let name = |n: usize| format!("{}; ", stages[n]["name"].as_str().unwrap());
    for (n, said) in [0, 1, stages.len() - 1]
        .into_iter()
        .zip(seen["stages"].as_array().unwrap())
    {
        let said = said.as_str().unwrap();
        assert!(said.starts_with(&name(n)), "{said} {}", name(n));
    }
    let step = seen["step"].as_str().unwrap();
    assert!(
        step.starts_with("step 1: ") && step.contains("forget f: "),
        "{step}"
    );
    assert_eq!(seen["left"], true);
}
