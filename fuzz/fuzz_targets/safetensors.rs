//! A header of safetensors, up to the first line break, and the data behind it.
#![no_main]

use cellway_fuzz::read;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // The length fits, or nothing behind it would ever be read.
    let header = input.iter().position(|&byte| byte == b'\n');
    let length = header.unwrap_or(input.len()) as u64;
    let data = &input[header.map_or(input.len(), |at| at + 1)..];
    let header = &input[..length as usize];
    read([&length.to_le_bytes()[..], header, data].concat());
});
