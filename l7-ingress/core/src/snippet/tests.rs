//! Which texts are read, and what is said of the others.

use super::*;

fn fault(level: Level, text: &str) -> String {
    match Snippet::read(level, text, &[]) {
        Ok(snippet) => format!("read: {snippet:?}"),
        Err(fault) => fault.to_string(),
    }
}

/// What is refused, and why.
#[rustfmt::skip]
const OUTSIDE: &[(&str, &str)] = &[
    (
        "add_header A b;\n\nproxy_pass http://x;",
        "line 3: proxy_pass: is not read here: the path's Service is where requests go",
    ),
    (
        "location /x { return 200; }",
        "line 1: location: is not read here: paths are for the rules of an Ingress",
    ),
    (
        "access_by_lua_block { ngx.exit(1); }",
        "line 1: access_by_lua_block: is not read here: no code is run",
    ),
    (
        "nonsense on;",
        "line 1: nonsense: is not one of the directives that are read here",
    ),
    (
        "add_header A b; }\nlocation / {",
        "line 1: \"}\" closes nothing",
    ),
    (
        "add_header A;",
        "line 1: add_header: a name, a value and perhaps \"always\" expected",
    ),
    (
        "add_header A b sometimes;",
        "line 1: add_header: a name, a value and perhaps \"always\" expected",
    ),
    (
        "add_header 'A B' c;",
        "line 1: add_header: \"A B\" is no field name",
    ),
    (
        "add_header A$x c;",
        "line 1: add_header: \"A$x\" is no field name",
    ),
    (
        "add_header A \"b\\nC: d\";",
        "line 1: add_header: \"b\\nC: d\" holds what no field may",
    ),
    (
        "add_header A $x;",
        "line 1: add_header: $x is no variable that is known here",
    ),
    (
        "add_header Transfer-Encoding chunked;",
        "line 1: add_header: Transfer-Encoding is for the proxy to set",
    ),
    (
        "more_set_headers -x 'A: b';",
        "line 1: more_set_headers: the option -x is not known; -s and -t are",
    ),
    (
        "more_set_headers -s 404;",
        "line 1: more_set_headers: a field is expected",
    ),
    (
        "more_set_headers -s;",
        "line 1: more_set_headers: a list is expected after -s",
    ),
    (
        "more_set_headers -s 4x4 'A: b';",
        "line 1: more_set_headers: \"4x4\" is no status",
    ),
    (
        "more_clear_headers 'Content-Length';",
        "line 1: more_clear_headers: Content-Length is for the proxy to set",
    ),
    (
        "proxy_set_header Content-Length 5;",
        "line 1: proxy_set_header: Content-Length is for the proxy to set",
    ),
    (
        "proxy_set_header Connection close;",
        "line 1: proxy_set_header: Connection is for the proxy to set",
    ),
    (
        "proxy_set_header Host 'a b';",
        "line 1: proxy_set_header: \"a b\": ",
    ),
    (
        "return 999;",
        "line 1: return: 999 is no status between 200 and 599",
    ),
    ("return 301;", "line 1: return: a URL expected"),
    (
        "return /x;",
        "line 1: return: \"/x\" is neither a status nor a URL",
    ),
    (
        "return 301 \"x\\ry\";",
        "line 1: return: \"x\\ry\" holds what no field may",
    ),
    (
        "set host x;",
        "line 1: set: \"host\" is no variable; one begins with $",
    ),
    ("set $host x;", "line 1: set: $host is not to be set"),
    ("set $a;", "line 1: set: a variable and a value expected"),
    (
        "rewrite ^(a /b;",
        "line 1: rewrite: \"^(a\" cannot be matched: ",
    ),
    (
        "rewrite a /b forever;",
        "line 1: rewrite: \"forever\" is none of last, break, redirect and permanent",
    ),
    (
        "if ($a) { return 200; }",
        "line 1: if: $a is no variable that is known here",
    ),
    (
        "if $host { return 200; }",
        "line 1: if: a condition in ( ) expected",
    ),
    (
        "if ($host == x) { return 200; }",
        "line 1: if: \"==\" is none of =, !=, ~, ~*, !~ and !~*",
    ),
    (
        "if ($host !!= x) { return 200; }",
        "line 1: if: \"!!=\" is none of =, !=, ~, ~*, !~ and !~*",
    ),
    (
        "if (-f /etc) { return 200; }",
        "line 1: if: tests of files are not done here",
    ),
    ("if ($host) return;", "line 1: if: a block in { } expected"),
    (
        "if ($host) {\n if ($host) { return 200; } }",
        "line 2: if: stands in another if",
    ),
    (
        "if ($host) { proxy_set_header A b; }",
        "line 1: proxy_set_header: is not for an if",
    ),
    (
        "if ($host) { proxy_pass http://x; }",
        "line 1: proxy_pass: is not read here: ",
    ),
    (
        "if () { return 200; }",
        "line 1: if: a condition in ( ) expected",
    ),
    (
        "if ) { return 200; }",
        "line 1: if: a condition in ( ) expected",
    ),
    (
        "allow here;",
        "line 1: allow: \"here\" is neither an address nor a network nor \"all\"",
    ),
    (
        "expires soon;",
        "line 1: expires: \"soon\" is neither a time nor epoch, max or off",
    ),
    (
        "proxy_read_timeout 0;",
        "line 1: proxy_read_timeout: \"0\" is no time",
    ),
    (
        "proxy_buffering maybe;",
        "line 1: proxy_buffering: \"maybe\" is not on or off",
    ),
    (
        "access_log /tmp/x;",
        "line 1: access_log: off is all that it can be here",
    ),
    ("add_header A b { }", "line 1: add_header: "),
];

#[test]
fn what_is_outside_is_named_with_its_line() {
    for (text, want) in OUTSIDE {
        let got = fault(Level::Location, text);
        assert!(got.starts_with(want), "{text}: {got}");
    }
}

#[test]
fn levels_have_what_is_theirs() {
    for (level, text, want) in [
        (
            Level::Http,
            "set $a b;",
            "line 1: set: belongs into a server or a location",
        ),
        (
            Level::Server,
            "access_log off;",
            "line 1: access_log: belongs into a configuration-snippet here",
        ),
        (
            Level::Server,
            "more_set_input_headers 'A: b';",
            "line 1: more_set_input_headers: belongs into",
        ),
        (
            Level::Server,
            "if ($host) { add_header A b; }",
            "line 1: add_header: is not for an if of a server",
        ),
    ] {
        let got = fault(level, text);
        assert!(got.starts_with(want), "{text}: {got}");
    }
    let server = Snippet::read(Level::Server, "\nproxy_read_timeout 5;", &[]).unwrap();
    let idle: Vec<_> = server.idle().map(Fault::to_string).collect();
    assert_eq!(
        idle,
        ["line 2: proxy_read_timeout: has no effect here: every path says it of itself"]
    );
}

#[test]
fn variables_of_outer_snippets_are_known() {
    let server = Snippet::read(
        Level::Server,
        "if ($host ~ '^(?<site>.)') { set $b c; }",
        &[],
    )
    .unwrap();
    let text = "add_header A $site$b;";
    assert!(Snippet::read(Level::Location, text, &[&server]).is_ok());
    assert!(Snippet::read(Level::Location, text, &[]).is_err());
}

#[test]
fn a_text_in_two_is_the_text_in_one() {
    let parts = [
        "add_header A b; if ($host) { add_header C d; set $e f; }",
        "deny 10.0.0.1; if ($scheme) { more_set_headers 'G: h'; } expires 5;",
    ];
    let read = |text: &str| Snippet::read(Level::Location, text, &[]).unwrap();
    assert_eq!(
        read(parts[0]).then(&read(parts[1])),
        read(&parts.join("\n"))
    );
}
