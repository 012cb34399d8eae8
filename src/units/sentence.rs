//! A match as it is shown: the text with its words.

use std::ops::Range;

use serde::Serialize;

use super::Match;
use crate::error::Result;
use crate::text::Tokenizer;

/// A token of a text as it stands there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Word {
    /// As the text has it.
    pub word: String,
    /// Its bytes in the text.
    #[serde(skip)]
    pub place: Range<usize>,
    /// The unit's activation after it, or the cosine of its state with the span's.
    pub activation: f64,
    /// Whether it is one of those that match.
    pub matches: bool,
}

/// A text that was found, with the words that the model read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// Which of the texts, from 0.
    pub number: usize,
    /// As [`Match::score`].
    pub score: f64,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// The text.
    pub text: String,
    /// Its tokens.
    pub words: Vec<Word>,
}

/// The sentences of [`Matches`](super::Matches).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentences {
    /// Best for what: `highest`, `lowest`, `most similar`.
    pub name: &'static str,
    /// The best first.
    pub sentences: Vec<Sentence>,
}

impl Sentence {
    /// `text` is that of the match.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn new(
        found: &Match,
        text: &str,
        label: Option<String>,
        tokenizer: &Tokenizer,
    ) -> Result<Sentence> {
        let pieces = tokenizer.pieces(text)?.into_iter();
        // Behind the last activation stands what the model does not read.
        let words = pieces.zip(&found.activations).enumerate();
        Ok(Sentence {
            number: found.text,
            score: found.score,
            label,
            text: text.to_owned(),
            words: words
                .map(|(at, (piece, &activation))| Word {
                    word: text[piece.range.clone()].to_owned(),
                    place: piece.range,
                    activation,
                    matches: found.tokens.contains(&at),
                })
                .collect(),
        })
    }
}
