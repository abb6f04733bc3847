//! Replays the seeds of the fuzz targets, and whatever those once found.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use proptest::prelude::*;

#[path = "../fuzz/checks/certificate.rs"]
mod certificate;
#[path = "../fuzz/checks/client_hello.rs"]
mod client_hello;
#[path = "../fuzz/checks/head_guard.rs"]
mod head_guard;
#[path = "../fuzz/checks/host_path.rs"]
mod host_path;
#[path = "../fuzz/checks/manifest_table.rs"]
mod manifest_table;
#[path = "../fuzz/checks/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../fuzz/checks/snippet.rs"]
mod snippet;

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
fn client_hello_seeds() {
    replay("client_hello", client_hello::check);
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

#[test]
fn snippet_seeds() {
    replay("snippet", snippet::check);
}

/// Words that mean something in snippets, and some that do not.
const WORDS: &[&str] = &[
    "add_header",
    "more_set_headers",
    "more_clear_headers",
    "proxy_set_header",
    "proxy_hide_header",
    "return",
    "set",
    "rewrite",
    "break",
    "if",
    "allow",
    "deny",
    "expires",
    "X-A",
    "X-*",
    "Content-Length",
    "Host",
    "'X-A: $a'",
    "-s",
    "-t",
    "404",
    "200",
    "301",
    "302",
    "always",
    "last",
    "permanent",
    "redirect",
    "all",
    "127.0.0.1",
    "$a",
    "$b",
    "$1",
    "$uri",
    "$args",
    "$http_x_odd",
    "$request_uri",
    "${host}",
    "$arg_q",
    "$upstream_http_x",
    "$status",
    "$request_id",
    "^/s(.*)$",
    "(.*)",
    "/s/$1",
    "/$1?$args",
    "https://b.test/$1",
    "..",
    "\"$a$a$a$a$a$a\"",
    "\"a\\nb\"",
    "($a",
    "($uri",
    "=",
    "~",
    "!~*",
    ")",
    "x)",
    "{",
    "}",
    ";",
    "#",
    "\n",
    "proxy_pass",
];

proptest! {
    #[test]
    fn a_changed_hello_says_one_thing(
        changes in proptest::collection::vec((0..400_usize, any::<u8>()), 0..4),
        end in 0..400_usize,
    ) {
        for seed in ["named", "cut"] {
            let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/client_hello").join(seed);
            let mut hello = fs::read(seed).expect("a seed can be read");
            for (place, byte) in &changes {
                if let Some(changed) = hello.get_mut(*place) {
                    *changed = *byte;
                }
            }
            hello.truncate(end.max(200));
            client_hello::check(&hello);
        }
    }

    #[test]
    fn any_snippet_ends_and_keeps_fields_whole(
        path in "/s?[/a-z.%2e0d?&=é]{0,12}",
        server in proptest::collection::vec(proptest::sample::select(WORDS), 0..24),
        location in proptest::collection::vec(proptest::sample::select(WORDS), 0..24),
    ) {
        let text = format!("{path}\n---\n{}\n---\n{}", server.join(" "), location.join(" "));
        snippet::check(text.as_bytes());
    }

    #[test]
    fn any_script_ends_and_keeps_fields_whole(
        path in "/s/[a-z.%2e0d?&=]{0,12}",
        server in proptest::collection::vec(proptest::sample::select(LINES), 0..6),
        location in proptest::collection::vec(proptest::sample::select(LINES), 0..6),
    ) {
        let text = format!("{path}\n---\n{}\n---\n{}", server.join("\n"), location.join("\n"));
        snippet::check(text.as_bytes());
    }
}

/// Whole directives, all of them in order.
const LINES: &[&str] = &[
    "set $a \"$a$b$uri$args$http_x_odd\";",
    "set $b \"$a$a$a$a$a$a$a$a\";",
    "set $args \"$a&$args\";",
    "rewrite ^/s(.*)$ /s/$1$a last;",
    "rewrite ^/(.*)$ /$1/x break;",
    "rewrite (.)(.)$ $1 ;",
    "rewrite . /s/..$1 ;",
    "rewrite ^ https://b.test/$uri?$a redirect;",
    "rewrite /s/(.*) /$1? permanent;",
    "break;",
    "return 302 $request_uri;",
    "return 200 \"$a\\n$b\";",
    "return 301 \"$a\";",
    "return 403;",
    "if ($uri ~ /s/(?<c>.*)) { set $b $c; }",
    "if ($a = $b) { rewrite ^ /$args break; }",
    "if ($arg_q) { return 204; }",
    "if ($http_x_odd !~* \"(!)\") { break; }",
    "add_header X-A \"$a$b$1\" always;",
    "add_header ETag $b;",
    "more_set_headers \"X-C: $a$http_x_odd\" -s '200 302';",
    "expires -1;",
    "default_type $a;",
    "proxy_set_header X-T \"$a$b$status\";",
    "proxy_set_header Host $a;",
    "proxy_hide_header Content-Type;",
    "add_header X-L \"$upstream_http_content_type$sent_http_x_c$upstream_addr\";",
    "deny 127.0.0.1;",
    "set $b '';",
];
