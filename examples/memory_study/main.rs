//! The memory study: a tanh RNN and LSTMs with forget biases of 0, 1 and by chrono
//! initialization, all of one hidden size, learn tasks whose answer lies far back.
//!
//! ```text
//! cargo run --release --example memory_study -- --out runs/memory
//! ```
//!
//! The study measures the law of Hochreiter (1991) and of Bengio, Simard and Frasconi
//! (1994): a gradient that goes through a matrix and a tanh at each time step vanishes or
//! explodes with the distance, and then nothing that lies further back can be learned. On
//! the way through the cell state it is multiplied by the forget gate alone (Hochreiter
//! and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000), so that it reaches as far as
//! the product of the gates does. Everything about LSTMs, optimizers and pictures comes
//! from the public API of `cellway`.

mod models;
mod page;
mod profile;
mod tasks;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cellway::error::{Error, Result};
use cellway::files::write_atomically;
use cellway::metrics::Metric;
use cellway::runtime::keep_memory;
use cellway::train::optim::{Group, Optimizer, OptimizerSettings};
use cellway::train::schedule::Schedule;
use cellway::train::{ScheduleConfig, Span, clip_norm};
use clap::{Parser, ValueEnum, value_parser};
use serde::Serialize;
use serde_json::json;
use tch::Kind;

use models::{Model, ModelKind};
use profile::{GradientProfile, rounded};
use tasks::{Task, stream};

/// Sequences of a training batch.
const BATCH: i64 = 16;
/// Learning rates of the LSTMs and of the tanh RNN, whose loss jumps with that of the
/// LSTMs; they rise over so many training steps.
const LEARNING_RATE: f64 = 1e-2;
const RNN_LEARNING_RATE: f64 = 1e-3;
const WARMUP: u64 = 100;
/// The norm of all gradients together that longer ones are scaled down to.
const MAX_NORM: f64 = 0.1;
/// Test batches, and the sequences of each.
const TEST_BATCHES: u64 = 20;
const TEST_BATCH: i64 = 50;
/// The most points of a loss curve.
const CURVE: u64 = 100;

/// Measure how far memory reaches: an RNN and LSTMs on tasks that ask for it
#[derive(Debug, Parser)]
struct Args {
    /// Folder for study.json, index.html and a picture of each task
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Task to learn (may be repeated) [default: both]
    #[arg(long)]
    task: Vec<TaskArg>,

    /// Time steps T that lie between, or are to be read [default: 50 for copy, 100 for adding]
    #[arg(long, value_name = "T", value_parser = value_parser!(i64).range(4..=100_000))]
    steps: Option<i64>,

    /// Hidden size of all models [default: 64]
    #[arg(long, value_name = "H", value_parser = value_parser!(i64).range(1..=4096))]
    hidden: Option<i64>,

    /// Training steps for each task and model [default: 8000 for copy, 4000 for adding]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    training_steps: Option<u64>,

    /// Seed for parameters and sequences
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Small defaults that take seconds
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TaskArg {
    /// Ten symbols, to be recalled in their order
    Copy,
    /// The sum of two marked numbers
    Adding,
}

impl Args {
    fn hidden(&self) -> i64 {
        self.hidden.unwrap_or(if self.quick { 16 } else { 64 })
    }

    /// The tasks, with the training steps of each.
    fn tasks(&self) -> Vec<(Task, u64)> {
        let (copy, adding) = match self.quick {
            false => ((50, 8000), (100, 4000)),
            true => ((5, 300), (9, 600)),
        };
        let with = |task: fn(i64) -> Task, (steps, training)| {
            let task = task(self.steps.unwrap_or(steps));
            (task, self.training_steps.unwrap_or(training))
        };
        let wanted = |task| self.task.is_empty() || self.task.contains(&task);
        let copy = wanted(TaskArg::Copy).then(|| with(Task::Copy, copy));
        let adding = wanted(TaskArg::Adding).then(|| with(Task::Adding, adding));
        copy.into_iter().chain(adding).collect()
    }
}

/// What came of one model on one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Outcome {
    task: Task,
    model: ModelKind,
    training_steps: u64,
    /// Training step, and the mean training loss since the previous point. Every batch
    /// has sequences that were not seen before.
    curve: Vec<(u64, f64)>,
    /// The mean loss of the test sequences, and its standard error.
    test_loss: f64,
    test_error: f64,
    /// The share of the answers that is right on test sequences.
    accuracy: f64,
    baseline: f64,
    verdict: &'static str,
    before: GradientProfile,
    after: GradientProfile,
}

/// How a test loss compares with the baseline. The test sequences are a sample: within
/// three standard errors of the baseline, or 1 % of it, the two are called equal.
fn verdict(loss: f64, standard_error: f64, baseline: f64) -> &'static str {
    let near = (3.0 * standard_error).max(0.01 * baseline);
    match loss {
        loss if loss <= 0.1 * baseline => "solves the task",
        loss if loss < baseline - near => "gets below the baseline",
        loss if loss <= baseline + near => "stays at the baseline",
        _ => "ends above the baseline",
    }
}

/// Trains a model on a task and measures it: on one thread a pure function of its
/// arguments.
fn train(seed: u64, hidden: i64, task: Task, steps: u64, kind: ModelKind) -> Result<Outcome> {
    let name = format!("{}, {}", task.name(), kind.title());
    let start = stream(seed, &format!("parameters {}", task.name()));
    let model = Model::new(kind, task, hidden, start)?;
    let held_out = task.batch(seed, "test", u64::MAX, 16);
    let before = GradientProfile::of(&model, task, &held_out)?;

    let group = Group {
        parameters: model.parameters(),
        rate_factor: 1.0,
        weight_decay: 0.0,
    };
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), vec![group])?;
    optimizer.fuse();
    let rate = match kind {
        ModelKind::Rnn => RNN_LEARNING_RATE,
        _ => LEARNING_RATE,
    };
    let warmup = ScheduleConfig {
        warmup: Some(Span::Steps(WARMUP)),
        ..ScheduleConfig::default()
    };
    let schedule = Schedule::new(&warmup, rate, Metric::Loss, steps, 1);
    let parameters = model.parameters();
    let (mut curve, mut losses) = (Vec::new(), Vec::new());
    for step in 1..=steps {
        let batch = task.batch(seed, "train", step - 1, BATCH);
        let outputs = model.outputs(&batch.input, batch.target.size()[0])?;
        let losses_of_steps = task.losses(&outputs, &batch.target);
        let of_sequences = losses_of_steps.mean_dim(0i64, false, None::<Kind>);
        let loss = of_sequences.mean(Kind::Float);
        optimizer.zero_grad();
        loss.backward();
        clip_norm(parameters.iter().map(|(_, tensor)| tensor), Some(MAX_NORM));
        optimizer.step(schedule.rate(step - 1))?;

        losses.push(loss.double_value(&[]));
        // Point n of the curve is at step ceil(n steps / points).
        if step >= ((curve.len() as u64 + 1) * steps).div_ceil(CURVE.min(steps)) {
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            if !mean.is_finite() {
                let message = format!("{name}: the loss diverged before training step {step}");
                return Err(Error::NonFinite(message));
            }
            curve.push((step, rounded(mean)));
            losses.clear();
            if curve.len().is_multiple_of(25) {
                eprintln!("{name}: training step {step} of {steps}, loss {mean:.4}");
            }
        }
    }

    let (mut losses, mut right) = (Vec::new(), 0.0);
    for number in 0..TEST_BATCHES {
        let _no_grad = tch::no_grad_guard();
        let batch = task.batch(seed, "test", number, TEST_BATCH);
        let outputs = model.outputs(&batch.input, batch.target.size()[0])?;
        let of_steps = task.losses(&outputs, &batch.target);
        losses.extend(Vec::<f64>::try_from(of_steps.mean_dim(
            0i64,
            false,
            Kind::Double,
        ))?);
        right += (task.right(&outputs, &batch.target).to_kind(Kind::Double))
            .mean(Kind::Double)
            .double_value(&[]);
    }
    let count = losses.len() as f64;
    let loss = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|one| (one - loss).powi(2)).sum::<f64>() / count;
    let (error, baseline) = ((variance / count).sqrt(), task.baseline());
    let verdict = verdict(loss, error, baseline);
    let share = 100.0 * loss / baseline;
    eprintln!("{name} {verdict}: test loss {loss:.4} ± {error:.4}, {share:.1} % of the baseline");
    Ok(Outcome {
        task,
        model: kind,
        training_steps: steps,
        curve,
        test_loss: rounded(loss),
        test_error: rounded(error),
        accuracy: rounded(right / TEST_BATCHES as f64),
        baseline,
        verdict,
        before,
        after: GradientProfile::of(&model, task, &held_out)?,
    })
}

/// Trains all models on all tasks, `workers` of them at a time with one thread each. The
/// numbers do not depend on `workers`.
fn study(args: &Args, workers: usize) -> Result<Vec<Outcome>> {
    let of_task = |(task, steps)| ModelKind::ALL.map(|model| (task, steps, model));
    let parts: Vec<(Task, u64, ModelKind)> = args.tasks().into_iter().flat_map(of_task).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Outcome)>> {
        tch::set_num_threads(1); // of this thread
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(task, steps, model)) = parts.get(n) else {
                return Ok(done);
            };
            done.push((n, train(args.seed, args.hidden(), task, steps, model)?));
        }
    };
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            outcomes.extend(worker.join().expect("no training panics")?);
        }
        Ok::<_, Error>(())
    })?;
    outcomes.sort_by_key(|(n, _)| *n);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

fn run(args: &Args) -> Result<()> {
    let path = args.out.join("study.json");
    if path.exists() {
        let message = "is there already; give another folder, or remove the file";
        return Err(Error::file(path, message));
    }
    fs::create_dir_all(&args.out).map_err(Error::io(&args.out))?;
    let outcomes = study(args, thread::available_parallelism().map_or(1, usize::from))?;
    let settings = json!({
        "cellway": env!("CARGO_PKG_VERSION"),
        "seed": args.seed,
        "hidden": args.hidden(),
        "batch": BATCH,
        "optimizer": "adam",
        "learning_rate": LEARNING_RATE,
        "rnn_learning_rate": RNN_LEARNING_RATE,
        "warmup": WARMUP,
        "max_norm": MAX_NORM,
    });
    page::write(&args.out, &settings.to_string(), &outcomes)?;
    let study = json!({ "settings": settings, "outcomes": outcomes });
    // The last to be written: the study is finished then.
    write_atomically(&path, |file| writeln!(file, "{study}"))?;
    println!("{}", args.out.join("index.html").display());
    Ok(())
}

fn main() -> ExitCode {
    keep_memory();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
