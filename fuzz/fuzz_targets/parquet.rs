//! See `adautomix_datasets::fuzzing::parquet`.
#![no_main]

// The crate `parquet` panics at some damaged files, and what calls it makes an error of that. Without this hook
// libFuzzer would stop there; at a panic that nobody catches it stops all the same.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| ())),
    |bytes: &[u8]| adautomix_datasets::fuzzing::parquet(bytes)
);
