//! The files that a checkpoint is read from.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};

/// The bytes of one file.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// A file with its path, for errors.
#[derive(Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub bytes: Bytes,
}

impl Source {
    pub fn open(path: &Path) -> Result<Source> {
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::file(path, "is not a file"));
        }
        let bytes = match metadata.len() {
            0 => Bytes::Owned(Vec::new()), // cannot be mapped
            // SAFETY: the file must not be written to while it is mapped, as the
            // documentation of this crate says; every place in it that is used was
            // checked against the map's length.
            _ => Bytes::Mapped(unsafe { Mmap::map(&file) }.map_err(Error::io(path))?),
        };
        Ok(Source {
            path: path.to_path_buf(),
            bytes,
        })
    }
}
