//! The folder of a study: `study.json`, a file for each task and model that is
//! finished in `outcomes/`, `results.json` and `index.html`, each of them whole.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::network::ModelKind;
use super::plan::Plan;
use super::study::{Lesson, Outcome};
use crate::error::{Error, Result};
use crate::files::{HALF, write_atomically};

const PLAN: &str = "study.json";
const OUTCOMES: &str = "outcomes";

/// The folder of one study. It is this process's alone until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked for as long as it lasts, also if the process is killed.
    _plan: File,
}

impl Folder {
    /// The folder of a study with this plan: a new one, or that of the same study, to
    /// go on.
    ///
    /// Errors if something else is there: other files, a study with another plan, or
    /// one that another process is writing.
    pub fn claim(path: impl AsRef<Path>, plan: &Plan) -> Result<Folder> {
        let path = path.as_ref();
        let file = path.join(PLAN);
        let text = json(&file, plan)?;
        if !is_free(path)? {
            if !file.is_file() {
                let message = "is not empty and holds no highway study; give another --out";
                return Err(Error::file(path, message));
            }
            let there = fs::read_to_string(&file).map_err(Error::io(&file))?;
            if there != text {
                return Err(Error::file(path, another(&there, &text)));
            }
        } else {
            fs::create_dir_all(path).map_err(Error::io(path))?;
            write_atomically(&file, |file| file.write_all(text.as_bytes()))?;
        }
        let locked = File::open(&file).map_err(Error::io(&file))?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another study is writing into it; wait for its end";
                return Err(Error::file(path, message));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(&file)(error)),
        }
        let outcomes = path.join(OUTCOMES);
        fs::create_dir_all(&outcomes).map_err(Error::io(&outcomes))?;
        Ok(Folder {
            path: path.to_path_buf(),
            _plan: locked,
        })
    }

    fn outcome(&self, lesson: &Lesson, model: ModelKind) -> PathBuf {
        let name = format!("{}.{}.json", lesson.task.name(), model.name());
        self.path.join(OUTCOMES).join(name)
    }

    /// What a task and a model came to, if they are finished.
    ///
    /// Errors if the file is damaged or of another task or model.
    pub fn finished(&self, lesson: &Lesson, model: ModelKind) -> Result<Option<Outcome>> {
        let path = self.outcome(lesson, model);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(Error::io(&path))?,
        };
        let damaged = |why: String| Error::file(&path, format!("is damaged ({why}); remove it"));
        let outcome: Outcome =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let of = (outcome.task, outcome.model, outcome.steps);
        match of == (lesson.task, model, lesson.steps) {
            true => Ok(Some(outcome)),
            false => Err(damaged("it is of another training".to_owned())),
        }
    }

    /// Keeps what a task and a model came to.
    pub fn save(&self, lesson: &Lesson, outcome: &Outcome) -> Result<()> {
        self.write(&self.outcome(lesson, outcome.model), outcome)
    }

    /// Writes `results.json`.
    pub fn save_results(&self, results: &impl Serialize) -> Result<PathBuf> {
        let path = self.path.join("results.json");
        self.write(&path, results)?;
        Ok(path)
    }

    /// Where the page belongs.
    pub fn page(&self) -> PathBuf {
        self.path.join("index.html")
    }

    /// On one line: these are long lists of numbers.
    fn write(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| Error::file(path, error.to_string()))?;
        write_atomically(path, |file| writeln!(file, "{text}"))?;
        Ok(())
    }
}

/// Whether nothing is there but what a process left that was killed while it wrote its
/// first file.
fn is_free(path: &Path) -> Result<bool> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(Error::io(path))?,
    };
    let half = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(HALF.as_bytes());
    Ok(entries.flatten().all(|entry| half(&entry.file_name())))
}

/// The first line in which a plan differs from the one that is there.
fn another(there: &str, here: &str) -> String {
    let mut lines = here.lines().zip(there.lines());
    let differs = match lines.find(|(here, there)| here != there) {
        Some((here, there)) => format!("{} here and {} there", here.trim(), there.trim()),
        None => "one is longer".to_owned(),
    };
    format!("holds another highway study ({differs}); give another --out")
}

fn json(path: &Path, value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Error::file(path, error.to_string()))?;
    Ok(text + "\n")
}
