use super::*;
use proptest::prelude::*;

const WANTED: [(u32, &str); 4] = [(2, "the"), (3, "absent"), (4, ". . ."), (5, "é")];

/// Parses with chunks of one byte, so that every line is a task of its own, and
/// with one chunk; both must say the same.
fn parse(bytes: impl AsRef<[u8]>) -> Result<Vectors, String> {
    let parse = |chunk| {
        Vectors::parse(Path::new("v.txt"), bytes.as_ref(), WANTED, chunk).map_err(|e| e.to_string())
    };
    assert_eq!(parse(0), parse(usize::MAX));
    parse(1)
}

#[test]
fn glove_text_is_read() {
    let vectors = parse("a 1 2\nthe -0.5 1e-3\n. . . 3 4\né .25 +5.\n").unwrap();
    assert_eq!(vectors.dimension, 2);
    assert_eq!(vectors.ids, [2, 4, 5]);
    assert_eq!(vectors.values, [-0.5, 0.001, 3.0, 4.0, 0.25, 5.0]);
    assert_eq!(vectors.lines, 4);
    assert_eq!(vectors.missing, ["absent"]);
    assert_eq!(vectors.coverage(), 0.75);
}

#[test]
fn line_ends_and_trailing_spaces_do_not_matter() {
    let expected = parse("the 1 2\na 3 4\n").unwrap();
    for same in [
        "the 1 2\na 3 4",
        "the 1 2\r\na 3 4\r\n",
        "the 1 2 \na 3 4  ",
    ] {
        assert_eq!(parse(same).unwrap(), expected);
    }
}

#[test]
fn word2vec_text_is_read_and_its_count_must_hold() {
    let vectors = parse("2 3\nthe 1 2 3 \nb 4 5 6\n").unwrap();
    assert_eq!((vectors.dimension, vectors.lines), (3, 2));
    assert_eq!(vectors.values, [1.0, 2.0, 3.0]);
    // A word that is a number is a word.
    assert_eq!(parse("10 1.5\n20 2\n").unwrap().lines, 2);

    let message = parse("3 3\nthe 1 2 3\nb 4 5 6").unwrap_err();
    assert!(
        message.starts_with("v.txt:1: says 3 vectors, but 2 follow"),
        "{message}"
    );
    assert!(parse("1 0\n").unwrap_err().contains("vectors of 0 numbers"));
    let message = parse(format!("1 {}\na 1", usize::MAX)).unwrap_err();
    assert!(message.ends_with("it takes 1 to 1048576"), "{message}");
    assert_eq!(parse("\u{feff}the 1 2\n").unwrap().ids.len(), 1);
    assert_eq!(parse("0 5").unwrap().lines, 0);
}

#[test]
fn the_first_bad_line_is_named() {
    for (text, expected) in [
        ("a 1 2\nb 1\nc\n", "v.txt:2: has 1 numbers, not 2"),
        ("a 1 2\nb\nc 1 2\n", "v.txt:2: has 0 numbers, not 2"),
        (
            "a 1 2\nb 1 2\nc 1 2 3\n",
            "v.txt:3: has more than 2 numbers",
        ),
        ("a 1 2\nb 1 x\n", "v.txt:2: \"x\" is not a finite number"),
        (
            "a 1 2\nb nan 2\n",
            "v.txt:2: \"nan\" is not a finite number",
        ),
        (
            "a inf 2\nb 1 2\n",
            "v.txt:1: \"inf\" is not a finite number",
        ),
        (
            "a 1 2\nb 1e99 2\n",
            "v.txt:2: \"1e99\" is not a finite number",
        ),
        ("a 1 2\nb 1  2\n", "v.txt:2: \"\" is not a finite number"),
        ("a 1 2\n\nb 1 2\n", "v.txt:2: is empty"),
        ("a 1 2\nb 1 2\n \n", "v.txt:3: is empty"),
        ("a 1 2\n 1 2\n", "v.txt:2: has no word"),
        (
            "a 1 2\nb 1 2\na 1 2\nc x\n",
            "v.txt:3: the word \"a\" has a vector in line 1",
        ),
        ("a 1 2\nb x 2\na 1 2\n", "v.txt:2: \"x\""),
        (
            "2 2\na 1 2\na 1 2\n",
            "v.txt:3: the word \"a\" has a vector in line 2",
        ),
        ("word\n", "v.txt:1: has no vector"),
        ("\n", "v.txt:1: is empty"),
    ] {
        let message = parse(text).unwrap_err();
        assert!(message.starts_with(expected), "{text:?}: {message}");
    }
}

#[test]
fn a_short_decimal_is_not_left_to_the_standard_library() {
    assert_eq!(short_decimal("-0.038194"), Some(-0.038194));
    assert_eq!(short_decimal("16777216"), Some(16777216.0));
    for other in [
        "",
        "-",
        ".",
        "-.",
        "16777217",
        "1e5",
        "+1",
        "1.2.3",
        "0.123456789",
    ] {
        assert_eq!(short_decimal(other), None, "{other}");
    }
}

#[test]
fn latin_1_is_refused_with_its_line() {
    let message = parse(b"a 1 2\n\xe9 1 2\n").unwrap_err();
    assert!(message.starts_with("v.txt:2: is not UTF-8"), "{message}");
    let message = parse(b"\xe9 1 2\n").unwrap_err();
    assert!(message.starts_with("v.txt:1: is not UTF-8"), "{message}");
}

#[test]
fn the_words_of_a_file_are_listed_up_to_a_bad_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.txt");
    for (text, expected) in [
        ("the 1 2\n. . . 3 4\na 5 6\n", vec!["the", ". . .", "a"]),
        ("2 1\nthe 1\na 2\n", vec!["the", "a"]),
        ("the 1 2\na 3\nb 4 5\n", vec!["the"]),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(Vectors::words(&path).unwrap(), expected);
    }
    std::fs::write(&path, "").unwrap();
    let message = Vectors::words(&path).unwrap_err().to_string();
    assert!(message.contains("v.txt: is empty"), "{message}");
}

#[test]
fn files_that_are_absent_or_empty_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.txt");
    let message = |path| Vectors::load(path, []).unwrap_err().to_string();
    assert!(message(&path).contains("v.txt: "));
    std::fs::write(&path, "").unwrap();
    assert!(message(&path).contains("v.txt: is empty"));
    std::fs::write(&path, "a 1").unwrap();
    assert_eq!(Vectors::load(&path, []).unwrap().coverage(), 1.0);
}

proptest! {
    /// Wherever the chunks are cut, the answer is the same, and one bad line
    /// is named by its number.
    #[test]
    fn chunks_do_not_show(
        rows in prop::collection::vec(prop::array::uniform3(-1e6_f32..1e6), 1..40),
        chunk in 0..200_usize,
        bad in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut lines: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(n, [x, y, z])| format!("w{n} {x} {y} {z}\n"))
            .collect();
        let words: Vec<String> = (0..rows.len()).map(|n| format!("w{n}")).collect();
        if let Some(bad) = bad {
            let line = &mut lines[bad.index(rows.len())];
            line.replace_range(line.len() - 2.., "?\n");
        }
        let vectors = Vectors::parse(
            Path::new("v.txt"),
            lines.concat().as_bytes(),
            words.iter().enumerate().map(|(n, word)| (n as u32, word.as_str())),
            chunk,
        );
        match bad {
            Some(bad) => {
                let message = vectors.unwrap_err().to_string();
                let expected = format!("v.txt:{}: ", bad.index(rows.len()) + 1);
                prop_assert!(message.starts_with(&expected), "{}", message);
            }
            None => {
                let vectors = vectors.unwrap();
                prop_assert_eq!(vectors.values, rows.concat());
                prop_assert_eq!(vectors.ids, (0..rows.len() as u32).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn short_decimals_are_read_as_by_the_standard_library(
        column in prop_oneof!["-?[0-9]{0,5}[.]?[0-9]{0,6}", "[-+.e0-9]{0,6}"],
    ) {
        match (short_decimal(&column), column.parse::<f32>()) {
            (Some(short), Ok(parsed)) => prop_assert_eq!(short.to_bits(), parsed.to_bits()),
            (Some(_), Err(_)) => prop_assert!(false, "{} is no number", column),
            (None, _) => {}
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), chunk in 0..50_usize) {
        let _ = Vectors::parse(Path::new("v.txt"), &bytes, WANTED, chunk);
    }
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn real_glove_vectors_are_read() {
    let folder = std::env::var_os("CELLWAY_SHARED_DATA").expect("CELLWAY_SHARED_DATA is not set");
    let path = Path::new(&folder).join("glove/glove.6B.100d.subset.txt");
    let vectors = Vectors::load(path, [(7, "the"), (8, "no-such-word")]).unwrap();
    assert_eq!((vectors.dimension, vectors.lines), (100, 28_000));
    assert_eq!(vectors.ids, [7]);
    assert_eq!(vectors.values[..3], [-0.038194, -0.24487, 0.72812]);
    assert_eq!(vectors.missing, ["no-such-word"]);
}
