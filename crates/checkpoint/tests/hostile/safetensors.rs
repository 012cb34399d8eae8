//! Headers of safetensors.

use super::*;

#[test]
fn safetensors_sizes_that_overflow_together() {
    // Eight tensors of 2^61 - 1 bytes and one of 7 wrap to 2^64 - 1.
    let size = (1u64 << 61) - 1;
    let mut entries: Vec<String> = (0..8)
        .map(|n| {
            let shape = format!("[{size}]");
            format!("\"{n}\":{}", entry("U8", &shape, n * size, (n + 1) * size))
        })
        .collect();
    entries.push(format!(
        "\"8\":{}",
        entry("U8", "[7]", 8 * size, 8 * size + 7)
    ));
    let file = safetensors(&format!("{{{}}}", entries.join(",")), &[0; 7]);
    refused_at(&file, ParseErrorKind::Truncated, 8, "has 7 bytes of data");
}

#[test]
fn safetensors_metadata_twice() {
    let header = r#"{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"}}"#;
    let says = "__metadata__ twice";
    refused_at(
        &safetensors(header, &[]),
        ParseErrorKind::Malformed,
        8,
        says,
    );
}

#[test]
fn safetensors_names_twice() {
    let (a, b) = (entry("U8", "[1]", 0, 1), entry("U8", "[1]", 1, 2));
    let file = safetensors(&format!(r#"{{"a":{a},"a":{b}}}"#), &[0; 2]);
    refused_at(&file, ParseErrorKind::Malformed, 8, "\"a\" is there twice");
}

#[test]
fn safetensors_headers_that_are_wrong() {
    let one = |entry: String| safetensors(&format!(r#"{{"a":{entry}}}"#), &[0; 8]);
    let bad = ParseErrorKind::Malformed;
    let shape17 = format!("{:?}", [1; 17]);
    for (entry, kind, says) in [
        (entry("F32", "[3]", 0, 8), bad, "does not fit"),
        (entry("F32", "[2]", 8, 0), bad, "starts at data offset 8"),
        (entry("F32", "[2]", 0, 4), bad, "does not fit"),
        (entry("F4", "[3]", 0, 1), bad, "does not fit"),
        (entry("F32", &shape17, 0, 4), bad, "more than 16 dimensions"),
        (
            entry("F33", "[2]", 0, 8),
            ParseErrorKind::Unsupported,
            "F33",
        ),
        (entry("U8", "[4]", 0, 4), bad, "4 bytes behind"),
        (
            entry("U8", "[9]", 0, 9),
            ParseErrorKind::Truncated,
            "promises 9",
        ),
    ] {
        refused_at(&one(entry), kind, 8, says);
    }
    let mut file = one(entry("F32", "[2]", 0, 8));
    file[..8].copy_from_slice(&99_999_999u64.to_le_bytes());
    let says = "the header has 99999999 bytes";
    refused_at(&file, ParseErrorKind::Truncated, 8, says);
    let long = "k".repeat(limits::NAME + 1);
    let header = format!("{{\"{long}\":{}}}", entry("U8", "[1]", 0, 1));
    let says = "a name of 65537 bytes";
    refused_at(
        &safetensors(&header, &[0]),
        ParseErrorKind::TooLarge,
        8,
        says,
    );
}
