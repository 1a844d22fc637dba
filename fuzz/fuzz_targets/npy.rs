//! See `adautomix_datasets::fuzzing::npy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adautomix_datasets::fuzzing::npy(bytes));
