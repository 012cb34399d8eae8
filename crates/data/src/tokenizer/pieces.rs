//! Where in a text its tokens stand.

use std::ops::Range;
use std::panic::AssertUnwindSafe;

use super::Tokenizer;
use crate::error::Result;

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its id.
    pub id: i64,
    /// The bytes of the text that it was made of, whole characters; those of two pieces
    /// may overlap where a tokenizer splits characters.
    pub range: Range<usize>,
}

impl Tokenizer {
    /// The tokens of [`Tokenizer::encode`], in their order, each with its place.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn pieces(&self, text: &str) -> Result<Vec<Piece>> {
        // As there: some tokenizer.json make the library panic only here.
        let encode = AssertUnwindSafe(|| self.inner.encode(text, false));
        let encoding = std::panic::catch_unwind(encode)
            .map_err(|_| self.failed(text, "the library cannot go on"))?
            .map_err(|error| self.failed(text, error))?;
        let places = encoding.get_offsets().iter();
        let pieces = encoding.get_ids().iter().zip(places);
        Ok(pieces
            .map(|(&id, &(start, end))| Piece {
                id: id.into(),
                range: whole(text, start, end),
            })
            .collect())
    }

    /// The id that stands for what is not in the vocabulary, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        let model = serde_json::to_value(self.inner.get_model()).ok()?;
        match (&model["unk_token"], &model["unk_id"]) {
            (serde_json::Value::String(token), _) => self.id(token),
            (_, id) => id.as_u64().and_then(|id| u32::try_from(id).ok()),
        }
    }
}

/// The characters that these bytes touch.
fn whole(text: &str, start: usize, end: usize) -> Range<usize> {
    let (mut start, mut end) = (start.min(text.len()), end.min(text.len()));
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end.max(start)
}
