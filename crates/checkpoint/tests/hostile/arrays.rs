//! Arrays of NumPy.

use super::*;

#[test]
fn an_array_of_numpys_that_is_none() {
    let array = |header: &str, data: &[u8]| zip(&[Member::new("x.npy", npy(header, data))]);
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
    };
    let data = 35;
    let bad = ParseErrorKind::Malformed;
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
        ("'=f4'", "a type that torch has not"),
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

#[test]
fn one_suffix_of_a_name_is_numpys() {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }\n";
    let member = |name: &str, byte| Member::new(name, npy(header, &[byte]));
    let checkpoint = open(&zip(&[member("a.npy", 1), member("a.npy.npy", 2)])).unwrap();
    assert_eq!(checkpoint.bytes("a").unwrap()[..], [1]);
    assert_eq!(checkpoint.bytes("a.npy").unwrap()[..], [2]);
}
