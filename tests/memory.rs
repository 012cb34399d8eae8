//! The memory of a long training stays flat: 10,000 steps in a process of their
//! own, which is this test program started again.

mod common;

use std::path::Path;
use std::process::Command;

use cellway::train::{Config, Earlier, EpochRecord, Observer, RunFolder, StepRecord, fit, prepare};
use tch::{Device, Kind, Tensor};

/// Set for the process that trains: whether it leaks on purpose.
const LEAKS: &str = "CELLWAY_TEST_LEAKS";
/// By then caches, pools and the allocator have what they need.
const WARM: u64 = 2_000;
const LAST: u64 = 10_000;
/// How often memory is read.
const EVERY: u64 = 100;
/// How much more may be resident at any later time, in KiB: 128 bytes a step. It was
/// 84 to 256 KiB in all.
const GROWTH: u64 = 1024;

/// Prints the resident memory every so many steps.
struct Watch {
    leaks: bool,
    kept: Vec<Tensor>,
}

impl Observer for Watch {
    fn epoch_starts(&mut self, _: u64, _: u64) {}

    fn stepped(&mut self, record: &StepRecord) {
        if self.leaks {
            // 1 KiB a step, and the tensor around it.
            self.kept
                .push(Tensor::full([256], record.loss, (Kind::Float, Device::Cpu)));
        }
        if record.step.is_multiple_of(EVERY) {
            println!("resident {} {}", record.step, resident());
        }
    }

    fn epoch_ends(&mut self, _: &EpochRecord) {}
}

/// The resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// What the process does that is watched.
fn train(leaks: bool) {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let start = prepare(&config).unwrap();
    let run = RunFolder::create(folder.path().join("run"), &config, Earlier::GoOn).unwrap();
    let kept = Vec::new();
    let mut watch = Watch { leaks, kept };
    let summary = fit(
        &config,
        &start.model,
        &start.train,
        &start.dev,
        &run,
        &mut watch,
    );
    let steps = summary.unwrap().epochs.last().unwrap().steps;
    assert!(steps >= LAST, "{steps}");
}

/// With everything that may hold on to a tensor: averages, dropout, a schedule,
/// accumulation, snapshots, batches of different lengths.
fn config(folder: &Path) -> Config {
    common::write_toy(folder);
    // 60 steps an epoch.
    let path = folder.join("toy.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    std::fs::write(&path, format!("{header}\n{}", rows.repeat(10))).unwrap();
    let options = [
        "train.epochs=167",
        "train.accumulate=2",
        "train.ema=0.9",
        "train.snapshot_steps=500",
        "train.learning_rate=0.001",
        "head.dropout=0.3",
        "lstm.num_layers=2",
        "lstm.dropout=0.2",
        "schedule.kind=\"cosine\"",
    ];
    let overrides: Vec<String> = options.map(str::to_owned).into();
    let mut config = Config::load(folder.join("toy.toml"), &overrides).unwrap();
    config.data.train = path;
    config
}

/// Resident memory by step, of a process that trains.
fn measured(leaks: bool) -> Vec<(u64, u64)> {
    let name = "the_process_that_trains";
    let output = common::run(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(LEAKS, leaks.to_string())
            .env("OMP_NUM_THREADS", "1"),
    );
    let number = |word: Option<&str>| word.unwrap().parse().unwrap();
    let line = |line: &str| {
        let mut words = line.split_once("resident ")?.1.split(' ');
        Some((number(words.next()), number(words.next())))
    };
    output.lines().filter_map(line).collect()
}

/// How much more was resident at any time after the warm-up than at its end.
fn growth(measured: &[(u64, u64)]) -> u64 {
    assert_eq!(measured.len() as u64, LAST / EVERY);
    let at = |step| measured.iter().find(|(s, _)| *s == step).unwrap().1;
    let after = measured.iter().filter(|(step, _)| *step > WARM);
    let most = after.map(|(_, resident)| *resident).max().unwrap();
    eprintln!(
        "resident at step {WARM}: {} KiB, at most after it {most} KiB, at step {LAST} {} KiB",
        at(WARM),
        at(LAST)
    );
    most.saturating_sub(at(WARM))
}

#[test]
fn memory_stays_flat_over_ten_thousand_steps() {
    let growth = growth(&measured(false));
    assert!(growth < GROWTH, "memory grew by {growth} KiB");
}

#[test]
fn a_leak_is_noticed() {
    let growth = growth(&measured(true));
    assert!(growth > 2 * GROWTH, "memory grew by {growth} KiB only");
}

/// Nothing, unless one of the others started it.
#[test]
fn the_process_that_trains() {
    if let Ok(leaks) = std::env::var(LEAKS) {
        train(leaks == "true");
    }
}
