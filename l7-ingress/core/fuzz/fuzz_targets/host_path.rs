#![no_main]

#[path = "../checks/host_path.rs"]
mod host_path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| host_path::check(data));
