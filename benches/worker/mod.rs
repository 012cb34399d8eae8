//! The worker of `scripts/bench`: reads what to make and to run, a line of JSON each,
//! and answers with a line of JSON. The protocol is in `scripts/benchmark/workers.py`.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use cellway::lstm::{Call, Engine, Lstm, LstmConfig, Mode, PackedLstm, WeightStorage};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    threads: Option<i32>,
    make: Option<Make>,
    run: Option<String>,
    times: Option<usize>,
    drop: Option<String>,
}

/// Who computes.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Fused,
    Native,
    /// Native, computing its gates once more in the backward pass.
    Recompute,
    /// Native with its weights packed once.
    Packed,
}

#[derive(Deserialize)]
struct Make {
    name: String,
    how: How,
    input: i64,
    hidden: i64,
    /// The lengths of the sequences of each batch.
    batches: Vec<Vec<i64>>,
    backward: bool,
}

struct Batch {
    x: Tensor,
    /// `None`: all are as long as the longest.
    lengths: Option<Vec<i64>>,
}

/// One layer in one direction. A run reads every batch once, and where it goes back
/// through it, does so from ones to the weights and the input.
struct Job {
    lstm: Lstm,
    packed: Option<PackedLstm>,
    how: How,
    batches: Vec<Batch>,
    backward: bool,
}

/// The same in every worker: they are to compute the same.
fn numbers(shape: &[i64], start: i64, scale: f32) -> Tensor {
    let count: i64 = shape.iter().product();
    let number = |place: i64| ((place * 7919 % 1009) as f32 / 1009.0 - 0.5) * scale;
    let all: Vec<f32> = (start..start + count).map(number).collect();
    Tensor::from_slice(&all).reshape(shape)
}

impl Job {
    fn new(make: &Make) -> Result<Job> {
        let gates = 4 * make.hidden;
        let lstm = Lstm::from_tensors(LstmConfig::new(make.input, make.hidden), |name| {
            let (number, shape) = match name {
                "weight_ih_l0" => (0, vec![gates, make.input]),
                "weight_hh_l0" => (1, vec![gates, make.hidden]),
                "bias_ih_l0" => (2, vec![gates]),
                _ => (3, vec![gates]),
            };
            let scale = 2.0 / (make.hidden as f32).sqrt();
            Ok(numbers(&shape, 31 * number, scale).set_requires_grad(true))
        })?;
        let batch = |lengths: &Vec<i64>| {
            let longest = lengths.iter().copied().max().context("an empty batch")?;
            let x = numbers(&[lengths.len() as i64, longest, make.input], 0, 2.0);
            let full = lengths.iter().all(|&length| length == longest);
            Ok(Batch {
                x: x.set_requires_grad(make.backward),
                lengths: (!full).then(|| lengths.clone()),
            })
        };
        let packed = match make.how {
            How::Packed => Some(lstm.pack(WeightStorage::Same)?),
            How::Fused | How::Native | How::Recompute => None,
        };
        Ok(Job {
            lstm,
            packed,
            how: make.how,
            batches: make.batches.iter().map(batch).collect::<Result<_>>()?,
            backward: make.backward,
        })
    }

    fn read(&self, batch: &Batch) -> Result<Tensor> {
        let call = Call {
            lengths: batch.lengths.as_deref(),
            engine: match self.how {
                How::Fused => Engine::Fused,
                How::Native | How::Recompute | How::Packed => Engine::Native,
            },
            recompute: self.how == How::Recompute && self.backward,
            mode: Mode::Eval,
            ..Call::default()
        };
        let made = match &self.packed {
            None => self.lstm.forward(&batch.x, &call)?,
            Some(packed) => packed.forward(&batch.x, &call)?,
        };
        Ok(made.output)
    }

    fn run(&self) -> Result<()> {
        for batch in &self.batches {
            if self.backward {
                let output = self.read(batch)?;
                let parameters = self.lstm.parameters();
                let mut inputs: Vec<&Tensor> =
                    parameters.iter().map(|(_, tensor)| *tensor).collect();
                inputs.push(&batch.x);
                // From ones everywhere; those in the padding are known not to matter.
                Tensor::f_run_backward(&[output], &inputs, false, false)?;
            } else {
                drop(tch::no_grad(|| self.read(batch))?);
            }
        }
        Ok(())
    }

    /// The engine that the library would take.
    fn auto(&self) -> Option<String> {
        let engine = self.lstm.engine(&Call::default());
        Some(format!("{engine:?}").to_lowercase())
    }

    /// The sum of what the last batch gives, without signs.
    fn check(&self) -> Result<f64> {
        let last = self.batches.last().context("no batch")?;
        let output = tch::no_grad(|| self.read(last))?;
        let sum = output
            .f_to_kind(Kind::Double)?
            .f_abs()?
            .f_sum(Kind::Double)?;
        Ok(f64::try_from(sum)?)
    }
}

fn answer(jobs: &mut HashMap<String, Job>, line: &str) -> Result<Value> {
    let question: Question = serde_json::from_str(line)?;
    if let Some(threads) = question.threads {
        tch::set_num_threads(threads);
    }
    if let Some(make) = question.make {
        let job = Job::new(&make)?;
        let (check, auto) = (job.check()?, job.auto());
        jobs.insert(make.name, job);
        return Ok(json!({"ok": true, "check": check, "auto": auto}));
    }
    if let Some(name) = question.drop {
        jobs.remove(&name);
    }
    let Some(name) = question.run else {
        return Ok(json!({"ok": true}));
    };
    let job = jobs
        .get(&name)
        .with_context(|| format!("there is no {name}"))?;
    let mut seconds = Vec::new();
    for _ in 0..question.times.unwrap_or(1) {
        let start = Instant::now();
        job.run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({"seconds": seconds}))
}

/// Answers until there are no more questions.
pub fn serve() -> io::Result<()> {
    let mut jobs = HashMap::new();
    for line in io::stdin().lock().lines() {
        let said = answer(&mut jobs, &line?)
            .unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        let mut out = io::stdout().lock();
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}
