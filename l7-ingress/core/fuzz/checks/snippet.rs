//! A request's target, a `server-snippet` and a `configuration-snippet`, with a line `---` between each. Whatever is read
//! runs, ends, and puts nothing into a field or a target that may not stand there.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use l7_ingress_core::filter::{self, Answer, Assumed, Facts};
use l7_ingress_core::forwarded::{self, Client, Connection, Forwarded};
use l7_ingress_core::snippet::State;
use l7_ingress_core::{Change, Compiler, Ingress, Risk, Settings, Table, path};
use model::ObjectName;
use serde_json::json;

use crate::certificate::CERTIFICATE;

const HOST: &str = "a.test";
/// More than any request is led on.
const MOST_MOVES: usize = 12;

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(3, "\n---\n");
    let mut next = || parts.next().unwrap_or_default();
    let (target, server, location) = (next(), next(), next());
    let Ok(request) = Request::get(target)
        .header("host", HOST)
        .header("cookie", "a=1; b=;c")
        .header(
            "x-odd",
            HeaderValue::from_bytes(b"\xff\t!").expect("a field value"),
        )
        .body(())
    else {
        return;
    };
    let table = table(server, location);
    run(&table, &request.into_parts().0);
}

fn table(server: &str, location: &str) -> Arc<Table> {
    let settings = Settings {
        watch_without_class: true,
        allow_snippets: true,
        risk: Risk::Critical,
        ..Settings::default()
    };
    let ingress = |name: &str, path: &str, annotations: serde_json::Value| {
        let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
        let paths = json!([{ "path": path, "pathType": "Prefix", "backend": backend }]);
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "name": name, "namespace": "n", "annotations": annotations },
            "spec": { "rules": [{ "host": HOST, "http": { "paths": paths } }] },
        });
        let object = serde_json::from_value(object).expect("an Ingress");
        Change::Ingress(ObjectName::new("n", name), Some(Ingress::read(&object)))
    };
    let mut compiler = Compiler::new(settings, Arc::clone(&CERTIFICATE));
    compiler.apply(ingress("other", "/", json!({})));
    compiler.apply(ingress(
        "scripted",
        "/s",
        json!({
            "penstock.dev/server-snippet": server,
            "penstock.dev/configuration-snippet": location,
        }),
    ));
    compiler.compile().table.unwrap_or_default()
}

fn run(table: &Table, head: &Parts) {
    let Ok(path) = path::normalise(head.uri.path()) else {
        return;
    };
    let connection = Connection {
        peer: Ipv4Addr::LOCALHOST.into(),
        peer_text: "127.0.0.1",
        port: "80",
        tls: false,
        proxied: false,
    };
    let forwarded = Forwarded::new(
        &forwarded::Settings::default(),
        &connection,
        &Client::default(),
    );
    let facts = Facts {
        head,
        host: HOST,
        authority: HOST,
        path: &path,
        query: head.uri.query(),
        tls: false,
        forwarded: &forwarded,
    };
    let mut state = State::new("id");
    for _ in 0..MOST_MOVES {
        let before = state.clone();
        let here = before.facts(&facts);
        let Some(route) = table.find(HOST, here.path) else {
            return;
        };
        let (came, _) = filter::assume(route, &here, Some(&mut state));
        let status = match came {
            Assumed::Elsewhere => continue,
            Assumed::Answer(_, answer) => answered(&answer),
            Assumed::Pass => {
                if let Ok(Some(rewritten)) = filter::target(route, &facts, Some(&state)) {
                    is_target(&rewritten.target);
                }
                state.told(route, &facts).iter().for_each(is_field);
                StatusCode::OK
            }
        };
        if let Some(mut outcome) = state.outcome(route, &facts) {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("text/html"));
            outcome.take(status, "10.0.0.1:80", &mut headers);
            outcome.apply(status, SystemTime::UNIX_EPOCH, &mut headers);
            for (name, value) in &headers {
                is_field(&(name.clone(), value.clone()));
            }
        }
        return;
    }
    panic!("it goes round for ever");
}

fn answered(answer: &Answer) -> StatusCode {
    answer.fields.iter().for_each(is_field);
    answer.status
}

fn is_field((name, value): &(HeaderName, HeaderValue)) {
    let framing = [
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
    ];
    assert!(!framing.contains(&name.as_str()), "{name}");
    let bad = |byte: &u8| *byte != b'\t' && byte.is_ascii_control();
    assert!(!value.as_bytes().iter().any(bad), "{name}: {value:?}");
}

fn is_target(target: &str) {
    assert!(
        target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{target:?}"
    );
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/');
    assert!(
        !segments.any(|segment| segment == "." || segment == ".."),
        "{target:?}"
    );
}
