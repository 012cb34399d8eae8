//! Every command of the README does what it says.

mod common;

use std::collections::BTreeSet;
use std::fs;

use assert_cmd::Command;

/// The lines of all fenced blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(common::root().join("README.md")).unwrap();
    let fence = format!("```{language}");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == fence;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn every_cellway_command_runs_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    common::write_toy(folder.path());
    // What the README calls reviews.csv, mine.toml and the demo's run, small.
    fs::rename(path("toy.csv"), path("reviews.csv")).unwrap();
    let config = blocks("toml")
        .join("\n")
        .replace("hidden_size = 64", "hidden_size = 4");
    assert!(config.contains("hidden_size = 4"), "{config}");
    fs::write(path("mine.toml"), &config).unwrap();
    fs::write(path("sweep.toml"), blocks("toml sweep").join("\n")).unwrap();
    fs::create_dir(path("configs")).unwrap();
    fs::write(path("configs/demo.toml"), &config).unwrap();
    let run = |line: &str| {
        let words = shell_words(line);
        assert_eq!(words[0], "cellway");
        let mut command = Command::cargo_bin("cellway").unwrap();
        // One thread, since other tests run at the same time.
        command.env("OMP_NUM_THREADS", "1");
        command.current_dir(folder.path()).args(&words[1..]);
        command.assert().success();
    };
    run("cellway train mine.toml --out runs/demo --set train.epochs=1");
    let lines = blocks("sh");
    let commands: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("cellway "))
        .collect();
    assert!(commands.len() >= 8);
    for line in commands {
        run(line);
    }
    for made in [
        "labelled.csv",
        "confusion.png",
        "runs/mine/curve.png",
        "runs/longer/model/config.json",
        "rates.png",
        "units.html",
        "sweeps/mine/best.toml",
    ] {
        assert!(path(made).exists(), "{made}");
    }
}

#[test]
fn every_other_command_is_run_by_a_test_of_the_scripts() {
    let commands: BTreeSet<String> = blocks("sh")
        .into_iter()
        .filter(|line| !line.starts_with("cellway "))
        .collect();
    let run_elsewhere = [
        // The tests of the example, with --quick; all of it takes minutes.
        "cargo run --release --example memory_study -- --out runs/memory",
        // scripts/tests/test_benchmark.py, its parts; all of it takes an hour.
        "scripts/bench",
        "scripts/data glove", // scripts/tests/test_data.py, from a file
        "scripts/data sst",   // the same
        "scripts/demo",       // scripts/test, one epoch
        "scripts/gpu-check",  // tests/gpu_check.rs, on the CPU
        // tests/lstm_parity.rs and tests/twin.rs, with more than there is time for.
        "scripts/prove parity",
        "scripts/prove twin",
        "scripts/setup --cpu", // scripts/tests/test_setup.py, from wheels of its own
        "scripts/test",        // who runs this
    ];
    assert_eq!(commands, run_elsewhere.map(str::to_owned).into());
}

/// Words of a line with double quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}
