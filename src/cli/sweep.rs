//! `cellway sweep`: trains every candidate of a search, and says which is best.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::Device;

use super::train::{INTERRUPTED, Trained, resolve, stop_flag, train};
use super::{DeviceArg, load_config, say, say_json, warn};
use crate::error::Error;
use crate::files::write_atomically;
use crate::metrics::{Metric, Metrics};
use crate::report::chart::{self, Chart, XScale};
use crate::report::{Progress, Table};
use crate::sweep::{Candidate, Plan, Ranked, Trial, TrialResult, deviation, mean, rank, shown};
use crate::train::{Earlier, EpochRecord, prepare};

/// The arguments of `cellway sweep`.
#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// What to vary (TOML)
    plan: PathBuf,

    #[command(flatten)]
    device: DeviceArg,

    /// Folder of the sweep [default: sweeps/ and the plan's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The results as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// A search that is running.
struct Running<'a> {
    plan: &'a Plan,
    folder: PathBuf,
    /// Locked for as long as it lasts.
    _plan: File,
    metric: Metric,
    device: Device,
    stop: Arc<AtomicBool>,
    progress: &'a Progress,
}

impl Sweep {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        let stop = stop_flag()?;
        let plan = Plan::load(&self.plan)?;
        let candidates = plan.candidates()?;
        let base = load_config(&plan.config, &plan.set)?;
        let device = self.device.resolve()?;
        let folder = self.folder();
        let sweep = Running {
            _plan: claim(&folder, &plan)?,
            plan: &plan,
            metric: metric(&plan, &candidates)?,
            device,
            stop,
            progress,
            folder,
        };
        let seeds = plan.seeds(base.seed);
        let mut done = Vec::new();
        for candidate in &candidates {
            let mut trials = Vec::new();
            for &seed in &seeds {
                let Some(trial) = sweep.trial(candidate, seed)? else {
                    warn("stopped, with a snapshot; the same command goes on from there");
                    return Ok(INTERRUPTED);
                };
                trials.push(trial);
            }
            done.push((candidate.number, trials));
        }
        let ranked = rank(sweep.metric, done);
        self.report(&sweep, &candidates, &ranked)?;
        Ok(0)
    }

    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let name = self.plan.file_stem().unwrap_or_default();
            PathBuf::from("sweeps").join(name)
        })
    }

    fn report(&self, sweep: &Running, candidates: &[Candidate], ranked: &[Ranked]) -> Result<()> {
        let rows = rows(sweep.plan, candidates, ranked);
        let headers = headers(sweep.plan, sweep.metric);
        let write = |name: &str, text: String| -> Result<PathBuf> {
            let path = sweep.folder.join(name);
            write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
            Ok(path)
        };
        let markdown = write("table.md", markdown(&headers, &rows))?;
        let results = json!({
            "metric": sweep.metric.name(),
            "best": ranked.first().filter(|best| best.mean.is_some()).map(|best| best.candidate),
            "candidates": ranked
                .iter()
                .map(|ranked| with_values(candidates, ranked))
                .collect::<Result<Vec<_>>>()?,
        });
        write("results.json", format!("{results:#}\n"))?;
        let Some(best) = ranked.first().filter(|best| best.mean.is_some()) else {
            bail!(
                "no candidate could be trained to its end; {} says why",
                markdown.display()
            );
        };
        let seed = sweep.plan.seeds.first().copied();
        let config = candidates[best.candidate - 1].config(&sweep.plan.config, seed)?;
        let config = write("best.toml", config.to_toml()?)?;
        let picture = sweep.folder.join("sweep.png");
        let drawn = chart::charts(&picture, &panels(sweep, candidates, ranked));
        if let Err(error) = &drawn {
            warn(format!("no picture: {error}"));
        }
        if self.json {
            return say_json(&results);
        }
        let mut table = Table::new(format!("{} on dev", sweep.metric.name()), headers);
        rows.into_iter().for_each(|row| {
            table.row(row);
        });
        say(format!("{table}\n"))?;
        say(format!("best: {}", candidates[best.candidate - 1]))?;
        let tests = best.tests();
        if tests.len() == best.trials.len() {
            let test = measured(mean(&tests), deviation(&tests));
            say(format!(
                "its {} on test, which chose nothing: {test}\n",
                sweep.metric.name()
            ))?;
        }
        say(format!("configuration  {}", config.display()))?;
        say(format!("table          {}", markdown.display()))?;
        if drawn.is_ok() {
            say(format!("picture        {}", picture.display()))?;
        }
        Ok(())
    }
}

impl Running<'_> {
    /// Trains a candidate with a seed, goes on with it, or reads what it gave; none
    /// if it was asked to stop.
    fn trial(&self, candidate: &Candidate, seed: u64) -> Result<Option<Trial>> {
        let run = candidate.run(seed);
        let out = self.folder.join("runs").join(&run);
        let (results, failed) = (out.join("results.json"), out.join("failed.json"));
        let result = if results.is_file() {
            read_results(&results, self.metric)?
        } else if failed.is_file() {
            let reason = fs::read_to_string(&failed).map_err(Error::io(&failed))?;
            let reason = serde_json::from_str(&reason)
                .with_context(|| format!("{} is damaged; remove it", failed.display()))?;
            TrialResult::Failed(reason)
        } else {
            self.progress.line(&format!("{run}: {candidate}"));
            let mut config = candidate.config(&self.plan.config, Some(seed))?;
            let prepared = prepare(&config)?;
            resolve(&mut config, &prepared);
            let trained = train(
                &out,
                &config,
                prepared,
                Earlier::GoOn,
                self.device,
                self.progress,
                &self.stop,
            );
            match trained {
                Ok(Trained::Finished(_)) => read_results(&results, self.metric)?,
                Ok(Trained::Stopped(_)) => return Ok(None),
                Err(error) => match error.downcast_ref::<Error>() {
                    // The others may do better.
                    Some(Error::NonFinite(reason)) => {
                        warn(format!("{run}: {reason}"));
                        let text = serde_json::to_string(reason)?;
                        write_atomically(&failed, |file| file.write_all(text.as_bytes()))?;
                        TrialResult::Failed(reason.clone())
                    }
                    _ => return Err(error.context(format!("{run} ({candidate})"))),
                },
            }
        };
        if let TrialResult::Trained { dev, .. } = &result {
            let name = self.metric.name();
            self.progress.line(&format!("{run}: dev {name} {dev:.4}"));
        }
        Ok(Some(Trial { seed, run, result }))
    }
}

/// The metric that chooses the best epoch chooses the best candidate.
fn metric(plan: &Plan, candidates: &[Candidate]) -> Result<Metric> {
    let of = |candidate: &Candidate| -> Result<Metric> {
        Ok(candidate.config(&plan.config, None)?.train.metric)
    };
    let first = of(&candidates[0])?;
    for candidate in candidates {
        if of(candidate)? != first {
            bail!(
                "values.\"train.metric\": cannot be varied; it is what candidates are compared by"
            );
        }
    }
    Ok(first)
}

/// The folder, for this plan and this process alone.
fn claim(folder: &Path, plan: &Plan) -> Result<File> {
    let base = fs::read_to_string(&plan.config).map_err(Error::io(&plan.config))?;
    let copies = [("sweep.toml", plan.to_toml()?), ("config.toml", base)];
    let saved = folder.join(copies[0].0);
    if !saved.is_file() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "{}: is not empty and holds no sweep; give another --out",
            folder.display()
        );
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    for (name, text) in copies.iter().rev() {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(there) if there == *text => {}
            Ok(_) => bail!(
                "{}: is not what {} says now; give another --out for another sweep",
                path.display(),
                if *name == "sweep.toml" {
                    "the plan"
                } else {
                    "the configuration"
                }
            ),
            Err(_) => write_atomically(&path, |file| file.write_all(text.as_bytes()))?,
        }
    }
    let file = File::open(&saved).map_err(Error::io(&saved))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "{}: another sweep is writing into it; wait for its end",
            folder.display()
        ),
    }
}

/// What a finished run gave.
fn read_results(path: &Path, metric: Metric) -> Result<TrialResult> {
    #[derive(Deserialize)]
    struct Results {
        epochs: Vec<EpochRecord>,
        test: Option<Metrics>,
    }
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let damaged = || {
        format!(
            "{} is damaged; remove the folder of this run",
            path.display()
        )
    };
    let results: Results = serde_json::from_str(&text).with_context(damaged)?;
    let best = results.epochs.iter().rfind(|record| record.best);
    let best = best.with_context(damaged)?;
    let value = |metrics: &Metrics| metrics.value(metric.name());
    Ok(TrialResult::Trained {
        dev: value(&best.dev).with_context(damaged)?,
        epochs: best.epochs,
        test: results.test.as_ref().and_then(value),
    })
}

fn headers(plan: &Plan, metric: Metric) -> Vec<String> {
    let mut headers = vec!["rank".to_owned(), "candidate".to_owned()];
    headers.extend(plan.values.keys().cloned());
    headers.push(format!("dev {}", metric.name()));
    headers.push("best epoch".to_owned());
    headers
}

fn rows(plan: &Plan, candidates: &[Candidate], ranked: &[Ranked]) -> Vec<Vec<String>> {
    let row = |(place, ranked): (usize, &Ranked)| {
        let candidate = &candidates[ranked.candidate - 1];
        let mut row = vec![place.to_string(), format!("{:03}", ranked.candidate)];
        row.extend(plan.values.keys().map(|key| {
            let value = candidate.values.iter().find(|(name, _)| name == key);
            value.map_or_else(String::new, |(_, value)| shown(value))
        }));
        match (ranked.mean, ranked.epochs) {
            (Some(mean), Some(epochs)) => {
                row.push(measured(mean, ranked.deviation));
                row.push(format!("{epochs:.1}"));
            }
            _ => row.extend(["failed".to_owned(), String::new()]),
        }
        row
    };
    (1..).zip(ranked).map(row).collect()
}

fn measured(mean: f64, deviation: Option<f64>) -> String {
    match deviation {
        Some(deviation) => format!("{mean:.4} ± {deviation:.4}"),
        None => format!("{mean:.4}"),
    }
}

fn markdown(headers: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = vec!["---".to_owned(); headers.len()];
    let mut text = line(headers) + &line(&rule);
    rows.iter().for_each(|row| text += &line(row));
    text
}

fn with_values(candidates: &[Candidate], ranked: &Ranked) -> Result<Value> {
    let candidate = &candidates[ranked.candidate - 1];
    let mut value = serde_json::to_value(ranked)?;
    let values: Result<serde_json::Map<String, Value>> = (candidate.values.iter())
        .map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?)))
        .collect();
    value["values"] = Value::Object(values?);
    Ok(value)
}

/// The mean on dev over each key that has more than one value.
fn panels(sweep: &Running, candidates: &[Candidate], ranked: &[Ranked]) -> Vec<Chart> {
    let value = |ranked: &Ranked, key: &str| {
        let values = &candidates[ranked.candidate - 1].values;
        let found = values.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    };
    let mut charts = Vec::new();
    for key in sweep.plan.values.keys() {
        let all: Vec<toml::Value> = ranked.iter().filter_map(|r| value(r, key)).collect();
        if all.windows(2).all(|pair| pair[0] == pair[1]) && sweep.plan.values.len() > 1 {
            continue;
        }
        let numbers: Option<Vec<f64>> = all.iter().map(number).collect();
        let (x_scale, xs) = match numbers {
            Some(numbers) => (x_scale(&numbers), numbers),
            None => {
                let mut names: Vec<String> = all.iter().map(shown).collect();
                names.sort();
                names.dedup();
                let at = |value: &toml::Value| {
                    let name = shown(value);
                    names.iter().position(|other| *other == name).unwrap_or(0) as f64
                };
                let xs = all.iter().map(at).collect();
                (XScale::Names(names), xs)
            }
        };
        let point =
            |(ranked, &x): (&Ranked, &f64)| (x, ranked.mean.unwrap_or(f64::NAN), ranked.deviation);
        let points: Vec<_> = ranked.iter().zip(&xs).map(point).collect();
        let marked = points
            .first()
            .map(|&(x, y, _)| (x, y, format!("best: {y:.4}")));
        charts.push(Chart {
            x_title: key.clone(),
            y_title: format!("dev {}", sweep.metric.name()),
            x_scale,
            points,
            joined: false,
            marked,
        });
    }
    charts
}

fn number(value: &toml::Value) -> Option<f64> {
    match value {
        toml::Value::Integer(number) => Some(*number as f64),
        toml::Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// By their logarithm where they reach over more than a decade.
fn x_scale(numbers: &[f64]) -> XScale {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(0.0, f64::max);
    match low > 0.0 && high >= 10.0 * low {
        true => XScale::Log,
        false => XScale::Linear,
    }
}
