//! Zip archives that lie.

use super::*;

#[test]
fn duplicate_members() {
    let mut members = sound_members();
    members.push(members[2].clone());
    let file = zip(&members);
    let says = "\"archive/data/0\" is there twice";
    let at = refused(&file, ParseErrorKind::Malformed, says);
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
    refused(&zip(&members), ParseErrorKind::Malformed, says);
    // A member inside the data of another.
    let mut members = sound_members();
    let inside = zip(&members[..1]);
    members[3].data = inside.clone();
    let mut quoted = members[0].clone();
    quoted.place = Some(place(&zip(&members), b"archive/version") as u32 + 15);
    members.push(quoted);
    refused(
        &zip(&members),
        ParseErrorKind::Malformed,
        "must not overlap",
    );
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
        let at = refused(&file, ParseErrorKind::Malformed, says);
        assert_eq!(&file[at..at + 4], b"PK\x03\x04", "{says}");
    }
    // The directory lies instead.
    let mut members = sound_members();
    members[2].central.packed += 4;
    let says = "is stored, but has two sizes";
    refused(&zip(&members), ParseErrorKind::Malformed, says);
    members[2].central.size += 4;
    let says = "20 bytes wanted, 16 left, where the next member";
    refused(&zip(&members), ParseErrorKind::Malformed, says);
    members[2].central.packed -= 8;
    members[2].central.size -= 8;
    refused(
        &zip(&members),
        ParseErrorKind::Malformed,
        "in size or checksum",
    );
}

#[test]
fn descriptors_that_disagree() {
    let crc = crc32fast::hash(&floats());
    let file = |fields: [u32; 3]| {
        let mut members = sound_members();
        members[2] = members[2].clone().with(|header| header.flags = 8);
        let descriptor = fields.map(u32::to_le_bytes).concat();
        members[2].data.extend(descriptor);
        zip(&members)
    };
    let checkpoint = open(&file([crc, 16, 16])).unwrap();
    assert_eq!(checkpoint.bytes("x").unwrap(), floats());
    for fields in [[crc ^ 1, 16, 16], [crc, 15, 16], [crc, 16, 17]] {
        let says = "in size or checksum";
        refused(&file(fields), ParseErrorKind::Malformed, says);
    }
}

#[test]
fn two_64_bit_sizes() {
    let mut members = sound_members();
    let twice = [1, 0, 0, 0].repeat(2);
    members[2] = members[2]
        .clone()
        .with(|header| header.extra = twice.clone());
    let says = "two 64-bit sizes for one member";
    refused(&zip(&members), ParseErrorKind::Malformed, says);
}

#[test]
fn a_directory_that_lies() {
    let says = "bytes were added to the file or cut out of it";
    let mut file = sound();
    let end = file.len() - 22;
    file[end + 12] ^= 1; // its size
    refused_at(&file, ParseErrorKind::Malformed, end, says);
    let mut file = sound();
    file[end + 16..end + 20].copy_from_slice(&u32::MAX.to_le_bytes()); // its place
    refused_at(&file, ParseErrorKind::Malformed, end, says);
    let mut file = sound();
    file[end + 8..end + 12].copy_from_slice(&[0xff, 0, 0xff, 0]); // its count
    refused(
        &file,
        ParseErrorKind::Truncated,
        "an entry of the zip directory",
    );
    let mut file = sound();
    file[end + 8..end + 12].copy_from_slice(&[3, 0, 3, 0]);
    refused(
        &file,
        ParseErrorKind::Malformed,
        "bytes behind its last entry",
    );
}

#[test]
fn a_compressed_pickle() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.method = 8);
    let says = "\"archive/data.pkl\" is compressed";
    refused_at(&zip(&members), ParseErrorKind::Unsupported, PICKLE, says);
}

#[test]
fn an_encrypted_pickle() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.flags = 1);
    refused(&zip(&members), ParseErrorKind::Unsupported, "is encrypted");
}

#[test]
fn bytes_in_front_of_and_behind_an_archive() {
    let file = sound();
    for junk in [&b"MZ\x90\x00"[..], b"#!/bin/sh\n", &[0; 64]] {
        let front = [junk, &file].concat();
        let says = "bytes in front of a zip archive";
        refused_at(&front, ParseErrorKind::NotACheckpoint, 0, says);
        let behind = [&file, junk].concat();
        let says = "other bytes behind its end";
        refused_at(&behind, ParseErrorKind::Malformed, file.len(), says);
    }
    // A second archive in front of the first: which one counts?
    let both = [&file[..], &file].concat();
    refused(&both, ParseErrorKind::Malformed, "bytes were added");
    // No member at all, and bytes that look like one.
    let hidden = b"PK\x03\x04hidden";
    let mut empty = [&hidden[..], &zip(&[])].concat();
    let start = empty.len() - 6;
    empty[start] = hidden.len() as u8;
    let says = "belong to no member";
    refused_at(&empty, ParseErrorKind::Malformed, 0, says);
    // A gap that no member owns.
    let mut members = sound_members();
    members[1].data.extend(b"hidden");
    let says = "6 bytes behind \"archive/byteorder\" belong to no member";
    let gap = zip(&members);
    refused_at(
        &gap,
        ParseErrorKind::Malformed,
        place(&gap, b"hidden"),
        says,
    );
}

#[test]
fn wrong_checksums() {
    let mut members = sound_members();
    members[0] = members[0].clone().with(|header| header.crc ^= 1);
    let says = "\"archive/data.pkl\" is damaged";
    refused_at(&zip(&members), ParseErrorKind::Checksum, PICKLE, says);
    // A storage is looked at when it is read.
    let mut file = sound();
    let at = place(&file, &floats());
    file[at + 5] ^= 1;
    let checkpoint = open(&file).unwrap();
    for _ in 0..2 {
        let error = checkpoint.bytes("x").unwrap_err();
        let Error::Parse { error, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(error.kind, ParseErrorKind::Checksum);
        assert_eq!(error.offset as usize, at);
    }
    assert!(checkpoint.storage_bytes(0).is_err());
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
        refused(&zip(&members), ParseErrorKind::Malformed, says);
    }
    let mut members = sound_members();
    members.push(Member::new("other/x", "x"));
    let says = "stands outside of the folder";
    refused(&zip(&members), ParseErrorKind::Malformed, says);
    members[4] = Member::new("x", "x").with(|header| header.name = vec![0xff]);
    refused(&zip(&members), ParseErrorKind::Malformed, "is not UTF-8");
    members[4] = Member::new(&"x".repeat(limits::ZIP_NAME + 1), "x");
    refused(
        &zip(&members),
        ParseErrorKind::TooLarge,
        "longer than 4096 bytes",
    );
}

#[test]
fn two_pickles() {
    let mut members = sound_members();
    members.push(Member::new("other/data.pkl", pickle(b"}")));
    let says = "two pickles: archive/data.pkl and other/data.pkl";
    refused(&zip(&members), ParseErrorKind::Malformed, says);
}

#[test]
fn an_archive_that_is_none_of_torchs() {
    let file = zip(&[Member::new("word/document.xml", "<x/>")]);
    refused(&file, ParseErrorKind::Missing, "no data.pkl and no .npy");
    let file = zip(&[Member::new("archive/model.json", "{}")]);
    refused(
        &file,
        ParseErrorKind::Unsupported,
        "TorchScript of torch 1.0",
    );
    refused(&zip(&[]), ParseErrorKind::Missing, "no data.pkl");
}

#[test]
fn numbers_in_the_other_byte_order() {
    let mut members = sound_members();
    members[1] = Member::new("archive/byteorder", "big");
    let file = zip(&members);
    let at = place(&file, b"archive/byteorder") + 17;
    refused_at(&file, ParseErrorKind::Unsupported, at, "\"big\" byte order");

    let sound = legacy(&one_tensor(4, 0, &[4], &[1]), &[("0", 4, &floats())]);
    let rest = &sound[legacy_start(true).len()..];
    let file = [&legacy_start(false), rest].concat();
    let says = "big-endian machine";
    refused(&file, ParseErrorKind::Unsupported, says);
}
