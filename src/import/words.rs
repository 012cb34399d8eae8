//! Vocabularies as people save them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::{Checkpoint, some_of};
use crate::error::{Error, Result};

/// What people call the word that stands for all unknown ones.
const UNKNOWN: [&str; 8] = [
    "<unk>", "[UNK]", "<UNK>", "UNK", "unk", "<oov>", "<OOV>", "_UNK_",
];

/// The words of a vocabulary by their ids; ids may have gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(BTreeMap<u32, String>);

impl Words {
    /// From JSON in any of the usual forms: a list of words, a map from words to
    /// ids or from ids to words, or one of these under `itos`, `stoi`, `vocab`,
    /// `word2idx`, `token_to_id` or inside an object's `state`.
    ///
    /// Says what is wrong if it is none of them.
    pub fn from_json(value: &Value) -> Result<Words, String> {
        match value {
            Value::Array(list) => {
                let words = list.iter().map(|word| word.as_str().map(str::to_owned));
                let words: Option<Vec<String>> = words.collect();
                let words = words.ok_or("a list that has something else than words in it")?;
                Self::new((0..).zip(words))
            }
            Value::Object(map) => {
                let to_id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
                if !map.is_empty() && map.values().all(|id| to_id(id).is_some()) {
                    return Self::new(
                        map.iter()
                            .filter_map(|(word, id)| Some((to_id(id)?, word.clone()))),
                    );
                }
                let by_id = map
                    .iter()
                    .map(|(id, word)| Some((id.parse().ok()?, word.as_str()?.to_owned())));
                if let Some(pairs) = by_id.collect::<Option<Vec<(u32, String)>>>()
                    && !pairs.is_empty()
                {
                    return Self::new(pairs);
                }
                let inner = [
                    "itos",
                    "stoi",
                    "vocab",
                    "word2idx",
                    "token_to_id",
                    "itos_",
                    "state",
                ];
                match inner.iter().find_map(|key| map.get(*key)) {
                    Some(value) => Self::from_json(value),
                    None => Err("neither a map from words to ids nor from ids to words".to_owned()),
                }
            }
            _ => Err("neither a list nor a map".to_owned()),
        }
    }

    fn new(pairs: impl IntoIterator<Item = (u32, String)>) -> Result<Words, String> {
        let mut words = BTreeMap::new();
        for (id, word) in pairs {
            if let Some(other) = words.insert(id, word) {
                return Err(format!(
                    "two words have the id {id}: {other:?} and {:?}",
                    words[&id]
                ));
            }
        }
        let mut sorted: Vec<&String> = words.values().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(format!("the word {:?} has two ids", twice[0])),
            None => Ok(Words(words)),
        }
    }

    /// From a file: JSON, or a word a line, the first with id 0.
    pub fn load(path: &Path) -> Result<Words> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let words = match path.extension().is_some_and(|ending| ending == "json") {
            true => match serde_json::from_str(&text) {
                Ok(value) => Self::from_json(&value),
                Err(error) => Err(format!("not JSON: {error}")),
            },
            false => Self::new((0..).zip(text.lines().map(str::to_owned))),
        };
        words.map_err(|message| Error::file(path, format!("is no vocabulary: {message}")))
    }

    /// From a value of a checkpoint: of this name, or the only one that is a
    /// vocabulary for an embedding of so many rows. Gives its name too.
    pub fn find(checkpoint: &Checkpoint, name: Option<&str>, rows: i64) -> Result<(String, Words)> {
        if let Some(name) = name {
            let words = Self::from_json(&checkpoint.json(name)?);
            return match words {
                Ok(words) => Ok((name.to_owned(), words)),
                Err(message) => Err(Error::file(
                    checkpoint.path(),
                    format!("value {name:?} is no vocabulary: {message}"),
                )),
            };
        }
        let fits = |words: &Words| {
            words.highest().is_some_and(|id| i64::from(id) < rows)
                && words.0.len() as i64 * 2 > rows
        };
        let mut found: Vec<(String, Words)> = Vec::new();
        let mut unread = String::new();
        for value in checkpoint.values() {
            match checkpoint.json(&value.name) {
                Ok(json) => {
                    let words = Self::from_json(&json).ok().filter(fits);
                    found.extend(words.map(|words| (value.name, words)));
                }
                // It may have been the one.
                Err(error) => unread = format!(" (value {:?} cannot be read: {error})", value.name),
            }
        }
        // The same words as itos and stoi are no choice.
        found.dedup_by(|a, b| a.1 == b.1);
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::config(
                "vocab",
                format!(
                    "{} holds no vocabulary for an embedding of {rows} rows{unread}; give a JSON or text file, or a tokenizer.json with `tokenizer`",
                    checkpoint.path().display()
                ),
            )),
            _ => {
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!(
                    "several values may be the vocabulary: {}; choose one",
                    some_of(&names)
                );
                Err(Error::config("vocab_key", message))
            }
        }
    }

    /// How many words.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The highest id.
    pub fn highest(&self) -> Option<u32> {
        self.0.last_key_value().map(|(id, _)| *id)
    }

    /// Whether the word is there.
    pub fn contains(&self, word: &str) -> bool {
        self.0.values().any(|other| other == word)
    }

    /// The word for unknown ones, if one has a usual name.
    pub fn unknown(&self) -> Option<&'static str> {
        UNKNOWN.into_iter().find(|name| self.contains(name))
    }

    /// Adds a word whose id must be free.
    pub fn add(&mut self, word: &str, id: u32) -> Result<(), String> {
        match self.0.get(&id) {
            Some(other) => Err(format!("id {id} is that of {other:?}")),
            None if self.contains(word) => Err(format!("{word:?} has an id already")),
            None => {
                self.0.insert(id, word.to_owned());
                Ok(())
            }
        }
    }

    /// Words with their ids.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, u32)> {
        self.0.into_iter().map(|(id, word)| (word, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_usual_form_is_the_same_vocabulary() {
        let expected = Words::from_json(&json!(["<pad>", "<unk>", "film"])).unwrap();
        assert_eq!(expected.unknown(), Some("<unk>"));
        for same in [
            json!({"<pad>": 0, "film": 2, "<unk>": 1}),
            json!({"0": "<pad>", "1": "<unk>", "2": "film"}),
            json!({"itos": ["<pad>", "<unk>", "film"], "stoi": {}}),
            json!({"class": "torchtext.vocab.Vocab", "state": {"stoi": {"<pad>": 0, "<unk>": 1, "film": 2}}}),
        ] {
            assert_eq!(Words::from_json(&same).unwrap(), expected, "{same}");
        }
    }

    #[test]
    fn what_is_no_vocabulary_is_told() {
        for (value, why) in [
            (json!(3), "neither a list nor a map"),
            (json!([1, 2]), "something else than words"),
            (json!({"a": 0, "b": 0}), "two words have the id 0"),
            (json!(["a", "a"]), "has two ids"),
            (json!({}), "neither a map"),
            (json!({"a": -1}), "neither a map"),
        ] {
            let message = Words::from_json(&value).unwrap_err();
            assert!(message.contains(why), "{value}: {message}");
        }
    }

    #[test]
    fn a_word_for_the_unknown_can_be_added_at_a_free_id() {
        let mut words = Words::from_json(&json!({"a": 2})).unwrap();
        assert_eq!(words.unknown(), None);
        words.add("<unk>", 1).unwrap();
        assert_eq!(words.unknown(), Some("<unk>"));
        assert!(words.add("b", 2).unwrap_err().contains("that of \"a\""));
        assert!(words.add("a", 3).unwrap_err().contains("an id already"));
    }
}
