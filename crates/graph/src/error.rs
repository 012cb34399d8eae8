//! The errors of this crate. Messages are lower-case, name the file or key, and say what to
//! do.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an architecture is impossible, or a model folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that it cannot take.
    #[error("{key}: {message}")]
    Config {
        /// The key of the setting.
        key: String,
        /// What is wrong with the value, and what the key takes.
        message: String,
    },

    /// A file or folder as a whole is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },

    /// The operating system refused a file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// The tokenizer could not be read or written.
    #[error(transparent)]
    Data(#[from] cellway_data::Error),

    /// A file could not be written.
    #[error(transparent)]
    Checkpoint(#[from] cellway_checkpoint::Error),
}

impl Error {
    /// Creates the error of a setting.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config {
            key: key.into(),
            message: message.into(),
        }
    }

    /// Creates the error of a file that is not what it should be.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::File {
            path: path.as_ref().to_path_buf(),
            message: message.into(),
        }
    }

    /// Wraps an I/O error with the path that it is about, for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }
}
