//! Everything that a run must remember between two steps, on the disk: a run that
//! was stopped goes on from its last snapshot to the same bits.
//!
//! A snapshot is a folder `EPOCH-STEP` in the run's `snapshots/`, with
//! `tensors.safetensors`, `progress.json`, and `manifest.json`: the size and
//! SHA-256 of the other two. It is written beside its place and moved there when it
//! is whole. The last two are kept, and those that `train.keep_epochs` asks for; one
//! that is damaged is passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::precision::LossScale;
use super::record::StepRecord;
use super::schedule::PlateauState;
use crate::checkpoint::safetensors::{self, Tensors};
use crate::error::{Error, Result};
use crate::files::{crash_point, write_atomically};
use crate::metrics::Metric;

/// The version that this code writes and reads.
const FORMAT: u64 = 2;
const TENSORS: &str = "tensors.safetensors";
const PROGRESS: &str = "progress.json";
const MANIFEST: &str = "manifest.json";
/// How many are kept: the one before the last serves if the last is damaged.
const KEPT: usize = 2;

/// How far a run has come. Numbers are read back to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    pub format_version: u64,
    /// The [digest](crate::train::Corpus::digest) of the training and dev texts.
    pub texts: String,
    /// The epoch that is running, counted from 1.
    pub epoch: u64,
    /// Its steps that are done.
    pub epoch_steps: usize,
    /// Steps and batches since the start.
    pub steps: u64,
    pub batches: u64,
    /// Since dev was last measured: sums over the steps that had a loss, how many they
    /// were and the texts in them, and the steps that f16 skipped.
    pub loss_sum: f64,
    pub norm_sum: f64,
    pub counted: u64,
    pub seen: u64,
    pub skipped: u64,
    /// The rate of the last step.
    pub rate: f64,
    /// How often dev was measured, and when it was best: 0 and none before the first
    /// time.
    pub measured: u64,
    pub best_measured: u64,
    pub best_epoch: u64,
    pub best: Option<f64>,
    pub plateau: Option<PlateauState>,
    pub loss_scale: Option<LossScale>,
    /// Spent so far, where `train.max_time` counts it.
    pub seconds: f64,
    /// The length of `metrics.jsonl`: what stands behind it will be written again.
    pub metrics_bytes: u64,
}

impl Default for Progress {
    /// Before the first step.
    fn default() -> Self {
        Progress {
            format_version: FORMAT,
            texts: String::new(),
            epoch: 1,
            epoch_steps: 0,
            steps: 0,
            batches: 0,
            loss_sum: 0.0,
            norm_sum: 0.0,
            counted: 0,
            seen: 0,
            skipped: 0,
            rate: 0.0,
            measured: 0,
            best_measured: 0,
            best_epoch: 0,
            best: None,
            plateau: None,
            loss_scale: None,
            seconds: 0.0,
            metrics_bytes: 0,
        }
    }
}

impl Progress {
    /// Counts one more step of the epoch.
    pub fn count(&mut self, step: &StepRecord) {
        self.epoch_steps += 1;
        self.rate = step.learning_rate;
        if step.skipped {
            self.skipped += 1;
        } else {
            self.loss_sum += step.loss * step.texts as f64;
            self.norm_sum += step.gradient_norm;
            self.counted += 1;
            self.seen += step.texts;
        }
    }

    /// The last step of the epoch behind which dev may have been measured: where that
    /// is due behind the last one of all, it is still to be done.
    pub fn steps_with_measure(&self) -> usize {
        match self.counted + self.skipped {
            0 => self.epoch_steps,
            _ => self.epoch_steps.saturating_sub(1),
        }
    }

    /// The mean loss of the texts since dev was last measured.
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum / self.seen as f64
    }

    /// Dev gave this value; whether it is the best so far.
    pub fn measure(&mut self, value: f64, metric: Metric) -> bool {
        self.measured += 1;
        let is_best = self.best.is_none_or(|best| metric.better(value, best));
        if is_best {
            (self.best, self.best_epoch) = (Some(value), self.epoch);
            self.best_measured = self.measured;
        }
        is_best
    }

    /// What follows counts for the next time that dev is measured; in an epoch of so
    /// many steps.
    pub fn begin_anew(&mut self, epoch_steps: usize) {
        (self.loss_sum, self.norm_sum) = (0.0, 0.0);
        (self.counted, self.seen, self.skipped) = (0, 0, 0);
        if self.epoch_steps == epoch_steps {
            self.epoch += 1;
            self.epoch_steps = 0;
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// The snapshots of one run.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Those in this folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Snapshots { folder }
    }

    /// Adds one, whole or not at all, and removes those that are no longer needed: all
    /// but the last two, and but those at the end of every `keep` epochs.
    pub fn save(
        &self,
        progress: &Progress,
        tensors: &[(String, tch::Tensor)],
        keep: Option<u64>,
    ) -> Result<()> {
        let name = format!("{:06}-{:08}", progress.epoch, progress.epoch_steps);
        let (place, new) = (
            self.folder.join(&name),
            self.folder.join(format!(".{name}")),
        );
        // What a killed process left.
        remove(&new)?;
        if let Err(error) = write(&new, progress, tensors) {
            // On a full disk what there is of it would be in the way.
            let _ = remove(&new);
            return Err(error);
        }
        // A run that went on from an earlier one comes here again, to the same bits.
        remove(&place)?;
        crash_point();
        fs::rename(&new, &place).map_err(Error::io(&place))?;
        crash_point();
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(&self.folder))?;
        let stays = |name: &String| keep.is_some_and(|every| ends_epochs(name, every));
        let old = self.names()?.into_iter().skip(KEPT);
        for old in old.filter(|name| !stays(name)) {
            remove(&self.folder.join(old))?;
            crash_point();
        }
        Ok(())
    }

    /// The newest that is whole; `tell` hears why newer ones are passed over.
    pub fn latest(&self, mut tell: impl FnMut(Error)) -> Result<Option<(Progress, Tensors)>> {
        for name in self.names()? {
            match load(&self.folder.join(name)) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => tell(error),
            }
        }
        Ok(None)
    }

    /// Newest first.
    fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io(&self.folder))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

/// Whether a snapshot of this name was made at the end of an epoch whose number is a
/// multiple of `every`.
fn ends_epochs(name: &str, every: u64) -> bool {
    let mut numbers = name.split('-').map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(next)), Some(Ok(0))) => next > 1 && (next - 1).is_multiple_of(every),
        _ => false,
    }
}

/// Writes the files of a snapshot into a new folder.
fn write(folder: &Path, progress: &Progress, tensors: &[(String, tch::Tensor)]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::save(&folder.join(TENSORS), named, &[])?;
    write_json(&folder.join(PROGRESS), progress)?;
    let mut manifest = BTreeMap::new();
    for file in [TENSORS, PROGRESS] {
        manifest.insert(file, entry(&folder.join(file))?);
    }
    write_json(&folder.join(MANIFEST), &manifest)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::file(path, error.to_string()))?;
    write_atomically(path, |file| file.write_all(text.as_bytes()))?;
    Ok(())
}

fn entry(path: &Path) -> Result<Entry> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let hash = Sha256::digest(&bytes);
    Ok(Entry {
        bytes: bytes.len() as u64,
        sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(Error::io(folder)),
    }
}

fn load(folder: &Path) -> Result<(Progress, Tensors)> {
    let progress = progress(folder)?;
    Ok((progress, safetensors::load(&folder.join(TENSORS))?))
}

/// Its progress, if every file is what the manifest says.
fn progress(folder: &Path) -> Result<Progress> {
    let manifest: BTreeMap<String, Entry> = read_json(&folder.join(MANIFEST))?;
    for file in [TENSORS, PROGRESS] {
        let path = folder.join(file);
        let Some(listed) = manifest.get(file) else {
            return Err(Error::file(&path, "is not in the manifest"));
        };
        let found = entry(&path)?;
        if (found.bytes, &found.sha256) != (listed.bytes, &listed.sha256) {
            return Err(Error::file(&path, "is damaged: not what the manifest says"));
        }
    }
    let path = folder.join(PROGRESS);
    let progress: Progress = read_json(&path)?;
    match progress.format_version {
        FORMAT => Ok(progress),
        other => Err(Error::file(
            &path,
            format!("has format version {other}; this cellway reads {FORMAT}"),
        )),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|error| Error::file(path, format!("is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    fn none(error: Error) {
        panic!("{error}");
    }

    fn tensors(value: f64) -> Vec<(String, Tensor)> {
        vec![("x".to_owned(), Tensor::from_slice(&[value, 1.0]))]
    }

    fn progress(epoch: u64, sum: f64) -> Progress {
        Progress {
            epoch,
            loss_sum: sum,
            best: Some(f64::from_bits(0x3fe5_5555_5555_5553)),
            ..Progress::default()
        }
    }

    #[test]
    fn the_newest_whole_one_is_found_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path().join("snapshots"));
        assert!(snapshots.latest(none).unwrap().is_none());
        for epoch in 1..=4 {
            let sum = 0.1 * epoch as f64;
            snapshots
                .save(&progress(epoch, sum), &tensors(sum), None)
                .unwrap();
        }
        assert_eq!(
            snapshots.names().unwrap(),
            ["000004-00000000", "000003-00000000"]
        );
        let (read, tensors) = snapshots.latest(none).unwrap().unwrap();
        assert_eq!(read, progress(4, 0.1 * 4.0));
        assert_eq!(
            tensors["x"].double_value(&[0]).to_bits(),
            (0.1 * 4.0f64).to_bits()
        );
    }

    #[test]
    fn those_of_every_so_many_epochs_stay() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path().to_path_buf());
        for epoch in 1..=9 {
            for epoch_steps in [0, 5] {
                let at = Progress {
                    epoch_steps,
                    ..progress(epoch, 0.5)
                };
                snapshots.save(&at, &tensors(0.5), Some(3)).unwrap();
            }
        }
        assert_eq!(
            snapshots.names().unwrap(),
            [
                "000009-00000005",
                "000009-00000000",
                "000007-00000000",
                "000004-00000000"
            ]
        );
    }

    #[test]
    fn damage_of_any_file_is_told_and_passed_over() {
        for file in [TENSORS, PROGRESS, MANIFEST] {
            for cut in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let snapshots = Snapshots::new(folder.path().to_path_buf());
                for epoch in 1..=2 {
                    snapshots
                        .save(&progress(epoch, 0.5), &tensors(0.5), None)
                        .unwrap();
                }
                let path = folder.path().join("000002-00000000").join(file);
                let mut bytes = fs::read(&path).unwrap();
                match cut {
                    true => bytes.truncate(bytes.len() - 1),
                    false => *bytes.last_mut().unwrap() ^= 1,
                }
                fs::write(&path, bytes).unwrap();
                let mut told = Vec::new();
                let found = snapshots
                    .latest(|error| told.push(error.to_string()))
                    .unwrap();
                assert_eq!(found.unwrap().0.epoch, 1, "{file}");
                assert!(told.len() == 1 && told[0].contains(file), "{told:?}");
            }
        }
    }

    #[test]
    fn what_a_killed_process_left_is_no_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path().to_path_buf());
        snapshots
            .save(&progress(1, 0.5), &tensors(0.5), None)
            .unwrap();
        fs::create_dir(folder.path().join(".000002-00000000")).unwrap();
        assert_eq!(snapshots.latest(none).unwrap().unwrap().0.epoch, 1);
        snapshots
            .save(&progress(2, 0.5), &tensors(0.5), None)
            .unwrap();
        assert_eq!(snapshots.latest(none).unwrap().unwrap().0.epoch, 2);
    }
}
