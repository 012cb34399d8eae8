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
//! A room uses only those above it in this list:
//!
//! | room | what it knows |
//! |---|---|
//! | [`error`], [`files`], [`random`] | errors, whole files, randomness without state |
//! | [`runtime`] | devices, threads, what of CUDA is there |
//! | [`lstm`] | the heart: tensors, nothing of text or files |
//! | [`text`] | tokenizer, vocabulary, word vectors |
//! | [`checkpoint`] | PyTorch's files, and others', in and out |
//! | [`data`] | labelled texts, splits, batches |
//! | [`model`] | embedding, LSTM, pooling, head; the model directory |
//! | [`metrics`] | accuracy, F1, intervals |
//! | [`train`] | the loop, its optimizers, the run folder |
//! | [`sweep`] | a search over values of a training configuration |
//! | [`compare`] | ours against reference torch: differences, tolerances, causes |
//! | [`trace`] | one text through an LSTM: gates, states, gradients |
//! | [`units`] | what single units do over a data set |
//! | [`highway`] | how far memory reaches: tasks, a tanh RNN beside the LSTM, gradients |
//! | [`report`] | progress, tables, charts, the frame of pages |
//! | [`cli`] | one file per command |

#![deny(missing_docs)]

pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod data;
pub mod error;
pub mod highway;
pub mod lstm;
mod memory;
pub mod metrics;
pub mod model;
#[cfg(feature = "cli")]
pub mod report;
pub mod runtime;
mod shim;
pub mod sweep;
pub mod text;
pub mod trace;
pub mod train;
pub mod units;

pub use cellway_checkpoint::files;
pub use cellway_data::random;

/// Compiles and runs the Rust code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
