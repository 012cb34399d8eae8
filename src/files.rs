//! Files written so that a crash, a full disk or Ctrl-C never leaves half of
//! one: a temporary file in the same folder, flush, fsync, rename, fsync of
//! the folder.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file that appears at its path, whole, when it is committed. Dropped before
/// that, it leaves what stood there untouched.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts to write what will be `path`.
    pub fn create(path: &Path) -> Result<Self> {
        // Less than the umask lets through is not ours to decide.
        let temporary = tempfile::Builder::new()
            .prefix(".cellway-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(path))
            .map_err(Error::io(path))?;
        Ok(AtomicFile {
            path: path.to_path_buf(),
            writer: BufWriter::new(temporary),
        })
    }

    /// Makes it durable and puts it at its path.
    pub fn commit(self) -> Result<()> {
        let path = &self.path;
        let temporary = self
            .writer
            .into_inner()
            .map_err(|error| Error::io(path)(error.into_error()))?;
        temporary.as_file().sync_all().map_err(Error::io(path))?;
        temporary
            .persist(path)
            .map_err(|error| Error::io(path)(error.error))?;
        let folder = folder_of(path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(folder))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes `path` whole or not at all. If `fill` fails, what stood at `path`
/// before is untouched.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut AtomicFile) -> io::Result<()>,
) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file).map_err(Error::io(path))?;
    file.commit()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let names = || std::fs::read_dir(folder.path()).unwrap().count();

        let failed = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.unwrap_err().to_string().ends_with("/x: no more"));
        assert_eq!(names(), 0);

        write_atomically(&path, |file| file.write_all(b"first")).unwrap();
        write_atomically(&path, |_| Err(io::Error::other("no more"))).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        write_atomically(&path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = AtomicFile::create(Path::new("no/such/folder/x")).unwrap_err();
        assert!(
            error.to_string().starts_with("no/such/folder/x: "),
            "{error}"
        );
    }
}
