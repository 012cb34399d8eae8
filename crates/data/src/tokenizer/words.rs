//! The rules that `tokenizer.rs` makes, over plain strings.
//!
//! The library keeps for every byte of a text where it came from. For a tokenizer
//! that lower-cases, replaces, splits at white space and looks words up, that takes
//! ten times as long as the work itself.

use serde_json::Value;
use tokenizers::{Model as _, ModelWrapper};

use super::{FINAL_SIGMA, WHITE_SPACE};

/// A normalizer of the library that has a counterpart here.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Character by character.
    Lowercase,
    Replace {
        from: String,
        to: String,
    },
    /// [`FINAL_SIGMA`]: nothing, in a text without a capital sigma.
    Sigma,
    /// [`WHITE_SPACE`] to a space, as the last step.
    Spaces,
}

/// What a tokenizer does, where it does no more than that.
#[derive(Clone, Debug)]
pub(super) struct Words {
    steps: Vec<Step>,
    /// The id of words that are not in the vocabulary.
    unknown: Option<u32>,
}

impl Words {
    /// `None` if the tokenizer has a part that has no counterpart here.
    pub fn of(tokenizer: &tokenizers::Tokenizer) -> Option<Words> {
        let ModelWrapper::WordLevel(model) = tokenizer.get_model() else {
            return None;
        };
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let splits = serde_json::to_value(tokenizer.get_pre_tokenizer()?).ok()?;
        if !added.is_empty()
            || tokenizer.get_post_processor().is_some()
            || splits["type"] != "WhitespaceSplit"
        {
            return None;
        }
        let steps = match tokenizer.get_normalizer() {
            None => Vec::new(),
            Some(normalizer) => steps(&serde_json::to_value(normalizer).ok()?)?,
        };
        // Only before the split it makes no difference which white space stands there.
        if steps.iter().rev().skip(1).any(|step| *step == Step::Spaces) {
            return None;
        }
        Some(Words {
            steps,
            unknown: model.token_to_id(&model.unk_token),
        })
    }

    /// The text after the normalizers; its words are what white space separates.
    /// `None` if only the library knows.
    pub fn normalized(&self, text: &str) -> Option<String> {
        if text.contains('Σ') && self.steps.contains(&Step::Sigma) {
            return None;
        }
        let mut text = text.to_owned();
        for step in &self.steps {
            match step {
                Step::Lowercase if text.is_ascii() => text.make_ascii_lowercase(),
                Step::Lowercase => text = text.chars().flat_map(char::to_lowercase).collect(),
                Step::Replace { from, to } if text.contains(from) => {
                    text = text.replace(from, to);
                }
                Step::Spaces if text.contains(is_separator) => {
                    text = text.replace(is_separator, " ");
                }
                Step::Replace { .. } | Step::Spaces | Step::Sigma => {}
            }
        }
        Some(text)
    }

    /// The ids of the text's words; `None` if only the library knows.
    pub fn ids(&self, tokenizer: &tokenizers::Tokenizer, text: &str) -> Option<Vec<i64>> {
        let ModelWrapper::WordLevel(model) = tokenizer.get_model() else {
            return None;
        };
        let normalized = self.normalized(text)?;
        let words = normalized.split_whitespace();
        words
            .map(|word| model.token_to_id(word).or(self.unknown).map(i64::from))
            .collect()
    }
}

/// What is white space for [`WHITE_SPACE`], and not for the split that follows.
fn is_separator(letter: char) -> bool {
    ('\x1c'..='\x1f').contains(&letter)
}

fn steps(normalizer: &Value) -> Option<Vec<Step>> {
    if normalizer["type"] == "Sequence" {
        let parts = normalizer["normalizers"].as_array()?.iter();
        return Some(parts.map(steps).collect::<Option<Vec<_>>>()?.concat());
    }
    if normalizer["type"] == "Lowercase" {
        return Some(vec![Step::Lowercase]);
    }
    if normalizer["type"] != "Replace" {
        return None;
    }
    let (pattern, to) = (&normalizer["pattern"], normalizer["content"].as_str()?);
    let step = match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(from), None) if !from.is_empty() && !to.contains('Σ') => Step::Replace {
            from: from.to_owned(),
            to: to.to_owned(),
        },
        (None, Some(FINAL_SIGMA)) => Step::Sigma,
        (None, Some(WHITE_SPACE)) if to == " " => Step::Spaces,
        _ => return None,
    };
    Some(vec![step])
}
