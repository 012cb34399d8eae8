//! The folder of a run: `config.toml`, `metrics.jsonl`, `model/`, `snapshots/`,
//! pictures, the texts of splits that were made for it, and `results.json`, the
//! last to be written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::snapshot::{Progress, Snapshots};
use super::trainer::Trainer;
use super::{Config, EpochRecord};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::{HALF, write_atomically};
use crate::model::Model;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model";
const SNAPSHOTS: &str = "snapshots";
const RESULTS: &str = "results.json";

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

/// What to do with an earlier run in the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Earlier {
    /// Go on with it if it was stopped; refuse if it is finished.
    #[default]
    GoOn,
    /// Go on with it; of a finished one that is nothing.
    Resume,
    /// Move it aside, to the first free of `PATH.1`, `PATH.2`, ...
    MoveAside,
}

impl RunFolder {
    /// The folder of a run with this resolved configuration: a new one, or that of
    /// the same run, to [go on](super::fit) from its last snapshot.
    ///
    /// Errors if something else is there, so that no run is lost: a finished run
    /// (unless `earlier` says what to do), one with another configuration, or one
    /// that another process is writing.
    pub fn create(path: impl AsRef<Path>, config: &Config, earlier: Earlier) -> Result<Self> {
        let path = path.as_ref();
        let (text, file) = (config.to_toml()?, path.join(CONFIG));
        if let Place::Earlier(locked) = Self::examine(path, earlier)? {
            if earlier != Earlier::MoveAside {
                expect_same(path, &file, &text)?;
                return Ok(RunFolder {
                    path: path.to_path_buf(),
                    _config: locked,
                });
            }
            let aside = aside(path);
            fs::rename(path, &aside).map_err(Error::io(&aside))?;
        }
        fs::create_dir_all(path).map_err(Error::io(path))?;
        write_atomically(&file, |file| file.write_all(text.as_bytes()))?;
        Ok(RunFolder {
            path: path.to_path_buf(),
            _config: lock(path, &file)?,
        })
    }

    /// An error where [`create`](Self::create) would refuse whatever the
    /// configuration is. Says whether a stopped run is there.
    pub fn check(path: impl AsRef<Path>, earlier: Earlier) -> Result<bool> {
        let place = Self::examine(path.as_ref(), earlier)?;
        Ok(matches!(place, Place::Earlier(_)) && earlier != Earlier::MoveAside)
    }

    fn examine(path: &Path, earlier: Earlier) -> Result<Place> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::Free),
            entries => entries.map_err(Error::io(path))?,
        };
        // What a run left that was killed while it wrote its first file is nothing.
        let half = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(HALF.as_bytes());
        if entries.flatten().all(|entry| half(&entry.file_name())) {
            return Ok(Place::Free);
        }
        let config = path.join(CONFIG);
        if !config.is_file() {
            let message = "is not empty and holds no run; give another `out`";
            return Err(Error::file(path, message));
        }
        let locked = lock(path, &config)?;
        if earlier == Earlier::GoOn && path.join(RESULTS).exists() {
            let message =
                "holds a finished run; give another `out`, or `replace` to move that run aside";
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
        })?;
        Ok(())
    }

    /// The model directory in it.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Writes what the run came to, as the last of its files: it is finished then.
    pub fn save_results(&self, results: &impl serde::Serialize) -> Result<()> {
        let path = self.path.join(RESULTS);
        let text = serde_json::to_string_pretty(results)
            .map_err(|error| Error::file(&path, error.to_string()))?;
        write_atomically(&path, |file| writeln!(file, "{text}"))?;
        Ok(())
    }

    pub(super) fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.path.join(SNAPSHOTS))
    }

    /// Keeps everything that the run needs to go on from here; those at the end of
    /// every `keep` epochs for good.
    pub(super) fn save_snapshot(
        &self,
        at: &mut Progress,
        trainer: &Trainer,
        keep: Option<u64>,
    ) -> Result<()> {
        trainer.note(at);
        let metrics = self.path.join(METRICS);
        at.metrics_bytes = fs::metadata(metrics).map_or(0, |metrics| metrics.len());
        self.snapshots().save(at, &trainer.tensors(), keep)
    }

    /// Cuts `metrics.jsonl` to so many bytes and gives the epochs in it: what a
    /// stopped run wrote behind its last snapshot will be written again.
    pub(super) fn cut_log(&self, bytes: u64) -> Result<Vec<EpochRecord>> {
        let path = self.path.join(METRICS);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text.map_err(Error::io(&path))?,
        };
        if (text.len() as u64) < bytes {
            let message = format!(
                "has {} bytes, but had {bytes} at the last snapshot; it was changed",
                text.len()
            );
            return Err(Error::file(&path, message));
        }
        let kept = &text[..bytes as usize];
        if kept.len() < text.len() {
            write_atomically(&path, |file| file.write_all(kept))?;
        }
        let lines = kept
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let parsed = (1..).zip(lines).map(|(n, line)| {
            serde_json::from_slice(line)
                .map_err(|error| Error::line(&path, n, format!("is damaged: {error}")))
        });
        parsed.collect()
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
        match Model::is_saved(&path) {
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
            .and_then(|mut file| {
                file.write_all(line.as_bytes())?;
                file.sync_all()
            })
            .map_err(Error::io(path))
    }
}

/// Errors with the first key that differs from the configuration of the run.
fn expect_same(path: &Path, file: &Path, text: &str) -> Result<()> {
    let there = fs::read_to_string(file).map_err(Error::io(file))?;
    if there == text {
        return Ok(());
    }
    let mut lines = text.lines().zip(there.lines());
    let differs = match lines.find(|(ours, theirs)| ours != theirs) {
        Some((ours, theirs)) => format!("{ours:?} here and {theirs:?} there"),
        None => "one is longer".to_owned(),
    };
    let message = format!(
        "holds a run that was stopped, with another configuration ({differs}); go on with its own {CONFIG}, give another `out`, or `replace` to move it aside"
    );
    Err(Error::file(path, message))
}

/// The file `config` of the run `path`, locked; an error where another process
/// has it.
fn lock(path: &Path, config: &Path) -> Result<File> {
    let file = File::open(config).map_err(Error::io(config))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::file(
            path,
            "another training is writing into it; give another `out`, or wait for its end",
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
