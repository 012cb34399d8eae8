use std::path::PathBuf;

use super::*;
use crate::buckets::{Limit, epoch_batches, eval_batches, padding_share};

fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn of(format: Format) -> ReadOptions {
    ReadOptions {
        format,
        ..Default::default()
    }
}

/// What a file of this content holds: each label and text, then what was
/// skipped; or the error, from the file's name on.
fn rows(content: impl AsRef<[u8]>, options: &ReadOptions) -> Result<Vec<String>, String> {
    let (folder, path) = file("f", content);
    let (dataset, skipped) = read(&path, options).map_err(|error| {
        error
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })?;
    let label = |example: &Example| dataset.labels[example.label as usize].clone();
    let mut rows: Vec<String> = dataset
        .examples
        .iter()
        .map(|e| format!("{}: {}", label(e), e.text))
        .collect();
    rows.extend((skipped.total() > 0).then(|| skipped.to_string()));
    Ok(rows)
}

const TREES: &str = "(3 (2 It) (4 (2 's) (4 good)))\n(1 (2 It) (0 bad))\n(2 It)\n";

#[test]
fn sentences_of_trees_have_two_three_or_five_classes() {
    let classes = |classes| {
        rows(
            TREES,
            &ReadOptions {
                classes,
                ..of(Format::Sst)
            },
        )
        .unwrap()
    };
    assert_eq!(classes(2), ["positive: It 's good", "negative: It bad"]);
    assert_eq!(classes(3)[2], "neutral: It");
    let all = "(0 a)\n(1 b)\n(2 c)\n(3 d)\n(4 e)";
    let five = ReadOptions {
        classes: 5,
        ..of(Format::Sst)
    };
    assert_eq!(
        rows(all, &five).unwrap(),
        [
            "very negative: a",
            "negative: b",
            "neutral: c",
            "positive: d",
            "very positive: e"
        ]
    );
    let three = ReadOptions {
        classes: 3,
        ..of(Format::Sst)
    };
    assert_eq!(
        rows(all, &three).unwrap(),
        [
            "negative: a",
            "negative: b",
            "neutral: c",
            "positive: d",
            "positive: e"
        ]
    );
}

#[test]
fn a_phrase_is_one_example_with_its_first_label() {
    let options = ReadOptions {
        phrases: true,
        ..of(Format::Sst)
    };
    assert_eq!(
        rows(TREES, &options).unwrap(),
        [
            "positive: It 's good",
            "positive: 's good",
            "positive: good",
            "negative: It bad",
            "negative: bad"
        ]
    );
    // Neutral at first, so it stays out, whatever comes later.
    assert_eq!(
        rows("(3 (2 a) (3 b))\n(4 a)\n(0 b)", &options).unwrap(),
        ["positive: a b", "positive: b"]
    );
    // Sentences are not merged.
    assert_eq!(
        rows("(4 a)\n(0 a)", &of(Format::Sst)).unwrap(),
        ["positive: a", "negative: a"]
    );
}

#[test]
fn rated_sentences_are_cut_at_the_threshold() {
    let text = "1\t0.5\ta\r\n2\t0.51\tb\r\n3\t-0.5\tc\r\n4\t-3\td";
    assert_eq!(
        rows(text, &of(Format::Rated)).unwrap(),
        ["positive: b", "negative: d"]
    );
    let options = ReadOptions {
        classes: 3,
        ..of(Format::Rated)
    };
    assert_eq!(
        rows(text, &options).unwrap(),
        ["neutral: a", "positive: b", "neutral: c", "negative: d"]
    );
    let options = ReadOptions {
        neutral: 0.0,
        ..of(Format::Rated)
    };
    assert_eq!(
        rows(text, &options).unwrap(),
        ["positive: a", "positive: b", "negative: c", "negative: d"]
    );
}

#[test]
fn tables_and_objects_give_the_same_rows() {
    let expected = ["b: one", "a: two, three"];
    assert_eq!(
        rows("label,text\nb,one\na,\"two, three\"\n", &of(Format::Csv)).unwrap(),
        expected
    );
    assert_eq!(
        rows("text\tlabel\none\tb\ntwo, three\ta", &of(Format::Tsv)).unwrap(),
        expected
    );
    let options = ReadOptions {
        text_column: "t".into(),
        label_column: "l".into(),
        ..of(Format::Jsonl)
    };
    let text = "{\"t\":\"one\",\"l\":\"b\"}\n{\"l\":\"a\",\"t\":\"two, three\"}\n";
    assert_eq!(rows(text, &options).unwrap(), expected);
    let text = "{\"t\":\"x\",\"l\":1}\n{\"t\":\"y\",\"l\":true}";
    assert_eq!(rows(text, &options).unwrap(), ["1: x", "true: y"]);
}

#[test]
fn folders_are_labels_and_their_files_texts_in_order_of_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("pos/2.txt", b"second\n");
    write("pos/1.txt", "\u{feff}first\nand more\n".as_bytes());
    write("neg/9.txt", b"last");
    write("neg/notes.md", b"not a text");
    write("README.txt", b"not a text");
    write(".hidden/1.txt", b"not a text");
    let options = of(Format::Folders);
    let (dataset, _) = read(folder.path(), &options).unwrap();
    let texts: Vec<_> = dataset
        .examples
        .iter()
        .map(|e| (e.label, e.text.as_str()))
        .collect();
    assert_eq!(dataset.labels, ["neg", "pos"]);
    assert_eq!(texts, [(0, "last"), (1, "first\nand more"), (1, "second")]);

    write("neg/bad.txt", b"a\nb\xe9");
    let message = read(folder.path(), &options).unwrap_err().to_string();
    assert!(message.contains("neg/bad.txt:2: is not UTF-8"), "{message}");
    write("neg/bad.txt", b" \n");
    let message = read(folder.path(), &options).unwrap_err().to_string();
    assert!(
        message.contains("neg/bad.txt: the text is empty"),
        "{message}"
    );
    let skip = ReadOptions {
        skip_bad: true,
        ..options.clone()
    };
    assert_eq!(read(folder.path(), &skip).unwrap().1.total(), 1);
    std::fs::create_dir(folder.path().join("none")).unwrap();
    let message = read(folder.path(), &skip).unwrap_err().to_string();
    assert!(
        message.contains("none: is the folder of a label, but holds no .txt"),
        "{message}"
    );
}

#[test]
fn labels_are_sorted_by_name_or_by_value() {
    let labels = |text: &str| {
        let (_folder, path) = file("f", text);
        let dataset = read(&path, &of(Format::Csv)).unwrap().0;
        (dataset.labels.clone(), dataset.label_counts(), dataset)
    };
    let (names, counts, dataset) = labels("text,label\nx,b\ny,a\nz,b\n");
    assert_eq!((names, counts), (vec!["a".into(), "b".into()], vec![1, 2]));
    assert_eq!(dataset.class_of("b"), Some(1));
    assert_eq!(dataset.class_of("c"), None);
    assert_eq!(labels("text,label\nx,10\ny,9\nz,-1\n").0, ["-1", "9", "10"]);
    assert_eq!(labels("text,label\nx,10\ny,9\nz,x\n").0, ["10", "9", "x"]);
}

#[test]
fn given_labels_keep_their_order_and_others_are_unknown() {
    let known = ReadOptions {
        labels: Some(vec!["pos".into(), "neg".into()]),
        ..of(Format::Csv)
    };
    let (_folder, path) = file("f", "text,label\nx,neg\n");
    let dataset = read(&path, &known).unwrap().0;
    assert_eq!(dataset.label_counts(), [0, 1]);
    let message = rows("text,label\nx,neg\ny,meh\n", &known).unwrap_err();
    assert_eq!(
        message,
        "f:3: the label \"meh\" is none of the known ones: pos, neg (skip_bad leaves such rows out)"
    );
    let known = ReadOptions {
        format: Format::Sst,
        ..known
    };
    assert!(
        rows(TREES, &known)
            .unwrap_err()
            .contains("\"positive\" is none of")
    );
}

#[test]
fn bad_rows_are_refused_by_line_or_counted() {
    for (format, text, error, skipped) in [
        (
            Format::Csv,
            "text,label\nx,a\n ,a\n",
            "f:3: the text is empty",
            "1 without text",
        ),
        (
            Format::Csv,
            "text,label\nx,a\ny,\n",
            "f:3: the label is empty",
            "1 broken",
        ),
        (
            Format::Csv,
            "text,label\nx,a\ny\n",
            "f:3: has 1 fields",
            "1 broken",
        ),
        (
            Format::Tsv,
            "text\tlabel\nx\ta\ty\nx\ta",
            "f:2: has 3 fields",
            "1 broken",
        ),
        (
            Format::Jsonl,
            "{\"text\":\"x\",\"label\":\"a\"}\n\n",
            "f:2: is not a JSON object",
            "1 broken",
        ),
        (
            Format::Jsonl,
            "{\"text\":\"x\",\"label\":1.5}\n{\"text\":\"x\",\"label\":\"a\"}",
            "f:1: \"label\" is 1.5",
            "1 broken",
        ),
        (
            Format::Jsonl,
            "{\"text\":\"x\"}\n{\"text\":\"x\",\"label\":\"a\"}",
            "f:1: has no \"label\"; its keys are: text",
            "1 broken",
        ),
        (
            Format::Rated,
            "1\t2\tx\n2\t?\ty",
            "f:2: the rating \"?\" is not",
            "1 with a rating that is no number",
        ),
        (
            Format::Rated,
            "1\tnan\ty\n1\t2\tx",
            "f:1: the rating \"nan\" is not",
            "1 with a rating that is no number",
        ),
        (
            Format::Rated,
            "1\t2\tx\n2\t3\n",
            "f:2: has 2 columns",
            "1 broken",
        ),
        (Format::Sst, "(3 x)\n\n(3 y", "f:2: is empty", "2 broken"),
    ] {
        let message = rows(text, &of(format)).unwrap_err();
        assert!(message.starts_with(error), "{text:?}: {message}");
        let skip = ReadOptions {
            skip_bad: true,
            ..of(format)
        };
        let found = rows(text, &skip).unwrap();
        assert!(
            found.last().unwrap().ends_with(skipped),
            "{text:?}: {found:?}"
        );
        assert!(found[0].ends_with(": x"), "{text:?}: {found:?}");
    }
}

#[test]
fn latin_1_is_refused_by_line_or_counted() {
    for (format, text) in [
        (Format::Csv, &b"text,label\n\xe9,a\nx,a\n"[..]),
        (Format::Tsv, b"text\tlabel\n\xe9\ta\nx\ta\n"),
        (Format::Jsonl, b"{\"text\":\"x\",\"label\":\"a\"}\n\xe9"),
        (Format::Rated, b"1\t2\tx\n2\t3\t\xe9"),
        (Format::Sst, b"(3 x)\n(3 \xe9)\n"),
    ] {
        let message = rows(text, &of(format)).unwrap_err();
        assert!(
            message.starts_with("f:2: is not UTF-8"),
            "{format:?}: {message}"
        );
        let skip = ReadOptions {
            skip_bad: true,
            ..of(format)
        };
        assert_eq!(
            rows(text, &skip).unwrap()[1],
            "skipped 1 bad row: 1 not UTF-8"
        );
    }
}

#[test]
fn what_was_skipped_is_said_in_one_line() {
    let options = ReadOptions {
        skip_bad: true,
        labels: Some(vec!["a".into()]),
        ..of(Format::Csv)
    };
    let found = rows("text,label\nx,a\n,a\n,a\ny,b\nz\n", &options).unwrap();
    assert_eq!(
        found[1],
        "skipped 4 bad rows: 1 broken, 2 without text, 1 with an unknown label"
    );
    assert_eq!(Skipped::default().to_string(), "");
    let message = rows("text,label\n,a\n", &options).unwrap_err();
    assert_eq!(
        message,
        "f: holds no text to use (skipped 1 bad row: 1 without text)"
    );
}

#[test]
fn files_that_give_nothing_are_refused() {
    for format in [Format::Sst, Format::Rated, Format::Jsonl] {
        assert_eq!(
            rows("", &of(format)).unwrap_err(),
            "f: holds no text to use"
        );
        let message = read("absent", &of(format)).unwrap_err().to_string();
        assert!(message.starts_with("absent: "), "{message}");
    }
    assert!(
        rows("", &of(Format::Csv))
            .unwrap_err()
            .starts_with("f: has no column \"text\"")
    );
    assert!(
        rows("text,label\n", &of(Format::Csv))
            .unwrap_err()
            .contains("holds no text")
    );
    assert!(read("absent", &of(Format::Folders)).is_err());
}

#[test]
fn options_that_the_format_does_not_take_are_refused() {
    let message = |options| rows("1\t1\tx", &options).unwrap_err();
    let rated = |classes| ReadOptions {
        classes,
        ..of(Format::Rated)
    };
    assert_eq!(
        message(rated(5)),
        "classes: 5 is not possible for rated; it takes 2 or 3"
    );
    let sst = ReadOptions {
        classes: 4,
        ..of(Format::Sst)
    };
    assert_eq!(
        message(sst),
        "classes: 4 is not possible for sst; it takes 2, 3 or 5"
    );
    for neutral in [f64::NAN, -0.1, f64::INFINITY] {
        let options = ReadOptions {
            neutral,
            ..of(Format::Rated)
        };
        assert!(message(options).starts_with("neutral: "));
    }
}

#[test]
fn options_are_read_with_defaults_and_without_strangers() {
    let options: ReadOptions = serde_json::from_str(r#"{"format": "sst", "classes": 5}"#).unwrap();
    let read = (options.format, options.classes, options.neutral);
    assert_eq!(read, (Format::Sst, 5, 0.5));
    assert!(serde_json::from_str::<ReadOptions>(r#"{"clases": 5}"#).is_err());
}

#[test]
fn a_name_tells_its_format_or_is_refused() {
    for (name, format) in [
        ("a/b.csv", Format::Csv),
        ("b.tsv", Format::Tsv),
        ("b.jsonl", Format::Jsonl),
        (".", Format::Folders),
    ] {
        assert_eq!(Format::infer(Path::new(name)).unwrap(), format);
    }
    let error = Format::infer(Path::new("b.txt")).unwrap_err();
    assert!(error.to_string().contains("say which: sst"));
}

fn real(file: &str, options: &ReadOptions) -> Dataset {
    let folder = std::env::var_os("CELLWAY_SHARED_DATA").expect("CELLWAY_SHARED_DATA is not set");
    let (dataset, skipped) = read(Path::new(&folder).join(file), options).unwrap();
    assert_eq!(skipped.total(), 0);
    dataset
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn the_treebank_has_its_published_counts() {
    for (part, sentences, binary, phrases) in [
        ("train", 8544, 6920, 159_274),
        ("dev", 1101, 872, 24_772),
        ("test", 2210, 1821, 46_663),
    ] {
        let count = |classes, phrases| {
            let options = ReadOptions {
                classes,
                phrases,
                ..of(Format::Sst)
            };
            real(&format!("sst/{part}.txt"), &options).examples.len()
        };
        assert_eq!([5, 3].map(|classes| count(classes, false)), [sentences; 2]);
        assert_eq!(count(2, false), binary);
        assert_eq!(count(5, true), phrases);
    }
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn a_real_table_is_read() {
    let dataset = real("checkpoints/sentlstm_rt/sample_test.csv", &of(Format::Csv));
    assert_eq!(dataset.labels, ["0", "1"]);
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn little_of_the_treebank_s_batches_is_padding() {
    let lengths: Vec<usize> = real(
        "sst/train.txt",
        &ReadOptions {
            classes: 5,
            ..of(Format::Sst)
        },
    )
    .examples
    .iter()
    .map(|example| example.text.split(' ').count())
    .collect();
    for limit in [Limit::Sentences(32), Limit::Tokens(600)] {
        let train = padding_share(&lengths, &epoch_batches(&lengths, limit, 1, 0));
        let eval = padding_share(&lengths, &eval_batches(&lengths, limit));
        assert!(train < 0.06 && eval < 0.06, "{limit:?}: {train}, {eval}");
    }
}

#[test]
fn whether_there_are_labels_is_told_by_the_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let has = |content: &str, format: Format| {
        let path = folder.path().join("f");
        std::fs::write(&path, content).unwrap();
        let options = ReadOptions {
            format,
            ..ReadOptions::default()
        };
        has_labels(&path, &options).unwrap()
    };
    assert!(has("text,label\na,b", Format::Csv) && !has("text,stars\na,b", Format::Csv));
    assert!(has("label\ttext\n", Format::Tsv) && !has("", Format::Tsv));
    let with = "{\"text\": \"a\", \"label\": null}\n{}";
    assert!(has(with, Format::Jsonl) && !has("{\"text\": \"a\"}\n{\"label\": 1}", Format::Jsonl));
    // What is broken is for the reading to tell.
    assert!(has("[1]", Format::Jsonl) && has("", Format::Jsonl) && has("(2 a)", Format::Sst));
    assert!(has_labels("absent.csv", &ReadOptions::default()).is_err());
}
