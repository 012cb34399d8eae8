//! Files of torch before 1.6.

use super::*;

#[test]
fn a_legacy_storage_of_gigabytes() {
    let value = one_tensor(1 << 40, 0, &[1 << 40], &[1]);
    let file = legacy(&value, &[("0", 1 << 40, &floats())]);
    let says = "4398046511104 bytes wanted, 16 left";
    let at = file.len() - 16;
    refused_at(&file, ParseErrorKind::Truncated, at, says);
}

#[test]
fn a_legacy_count_that_does_not_fit() {
    let value = one_tensor(4, 0, &[4], &[1]);
    for count in [3, 5, -1, i64::MIN, 1 << 62, (1 << 62) + 4] {
        let file = legacy(&value, &[("0", count, &floats())]);
        let at = file.len() - 24;
        refused_at(&file, ParseErrorKind::Malformed, at, "is said to have");
    }
}

#[test]
fn a_legacy_list_of_storages_that_does_not_fit() {
    let value = one_tensor(4, 0, &[4], &[1]);
    let list = legacy_start(true).len() + value.len();
    for (storages, kind, says) in [
        (vec!["0", "0"], ParseErrorKind::Malformed, "has \"0\" twice"),
        (vec![], ParseErrorKind::Missing, "lacks \"0\""),
        (
            vec!["0", "1"],
            ParseErrorKind::Malformed,
            "has \"1\", which no tensor uses",
        ),
    ] {
        let floats = floats();
        let storages: Vec<_> = storages.iter().map(|&key| (key, 4, &floats[..])).collect();
        refused_at(&legacy(&value, &storages), kind, list, says);
    }
    let file = [legacy_start(true), value, pickle(b"N")].concat();
    let says = "the list of storages is none";
    refused_at(&file, ParseErrorKind::Malformed, list, says);
}

#[test]
fn bytes_behind_the_last_legacy_storage() {
    let value = one_tensor(4, 0, &[4], &[1]);
    let mut file = legacy(&value, &[("0", 4, &floats())]);
    let at = file.len();
    file.extend(b"more");
    let says = "4 bytes behind the last storage";
    refused_at(&file, ParseErrorKind::Malformed, at, says);
}

#[test]
fn another_pickle() {
    let file = pickle(&call("os", "system", &[text("x")]));
    let says = "not one of torch.save";
    refused_at(&file, ParseErrorKind::NotACheckpoint, 0, says);
    let mut file = legacy_start(true);
    file[17..21].copy_from_slice(b"M\x01\x00.");
    refused(
        &file,
        ParseErrorKind::Unsupported,
        "legacy format of version",
    );
}

#[test]
fn the_names_of_all_pickles_are_listed() {
    let value = one_tensor(4, 0, &[4], &[1]);
    let file = legacy(&value, &[("0", 4, &floats())]);
    // Named and popped in front of the magic number.
    let magic = file.iter().position(|&byte| byte == 0x8a).unwrap();
    let named = [
        &file[..magic],
        &global("builtins", "getattr"),
        b"0",
        &file[magic..],
    ]
    .concat();
    let checkpoint = open(&named).unwrap();
    assert!(
        checkpoint
            .globals()
            .contains(&"builtins.getattr".to_owned())
    );
    assert_eq!(checkpoint.bytes("x").unwrap(), floats());
}
