//! Files made to do harm, one test for each way: none is executed, none fills
//! the memory, and each is refused with what is wrong and where.

mod common;

use cellway::checkpoint::{Checkpoint, FaultKind, limits};
use cellway::error::{Error, Result};

use common::bytes::*;
use common::reading::read_all;
use tempfile::TempDir;

fn open(file: &[u8]) -> Result<Checkpoint> {
    Checkpoint::from_bytes(file.to_vec(), "hostile.pt")
}

/// The file is refused: kind, byte and a part of the message.
#[track_caller]
fn refused_at(file: &[u8], kind: FaultKind, at: usize, says: &str) {
    let offset = refused(file, kind, says);
    assert_eq!(offset, at, "{says}");
}

/// The same where the byte is not of interest; it lies in the file.
#[track_caller]
fn refused(file: &[u8], kind: FaultKind, says: &str) -> usize {
    let error = match open(file) {
        Err(error) => error,
        Ok(checkpoint) => panic!("was accepted: {:?}", checkpoint.tensors()),
    };
    let text = error.to_string();
    let Error::Checkpoint { path, fault } = error else {
        panic!("another error: {error:?}");
    };
    assert_eq!(path.to_str(), Some("hostile.pt"));
    assert!(fault.message.contains(says), "{text}");
    assert_eq!(fault.kind, kind, "{text}");
    assert!(fault.offset <= file.len() as u64, "{text}");
    fault.offset as usize
}

/// Where some bytes lie in a file, the first time.
#[track_caller]
fn place(file: &[u8], bytes: &[u8]) -> usize {
    let mut windows = file.windows(bytes.len());
    windows.position(|window| window == bytes).expect("there")
}

/// A sound file: `x`, the floats 0 to 3.
fn sound() -> Vec<u8> {
    torch_zip(&one_tensor(4, 0, &[4], &[1]), &[("0", &floats())])
}

fn floats() -> Vec<u8> {
    [0.0f32, 1.0, 2.0, 3.0].map(f32::to_le_bytes).concat()
}

/// A file whose pickle is this value, without any storage.
fn with_value(value: &[u8]) -> Vec<u8> {
    torch_zip(&pickle(value), &[])
}

/// Where the pickle lies in the files above.
const PICKLE: usize = 30 + "archive/data.pkl".len();

/// The members of a sound file; the storage is the third.
fn sound_members() -> Vec<Member> {
    members(&one_tensor(4, 0, &[4], &[1]), &[("0", &floats())])
}

#[test]
fn a_sound_file_is_read() {
    let checkpoint = open(&sound()).unwrap();
    assert_eq!(checkpoint.tensors()[0].shape, [4]);
    assert_eq!(checkpoint.bytes("x").unwrap(), floats());
    let file = legacy(&one_tensor(4, 0, &[4], &[1]), &[("0", 4, &floats())]);
    assert_eq!(open(&file).unwrap().bytes("x").unwrap(), floats());
}

// Pickles

#[test]
fn a_call_of_os_system_is_inert_and_the_rest_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let command = format!("touch {}", trace.display());
    let storage = storage("FloatStorage", "0", 4);
    let value = dict(&[
        ("x", &tensor(&storage, 0, &[4], &[1])),
        ("evil", &call("os", "system", &[text(&command)])),
        ("more", &call("builtins", "eval", &[text("1/0")])),
    ]);
    let checkpoint = open(&torch_zip(&pickle(&value), &[("0", &floats())])).unwrap();
    for name in ["os.system", "builtins.eval"] {
        assert!(checkpoint.globals().iter().any(|global| global == name));
    }
    assert_eq!(checkpoint.bytes("x").unwrap(), floats());
    let json = checkpoint.json("evil").unwrap();
    assert_eq!(json["class"], "os.system");
    assert_eq!(json["arguments"][0], command.as_str());
    assert!(read_all(&checkpoint).is_empty());
    assert!(!trace.exists());
}

#[test]
fn a_memo_bomb() {
    // `LONG_BINPUT` of an index of 4 billion would take 32 GB.
    let bomb = b"]r\xff\xff\xff\xff";
    let at = PICKLE + 3;
    refused_at(&with_value(bomb), FaultKind::TooLarge, at, "a memo of more");
    // Below the limit for the index, but not for its memory.
    let index = (limits::PICKLE_MEMO as u32 - 1).to_le_bytes();
    let values = b"N".repeat(1_400_000);
    let bomb = [b"]r", &index[..], b"(", &values, b"1"].concat();
    refused(&with_value(&bomb), FaultKind::TooLarge, "bytes of memory");
}

#[test]
fn two_million_nested_tuples() {
    let bomb = [b"N".to_vec(), b"\x85".repeat(2_000_000)].concat();
    let kind = FaultKind::TooLarge;
    refused(&with_value(&bomb), kind, "bytes of memory");
    // As many as memory is allowed for: still too deep.
    let bomb = [b"N".to_vec(), b"\x85".repeat(400_000)].concat();
    refused(&with_value(&bomb), kind, "nested deeper than 512");
    let deep = [b"N".to_vec(), b"\x85".repeat(600)].concat();
    refused(&with_value(&deep), kind, "nested deeper than 512");
}

#[test]
fn a_pickle_of_too_many_operations() {
    let many = b"N0".repeat(limits::PICKLE_OPERATIONS / 2);
    let says = "bytes of memory";
    refused(&with_value(&many), FaultKind::TooLarge, says);
    // Operations that take no memory.
    let many = b"\x80\x02".repeat(limits::PICKLE_OPERATIONS);
    let says = "more than 10000000 operations";
    refused(&with_value(&many), FaultKind::TooLarge, says);
}

#[test]
fn lengths_that_are_longer_than_the_file() {
    let four_gib = 0xffff_fff0u32.to_le_bytes();
    for operation in [b'X', b'B'] {
        let value = [&[operation], &four_gib[..]].concat();
        let says = "4294967280 bytes wanted";
        refused_at(&with_value(&value), FaultKind::Truncated, PICKLE + 2, says);
    }
    for operation in [0x8d, 0x8e, 0x96, 0x95] {
        let value = [&[operation], &u64::MAX.to_le_bytes()[..]].concat();
        let says = "18446744073709551615 bytes wanted";
        refused_at(&with_value(&value), FaultKind::Truncated, PICKLE + 2, says);
    }
    for (operation, what) in [(b'T', "a string"), (0x8b, "a number")] {
        let value = [&[operation], &(-1i32).to_le_bytes()[..]].concat();
        let says = format!("{what} of negative length");
        refused_at(&with_value(&value), FaultKind::Malformed, PICKLE + 2, &says);
    }
}

#[test]
fn a_string_that_is_too_long() {
    let value = text(&"x".repeat(limits::PICKLE_STRING + 1));
    refused_at(
        &with_value(&value),
        FaultKind::TooLarge,
        PICKLE + 2,
        "a string of 1048577 bytes",
    );
}

#[test]
fn views_that_leave_their_storage() {
    let view = |offset, shape: &[i64], stride: &[i64], kind, says: &str| {
        let file = torch_zip(&one_tensor(4, offset, shape, stride), &[("0", &floats())]);
        let at = refused(&file, kind, says);
        // At the call that would make it.
        assert_eq!(file[at], b'R', "{says}");
    };
    let bad = FaultKind::Malformed;
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
    let too_large = FaultKind::TooLarge;
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
    for error in [
        checkpoint.bytes("x").unwrap_err(),
        checkpoint.tensor("x").unwrap_err(),
    ] {
        assert!(error.to_string().contains("repeats the 4 bytes"), "{error}");
    }
    // As `torch.load` gives it, it takes no more than its storage.
    let loaded = checkpoint.load().unwrap();
    assert_eq!(loaded[0].1.size(), [1 << 40]);
}

#[test]
fn records_that_are_shorter_or_longer_than_their_storage() {
    let pickle = one_tensor(4, 0, &[4], &[1]);
    for length in [0, 15, 17, 1000] {
        let file = torch_zip(&pickle, &[("0", &vec![0; length])]);
        let says = format!("has {length} bytes, but its storage 16");
        let at = refused(&file, FaultKind::Malformed, &says);
        assert_eq!(at, place(&file, b"archive/data/0") + 14);
    }
}

#[test]
fn a_missing_record() {
    let file = torch_zip(&one_tensor(4, 0, &[4], &[1]), &[("1", &floats())]);
    let says = "storage \"0\" is missing";
    refused_at(&file, FaultKind::Missing, PICKLE, says);
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
        FaultKind::Unsupported,
        PICKLE,
        "class torch.WideStorage",
    );
    for count in [-1, i64::MAX, i64::MIN, i64::MAX / 4 + 1] {
        let file = value(&storage("FloatStorage", "0", count));
        refused_at(&file, FaultKind::Malformed, PICKLE, "without a size");
    }
    let long = "k".repeat(limits::STORAGE_KEY + 1);
    let file = value(&storage("FloatStorage", &long, 4));
    refused_at(&file, FaultKind::TooLarge, PICKLE, "a key of more than");
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
    refused_at(&file, FaultKind::Malformed, PICKLE, says);
    // A tensor of something else.
    let file = value(b"N");
    refused(&file, FaultKind::Malformed, "tensor \"x\": has no storage");
}

/// Lists that hold the one below twice, around a value.
fn lists_twice(levels: usize, inner: &[u8]) -> Vec<u8> {
    let mut value = inner.to_vec();
    for _ in 0..levels {
        // The value, itself again, and a list of both.
        value.extend(b"2\x86");
    }
    value
}

#[test]
fn two_to_the_sixtieth_tensors_out_of_one() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let file = torch_zip(&pickle(&lists_twice(60, &one)), &[("0", &floats())]);
    let says = "bytes of memory"; // for the names of the tensors
    refused(&file, FaultKind::TooLarge, says);
    // Without a tensor in it nobody looks, until somebody wants it as JSON.
    let file = with_value(&dict(&[("v", &lists_twice(60, b"N"))]));
    let checkpoint = open(&file).unwrap();
    let error = checkpoint.json("v").unwrap_err();
    let Error::Checkpoint { fault, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(fault.kind, FaultKind::TooLarge);
}

#[test]
fn a_list_that_holds_itself() {
    let cyclic = b"]q\x00h\x00a";
    let checkpoint = open(&with_value(&dict(&[("v", cyclic)]))).unwrap();
    let error = checkpoint.json("v").unwrap_err().to_string();
    assert!(error.contains("refers to itself"), "{error}");
    // With a tensor in it, it has to be walked.
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let cyclic = [&cyclic[..], &one, b"a"].concat();
    let file = torch_zip(&pickle(&cyclic), &[("0", &floats())]);
    refused(&file, FaultKind::TooLarge, "nested deeper than 512");
}

#[test]
fn pickles_that_no_python_would_write() {
    let bad = FaultKind::Malformed;
    let no = FaultKind::Unsupported;
    for (value, kind, at, says) in [
        (&b"\x82\x01"[..], no, 2, "extension codes"),
        (b"\x83\x01\x00", no, 2, "extension codes"),
        (b"\x84\x01\x00\x00\x00", no, 2, "extension codes"),
        (b"\x80\x06N", no, 2, "protocol 6"),
        (b"N\x97", no, 3, "buffers outside"),
        (b"NN", bad, 4, "values left over"),
        (b"(N", bad, 4, "values left over"),
        (b"0", bad, 2, "empty stack"),
        (b"t", bad, 2, "without the mark"),
        (b"(N\x85\x86", bad, 5, "empty stack"),
        (b"h\x05", bad, 2, "the memo has no entry 5"),
        (b"\xff", bad, 2, "no pickle operation has the code 0xff"),
        (b"NNa", bad, 4, "no container"),
        (b"}(Nu", bad, 5, "a key that has no value"),
        (b"Ix\n", bad, 2, "a number that is none"),
        (b"Sx\n", bad, 2, "without its quotes"),
        (b"V\\ud800\n", bad, 2, "a string's escape"),
        (b"NN\x93", bad, 4, "whose name is no string"),
    ] {
        refused_at(&with_value(value), kind, PICKLE + at, says);
    }
}

#[test]
fn bytes_behind_a_pickle() {
    let hidden = [pickle(b"}"), pickle(&call("os", "system", &[text("x")]))].concat();
    refused_at(
        &torch_zip(&hidden, &[]),
        FaultKind::Malformed,
        PICKLE + 4,
        "bytes behind the end of a pickle",
    );
}

#[test]
fn a_pickle_that_ends_early() {
    refused_at(
        &torch_zip(b"\x80\x02}", &[]),
        FaultKind::Truncated,
        PICKLE + 3,
        "ends inside a pickle",
    );
}

#[test]
fn a_key_twice_in_a_dict() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let other = tensor(&storage("FloatStorage", "0", 4), 1, &[3], &[1]);
    let file = torch_zip(
        &pickle(&dict(&[("x", &one), ("x", &other)])),
        &[("0", &floats())],
    );
    refused_at(&file, FaultKind::Malformed, PICKLE, "has a key twice");
    // 1 and "1" are two keys in Python, and one name here: both are listed, and
    // neither is taken for the other.
    let both = [b"}(", &text("1")[..], &one, &int(1), &other, b"u"].concat();
    let checkpoint = open(&torch_zip(&pickle(&both), &[("0", &floats())])).unwrap();
    assert_eq!(checkpoint.tensors().len(), 2);
    let error = checkpoint.bytes("1").unwrap_err().to_string();
    assert!(error.contains("has several tensors \"1\""), "{error}");
    // In a value, when it is wanted.
    let value = dict(&[("v", &dict(&[("k", b"N"), ("k", b"N")]))]);
    let checkpoint = open(&with_value(&value)).unwrap();
    let error = checkpoint.json("v").unwrap_err().to_string();
    assert!(error.contains("has the key \"k\" twice"), "{error}");
}

#[test]
fn a_name_that_is_too_long() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let long = "k".repeat(limits::NAME + 1);
    let file = torch_zip(&pickle(&dict(&[(&long, &one)])), &[("0", &floats())]);
    refused_at(&file, FaultKind::TooLarge, PICKLE, "a name of 65537 bytes");
}

// Zip archives

#[test]
fn duplicate_members() {
    let mut members = sound_members();
    members.push(members[2].clone());
    let file = zip(&members);
    let says = "\"archive/data/0\" is there twice";
    let at = refused(&file, FaultKind::Malformed, says);
    assert!(at > place(&file, b"archive/version"));
}

#[test]
fn overlapping_members() {
    // The directory has two entries for the same bytes.
    let mut members = sound_members();
    let mut again = members[2].clone();
    again.place = Some(place(&zip(&members), b"archive/data/0") as u32 - 30);
    members.push(again);
    let says = "must not overlap";
    refused(&zip(&members), FaultKind::Malformed, says);
    // A member inside the data of another.
    let mut members = sound_members();
    let inside = zip(&members[..1]);
    members[3].data = inside.clone();
    let mut quoted = members[0].clone();
    quoted.place = Some(place(&zip(&members), b"archive/version") as u32 + 15);
    members.push(quoted);
    refused(&zip(&members), FaultKind::Malformed, "must not overlap");
}

#[test]
fn headers_that_disagree() {
    type Change = fn(&mut Header);
    let changes: [(Change, &str); 6] = [
        (|header| header.name[13] = b'1', "in its name"),
        (|header| header.size += 1, "in size"),
        (|header| header.packed -= 1, "in size or checksum"),
        (|header| header.crc ^= 1, "in size or checksum"),
        (|header| header.method = 8, "in its compression"),
        (|header| header.flags = 1 << 11, "in its flags"),
    ];
    for (change, says) in changes {
        let mut members = sound_members();
        change(&mut members[2].local);
        let file = zip(&members);
        let at = refused(&file, FaultKind::Malformed, says);
        assert_eq!(&file[at..at + 4], b"PK\x03\x04", "{says}");
    }
    // The directory lies instead.
    let mut members = sound_members();
    members[2].central.packed += 4;
    let says = "is stored, but has two sizes";
    refused(&zip(&members), FaultKind::Malformed, says);
    members[2].central.size += 4;
    let says = "20 bytes wanted, 16 left, where the next member";
    refused(&zip(&members), FaultKind::Malformed, says);
    members[2].central.packed -= 8;
    members[2].central.size -= 8;
    refused(&zip(&members), FaultKind::Malformed, "in size or checksum");
}

#[test]
fn a_directory_that_lies() {
    let says = "bytes were added to the file or cut out of it";
    let mut file = sound();
    let end = file.len() - 22;
    file[end + 12] ^= 1; // its size
    refused_at(&file, FaultKind::Malformed, end, says);
    let mut file = sound();
    file[end + 16..end + 20].copy_from_slice(&u32::MAX.to_le_bytes()); // its place
    refused_at(&file, FaultKind::Malformed, end, says);
    let mut file = sound();
    file[end + 8..end + 12].copy_from_slice(&[0xff, 0, 0xff, 0]); // its count
    refused(&file, FaultKind::Truncated, "an entry of the zip directory");
    let mut file = sound();
    file[end + 8..end + 12].copy_from_slice(&[3, 0, 3, 0]);
    refused(&file, FaultKind::Malformed, "bytes behind its last entry");
}

#[test]
fn a_compressed_pickle() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.method = 8);
    let says = "\"archive/data.pkl\" is compressed";
    refused_at(&zip(&members), FaultKind::Unsupported, PICKLE, says);
}

#[test]
fn an_encrypted_pickle() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.flags = 1);
    refused(&zip(&members), FaultKind::Unsupported, "is encrypted");
}

#[test]
fn bytes_in_front_of_and_behind_an_archive() {
    let file = sound();
    for junk in [&b"MZ\x90\x00"[..], b"#!/bin/sh\n", &[0; 64]] {
        let front = [junk, &file].concat();
        let says = "bytes in front of a zip archive";
        refused_at(&front, FaultKind::NotACheckpoint, 0, says);
        let behind = [&file, junk].concat();
        let says = "other bytes behind its end";
        refused_at(&behind, FaultKind::Malformed, file.len(), says);
    }
    // A second archive in front of the first: which one counts?
    let both = [&file[..], &file].concat();
    refused(&both, FaultKind::Malformed, "bytes were added");
    // A gap that no member owns.
    let mut members = sound_members();
    members[1].data.extend(b"hidden");
    let says = "6 bytes behind \"archive/byteorder\" belong to no member";
    let gap = zip(&members);
    refused_at(&gap, FaultKind::Malformed, place(&gap, b"hidden"), says);
}

#[test]
fn wrong_checksums() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.crc ^= 1);
    let says = "\"archive/data.pkl\" is damaged";
    refused_at(&zip(&members), FaultKind::Checksum, PICKLE, says);
    // A storage is looked at when it is read.
    let mut file = sound();
    let at = place(&file, &floats());
    file[at + 5] ^= 1;
    let checkpoint = open(&file).unwrap();
    for _ in 0..2 {
        let error = checkpoint.bytes("x").unwrap_err();
        let Error::Checkpoint { fault, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(fault.kind, FaultKind::Checksum);
        assert_eq!(fault.offset as usize, at);
    }
    assert!(checkpoint.tensor("x").is_err() && checkpoint.load().is_err());
}

#[test]
fn names_that_lead_out_of_the_archive() {
    for name in [
        "../x",
        "archive/../../x",
        "/etc/passwd",
        "archive\\x",
        "",
        "a\0b",
        "./x",
    ] {
        let mut members = sound_members();
        members.push(Member::new(name, "x"));
        let says = "leads out of the archive";
        refused(&zip(&members), FaultKind::Malformed, says);
    }
    let mut members = sound_members();
    members.push(Member::new("other/x", "x"));
    let says = "stands outside of the folder";
    refused(&zip(&members), FaultKind::Malformed, says);
    members[4] = Member::new("x", "x").with(|header| header.name = vec![0xff]);
    refused(&zip(&members), FaultKind::Malformed, "is not UTF-8");
    members[4] = Member::new(&"x".repeat(limits::ZIP_NAME + 1), "x");
    refused(
        &zip(&members),
        FaultKind::TooLarge,
        "longer than 4096 bytes",
    );
}

#[test]
fn two_pickles() {
    let mut members = sound_members();
    members.push(Member::new("other/data.pkl", pickle(b"}")));
    let says = "two pickles: archive/data.pkl and other/data.pkl";
    refused(&zip(&members), FaultKind::Malformed, says);
}

#[test]
fn an_archive_that_is_none_of_torchs() {
    let file = zip(&[Member::new("word/document.xml", "<x/>")]);
    refused(&file, FaultKind::Missing, "no data.pkl and no .npy");
    let file = zip(&[Member::new("archive/model.json", "{}")]);
    refused(&file, FaultKind::Unsupported, "TorchScript of torch 1.0");
    refused(&zip(&[]), FaultKind::Missing, "no data.pkl");
}

#[test]
fn numbers_in_the_other_byte_order() {
    let mut members = sound_members();
    members[1] = Member::new("archive/byteorder", "big");
    let file = zip(&members);
    let at = place(&file, b"archive/byteorder") + 17;
    refused_at(&file, FaultKind::Unsupported, at, "\"big\" byte order");

    let sound = legacy(&one_tensor(4, 0, &[4], &[1]), &[("0", 4, &floats())]);
    let rest = &sound[legacy_start(true).len()..];
    let file = [&legacy_start(false), rest].concat();
    let says = "big-endian machine";
    refused(&file, FaultKind::Unsupported, says);
}

#[test]
fn an_array_of_numpys_that_is_none() {
    let array = |header: &str, data: &[u8]| zip(&[Member::new("x.npy", npy(header, data))]);
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
    };
    let data = 35;
    let bad = FaultKind::Malformed;
    for (descr, shape, kind, says) in [
        (
            "'<f4'",
            "(3,)",
            bad,
            "needs 12 bytes, but its storage has 8",
        ),
        ("'<f4'", "(1,)", bad, "takes 4 bytes, but has 8"),
        ("'<f4'", "(-1,)", bad, "negative size"),
        ("'<f4'", "(9223372036854775807, 3)", bad, "too large"),
        ("'<f4'", "(99999999999999999999,)", bad, "the header of"),
        ("'<f4'", "(2", bad, "the header of"),
    ] {
        let file = array(&header(descr, shape), &[0; 8]);
        let at = refused(&file, kind, says);
        assert_eq!(at, data + 10, "{says}");
    }
    let says = "is no .npy file";
    let file = zip(&[Member::new("x.npy", [0; 32])]);
    refused_at(&file, bad, data, says);
    // What torch has not is named, and refused when it is wanted.
    for (descr, says) in [
        ("'>f4'", "big-endian"),
        ("'|O'", "Python objects"),
        ("''", "a type that torch has not"),
    ] {
        let checkpoint = open(&array(&header(descr, "(1,)"), &[0; 8])).unwrap();
        assert!(checkpoint.refused()[0].reason.contains(says), "{descr}");
        assert!(checkpoint.bytes("x").is_err());
    }
}

#[test]
fn an_array_of_a_type_whose_first_letter_has_several_bytes() {
    // Was cut in the middle of the letter.
    let header = "{'descr': 'ĸ8', 'fortran_order': False, 'shape': (), }\n";
    let file = zip(&[Member::new("x.npy", npy(header, &[0; 8]))]);
    let checkpoint = open(&file).unwrap();
    let reason = &checkpoint.refused()[0].reason;
    assert!(
        reason.contains("a type that torch has not (ĸ8)"),
        "{reason}"
    );
}

// Files of torch before 1.6

#[test]
fn a_legacy_storage_of_gigabytes() {
    let value = one_tensor(1 << 40, 0, &[1 << 40], &[1]);
    let file = legacy(&value, &[("0", 1 << 40, &floats())]);
    let says = "4398046511104 bytes wanted, 16 left";
    let at = file.len() - 16;
    refused_at(&file, FaultKind::Truncated, at, says);
}

#[test]
fn a_legacy_count_that_does_not_fit() {
    let value = one_tensor(4, 0, &[4], &[1]);
    for count in [3, 5, -1, i64::MIN, 1 << 62] {
        let file = legacy(&value, &[("0", count, &floats())]);
        let at = file.len() - 24;
        refused_at(&file, FaultKind::Malformed, at, "is said to have");
    }
}

#[test]
fn a_legacy_list_of_storages_that_does_not_fit() {
    let value = one_tensor(4, 0, &[4], &[1]);
    let list = legacy_start(true).len() + value.len();
    for (storages, kind, says) in [
        (vec!["0", "0"], FaultKind::Malformed, "has \"0\" twice"),
        (vec![], FaultKind::Missing, "lacks \"0\""),
        (
            vec!["0", "1"],
            FaultKind::Malformed,
            "has \"1\", which no tensor uses",
        ),
    ] {
        let floats = floats();
        let storages: Vec<_> = storages.iter().map(|&key| (key, 4, &floats[..])).collect();
        refused_at(&legacy(&value, &storages), kind, list, says);
    }
    let file = [legacy_start(true), value, pickle(b"N")].concat();
    let says = "the list of storages is none";
    refused_at(&file, FaultKind::Malformed, list, says);
}

#[test]
fn bytes_behind_the_last_legacy_storage() {
    let value = one_tensor(4, 0, &[4], &[1]);
    let mut file = legacy(&value, &[("0", 4, &floats())]);
    let at = file.len();
    file.extend(b"more");
    let says = "4 bytes behind the last storage";
    refused_at(&file, FaultKind::Malformed, at, says);
}

#[test]
fn another_pickle() {
    let file = pickle(&call("os", "system", &[text("x")]));
    let says = "not one of torch.save";
    refused_at(&file, FaultKind::NotACheckpoint, 0, says);
    let mut file = legacy_start(true);
    file[17..21].copy_from_slice(b"M\x01\x00.");
    refused(&file, FaultKind::Unsupported, "legacy format of version");
}

// safetensors

fn entry(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

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
    refused_at(&file, FaultKind::Truncated, 8, "has 7 bytes of data");
}

#[test]
fn safetensors_names_twice() {
    let (a, b) = (entry("U8", "[1]", 0, 1), entry("U8", "[1]", 1, 2));
    let file = safetensors(&format!(r#"{{"a":{a},"a":{b}}}"#), &[0; 2]);
    refused_at(&file, FaultKind::Malformed, 8, "\"a\" is there twice");
}

#[test]
fn safetensors_headers_that_are_wrong() {
    let one = |entry: String| safetensors(&format!(r#"{{"a":{entry}}}"#), &[0; 8]);
    let bad = FaultKind::Malformed;
    let shape17 = format!("{:?}", [1; 17]);
    for (entry, kind, says) in [
        (entry("F32", "[3]", 0, 8), bad, "does not fit"),
        (entry("F32", "[2]", 8, 0), bad, "starts at data offset 8"),
        (entry("F32", "[2]", 0, 4), bad, "does not fit"),
        (entry("F32", &shape17, 0, 4), bad, "more than 16 dimensions"),
        (entry("F33", "[2]", 0, 8), FaultKind::Unsupported, "F33"),
        (entry("U8", "[4]", 0, 4), bad, "4 bytes behind"),
        (entry("U8", "[9]", 0, 9), FaultKind::Truncated, "promises 9"),
    ] {
        refused_at(&one(entry), kind, 8, says);
    }
    let mut file = one(entry("F32", "[2]", 0, 8));
    file[..8].copy_from_slice(&99_999_999u64.to_le_bytes());
    let says = "the header has 99999999 bytes";
    refused_at(&file, FaultKind::Truncated, 8, says);
    let long = "k".repeat(limits::NAME + 1);
    let header = format!("{{\"{long}\":{}}}", entry("U8", "[1]", 0, 1));
    let says = "a name of 65537 bytes";
    refused_at(&safetensors(&header, &[0]), FaultKind::TooLarge, 8, says);
}

// Checkpoints in several files

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
    assert_eq!(sound.unwrap().bytes("a").unwrap(), [7]);
    for (file, kind, says) in [
        ("../1.safetensors", FaultKind::Malformed, "not one beside"),
        ("/etc/passwd", FaultKind::Malformed, "not one beside"),
        ("..", FaultKind::Malformed, "not one beside"),
        (
            "model.safetensors.index.json",
            FaultKind::Unsupported,
            "an index of indices",
        ),
    ] {
        let (_folder, opened) = index(&format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#));
        let error = opened.unwrap_err();
        let Error::Checkpoint { fault, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(fault.kind, kind, "{file}");
        assert!(fault.message.contains(says), "{fault}");
    }
    let (_folder, opened) = index(r#"{"weight_map":{"a":"2.safetensors"}}"#);
    assert!(matches!(opened, Err(Error::Io { .. })));
    for (text, kind) in [
        (r#"{"weight_map":{}}"#, FaultKind::Missing),
        (r#"{"weight_map":[]}"#, FaultKind::Malformed),
        (
            r#"{"weight_map":{"b":"1.safetensors"}}"#,
            FaultKind::Missing,
        ),
    ] {
        let error = index(text).1.unwrap_err();
        assert!(
            matches!(&error, Error::Checkpoint { fault, .. } if fault.kind == kind),
            "{error}"
        );
    }
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

// Files of another kind

#[test]
fn files_that_are_something_else() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (file, says) in [
        (&b""[..], "is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"\n <HTML>", "is a web page"),
        (b"\x89HDF\r\n\x1a\n....", "is HDF5"),
        (b"\x1f\x8b\x08\x00", "is compressed"),
        (&tar, "is a tar archive"),
        (b"\x93NUMPY\x01\x00", "a single .npy array"),
        (b"GGUF\x03\x00", "is GGUF"),
        (br#"{"weight_map":{}}"#, "is the index"),
        (b"{}", "is JSON"),
        (b"hello", "is no checkpoint"),
        (&[0xff; 40], "is no checkpoint"),
    ] {
        refused_at(file, FaultKind::NotACheckpoint, 0, says);
    }
}

// Files that end early

/// No cut of a file is accepted, and none panics.
fn cut_everywhere(name: &str, file: &[u8]) {
    assert!(open(file).is_ok(), "{name}");
    for end in 0..file.len() {
        match open(&file[..end]) {
            Err(Error::Checkpoint { fault, .. }) => {
                assert!(fault.offset <= end as u64, "{name} cut at {end}: {fault}");
            }
            Err(other) => panic!("{name} cut at {end}: {other:?}"),
            Ok(_) => panic!("{name} cut at {end}: was accepted"),
        }
    }
}

#[test]
fn files_cut_at_every_byte() {
    let value = one_tensor(4, 0, &[4], &[1]);
    cut_everywhere("zip", &sound());
    cut_everywhere("legacy", &legacy(&value, &[("0", 4, &floats())]));
    let header = format!(r#"{{"a":{}}}"#, entry("F32", "[2, 1]", 0, 8));
    cut_everywhere("safetensors", &safetensors(&header, &[0; 8]));
    let array = npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n",
        &[0; 8],
    );
    let arrays = [
        Member::new("x.npy", array.clone()),
        Member::new("y.npy", array),
    ];
    cut_everywhere("npz", &zip(&arrays));
}

#[test]
fn files_of_torch_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
import sys, io, torch, numpy
folder = sys.argv[1]
lstm = torch.nn.LSTM(1, 1)
value = {'model': lstm.state_dict(), 'epoch': 3, 'names': ('a', None)}
torch.save(value, folder + '/zip')
torch.save(value, folder + '/legacy', _use_new_zipfile_serialization=False)
torch.jit.script(torch.nn.Linear(1, 1)).save(folder + '/script')
numpy.savez(open(folder + '/npz', 'wb'), *[p.detach().numpy() for p in lstm.parameters()])
";
    common::run(common::python().args(["-c", script]).arg(folder.path()));
    for name in ["zip", "legacy", "script", "npz"] {
        let file = std::fs::read(folder.path().join(name)).unwrap();
        cut_everywhere(name, &file);
    }
}
