//! What the demo tells its user: commands that work as printed, each with what it shows.

use std::fmt::Write;
use std::path::Path;

use super::Args;
use crate::workspace;

/// A command and words of its output.
struct Try {
    title: &'static str,
    command: String,
    shows: &'static str,
}

pub(super) fn render(args: &Args, ca: &Path, log: &Path) -> String {
    let (http, https, admin, api) = (args.http, args.https, args.admin, args.api);
    let manifests = args
        .manifests
        .strip_prefix(workspace::root())
        .unwrap_or(&args.manifests)
        .display();
    let mut page = format!(
        "
Penstock is up: l7-ingress serves {manifests}/*.yaml, three echo backends answer.

  HTTP   http://{http}       admin  http://{admin}
  HTTPS  https://{https}      API    http://{api}

"
    );
    for Try {
        title,
        command,
        shows,
    } in tries(args, ca)
    {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# {title}\n  {command}\n  → {shows}\n");
    }
    let _ = write!(
        page,
        "\
# Live: in {manifests}/api.yaml change `path: /version` to `path: /release`, save, and ask again
  curl -s -H 'Host: demo.localhost' http://{http}/release

The proxy's log: tail -f {}
Ctrl-C ends the demo and everything it started.
",
        log.display()
    );
    page
}

fn tries(args: &Args, ca: &Path) -> Vec<Try> {
    let mut tries = Vec::from(http_tries(args));
    tries.extend(https_tries(args, ca));
    tries.extend(other_tries(args));
    tries
}

const fn line(title: &'static str, command: String, shows: &'static str) -> Try {
    Try {
        title,
        command,
        shows,
    }
}

fn http_tries(args: &Args) -> [Try; 6] {
    let http = args.http;
    let demo = "curl -s -H 'Host: demo.localhost'";
    [
        line(
            "Prefix `/`, the Ingress `web`: its two endpoints take turns (ask again)",
            format!("{demo} http://{http}/hello"),
            r#""path": "/hello", "service": "web""#,
        ),
        line(
            "Prefix `/api`, the Ingress `api` on the same host: the longer path wins",
            format!("{demo} http://{http}/api/users"),
            r#""service": "api", "x-forwarded-for""#,
        ),
        line(
            "A prefix ends where a path element ends",
            format!("{demo} http://{http}/apiary"),
            r#""service": "web""#,
        ),
        line(
            "Exact `/version`",
            format!("{demo} http://{http}/version"),
            r#""service": "api""#,
        ),
        line(
            "A wildcard host",
            format!("curl -s -H 'Host: anything.demo.localhost' http://{http}/"),
            r#""host": "anything.demo.localhost", "service": "web""#,
        ),
        line(
            "No Ingress asks for this host",
            format!("curl -si http://{http}/"),
            "404",
        ),
    ]
}

fn https_tries(args: &Args, ca: &Path) -> [Try; 3] {
    let secure = format!(
        "curl -s --cacert {ca} --resolve secure.demo.localhost:{port}:{ip} https://secure.demo.localhost:{port}",
        ca = ca.display(),
        port = args.https.port(),
        ip = args.https.ip(),
    );
    [
        line(
            "HTTPS, with the certificate of the Secret `demo-tls`",
            format!("{secure}/"),
            r#""x-forwarded-proto", "service": "api""#,
        ),
        line(
            "HTTP/2",
            format!("{secure}/ --http2 -o /dev/null -w 'HTTP/%{{http_version}} %{{http_code}}\\n'"),
            "HTTP/2 200",
        ),
        line(
            "A host with a certificate is sent to HTTPS",
            format!(
                "curl -si -H 'Host: secure.demo.localhost' http://{}/",
                args.http
            ),
            "308, https://secure.demo.localhost",
        ),
    ]
}

fn other_tries(args: &Args) -> [Try; 5] {
    let (http, admin, api) = (args.http, args.admin, args.api);
    [
        line(
            "WebSocket: the backend greets and hangs up",
            format!(
                "curl -si -H 'Host: demo.localhost' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
                 -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' \
                 http://{http}/api/greeting"
            ),
            "101 Switching Protocols, hello from api-1",
        ),
        line(
            "Settings come from configmap.yaml: here add-headers, which every response has",
            format!("curl -si -H 'Host: demo.localhost' http://{http}/hello"),
            "x-served-by: penstock",
        ),
        line(
            "Metrics",
            format!("curl -s http://{admin}/metrics"),
            "nginx_ingress_controller_requests",
        ),
        line(
            "The routing table, and which object each route came from",
            format!("curl -s http://{admin}/debug/routes"),
            "demo.localhost",
        ),
        line(
            "kubectl, if you have it: the manifests are served as a Kubernetes API",
            format!("kubectl --server http://{api} get ingress -A"),
            "web, api",
        ),
    ]
}
