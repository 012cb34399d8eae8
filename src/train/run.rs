//! A training with everything around it: the folder it is kept in, who watches it,
//! and the clock.

use std::thread;
use std::time::Instant;

use super::loader::Loader;
use super::snapshot::Progress;
use super::trainer::{Step, Trainer};
use super::{Config, Corpus, EpochRecord, Observer, RunFolder, StepRecord, Summary, evaluate};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::shim;

/// On a device that computes while the host goes on, the numbers of so many steps
/// are fetched together.
const UNREAD: usize = 32;

pub(super) struct Run<'a> {
    config: &'a Config,
    model: &'a Model,
    dev: &'a Corpus,
    folder: &'a RunFolder,
    observer: &'a mut dyn Observer,
    pub trainer: Trainer<'a>,
    pub at: Progress,
    started: Instant,
    /// What earlier processes spent on this run.
    seconds_before: f64,
    interrupted: bool,
}

/// How fast some steps were.
#[derive(Default)]
pub(super) struct Speed {
    texts: u64,
    tokens: u64,
    seconds: f64,
}

impl<'a> Run<'a> {
    /// The start, or where the folder's last snapshot was made, with the epochs
    /// before it.
    pub fn start(
        config: &'a Config,
        model: &'a Model,
        train: &Corpus,
        dev: &'a Corpus,
        folder: &'a RunFolder,
        observer: &'a mut dyn Observer,
    ) -> Result<(Self, Vec<EpochRecord>)> {
        let started = Instant::now();
        let mut trainer = Trainer::new(config, model, train)?;
        let texts = format!("{} {}", train.digest(), dev.digest());
        let tell = |error| observer.warned(&format!("{error}; the snapshot before it is taken"));
        let found = folder.snapshots().latest(tell)?;
        let (at, epochs) = match found {
            None => {
                folder.cut_log(0)?;
                let start = Progress {
                    texts,
                    ..Progress::default()
                };
                (start, Vec::new())
            }
            Some((progress, _)) if progress.texts != texts => {
                let message = "its texts, or their ids, are no longer those that the run was \
                               stopped with; put them back, or start anew with another `out`";
                return Err(Error::config("data", message));
            }
            Some((progress, tensors)) => {
                trainer.restore(&progress, &tensors)?;
                let epochs = folder.cut_log(progress.metrics_bytes)?;
                (progress, epochs)
            }
        };
        let run = Run {
            config,
            model,
            dev,
            folder,
            observer,
            trainer,
            started,
            seconds_before: at.seconds,
            interrupted: false,
            at,
        };
        Ok((run, epochs))
    }

    /// Whether the last epoch is done, or patience or time ran out.
    pub fn is_over(&self) -> bool {
        let settings = &self.config.train;
        let waited = self.at.measured - self.at.best_measured;
        self.at.epoch > settings.epochs
            || settings.patience.is_some_and(|patience| waited >= patience)
            // As the last snapshot has it, so that a resumed run decides alike.
            || (self.is_late(self.at.seconds) && self.at.measured > 0)
    }

    /// Whether the observer wanted to stop: a snapshot is made.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Trains on these steps, each of some batches of rows; fewer if the observer
    /// wants to stop or the time is over.
    pub fn train(&mut self, train: &Corpus, steps: &[&[Vec<usize>]]) -> Result<Speed> {
        let texts = steps.iter().copied().flatten().map(Vec::len).sum::<usize>();
        self.observer.epoch_starts(self.at.epoch, texts as u64);
        let began = Instant::now();
        let mut speed = Speed::default();
        thread::scope(|scope| {
            let mut unread = Vec::new();
            for batches in Loader::new(scope, train, steps, self.model.device()) {
                let step = self.trainer.step(&batches?).map_err(|error| match error {
                    Error::NonFinite(what) => self.diverged(self.trainer.steps() + 1, &what),
                    other => other,
                });
                unread.push(step?);
                if self.trainer.waits || unread.len() >= UNREAD {
                    self.read(&mut unread, &mut speed)?;
                }
                self.interrupted = self.observer.wants_to_stop();
                let is_over = self.interrupted || self.is_out_of_time();
                let every = self.config.train.snapshot_steps;
                let is_due = |every| self.trainer.steps().is_multiple_of(every);
                let save = self.interrupted || every.is_some_and(is_due);
                if save {
                    self.read(&mut unread, &mut speed)?;
                    self.save_snapshot()?;
                }
                if is_over {
                    break;
                }
            }
            self.read(&mut unread, &mut speed)
        })?;
        speed.seconds = began.elapsed().as_secs_f64();
        Ok(speed)
    }

    /// Counts what the steps gave, and tells it.
    fn read(&mut self, unread: &mut Vec<Step>, speed: &mut Speed) -> Result<()> {
        for step in unread.drain(..) {
            let (loss, gradient_norm) = step.read();
            let mut record = StepRecord {
                step: step.number,
                texts: step.texts as u64,
                tokens: step.tokens as u64,
                loss,
                mean_loss: f64::NAN,
                gradient_norm,
                learning_rate: step.rate,
                skipped: step.skipped,
            };
            if !(step.skipped || loss.is_finite() && gradient_norm.is_finite()) {
                let what =
                    format!("the loss is {loss} and the norm of the gradients {gradient_norm}");
                return Err(self.diverged(step.number, &what));
            }
            self.at.count(&record);
            record.mean_loss = self.at.mean_loss();
            speed.texts += record.texts;
            speed.tokens += record.tokens;
            self.observer.stepped(&record);
        }
        Ok(())
    }

    /// Measures dev, and keeps the model if it is the best so far and a snapshot, in
    /// an epoch of so many steps with this share of padding.
    pub fn measure(
        &mut self,
        speed: Speed,
        epoch_steps: usize,
        padding: f64,
    ) -> Result<EpochRecord> {
        let settings = &self.config.train;
        let averages = self.trainer.averages();
        // The last step may have broken what no later step would tell.
        let dev = match evaluate(self.model, self.dev, settings.engine) {
            Err(Error::NonFinite(what)) => {
                drop(averages);
                return Err(self.diverged(self.trainer.steps(), &what));
            }
            measured => measured?,
        };
        let value = dev.value(settings.metric.name()).unwrap_or(f64::NAN);
        let best = self.at.measure(value, settings.metric);
        if best {
            self.folder.save_model(self.model)?;
        }
        drop(averages);
        self.trainer.measured(value);
        let at = &self.at;
        let record = EpochRecord {
            epoch: at.epoch,
            epochs: (at.epoch - 1) as f64 + at.epoch_steps as f64 / epoch_steps as f64,
            steps: self.trainer.steps(),
            train_loss: at.mean_loss(),
            gradient_norm: at.norm_sum / at.counted as f64,
            learning_rate: at.rate,
            texts_per_second: speed.texts as f64 / speed.seconds,
            tokens_per_second: speed.tokens as f64 / speed.seconds,
            padding,
            peak_memory: shim::peak_memory(self.model.device())?,
            loss_scale: self.trainer.loss_scale(),
            skipped_steps: at.skipped,
            dev,
            best,
        };
        self.folder.log(&record)?;
        self.observer.epoch_ends(&record);
        self.at.begin_anew(epoch_steps);
        self.save_snapshot()?;
        Ok(record)
    }

    /// How it ended.
    pub fn summary(self, epochs: Vec<EpochRecord>) -> Summary {
        Summary {
            stopped_early: !self.interrupted && self.at.epoch <= self.config.train.epochs,
            epochs,
            best_epoch: self.at.best_epoch,
            interrupted: self.interrupted.then(|| self.trainer.steps()),
        }
    }

    fn save_snapshot(&mut self) -> Result<()> {
        if self.config.train.max_time.is_some() {
            self.at.seconds = self.seconds();
        }
        let keep = self.config.train.keep_epochs;
        self.folder.save_snapshot(&mut self.at, &self.trainer, keep)
    }

    /// Spent on this run by all its processes.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn is_out_of_time(&self) -> bool {
        self.is_late(self.seconds())
    }

    fn is_late(&self, seconds: f64) -> bool {
        let limit = self.config.train.max_time.as_ref();
        limit.is_some_and(|limit| seconds >= limit.seconds())
    }

    fn diverged(&self, step: u64, what: &str) -> Error {
        let kept = match self.at.best_epoch {
            0 => "no epoch was finished, so there is no model".to_owned(),
            best => format!(
                "the model of epoch {best} is in {}",
                self.folder.model().display()
            ),
        };
        Error::NonFinite(format!(
            "step {step} (epoch {}): {what}; stopped, {kept}. \
             Try a smaller train.learning_rate or train.clip_norm",
            self.at.epoch
        ))
    }
}
