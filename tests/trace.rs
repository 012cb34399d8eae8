//! `cellway trace`.

mod common;

use std::fs;

use cellway::checkpoint::safetensors;
use cellway::compare::Subject;
use cellway::trace;
use common::sandbox::{MODEL, Sandbox};
use common::tolerance::share_of_tolerance;
use serde_json::Value;
use tch::{Kind, Tensor};

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&sandbox.stdout(arguments)).unwrap()
}

#[test]
fn a_text_is_shown_step_by_step() {
    let sandbox = Sandbox::trained();
    let text = "the film is so strange, but good";
    let out = sandbox.stdout(&["trace", MODEL, text]);
    assert!(out.starts_with("pos: neg 0."), "{out}");
    assert!(
        out.contains("read as the unknown word: strange , but"),
        "{out}"
    );
    assert_eq!(out.matches("decisive by").count(), 3, "{out}");
    for row in [
        "(nothing yet)",
        "p(pos)",
        "forget gate f",
        "candidate g",
        "open highway",
    ] {
        assert!(out.contains(row), "{row}: {out}");
    }
    assert!(!out.contains('\x1b'), "no colours for a pipe: {out}");
    let narrow = sandbox.stdout(&["trace", MODEL, text, "--window", "3", "--unit", "7,2"]);
    assert!(
        narrow.contains("first 2 and the last 1 are shown"),
        "{narrow}"
    );
    assert_eq!(
        narrow.matches("layer 0 forward, unit").count(),
        2,
        "{narrow}"
    );
    let negative = sandbox.stdout(&["trace", MODEL, text, "--class", "neg"]);
    assert!(negative.contains("p(neg)"), "{negative}");
}

#[test]
fn every_array_is_in_both_files() {
    let sandbox = Sandbox::trained();
    let all = json(
        &sandbox,
        &[
            "trace",
            MODEL,
            "a good film",
            "--json",
            "--safetensors",
            "t.safetensors",
        ],
    );
    let trace = &all["trace"];
    assert_eq!(trace["tokens"], serde_json::json!(["a", "good", "film"]));
    let predicted = json(&sandbox, &["predict", MODEL, "a good film", "--json"]);
    let apart = trace["probabilities"]["pos"].as_f64().unwrap()
        - predicted["probabilities"]["pos"].as_f64().unwrap();
    assert!(apart.abs() < 1e-6);
    let saved = safetensors::load(&sandbox.path().join("t.safetensors")).unwrap();
    let arrays = trace["arrays"].as_object().unwrap();
    assert_eq!(saved.len(), arrays.len());
    for (name, tensor) in &saved {
        let array = &arrays[name.as_str()];
        let shape: Vec<i64> = serde_json::from_value(array["shape"].clone()).unwrap();
        assert_eq!(tensor.size(), shape, "{name}");
        assert_eq!(array["axes"].as_array().unwrap().len(), shape.len());
        let first = tensor.flatten(0, -1).double_value(&[0]);
        let mut value = &array["values"];
        while let Some(list) = value.as_array() {
            value = &list[0];
        }
        assert_eq!(value.as_f64(), Some(first), "{name}");
    }
    assert_eq!(arrays["lstm/l0/f"]["shape"], serde_json::json!([3, 8]));
}

#[test]
fn an_lstm_alone_reads_vectors() {
    let sandbox = Sandbox::trained();
    let x = Tensor::rand([2, 5, 8], (Kind::Float, tch::Device::Cpu));
    let path = sandbox.path().join("x.safetensors");
    safetensors::save(&path, [("x", &x)], &[]).unwrap();
    let base = ["trace", MODEL, "--lstm", "lstm", "--input", "x.safetensors"];
    let of_row = |row: &str| json(&sandbox, &[&base[..], &["--row", row, "--json"]].concat());
    let second = of_row("1");
    let read = &second["trace"]["arrays"]["x"];
    assert_eq!(read["shape"], serde_json::json!([5, 8]));
    let there = x.double_value(&[1, 0, 0]);
    assert_eq!(read["values"][0][0].as_f64(), Some(there));
    assert!(second["trace"].get("tokens").is_none());
    let shown = sandbox.stdout(&[&base[..], &["--dtype", "f64"]].concat());
    assert!(
        shown.contains("y is the sum of the top layer's last hidden states"),
        "{shown}"
    );
    sandbox.fails(
        &[&base[..], &["--row", "2"]].concat(),
        &["--row 2", "has 2"],
    );
    sandbox.fails(&[&base[..], &["--class", "pos"]].concat(), &["no classes"]);
}

#[test]
fn a_page_stands_alone_and_is_never_written_over() {
    let sandbox = Sandbox::trained();
    let arguments = ["trace", MODEL, "<b>good</b> film", "--html", "t.html"];
    sandbox.stdout(&arguments);
    let page = fs::read_to_string(sandbox.path().join("t.html")).unwrap();
    assert!(page.contains("default-src 'none'") && page.contains("id=\"trace\""));
    assert!(!page.contains("<b>good"), "a text is not markup");
    sandbox.fails(&arguments, &["--html t.html", "is there already"]);
    let both = ["trace", MODEL, "good", "--html", "u", "--safetensors", "u"];
    sandbox.fails(&both, &["--safetensors", "another name"]);
    assert!(!sandbox.names().contains(&"u".to_owned()));
}

#[test]
fn what_is_wrong_is_said() {
    let sandbox = Sandbox::trained();
    sandbox.write("x.safetensors", "nothing of the kind");
    let cases: [(&[&str], &[&str]); 10] = [
        (&[MODEL], &["needs a text"]),
        (&[MODEL, " "], &["the text is empty"]),
        (
            &[MODEL, "good", "--class", "fine"],
            &["--class fine", "neg, pos"],
        ),
        (&[MODEL, "good", "--unit", "8"], &["--unit 8", "0 to 7"]),
        (
            &[MODEL, "good", "--unit", "1", "--layer", "1"],
            &["--layer", "0 to 0", "forward only"],
        ),
        (
            &[MODEL, "good", "--direction", "backward"],
            &["forward only"],
        ),
        (&[MODEL, "--input", "x.safetensors"], &["--input", "--lstm"]),
        (
            &[MODEL, "--lstm", "lstm", "--input", "x.safetensors"],
            &["x.safetensors"],
        ),
        (
            &[MODEL, "--lstm", "other", "--input", "x.safetensors"],
            &["other"],
        ),
        (
            &[MODEL, "good", "--lstm", "lstm"],
            &["no tokenizer", "--input"],
        ),
    ];
    for (arguments, says) in cases {
        sandbox.fails(&[&["trace"], arguments].concat(), says);
    }
    // Words that nobody knows are a text all the same, and said so.
    let unknown = sandbox.stdout(&["trace", MODEL, "zzz yyy"]);
    assert!(unknown.contains("none of these words"), "{unknown}");
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn published_checkpoints_are_read_as_torch_reads_them() {
    const REFERENCE: &str = ".ref_lstm.safetensors";
    let folders = fs::read_dir(common::shared_data().join("checkpoints")).unwrap();
    let files = folders
        .filter_map(|folder| fs::read_dir(folder.unwrap().path()).ok())
        .flatten()
        .map(|file| file.unwrap().path());
    let mut traced = 0;
    for reference in files {
        let Some(file) = reference.to_str().unwrap().strip_suffix(REFERENCE) else {
            continue;
        };
        let tensors = safetensors::load(&reference).unwrap();
        for (name, x) in &tensors {
            let Some(name) = name.strip_suffix("/x") else {
                continue;
            };
            let subject = Subject::open(file.as_ref(), Some(name)).unwrap();
            let subject = subject.cast(Kind::Float, tch::Device::Cpu).unwrap();
            let recording = trace::vectors(subject.lstm(), &x.select(1, 0)).unwrap();
            let top = recording.directions.iter().map(|one| one.layer).max();
            let hidden: Vec<&Tensor> = recording
                .directions
                .iter()
                .filter(|one| Some(one.layer) == top)
                .map(|one| &one.trace.h)
                .collect();
            let y = tensors[&format!("{name}/y")].select(1, 0);
            let share = share_of_tolerance(subject.lstm(), &Tensor::cat(&hidden, 1), &y);
            assert!(share <= 1.0, "{name} of {file}: {share} of the tolerance");
            traced += 1;
        }
    }
    assert!(traced >= 11, "only {traced}");
}
