//! What a caller can act on. Messages are lower-case, name the file, line,
//! key or tensor, and say what to do.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// One line (counted from 1) of a text file is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and what to do.
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

    /// Texts, labels or predictions could not be read, tokenized or measured.
    #[error(transparent)]
    Data(#[from] cellway_data::Error),

    /// An architecture is impossible, or a model folder could not be read or written.
    #[error(transparent)]
    Graph(#[from] cellway_graph::Error),

    /// A file could not be read or written; for a checkpoint that is not what its
    /// format says, with the byte.
    #[error(transparent)]
    Checkpoint(#[from] cellway_checkpoint::Error),

    /// A setting is wrong: the key as it is written in the file or on the
    /// command line, and what it takes.
    #[error("{key}: {message}")]
    Config {
        /// The key or flag.
        key: String,
        /// What is wrong with it, and what it takes.
        message: String,
    },

    /// A tensor has another shape or dtype than the call needs.
    #[error("{tensor}: {message}")]
    Tensor {
        /// The tensor, by the name that the documentation gives it.
        tensor: String,
        /// What it has and what it should have.
        message: String,
    },

    /// The device that was asked for cannot be used.
    #[error("device {device}: {message}")]
    Device {
        /// As it was asked for: `cuda:1`.
        device: String,
        /// Why not, and what to do.
        message: String,
    },

    /// The loss became NaN or infinite.
    #[error("{0}")]
    NonFinite(String),

    /// A batch does not fit into the memory of its device.
    #[error("out of memory: {0}")]
    OutOfMemory(String),

    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl Error {
    /// For `map_err` on an operation with one path.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// A wrong line, counted from 1.
    pub fn line(path: impl AsRef<Path>, line: u64, message: impl Into<String>) -> Self {
        Error::Line {
            path: path.as_ref().to_path_buf(),
            line,
            message: message.into(),
        }
    }

    /// A wrong file.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::File {
            path: path.as_ref().to_path_buf(),
            message: message.into(),
        }
    }

    /// A wrong setting.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config {
            key: key.into(),
            message: message.into(),
        }
    }

    /// A wrong tensor.
    pub fn tensor(tensor: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Tensor {
            tensor: tensor.into(),
            message: message.into(),
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // The C++ backtrace below the first line is of no use to a caller.
        let message = error.to_string();
        Error::Torch(message.lines().next().unwrap_or_default().to_owned())
    }
}
