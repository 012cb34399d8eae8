//! Tokenizers, which turn texts into token ids as a `tokenizer.json` says.

mod pieces;
mod words;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use cellway_checkpoint::files::write_atomically;
use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

pub use self::pieces::Piece;
use self::words::Words;
use crate::error::{Error, Result};
use crate::vocabulary::{UNK, Vocabulary};

/// A final capital sigma, as Python's `str.lower` sees it: before it a cased
/// letter, after it none, case-ignorable characters not counted on either
/// side. Such a sigma becomes `ς`; the per-character lower-casing that follows
/// would make it `σ`.
const FINAL_SIGMA: &str = r"[\p{Cased}&&\P{Case_Ignorable}]\p{Case_Ignorable}*\KΣ(?!\p{Case_Ignorable}*[\p{Cased}&&\P{Case_Ignorable}])";

/// Fewer texts than this are tokenized faster by one thread.
const FEW: usize = 16;

/// What Python's `\s` and `str.split` take for white space: Unicode's property
/// and the four ASCII separators.
const WHITE_SPACE: &str = r"[\p{White_Space}\x1c-\x1f]+";

/// torchtext's replacements, in its order.
const REPLACEMENTS: [(&str, &str); 11] = [
    ("'", " '  "),
    ("\"", ""),
    (".", " . "),
    ("<br />", " "),
    (",", " , "),
    ("(", " ( "),
    (")", " ) "),
    ("!", " ! "),
    ("?", " ? "),
    (";", " "),
    (":", " "),
];

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

/// How a text is split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// torchtext's `basic_english`.
    BasicEnglish,
    /// Python's `text.split()`.
    Whitespace {
        /// `text.lower()` before it.
        lower: bool,
    },
    /// Python's `re.findall(pattern, text)`, the pattern without groups; in the
    /// syntax of Oniguruma, which is Python's for all that tokenizers use.
    Matches {
        /// The regular expression.
        pattern: String,
        /// `text.lower()` before it.
        lower: bool,
    },
}

impl Rule {
    fn lowers(&self) -> bool {
        match self {
            Rule::BasicEnglish => true,
            Rule::Whitespace { lower } | Rule::Matches { lower, .. } => *lower,
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let lower = if self.lowers() { ", lower case" } else { "" };
        match self {
            Rule::BasicEnglish => f.write_str("basic_english"),
            Rule::Whitespace { .. } => write!(f, "whitespace{lower}"),
            Rule::Matches { pattern, .. } => write!(f, "matches of {pattern}{lower}"),
        }
    }
}

/// Turns text into token ids. Any `tokenizer.json` will do; the one that
/// [`Tokenizer::basic_english`] makes is read by Python's `tokenizers` too.
///
/// Special tokens are never added, and nothing is truncated or padded: the
/// lengths of a batch are the model's business, and a tokenizer that cut or
/// filled on its own would hide the true ones.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// A faster way to the same ids, where there is one.
    words: Option<Words>,
    /// What an error names: the file, or the function that made it.
    origin: PathBuf,
}

impl Tokenizer {
    /// torchtext's `basic_english` and a look-up in `vocabulary`, all of it
    /// said in the `tokenizer.json`: lower case, the replacements, a split at
    /// white space, and words that are not there become `<unk>`.
    ///
    /// Equal to the Python function for every text, but for letters that are
    /// younger than that Python's Unicode tables. `<pad>` and `<unk>` are words
    /// like any other: a text that has them finds them.
    ///
    /// With the empty vocabulary, [`Tokenizer::tokens`] gives the words to
    /// build the real one from.
    pub fn basic_english(vocabulary: &Vocabulary) -> Result<Self> {
        let words = vocabulary.iter().map(|(id, word)| (word.to_owned(), id));
        Self::word_level(&Rule::BasicEnglish, words, UNK)
    }

    /// Splits by `rule` and looks the pieces up in `words`; those that are not
    /// there become `unknown`, and are an error where that is not there either.
    ///
    /// Errors if the rule is a regular expression that is none.
    pub fn word_level(
        rule: &Rule,
        words: impl IntoIterator<Item = (String, u32)>,
        unknown: &str,
    ) -> Result<Self> {
        let mut normalizers = Vec::new();
        if rule.lowers() {
            normalizers.push(replace(json!({"Regex": FINAL_SIGMA}), "ς"));
            normalizers.push(json!({"type": "Lowercase"}));
        }
        if let Rule::BasicEnglish = rule {
            let fixed = REPLACEMENTS.iter();
            normalizers.extend(fixed.map(|(from, to)| replace(json!({"String": from}), to)));
        }
        let pre_tokenizer = match rule {
            Rule::BasicEnglish | Rule::Whitespace { .. } => {
                normalizers.push(replace(json!({"Regex": WHITE_SPACE}), " "));
                json!({"type": "WhitespaceSplit"})
            }
            // What matches is a token, what lies between is not.
            Rule::Matches { pattern, .. } => json!({
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Removed",
                "invert": true,
            }),
        };
        let vocab: serde_json::Map<String, Value> = words
            .into_iter()
            .map(|(word, id)| (word, id.into()))
            .collect();
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": unknown},
        });
        Self::from_json(&json.to_string(), rule.to_string()).map_err(|error| match (rule, error) {
            (Rule::Matches { pattern, .. }, Error::File { message, .. }) => {
                // Behind it stands what the library says of the pattern.
                let why = message.split(": ").last().unwrap_or_default();
                let why = why.split(" at line").next().unwrap_or_default();
                Error::config(
                    "regex",
                    format!("{pattern:?} is no regular expression: {why}"),
                )
            }
            (_, error) => error,
        })
    }

    /// Reads a `tokenizer.json` of any kind: word level, BPE, WordPiece,
    /// Unigram. Its own truncation and padding are switched off.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a `tokenizer.json`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let json = std::str::from_utf8(&bytes).map_err(|error| not_a_tokenizer(path, error))?;
        Self::from_json(json, path)
    }

    /// As [`Tokenizer::load`], from the text of the file; errors name `origin`.
    pub fn from_json(json: &str, origin: impl AsRef<Path>) -> Result<Self> {
        let origin = origin.as_ref();
        // The library panics on JSON that breaks off, and on a few values that
        // are not what they should be: the first is checked before, the second
        // caught.
        serde_json::from_str::<serde::de::IgnoredAny>(json)
            .map_err(|error| not_a_tokenizer(origin, error))?;
        let mut inner = std::panic::catch_unwind(|| json.parse::<tokenizers::Tokenizer>())
            .map_err(|_| not_a_tokenizer(origin, "the library cannot take a value in it"))?
            .map_err(|error| not_a_tokenizer(origin, error))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| not_a_tokenizer(origin, error))?;
        Ok(Self {
            words: Words::of(&inner),
            inner,
            origin: origin.to_path_buf(),
        })
    }

    /// Writes the `tokenizer.json`, whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let json = self
            .inner
            .to_string(true)
            .map_err(|error| Error::file(path, format!("cannot be written as JSON: {error}")))?;
        write_atomically(path, |file| {
            std::io::Write::write_all(file, json.as_bytes())
        })?;
        Ok(())
    }

    /// The pieces of `text` before any look-up: what the normalizer and the
    /// pre-tokenizer make of it. For [`Tokenizer::basic_english`], its words.
    pub fn tokens(&self, text: &str) -> Result<Vec<String>> {
        if let Some(text) = self.words.as_ref().and_then(|words| words.normalized(text)) {
            return Ok(text.split_whitespace().map(str::to_owned).collect());
        }
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer
                .normalize(&mut normalized)
                .map_err(|error| self.failed(text, error))?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer
                .pre_tokenize(&mut pieces)
                .map_err(|error| self.failed(text, error))?;
        }
        Ok(pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(piece, _, _)| piece.to_owned())
            .collect())
    }

    /// The ids of `text`, without special tokens.
    ///
    /// # Errors
    /// A tokenizer that has no id for a piece, nor one for unknown pieces.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let words = self.words.as_ref();
        if let Some(ids) = words.and_then(|words| words.ids(&self.inner, text)) {
            return Ok(ids);
        }
        // Some tokenizer.json make the library panic only here.
        let encode = AssertUnwindSafe(|| self.inner.encode_fast(text, false));
        let encoding = std::panic::catch_unwind(encode)
            .map_err(|_| self.failed(text, "the library cannot go on"))?
            .map_err(|error| self.failed(text, error))?;
        Ok(encoding.get_ids().iter().map(|&id| id.into()).collect())
    }

    /// [`Tokenizer::encode`] of every text, in order, on all cores; the error
    /// is that of the first text that has one.
    pub fn encode_all(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Vec<i64>>> {
        if texts.len() < FEW {
            return texts
                .iter()
                .map(|text| self.encode(text.as_ref()))
                .collect();
        }
        let encoded: Vec<Result<Vec<i64>>> = texts
            .par_iter()
            .map(|text| self.encode(text.as_ref()))
            .collect();
        encoded.into_iter().collect()
    }

    /// One more than the highest id: how many rows an embedding needs. (Where
    /// ids have gaps, that is more than there are tokens.)
    pub fn vocab_size(&self) -> usize {
        self.inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// The token of `id`, if there is one.
    pub fn word(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of `token`, if there is one.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn failed(&self, text: &str, error: impl std::fmt::Display) -> Error {
        let shown: String = text.chars().take(40).collect();
        Error::file(
            &self.origin,
            format!("cannot tokenize {shown:?}: {error}; see its settings and its unknown token"),
        )
    }
}

fn not_a_tokenizer(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::file(
        path,
        format!(
            "is not a tokenizer.json of the tokenizers library: {error}; save it again from there"
        ),
    )
}

#[cfg(test)]
mod tests;
