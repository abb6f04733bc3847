//! The smuggling corpus against all the decisions that are made before a request is routed.

use l7_ingress_core::head_guard::{HeadGuard, Limits, Phase, Scan};
use l7_ingress_core::{host, path};

#[path = "corpus/requests.rs"]
mod requests;

#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    target: String,
    matched: String,
    body: Vec<u8>,
}

/// Reads a connection; gives back what would be served and the status that ends it.
fn judge(sent: &[u8]) -> (Vec<Request>, Option<u16>) {
    let mut guard = HeadGuard::new(Limits::default());
    let (mut served, mut phase) = (Vec::new(), Phase::Idle);
    let (mut head, mut body, mut request) = (Vec::new(), Vec::new(), None);
    for byte in sent {
        let scan = guard.scan(&[*byte]);
        if let Scan::Refuse { why, .. } = scan {
            return (served, Some(why.status()));
        }
        match phase {
            Phase::Body => body.push(*byte),
            Phase::Head | Phase::Idle => head.push(*byte),
        }
        if phase == Phase::Head && guard.phase() != Phase::Head {
            match route(&std::mem::take(&mut head)) {
                Some(routed) => request = Some(routed),
                None => return (served, Some(400)),
            }
        }
        if guard.phase() == Phase::Idle
            && let Some(request) = request.take()
        {
            let raw = std::mem::take(&mut body);
            let body = if request.body == b"chunked" {
                dechunk(&raw)
            } else {
                raw
            };
            served.push(Request { body, ..request });
        }
        if matches!(scan, Scan::Pause { .. }) {
            guard.resume_http();
        }
        phase = guard.phase();
    }
    (served, None)
}

/// `None` where the host or the path is refused. The body says how it is framed.
fn route(head: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed
        .parse(head)
        .expect("what the guard lets through is a head");
    let uri: http::Uri = parsed.path?.parse().ok()?;
    let field = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| str::from_utf8(field.value).expect("the corpus is ASCII"))
    };
    let host = field("host")?;
    host::canonical(host).ok()?;
    if let Some(authority) = uri.authority() {
        host::same_authority(authority.as_str(), host)
            .ok()?
            .then_some(())?;
    }
    let framing = field("transfer-encoding").map_or(&b""[..], |_| b"chunked");
    Some(Request {
        method: parsed.method?.to_owned(),
        target: uri.path_and_query()?.as_str().to_owned(),
        matched: path::normalise(uri.path()).ok()?.into_owned(),
        body: framing.to_vec(),
    })
}

fn dechunk(raw: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(raw).expect("the corpus is ASCII");
    let (size, rest) = text.split_once("\r\n").expect("a chunk has a size line");
    let digits = size.split([' ', ';']).next().expect("a split has one part");
    let size = usize::from_str_radix(digits, 16).expect("a chunk has a size");
    rest.bytes().take(size).collect()
}

#[test]
fn corpus() {
    let cases = requests::cases();
    assert!(cases.len() > 120, "{}", cases.len());
    for case in cases {
        let (served, refused) = judge(&case.sent);
        let expect: Vec<_> = case.served.iter().map(request).collect();
        assert_eq!(
            (served, refused),
            (expect, case.refused),
            "{}: {case:?}",
            case.name
        );
    }
}

fn request(served: &requests::Served) -> Request {
    let &requests::Served {
        method,
        target,
        matched,
        body,
    } = served;
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        matched: matched.to_owned(),
        body: body.to_vec(),
    }
}
