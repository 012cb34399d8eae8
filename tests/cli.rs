//! The command line as a person types it: results, errors, exit codes.

mod common;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// A folder with data, a configuration and a trained model.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench {
            folder: tempfile::tempdir().unwrap(),
        };
        common::write_toy(bench.folder.path());
        bench
    }

    fn trained() -> Bench {
        let bench = Bench::new();
        bench
            .cellway(&["train", "toy.toml", "--quiet"])
            .assert()
            .success();
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn cellway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("cellway").unwrap();
        // A plain environment: no LD_LIBRARY_PATH, nothing of cargo's. One
        // thread, since many of these run at once.
        command.env_clear().env("OMP_NUM_THREADS", "1");
        command.current_dir(self.path()).args(arguments);
        command
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self
            .cellway(arguments)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone();
        String::from_utf8(output).unwrap()
    }

    /// Runs what has to fail with exit code 2 and one line that says all this,
    /// and with no panic and nothing on standard output.
    fn fails(&self, arguments: &[&str], says: &[&str]) {
        let assert = self.cellway(arguments).assert().code(2);
        let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        for part in says {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
        assert!(
            !error.contains("panicked") && !error.contains("internal error"),
            "{error}"
        );
        assert!(assert.get_output().stdout.is_empty());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

const MODEL: &str = "runs/toy/model";

#[test]
fn train_shows_what_it_does_and_fills_the_run_folder() {
    let bench = Bench::new();
    let assert = bench.cellway(&["train", "toy.toml"]).assert().success();
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
    let run = bench.path().join("runs/toy");
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
            "test.jsonl"
        ]
    );
    // The resolved configuration trains the same model again.
    bench
        .cellway(&["train", "runs/toy/config.toml", "--out", "again", "-q"])
        .assert()
        .success();
    let weights =
        |run: &str| fs::read(bench.path().join(run).join("model/model.safetensors")).unwrap();
    assert_eq!(weights("runs/toy"), weights("again"));
}

#[test]
fn train_keeps_an_earlier_run() {
    let bench = Bench::trained();
    let before = fs::read(bench.path().join("runs/toy/metrics.jsonl")).unwrap();
    let refused = bench.cellway(&["train", "toy.toml", "-q"]).assert().code(2);
    let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(error.contains("runs/toy: holds an earlier run"), "{error}");
    assert_eq!(
        fs::read(bench.path().join("runs/toy/metrics.jsonl")).unwrap(),
        before
    );
    bench
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
    let after = fs::read_to_string(bench.path().join("runs/toy/metrics.jsonl")).unwrap();
    assert_eq!(after.lines().count(), 1);
}

#[test]
fn train_as_json_is_one_document() {
    let bench = Bench::new();
    let out = bench.stdout(&["train", "toy.toml", "--json", "-q"]);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["epochs"].as_array().unwrap().len(), 3);
    assert!(summary["test"]["accuracy"].as_f64().unwrap() > 0.9);
}

#[test]
fn eval_measures_and_draws() {
    let bench = Bench::trained();
    let out = bench.stdout(&["eval", MODEL, "toy.csv", "--picture", "matrix.svg"]);
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
        fs::read_to_string(bench.path().join("matrix.svg"))
            .unwrap()
            .contains("<svg")
    );
    let metrics: Value =
        serde_json::from_str(&bench.stdout(&["eval", MODEL, "runs/toy/test.jsonl", "--json"]))
            .unwrap();
    assert_eq!(metrics["count"], 12);
    for engine in ["plain", "fused"] {
        let out = bench.stdout(&["eval", MODEL, "toy.csv", "--engine", engine, "--json"]);
        assert_eq!(
            serde_json::from_str::<Value>(&out).unwrap()["accuracy"],
            1.0
        );
    }
}

#[test]
fn predict_answers_for_arguments_lines_and_files() {
    let bench = Bench::trained();
    let out = bench.stdout(&["predict", MODEL, "the film is good", "it all is bad"]);
    let labels: Vec<&str> = out.lines().map(|line| &line[..3]).collect();
    assert_eq!(labels, ["pos", "neg"], "{out}");

    let piped = bench
        .cellway(&["predict", MODEL])
        .write_stdin("so bad\nso good\n")
        .assert()
        .success();
    let out = String::from_utf8_lossy(&piped.get_output().stdout).into_owned();
    assert!(out.lines().next().unwrap().ends_with("so bad"), "{out}");

    bench.write("in.csv", "id,text\n1,\"good, film\"\n2,bad\n");
    for (name, separator) in [("out.csv", ','), ("out.tsv", '\t')] {
        bench
            .cellway(&["predict", MODEL, "--input", "in.csv", "--output", name])
            .assert()
            .success();
        let table = fs::read_to_string(bench.path().join(name)).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        let header = ["text", "label", "neg", "pos"].join(&separator.to_string());
        assert_eq!(lines[0], header);
        assert!(
            lines[1].contains("pos") && lines[2].contains("neg"),
            "{table}"
        );
        assert_eq!(lines.len(), 3);
    }
    bench
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
    let file = fs::read_to_string(bench.path().join("out.jsonl")).unwrap();
    let stdout = bench.stdout(&["predict", MODEL, "--input", "in.csv", "--json"]);
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
    let bench = Bench::trained();
    let mut text = String::new();
    for n in 0..20_000 {
        text += &format!(
            "film {n} is {}{}\n",
            "so ".repeat(n % 7),
            ["good", "bad"][n % 2]
        );
    }
    let reversed: Vec<&str> = text.lines().rev().collect();
    bench.write("many.txt", &text);
    bench.write("reversed.txt", &reversed.join("\n"));
    let out = bench.stdout(&["predict", MODEL, "--input", "many.txt", "-q"]);
    assert_eq!(out.lines().count(), 20_000);
    assert!(
        out.lines()
            .zip(text.lines())
            .all(|(line, text)| line.ends_with(text))
    );
    // The same texts among other neighbours: the same labels.
    let again = bench.stdout(&["predict", MODEL, "--input", "reversed.txt", "-q"]);
    for (a, b) in out.lines().zip(again.lines().rev()) {
        assert_eq!(&a[..3], &b[..3]);
    }
}

#[test]
fn predict_refuses_or_counts_what_it_cannot_read() {
    let bench = Bench::trained();
    bench.write("holes.txt", "good\n\nbad\n");
    bench.fails(
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
    assert!(!bench.names().contains(&"out.csv".to_owned()));
    assert!(
        !bench
            .names()
            .iter()
            .any(|name| name.starts_with(".cellway"))
    );
    let assert = bench
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
fn what_is_wrong_is_named() {
    let bench = Bench::trained();
    bench.write("broken.csv", "text,label\ngood,pos\n\"open");
    bench.write("foreign.csv", "text,label\ngood,excellent\n");
    bench.write("columns.csv", "a,b\n1,2\n");
    bench.write(
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
        bench.fails(&[arguments, out].concat(), says);
        assert!(!bench.path().join("new").exists());
    }
    if cellway::runtime::cuda().is_err() {
        bench.fails(
            &["predict", MODEL, "good", "--device", "cuda"],
            &["device cuda:0: no NVIDIA driver", "--device cpu"],
        );
    }
}

#[test]
fn predict_never_writes_over_its_input_or_what_is_no_file() {
    let bench = Bench::trained();
    bench.write("in.csv", "id,text\n1,good\n");
    std::os::unix::fs::symlink(bench.path().join("in.csv"), bench.path().join("link.csv")).unwrap();
    for output in ["in.csv", "link.csv", "./in.csv"] {
        bench.fails(
            &["predict", MODEL, "-i", "in.csv", "-o", output],
            &[output, "is the input too"],
        );
    }
    let text = fs::read_to_string(bench.path().join("in.csv")).unwrap();
    assert_eq!(text, "id,text\n1,good\n");
    fs::create_dir(bench.path().join("folder.csv")).unwrap();
    bench.fails(
        &["predict", MODEL, "good", "-o", "folder.csv"],
        &["no file that can be replaced"],
    );
}

#[test]
fn what_was_written_as_tsv_is_read_as_it_was() {
    let bench = Bench::trained();
    bench.write(
        "in.jsonl",
        "{\"text\":\"a \\\"good\\\" film, \\\"so\\\"\"}\n",
    );
    bench
        .cellway(&["predict", MODEL, "-i", "in.jsonl", "-o", "out.tsv"])
        .assert()
        .success();
    bench
        .cellway(&["predict", MODEL, "-i", "out.tsv", "-o", "again.tsv"])
        .assert()
        .success();
    let read = |name: &str| fs::read_to_string(bench.path().join(name)).unwrap();
    assert!(
        read("out.tsv").contains("\na \"good\" film, \"so\"\tpos\t"),
        "{}",
        read("out.tsv")
    );
    assert_eq!(read("out.tsv"), read("again.tsv"));
    bench.fails(
        &["predict", MODEL, "two\nlines", "-o", "x.tsv"],
        &["which TSV cannot"],
    );
    // For people a line is a line, and colours are not for texts to set.
    let out = bench.stdout(&["predict", MODEL, "good\n\u{1b}[31mred"]);
    assert!(out.ends_with("good\\n\\u{1b}[31mred\n"), "{out}");
}

#[test]
fn nobody_listening_to_errors_is_no_abort() {
    let bench = Bench::trained();
    let binary = assert_cmd::cargo::cargo_bin("cellway");
    let status = std::process::Command::new(binary)
        .args(["predict", "nowhere", "good"])
        .stderr(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .current_dir(bench.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn doctor_says_what_is_there() {
    let bench = Bench::new();
    let out = bench.stdout(&["doctor"]);
    assert!(
        out.contains("libtorch") && out.contains(cellway::runtime::LIBTORCH_VERSION),
        "{out}"
    );
    let findings: Value = serde_json::from_str(&bench.stdout(&["doctor", "--json"])).unwrap();
    let folder = findings["libtorch_folder"].as_str().unwrap();
    assert!(Path::new(folder).join("libtorch_cpu.so").exists());
    assert!(findings["threads"].as_u64().unwrap() >= 1);
    assert_eq!(
        findings["cuda_devices"] == 0,
        !findings["advice"].as_array().unwrap().is_empty()
    );
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let bench = Bench::trained();
    let lines = "good film\n".repeat(50_000);
    bench.write("many.txt", &lines);
    let binary = assert_cmd::cargo::cargo_bin("cellway");
    let script = format!(
        "{} predict {MODEL} --input many.txt -q | head -1; exit ${{PIPESTATUS[0]}}",
        binary.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(bench.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_command_has_help() {
    let bench = Bench::new();
    for command in ["doctor", "train", "eval", "predict"] {
        assert!(
            bench
                .stdout(&[command, "--help"])
                .contains("Usage: cellway")
        );
    }
    assert!(bench.stdout(&["--version"]).contains("libtorch"));
}
