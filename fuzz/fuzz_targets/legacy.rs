//! What stands behind the first three pickles of a file of torch before 1.6.
#![no_main]

use cellway_fuzz::{bytes, read};

libfuzzer_sys::fuzz_target!(|rest: &[u8]| {
    read([&bytes::legacy_start(true)[..], rest].concat());
});
