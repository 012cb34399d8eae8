//! Files of tensors, read and written without PyTorch and without libtorch.

#![deny(missing_docs)]

pub mod error;
pub mod files;

pub use self::error::{Error, Result};
