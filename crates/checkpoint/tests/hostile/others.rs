//! Files of another kind, and files that end early.

use super::*;

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
        refused_at(file, ParseErrorKind::NotACheckpoint, 0, says);
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
