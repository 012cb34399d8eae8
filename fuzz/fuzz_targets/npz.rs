//! A `.npy` file inside a sound zip archive.
#![no_main]

use cellway_fuzz::bytes::{Member, zip};

libfuzzer_sys::fuzz_target!(|array: &[u8]| {
    cellway_fuzz::read(zip(&[Member::new("x.npy", array)]));
});
