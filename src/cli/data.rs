//! The labelled texts that a command reads.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::warn;
use crate::data::{self, Dataset, Error, Format, ReadOptions, TextReader};
use crate::model::Model;

/// A file or folder of labelled texts, and how it is read.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// File or folder of labelled texts
    pub data: PathBuf,

    /// Its format [default: by its name]
    #[arg(long)]
    format: Option<FormatArg>,

    /// For csv, tsv, jsonl: the column of the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_column: String,

    /// For csv, tsv, jsonl: the column of the label [default: label]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,

    /// For rated: ratings from minus this to this are neutral
    #[arg(long, default_value_t = 0.5, value_name = "X")]
    neutral: f64,

    /// For sst: every phrase, not only sentences
    #[arg(long)]
    phrases: bool,

    /// Count rows that cannot be used and go on
    #[arg(long)]
    skip_bad: bool,
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

impl DataArgs {
    /// The texts with the labels of a model; says what was skipped.
    pub fn read(&self, model: &Model) -> Result<Dataset> {
        let labels = model.config().labels();
        let format = match self.format {
            Some(format) => format.into(),
            None => Format::infer(&self.data)?,
        };
        let (dataset, skipped) = data::read(&self.data, &self.options(format, labels))?;
        if skipped.total() > 0 {
            warn(format!("{}: {skipped}", self.data.display()));
        }
        Ok(dataset)
    }

    fn options(&self, format: Format, labels: Vec<String>) -> ReadOptions {
        let label_column = self.label_column.as_deref().unwrap_or("label");
        ReadOptions {
            format,
            classes: labels.len() as u32,
            phrases: self.phrases,
            text_column: self.text_column.clone(),
            label_column: label_column.to_owned(),
            neutral: self.neutral,
            skip_bad: self.skip_bad,
            labels: Some(labels),
        }
    }

    /// The texts alone, where there are no labels: in a `.txt` file, a text a line, and
    /// in a table or JSONL without a column `label`, if no other was named. Else none.
    pub fn read_unlabelled(&self) -> Result<Option<Vec<String>>> {
        let ending = self.data.extension().and_then(|ending| ending.to_str());
        let is_plain = self.format.is_none() && ending == Some("txt") && self.data.is_file();
        if !is_plain {
            let format = match self.format {
                Some(format) => format.into(),
                None => Format::infer(&self.data)?,
            };
            let options = self.options(format, Vec::new());
            if self.label_column.is_some() || data::has_labels(&self.data, &options)? {
                return Ok(None);
            }
        }
        let mut texts = Vec::new();
        let mut skipped = 0;
        for row in TextReader::open(&self.data, &self.text_column)? {
            match row {
                Ok(row) if !row.text.trim().is_empty() => texts.push(row.text),
                Ok(_) | Err(Error::Line { .. }) if self.skip_bad => skipped += 1,
                Ok(row) => {
                    let message = "the text is empty; --skip-bad leaves such rows out";
                    return Err(Error::line(&self.data, row.line, message).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if skipped > 0 {
            warn(format!(
                "{}: bad rows skipped: {skipped}",
                self.data.display()
            ));
        }
        Ok(Some(texts))
    }
}
