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
