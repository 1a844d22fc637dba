//! See `adautomix_datasets::fuzzing::cifar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adautomix_datasets::fuzzing::cifar(bytes));
