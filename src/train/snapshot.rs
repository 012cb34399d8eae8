//! Everything that a run must remember between two steps, on the disk: a run that
//! was stopped goes on from its last snapshot to the same bits.
//!
//! A snapshot is a folder `EPOCH-STEP` in the run's `snapshots/`, with
//! `tensors.safetensors`, `progress.json`, and `manifest.json`: the size and
//! SHA-256 of the other two. It is written beside its place and moved there when it
//! is whole. The last two are kept; one that is damaged is passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schedule::PlateauState;
use crate::checkpoint::safetensors::{self, Tensors};
use crate::error::{Error, Result};
use crate::files::{crash_point, write_atomically};

/// The version that this code writes and reads.
const FORMAT: u64 = 1;
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
    /// Sums over the steps of this epoch.
    pub loss_sum: f64,
    pub norm_sum: f64,
    pub seen: usize,
    /// The rate of the last step.
    pub rate: f64,
    /// 0 and none before the first epoch is measured.
    pub best_epoch: u64,
    pub best: Option<f64>,
    pub plateau: Option<PlateauState>,
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
            seen: 0,
            rate: 0.0,
            best_epoch: 0,
            best: None,
            plateau: None,
            metrics_bytes: 0,
        }
    }
}

impl Progress {
    /// The epoch is over and measured.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
        (self.epoch_steps, self.seen) = (0, 0);
        (self.loss_sum, self.norm_sum) = (0.0, 0.0);
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

    /// Adds one, whole or not at all, and removes those that are no longer needed.
    pub fn save(&self, progress: &Progress, tensors: &[(String, tch::Tensor)]) -> Result<()> {
        let name = format!("{:06}-{:08}", progress.epoch, progress.epoch_steps);
        let (place, new) = (
            self.folder.join(&name),
            self.folder.join(format!(".{name}")),
        );
        // What a killed process left.
        remove(&new)?;
        fs::create_dir_all(&new).map_err(Error::io(&new))?;
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::save(&new.join(TENSORS), named, &[])?;
        write_json(&new.join(PROGRESS), progress)?;
        let mut manifest = BTreeMap::new();
        for file in [TENSORS, PROGRESS] {
            manifest.insert(file, entry(&new.join(file))?);
        }
        write_json(&new.join(MANIFEST), &manifest)?;
        // A run that went on from an earlier one comes here again, to the same bits.
        remove(&place)?;
        crash_point();
        fs::rename(&new, &place).map_err(Error::io(&place))?;
        crash_point();
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(&self.folder))?;
        for old in self.names()?.into_iter().skip(KEPT) {
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

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::file(path, error.to_string()))?;
    write_atomically(path, |file| file.write_all(text.as_bytes()))
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
                .save(&progress(epoch, sum), &tensors(sum))
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
    fn damage_of_any_file_is_told_and_passed_over() {
        for file in [TENSORS, PROGRESS, MANIFEST] {
            for cut in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let snapshots = Snapshots::new(folder.path().to_path_buf());
                for epoch in 1..=2 {
                    snapshots
                        .save(&progress(epoch, 0.5), &tensors(0.5))
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
        snapshots.save(&progress(1, 0.5), &tensors(0.5)).unwrap();
        fs::create_dir(folder.path().join(".000002-00000000")).unwrap();
        assert_eq!(snapshots.latest(none).unwrap().unwrap().0.epoch, 1);
        snapshots.save(&progress(2, 0.5), &tensors(0.5)).unwrap();
        assert_eq!(snapshots.latest(none).unwrap().unwrap().0.epoch, 2);
    }
}
