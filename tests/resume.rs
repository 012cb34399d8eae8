//! A training that is killed, or asked to stop, and started again with the same
//! command: it ends with the same bytes.
//!
//! `CELLWAY_KILLS=200 cargo test --release --test resume` kills more often.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt;
use cellway::random::Stream;
use common::sandbox::Sandbox;
use serde_json::Value;

const OPTIONS: [&str; 14] = [
    "train",
    "toy.toml",
    "--quiet",
    "--set",
    "train.epochs=40",
    "--set",
    "train.ema=0.9",
    "--set",
    "head.dropout=0.3",
    "--set",
    "train.snapshot_steps=5",
    "--set",
    "schedule.kind=plateau",
    "--out",
];

fn command(sandbox: &Sandbox, out: &str) -> Command {
    let mut command = Command::cargo_bin("cellway").unwrap();
    command.env_clear().env("OMP_NUM_THREADS", "1");
    command.current_dir(sandbox.path()).args(OPTIONS).arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Waits until the run has written something, so that a kill hits the training.
fn wait_for(path: &Path, child: &mut Child) {
    let started = Instant::now();
    while !path.exists() && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn said(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The model, the last snapshot, the predictions, and the log without times.
fn left(sandbox: &Sandbox, out: &str) -> Vec<Vec<u8>> {
    let run = sandbox.path().join(out);
    let mut snapshots: Vec<_> = fs::read_dir(run.join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .collect();
    snapshots.sort();
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let epochs: Vec<Value> = log
        .lines()
        .map(|line| {
            let mut epoch: Value = serde_json::from_str(line).unwrap();
            let keys = epoch.as_object_mut().unwrap();
            for time in ["texts_per_second", "tokens_per_second"] {
                keys.remove(time).unwrap();
            }
            epoch
        })
        .collect();
    let model = format!("{out}/model");
    let predict = [
        "predict",
        &model,
        "--json",
        "good film",
        "it all is bad indeed",
    ];
    vec![
        fs::read(run.join("model/model.safetensors")).unwrap(),
        fs::read(snapshots.last().unwrap().join("tensors.safetensors")).unwrap(),
        sandbox.stdout(&predict).into_bytes(),
        serde_json::to_vec(&epochs).unwrap(),
    ]
}

#[test]
fn killed_anywhere_and_started_again_it_ends_with_the_same_bytes() {
    let sandbox = Sandbox::new();
    let (code, error) = said(command(&sandbox, "whole").spawn().unwrap());
    assert_eq!(code, Some(0), "{error}");
    let expected = left(&sandbox, "whole");
    let kills: u64 = std::env::var("CELLWAY_KILLS").map_or(16, |text| text.parse().unwrap());
    let stream = Stream::new(20_240_301, "kills");
    let (mut killed, mut in_saving, mut run) = (0, 0, 0);
    while killed < kills {
        run += 1;
        let out = format!("killed-{run}");
        // Some runs are killed several times over.
        loop {
            let draw = stream.uniform(killed * 1000 + run);
            let mut training = command(&sandbox, &out);
            let saving = killed % 2 == 0;
            if saving {
                // About as many points as half a run has.
                training.env(
                    "CELLWAY_CRASH_AT",
                    format!("{}", 1 + (draw * 1500.0) as u64),
                );
            }
            let mut child = training.spawn().unwrap();
            if !saving {
                wait_for(&sandbox.path().join(&out).join("config.toml"), &mut child);
                std::thread::sleep(Duration::from_micros((draw * 400_000.0) as u64));
                child.kill().unwrap();
            }
            let (code, error) = said(child);
            match code {
                Some(0) => break,
                // Killed behind its last word.
                Some(2) if error.contains("holds a finished run") => break,
                None => {
                    killed += 1;
                    in_saving += u64::from(saving);
                }
                Some(code) => panic!("{code}: {error}"),
            }
            if killed >= kills {
                let (code, error) = said(command(&sandbox, &out).spawn().unwrap());
                // A run that had just ended is no longer to be gone on with.
                assert!(
                    code == Some(0) || error.contains("holds a finished run"),
                    "{error}"
                );
                break;
            }
        }
        assert!(left(&sandbox, &out) == expected, "{out}");
    }
    eprintln!("{killed} kills, {in_saving} of them inside saving, {run} runs");
    assert!(in_saving >= kills / 4);
}

#[test]
fn killed_while_it_writes_its_first_files_it_starts_again() {
    let sandbox = Sandbox::new();
    for at in 1..=12 {
        let out = format!("early-{at}");
        let mut training = command(&sandbox, &out);
        let options = ["--set", "train.epochs=1"];
        training
            .args(options)
            .env("CELLWAY_CRASH_AT", at.to_string());
        let (code, error) = said(training.spawn().unwrap());
        assert_eq!(code, None, "{error}");
        let mut again = command(&sandbox, &out);
        let (code, error) = said(again.args(options).spawn().unwrap());
        assert_eq!(code, Some(0), "{at}: {error}");
    }
}

#[test]
fn asked_to_stop_it_saves_and_goes_on_later() {
    let sandbox = Sandbox::new();
    said(command(&sandbox, "whole").spawn().unwrap());
    for signal in ["TERM", "INT"] {
        let mut child = command(&sandbox, signal).spawn().unwrap();
        wait_for(
            &sandbox.path().join(signal).join("metrics.jsonl"),
            &mut child,
        );
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let (code, error) = said(child);
        assert_eq!(code, Some(130), "{error}");
        assert!(error.contains("stopped after step"), "{error}");
        assert!(error.contains("the same command goes on"), "{error}");
        let (code, error) = said(command(&sandbox, signal).spawn().unwrap());
        assert_eq!(code, Some(0), "{error}");
        assert!(
            left(&sandbox, signal) == left(&sandbox, "whole"),
            "{signal}"
        );
        // Now it is finished.
        let (code, error) = said(command(&sandbox, signal).spawn().unwrap());
        assert_eq!(code, Some(2));
        assert!(error.contains("holds a finished run"), "{error}");
        let mut again = command(&sandbox, signal);
        let (code, error) = said(again.arg("--resume").spawn().unwrap());
        assert_eq!(code, Some(0), "{error}");
        let mut other = command(&sandbox, signal);
        let (code, error) = said(other.args(["--resume", "--set", "seed=3"]).spawn().unwrap());
        assert_eq!(code, Some(2));
        assert!(
            error.contains("\"seed = 3\" here and \"seed = 0\" there"),
            "{error}"
        );
    }
}
