//! The command line: results, errors, exit codes. `predict` has a file of its own.

mod common;

use std::fs;
use std::path::Path;

use common::sandbox::{MODEL, Sandbox};
use serde_json::Value;

#[test]
fn train_shows_what_it_does_and_fills_the_run_folder() {
    let sandbox = Sandbox::new();
    let assert = sandbox.cellway(&["train", "toy.toml"]).assert().success();
    let out = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for part in [
        "configuration",
        "lstm.hidden_size",
        "parameters",
        "embedding",
        "word vectors: none",
        "train",
        "dev",
        "test",
        "best epoch:",
        "accuracy",
        "majority baseline",
        "runs/toy/model",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    let progress = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(progress.contains("epoch 3: train loss"), "{progress}");
    assert!(!out.contains('\x1b') && !progress.contains('\x1b'));
    let run = sandbox.path().join("runs/toy");
    let mut names: Vec<_> = fs::read_dir(&run)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "config.toml",
            "confusion.png",
            "curve.png",
            "dev.jsonl",
            "metrics.jsonl",
            "model",
            "results.json",
            "snapshots",
            "tensorboard",
            "test.jsonl"
        ]
    );
    // The resolved configuration trains the same model again.
    sandbox
        .cellway(&["train", "runs/toy/config.toml", "--out", "again", "-q"])
        .assert()
        .success();
    let weights =
        |run: &str| fs::read(sandbox.path().join(run).join("model/model.safetensors")).unwrap();
    assert_eq!(weights("runs/toy"), weights("again"));
}

#[test]
fn train_keeps_an_earlier_run() {
    let sandbox = Sandbox::trained();
    let before = fs::read(sandbox.path().join("runs/toy/metrics.jsonl")).unwrap();
    let refused = sandbox
        .cellway(&["train", "toy.toml", "-q"])
        .assert()
        .code(2);
    let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(error.contains("runs/toy: holds a finished run"), "{error}");
    assert_eq!(
        fs::read(sandbox.path().join("runs/toy/metrics.jsonl")).unwrap(),
        before
    );
    sandbox
        .cellway(&[
            "train",
            "toy.toml",
            "-q",
            "--replace",
            "--set",
            "train.epochs=1",
        ])
        .assert()
        .success();
    let after = fs::read_to_string(sandbox.path().join("runs/toy/metrics.jsonl")).unwrap();
    assert_eq!(after.lines().count(), 1);
}

#[test]
fn train_as_json_is_one_document() {
    let sandbox = Sandbox::new();
    let out = sandbox.stdout(&["train", "toy.toml", "--json", "-q"]);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["epochs"].as_array().unwrap().len(), 3);
    assert!(summary["test"]["accuracy"].as_f64().unwrap() > 0.9);
}

#[test]
fn eval_measures_and_draws() {
    let sandbox = Sandbox::trained();
    let out = sandbox.stdout(&["eval", MODEL, "toy.csv", "--picture", "matrix.svg"]);
    for part in [
        "accuracy",
        "95 % interval",
        "macro F1",
        "precision",
        "confusion",
        "neg",
        "pos",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(
        fs::read_to_string(sandbox.path().join("matrix.svg"))
            .unwrap()
            .contains("<svg")
    );
    let metrics: Value =
        serde_json::from_str(&sandbox.stdout(&["eval", MODEL, "runs/toy/test.jsonl", "--json"]))
            .unwrap();
    assert_eq!(metrics["count"], 12);
    for engine in ["plain", "fused"] {
        let out = sandbox.stdout(&["eval", MODEL, "toy.csv", "--engine", engine, "--json"]);
        assert_eq!(
            serde_json::from_str::<Value>(&out).unwrap()["accuracy"],
            1.0
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    let sandbox = Sandbox::trained();
    sandbox.write("broken.csv", "text,label\ngood,pos\n\"open");
    sandbox.write("foreign.csv", "text,label\ngood,excellent\n");
    sandbox.write("columns.csv", "a,b\n1,2\n");
    sandbox.write(
        "bad.toml",
        "[train]\nepoch = 3\n[data]\ntrain = \"toy.csv\"\n",
    );
    for (arguments, says) in [
        (
            &["eval", "nowhere", "toy.csv"][..],
            &["nowhere: not a model directory"][..],
        ),
        (
            &["eval", MODEL, "nothing.csv"],
            &["nothing.csv: No such file"],
        ),
        (
            &["eval", MODEL, "toy.toml"],
            &["toy.toml", "does not tell its format"],
        ),
        (
            &["eval", MODEL, "foreign.csv"],
            &["foreign.csv:2", "excellent", "neg"],
        ),
        (
            &["eval", MODEL, "columns.csv"],
            &["columns.csv", "text", "a"],
        ),
        (
            &["eval", MODEL, "broken.csv"],
            &["broken.csv: line 3 opens a quote"],
        ),
        (
            &["eval", MODEL, "toy.csv", "--picture", "x.gif"],
            &["x.gif", ".png"],
        ),
        (
            &["eval", MODEL, "toy.csv", "--device", "tpu"],
            &["auto, cpu, cuda or cuda:N"],
        ),
        (&["predict", MODEL, "--input", "x.doc"], &["x.doc"]),
        (
            &["predict", MODEL, "good", "--output", "x.doc"],
            &["x.doc", ".csv, .tsv or .jsonl"],
        ),
        (
            &["predict", MODEL, "good", "--output", "no/x.csv"],
            &["no/x.csv"],
        ),
        (
            &["predict", MODEL, "good", "--threads", "0"],
            &["--threads: must be 1 to 1024"],
        ),
        (&["train", "bad.toml"], &["bad.toml", "train.epoch"]),
        (
            &["train", "toy.toml", "--set", "train.epochs=0"],
            &["train.epochs: must be 1"],
        ),
        (
            &["train", "toy.toml", "--set", "data.train=gone.csv"],
            &["gone.csv"],
        ),
        (
            &["train", "toy.toml", "--set", "embedding.vectors=gone.txt"],
            &["gone.txt"],
        ),
        (&["train", "toy.toml", "--out", "."], &["holds no run"]),
        (&["train", "none.toml"], &["none.toml: No such file"]),
        (&["frobnicate"], &["unrecognized subcommand"]),
    ] {
        let out = if arguments[0] == "train" && !arguments.contains(&"--out") {
            &["--out", "new"][..]
        } else {
            &[]
        };
        sandbox.fails(&[arguments, out].concat(), says);
        assert!(!sandbox.path().join("new").exists());
    }
    if cellway::runtime::cuda().is_err() {
        sandbox.fails(
            &["predict", MODEL, "good", "--device", "cuda"],
            &["device cuda:0: no NVIDIA driver", "--device cpu"],
        );
    }
}

#[test]
fn nobody_listening_to_errors_is_no_abort() {
    let sandbox = Sandbox::trained();
    let binary = assert_cmd::cargo::cargo_bin("cellway");
    let status = std::process::Command::new(binary)
        .args(["predict", "nowhere", "good"])
        .stderr(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .current_dir(sandbox.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn doctor_says_what_is_there() {
    let sandbox = Sandbox::new();
    let out = sandbox.stdout(&["doctor"]);
    assert!(
        out.contains("libtorch") && out.contains(cellway::runtime::LIBTORCH_VERSION),
        "{out}"
    );
    let findings: Value = serde_json::from_str(&sandbox.stdout(&["doctor", "--json"])).unwrap();
    let folder = findings["libtorch_folder"].as_str().unwrap();
    assert!(Path::new(folder).join("libtorch_cpu.so").exists());
    assert!(findings["threads"].as_u64().unwrap() >= 1);
    assert_eq!(
        findings["cuda_devices"] == 0,
        !findings["advice"].as_array().unwrap().is_empty()
    );
}

#[test]
fn every_command_has_help() {
    let sandbox = Sandbox::new();
    for command in [
        "doctor", "train", "eval", "export", "predict", "inspect", "import", "compare", "units",
    ] {
        assert!(
            sandbox
                .stdout(&[command, "--help"])
                .contains("Usage: cellway")
        );
    }
    assert!(sandbox.stdout(&["--version"]).contains("libtorch"));
}

#[test]
fn flags_of_train_are_checked_together_with_the_configuration() {
    let sandbox = Sandbox::new();
    let dropout = ["--set", "lstm.regularization.recurrent_dropout=0.2", "-q"];
    let train = |engine| {
        [
            &["train", "toy.toml", "--fast-dev-run", "--engine", engine],
            &dropout[..],
        ]
        .concat()
    };
    sandbox.fails(
        &train("fused"),
        &["lstm.regularization.recurrent_dropout", "native or plain"],
    );
    sandbox.stdout(&train("plain"));
    // Before the file, too, and nothing is kept.
    sandbox.stdout(&["train", "--fast-dev-run", "toy.toml", "-q"]);
    sandbox.stdout(&["train", "--fast-dev-run=2", "toy.toml", "-q"]);
    assert!(!sandbox.path().join("runs").exists());
}
