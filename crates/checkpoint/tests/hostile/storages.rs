//! Tensors and storages of pickles that do not fit each other.

use super::*;

#[test]
fn views_that_leave_their_storage() {
    let view = |offset, shape: &[i64], stride: &[i64], kind, says: &str| {
        let file = torch_zip(&one_tensor(4, offset, shape, stride), &[("0", &floats())]);
        let at = refused(&file, kind, says);
        // At the call that would make it.
        assert_eq!(file[at], b'R', "{says}");
    };
    let bad = ParseErrorKind::Malformed;
    view(0, &[5], &[1], bad, "needs 20 bytes, but its storage has 16");
    view(1, &[4], &[1], bad, "needs 20 bytes");
    view(0, &[2], &[-1], bad, "negative stride -1");
    view(-1, &[2], &[1], bad, "negative offset -1");
    view(0, &[-2], &[1], bad, "negative size -2");
    view(0, &[2, 2], &[1], bad, "2 sizes, but 1 strides");
    view(0, &[i64::MAX, 2], &[0, 0], bad, "too large");
    view(0, &[1 << 32, 1 << 32], &[0, 0], bad, "too large");
    view(0, &[1 << 31, 1 << 31, 0], &[0, 0, 0], bad, "too large");
    view(0, &[3], &[i64::MAX], bad, "too large");
    view(i64::MAX, &[2], &[1], bad, "too large");
    let too_large = ParseErrorKind::TooLarge;
    view(0, &[1; 17], &[1; 17], too_large, "17 dimensions");
    view(
        0,
        &[1; 5000],
        &[1; 5000],
        too_large,
        "dimensions (at most 16)",
    );
}

#[test]
fn an_expanded_tensor_of_a_trillion_elements() {
    let file = torch_zip(&one_tensor(1, 0, &[1 << 40], &[0]), &[("0", &[0; 4])]);
    let checkpoint = open(&file).unwrap();
    assert_eq!(checkpoint.tensors()[0].numel(), 1 << 40);
    let error = checkpoint.bytes("x").unwrap_err();
    assert!(error.to_string().contains("repeats the 4 bytes"), "{error}");
}

#[test]
fn records_that_are_shorter_or_longer_than_their_storage() {
    let pickle = one_tensor(4, 0, &[4], &[1]);
    for length in [0, 15, 17, 1000] {
        let file = torch_zip(&pickle, &[("0", &vec![0; length])]);
        let says = format!("has {length} bytes, but its storage 16");
        let at = refused(&file, ParseErrorKind::Malformed, &says);
        assert_eq!(at, place(&file, b"archive/data/0") + 14);
    }
}

#[test]
fn a_missing_record() {
    let file = torch_zip(&one_tensor(4, 0, &[4], &[1]), &[("1", &floats())]);
    let says = "storage \"0\" is missing";
    refused_at(&file, ParseErrorKind::Missing, PICKLE, says);
}

#[test]
fn storages_that_no_torch_writes() {
    let value = |storage: &[u8]| {
        torch_zip(
            &pickle(&dict(&[("x", &tensor(storage, 0, &[4], &[1]))])),
            &[("0", &floats())],
        )
    };
    let file = value(&storage("WideStorage", "0", 4));
    refused_at(
        &file,
        ParseErrorKind::Unsupported,
        PICKLE,
        "class torch.WideStorage",
    );
    for count in [-1, i64::MAX, i64::MIN, i64::MAX / 4 + 1] {
        let file = value(&storage("FloatStorage", "0", count));
        refused_at(&file, ParseErrorKind::Malformed, PICKLE, "without a size");
    }
    let long = "k".repeat(limits::STORAGE_KEY + 1);
    let file = value(&storage("FloatStorage", &long, 4));
    refused_at(
        &file,
        ParseErrorKind::TooLarge,
        PICKLE,
        "a key of more than",
    );
    // One storage, of two sizes.
    let both = dict(&[
        (
            "x",
            &tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]),
        ),
        (
            "y",
            &tensor(&storage("FloatStorage", "0", 2), 0, &[2], &[1]),
        ),
    ]);
    let file = torch_zip(&pickle(&both), &[("0", &floats())]);
    let says = "said to have 16 bytes, and 8";
    refused_at(&file, ParseErrorKind::Malformed, PICKLE, says);
    // A tensor of something else.
    let file = value(b"N");
    refused(
        &file,
        ParseErrorKind::Malformed,
        "tensor \"x\": has no storage",
    );
}
