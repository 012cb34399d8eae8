//! Pickles that ask for calls, for too much, or for what is not there.

use super::*;

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
fn what_is_put_into_a_container_of_any_class_stays_in_it() {
    let storage = storage("FloatStorage", "0", 4);
    let x = tensor(&storage, 0, &[4], &[1]);
    let new = |class: &str| [global("m", class), b")\x81".to_vec()].concat();
    let entries = |value: &[u8]| [&b"("[..], &text("x"), value, b"u"].concat();
    let names = |value: Vec<u8>| {
        let file = torch_zip(&pickle(&dict(&[("a", &value)])), &[("0", &floats())]);
        let checkpoint = open(&file).unwrap();
        assert!(checkpoint.refused().is_empty());
        let tensors = checkpoint.tensors().iter();
        let names: Vec<String> = tensors.map(|tensor| tensor.name.clone()).collect();
        for name in &names {
            assert_eq!(checkpoint.bytes(name).unwrap(), floats());
        }
        names
    };
    // A subclass of dict, all at once and one by one.
    assert_eq!(names([new("Dict"), entries(&x)].concat()), ["a.x"]);
    let one = [new("Dict"), text("x"), x.clone(), b"s".to_vec()].concat();
    assert_eq!(names(one), ["a.x"]);
    // Whose entries are attributes, too: kept once, and what else it has.
    let memo = [x.clone(), b"q\x07".to_vec()].concat();
    let state = [&b"}("[..], &text("x"), b"h\x07", &text("y"), &x, b"ub"].concat();
    let both = [new("EasyDict"), entries(&memo), state].concat();
    assert_eq!(names(both), ["a.x", "a.y"]);
    // An attribute of another name that is the same tensor.
    let memo = [x.clone(), b"q\x07".to_vec()].concat();
    let state = [&b"}"[..], &text("y"), b"h\x07sb"].concat();
    let other = [new("EasyDict"), entries(&memo), state].concat();
    assert_eq!(names(other), ["a.x", "a.y"]);
    let own = [
        new("AttrDict"),
        b"q\x08".to_vec(),
        entries(&x),
        b"h\x08b".to_vec(),
    ]
    .concat();
    assert_eq!(names(own), ["a.x"]);
    // An attribute of an ordered dict.
    let ordered = call("collections", "OrderedDict", &[]);
    let state = [&b"}"[..], &text("y"), &x, b"sb"].concat();
    assert_eq!(
        names([ordered, entries(&x), state].concat()),
        ["a.y", "a.x"]
    );
    let ordered = call("collections", "OrderedDict", &[]);
    let state = [&b"N"[..], &x, b"\x86b"].concat();
    assert_eq!(names([ordered, state].concat()), ["a.state[1]"]);
    // Of list, in either way, and a deque.
    let all = [
        new("List"),
        b"(".to_vec(),
        x.clone(),
        x.clone(),
        b"e".to_vec(),
    ]
    .concat();
    assert_eq!(names(all), ["a[0]", "a[1]"]);
    let deque = call("collections", "deque", &[b")".to_vec(), b"N".to_vec()]);
    assert_eq!(names([deque, x, b"a".to_vec()].concat()), ["a[0]"]);
}

#[test]
fn a_memo_bomb() {
    // `LONG_BINPUT` of an index of 4 billion would take 32 GB.
    let bomb = b"]r\xff\xff\xff\xff";
    let at = PICKLE + 3;
    refused_at(
        &with_value(bomb),
        ParseErrorKind::TooLarge,
        at,
        "a memo of more",
    );
    // Below the limit for the index, but not for its memory.
    let index = (limits::PICKLE_MEMO as u32 - 1).to_le_bytes();
    let values = b"N".repeat(1_400_000);
    let bomb = [b"]r", &index[..], b"(", &values, b"1"].concat();
    refused(
        &with_value(&bomb),
        ParseErrorKind::TooLarge,
        "bytes of memory",
    );
}

#[test]
fn two_million_nested_tuples() {
    let bomb = [b"N".to_vec(), b"\x85".repeat(2_000_000)].concat();
    let kind = ParseErrorKind::TooLarge;
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
    refused(&with_value(&many), ParseErrorKind::TooLarge, says);
    // Operations that take no memory.
    let many = b"\x80\x02".repeat(limits::PICKLE_OPERATIONS);
    let says = "more than 10000000 operations";
    refused(&with_value(&many), ParseErrorKind::TooLarge, says);
}

#[test]
fn lengths_that_are_longer_than_the_file() {
    let four_gib = 0xffff_fff0u32.to_le_bytes();
    for operation in [b'X', b'B'] {
        let value = [&[operation], &four_gib[..]].concat();
        let says = "4294967280 bytes wanted";
        refused_at(
            &with_value(&value),
            ParseErrorKind::Truncated,
            PICKLE + 2,
            says,
        );
    }
    for operation in [0x8d, 0x8e, 0x96, 0x95] {
        let value = [&[operation], &u64::MAX.to_le_bytes()[..]].concat();
        let says = "18446744073709551615 bytes wanted";
        refused_at(
            &with_value(&value),
            ParseErrorKind::Truncated,
            PICKLE + 2,
            says,
        );
    }
    for (operation, what) in [(b'T', "a string"), (0x8b, "a number")] {
        let value = [&[operation], &(-1i32).to_le_bytes()[..]].concat();
        let says = format!("{what} of negative length");
        refused_at(
            &with_value(&value),
            ParseErrorKind::Malformed,
            PICKLE + 2,
            &says,
        );
    }
}

#[test]
fn a_string_that_is_too_long() {
    let value = text(&"x".repeat(limits::PICKLE_STRING + 1));
    refused_at(
        &with_value(&value),
        ParseErrorKind::TooLarge,
        PICKLE + 2,
        "a string of 1048577 bytes",
    );
}

#[test]
fn names_of_classes_that_are_too_long() {
    let long = "x".repeat(1025);
    for (module, name) in [("m", &long[..]), (&long, "n")] {
        let value = [text(module), text(name), b"\x93".to_vec()].concat();
        let says = "a name is longer than 1024 bytes";
        refused(&with_value(&value), ParseErrorKind::TooLarge, says);
    }
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
    refused(&file, ParseErrorKind::TooLarge, says);
    // Without a tensor in it nobody looks, until somebody wants it as JSON.
    let file = with_value(&dict(&[("v", &lists_twice(60, b"N"))]));
    let checkpoint = open(&file).unwrap();
    let error = checkpoint.json("v").unwrap_err();
    let Error::Parse { error, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind, ParseErrorKind::TooLarge);
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
    refused(&file, ParseErrorKind::TooLarge, "nested deeper than 512");
}

#[test]
fn pickles_that_no_python_would_write() {
    let bad = ParseErrorKind::Malformed;
    let no = ParseErrorKind::Unsupported;
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
        ParseErrorKind::Malformed,
        PICKLE + 4,
        "bytes behind the end of a pickle",
    );
}

#[test]
fn a_pickle_that_ends_early() {
    refused_at(
        &torch_zip(b"\x80\x02}", &[]),
        ParseErrorKind::Truncated,
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
    refused_at(&file, ParseErrorKind::Malformed, PICKLE, "has a key twice");
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
fn names_that_are_too_long_together() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let name = text(&"k".repeat(60_000));
    let first = [&b"}"[..], &name, b"q\x01", &one, b"s"].concat();
    let again = [&b"}h\x01"[..], &one, b"s"].concat();
    let list = [&b"]("[..], &first, &again.repeat(150), b"e"].concat();
    let file = torch_zip(&pickle(&list), &[("0", &floats())]);
    let says = "its names have more than 16777216 bytes";
    refused(&file, ParseErrorKind::TooLarge, says);
}

#[test]
fn too_many_values_beside_a_tensor() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let values = b"N".repeat(limits::TENSORS + 1);
    let list = [&b"]("[..], &one, &values, b"e"].concat();
    let file = torch_zip(&pickle(&list), &[("0", &floats())]);
    let says = "has more than 100000 tensors or values";
    refused(&file, ParseErrorKind::TooLarge, says);
}

#[test]
fn a_name_that_is_too_long() {
    let one = tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
    let long = "k".repeat(limits::NAME + 1);
    let file = torch_zip(&pickle(&dict(&[(&long, &one)])), &[("0", &floats())]);
    refused_at(
        &file,
        ParseErrorKind::TooLarge,
        PICKLE,
        "a name of 65537 bytes",
    );
}
