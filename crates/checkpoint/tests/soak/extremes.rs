//! The largest that can be made of little.

use cellway_checkpoint::limits;

use super::common::bytes::*;
use super::measure::{alone, extreme};

/// A zip archive with this pickle and a storage of four floats.
pub fn pickled(value: &[u8]) -> Vec<u8> {
    torch_zip(&pickle(value), &[("0", &[0; 16])])
}

pub fn float_tensor() -> Vec<u8> {
    tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1])
}

/// A list of so many times the same value.
pub fn many_times(value: &[u8], count: usize) -> Vec<u8> {
    // Kept in the memo, dropped, and got again and again.
    let head = [value, b"q\x000](".as_slice()].concat();
    [head, b"h\x00".repeat(count), b"e".to_vec()].concat()
}

/// A module of this class with this state.
pub fn module(state: &[u8]) -> Vec<u8> {
    let class = global("torch.nn.modules.rnn", "LSTM");
    [&class[..], b")\x81", state, b"b"].concat()
}

#[test]
fn pickles_of_millions_of_values() {
    let _alone = alone();
    let nested = [b"N".to_vec(), b"\x85".repeat(2_000_000)].concat();
    extreme("nested tuples", pickled(&nested)).unwrap_err();
    for operation in [b"]", b")", b"}", b"\x8f", b"(", b"N"] {
        let shown = operation.escape_ascii();
        for (suffix, more) in [("", &b""[..]), (" kept", b"\x94"), (" named", b"q\x00")] {
            let each = [&operation[..], more].concat();
            let name = format!("4M of {shown}{suffix}");
            extreme(&name, pickled(&each.repeat(4_000_000))).unwrap_err();
        }
        // As many as there may be, and a list of them.
        let name = format!("a list of {shown}");
        let list = [b"](", &operation.repeat(1_000_000)[..], b"e"].concat();
        let _ = extreme(&name, pickled(&dict(&[("v", &list)])));
    }
    let one = many_times(b"]", 2_000_000);
    let _ = extreme("a list two million times", pickled(&dict(&[("v", &one)])));
    let lists = [b"](".to_vec(), b"]Na".repeat(400_000), b"e".to_vec()].concat();
    let _ = extreme("lists of one", pickled(&dict(&[("v", &lists)])));
    let dicts = [b"](".to_vec(), b"}NNs".repeat(300_000), b"e".to_vec()].concat();
    let _ = extreme("dicts of one", pickled(&dict(&[("v", &dicts)])));
    let bytes = [b"B", &(1u32 << 20).to_le_bytes()[..], &vec![7; 1 << 20]].concat();
    let _ = extreme("bytes", pickled(&dict(&[("v", &bytes)])));
    let long = many_times(&text(&"x".repeat(1 << 20)), 500);
    let _ = extreme("a long text 500 times", pickled(&dict(&[("v", &long)])));
    let objects = [
        &global("os", "system")[..],
        b"q\x000](",
        &b"h\x00)R".repeat(500_000),
        b"e",
    ]
    .concat();
    let _ = extreme("objects", pickled(&dict(&[("v", &objects)])));
    // Five pickles behind one another share what there is.
    let junk = [b"(".to_vec(), b")".repeat(1_000_000), b"1".to_vec()].concat();
    let with_junk = |pickle: &[u8]| [&pickle[..2], &junk, &pickle[2..]].concat();
    let start = legacy_start(true);
    let parts = [
        with_junk(&start[..15]),
        with_junk(&start[15..21]),
        with_junk(&start[21..]),
        with_junk(&pickle(b"}")),
        with_junk(&pickle(b"]")),
    ];
    extreme("five large pickles", parts.concat()).unwrap_err();
}

#[test]
fn one_value_a_hundred_thousand_times() {
    let _alone = alone();
    let count = limits::TENSORS - 1;
    let one = float_tensor();
    let _ = extreme("a tensor", pickled(&many_times(&one, count)));
    let wide = tensor(&storage("FloatStorage", "0", 4), 0, &[1; 16], &[0; 16]);
    let _ = extreme("a tensor of rank 16", pickled(&many_times(&wide, count)));
    // Values beside a tensor have a name and a summary each.
    let beside = |value: &[u8]| pickled(&[&many_times(value, count)[..], &one, b"a"].concat());
    let odd = text(&"\u{10fffe}".repeat(100_000));
    let four = [&b"]("[..], &odd, b"222e"].concat();
    let _ = extreme("four long texts", beside(&four));
    let state = |entries: usize| {
        let mut entries: Vec<(String, Vec<u8>)> = (0..entries)
            .map(|n| (format!("{n}"), int(n as i64)))
            .collect();
        entries.push(("weight".to_owned(), one.clone()));
        let entries: Vec<(&str, &[u8])> = entries
            .iter()
            .map(|(key, value)| (key.as_str(), &value[..]))
            .collect();
        dict(&entries)
    };
    for entries in [3, 100, 50_000] {
        let name = format!("a module with {entries} attributes");
        let _ = extreme(&name, pickled(&many_times(&module(&state(entries)), count)));
    }
    // All attributes under the same long name.
    let name = text(&"k".repeat(60_000));
    let mut entries = [&b"}("[..], &name, b"q\x01N"].concat();
    entries.extend(b"h\x01N".repeat(100_000));
    entries.extend([text("w"), one.clone(), b"u".to_vec()].concat());
    let _ = extreme("one name for all", pickled(&module(&entries)));
    // Names that are long by being nested.
    let mut nested = one.clone();
    for _ in 0..300 {
        nested = dict(&[(&"\u{1}".repeat(1000), &nested)]);
    }
    let _ = extreme("long paths", pickled(&nested));
    // One set of metadata, looked through for each tensor.
    let metadata = [b"}(".to_vec(), b"NN".repeat(200_000), b"u".to_vec()].concat();
    let with_metadata = [&one[..one.len() - 2], &[&metadata[..], b"tR"].concat()].concat();
    let _ = extreme("metadata", pickled(&many_times(&with_metadata, count)));
    // A deep list, and at its end many tensors.
    let mut deep = many_times(&one, 90_000);
    deep.extend(b"\x85".repeat(500));
    let _ = extreme("tensors far down", pickled(&deep));
}

#[test]
fn names_of_classes_and_storages() {
    let _alone = alone();
    // A long module with many short names.
    let long = text(&"m".repeat(1000));
    let mut globals = [&b"]("[..], &long, b"q\x00"].concat();
    for n in 0..300_000 {
        globals.extend([b"h\x00", &text(&format!("{n}"))[..], b"\x93"].concat());
    }
    globals.push(b'e');
    let _ = extreme("globals", pickled(&globals));
    let longer = text(&"m".repeat(1 << 20));
    let mut globals = [&b"]("[..], &longer, b"q\x00"].concat();
    for n in 0..2000 {
        globals.extend([b"h\x00", &text(&format!("{n}"))[..], b"\x93"].concat());
    }
    globals.push(b'e');
    extreme("longer globals", pickled(&globals)).unwrap_err();
    // Storages on a device with a long name.
    for length in [10, limits::STORAGE_KEY, 1 << 20] {
        let mut storages = [
            &b"]("[..],
            &text(&"d".repeat(length)),
            b"q\x00",
            &text("storage"),
            b"q\x01",
            &global("torch", "FloatStorage"),
            b"q\x02",
        ]
        .concat();
        for n in 0..200_000 {
            let key = text(&format!("{n}"));
            storages.extend([b"(h\x01h\x02", &key[..], b"h\x00K\x01tQ"].concat());
        }
        storages.push(b'e');
        let name = format!("storages on a device of {length} letters");
        extreme(&name, pickled(&storages)).unwrap_err();
    }
    // A long text where `storage` should stand, which is compared each time.
    let long = [&text(&"s".repeat(1 << 20))[..], b"NNNNt"].concat();
    let mut storages = [&b"](("[..], &long, b"q\x00"].concat();
    storages.extend(b"h\x00Q".repeat(400_000));
    storages.push(b'e');
    let _ = extreme("no storages", pickled(&storages));
    // Pairs of an ordered dict, given to many calls; the last is no pair.
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(300_000), b"Ne".to_vec()].concat();
    let call = global("collections", "OrderedDict");
    let mut calls = [&call[..], b"q\x010", &pairs, b"\x85q\x000]("].concat();
    calls.extend(b"h\x01h\x00R".repeat(100_000));
    calls.push(b'e');
    let _ = extreme("ordered dicts", pickled(&calls));
}

#[test]
fn large_files_that_mean_well_are_read() {
    let _alone = alone();
    // A vocabulary both ways, as torchtext keeps it: the words of GloVe.
    const WORDS: u32 = 400_000;
    let mut list = b"](".to_vec();
    let mut map = b"}(".to_vec();
    for n in 0..WORDS {
        list.extend(text(&format!("w{n}")));
        list.extend([b"r", &n.to_le_bytes()[..]].concat());
        map.extend([b"j", &n.to_le_bytes()[..], b"J", &n.to_le_bytes()].concat());
    }
    list.push(b'e');
    map.push(b'u');
    let vocabulary = dict(&[("itos", &list), ("stoi", &map)]);
    let checkpoint = extreme("vocabulary", pickled(&vocabulary)).unwrap();
    let words = checkpoint.json("stoi").unwrap();
    assert_eq!(words["w399999"], 399_999);
    assert_eq!(checkpoint.json("itos").unwrap()[7], "w7");
}

#[test]
fn headers_and_directories_without_end() {
    let _alone = alone();
    let shape = format!("[{}1]", "1,".repeat(4_000_000));
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":[0,1]}}}}"#);
    extreme("a shape", safetensors(&header, &[0])).unwrap_err();
    let entries = |count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
            .collect();
        format!("{{{}}}", entries.join(","))
    };
    let file = safetensors(&entries(limits::TENSORS), &[]);
    extreme("100k tensors", file).unwrap();
    let file = safetensors(&entries(limits::TENSORS + 1), &[]);
    extreme("more tensors", file).unwrap_err();
    let note = "\\u0001".repeat(2_000_000);
    let header = format!(r#"{{"__metadata__":{{"note":"{note}"}}}}"#);
    extreme("metadata", safetensors(&header, &[])).unwrap();
    let notes: Vec<String> = (0..=limits::SAFETENSORS_METADATA)
        .map(|n| format!(r#""{n}":"""#))
        .collect();
    let header = format!(r#"{{"__metadata__":{{{}}}}}"#, notes.join(","));
    extreme("much metadata", safetensors(&header, &[])).unwrap_err();

    // More than 65535 members need the 64-bit end record.
    let torch = |count: usize| {
        let mut members = members(&pickle(b"}"), &[]);
        members.extend((0..count).map(|n| Member::new(&format!("archive/{n}"), [])));
        zip64(&members)
    };
    extreme("100k members", torch(100_000)).unwrap();
    extreme("200k members", torch(limits::ZIP_MEMBERS - 3)).unwrap();
    extreme("more members", torch(limits::ZIP_MEMBERS)).unwrap_err();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }\n";
    let arrays: Vec<Member> = (0..100_000)
        .map(|n| Member::new(&format!("{n}.npy"), npy(header, &[])))
        .collect();
    extreme("100k arrays", zip64(&arrays)).unwrap();
}
