//! One folder per label, one `.txt` file per text.

use std::path::{Path, PathBuf};

use super::lines::not_utf8;
use super::rows::{Reason, Rows};
use crate::error::{Error, Result};

/// Reads the folders, and the files in each, in the order of their names. What
/// else lies there, hidden folders too, is not part of the data.
pub(super) fn read(rows: &mut Rows) -> Result<()> {
    for folder in sorted(rows.path)? {
        let name = folder.file_name().unwrap_or_default();
        if !folder.is_dir() || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let Some(label) = name.to_str() else {
            return Err(Error::file(
                &folder,
                "has a name that is not UTF-8; rename it",
            ));
        };
        let files: Vec<PathBuf> = sorted(&folder)?
            .into_iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        if files.is_empty() {
            return Err(Error::file(
                &folder,
                "is the folder of a label, but holds no .txt file",
            ));
        }
        for file in files {
            let bytes = std::fs::read(&file).map_err(Error::io(&file))?;
            match std::str::from_utf8(&bytes) {
                Ok(text) => {
                    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
                    rows.add_from(text, label, |message| Error::file(&file, message))?;
                }
                Err(error) => {
                    let before = &bytes[..error.valid_up_to()];
                    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64;
                    rows.refuse(Reason::NotUtf8, not_utf8(&file, line))?;
                }
            }
        }
    }
    Ok(())
}

/// What lies in `folder`, by name.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(Error::io(folder))?;
    paths.sort();
    Ok(paths)
}
