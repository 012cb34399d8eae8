//! `cellway train`: a classifier from a configuration file.

mod finish;
mod tables;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use clap::{Args, ValueEnum};
use tch::Device;

pub(super) use self::finish::Outcome;
use self::finish::finish;
use self::tables::{configuration_table, data_table, parameter_table};
pub(super) use self::watch::stop_flag;
use self::watch::{TensorBoard, Watch};
use super::{DeviceArg, EngineArg, load_config, say, say_json, warn};
use crate::data::Limit;
use crate::report::{Progress, metrics_table};
use crate::train::{Config, Earlier, Prepared, RunFolder, fit, prepare};

/// What a shell gives for a command that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

/// The arguments of `cellway train`.
#[derive(Debug, Args)]
pub(super) struct Train {
    /// Configuration file (TOML)
    config: PathBuf,

    /// Put a value over the file's: --set train.epochs=3 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    #[command(flatten)]
    device: DeviceArg,

    /// Who computes [default: train.engine of the configuration]
    #[arg(long)]
    engine: Option<EngineArg>,

    /// Folder of the run [default: runs/ and the configuration's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Move an earlier run that --out holds aside, to OUT.1, OUT.2, ...
    #[arg(long)]
    replace: bool,

    /// Go on with the run that --out holds, also if it is finished; one that was
    /// stopped goes on without this
    #[arg(long, conflicts_with_all = ["replace", "fast_dev_run"])]
    resume: bool,

    /// Run everything once with so many batches of each split, and keep nothing
    #[arg(long, value_name = "BATCHES", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    fast_dev_run: Option<usize>,

    /// Train on so many batches, the same in each epoch, and measure on them
    #[arg(long, value_name = "BATCHES")]
    overfit_batches: Option<usize>,

    /// Train on so many batches of each epoch
    #[arg(long, value_name = "BATCHES")]
    limit_train_batches: Option<usize>,

    /// Begin no step after so long: 90s, "1h 30m"
    #[arg(long, value_name = "TIME")]
    max_time: Option<String>,

    /// The summary as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// How a training ended.
pub(super) enum Trained {
    Finished(Box<Outcome>),
    /// It was asked to, after this step.
    Stopped(u64),
}

/// Says what was left to the word vectors and to the optimizer.
pub(super) fn resolve(config: &mut Config, prepared: &Prepared) {
    config.embedding.size = prepared.model.config().embedding_size;
    config.train.learning_rate = Some(config.train.learning_rate());
    config.train.weight_decay = Some(config.train.weight_decay());
}

/// Trains in the folder `out`, from the start or from where it was stopped.
pub(super) fn train(
    out: &Path,
    config: &Config,
    prepared: Prepared,
    earlier: Earlier,
    device: Device,
    progress: &Progress,
    stop: &Arc<AtomicBool>,
) -> Result<Trained> {
    let Prepared {
        mut model,
        train,
        dev,
        test,
        made,
        ..
    } = prepared;
    model.to_device(device);
    let folder = RunFolder::create(out, config, earlier)?;
    for (split, dataset) in &made {
        folder.save_texts(split, dataset)?;
    }
    let bars = Watch::new(progress, config.train.metric.name(), stop.clone());
    let mut watch = (bars, TensorBoard::new(folder.events()));
    let summary = fit(config, &model, &train, &dev, &folder, &mut watch)?;
    if let Some(step) = summary.interrupted {
        return Ok(Trained::Stopped(step));
    }
    let outcome = finish(config, &folder, summary, &dev, test.as_ref(), device)?;
    Ok(Trained::Finished(Box::new(outcome)))
}

impl Train {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        let stop = stop_flag()?;
        // Removed when it is dropped.
        let nowhere = self.fast_dev_run.map(|_| tempfile::tempdir()).transpose()?;
        let out = match &nowhere {
            Some(folder) => folder.path().join("run"),
            None => self.folder(),
        };
        let mut config = load_config(&self.config, &self.overrides())?;
        let device = self.device.resolve()?;
        let goes_on = RunFolder::check(&out, self.earlier())?;
        let mut prepared = prepare(&config)?;
        if let Some(batches) = self.fast_dev_run {
            let texts = match config.train.batch {
                Limit::Sentences(size) => size.saturating_mul(batches),
                Limit::Tokens(_) => batches,
            };
            prepared.dev.truncate(texts);
            prepared
                .test
                .iter_mut()
                .for_each(|test| test.truncate(texts));
        }
        resolve(&mut config, &prepared);
        for (file, skipped) in &prepared.skipped {
            warn(format!("{file}: {skipped}"));
        }
        if !self.json {
            say(format!("{}\n", configuration_table(&config)?))?;
            say(format!("{}\n", parameter_table(&prepared.model)))?;
            say(format!("{}\n", data_table(&prepared)))?;
        }
        let earlier = self.earlier();
        if goes_on {
            progress.line(&format!("{}: goes on where it was stopped", out.display()));
        }
        let outcome = match train(&out, &config, prepared, earlier, device, progress, &stop)? {
            Trained::Finished(outcome) => *outcome,
            Trained::Stopped(step) => {
                let kept = match nowhere {
                    Some(_) => "nothing of a fast development run is kept",
                    None => "with a snapshot; the same command goes on from there",
                };
                warn(format!("stopped after step {step}, {kept}"));
                return Ok(INTERRUPTED);
            }
        };
        self.tell(&outcome)?;
        if nowhere.is_some() {
            warn("a fast development run: everything works, and nothing was kept");
        }
        Ok(0)
    }

    fn tell(&self, outcome: &Outcome) -> Result<()> {
        if self.json {
            return say_json(&outcome.results);
        }
        let why = match outcome.summary.stopped_early {
            true => " (stopped early)",
            false => "",
        };
        let (best, epochs) = (outcome.best_epochs(), outcome.epochs());
        say(format!("best epoch: {best} of {epochs}{why}\n"))?;
        say(format!(
            "{}: {}\n",
            outcome.split,
            metrics_table(&outcome.metrics)
        ))?;
        if self.fast_dev_run.is_some() {
            return Ok(());
        }
        let line = |what: &str, path: &Path| say(format!("{what:<16}  {}", path.display()));
        for (what, path) in &outcome.files {
            line(what, path)?;
        }
        Ok(())
    }

    /// Those of --set, and those that have a flag of their own.
    fn overrides(&self) -> Vec<String> {
        let mut all = self.set.clone();
        let mut add = |key: &str, value: Option<String>| {
            all.extend(value.map(|value| format!("train.{key}={value}")));
        };
        let engine = self.engine.and_then(|engine| engine.to_possible_value());
        add("engine", engine.map(|engine| engine.get_name().to_owned()));
        let number = |value: Option<usize>| value.map(|value| value.to_string());
        add("limit_train_batches", number(self.limit_train_batches));
        add("overfit_batches", number(self.overfit_batches));
        add(
            "max_time",
            self.max_time.as_ref().map(|time| format!("{time:?}")),
        );
        if self.fast_dev_run.is_some() {
            add("limit_train_batches", number(self.fast_dev_run));
            add("epochs", Some("1".to_owned()));
        }
        all
    }

    fn earlier(&self) -> Earlier {
        match (self.resume, self.replace) {
            (true, _) => Earlier::Resume,
            (_, true) => Earlier::MoveAside,
            _ => Earlier::GoOn,
        }
    }

    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let name = self.config.file_stem().unwrap_or_default();
            PathBuf::from("runs").join(name)
        })
    }
}
