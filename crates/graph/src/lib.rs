//! What a recurrent model is, without arithmetic and without libtorch: the architecture of
//! an LSTM and of a classifier around it, their limits, and the model folder.
//!
//! Shape letters: `B` batch, `T` time, `I` input size, `E` embedding size, `H` hidden size,
//! `L` layers, `D` directions (1 or 2), `P` the size that a direction puts out: `proj_size`
//! with a projection, else `H`; `V` vocabulary, `C` classes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | the errors of this crate |
//! | [`regularization`] | dropout inside of an LSTM beyond that of `torch.nn.LSTM` |
//! | [`lstm`] | the architecture of an LSTM, and the limits of its sizes |
//! | [`classifier`] | the architecture of a text classifier, as `config.json` has it |
//! | [`folder`] | the files of a model folder |

#![deny(missing_docs)]

pub mod classifier;
pub mod error;
pub mod folder;
pub mod lstm;
pub mod regularization;

pub use self::error::{Error, Result};
