//! `cellway eval`: a model on labelled texts.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::data::DataArgs;
use super::{ModelArgs, say, say_json};
use crate::report::{chart, metrics_table};
use crate::train::{Corpus, evaluate};

/// The arguments of `cellway eval`.
#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    /// Draw the confusion matrix into a .png or .svg
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub fn run(&self) -> Result<()> {
        let model = self.model.load()?;
        let dataset = self.data.read(&model)?;
        let corpus = Corpus::new(&dataset, &model)?;
        let metrics = evaluate(&model, &corpus, self.model.engine.into())?;
        if let Some(picture) = &self.picture {
            chart::confusion_matrix(picture, &corpus.labels, metrics.confusion.rows())
                .context("the confusion matrix could not be drawn")?;
        }
        match self.json {
            true => say_json(&metrics),
            false => say(metrics_table(&metrics)),
        }
    }
}
