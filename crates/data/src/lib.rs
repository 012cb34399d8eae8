//! Labelled texts for recurrent networks, without libtorch: readers of files, tokenizers
//! and vocabularies, pretrained word vectors, splits, batches by length, and metrics.
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | the errors of this crate |
//! | [`random`] | random numbers that are hashes of (seed, stream, counter) |
//! | [`readers`] | data sets of labelled texts, and texts without labels, from files |
//! | [`split`] | parts of a data set that keep the shares of its classes |
//! | [`buckets`] | batches of sequences of similar length |
//! | [`tokenizer`] | the way from a text to token ids, as `tokenizer.json` says |
//! | [`vocabulary`] | words and their ids |
//! | [`vectors`] | pretrained word vectors |
//! | [`metrics`] | accuracy, precision, recall, F1 and their intervals |

#![deny(missing_docs)]

pub mod buckets;
pub mod error;
pub mod metrics;
pub mod random;
pub mod readers;
pub mod split;
pub mod tokenizer;
pub mod vectors;
pub mod vocabulary;

pub use self::error::{Error, Result};
