//! Who watches a training: the terminal, TensorBoard, and Ctrl-C.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use signal_hook::low_level::exit;

use super::INTERRUPTED;
use crate::cli::warn;
use crate::report::{Events, Progress, Stage};
use crate::train::{EpochRecord, Observer, StepRecord};

/// Set by Ctrl-C and SIGTERM; a second one ends the process at once. Call it before
/// anything starts a thread.
///
/// The signals are blocked in every thread and waited for in one that computes
/// nothing. A handler would not do: where one ran while a matrix kernel of oneDNN
/// computed, the heap was corrupted in one run of six, as if the kernel used the stack
/// pointer, where the system puts what a handler returns to, for something else.
pub(in crate::cli) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    let asked = stop.clone();
    thread::spawn(move || {
        while signals.wait().is_ok() {
            if asked.swap(true, Ordering::Relaxed) {
                exit(i32::from(INTERRUPTED));
            }
        }
    });
    Ok(stop)
}

/// Shows the epochs as they pass.
pub(in crate::cli) struct Watch<'a> {
    progress: &'a Progress,
    stage: Option<Stage>,
    metric: &'static str,
    stop: Arc<AtomicBool>,
}

impl<'a> Watch<'a> {
    /// With the name of the metric that chooses the best epoch.
    pub fn new(progress: &'a Progress, metric: &'static str, stop: Arc<AtomicBool>) -> Self {
        Watch {
            progress,
            stage: None,
            metric,
            stop,
        }
    }
}

impl Observer for Watch<'_> {
    fn wants_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn warned(&mut self, message: &str) {
        warn(message);
    }

    fn epoch_starts(&mut self, epoch: u64, texts: u64) {
        self.stage = Some(
            self.progress
                .stage(&format!("epoch {epoch}"), texts, "texts"),
        );
    }

    fn stepped(&mut self, record: &StepRecord) {
        if let Some(stage) = &mut self.stage {
            stage.message(format!("loss {:.4}", record.mean_loss));
            stage.advance(record.texts);
        }
    }

    fn epoch_ends(&mut self, record: &EpochRecord) {
        if let Some(stage) = self.stage.take() {
            stage.finish();
        }
        let mut line = format!(
            "epoch {}: train loss {:.4}, dev loss {:.4}, dev accuracy {:.4}, macro F1 {:.4}, \
             gradient norm {:.3}, {:.0} tokens/s, {:.0} % padding",
            record.epochs,
            record.train_loss,
            record.dev.loss.unwrap_or(f64::NAN),
            record.dev.accuracy,
            record.dev.macro_f1,
            record.gradient_norm,
            record.tokens_per_second,
            100.0 * record.padding,
        );
        if let Some(bytes) = record.peak_memory {
            line += &format!(", {:.0} MiB at most", bytes as f64 / f64::from(1 << 20));
        }
        if record.skipped_steps > 0 {
            line += &format!(", {} steps skipped", record.skipped_steps);
        }
        if record.best {
            line += &format!("  best {}", self.metric);
        }
        self.progress.line(&line);
    }
}

/// Every step and every epoch for TensorBoard. A log that cannot be written is
/// told once, and stops no training.
pub(in crate::cli) struct TensorBoard {
    events: Option<Events>,
    /// Whether it is said at which step this process began.
    began: bool,
}

impl TensorBoard {
    pub fn new(folder: PathBuf) -> Self {
        let mut log = TensorBoard {
            events: None,
            began: false,
        };
        log.events = log.told(Events::create(folder));
        log
    }

    fn told<T>(&mut self, result: crate::error::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                warn(format!("no more events for tensorboard: {error}"));
                self.events = None;
                None
            }
        }
    }

    fn add(&mut self, step: u64, values: &[(&str, f64)]) {
        if let (Some(events), false) = (&mut self.events, self.began) {
            self.began = true;
            let written = events.begin(step);
            self.told(written);
        }
        for (tag, value) in values {
            if let Some(events) = &mut self.events {
                let written = events.scalar(tag, step, *value);
                self.told(written);
            }
        }
    }
}

impl Observer for TensorBoard {
    fn epoch_starts(&mut self, _: u64, _: u64) {}

    fn stepped(&mut self, record: &StepRecord) {
        let values = [
            ("step/loss", record.loss),
            ("step/gradient_norm", record.gradient_norm),
            ("step/learning_rate", record.learning_rate),
        ];
        self.add(record.step, &values);
    }

    fn epoch_ends(&mut self, record: &EpochRecord) {
        let values = [
            ("train/loss", record.train_loss),
            ("train/texts_per_second", record.texts_per_second),
            ("train/tokens_per_second", record.tokens_per_second),
            ("train/loss_scale", record.loss_scale.unwrap_or(1.0)),
            ("train/padding", record.padding),
            ("dev/loss", record.dev.loss.unwrap_or(f64::NAN)),
            ("dev/accuracy", record.dev.accuracy),
            ("dev/macro_f1", record.dev.macro_f1),
        ];
        self.add(record.steps, &values);
    }
}
