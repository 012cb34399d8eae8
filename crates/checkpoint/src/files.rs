//! Files written so that a crash, a full disk or Ctrl-C never leaves half of
//! one: a temporary file in the same folder, flush, fsync, rename, fsync of
//! the folder.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How the names of files begin that are not whole yet.
pub const HALF: &str = ".cellway-";

/// A file that appears at its path, whole, when it is committed. Dropped before
/// that, it leaves what stood there untouched.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts to write what will be `path`; behind a link, the file that it
    /// leads to. A file that is there keeps its permissions.
    ///
    /// Errors if `path` is there and no ordinary file, or its folder is not.
    pub fn create(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        // Less than the umask lets through is not ours to decide.
        let mut permissions = Permissions::from_mode(0o666);
        if let Ok(there) = fs::metadata(&path) {
            if !there.is_file() {
                return Err(Error::file(
                    path,
                    "is there and no file that can be replaced; give another name",
                ));
            }
            permissions = there.permissions();
        }
        if !folder_of(&path).is_dir() {
            return Err(Error::file(path, "its folder is not there; make it first"));
        }
        let temporary = tempfile::Builder::new()
            .prefix(HALF)
            .permissions(permissions)
            .tempfile_in(folder_of(&path))
            .map_err(|error| Error::io(&path)(error.kind().into()))?;
        Ok(AtomicFile {
            path,
            writer: BufWriter::new(temporary),
        })
    }

    /// Makes it durable and puts it at its path.
    pub fn commit(self) -> Result<()> {
        let path = &self.path;
        crash_point();
        let temporary = self
            .writer
            .into_inner()
            .map_err(|error| Error::io(path)(error.into_error()))?;
        crash_point();
        temporary.as_file().sync_all().map_err(Error::io(path))?;
        crash_point();
        temporary
            .persist(path)
            .map_err(|error| Error::io(path)(error.error))?;
        crash_point();
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

/// Where a process may die while it writes. Tests of that set the variable
/// `CELLWAY_CRASH_AT` to a number: the process is gone at that many such points,
/// as if it had been killed.
#[doc(hidden)]
pub fn crash_point() {
    static LEFT: OnceLock<Option<AtomicU64>> = OnceLock::new();
    let left = LEFT.get_or_init(|| {
        let at = std::env::var("CELLWAY_CRASH_AT").ok()?;
        at.parse().ok().map(AtomicU64::new)
    });
    if left
        .as_ref()
        .is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1)
    {
        std::process::abort();
    }
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
        assert_eq!(
            error.to_string(),
            "no/such/folder/x: its folder is not there; make it first"
        );
    }

    #[test]
    fn links_are_followed_and_permissions_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let error = AtomicFile::create(Path::new("/dev/null")).unwrap_err();
        assert!(
            error.to_string().contains("no file that can be replaced"),
            "{error}"
        );
        let error = AtomicFile::create(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("no file that can be replaced"),
            "{error}"
        );
    }
}
