//! Labelled texts for recurrent networks, without libtorch.

#![deny(missing_docs)]

pub mod random;
