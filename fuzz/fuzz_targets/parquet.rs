//! See `adautomix_datasets::fuzzing::parquet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adautomix_datasets::fuzzing::parquet(bytes));
