//! What clients send who want one request to be read as two, or one path as another, and what becomes of it: raw bytes
//! of one connection with their outcome. Every proxy test may include this file.

/// One connection.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) sent: Vec<u8>,
    /// The requests that reach a backend, in order. One whose body is refused may reach it too, but cut off.
    pub(crate) served: Vec<Served>,
    /// The status of the answer after which the connection is closed, if the client is at fault.
    pub(crate) refused: Option<u16>,
}

/// A request as the backend gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) method: &'static str,
    /// The target in origin form, as the client wrote it.
    pub(crate) target: &'static str,
    /// The path by which its route is chosen.
    pub(crate) matched: &'static str,
    pub(crate) body: &'static [u8],
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const FOLLOWING: Served = served("GET", "/next", "/next", b"");

const fn served(
    method: &'static str,
    target: &'static str,
    matched: &'static str,
    body: &'static [u8],
) -> Served {
    Served {
        method,
        target,
        matched,
        body,
    }
}

/// Every case. What follows a refused request on its connection is never served.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let heads = FIELDS.iter().map(|&(name, fields)| {
        let sent = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        (name, sent, 400)
    });
    let chunks = CHUNKS.iter().map(|&(name, body)| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        (name, format!("{head}{body}{SMUGGLED}"), 400)
    });
    let lines = LINES
        .iter()
        .map(|&(name, sent)| (name, format!("{sent}{SMUGGLED}"), 400));
    let hosts = HOSTS.iter().map(|&(name, target, host)| {
        (
            name,
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n{SMUGGLED}"),
            400,
        )
    });
    let paths = PATHS_REFUSED.iter().map(|&(name, path)| {
        (
            name,
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}"),
            400,
        )
    });
    let refused = heads
        .chain(chunks)
        .chain(lines)
        .chain(hosts)
        .chain(paths)
        .chain(too_large());
    cases.extend(refused.map(|(name, sent, status)| Case {
        name,
        sent: sent.into_bytes(),
        served: Vec::new(),
        refused: Some(status),
    }));
    cases.extend(SERVED.iter().map(|&(name, sent, request)| Case {
        name,
        sent: format!("{sent}GET /next HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        served: vec![request, FOLLOWING],
        refused: None,
    }));
    cases.extend(PATHS_SERVED.iter().map(|&(name, target, matched)| Case {
        name,
        sent: format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        served: vec![served("GET", target, matched, b"")],
        refused: None,
    }));
    cases.push(Case {
        name: "a refused request after one in order",
        sent: format!("GET /next HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n{SMUGGLED}")
            .into(),
        served: vec![FOLLOWING],
        refused: Some(400),
    });
    cases
}

fn too_large() -> [(&'static str, String, u16); 4] {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    [
        (
            "a target of 64 KiB",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(64 << 10)),
            414,
        ),
        (
            "a field of 64 KiB",
            format!("{head}X: {}\r\n\r\n", "a".repeat(64 << 10)),
            431,
        ),
        (
            "65 fields of 1 KiB",
            format!(
                "{head}{}\r\n",
                format!("X: {}\r\n", "a".repeat(1 << 10)).repeat(65)
            ),
            431,
        ),
        (
            "101 fields",
            format!("{head}{}\r\n", "X: y\r\n".repeat(100)),
            431,
        ),
    ]
}

/// Field lines of a POST whose body is the last chunk and then a request.
const FIELDS: &[(&str, &str)] = &[
    ("CL.TE", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
    (
        "CL.TE with a Content-Length of zero",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ),
    (
        "TE.TE",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ),
    (
        "TE.TE with identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ),
    ("xchunked", "Transfer-Encoding: xchunked"),
    (
        "chunked behind a vertical tab",
        "Transfer-Encoding: \x0bchunked",
    ),
    ("chunked, identity", "Transfer-Encoding: chunked, identity"),
    ("identity, chunked", "Transfer-Encoding: identity, chunked"),
    ("gzip, chunked", "Transfer-Encoding: gzip, chunked"),
    ("identity", "Transfer-Encoding: identity"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\""),
    ("chunked with a parameter", "Transfer-Encoding: chunked;q=1"),
    ("an empty Transfer-Encoding", "Transfer-Encoding:"),
    ("a space before the colon", "Transfer-Encoding : chunked"),
    ("a tab before the colon", "Transfer-Encoding\t: chunked"),
    ("a space before the name", " Transfer-Encoding: chunked"),
    (
        "a folded Transfer-Encoding",
        "Transfer-Encoding:\r\n chunked",
    ),
    ("a folded field", "X: y\r\n\tz\r\nContent-Length: 5"),
    (
        "a line feed alone before Transfer-Encoding",
        "X: y\nTransfer-Encoding: chunked",
    ),
    (
        "a carriage return alone before Transfer-Encoding",
        "X: y\rTransfer-Encoding: chunked",
    ),
    (
        "a line feed within the name",
        "Transfer-Encoding\n: chunked",
    ),
    ("NUL within the name", "Transfer-\0Encoding: chunked"),
    ("NUL within a value", "X: \0\r\nContent-Length: 5"),
    (
        "a control character within a value",
        "X: \x01\r\nContent-Length: 5",
    ),
    ("DEL within a value", "X: \x7f\r\nContent-Length: 5"),
    ("an empty name", ": x\r\nContent-Length: 5"),
    ("a line without colon", "Transfer-Encoding chunked"),
    (
        "equal Content-Lengths",
        "Content-Length: 5\r\nContent-Length: 5",
    ),
    (
        "different Content-Lengths",
        "Content-Length: 5\r\nContent-Length: 6",
    ),
    ("Content-Length: 5,5", "Content-Length: 5,5"),
    ("Content-Length: 5, 6", "Content-Length: 5, 6"),
    ("Content-Length: +5", "Content-Length: +5"),
    ("Content-Length: -5", "Content-Length: -5"),
    ("Content-Length: 0x5", "Content-Length: 0x5"),
    ("Content-Length: 5 5", "Content-Length: 5 5"),
    ("Content-Length: 5.0", "Content-Length: 5.0"),
    ("Content-Length: 1e1", "Content-Length: 1e1"),
    ("an empty Content-Length", "Content-Length:"),
    (
        "a Content-Length beyond 64 bits",
        "Content-Length: 18446744073709551621",
    ),
    ("a second Host", "Host: b\r\nContent-Length: 5"),
    ("a second, equal Host", "Host: a\r\nContent-Length: 5"),
];

/// Chunked bodies.
const CHUNKS: &[(&str, &str)] = &[
    (
        "a chunk size of 17 digits",
        "00000000000000005\r\nabcde\r\n0\r\n\r\n",
    ),
    (
        "a chunk size beyond 64 bits",
        "10000000000000005\r\nabcde\r\n0\r\n\r\n",
    ),
    ("a chunk size in 0x notation", "0x5\r\nabcde\r\n0\r\n\r\n"),
    ("a signed chunk size", "+5\r\nabcde\r\n0\r\n\r\n"),
    ("a negative chunk size", "-1\r\nabcde\r\n0\r\n\r\n"),
    (
        "a chunk size with an underscore",
        "0_5\r\nabcde\r\n0\r\n\r\n",
    ),
    ("a chunk size behind a space", " 5\r\nabcde\r\n0\r\n\r\n"),
    (
        "white space behind a chunk size",
        "5 \r\nabcde\r\n0\r\n\r\n",
    ),
    ("no chunk size", "\r\nabcde\r\n0\r\n\r\n"),
    (
        "a line feed alone behind a chunk size",
        "5\nabcde\r\n0\r\n\r\n",
    ),
    (
        "a line feed alone behind an extension",
        "5;\nabcde\r\n0\r\n\r\n",
    ),
    (
        "a line feed within an extension",
        "5;a=\"\nb\"\r\nabcde\r\n0\r\n\r\n",
    ),
    (
        "a carriage return alone within an extension",
        "5;a\rb\r\nabcde\r\n0\r\n\r\n",
    ),
    ("NUL within an extension", "5;\0\r\nabcde\r\n0\r\n\r\n"),
    ("data longer than the chunk", "5\r\nabcdef\r\n0\r\n\r\n"),
    ("data ended by a line feed alone", "5\r\nabcde\n0\r\n\r\n"),
    ("data ended by nothing", "5\r\nabcde0\r\n\r\n"),
    ("data ended by two other bytes", "5\r\nabcdeXX0\r\n\r\n"),
    ("a request right behind the last chunk", "0\r\n"),
    (
        "a trailer section ended by a line feed alone",
        "0\r\nX: y\r\n\n",
    ),
    ("a trailer that frames", "0\r\nContent-Length: 40\r\n\r\n"),
    (
        "a trailer that chunks",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("a trailer that routes", "0\r\nHost: b\r\n\r\n"),
    ("a trailer that upgrades", "0\r\nUpgrade: websocket\r\n\r\n"),
    ("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
    ("a trailer without colon", "0\r\nX\r\n\r\n"),
];

/// Whole heads.
const LINES: &[(&str, &str)] = &[
    ("no Host", "GET / HTTP/1.1\r\n\r\n"),
    ("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("HTTP/0.9", "GET /\r\n"),
    ("HTTP/0.9 by name", "GET / HTTP/0.9\r\n\r\n"),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("HTTP/3", "GET / HTTP/3\r\nHost: a\r\n\r\n"),
    ("http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("HTTP/1.1 and a space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    (
        "two spaces before the target",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "two spaces before the version",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a tab before the target",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a space within the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "NUL within the target",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a method that is no token",
        "G(ET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a space before the method",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("line feeds alone", "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "a line feed alone behind the request line",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
    ),
    (
        "a line feed alone behind the head",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
    ),
    (
        "a carriage return alone behind the head",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
    ),
    ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (
        "a line feed alone before the request line",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];

/// A target and a Host.
const HOSTS: &[(&str, &str, &str)] = &[
    ("userinfo behind a port", "/", "a:80@b"),
    ("userinfo", "/", "a@b"),
    ("a space within Host", "/", "a b"),
    ("a list as Host", "/", "a, b"),
    ("a path within Host", "/", "a/b"),
    ("a port that is no number", "/", "a:http"),
    ("a port beyond 65535", "/", "a:65536"),
    ("two ports", "/", "a:80:80"),
    ("an empty label", "/", "a..b"),
    ("a percent-encoded Host", "/", "%61"),
    ("an open bracket", "/", "[::1"),
    ("an absolute target that Host contradicts", "http://b/", "a"),
    (
        "an absolute target whose port Host contradicts",
        "http://a:8080/",
        "a:8081",
    ),
    ("an absolute target with userinfo", "http://x@a/", "a"),
];

const PATHS_REFUSED: &[(&str, &str)] = &[
    ("above the root", "/../admin"),
    ("above the root behind a segment", "/a/../../admin"),
    ("above the root, encoded", "/%2e%2e/admin"),
    ("NUL, encoded", "/admin%00.png"),
    ("half an encoding", "/admin%2"),
    ("an encoding that is none", "/admin%zz"),
    ("IIS's encoding", "/%u002e%u002e/admin"),
];

const PATHS_SERVED: &[(&str, &str, &str)] = &[
    ("a parent segment", "/a/../admin", "/admin"),
    ("an encoded parent segment", "/a/%2e%2E/admin", "/admin"),
    ("a half encoded parent segment", "/a/.%2e/admin", "/admin"),
    (
        "a parent segment behind an encoded slash",
        "/a%2f../admin",
        "/admin",
    ),
    (
        "encoded twice",
        "/a/%252e%252e/admin",
        "/a/%252e%252e/admin",
    ),
    ("doubled slashes", "//admin//x", "/admin/x"),
    ("an encoded slash", "/a%2Fadmin", "/a/admin"),
    ("a current segment", "/./admin/.", "/admin/"),
    ("an encoded letter", "/%61dmin", "/admin"),
    (
        "a parameter on a parent segment",
        "/a/..;x/admin",
        "/a/..;x/admin",
    ),
    (
        "an overlong dot",
        "/a/%c0%ae%c0%ae/admin",
        "/a/%C0%AE%C0%AE/admin",
    ),
    ("backslashes", "/a/..%5cadmin", "/a/..\\admin"),
    (
        "an encoded line end",
        "/a%0d%0aHost:%20b",
        "/a%0D%0AHost: b",
    ),
    ("an encoded question mark", "/a%3fb", "/a?b"),
];

/// In order however odd: the bytes, and what a backend gets of them.
const SERVED: &[(&str, &str, Served)] = &[
    (
        "white space around a length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t3 \r\n\r\nabc",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "white space around chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "a body on GET that looks like a request (0.CL)",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        served(
            "GET",
            "/",
            "/",
            b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ),
    (
        "a chunked body on GET",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        served("GET", "/", "/", b"abc"),
    ),
    (
        "a body on HEAD",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        served("HEAD", "/", "/", b"abc"),
    ),
    (
        "Expect with the body at once",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "a name that CGI reads as Transfer-Encoding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        served("POST", "/", "/", b"0\r\n\r\n"),
    ),
    (
        "Connection names the fields that frame and route",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length\r\nContent-Length: 3\r\n\r\nabc",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "an extension with white space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \t;x=\"y\"\r\nabc\r\n0;z\r\n\r\n",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: y\r\n\r\n",
        served("POST", "/", "/", b"abc"),
    ),
    (
        "an empty line before the request",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        served("GET", "/", "/", b""),
    ),
    (
        "an upgrade that the backend does not agree to",
        "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        served("GET", "/plain", "/plain", b""),
    ),
    (
        "an absolute target that Host agrees to",
        "GET http://A:80/x HTTP/1.1\r\nHost: a\r\n\r\n",
        served("GET", "/x", "/x", b""),
    ),
    (
        "a Host in capitals with port and trailing dot",
        "GET / HTTP/1.1\r\nHost: A.:8080\r\n\r\n",
        served("GET", "/", "/", b""),
    ),
];
