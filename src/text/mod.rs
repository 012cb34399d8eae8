//! From words to numbers: the tokenizer (`tokenizer.json`), the vocabulary it
//! is built from, and pretrained word vectors.

mod tokenizer;
mod vectors;
mod vocabulary;

pub use tokenizer::{Piece, Rule, Tokenizer};
pub use vectors::Vectors;
pub use vocabulary::{PAD, PAD_ID, UNK, UNK_ID, Vocabulary};
