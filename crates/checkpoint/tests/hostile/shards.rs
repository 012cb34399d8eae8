//! Checkpoints in several files.

use super::*;

fn index(text: &str) -> (TempDir, Result<Checkpoint>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, text).unwrap();
    let header = format!(r#"{{"a":{}}}"#, entry("U8", "[1]", 0, 1));
    let shard = safetensors(&header, &[7]);
    std::fs::write(folder.path().join("1.safetensors"), shard).unwrap();
    let opened = Checkpoint::open(&path);
    (folder, opened)
}

#[test]
fn an_index_that_leads_elsewhere() {
    let (_folder, sound) = index(r#"{"weight_map":{"a":"1.safetensors"}}"#);
    assert_eq!(sound.unwrap().bytes("a").unwrap(), vec![7]);
    for (file, kind, says) in [
        (
            "../1.safetensors",
            ParseErrorKind::Malformed,
            "not one beside",
        ),
        ("/etc/passwd", ParseErrorKind::Malformed, "not one beside"),
        ("..", ParseErrorKind::Malformed, "not one beside"),
        (
            "model.safetensors.index.json",
            ParseErrorKind::Unsupported,
            "an index of indices",
        ),
    ] {
        let (_folder, opened) = index(&format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#));
        let error = opened.unwrap_err();
        let Error::Parse { error, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(error.kind, kind, "{file}");
        assert!(error.message.contains(says), "{error}");
    }
    let (_folder, opened) = index(r#"{"weight_map":{"a":"2.safetensors"}}"#);
    assert!(matches!(opened, Err(Error::Io { .. })));
    for (text, kind) in [
        (r#"{"weight_map":{}}"#, ParseErrorKind::Missing),
        (r#"{"weight_map":[]}"#, ParseErrorKind::Malformed),
        (
            r#"{"weight_map":{"b":"1.safetensors"}}"#,
            ParseErrorKind::Missing,
        ),
    ] {
        let error = index(text).1.unwrap_err();
        assert!(
            matches!(&error, Error::Parse { error, .. } if error.kind == kind),
            "{error}"
        );
    }
}

#[test]
fn an_index_of_too_many_files() {
    let entries: Vec<String> = (0..=limits::SHARDS)
        .map(|n| format!(r#""{n}":"{n}.safetensors""#))
        .collect();
    let (_folder, opened) = index(&format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("more than 1000 files"), "{error}");
}

#[test]
fn an_index_that_does_not_list_a_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let header = format!(
        r#"{{"a":{},"b":{}}}"#,
        entry("U8", "[1]", 0, 1),
        entry("U8", "[1]", 1, 2)
    );
    let shard = safetensors(&header, &[7, 8]);
    std::fs::write(folder.path().join("1.safetensors"), shard).unwrap();
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, r#"{"weight_map":{"a":"1.safetensors"}}"#).unwrap();
    let error = Checkpoint::open(&path).unwrap_err().to_string();
    assert!(error.contains("has the tensor \"b\""), "{error}");
}
