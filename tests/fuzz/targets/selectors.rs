#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fdi_operator::fuzz::selector(data));
