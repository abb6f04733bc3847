#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count in small numbers"
)]

use super::*;

fn guard() -> HeadGuard {
    HeadGuard::new(Limits::default())
}

fn refuse(at: usize, why: Violation) -> Scan {
    Scan::Refuse { at, why }
}

/// Scans at once and byte by byte; both must find `expect`.
fn check_with(limits: Limits, bytes: &[u8], expect: Scan) {
    let shown = bytes.escape_ascii().to_string();
    assert_eq!(HeadGuard::new(limits).scan(bytes), expect, "{shown}");
    let mut guard = HeadGuard::new(limits);
    let found = bytes
        .iter()
        .enumerate()
        .map(|(i, byte)| match guard.scan(&[*byte]) {
            Scan::Pass => Scan::Pass,
            Scan::Pause { at } => Scan::Pause { at: at + i },
            Scan::Refuse { at, why } => refuse(at + i, why),
        })
        .find(|scan| *scan != Scan::Pass)
        .unwrap_or(Scan::Pass);
    assert_eq!(found, expect, "byte by byte: {shown}");
}

/// `marked` holds a `^` where the violation is.
fn check_refused(marked: &str, why: Violation) {
    let at = marked.find('^').unwrap();
    let bytes = marked.replacen('^', "", 1);
    check_with(Limits::default(), bytes.as_bytes(), refuse(at, why));
}

fn check_passed(bytes: &str) {
    check_with(Limits::default(), bytes.as_bytes(), Scan::Pass);
}

#[test]
fn in_order() {
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nhOsT:a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\nX:\t\u{e4}\t \r\nY: \r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t3 \t\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\ncontent-length:0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: ChUnKeD \r\nHost: a\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\nA;x=\"y\tz\"\r\n0123456789\r\n\
         0000000000000001 \t;x\r\nX\r\n0\r\nETag: x\r\nX-Y:z\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nUpgrade: x\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHosts: a\r\nHost: a\r\nContent-Lengths: x\r\nTransfer-Encodings: y\r\n\r\n",
    ] {
        check_passed(bytes);
    }
}

#[test]
fn request_lines() {
    let why = Violation::RequestLine;
    check_refused("^ GET / HTTP/1.1\r\n", why);
    check_refused("GET^\t/ HTTP/1.1\r\n", why);
    check_refused("GET ^ / HTTP/1.1\r\n", why);
    check_refused("GET /^\t HTTP/1.1\r\n", why);
    check_refused("GET /^\r\n", why);
    check_refused("GET /^\n", why);
    check_refused("GET^\r\n", why);
    check_refused("G^(ET / HTTP/1.1\r\n", why);
    check_refused("GET /^\0 HTTP/1.1\r\n", why);
    check_refused("\r\n\r\n\r\n\r\n^\r\nGET / HTTP/1.0\r\n\r\n", why);
    check_refused(&format!("{}^A / HTTP/1.1\r\n", "A".repeat(64)), why);
    check_refused("^\nGET / HTTP/1.1\r\n", Violation::Control);
    check_refused("\r^\rGET / HTTP/1.1\r\n", Violation::Control);
    check_refused("^\0", why);
    check_refused("^\x16\x03\x01", why);
}

#[test]
fn versions() {
    let why = Violation::Version;
    check_refused("GET / HTTP/1.^2\r\n", why);
    check_refused("GET / HTTP/^2.0\r\n", why);
    check_refused("PRI * HTTP/^2.0\r\n\r\nSM\r\n\r\n", why);
    check_refused("GET / HTTP/^0.9\r\n", why);
    check_refused("GET / ^http/1.1\r\n", why);
    check_refused("GET / HTTP/1.1^ \r\n", why);
    check_refused("GET / HTTP/1.1^1\r\n", why);
    check_refused("GET / HTTP/1.1^\n", why);
    check_refused("GET / ^ HTTP/1.1\r\n", why);
    check_refused("GET / ^x HTTP/1.1\r\n", why);
    check_refused("GET / HTTP/1.1\r^\r\n", Violation::Control);
}

#[test]
fn field_lines() {
    for (line, why) in [
        ("^: a", Violation::FieldName),
        ("X^ : a", Violation::FieldName),
        ("X^\t: a", Violation::FieldName),
        ("Transfer-Encoding^ : chunked", Violation::FieldName),
        ("X^(: a", Violation::FieldName),
        ("X^\u{e4}: a", Violation::FieldName),
        ("X^ y", Violation::FieldName),
        ("X^\r\n", Violation::Control),
        ("X^\0: a", Violation::Control),
        ("^ X: a", Violation::Fold),
        ("^\tX: a", Violation::Fold),
        ("X: a\r\n^ b", Violation::Fold),
        ("X: a\r\n^\tb", Violation::Fold),
        ("X: a^\nY: b", Violation::Control),
        ("X: a\r^Y: b", Violation::Control),
        ("X: a\r^\r\nY: b", Violation::Control),
        ("X: a^\0b", Violation::Control),
        ("X: a^\x01b", Violation::Control),
        ("X: a^\x7fb", Violation::Control),
        ("X: a\r\n^\n", Violation::Control),
    ] {
        check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"), why);
    }
}

#[test]
fn hosts() {
    let why = Violation::Host;
    check_refused("GET / HTTP/1.1\r\n\r^\n", why);
    check_refused("GET / HTTP/1.1\r\nX: y\r\n\r^\n", why);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\nHost^: a\r\n\r\n", why);
    check_refused("GET / HTTP/1.0\r\nHost: a\r\nhost^: b\r\n\r\n", why);
}

#[test]
fn lengths() {
    let why = Violation::ContentLength;
    for value in [
        "^+5",
        "^-5",
        "0^x5",
        "5^,5",
        "5 ^5",
        "^",
        "5^;",
        "5^_0",
        "^\"5",
        "5^.0",
        "^,5",
        "5^\x0b",
        "922337203685477580^8",
    ] {
        check_refused(
            &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\n"),
            why,
        );
    }
    check_passed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n");
    check_refused(
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length^: 5\r\n",
        why,
    );
    check_refused(
        "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-lengtH^: 6\r\n",
        why,
    );
    check_refused(
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length^: 0\r\n",
        why,
    );
}

#[test]
fn codings() {
    let why = Violation::TransferEncoding;
    for value in [
        "^xchunked",
        "^identity",
        "chunked^, identity",
        "^identity, chunked",
        "chunked^, chunked",
        "chunke^",
    ] {
        check_refused(
            &format!("POST / HTTP/1.1\r\nTransfer-Encoding: {value}\r\n\r\n"),
            why,
        );
    }
    for value in [
        "^\"chunked\"",
        "chunked^;q=1",
        "chunked ^x",
        "chun ^ked",
        "^,chunked",
        "^",
        "^\x0bchunked",
        "chunked^\x0c",
    ] {
        check_refused(
            &format!("POST / HTTP/1.1\r\nTransfer-Encoding: {value}\r\n\r\n"),
            why,
        );
    }
    check_refused(
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding^: chunked\r\n",
        why,
    );
    check_refused(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length^: 5\r\n",
        why,
    );
    check_refused(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding^: chunked\r\n",
        why,
    );
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding^: chunked\r\n", why);
}

#[test]
fn chunks() {
    for (body, why) in [
        ("^\r\n", Violation::Chunk),
        ("^;x\r\n", Violation::Chunk),
        ("^ 5\r\n", Violation::Chunk),
        ("^+5\r\n", Violation::Chunk),
        ("^-5\r\n", Violation::Chunk),
        ("0^x5\r\n", Violation::Chunk),
        ("^g\r\n", Violation::Chunk),
        ("5^_0\r\n", Violation::Chunk),
        ("5 ^5\r\n", Violation::Chunk),
        ("5 ^\r\n", Violation::Chunk),
        ("0000000000000000^5\r\nabcde\r\n", Violation::Chunk),
        ("5^\nabcde\r\n", Violation::Chunk),
        ("5;x^\nabcde\r\n", Violation::Control),
        ("5;x\r^abcde\r\n", Violation::Control),
        ("5;x^\0\r\nabcde\r\n", Violation::Control),
        ("5;x\r^\r\nabcde\r\n", Violation::Control),
        ("5\r^xabcde\r\n", Violation::Control),
        ("5\r\nabcde^f\r\n", Violation::Chunk),
        ("5\r\nabcde^\n", Violation::Chunk),
        ("5\r\nabcde^0\r\n\r\n", Violation::Chunk),
        ("5\r\nabcde\r^0\r\n", Violation::Control),
        ("0\r\nGET^ / HTTP/1.1\r\n", Violation::FieldName),
        ("0\r\n^\n", Violation::Control),
        ("0\r\n\r^x", Violation::Control),
        ("0\r\nX: y\r\n^ z\r\n\r\n", Violation::Fold),
        ("0\r\nContent-Length^: 5\r\n\r\n", Violation::Trailer),
        (
            "0\r\ntransfer-encoding^: chunked\r\n\r\n",
            Violation::Trailer,
        ),
        ("0\r\nX: y\r\nHost^: b\r\n\r\n", Violation::Trailer),
        ("0\r\nUpgrade^: b\r\n\r\n", Violation::Trailer),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check_refused(&format!("{head}{body}"), why);
        check_refused(&format!("{head}3\r\nabc\r\n{body}"), why);
    }
}

#[test]
fn protocol_changes_pause_after_the_message() {
    for (message, held) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            "\x01\x02",
        ),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03"),
        ("CONNECT a:80 HTTP/1.0\r\n\r\n", "x"),
        (
            "POST / HTTP/1.1\r\nUpgrade:x\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "\0",
        ),
        (
            "POST / HTTP/1.1\r\nUpgrade:x\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "\0",
        ),
    ] {
        let at = message.len();
        check_with(Limits::default(), message.as_bytes(), Scan::Pause { at });
        check_with(
            Limits::default(),
            format!("{message}{held}").as_bytes(),
            Scan::Pause { at },
        );
    }
    check_passed("connect / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n");
}

#[test]
fn goes_on_when_told_that_http_follows() {
    let mut guard = guard();
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";
    assert_eq!(guard.scan(upgrade), Scan::Pause { at: upgrade.len() });
    assert_eq!(guard.scan(b"anything"), Scan::Pause { at: 0 });
    assert_eq!(guard.scan(b""), Scan::Pause { at: 0 });
    guard.resume_http();
    assert_eq!(guard.scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Scan::Pass);
    assert_eq!(
        guard.scan(b"GET / HTTP/1.1\r\nX: y\r\n\r\n"),
        refuse(23, Violation::Host)
    );
    guard.resume_http();
    assert_eq!(
        guard.scan(b"GET / HTTP/1.0\r\n\r\n"),
        refuse(0, Violation::Host)
    );
}

#[test]
fn limits_are_exact() {
    let limits = Limits {
        target: 10,
        line: 20,
        head: 60,
        fields: 3,
        refuse_underscores: false,
    };
    let check = |bytes: &str, expect| check_with(limits, bytes.as_bytes(), expect);
    let check_refused = |marked: &str, why| {
        let at = marked.find('^').unwrap();
        check_with(
            limits,
            marked.replacen('^', "", 1).as_bytes(),
            refuse(at, why),
        );
    };
    check("GET /123456789 HTTP/1.0\r\n\r\n", Scan::Pass);
    check_refused(
        "GET /123456789^a HTTP/1.0\r\n\r\n",
        Violation::TargetTooLong,
    );
    check("GET / HTTP/1.0\r\nX: 34567890123456789\r\n\r\n", Scan::Pass);
    check_refused(
        "GET / HTTP/1.0\r\nX: 34567890123456789^0123\r\n\r\n",
        Violation::HeadTooLarge,
    );
    check_refused(
        "GET / HTTP/1.0\r\n01234567890123456789^0",
        Violation::HeadTooLarge,
    );
    check_refused(
        "GET / HTTP/1.0\r\n01234567890123456789^: x",
        Violation::HeadTooLarge,
    );
    check("GET / HTTP/1.0\r\na:\r\nb:\r\nc:\r\n\r\n", Scan::Pass);
    check_refused(
        "GET / HTTP/1.0\r\na:\r\nb:\r\nc:\r\n^d:\r\n\r\n",
        Violation::HeadTooLarge,
    );
    let line = "X: 34567890123456789\r\n";
    check_refused(
        &format!("GET / HTTP/1.0\r\n{line}{line}^X: 34567890123456789"),
        Violation::HeadTooLarge,
    );
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let limits = Limits {
        head: 100,
        line: 30,
        ..limits
    };
    let check_refused = |marked: &str, why| {
        let marked = format!("{head}{marked}");
        let at = marked.find('^').unwrap();
        check_with(
            limits,
            marked.replacen('^', "", 1).as_bytes(),
            refuse(at, why),
        );
    };
    check_refused(&format!("5;{}^e", "e".repeat(30)), Violation::Chunk);
    check_refused(
        "0\r\na:\r\nb:\r\nc:\r\n^d:\r\n\r\n",
        Violation::HeadTooLarge,
    );
}

#[test]
fn underscores_on_request() {
    let limits = Limits {
        refuse_underscores: true,
        ..Limits::default()
    };
    check_with(limits, b"GET / HTTP/1.0\r\nX-Y: _\r\n\r\n", Scan::Pass);
    check_with(
        limits,
        b"GET / HTTP/1.0\r\nX_Y: z\r\n\r\n",
        refuse(17, Violation::FieldName),
    );
    check_passed("GET / HTTP/1.0\r\nX_Y: z\r\n\r\n");
}

#[test]
fn phases() {
    let mut guard = guard();
    let mut check = |bytes: &str, phase| {
        for byte in bytes.bytes() {
            assert_eq!(guard.scan(&[byte]), Scan::Pass);
            assert_eq!(guard.phase(), phase, "{bytes:?}");
        }
    };
    check("\r\n", Phase::Idle);
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r",
        Phase::Head,
    );
    check("\nab", Phase::Body);
    check("c\r\n", Phase::Idle);
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r",
        Phase::Head,
    );
    check(
        "\n4;x\r\nabcd\r\n2 ;y\r\nab\r\n0\r\nX: y\r\nY: z\r\n\r",
        Phase::Body,
    );
    check("\n\r", Phase::Idle);
}

#[test]
fn statuses() {
    assert_eq!(Violation::TargetTooLong.status(), 414);
    assert_eq!(Violation::HeadTooLarge.status(), 431);
    assert_eq!(Violation::Version.status(), 400);
}
