//! What is wrong with the bytes of a checkpoint, and at which byte.

use std::fmt;
use std::path::Path;

use crate::error::Error;

/// The result of reading bytes that somebody else wrote.
pub(crate) type ParseResult<T> = Result<T, ParseError>;

/// The kind of a [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The file is something else under a checkpoint's name: a web page, a git-LFS
    /// pointer.
    NotACheckpoint,
    /// The bytes end before what they promise.
    Truncated,
    /// The bytes contradict their format, or each other.
    Malformed,
    /// The bytes are not those that were written: a checksum differs.
    Checksum,
    /// The file asks for more than the [limits](crate::limits) allow.
    TooLarge,
    /// The file is well-formed, and refused: the message says why and what to do.
    Unsupported,
    /// Something that the rest of the file refers to is not there.
    Missing,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The kind of the error.
    pub kind: ParseErrorKind,
    /// The byte of the file at which it was noticed.
    pub offset: u64,
    /// What is wrong, and what to do.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(
        kind: ParseErrorKind,
        offset: usize,
        message: impl Into<String>,
    ) -> ParseError {
        ParseError {
            kind,
            offset: offset as u64,
            message: message.into(),
        }
    }

    pub(crate) fn malformed(offset: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(ParseErrorKind::Malformed, offset, message)
    }

    pub(crate) fn truncated(offset: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(ParseErrorKind::Truncated, offset, message)
    }

    pub(crate) fn too_large(offset: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(ParseErrorKind::TooLarge, offset, message)
    }

    pub(crate) fn unsupported(offset: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(ParseErrorKind::Unsupported, offset, message)
    }

    pub(crate) fn missing(offset: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(ParseErrorKind::Missing, offset, message)
    }

    /// Adds the path of the file that the error is about.
    pub(crate) fn in_file(self, path: &Path) -> Error {
        Error::Parse {
            path: path.to_path_buf(),
            error: self,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            ParseErrorKind::NotACheckpoint => f.write_str(&self.message),
            _ => write!(f, "{} (at byte {})", self.message, self.offset),
        }
    }
}

impl std::error::Error for ParseError {}
