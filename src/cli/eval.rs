//! `cellway eval`: a model on labelled texts.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::{ModelArgs, say, say_json, warn};
use crate::data::{self, Format, ReadOptions};
use crate::report::{metrics_table, plot};
use crate::train::{Corpus, evaluate};

/// The arguments of `cellway eval`.
#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(flatten)]
    model: ModelArgs,

    /// File or folder of labelled texts
    data: PathBuf,

    /// Its format [default: by its name]
    #[arg(long)]
    format: Option<FormatArg>,

    /// For csv, tsv, jsonl: the column of the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_column: String,

    /// For csv, tsv, jsonl: the column of the label
    #[arg(long, default_value = "label", value_name = "NAME")]
    label_column: String,

    /// For rated: ratings from minus this to this are neutral
    #[arg(long, default_value_t = 0.5, value_name = "X")]
    neutral: f64,

    /// For sst: every phrase, not only sentences
    #[arg(long)]
    phrases: bool,

    /// Count rows that cannot be used and go on
    #[arg(long)]
    skip_bad: bool,

    /// Draw the confusion matrix into a .png or .svg
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// Stanford Sentiment Treebank trees
    Sst,
    /// Comma-separated, with a header line
    Csv,
    /// Tab-separated, with a header line
    Tsv,
    /// A JSON object a line
    Jsonl,
    /// A folder for each label, a .txt file for each text
    Folders,
    /// Id, rating, text, with tabs between
    Rated,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Sst => Format::Sst,
            FormatArg::Csv => Format::Csv,
            FormatArg::Tsv => Format::Tsv,
            FormatArg::Jsonl => Format::Jsonl,
            FormatArg::Folders => Format::Folders,
            FormatArg::Rated => Format::Rated,
        }
    }
}

impl Eval {
    pub fn run(&self) -> Result<()> {
        let model = self.model.load()?;
        let labels = model.config().labels();
        let options = ReadOptions {
            format: match self.format {
                Some(format) => format.into(),
                None => Format::infer(&self.data)?,
            },
            classes: labels.len() as u32,
            phrases: self.phrases,
            text_column: self.text_column.clone(),
            label_column: self.label_column.clone(),
            neutral: self.neutral,
            skip_bad: self.skip_bad,
            labels: Some(labels),
        };
        let (dataset, skipped) = data::read(&self.data, &options)?;
        if skipped.total() > 0 {
            warn(format!("{}: {skipped}", self.data.display()));
        }
        let corpus = Corpus::new(&dataset, &model)?;
        let metrics = evaluate(&model, &corpus, self.model.engine.into())?;
        if let Some(picture) = &self.picture {
            plot::confusion_matrix(picture, &corpus.labels, metrics.confusion.rows())
                .context("the confusion matrix could not be drawn")?;
        }
        match self.json {
            true => say_json(&metrics),
            false => say(metrics_table(&metrics)),
        }
    }
}
