//! The worker of `scripts/bench` that runs candle's LSTM forward. The protocol is in
//! `scripts/benchmark/workers.py`; what is made is as in `benches/worker/mod.rs`,
//! number for number.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::rnn::{LSTM, LSTMConfig, RNN};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Question {
    make: Option<Make>,
    run: Option<String>,
    times: Option<usize>,
    drop: Option<String>,
}

#[derive(Deserialize)]
struct Make {
    name: String,
    input: usize,
    hidden: usize,
    batches: Vec<Vec<usize>>,
    backward: bool,
}

/// A run reads every batch once, padding too: candle's LSTM knows no lengths.
struct Job {
    lstm: LSTM,
    batches: Vec<Tensor>,
    lengths: Vec<usize>,
}

fn numbers(shape: &[usize], start: usize, scale: f32) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let number = |place: usize| ((place * 7919 % 1009) as f32 / 1009.0 - 0.5) * scale;
    let all: Vec<f32> = (start..start + count).map(number).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)
}

impl Job {
    fn new(make: &Make) -> Result<Job> {
        if make.backward {
            return Err(Error::Msg("only forward".to_owned()));
        }
        let gates = 4 * make.hidden;
        let shapes: [(&str, &[usize]); 4] = [
            ("weight_ih_l0", &[gates, make.input]),
            ("weight_hh_l0", &[gates, make.hidden]),
            ("bias_ih_l0", &[gates]),
            ("bias_hh_l0", &[gates]),
        ];
        let mut weights = HashMap::new();
        for (number, (name, shape)) in shapes.into_iter().enumerate() {
            let scale = 2.0 / (make.hidden as f32).sqrt();
            weights.insert(name.to_owned(), numbers(shape, 31 * number, scale)?);
        }
        let builder = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        let lstm = LSTM::new(make.input, make.hidden, LSTMConfig::default(), builder)?;
        let batch = |lengths: &Vec<usize>| {
            let longest = lengths.iter().copied().max().unwrap_or(0);
            numbers(&[lengths.len(), longest, make.input], 0, 2.0)
        };
        Ok(Job {
            lstm,
            batches: make.batches.iter().map(batch).collect::<Result<_>>()?,
            lengths: make.batches.last().cloned().unwrap_or_default(),
        })
    }

    fn run(&self) -> Result<Option<Tensor>> {
        let mut last = None;
        for x in &self.batches {
            last = Some(self.lstm.states_to_tensor(&self.lstm.seq(x)?)?);
        }
        Ok(last)
    }

    /// The sum of what stands at real tokens of the last batch, without signs.
    fn check(&self) -> Result<f64> {
        let mut sum = 0.0;
        if let Some(y) = self.run()? {
            let y = y.to_dtype(DType::F64)?.abs()?;
            for (row, &length) in self.lengths.iter().enumerate() {
                sum += y
                    .get(row)?
                    .narrow(0, 0, length)?
                    .sum_all()?
                    .to_scalar::<f64>()?;
            }
        }
        Ok(sum)
    }
}

fn answer(jobs: &mut HashMap<String, Job>, line: &str) -> Result<Value> {
    let question: Question = serde_json::from_str(line).map_err(Error::wrap)?;
    if let Some(make) = question.make {
        let job = Job::new(&make)?;
        let check = job.check()?;
        jobs.insert(make.name, job);
        return Ok(json!({"ok": true, "check": check}));
    }
    if let Some(name) = question.drop {
        jobs.remove(&name);
    }
    // The number of threads is RAYON_NUM_THREADS, which the process was started with.
    let Some(name) = question.run else {
        return Ok(json!({"ok": true}));
    };
    let job = jobs
        .get(&name)
        .ok_or_else(|| Error::Msg(format!("there is no {name}")))?;
    let mut seconds = Vec::new();
    for _ in 0..question.times.unwrap_or(1) {
        let start = Instant::now();
        job.run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({"seconds": seconds}))
}

fn main() -> io::Result<()> {
    let mut jobs = HashMap::new();
    for line in io::stdin().lock().lines() {
        let said =
            answer(&mut jobs, &line?).unwrap_or_else(|error| json!({"error": error.to_string()}));
        let mut out = io::stdout().lock();
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}
