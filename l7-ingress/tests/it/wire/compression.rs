//! Responses that are compressed on their way.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::site;
use crate::harness::{Backend, Proxy, Raw, full, get, soon};

const FLAGS: &[&str] = &["--configmap", "default/controller"];

fn encoded(url: &str, coding: &str) -> crate::harness::Request {
    let mut request = get(url);
    let headers = request.headers_mut();
    headers.insert("accept-encoding", coding.parse().unwrap());
    request
}

#[tokio::test]
async fn what_comes_out_is_what_went_in() {
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let sent = text.clone();
    let backend = Backend::http(move |_| {
        let mut response = http::Response::new(full(sent.clone()));
        let plain = "text/plain".parse().unwrap();
        response.headers_mut().insert("content-type", plain);
        std::future::ready(response)
    })
    .await;
    let mut objects = site(&[&backend]);
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "controller", "namespace": "default" },
        "data": { "use-gzip": "true", "enable-brotli": "true" },
    }));
    let proxy = Proxy::start(&objects, FLAGS).await;
    let url = "http://a.test/";
    let answer = proxy.send(encoded(url, "gzip")).await;
    let mut got = String::new();
    GzDecoder::new(&answer.body[..])
        .read_to_string(&mut got)
        .unwrap();
    assert!(got == text && answer.body.len() < text.len() / 2);

    let answer = proxy.send(encoded(url, "br")).await;
    let mut got = String::new();
    brotli::Decompressor::new(&answer.body[..], 4096)
        .read_to_string(&mut got)
        .unwrap();
    assert!(got == text && answer.body.len() < text.len() / 2);
}

#[tokio::test]
async fn a_piece_is_passed_on_before_the_next_one_comes() {
    let backend = Backend::connections(|tcp| async move {
        let mut raw = Raw::new(tcp);
        raw.until("\r\n\r\n").await;
        raw.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
            .await;
        raw.send("transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await;
        // Until the proxy has had enough.
        raw.rest().await;
    })
    .await;
    let mut objects = site(&[&backend]);
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "controller", "namespace": "default" },
        "data": { "use-gzip": "true" },
    }));
    let proxy = Proxy::start(&objects, FLAGS).await;
    let url = "http://a.test/";
    let mut connection = proxy.connect(url).await;
    let (_, mut body) = soon("a head", connection.open(encoded(url, "gzip")))
        .await
        .unwrap()
        .into_parts();
    let mut got = Vec::new();
    let mut decoded = [0; 5];
    while GzDecoder::new(&got[..]).read_exact(&mut decoded).is_err() {
        let frame = soon("a piece", body.frame()).await.unwrap().unwrap();
        got.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(&decoded, b"first");
}
