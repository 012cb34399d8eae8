//! References that torch in Python made with a mistake (`scripts/reference/mistakes.py`):
//! each is put down to what was done.

mod common;

use std::path::Path;

use cellway::checkpoint::safetensors::{self, Tensors};
use cellway::compare::diagnose::{Diagnosis, Evidence, diagnose};
use cellway::error::Error;
use cellway::lstm::{Lstm, LstmConfig};
use common::tolerance::value_tolerance;
use serde_json::Value;
use tch::Tensor;

/// The LSTM of `weights.safetensors`, batch first.
fn lstm(weights: &Tensors) -> Lstm {
    let layers = (0..)
        .take_while(|layer| weights.contains_key(&format!("weight_ih_l{layer}")))
        .count();
    let w_ih = &weights["weight_ih_l0"];
    let config = LstmConfig {
        num_layers: layers as i64,
        bidirectional: weights.contains_key("weight_ih_l0_reverse"),
        ..LstmConfig::new(w_ih.size()[1], w_ih.size()[0] / 4)
    };
    Lstm::from_tensors(config, |name| {
        let tensor = weights.get(name).map(Tensor::shallow_clone);
        tensor.ok_or_else(|| Error::tensor(name, "is missing"))
    })
    .unwrap()
}

fn ask(lstm: &Lstm, file: &Path, tolerance: f64) -> Option<Diagnosis> {
    let mut tensors = safetensors::load(file).unwrap();
    let batch_first = |tensor: Tensor| tensor.transpose(0, 1).contiguous();
    let x = batch_first(tensors.remove("x").unwrap());
    let lengths = tensors.remove("lengths");
    let lengths: Option<Vec<i64>> = lengths.map(|lengths| Vec::try_from(lengths).unwrap());
    let y = batch_first(tensors.remove("y").unwrap());
    tensors.insert("y".to_owned(), y);
    diagnose(&Evidence {
        lstm,
        input: &x,
        lengths: lengths.as_deref(),
        state: None,
        expected: &tensors,
        pooled: None,
        digests: None,
        tolerance,
    })
    .unwrap()
}

#[test]
fn mistakes_in_python_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = 0;
    for (sizes, f64) in [
        ("6,6,1,1", false),
        ("6,6,2,2", false),
        ("6,6,3,1", true),
        ("8,8,1,2", true),
        ("5,7,2,1,4,9", false),
    ] {
        let out = folder.path().join(sizes);
        let mut python = common::python();
        python
            .arg(common::root().join("scripts/reference/mistakes.py"))
            .args([sizes, "--out"])
            .arg(&out);
        if f64 {
            python.arg("--f64");
        }
        common::run(&mut python);
        let lstm = lstm(&safetensors::load(&out.join("weights.safetensors")).unwrap());
        let tolerance = value_tolerance(&lstm);
        let right = ask(&lstm, &out.join("right.safetensors"), tolerance);
        assert_eq!(right, None);
        let listed = std::fs::read_to_string(out.join("mistakes.json")).unwrap();
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let mut wrong = Vec::new();
        for entry in &listed {
            let (file, cause) = (entry["file"].as_str().unwrap(), &entry["cause"]);
            let found = ask(&lstm, &out.join(file), tolerance);
            let says = |word: &Value| {
                let found = found.as_ref().unwrap();
                found.message.contains(word.as_str().unwrap())
            };
            let good = found
                .as_ref()
                .is_some_and(|found| found.cause.name() == cause)
                && entry["says"].as_array().unwrap().iter().all(says);
            if !good {
                wrong.push(format!("{file}: {found:?}"));
            }
            told += 1;
        }
        assert!(wrong.is_empty(), "{sizes}:\n{}", wrong.join("\n"));
    }
    assert!(told > 100, "{told}");
}
