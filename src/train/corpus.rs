//! Texts as token ids, with their classes.

use sha2::{Digest, Sha256};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::model::Model;

/// What a model reads: tokenized texts and their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corpus {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The token ids of each text.
    pub texts: Vec<Vec<i64>>,
    /// The class of each text.
    pub classes: Vec<u32>,
}

impl Corpus {
    /// Tokenizes as the model does.
    ///
    /// Errors if there is no text, or the labels are not those of the model.
    pub fn new(dataset: &Dataset, model: &Model) -> Result<Self> {
        if dataset.labels != model.config().labels() {
            let message = format!(
                "are {:?}, but the model's are {:?}",
                dataset.labels,
                model.config().labels()
            );
            return Err(Error::config("labels", message));
        }
        if dataset.examples.is_empty() {
            return Err(Error::config(
                "data",
                "has no text; see what the files hold",
            ));
        }
        let texts: Vec<&str> = dataset.examples.iter().map(|e| e.text.as_str()).collect();
        let texts = model.encode(&texts)?;
        Ok(Corpus {
            labels: dataset.labels.clone(),
            texts,
            classes: dataset.examples.iter().map(|e| e.label).collect(),
        })
    }

    /// These texts of it, in this order.
    pub(super) fn rows(&self, rows: &[usize]) -> Self {
        Corpus {
            labels: self.labels.clone(),
            texts: rows.iter().map(|&row| self.texts[row].clone()).collect(),
            classes: rows.iter().map(|&row| self.classes[row]).collect(),
        }
    }

    /// Leaves out what stands behind so many texts.
    pub fn truncate(&mut self, texts: usize) {
        self.texts.truncate(texts);
        self.classes.truncate(texts);
    }

    /// SHA-256, in hexadecimal, of the token ids and classes in their order.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (text, class) in self.texts.iter().zip(&self.classes) {
            hash.update((text.len() as u64).to_le_bytes());
            text.iter().for_each(|id| hash.update(id.to_le_bytes()));
            hash.update(class.to_le_bytes());
        }
        let hash = hash.finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The number of tokens of each text.
    pub fn lengths(&self) -> Vec<usize> {
        self.texts.iter().map(Vec::len).collect()
    }

    /// The share of tokens with this id.
    pub fn share_of(&self, id: i64) -> f64 {
        let all: usize = self.lengths().iter().sum();
        let of_it = self
            .texts
            .iter()
            .flatten()
            .filter(|&&token| token == id)
            .count();
        of_it as f64 / all.max(1) as f64
    }
}
