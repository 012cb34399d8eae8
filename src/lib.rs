//! Cellway: LSTMs on libtorch, with the cell written by hand.
//!
//! The cell state `c` is the highway that carries information over time:
//!
//! ```text
//! i  = σ(W_ii x + b_ii + W_hi h + b_hi)        input gate
//! f  = σ(W_if x + b_if + W_hf h + b_hf)        forget gate
//! g  = tanh(W_ig x + b_ig + W_hg h + b_hg)     candidate C̃
//! o  = σ(W_io x + b_io + W_ho h + b_ho)        output gate
//! c' = f ⊙ c + i ⊙ g
//! h' = o ⊙ tanh(c')
//! ```
//!
//! [`lstm::cell`] says just this in Rust; the plain engine unrolls it, the fused
//! engine runs the same parameters through libtorch, and both are tested to
//! equal `torch.nn.LSTM`:
//!
//! ```
//! use cellway::lstm::{Call, Engine, Init, Lstm, LstmConfig};
//! use cellway::random::Stream;
//! use tch::{Device, Kind, Tensor};
//!
//! let config = LstmConfig { bidirectional: true, ..LstmConfig::new(3, 4) };
//! let lstm = Lstm::new(config, Init::default(), Stream::new(1, "example"))?;
//!
//! let x = Tensor::ones([2, 5, 3], (Kind::Float, Device::Cpu)); // [B, T, I]
//! let call = Call { lengths: Some(&[5, 3]), engine: Engine::Plain, ..Call::default() };
//! let (read, traces) = lstm.trace(&x, &call)?;
//! assert_eq!(read.output.size(), [2, 5, 8]); // [B, T, D*H]
//! assert_eq!(read.state.c.size(), [2, 2, 4]); // [L*D, B, H]
//! assert_eq!(traces[0].f.size(), [2, 5, 4]); // the forget gates [B, T, H]
//! # Ok::<(), cellway::error::Error>(())
//! ```
//!
//! # The rooms
//!
//! A room uses only those above it in this list. The first ones are crates of their own,
//! which need no libtorch; this crate shows what they hold under its own names:
//!
//! | room | what it knows |
//! |---|---|
//! | [`cellway_checkpoint`] | [`files`] that are whole or absent |
//! | [`cellway_data`] | [`text`]: tokenizers, vocabularies, word vectors; [`data`]: labelled texts, splits, batches; [`metrics`]: accuracy, F1, intervals |
//! | [`cellway_graph`] | the architectures of LSTMs and classifiers, their limits, the model folder |
//! | [`error`] | errors that a caller can act on |
//! | [`random`] | numbers and tensors that are hashes of (seed, stream, counter) |
//! | [`runtime`] | devices, threads, what of CUDA is there |
//! | [`lstm`] | the heart: tensors, nothing of text or files |
//! | [`checkpoint`] | PyTorch's files, and others', in and out |
//! | [`model`] | embedding, LSTM, pooling and head with trainable parameters |
//! | [`import`] | a checkpoint becomes a model: recurrent modules, recognition, mapping |
//! | [`train`] | the loop, its optimizers, the run folder |
//! | [`sweep`] | a search over values of a training configuration |
//! | [`compare`] | ours against reference torch: differences, tolerances, causes |
//! | [`trace`] | one text through an LSTM: gates, states, gradients |
//! | [`units`] | what single units do over a data set |
//! | [`report`] | progress, tables, charts, the frame of pages |
//! | [`cli`] | one file per command |

#![deny(missing_docs)]

pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod error;
pub mod import;
pub mod lstm;
mod memory;
pub mod model;
pub mod random;
#[cfg(feature = "cli")]
pub mod report;
pub mod runtime;
mod shim;
pub mod sweep;
pub mod trace;
pub mod train;
pub mod units;

pub use cellway_checkpoint::files;
pub use cellway_data::metrics;

pub mod data {
    //! Labelled texts, their splits, and batches of similar length, from [`cellway_data`].

    pub use cellway_data::buckets::{Limit, epoch_batches, eval_batches, padding_share};
    pub use cellway_data::readers::{
        Dataset, Example, Format, ReadOptions, Reason, Row, Skipped, TextReader, has_labels, read,
    };
    pub use cellway_data::split::stratified;
    pub use cellway_data::{Error, Result};
}

pub mod text {
    //! Tokenizers, vocabularies and pretrained word vectors, from [`cellway_data`].

    pub use cellway_data::tokenizer::{Piece, Rule, Tokenizer};
    pub use cellway_data::vectors::Vectors;
    pub use cellway_data::vocabulary::{PAD, PAD_ID, UNK, UNK_ID, Vocabulary};
}

/// Compiles and runs the Rust code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
