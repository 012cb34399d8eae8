//! `cellway sweep`: every candidate trained, ranked on dev, and gone on with.

mod common;

use std::fs;

use common::sandbox::Sandbox;
use serde_json::Value;

const PLAN: &str = r#"config = "toy.toml"
set = ["train.epochs=2", "text.max_tokens=12"]
seeds = [1, 2]
[values]
"train.learning_rate" = [1e-7, 0.02]
"head.pooling" = ["last", "max"]
"#;

fn sandbox(plan: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("search.toml"), plan).unwrap();
    sandbox
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path().join("sweeps/search").join(name)).unwrap()
}

#[test]
fn a_grid_is_trained_ranked_and_its_winner_can_be_trained_again() {
    let sandbox = sandbox(PLAN);
    let out = sandbox.stdout(&["sweep", "search.toml", "-q"]);
    let results: Value = serde_json::from_str(&read(&sandbox, "results.json")).unwrap();
    let candidates = results["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 4);
    let mean = |n: usize| candidates[n]["mean"].as_f64().unwrap();
    assert!((1..4).all(|n| mean(n - 1) >= mean(n)));
    // Nothing is learnt with a rate of 1e-7.
    assert_eq!(candidates[0]["values"]["train.learning_rate"], 0.02);
    assert!(mean(0) > mean(3) + 0.1, "{results:#}");
    for candidate in candidates {
        let trials = candidate["trials"].as_array().unwrap();
        let dev: Vec<f64> = trials
            .iter()
            .map(|trial| trial["trained"]["dev"].as_f64().unwrap())
            .collect();
        assert_eq!(dev.len(), 2);
        let expected = (dev[0] + dev[1]) / 2.0;
        assert!((candidate["mean"].as_f64().unwrap() - expected).abs() < 1e-12);
    }
    for part in [
        "rank",
        "head.pooling",
        "dev accuracy",
        "±",
        "on test",
        "sweep.png",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert_eq!(read(&sandbox, "table.md").lines().count(), 2 + 4);
    let run = [
        "train",
        "sweeps/search/best.toml",
        "--out",
        "again",
        "-q",
        "--json",
    ];
    let again: Value = serde_json::from_str(&sandbox.stdout(&run)).unwrap();
    let best = candidates[0]["trials"][0]["run"].as_str().unwrap();
    let first: Value =
        serde_json::from_str(&read(&sandbox, &format!("runs/{best}/results.json"))).unwrap();
    assert_eq!(again["test"], first["test"]);

    // The same command trains nothing anew, and says the same.
    let touched = |sandbox: &Sandbox| {
        let path = sandbox
            .path()
            .join("sweeps/search/runs")
            .join(best)
            .join("results.json");
        fs::metadata(path).unwrap().modified().unwrap()
    };
    let before = touched(&sandbox);
    assert_eq!(sandbox.stdout(&["sweep", "search.toml", "-q"]), out);
    assert_eq!(touched(&sandbox), before);

    fs::write(
        sandbox.path().join("search.toml"),
        PLAN.replace("0.02", "0.03"),
    )
    .unwrap();
    sandbox.fails(
        &["sweep", "search.toml", "-q"],
        &["sweep.toml", "is not what the plan says now"],
    );
}

#[test]
fn killed_and_started_again_it_ends_with_the_same_table() {
    let whole = sandbox(PLAN);
    whole.stdout(&["sweep", "search.toml", "-q"]);
    let killed = sandbox(PLAN);
    // As a kill leaves it: two runs done, one in the middle.
    let mut command = killed.cellway(&["sweep", "search.toml", "-q"]);
    let mut child = std::process::Command::new(command.get_program())
        .args(["sweep", "search.toml", "-q"])
        .env("OMP_NUM_THREADS", "1")
        .current_dir(killed.path())
        .spawn()
        .unwrap();
    let third = killed
        .path()
        .join("sweeps/search/runs/002-seed1/metrics.jsonl");
    let started = std::time::Instant::now();
    while !third.exists() && started.elapsed().as_secs() < 100 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(third.exists() && !killed.path().join("sweeps/search/table.md").exists());
    command.assert().success();
    for name in ["table.md", "results.json", "best.toml"] {
        assert_eq!(read(&killed, name), read(&whole, name), "{name}");
    }
}

#[test]
fn what_diverges_is_told_and_the_others_go_on() {
    let sandbox = sandbox(
        "config = \"toy.toml\"\nset = [\"train.epochs=1\", \"train.optimizer=sgd\", \
         \"train.clip_norm=inf\"]\n[values]\n\"train.learning_rate\" = [1e38, 0.1]\n",
    );
    let output = sandbox
        .cellway(&["sweep", "search.toml", "-q"])
        .assert()
        .success();
    let output = output.get_output();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("001-seed0: step "), "{error}");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        out.contains("failed") && out.contains("best: train.learning_rate=0.1"),
        "{out}"
    );
    let results: Value = serde_json::from_str(&read(&sandbox, "results.json")).unwrap();
    assert_eq!(results["best"], 2);
    assert!(results["candidates"][1]["trials"][0]["failed"].is_string());
    // It is not tried again.
    let again = sandbox.stdout(&["sweep", "search.toml", "-q"]);
    assert_eq!(again, out);
}

#[test]
fn a_wrong_plan_trains_nothing() {
    let wrong = sandbox(&PLAN.replace("0.02", "-1"));
    wrong.fails(
        &["sweep", "search.toml"],
        &["search.toml", "candidate", "train.learning_rate"],
    );
    assert!(!wrong.path().join("sweeps").exists());
    let metric =
        sandbox("config = \"toy.toml\"\n[values]\n\"train.metric\" = [\"loss\", \"accuracy\"]\n");
    metric.fails(
        &["sweep", "search.toml"],
        &["train.metric", "cannot be varied"],
    );
    let other = sandbox(PLAN);
    fs::create_dir_all(other.path().join("sweeps/search")).unwrap();
    fs::write(other.path().join("sweeps/search/notes.txt"), "mine").unwrap();
    other.fails(&["sweep", "search.toml"], &["holds no sweep"]);
}
