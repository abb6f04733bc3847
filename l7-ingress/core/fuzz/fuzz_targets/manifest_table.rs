#![no_main]

#[path = "../checks/certificate.rs"]
mod certificate;
#[path = "../checks/manifest_table.rs"]
mod manifest_table;

libfuzzer_sys::fuzz_target!(|data: &[u8]| manifest_table::check(data));
