//! The folder of a run: `config.toml`, `metrics.jsonl`, `model/`, pictures, and
//! the texts of splits that were made for it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{Config, EpochRecord};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::Model;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model";

/// The folder of one run. It is this process's alone until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Locked for as long as the run lasts, also if it is killed.
    _config: File,
}

/// What stands where a run wants its folder.
enum Place {
    Free,
    /// An earlier run, locked.
    Earlier(File),
}

impl RunFolder {
    /// A new folder with the resolved configuration in it.
    ///
    /// Errors if something is there already, so that no run is lost; with
    /// `replace` an earlier run is moved aside, to the first free of `PATH.1`,
    /// `PATH.2`, ...
    pub fn create(path: impl AsRef<Path>, config: &Config, replace: bool) -> Result<Self> {
        let path = path.as_ref();
        if let Place::Earlier(_locked) = Self::examine(path, replace)? {
            let aside = aside(path);
            fs::rename(path, &aside).map_err(Error::io(&aside))?;
        }
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let (text, file) = (config.to_toml()?, path.join(CONFIG));
        write_atomically(&file, |file| file.write_all(text.as_bytes()))?;
        Ok(RunFolder {
            path: path.to_path_buf(),
            _config: lock(path, &file)?,
        })
    }

    /// An error where [`create`](Self::create) would refuse.
    pub fn check(path: impl AsRef<Path>, replace: bool) -> Result<()> {
        Self::examine(path.as_ref(), replace).map(|_| ())
    }

    fn examine(path: &Path, replace: bool) -> Result<Place> {
        let mut entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::Free),
            entries => entries.map_err(Error::io(path))?,
        };
        if entries.next().is_none() {
            return Ok(Place::Free);
        }
        let config = path.join(CONFIG);
        if !config.is_file() {
            let message = "is not empty and holds no run; give another --out";
            return Err(Error::file(path, message));
        }
        let locked = lock(path, &config)?;
        if !replace {
            let message =
                "holds an earlier run; give another --out, or --replace to move that run aside";
            return Err(Error::file(path, message));
        }
        Ok(Place::Earlier(locked))
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

    /// The folder of TensorBoard's event files.
    pub fn events(&self) -> PathBuf {
        self.path.join("tensorboard")
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

/// The file `config` of the run `path`, locked; an error where another process
/// has it.
fn lock(path: &Path, config: &Path) -> Result<File> {
    let file = File::open(config).map_err(Error::io(config))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::file(
            path,
            "another training is writing into it; give another --out, or wait for its end",
        )),
        Err(TryLockError::Error(error)) => Err(Error::io(config)(error)),
    }
}

/// The first of `PATH.1`, `PATH.2`, ... that is not there.
fn aside(path: &Path) -> PathBuf {
    let numbered = |n: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    (1..)
        .map(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| numbered(0))
}
