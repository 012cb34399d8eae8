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
         const seen = { maps: heat.data.length, tokens: [...document.querySelectorAll('.token')].map((token) => token.textContent) };
         await hover(heat.querySelector('.nsewdrag'), 0.02, 0.02);
         seen.hover = heat.querySelector('.hoverlayer').textContent;
         document.querySelectorAll('.token')[0].click();
         await wait(300);
         seen.first = heading();
         await press(heat, 'ArrowRight');
         seen.second = heading();
         seen.worked = document.getElementById('worked').textContent;
         seen.worked_unit = Number(document.getElementById('unit').selectedOptions[0].text);
         document.getElementById('filter').value = '5, 7';
         document.getElementById('filter').dispatchEvent(new Event('change'));
         await wait(300);
         seen.filtered = heat.data[0].y;
         document.getElementById('filter').value = 'none';
         document.getElementById('filter').dispatchEvent(new Event('change'));
         seen.refused = document.getElementById('filter-says').textContent;
         document.getElementById('sort').value = 'number';
         document.getElementById('filter').value = '';
         document.getElementById('sort').dispatchEvent(new Event('change'));
         await wait(300);
         seen.sorted = heat.data[0].y;
         seen.values = heat.data[4].z;
         return seen;",
    );
    assert_eq!(seen["maps"], 9);
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
    // The numbers are those of the trace: the cell state, unit by step, ...
    let states = all["trace"]["arrays"]["lstm/l0/c"]["values"]
        .as_array()
        .unwrap();
    for (t, row) in states.iter().enumerate() {
        for (unit, value) in row.as_array().unwrap().iter().enumerate() {
            assert_eq!(seen["values"][unit][t].as_f64(), value.as_f64());
        }
    }
    // ... and in the worked step.
    let unit = seen["worked_unit"].as_u64().unwrap() as usize;
    let state = states[1][unit].as_f64().unwrap();
    let number = format!("{:.4}", state.abs());
    assert!(
        seen["worked"].as_str().unwrap().contains(&number),
        "{number}"
    );
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
         const drawn = () => gates.querySelector('.canvas').data[0];
         [seen.x, seen.y] = [drawn().x, drawn().y];
         await press(gates.querySelector('.canvas'), 'End');
         seen.spoken = gates.querySelector('.spoken').textContent;
         seen.hover = gates.querySelector('.hoverlayer').textContent;
         const select = gates.querySelector('select');
         select.value = 1;
         select.dispatchEvent(new Event('change'));
         await wait(300);
         seen.input = drawn().y;
         await press(histogram.querySelector('.canvas'), 'Home');
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
         line.querySelector('.match').dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));
         seen.matching = value.textContent;
         return seen;",
    );
    let units = all["layers"][0]["units"].as_array().unwrap();
    let near = |seen: &Value, of: &dyn Fn(&Value) -> f64| {
        let seen = seen.as_array().unwrap();
        assert_eq!(seen.len(), units.len());
        for (seen, unit) in seen.iter().zip(units) {
            let (seen, value) = (seen.as_f64().unwrap(), of(unit));
            assert!((seen - value).abs() <= 1e-4 * value, "{seen} {value}");
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
