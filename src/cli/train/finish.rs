//! What a training came to: the best model measured once more, pictures, results.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use tch::Device;

use crate::cli::warn;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::report::chart::{self, EpochPoint};
use crate::train::{Config, Corpus, EpochRecord, RunFolder, Summary, evaluate};

/// A finished training.
pub(in crate::cli) struct Outcome {
    pub summary: Summary,
    /// The split that the best model is reported on: `test`, or without one `dev`.
    pub split: &'static str,
    /// The best model on it.
    pub metrics: Metrics,
    /// The model, and what was drawn.
    pub files: Vec<(&'static str, PathBuf)>,
    /// All of it, as in `results.json`.
    pub results: Value,
}

impl Outcome {
    /// How many epochs there were, parts counted.
    pub fn epochs(&self) -> f64 {
        self.summary
            .epochs
            .last()
            .map_or(0.0, |record| record.epochs)
    }

    /// After how many of them dev was best.
    pub fn best_epochs(&self) -> f64 {
        best(&self.summary).map_or(0.0, |record| record.epochs)
    }
}

/// Measures the model that the folder holds, draws the pictures, and writes
/// `results.json`: the run is finished then.
pub(in crate::cli) fn finish(
    config: &Config,
    folder: &RunFolder,
    summary: Summary,
    dev: &Corpus,
    test: Option<&Corpus>,
    device: Device,
) -> Result<Outcome> {
    // What is reported is what is on the disk.
    let mut model = Model::load(folder.model())?;
    model.to_device(device);
    let (split, corpus) = match test {
        Some(test) => ("test", test),
        None => ("dev", dev),
    };
    let metrics = evaluate(&model, corpus, config.train.engine)?;
    let results = json!({
        "best_epoch": summary.best_epoch,
        "stopped_early": summary.stopped_early,
        "epochs": summary.epochs,
        split: metrics,
        "model": folder.model(),
    });
    // A picture that cannot be drawn loses nothing.
    let curve = draw_curve(folder, &summary, config.train.metric.name());
    let rows = metrics.confusion.rows();
    let confusion = chart::confusion_matrix(&folder.confusion(), &corpus.labels, rows);
    let mut files = vec![("model", folder.model())];
    for (what, path, drawn) in [
        ("training curve", folder.curve(), curve),
        ("confusion matrix", folder.confusion(), confusion),
    ] {
        match drawn {
            Ok(()) => files.push((what, path)),
            Err(error) => warn(format!("no picture of the {what}: {error}")),
        }
    }
    folder.save_results(&results)?;
    Ok(Outcome {
        summary,
        split,
        metrics,
        files,
        results,
    })
}

fn best(summary: &Summary) -> Option<&EpochRecord> {
    summary.epochs.iter().rfind(|record| record.best)
}

fn draw_curve(folder: &RunFolder, summary: &Summary, metric: &str) -> crate::error::Result<()> {
    let point = |record: &EpochRecord| EpochPoint {
        epoch: record.epochs,
        train_loss: record.train_loss,
        dev_loss: record.dev.loss.unwrap_or(f64::NAN),
        dev_score: record.dev.value(metric).unwrap_or(f64::NAN),
    };
    let points: Vec<EpochPoint> = summary.epochs.iter().map(point).collect();
    let best = best(summary).map(|record| record.epochs);
    chart::training_curve(&folder.curve(), &points, &format!("dev {metric}"), best)
}
