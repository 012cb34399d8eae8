//! Where the readers put their rows: labels become ids here, and bad rows are
//! refused or counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::lines::Lines;
use super::{Dataset, Example, ReadOptions};
use crate::error::{Error, Result};

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// It is not what the format asks for.
    Broken,
    /// Its bytes are not UTF-8.
    NotUtf8,
    /// Its text is empty, or white space alone.
    EmptyText,
    /// Its label is none of those asked for.
    UnknownLabel,
    /// Its rating is not a number.
    NotANumber,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Broken => "broken",
            Reason::NotUtf8 => "not UTF-8",
            Reason::EmptyText => "without text",
            Reason::UnknownLabel => "with an unknown label",
            Reason::NotANumber => "with a rating that is no number",
        })
    }
}

/// How many rows were skipped for what. Shows as one line, or as nothing where
/// none was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// The rows by reason; no zeros.
    pub counts: BTreeMap<Reason, u64>,
}

impl Skipped {
    /// All skipped rows.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        if total == 0 {
            return Ok(());
        }
        write!(
            f,
            "skipped {total} bad row{}: ",
            if total == 1 { "" } else { "s" }
        )?;
        for (nth, (reason, count)) in self.counts.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {reason}")?;
        }
        Ok(())
    }
}

/// The rows of one file so far.
pub(super) struct Rows<'a> {
    pub path: &'a Path,
    pub options: &'a ReadOptions,
    /// Whether the labels are given, or else found in the rows.
    closed: bool,
    labels: Vec<String>,
    ids: HashMap<String, u32>,
    examples: Vec<Example>,
    skipped: Skipped,
}

impl<'a> Rows<'a> {
    pub fn new(path: &'a Path, options: &'a ReadOptions) -> Result<Self> {
        let fixed = options.fixed_labels()?;
        let labels: Option<Vec<String>> = match (&options.labels, fixed) {
            (Some(labels), _) => Some(labels.clone()),
            (None, Some(fixed)) => Some(fixed.iter().map(|&label| label.to_owned()).collect()),
            (None, None) => None,
        };
        let closed = labels.is_some();
        if let Some(twice) = labels.iter().flatten().enumerate().find_map(|(n, label)| {
            labels
                .iter()
                .flatten()
                .skip(n + 1)
                .find(|other| *other == label)
        }) {
            return Err(Error::config("labels", format!("has {twice:?} twice")));
        }
        let labels = labels.unwrap_or_default();
        Ok(Self {
            path,
            options,
            closed,
            ids: labels.iter().cloned().zip(0..).collect(),
            labels,
            examples: Vec::new(),
            skipped: Skipped::default(),
        })
    }

    /// Gives every line of the file, by its number, to `take`; one that is not
    /// UTF-8 is refused.
    pub fn each_line(
        &mut self,
        mut take: impl FnMut(&mut Self, u64, String) -> Result<()>,
    ) -> Result<()> {
        let file = File::open(self.path).map_err(Error::io(self.path))?;
        for line in Lines::new(BufReader::new(file), self.path) {
            match line {
                Ok((number, line)) => take(self, number, line)?,
                Err(error @ Error::Line { .. }) => self.refuse(Reason::NotUtf8, error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Refuses the row of this line.
    pub fn refuse_line(&mut self, reason: Reason, line: u64, message: String) -> Result<()> {
        self.refuse(reason, Error::line(self.path, line, message))
    }

    /// Takes one row; `line` is for errors.
    pub fn add(&mut self, line: u64, text: &str, label: &str) -> Result<()> {
        let path = self.path;
        self.add_from(text, label, |message| Error::line(path, line, message))
    }

    /// Takes one row from a place that `error` names.
    pub fn add_from(
        &mut self,
        text: &str,
        label: &str,
        error: impl FnOnce(String) -> Error,
    ) -> Result<()> {
        if text.trim().is_empty() {
            return self.refuse(Reason::EmptyText, error("the text is empty".into()));
        }
        if label.is_empty() {
            return self.refuse(Reason::Broken, error("the label is empty".into()));
        }
        let label = match self.ids.get(label) {
            Some(&id) => id,
            None if self.closed => {
                let message = format!(
                    "the label {label:?} is none of the known ones: {}",
                    self.labels.join(", ")
                );
                return self.refuse(Reason::UnknownLabel, error(message));
            }
            None => {
                let id = self.labels.len() as u32;
                self.labels.push(label.to_owned());
                self.ids.insert(label.to_owned(), id);
                id
            }
        };
        let text = text.to_owned();
        self.examples.push(Example { text, label });
        Ok(())
    }

    /// Refuses one row, or counts it where bad rows are skipped.
    pub fn refuse(&mut self, reason: Reason, error: Error) -> Result<()> {
        // What the operating system refuses is not a bad row.
        if !self.options.skip_bad || matches!(error, Error::Io { .. }) {
            return Err(match error {
                Error::Line {
                    path,
                    line,
                    message,
                } => {
                    let message = format!("{message} (skip_bad leaves such rows out)");
                    Error::Line {
                        path,
                        line,
                        message,
                    }
                }
                other => other,
            });
        }
        *self.skipped.counts.entry(reason).or_default() += 1;
        Ok(())
    }

    /// All rows were read.
    pub fn finish(self) -> Result<(Dataset, Skipped)> {
        if self.examples.is_empty() {
            let skipped = match self.skipped.total() {
                0 => String::new(),
                _ => format!(" ({})", self.skipped),
            };
            return Err(Error::file(
                self.path,
                format!("holds no text to use{skipped}"),
            ));
        }
        let mut dataset = Dataset {
            labels: self.labels,
            examples: self.examples,
        };
        if !self.closed {
            sort_labels(&mut dataset);
        }
        Ok((dataset, self.skipped))
    }
}

/// Puts labels that were numbered as they were found in their order by name; by
/// value if all are whole numbers.
fn sort_labels(dataset: &mut Dataset) {
    let numbers: Option<Vec<i64>> = dataset
        .labels
        .iter()
        .map(|label| label.parse().ok())
        .collect();
    let mut order: Vec<usize> = (0..dataset.labels.len()).collect();
    order.sort_by_key(|&old| {
        (
            numbers.as_ref().map(|numbers| numbers[old]),
            &dataset.labels[old],
        )
    });
    let mut new_ids = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        new_ids[old] = new as u32;
    }
    dataset.labels = order
        .iter()
        .map(|&old| std::mem::take(&mut dataset.labels[old]))
        .collect();
    for example in &mut dataset.examples {
        example.label = new_ids[example.label as usize];
    }
}
