//! A pickle inside a sound zip archive with two storages.
#![no_main]

use cellway_fuzz::{bytes, read};

libfuzzer_sys::fuzz_target!(|pickle: &[u8]| {
    read(bytes::torch_zip(
        pickle,
        &[("0", &[1; 64]), ("1", &[2; 16])],
    ));
});
