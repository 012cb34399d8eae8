//! Readers of labelled texts and of texts without labels, from files and folders.

mod delimited;
mod folders;
mod jsonl;
mod lines;
mod rated;
mod rows;
mod texts;
mod trees;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use rows::Rows;

pub use rows::{Reason, Skipped};
pub use texts::{Row, TextReader};

/// A text and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text as the file has it, not tokenized.
    pub text: String,
    /// Which of [`Dataset::labels`] it has.
    pub label: u32,
}

/// Labelled texts, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// The names of the classes; a class id is a place in this list.
    pub labels: Vec<String>,
    /// The texts.
    pub examples: Vec<Example>,
}

impl Dataset {
    /// How many examples each class has.
    pub fn label_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for example in &self.examples {
            counts[example.label as usize] += 1;
        }
        counts
    }

    /// The id of the class of this name.
    pub fn class_of(&self, name: &str) -> Option<u32> {
        self.labels
            .iter()
            .position(|label| label == name)
            .map(|place| place as u32)
    }
}

/// The form of a file, or folder, of labelled texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The Stanford Sentiment Treebank's trees (Socher et al. 2013), one a
    /// line: `(3 (2 It) (4 (2 's) (4 good)))`.
    Sst,
    /// Comma-separated values with a header line, quoted as in RFC 4180.
    #[default]
    Csv,
    /// Tab-separated values with a header line. Quotes are characters like any
    /// other, so a value holds no tab and no line end.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// A folder with one folder per label, and in it one `.txt` file per text.
    Folders,
    /// Lines of id, mean human rating and text with a tab between, as in Hutto
    /// and Gilbert (2014), "VADER".
    Rated,
}

impl Format {
    /// The format that the name of `path` tells: a folder, `.csv`, `.tsv` or
    /// `.jsonl`.
    ///
    /// # Errors
    /// Any other name.
    pub fn infer(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folders);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("tsv") => Ok(Self::Tsv),
            Some("jsonl") => Ok(Self::Jsonl),
            _ => Err(Error::file(
                path,
                "has a name that does not tell its format; say which: sst, csv, tsv, jsonl, folders or rated",
            )),
        }
    }
}

/// How [`read`] reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The form of the file.
    pub format: Format,
    /// Into how many classes `sst` (2, 3 or 5) and `rated` (2 or 3) are cut;
    /// with 2, neutral texts are left out. Other formats name their classes.
    pub classes: u32,
    /// For `sst`: every phrase of every tree, not only the sentences.
    pub phrases: bool,
    /// For `csv`, `tsv` and `jsonl`: the column of the text.
    pub text_column: String,
    /// For `csv`, `tsv` and `jsonl`: the column of the label.
    pub label_column: String,
    /// For `rated`: ratings from minus this to this are neutral.
    pub neutral: f64,
    /// Count rows that cannot be used and go on, instead of stopping there.
    pub skip_bad: bool,
    /// The classes of a model that exists: a row with another one cannot be
    /// used. Without it the classes are those that the format fixes, or else
    /// those found, sorted (by value if all are whole numbers).
    pub labels: Option<Vec<String>>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            classes: 2,
            phrases: false,
            text_column: "text".into(),
            label_column: "label".into(),
            neutral: 0.5,
            skip_bad: false,
            labels: None,
        }
    }
}

impl ReadOptions {
    /// The classes that the format itself names, in order from bad to good.
    ///
    /// # Errors
    /// A number of classes that the format cannot be cut into, or a `neutral`
    /// that is no threshold.
    fn fixed_labels(&self) -> Result<Option<&'static [&'static str]>> {
        let (name, highest) = match self.format {
            Format::Sst => ("sst", 5),
            Format::Rated => ("rated", 3),
            _ => return Ok(None),
        };
        if self.format == Format::Rated && !(self.neutral >= 0.0 && self.neutral.is_finite()) {
            let message = format!("{} should be a number of at least 0", self.neutral);
            return Err(Error::config("neutral", message));
        }
        match self.classes {
            2 => Ok(Some(&[NEGATIVE, POSITIVE])),
            3 => Ok(Some(&[NEGATIVE, NEUTRAL, POSITIVE])),
            5 if highest == 5 => Ok(Some(&FIVE)),
            classes => {
                let takes = if highest == 5 { "2, 3 or 5" } else { "2 or 3" };
                let message = format!("{classes} is not possible for {name}; it takes {takes}");
                Err(Error::config("classes", message))
            }
        }
    }
}

const NEGATIVE: &str = "negative";
const NEUTRAL: &str = "neutral";
const POSITIVE: &str = "positive";
const FIVE: [&str; 5] = [
    "very negative",
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    "very positive",
];

/// Reads labelled texts, and says what was skipped.
///
/// # Errors
/// The first row that cannot be used, by file and line: an empty text, a label
/// outside of [`ReadOptions::labels`], a broken row, a rating that is no
/// number, bytes that are not UTF-8. With [`ReadOptions::skip_bad`] such rows
/// are counted instead. In any case: a file that cannot be read, one without
/// the columns, one without a usable row, and options that the format does not
/// take.
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<(Dataset, Skipped)> {
    let path = path.as_ref();
    let mut rows = Rows::new(path, options)?;
    match options.format {
        Format::Sst => trees::read(&mut rows)?,
        Format::Csv => delimited::read(&mut rows, b',')?,
        Format::Tsv => delimited::read(&mut rows, b'\t')?,
        Format::Jsonl => jsonl::read(&mut rows)?,
        Format::Folders => folders::read(&mut rows)?,
        Format::Rated => rated::read(&mut rows)?,
    }
    rows.finish()
}

/// Whether the file has the column of [`ReadOptions::label_column`]: a table by its header,
/// JSONL by its first line. Of other formats, and where the first line is none of its
/// format, the answer is yes, and [`read`] tells the rest.
///
/// # Errors
/// A file that cannot be read.
pub fn has_labels(path: impl AsRef<Path>, options: &ReadOptions) -> Result<bool> {
    let path = path.as_ref();
    let column = &options.label_column;
    match options.format {
        Format::Csv => delimited::has_column(path, b',', column),
        Format::Tsv => delimited::has_column(path, b'\t', column),
        Format::Jsonl => jsonl::has_key(path, column),
        Format::Sst | Format::Folders | Format::Rated => Ok(true),
    }
}

#[cfg(test)]
mod tests;
