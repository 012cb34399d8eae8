//! Vocabularies: the words that a model knows, and their ids.

use std::collections::HashMap;

/// The word that fills a batch's short rows. Its id is [`PAD_ID`].
pub const PAD: &str = "<pad>";
/// The word that stands for every word outside of the vocabulary. Its id is
/// [`UNK_ID`].
pub const UNK: &str = "<unk>";
/// The id of [`PAD`].
pub const PAD_ID: u32 = 0;
/// The id of [`UNK`].
pub const UNK_ID: u32 = 1;

/// Words and their ids, without gaps: `<pad>` is 0, `<unk>` is 1, then the
/// words of a corpus, frequent ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Default for Vocabulary {
    /// `<pad>` and `<unk>` alone.
    fn default() -> Self {
        Self::from_words(Vec::new())
    }
}

impl Vocabulary {
    /// Counts the tokens of `texts` and keeps those seen at least
    /// `min_frequency` times, at most `max_size` words in all.
    ///
    /// The order is that of torchtext's `build_vocab_from_iterator`: frequency
    /// descending, then token ascending by code point. As there, `max_size`
    /// counts the two specials too, so that a size of 2 or less keeps no word
    /// of the corpus. A corpus that itself holds `<pad>` or `<unk>` adds
    /// nothing: they have their ids already.
    pub fn build<Texts>(texts: Texts, min_frequency: usize, max_size: Option<usize>) -> Self
    where
        Texts: IntoIterator,
        Texts::Item: IntoIterator<Item: AsRef<str>>,
    {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for token in text {
                match counts.get_mut(token.as_ref()) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(token.as_ref().to_owned(), 1),
                }
            }
        }
        let mut counted: Vec<(String, usize)> = counts
            .into_iter()
            .filter(|(word, count)| *count >= min_frequency && word != PAD && word != UNK)
            .collect();
        counted.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        if let Some(max_size) = max_size {
            counted.truncate(max_size.saturating_sub(2));
        }
        Self::from_words(counted.into_iter().map(|(word, _)| word).collect())
    }

    /// With the words of `more` that it lacks, behind its own.
    pub fn extended(self, more: impl IntoIterator<Item = String>) -> Self {
        let Self { mut words, mut ids } = self;
        for word in more {
            if !ids.contains_key(&word) {
                ids.insert(word.clone(), words.len() as u32);
                words.push(word);
            }
        }
        Self { words, ids }
    }

    /// `words` behind the two specials; no word twice, and no special.
    fn from_words(mut words: Vec<String>) -> Self {
        words.splice(0..0, [PAD.to_owned(), UNK.to_owned()]);
        let ids = words.iter().cloned().zip(0..).collect();
        Self { words, ids }
    }

    /// How many words there are, the two specials counted: one more than the
    /// highest id.
    #[allow(clippy::len_without_is_empty, reason = "it always has the specials")]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// The id of `word`, or [`UNK_ID`].
    pub fn id(&self, word: &str) -> u32 {
        self.ids.get(word).copied().unwrap_or(UNK_ID)
    }

    /// The word of `id`, if there is one.
    pub fn word(&self, id: u32) -> Option<&str> {
        self.words.get(id as usize).map(String::as_str)
    }

    /// Every id and its word, the two specials first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &str)> {
        self.words
            .iter()
            .enumerate()
            .map(|(id, word)| (id as u32, word.as_str()))
    }

    /// Every id and its word without the specials: what word vectors are
    /// looked up for.
    pub fn words(&self) -> impl Iterator<Item = (u32, &str)> {
        self.iter().skip(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(vocabulary: &Vocabulary) -> Vec<&str> {
        vocabulary.iter().map(|(_, word)| word).collect()
    }

    fn corpus() -> Vec<Vec<&'static str>> {
        vec![vec!["b", "a", "c", "a"], vec!["é", "z", "b", "d"]]
    }

    #[test]
    fn frequent_words_come_first_and_ties_by_code_point() {
        let vocabulary = Vocabulary::build(corpus(), 1, None);
        assert_eq!(
            words(&vocabulary),
            ["<pad>", "<unk>", "a", "b", "c", "d", "z", "é"]
        );
        assert_eq!(vocabulary.len(), 8);
        assert_eq!(vocabulary.words().next(), Some((2, "a")));
        // By code point, not by length.
        let vocabulary = Vocabulary::build([["b", "aa"]], 1, None);
        assert_eq!(words(&vocabulary)[2..], ["aa", "b"]);
    }

    #[test]
    fn rare_words_are_left_out() {
        let vocabulary = Vocabulary::build(corpus(), 2, None);
        assert_eq!(words(&vocabulary), ["<pad>", "<unk>", "a", "b"]);
    }

    #[test]
    fn max_size_counts_the_specials() {
        for (max_size, expected) in [(0, 2), (2, 2), (3, 3), (8, 8), (9, 8)] {
            assert_eq!(
                Vocabulary::build(corpus(), 1, Some(max_size)).len(),
                expected
            );
        }
    }

    #[test]
    fn ids_and_words_are_inverse_and_strangers_are_unknown() {
        let vocabulary = Vocabulary::build(corpus(), 1, None);
        for (id, word) in vocabulary.iter() {
            assert_eq!(vocabulary.id(word), id);
            assert_eq!(vocabulary.word(id), Some(word));
        }
        assert_eq!(vocabulary.id("stranger"), UNK_ID);
        assert_eq!(vocabulary.word(8), None);
    }

    #[test]
    fn a_corpus_with_the_specials_in_it_does_not_move_them() {
        let texts = [[UNK, UNK, PAD, "a"]];
        let vocabulary = Vocabulary::build(texts, 1, Some(3));
        assert_eq!(words(&vocabulary), ["<pad>", "<unk>", "a"]);
        assert_eq!(vocabulary.id(PAD), PAD_ID);
        assert_eq!(vocabulary.id(UNK), UNK_ID);
        assert_eq!(
            Vocabulary::default(),
            Vocabulary::build([[PAD; 2]], 1, None)
        );
    }

    #[test]
    fn words_are_added_behind_and_none_twice() {
        let built = Vocabulary::build([["b", "a", "b"]], 1, None);
        let more = ["c", "a", UNK, "d", "c"].map(str::to_owned);
        let extended = built.extended(more);
        let words: Vec<&str> = extended.words().map(|(_, word)| word).collect();
        assert_eq!(words, ["b", "a", "c", "d"]);
        assert_eq!((extended.id("d"), extended.len()), (5, 6));
    }
}
