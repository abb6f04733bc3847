//! Replays the seeds of the fuzz targets, and whatever those once found.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

#[path = "../fuzz/checks/head_guard.rs"]
mod head_guard;
#[path = "../fuzz/checks/host_path.rs"]
mod host_path;
#[path = "../fuzz/checks/manifest_table.rs"]
mod manifest_table;
#[path = "../fuzz/checks/proxy_protocol.rs"]
mod proxy_protocol;

fn replay(target: &str, check: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(seeds).expect("every target has seeds");
    let paths: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .collect();
    assert!(!paths.is_empty());
    for path in paths {
        let mut seed = Vec::new();
        let mut file = File::open(path).expect("a seed is a file");
        file.read_to_end(&mut seed).expect("a seed can be read");
        check(&seed);
    }
}

#[test]
fn head_guard_seeds() {
    replay("head_guard", head_guard::check);
}

#[test]
fn host_path_seeds() {
    replay("host_path", host_path::check);
}

#[test]
fn manifest_table_seeds() {
    replay("manifest_table", manifest_table::check);
}

#[test]
fn proxy_protocol_seeds() {
    replay("proxy_protocol", proxy_protocol::check);
}
