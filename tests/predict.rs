//! `cellway predict`.

mod common;

use std::fs;

use common::sandbox::{MODEL, Sandbox};
use serde_json::Value;

#[test]
fn predict_answers_for_arguments_lines_and_files() {
    let sandbox = Sandbox::trained();
    let out = sandbox.stdout(&["predict", MODEL, "the film is good", "it all is bad"]);
    let labels: Vec<&str> = out.lines().map(|line| &line[..3]).collect();
    assert_eq!(labels, ["pos", "neg"], "{out}");

    let piped = sandbox
        .cellway(&["predict", MODEL])
        .write_stdin("so bad\nso good\n")
        .assert()
        .success();
    let out = String::from_utf8_lossy(&piped.get_output().stdout).into_owned();
    assert!(out.lines().next().unwrap().ends_with("so bad"), "{out}");

    sandbox.write("in.csv", "id,text\n1,\"good, film\"\n2,bad\n");
    for (name, separator) in [("out.csv", ','), ("out.tsv", '\t')] {
        sandbox
            .cellway(&["predict", MODEL, "--input", "in.csv", "--output", name])
            .assert()
            .success();
        let table = fs::read_to_string(sandbox.path().join(name)).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        let header = ["text", "label", "neg", "pos"].join(&separator.to_string());
        assert_eq!(lines[0], header);
        assert!(
            lines[1].contains("pos") && lines[2].contains("neg"),
            "{table}"
        );
        assert_eq!(lines.len(), 3);
    }
    sandbox
        .cellway(&[
            "predict",
            MODEL,
            "--input",
            "in.csv",
            "--output",
            "out.jsonl",
        ])
        .assert()
        .success();
    let file = fs::read_to_string(sandbox.path().join("out.jsonl")).unwrap();
    let stdout = sandbox.stdout(&["predict", MODEL, "--input", "in.csv", "--json"]);
    assert_eq!(file, stdout);
    let first: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["text"], &first["label"]),
        (&"good, film".into(), &"pos".into())
    );
    let sum: f64 = first["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6);
}

#[test]
fn predict_keeps_the_order_of_more_texts_than_a_chunk() {
    let sandbox = Sandbox::trained();
    let mut text = String::new();
    for n in 0..20_000 {
        text += &format!(
            "film {n} is {}{}\n",
            "so ".repeat(n % 7),
            ["good", "bad"][n % 2]
        );
    }
    let reversed: Vec<&str> = text.lines().rev().collect();
    sandbox.write("many.txt", &text);
    sandbox.write("reversed.txt", &reversed.join("\n"));
    let out = sandbox.stdout(&["predict", MODEL, "--input", "many.txt", "-q"]);
    assert_eq!(out.lines().count(), 20_000);
    assert!(
        out.lines()
            .zip(text.lines())
            .all(|(line, text)| line.ends_with(text))
    );
    // The same texts among other neighbours: the same labels.
    let again = sandbox.stdout(&["predict", MODEL, "--input", "reversed.txt", "-q"]);
    for (a, b) in out.lines().zip(again.lines().rev()) {
        assert_eq!(&a[..3], &b[..3]);
    }
}

#[test]
fn predict_refuses_or_counts_what_it_cannot_read() {
    let sandbox = Sandbox::trained();
    sandbox.write("holes.txt", "good\n\nbad\n");
    sandbox.fails(
        &[
            "predict",
            MODEL,
            "--input",
            "holes.txt",
            "--output",
            "out.csv",
        ],
        &["holes.txt:2:", "--skip-bad"],
    );
    assert!(!sandbox.names().contains(&"out.csv".to_owned()));
    assert!(
        !sandbox
            .names()
            .iter()
            .any(|name| name.starts_with(".cellway"))
    );
    let assert = sandbox
        .cellway(&["predict", MODEL, "--input", "holes.txt", "--skip-bad"])
        .assert()
        .success();
    assert_eq!(
        assert
            .get_output()
            .stdout
            .iter()
            .filter(|&&b| b == b'\n')
            .count(),
        2
    );
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("bad rows skipped: 1"), "{said}");
    assert!(
        said.contains("predict: 1 kB in") && said.contains("2 texts"),
        "{said}"
    );
}

#[test]
fn predict_never_writes_over_its_input_or_what_is_no_file() {
    let sandbox = Sandbox::trained();
    sandbox.write("in.csv", "id,text\n1,good\n");
    std::os::unix::fs::symlink(
        sandbox.path().join("in.csv"),
        sandbox.path().join("link.csv"),
    )
    .unwrap();
    for output in ["in.csv", "link.csv", "./in.csv"] {
        sandbox.fails(
            &["predict", MODEL, "-i", "in.csv", "-o", output],
            &[output, "is the input too"],
        );
    }
    let text = fs::read_to_string(sandbox.path().join("in.csv")).unwrap();
    assert_eq!(text, "id,text\n1,good\n");
    fs::create_dir(sandbox.path().join("folder.csv")).unwrap();
    sandbox.fails(
        &["predict", MODEL, "good", "-o", "folder.csv"],
        &["no file that can be replaced"],
    );
}

#[test]
fn what_was_written_as_tsv_is_read_as_it_was() {
    let sandbox = Sandbox::trained();
    sandbox.write(
        "in.jsonl",
        "{\"text\":\"a \\\"good\\\" film, \\\"so\\\"\"}\n",
    );
    sandbox
        .cellway(&["predict", MODEL, "-i", "in.jsonl", "-o", "out.tsv"])
        .assert()
        .success();
    sandbox
        .cellway(&["predict", MODEL, "-i", "out.tsv", "-o", "again.tsv"])
        .assert()
        .success();
    let read = |name: &str| fs::read_to_string(sandbox.path().join(name)).unwrap();
    assert!(
        read("out.tsv").contains("\na \"good\" film, \"so\"\tpos\t"),
        "{}",
        read("out.tsv")
    );
    assert_eq!(read("out.tsv"), read("again.tsv"));
    sandbox.fails(
        &["predict", MODEL, "two\nlines", "-o", "x.tsv"],
        &["which TSV cannot"],
    );
    // For people a line is a line, and colours are not for texts to set.
    let out = sandbox.stdout(&["predict", MODEL, "good\n\u{1b}[31mred"]);
    assert!(out.ends_with("good\\n\\u{1b}[31mred\n"), "{out}");
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let sandbox = Sandbox::trained();
    let lines = "good film\n".repeat(50_000);
    sandbox.write("many.txt", &lines);
    let binary = assert_cmd::cargo::cargo_bin("cellway");
    let script = format!(
        "{} predict {MODEL} --input many.txt -q | head -1; exit ${{PIPESTATUS[0]}}",
        binary.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
