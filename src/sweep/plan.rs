//! `SWEEP.toml`: every key with its default.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::Stream;
use crate::train::Config;

/// The most candidates: more is a slip of a grid, not a plan.
const MOST: usize = 10_000;

/// How candidates are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every combination of the values, the last key changing fastest.
    #[default]
    Grid,
    /// So many `trials`, each with values of its own (Bergstra and Bengio, "Random
    /// search for hyper-parameter optimization", 2012).
    Random,
}

/// A search. Paths are taken from the folder that the command runs in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The training configuration that is varied.
    pub config: PathBuf,
    /// Values over those of the configuration, the same for every candidate:
    /// `"train.epochs=3"`.
    #[serde(default)]
    pub set: Vec<String>,
    /// `grid` or `random`.
    #[serde(default)]
    pub method: Method,
    /// random: how many candidates.
    #[serde(default)]
    pub trials: Option<usize>,
    /// random: of the draws.
    #[serde(default)]
    pub seed: u64,
    /// Each candidate is trained once with each of these seeds of the run; without
    /// them with that of the configuration.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// What is varied: keys such as `"train.learning_rate"`, each with a list of
    /// values, or for random search with a range.
    pub values: toml::Table,
}

/// What one key may be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One of these.
    List(Vec<toml::Value>),
    /// A number of this range.
    Range(Range),
}

/// Numbers from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Whether its logarithm is uniform, not the number itself.
    #[serde(default)]
    pub log: bool,
    /// Whether it is rounded to a whole number.
    #[serde(default)]
    pub integer: bool,
}

/// A value for people: text without its quotes.
pub fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One choice of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Counted from 1.
    pub number: usize,
    /// Each varied key with its value.
    pub values: Vec<(String, toml::Value)>,
    /// For [`Config::load`]: those of the plan, then these.
    overrides: Vec<String>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// Errors name the file and the key.
    pub fn load(path: impl AsRef<Path>) -> Result<Plan> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::file(path, error.to_string().trim_end()))?;
        let plan: Plan =
            serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
                let message = error.inner().to_string();
                Error::file(path, format!("{}: {}", error.path(), message.trim_end()))
            })?;
        plan.candidates()
            .and_then(|candidates| plan.check(&candidates))
            .map_err(|error| match error {
                Error::Config { key, message } => Error::file(path, format!("{key}: {message}")),
                other => other,
            })?;
        Ok(plan)
    }

    /// As TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::config("sweep", error.to_string()))
    }

    /// All candidates, in their order: a pure function of the plan.
    ///
    /// Errors name the key.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        let values = self.values()?;
        let chosen = match (self.method, self.trials) {
            (Method::Grid, Some(_)) => {
                return Err(Error::config("trials", "is for method = \"random\""));
            }
            (Method::Grid, None) => grid(&values)?,
            (Method::Random, Some(trials)) if (1..=MOST).contains(&trials) => (0..trials as u64)
                .map(|n| random(&values, Stream::new(self.seed, "sweep").at(n)))
                .collect(),
            (Method::Random, _) => {
                let message = format!("must say how many candidates to draw, 1 to {MOST}");
                return Err(Error::config("trials", message));
            }
        };
        let candidate = |(number, values): (usize, Vec<toml::Value>)| {
            let keys = self.values.keys().cloned();
            let values: Vec<(String, toml::Value)> = keys.zip(values).collect();
            let own = values.iter().map(|(key, value)| format!("{key}={value}"));
            Candidate {
                number,
                overrides: self.set.iter().cloned().chain(own).collect(),
                values,
            }
        };
        Ok((1..).zip(chosen).map(candidate).collect())
    }

    /// The seeds of the runs of each candidate; that of the configuration where none
    /// is said.
    pub fn seeds(&self, of_config: u64) -> Vec<u64> {
        match self.seeds.is_empty() {
            true => vec![of_config],
            false => self.seeds.clone(),
        }
    }

    fn values(&self) -> Result<Vec<Values>> {
        if self.values.is_empty() {
            let message =
                "must name one key or more, such as \"train.learning_rate\" = [1e-3, 3e-3]";
            return Err(Error::config("values", message));
        }
        let mut all = Vec::new();
        for (key, value) in &self.values {
            let name = format!("values.{key:?}");
            let values = Values::deserialize(value.clone()).map_err(|_| {
                let message = "takes a list of values, or { min = A, max = B } with log = true \
                               and integer = true where wanted; write keys in quotes";
                Error::config(&name, message)
            })?;
            match &values {
                Values::List(list) if list.is_empty() => {
                    return Err(Error::config(name, "must have one value or more"));
                }
                Values::Range(range) => range.check(&name, self.method)?,
                Values::List(_) => {}
            }
            all.push(values);
        }
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        if seeds.len() < self.seeds.len() {
            return Err(Error::config("seeds", "has one twice"));
        }
        Ok(all)
    }

    /// Errors if a candidate is no configuration.
    fn check(&self, candidates: &[Candidate]) -> Result<()> {
        candidates.iter().try_for_each(|candidate| {
            let config = candidate.config(&self.config, None);
            config.map(drop).map_err(|error| {
                let values = candidate.to_string();
                Error::config(
                    format!("candidate {} ({values})", candidate.number),
                    error.to_string(),
                )
            })
        })
    }
}

impl Range {
    fn check(&self, key: &str, method: Method) -> Result<()> {
        let Range { min, max, log, .. } = *self;
        let message = if method == Method::Grid {
            "is a range, which is for method = \"random\"; a grid takes lists"
        } else if !(min.is_finite() && max.is_finite() && min <= max) {
            "must have a min and a max that is not below it"
        } else if log && min <= 0.0 {
            "must have a min above 0 where log = true"
        } else {
            return Ok(());
        };
        Err(Error::config(key, message))
    }

    /// The value at a share of the way, 0 to 1.
    fn at(&self, share: f64) -> toml::Value {
        let Range { min, max, .. } = *self;
        // Whole numbers have half a step more at each end, so that all are as likely.
        let room = if self.integer { 0.5 } else { 0.0 };
        let value = match self.log {
            true => {
                let (low, high) = ((min - room).max(min / 2.0).ln(), (max + room).ln());
                (low + (high - low) * share).exp()
            }
            false => min - room + (max - min + 2.0 * room) * share,
        };
        match self.integer {
            true => toml::Value::Integer(value.round().clamp(min.ceil(), max.floor()) as i64),
            // Four digits: more would say nothing, and be hard to read.
            false => {
                let short = format!("{value:.3e}").parse().unwrap_or(value);
                toml::Value::Float(short.clamp(min, max))
            }
        }
    }
}

impl Candidate {
    /// Its configuration, for a run with this seed.
    pub fn config(&self, file: &Path, seed: Option<u64>) -> Result<Config> {
        let mut overrides = self.overrides.clone();
        overrides.extend(seed.map(|seed| format!("seed={seed}")));
        Config::load(file, &overrides)
    }

    /// The name of its run with a seed.
    pub fn run(&self, seed: u64) -> String {
        format!("{:03}-seed{seed}", self.number)
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let values: Vec<String> = (self.values.iter())
            .map(|(key, value)| format!("{key}={}", shown(value)))
            .collect();
        f.write_str(&values.join(" "))
    }
}

/// Every combination, the last key changing fastest.
fn grid(values: &[Values]) -> Result<Vec<Vec<toml::Value>>> {
    let mut all = vec![Vec::new()];
    for values in values {
        let Values::List(list) = values else { continue };
        if all.len().saturating_mul(list.len()) > MOST {
            let message =
                format!("make more than {MOST} candidates; take fewer, or method = \"random\"");
            return Err(Error::config("values", message));
        }
        let longer = |start: &Vec<toml::Value>| {
            let with = |value: &toml::Value| [&start[..], std::slice::from_ref(value)].concat();
            list.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    Ok(all)
}

/// One value of each, from one number of the stream each.
fn random(values: &[Values], stream: Stream) -> Vec<toml::Value> {
    let draw = |(n, values): (u64, &Values)| {
        let share = stream.uniform(n);
        match values {
            Values::List(list) => list[(share * list.len() as f64) as usize].clone(),
            Values::Range(range) => range.at(share),
        }
    };
    (0..).zip(values).map(draw).collect()
}
