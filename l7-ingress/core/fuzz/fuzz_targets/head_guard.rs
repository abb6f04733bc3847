#![no_main]

#[path = "../checks/head_guard.rs"]
mod head_guard;

libfuzzer_sys::fuzz_target!(|data: &[u8]| head_guard::check(data));
