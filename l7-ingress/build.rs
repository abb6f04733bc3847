//! How the program is linked.

fn main() {
    // Half a megabyte of relocations becomes some kilobytes: it is read at start, so it stays in memory.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo:rerun-if-changed=build.rs");
}
