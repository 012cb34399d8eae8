//! Files of tensors, read and written without PyTorch and without libtorch:
//! whatever a training in PyTorch left behind, bit for bit, or refused with a
//! reason.
//!
//! ```no_run
//! use cellway_checkpoint::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("model.pt")?;
//! for tensor in checkpoint.tensors() {
//!     println!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
//! }
//! let weight = checkpoint.bytes("encoder.weight_ih_l0")?; // row-major, little-endian
//! # Ok::<(), cellway_checkpoint::Error>(())
//! ```
//!
//! A file is told by its content, once, and read by the one reader of its format;
//! there is no second try with a laxer one. Nothing of a pickle is executed: what
//! it asks to be called stays an inert value with a name. Every length is checked
//! against the bytes that are left before memory is taken for it, and every budget
//! is a constant in [`limits`].
//!
//! Files are mapped into memory; opening one reads its directory and pickles only.
//! While a [`Checkpoint`] lives, its files must not be written to.

#![deny(missing_docs)]

mod archive;
mod checkpoint;
mod contents;
mod cursor;
mod detect;
mod dtype;
pub mod error;
pub mod files;
mod index;
mod legacy;
pub mod limits;
mod npz;
mod parse_error;
mod pickle;
pub mod safetensors;
mod shards;
mod source;
mod tensor;
mod value;
mod view;
mod write;
mod zip;

pub use self::checkpoint::{Checkpoint, ValueInfo};
pub use self::contents::{ModuleInfo, Refusal};
pub use self::dtype::DType;
pub use self::error::{Error, Result};
pub use self::index::Hint;
pub use self::parse_error::{ParseError, ParseErrorKind};
pub use self::tensor::{StorageInfo, TensorInfo};
pub use self::view::TensorView;
pub use self::write::save_torch;
