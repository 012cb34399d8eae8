//! Any file; those that start as zip archives are the ones that get far.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| cellway_fuzz::read(file.to_vec()));
