use cellway_data::vocabulary::Vocabulary;

use super::*;

/// Writes a folder without parameters: three classes, and a vocabulary of seven words.
fn write(folder: &Path) -> ModelConfig {
    let labels = ["class 0", "class 1", "class 2"].map(str::to_owned);
    let config = ModelConfig::new(7, 4, 6, &labels);
    let words = [["a", "b", "c", "d", "e"]];
    let tokenizer = Tokenizer::basic_english(&Vocabulary::build(words, 1, None)).unwrap();
    ModelFolder::new(folder).write(&config, &tokenizer).unwrap();
    config
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path());
    let here = ModelFolder::new(folder.path());
    let (read, tokenizer) = here.read().unwrap();
    assert_eq!(read, config);
    assert_eq!(tokenizer.encode("b a").unwrap(), [3, 2]);
    assert!(!here.is_complete());
    std::fs::write(here.weights(), "").unwrap();
    assert!(here.is_complete());
}

/// Reads a good folder with one file changed.
fn refused(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join(file);
    std::fs::write(&path, change(std::fs::read(&path).unwrap())).unwrap();
    let error = ModelFolder::new(folder.path())
        .read()
        .unwrap_err()
        .to_string();
    assert!(error.contains(file) && error.contains(why), "{error}");
}

#[test]
fn a_wrong_config_is_refused_with_the_reason() {
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{text}");
            text.replace(from, to).into_bytes()
        }
    };
    for (from, to, why) in [
        (
            "\"format_version\": 1",
            "\"format_version\": 2",
            "take a newer cellway",
        ),
        (
            "\"format_version\": 1",
            "\"format_version\": 0",
            "no format_version 1",
        ),
        ("cellway-lstm-classifier", "bert", "is of a \"bert\" model"),
        ("\"model_type\"", "\"type\"", "has no model_type"),
        (
            "\"hidden_size\": 6",
            "\"hidden_size\": -6",
            "hidden_size: must be 1 to",
        ),
        (
            "\"hidden_size\": 6",
            "\"hidden_size\": \"6\"",
            "hidden_size: invalid type",
        ),
        ("\"hidden_size\": 6", "\"hidden_sise\": 6", "unknown field"),
        (
            "\"vocab_size\": 7",
            "\"vocab_size\": 0",
            "vocab_size: must be 1 or more",
        ),
        (
            "\"head_dropout\": 0.0",
            "\"head_dropout\": 2.0",
            "head_dropout: must be in",
        ),
        (
            "\"head_dropout\": 0.0",
            "\"head_dropout\": 0.0, \"max_tokens\": 0",
            "max_tokens: must be 1",
        ),
        ("\"softmax\"", "\"sigmoid\"", "a sigmoid head takes 2"),
        ("\"0\":", "\"7\":", "without a gap"),
        ("class 1", "class 0", "has \"class 0\" twice"),
        ("class 1", "", "has an empty label"),
    ] {
        refused("config.json", replace(from, to), why);
    }
    refused("config.json", |bytes| bytes[..20].to_vec(), "truncated");
    let shrink = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap()
            .replace("\"vocab_size\": 7", "\"vocab_size\": 6")
            .into_bytes()
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join("config.json");
    std::fs::write(&path, shrink(std::fs::read(&path).unwrap())).unwrap();
    let error = ModelFolder::new(folder.path())
        .read()
        .unwrap_err()
        .to_string();
    assert!(error.contains("of different models"), "{error}");
}

#[test]
fn a_missing_folder_or_file_is_named() {
    let error = |path: &Path| ModelFolder::new(path).read().unwrap_err().to_string();
    assert!(error(Path::new("no/such")).contains("not a model directory"));
    for file in [CONFIG, TOKENIZER] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        std::fs::remove_file(folder.path().join(file)).unwrap();
        assert!(error(folder.path()).contains(&format!("{file}: No such file")));
    }
}
