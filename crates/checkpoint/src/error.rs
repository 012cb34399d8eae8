//! Errors of reading and writing files. Messages are lower-case, name the file and
//! say what to do.

use std::path::{Path, PathBuf};

use crate::parse_error::ParseError;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A file or folder as a whole is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },

    /// The bytes of a checkpoint are not what its format says.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, at which byte, and what to do.
        error: ParseError,
    },

    /// A tensor cannot be read or written.
    #[error("{tensor}: {message}")]
    Tensor {
        /// The name of the tensor.
        tensor: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
}

impl Error {
    /// Wraps an I/O error with the path that it is about, for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// Creates the error of a file that is not what it should be.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::File {
            path: path.as_ref().to_path_buf(),
            message: message.into(),
        }
    }

    /// Creates the error of a tensor that cannot be read or written.
    pub fn tensor(tensor: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Tensor {
            tensor: tensor.into(),
            message: message.into(),
        }
    }
}

/// Lists names as a message shows them: the first twelve, and how many there are.
pub fn some_of(names: &[&str]) -> String {
    const MOST: usize = 12;
    match names.len() {
        0 => "none".to_owned(),
        count if count > MOST => format!("{}, ... ({count} in all)", names[..MOST].join(", ")),
        _ => names.join(", "),
    }
}
