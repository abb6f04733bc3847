#![no_main]

#[path = "../checks/certificate.rs"]
mod certificate;
#[path = "../checks/snippet.rs"]
mod snippet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| snippet::check(data));
