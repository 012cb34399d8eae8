//! `cellway find-rate`: a learning rate to start from.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{DeviceArg, as_flag, load_config, say, say_json};
use crate::report::Progress;
use crate::report::chart::{self, Chart, XScale};
use crate::train::{RatePoint, RateRange, find_rate, prepare};

/// The arguments of `cellway find-rate`.
#[derive(Debug, Args)]
pub(super) struct FindRate {
    /// Configuration file (TOML)
    config: PathBuf,

    /// Put a value over the file's: --set train.batch={sentences=64} (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    #[command(flatten)]
    device: DeviceArg,

    /// The rate of the first step
    #[arg(long, default_value_t = RateRange::default().from)]
    from: f64,

    /// The rate of the last step; the search ends before it where the loss bursts
    #[arg(long, default_value_t = RateRange::default().to)]
    to: f64,

    /// How many steps
    #[arg(long, default_value_t = RateRange::default().steps)]
    steps: usize,

    /// Draw the loss over the rate: a .png or .svg
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Every step as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl FindRate {
    pub fn run(&self, progress: &Progress) -> Result<()> {
        let range = RateRange {
            from: self.from,
            to: self.to,
            steps: self.steps,
        };
        range.validate().map_err(as_flag)?;
        let config = load_config(&self.config, &self.set)?;
        let device = self.device.resolve()?;
        let mut start = prepare(&config)?;
        start.model.to_device(device);
        let mut stage = progress.stage("learning rates", self.steps as u64, "steps");
        let rates = find_rate(&config, &start.model, &start.train, range, |_| {
            stage.advance(1)
        })?;
        stage.finish();
        if let Some(path) = &self.picture {
            let point = |point: &RatePoint| (point.rate, point.smoothed, None);
            // Where the loss bursts, its height would flatten all the rest.
            let start = rates.points.first().map_or(0.0, |point| point.smoothed);
            let high = |point: &&RatePoint| point.smoothed <= 1.5 * start;
            let shown = rates.points.iter().filter(high);
            let marked = rates.suggestion.and_then(|rate| {
                let at = rates.points.iter().find(|point| point.rate == rate)?;
                Some((rate, at.smoothed, format!("falls fastest at {rate:.1e}")))
            });
            let panel = Chart {
                x_title: "learning rate".to_owned(),
                y_title: "smoothed training loss".to_owned(),
                x_scale: XScale::Log,
                points: shown.map(point).collect(),
                joined: true,
                marked,
            };
            chart::charts(path, &[panel])?;
        }
        if self.json {
            return say_json(&json!(rates));
        }
        match rates.suggestion {
            Some(rate) => say(format!(
                "the loss falls fastest at {rate:.1e}: try --set train.learning_rate={rate:.1e}"
            )),
            None => say(format!(
                "the loss falls nowhere between {:e} and {:e}; try other rates, or see whether \
                 anything can be learnt",
                self.from, self.to
            )),
        }
    }
}
