use super::*;
use proptest::prelude::*;

const WORD_PIECE: &str = r###"{"version": "1.0",
  "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
  "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
  "added_tokens": [{"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false,
    "rstrip": false, "normalized": false, "special": true}],
  "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
  "decoder": null,
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {"[PAD]": 0, "[CLS]": 1, "[UNK]": 2, "play": 3, "##ing": 4, "##ed": 5, "chess": 9}}}"###;

const BPE: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
    "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
    "vocab": {"l": 0, "o": 1, "w": 2, "e": 3, "r": 4, "lo": 5, "low": 6, "er": 7},
    "merges": [["l", "o"], ["lo", "w"], ["e", "r"]]}}"#;

const NO_UNKNOWN: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
  "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "<unk>"}}"#;

fn english(texts: &[&str]) -> Tokenizer {
    let words = Tokenizer::basic_english(&Vocabulary::default()).unwrap();
    let texts = texts.iter().map(|text| words.tokens(text).unwrap());
    Tokenizer::basic_english(&Vocabulary::build(texts, 1, None)).unwrap()
}

#[test]
fn basic_english_makes_the_replacements_of_torchtext() {
    let tokenizer = english(&[]);
    for (text, expected) in [
        ("You can now", "you can now"),
        ("It's (not) bad, IS it?!", "it ' s ( not ) bad , is it ? !"),
        ("say \"hello\"; a:b", "say hello a b"),
        ("one<br />two<BR />three.<br/>", "one two three . <br/>"),
        ("<\"br />", ""),
        ("a\u{1c}b\u{1f}c\u{a0}d\u{3000}e\r\n", "a b c d e"),
        ("zero\u{200b}width", "zero\u{200b}width"),
        ("ΟΔΟΣ ΣΑΣ. Σ ΑΣ\u{301}'", "οδος σας . σ ας\u{301} '"),
        ("İ ẞ", "i\u{307} ß"),
        ("", ""),
    ] {
        let expected: Vec<&str> = expected.split_ascii_whitespace().collect();
        assert_eq!(tokenizer.tokens(text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn words_get_their_ids_and_strangers_that_of_unknown() {
    let tokenizer = english(&["the cat saw the dog."]);
    assert_eq!(tokenizer.vocab_size(), 7);
    assert_eq!(tokenizer.word(2).as_deref(), Some("the"));
    assert_eq!(tokenizer.id("."), Some(3));
    assert_eq!(tokenizer.id("cow"), None);
    assert_eq!(tokenizer.encode("The cow.").unwrap(), [2, 1, 3]);
    assert_eq!(tokenizer.encode("<pad> <unk> ").unwrap(), [0, 1]);
    assert!(tokenizer.encode(" \t").unwrap().is_empty());
}

#[test]
fn many_texts_keep_their_order() {
    let tokenizer = english(&["a b c d e"]);
    let texts: Vec<String> = (0..500)
        .map(|n| ["a", "b c", "", "e d c"][n % 4].repeat(n % 3))
        .collect();
    let one_by_one: Vec<_> = texts.iter().map(|t| tokenizer.encode(t).unwrap()).collect();
    assert_eq!(tokenizer.encode_all(&texts).unwrap(), one_by_one);
}

/// The same tokenizer, which leaves everything to the library.
fn slow(tokenizer: &Tokenizer) -> Tokenizer {
    assert!(tokenizer.words.is_some());
    Tokenizer {
        words: None,
        ..tokenizer.clone()
    }
}

/// Tokenizers that do without the library, and which know some of their words.
fn plain() -> [Tokenizer; 3] {
    let words = ["<unk>", "a", "b", "B", "'", ".", "<br", "é", "σ", "σa", "ς"];
    let of = |rule| {
        let words = (0..).zip(words).map(|(id, word)| (word.to_owned(), id));
        Tokenizer::word_level(&rule, words, "<unk>").unwrap()
    };
    let split = |lower| Rule::Whitespace { lower };
    [of(Rule::BasicEnglish), of(split(true)), of(split(false))]
}

#[test]
fn every_character_has_the_ids_and_words_of_the_library() {
    for tokenizer in plain() {
        let slow = slow(&tokenizer);
        let characters: Vec<char> = ('\0'..=char::MAX).collect();
        for part in characters.chunks(2000) {
            let text: String = part.iter().flat_map(|&letter| [letter, 'a']).collect();
            assert_eq!(
                tokenizer.tokens(&text).unwrap(),
                slow.tokens(&text).unwrap()
            );
            assert_eq!(
                tokenizer.encode(&text).unwrap(),
                slow.encode(&text).unwrap()
            );
        }
    }
}

#[test]
fn only_what_has_a_counterpart_does_without_the_library() {
    let words = |json: &str| Tokenizer::from_json(json, "t.json").unwrap().words;
    assert!(words(WORD_PIECE).is_none() && words(BPE).is_none() && words(NO_UNKNOWN).is_none());
    let english = english(&["a b"]).inner.to_string(false).unwrap();
    assert!(words(&english).is_some());
    for (from, to) in [
        // Words of its own, another split, another normalizer, another expression.
        (
            r#""added_tokens":[]"#,
            r#""added_tokens":[{"id":1,"content":"b","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}]"#,
        ),
        ("WhitespaceSplit", "Whitespace"),
        ("Lowercase", "NFC"),
        (r"[\\p{White_Space}", r"[\\s"),
        // White space that a later step could see.
        (
            r#"{"type":"Lowercase"}"#,
            r#"{"type":"Replace","pattern":{"Regex":"[\\p{White_Space}\\x1c-\\x1f]+"},"content":" "}"#,
        ),
    ] {
        let other = english.replacen(from, to, 1);
        assert_ne!(other, english, "{from}");
        assert!(words(&other).is_none(), "{to}");
    }
}

#[test]
fn a_saved_tokenizer_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let tokenizer = english(&["Der ΟΔΟΣ, \"<br />\""]);
    tokenizer.save(&path).unwrap();
    let loaded = Tokenizer::load(&path).unwrap();
    let text = "der ΟΔΟΣ; ,\u{1d}x";
    assert_eq!(
        loaded.encode(text).unwrap(),
        tokenizer.encode(text).unwrap()
    );
    loaded.save(folder.path().join("again.json")).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::fs::read(folder.path().join("again.json")).unwrap()
    );
}

#[test]
fn word_piece_loads_without_its_truncation_padding_and_special_tokens() {
    let tokenizer = Tokenizer::from_json(WORD_PIECE, "wp.json").unwrap();
    assert_eq!(
        tokenizer.encode("Playing chess played go").unwrap(),
        [3, 4, 9, 3, 5, 2]
    );
    assert_eq!(tokenizer.vocab_size(), 10);
}

#[test]
fn bpe_loads() {
    let tokenizer = Tokenizer::from_json(BPE, "bpe.json").unwrap();
    assert_eq!(tokenizer.encode("lower wow").unwrap(), [6, 7, 2, 1, 2]);
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.json");
    let message = Tokenizer::load(&path).unwrap_err().to_string();
    assert!(message.contains("absent.json"), "{message}");

    std::fs::write(&path, [b'{', 0xff]).unwrap();
    let message = Tokenizer::load(&path).unwrap_err().to_string();
    assert!(
        message.contains("absent.json: is not a tokenizer.json"),
        "{message}"
    );

    let message = Tokenizer::from_json("{}", "empty.json")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("empty.json: is not a tokenizer.json"),
        "{message}"
    );
}

#[test]
fn what_the_library_panics_on_is_an_error() {
    let json = NO_UNKNOWN.replace(
        r#""normalizer": null"#,
        r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}"#,
    );
    let message = Tokenizer::from_json(&json, "odd.json")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("odd.json: is not a tokenizer.json"),
        "{message}"
    );
}

#[test]
fn a_tokenizer_without_an_unknown_token_says_so() {
    let tokenizer = Tokenizer::from_json(NO_UNKNOWN, "small.json").unwrap();
    assert_eq!(tokenizer.encode("a a").unwrap(), [0, 0]);
    let message = tokenizer
        .encode_all(&["a", "first", "second"])
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("small.json: cannot tokenize \"first\""),
        "{message}"
    );
    assert!(message.contains("unknown token"), "{message}");
}

#[test]
fn pieces_are_the_tokens_with_their_places() {
    let tokenizer = english(&["it ' s good , naïve"]);
    let text = "It's GOOD,  naïve <br />plot!";
    let pieces = tokenizer.pieces(text).unwrap();
    let words: Vec<&str> = pieces
        .iter()
        .map(|piece| &text[piece.range.clone()])
        .collect();
    assert_eq!(words, ["It", "'", "s", "GOOD", ",", "naïve", "plot", "!"]);
    let ids: Vec<i64> = pieces.iter().map(|piece| piece.id).collect();
    assert_eq!(ids, tokenizer.encode(text).unwrap());
    assert_eq!(tokenizer.unknown(), Some(1));
    assert_eq!(ids[6..], [1, 1]);
    assert!(tokenizer.pieces("").unwrap().is_empty());
    let no_unknown = Tokenizer::from_json(NO_UNKNOWN, "small.json").unwrap();
    assert!(no_unknown.pieces("b").is_err());
    assert_eq!(no_unknown.unknown(), None);
    let parts = Tokenizer::from_json(WORD_PIECE, "small.json").unwrap();
    assert_eq!(parts.unknown(), Some(2));
    let places: Vec<_> = parts.pieces("chess Playing").unwrap();
    let places: Vec<_> = places
        .into_iter()
        .map(|piece| (piece.id, piece.range))
        .collect();
    assert_eq!(places, [(9, 0..5), (3, 6..10), (4, 10..13)]);
    assert_eq!(
        Tokenizer::from_json(BPE, "small.json").unwrap().unknown(),
        None
    );
}

proptest! {
    /// Every piece is whole characters, and the ids are those of the text.
    #[test]
    fn pieces_fit_any_text(text in any::<String>()) {
        let tokenizer = english(&["a b"]);
        let pieces = tokenizer.pieces(&text).unwrap();
        for piece in &pieces {
            prop_assert!(text.get(piece.range.clone()).is_some());
        }
        let ids: Vec<i64> = pieces.iter().map(|piece| piece.id).collect();
        prop_assert_eq!(ids, tokenizer.encode(&text).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// With and without the library, over any text and over what the rules look for.
    #[test]
    fn plain_strings_have_the_ids_and_words_of_the_library(
        parts in prop::collection::vec(
            prop_oneof![
                any::<String>(),
                prop::sample::select(vec![
                    "a", "B", "'", "\"", ".", "<br />", "<\"br />", "<BR />", "Σ", "é", "É", " ", "\t",
                    "\n\r", "\x1c", "\u{a0}", ",", "(", ")", "!", "?", ";", ":", "<", "br", "\u{301}",
                ])
                .prop_map(str::to_owned),
            ],
            0..12,
        ),
    ) {
        let text = parts.concat();
        for tokenizer in plain() {
            let slow = slow(&tokenizer);
            prop_assert_eq!(tokenizer.tokens(&text).unwrap(), slow.tokens(&text).unwrap());
            prop_assert_eq!(tokenizer.encode(&text).unwrap(), slow.encode(&text).unwrap());
        }
    }

    /// Cut or changed JSON is read or refused; it never panics, and neither
    /// does the tokenizer that comes out.
    #[test]
    fn damaged_json_never_panics(
        which in 0..3_usize,
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let english = english(&["a b"]).inner.to_string(true).unwrap();
        let mut bytes = [WORD_PIECE, BPE, &english][which].as_bytes().to_vec();
        if truncate {
            bytes.truncate(cut.index(bytes.len()).max(1));
        }
        for (place, byte) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(tokenizer) = Tokenizer::load(&path) {
            let _ = tokenizer.encode("playing lower [CLS] a b.");
            tokenizer.vocab_size();
        }
    }
}
