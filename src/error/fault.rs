//! What is wrong with a checkpoint, and at which byte.

use std::fmt;
use std::path::Path;

use super::Error;

/// The result of reading bytes that somebody else wrote.
pub(crate) type Read<T> = Result<T, Fault>;

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Something else under a checkpoint's name: a web page, a git-LFS pointer.
    NotACheckpoint,
    /// The bytes end before what they promise.
    Truncated,
    /// The bytes contradict their format, or each other.
    Malformed,
    /// The bytes are not those that were written: a checksum differs.
    Checksum,
    /// More than the limits of its reader: `checkpoint/limits.rs`.
    TooLarge,
    /// Well-formed, and refused: the message says why and what to do.
    Unsupported,
    /// Something that the rest refers to is not there.
    Missing,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of wrong.
    pub kind: FaultKind,
    /// The byte of the file at which it was noticed.
    pub offset: u64,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, offset: usize, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            offset: offset as u64,
            message: message.into(),
        }
    }

    pub(crate) fn malformed(offset: usize, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Malformed, offset, message)
    }

    pub(crate) fn truncated(offset: usize, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Truncated, offset, message)
    }

    pub(crate) fn too_large(offset: usize, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::TooLarge, offset, message)
    }

    pub(crate) fn unsupported(offset: usize, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Unsupported, offset, message)
    }

    pub(crate) fn missing(offset: usize, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Missing, offset, message)
    }

    /// With the file that it is about.
    pub(crate) fn of(self, path: &Path) -> Error {
        Error::Checkpoint {
            path: path.to_path_buf(),
            fault: self,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            FaultKind::NotACheckpoint => f.write_str(&self.message),
            _ => write!(f, "{} (at byte {})", self.message, self.offset),
        }
    }
}

impl std::error::Error for Fault {}
