//! The folder of a run: `config.toml`, `metrics.jsonl`, `model/`, pictures, and
//! the texts of splits that were made for it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Config, EpochRecord};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::Model;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model";

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder with the resolved configuration in it.
    ///
    /// Errors if something is there already, so that no run is lost; with
    /// `overwrite` the files of an earlier run are removed first, but never
    /// anything else.
    pub fn create(path: impl AsRef<Path>, config: &Config, overwrite: bool) -> Result<Self> {
        let path = path.as_ref();
        let folder = RunFolder {
            path: path.to_path_buf(),
        };
        if Self::check(path, overwrite)? {
            folder.remove_earlier()?;
        }
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let text = config.to_toml()?;
        write_atomically(&path.join(CONFIG), |file| file.write_all(text.as_bytes()))?;
        Ok(folder)
    }

    /// Whether there is an earlier run to remove; an error where
    /// [`create`](Self::create) would refuse.
    pub fn check(path: impl AsRef<Path>, overwrite: bool) -> Result<bool> {
        let path = path.as_ref();
        let mut entries = match fs::read_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            entries => entries.map_err(Error::io(path))?,
        };
        if entries.next().is_none() {
            return Ok(false);
        }
        match path.join(CONFIG).is_file() {
            true if overwrite => Ok(true),
            true => Err(Error::file(
                path,
                "holds an earlier run; give another --out, or --overwrite to lose that run",
            )),
            false => Err(Error::file(
                path,
                "is not empty and holds no run; give another --out",
            )),
        }
    }

    fn remove_earlier(&self) -> Result<()> {
        let remove = |path: PathBuf| match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(path)(error))
            }
            _ => Ok(()),
        };
        let model = self.model();
        if model.is_dir() {
            fs::remove_dir_all(&model).map_err(Error::io(&model))?;
        }
        for picture in [self.curve(), self.confusion()] {
            remove(picture)?;
        }
        for split in ["dev", "test"] {
            remove(self.texts(split))?;
        }
        remove(self.path.join(METRICS))
    }

    /// The file of a split that was made for this run.
    pub fn texts(&self, split: &str) -> PathBuf {
        self.path.join(split).with_extension("jsonl")
    }

    /// Writes the texts and labels of a split, so that others can be measured on
    /// the same.
    pub fn save_texts(&self, split: &str, dataset: &Dataset) -> Result<()> {
        write_atomically(&self.texts(split), |file| {
            for example in &dataset.examples {
                let label = &dataset.labels[example.label as usize];
                let line = serde_json::json!({"text": example.text, "label": label});
                writeln!(file, "{line}")?;
            }
            Ok(())
        })
    }

    /// The model directory in it.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The picture of the training.
    pub fn curve(&self) -> PathBuf {
        self.path.join("curve.png")
    }

    /// The picture of the confusion matrix.
    pub fn confusion(&self) -> PathBuf {
        self.path.join("confusion.png")
    }

    /// Keeps the model as the best so far; the one before it stays until the
    /// new one is whole.
    pub fn save_model(&self, model: &Model) -> Result<()> {
        let path = self.model();
        match path.is_dir() {
            true => model.save_weights(&path),
            false => model.save(&path),
        }
    }

    /// Adds a line to `metrics.jsonl`.
    pub fn log(&self, record: &EpochRecord) -> Result<()> {
        let path = self.path.join(METRICS);
        let mut line =
            serde_json::to_string(record).map_err(|error| Error::file(&path, error.to_string()))?;
        line.push('\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(Error::io(path))
    }
}
