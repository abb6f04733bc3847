//! The program as its users start it.

use std::path::Path;
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

use crate::harness::{Backend, Connection, eventually, get, soon};

/// A manifest folder with an Ingress for `a.test` in front of `backend`.
fn manifests(backend: &Backend) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        r#"apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: penstock
  annotations: {{ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {{controller: penstock.dev/ingress}}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {{penstock.dev/endpoints: "{}"}}
spec:
  ports: [{{name: http, port: 80}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  rules:
  - host: a.test
    http:
      paths:
      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{name: http}}}}}}}}
"#,
        backend.address
    );
    std::fs::write(folder.path().join("web.yaml"), text).unwrap();
    folder
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l7-ingress"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A program that serves.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(cluster: &[&str], more: &[&str]) -> Self {
        let mut arguments = vec!["run"];
        arguments.extend(cluster);
        for (name, value) in [
            ("--http", "127.0.0.1:0"),
            ("--https", "127.0.0.1:0"),
            ("--admin", "127.0.0.1:0"),
            ("--drain-delay", "0s"),
            ("--workers", "1"),
        ] {
            arguments.extend([name, value]);
        }
        arguments.extend(more);
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The address in the first log line that has `before` in front of it.
    async fn address(&mut self, before: &str) -> String {
        soon(before, async {
            loop {
                let line = self.log.next_line().await.unwrap().unwrap();
                if let Some((_, rest)) = line.split_once(before) {
                    let end = |c: char| !(c.is_ascii_digit() || c == '.' || c == ':');
                    return rest[..rest.find(end).unwrap_or(rest.len())].to_owned();
                }
            }
        })
        .await
    }

    /// Asks it to leave; returns its exit code and what it wrote to standard output.
    async fn terminate(mut self) -> (Option<i32>, String) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let mut text = String::new();
        let mut out = self.child.stdout.take().unwrap();
        soon("its output", out.read_to_string(&mut text))
            .await
            .unwrap();
        let status = soon("its end", self.child.wait()).await.unwrap();
        (status.code(), text)
    }
}

/// GETs `http://a.test/PATH` from an address.
async fn ask(address: &str, path: &str) -> crate::harness::Answer {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut connection = Connection::http1(tcp).await;
    let url = format!("http://a.test{path}");
    soon(&url, connection.send(get(&url))).await.unwrap()
}

#[tokio::test]
async fn a_folder_and_its_api_are_served_and_sigterm_ends_both() {
    let backend = Backend::echo("web").await;
    let folder = manifests(&backend);
    let folder_path = folder.path().to_str().unwrap();
    let flags = ["--manifests", folder_path, "--api-listen", "127.0.0.1:0"];
    let mut first = Running::start(&flags, &[]);
    let api = first.address("a Kubernetes API on http://").await;
    let http = first.address("serving http on [").await;
    assert_eq!(ask(&http, "/first").await.backend(), "web");

    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: 'http://{api}'}}}}], users: [{{name: u, user: {{}}}}]}}"
    );
    std::fs::write(kubeconfig.path(), text).unwrap();
    let flags = ["--kubeconfig", kubeconfig.path().to_str().unwrap()];
    let mut second = Running::start(&flags, &["--access-log", "json"]);
    let other = second.address("serving http on [").await;
    assert_eq!(ask(&other, "/second?q=1").await.backend(), "web");

    // An edit reaches the one by the folder and the other by the API.
    let file = folder.path().join("web.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("path: /,", "path: /only,")).unwrap();
    for address in [&http, &other] {
        eventually("the edit", async || {
            let answer = ask(address, "/gone").await;
            (answer.status == 404).then_some(())
        })
        .await;
    }

    let (code, log) = second.terminate().await;
    assert_eq!(code, Some(0));
    check_json(log.lines().next().unwrap());
    let (code, log) = first.terminate().await;
    assert_eq!(code, Some(0));
    check_nginx(log.lines().next().unwrap(), &backend);
}

fn check_json(line: &str) {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    for (name, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("host", "a.test"),
        ("target", "/second?q=1"),
        ("protocol", "HTTP/1.1"),
        ("namespace", "default"),
        ("ingress", "web"),
        ("service", "web"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["attempts"][0]["status"], 200, "{line}");
}

/// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer"
/// "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [] $upstream_addr
/// $upstream_response_length $upstream_response_time $upstream_status $req_id`
fn check_nginx(line: &str, backend: &Backend) {
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let (_, rest) = line.split_once("] \"").unwrap();
    let (request, rest) = rest.split_once("\" ").unwrap();
    assert_eq!(request, "GET /first HTTP/1.1");
    let fields: Vec<&str> = rest.split(' ').collect();
    assert_eq!(fields[0], "200", "{line}");
    assert_eq!(&fields[2..4], ["\"-\"", "\"-\""], "{line}");
    let length: usize = fields[4].parse().unwrap();
    assert!((30..500).contains(&length), "{line}");
    assert_eq!(fields[6], "[default-web-http]", "{line}");
    assert_eq!(fields[7], "[]", "{line}");
    assert_eq!(fields[8], backend.address.to_string(), "{line}");
    assert_eq!(fields[9], fields[1], "{line}");
    assert_eq!(fields[11], "200", "{line}");
    assert_eq!(fields[12].len(), 32, "{line}");
    assert_eq!(fields.len(), 13, "{line}");
}

async fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = soon("its end", command(arguments).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn check_lists_problems() {
    let backend = Backend::echo("web").await;
    let folder = manifests(&backend);
    let check = ["check", "--manifests", folder.path().to_str().unwrap()];
    let (code, out, err) = output(&check).await;
    assert_eq!(
        (code, &*out, &*err),
        (Some(0), "ok: 1 routes, no problems\n", "")
    );

    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write(
        "bad.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: bad}\nspec:\n  defaultBackend: {service: {name: nobody, port: {number: 80}}}\n",
    );
    write("worse.yaml", "apiVersion: v1\nkind: [Service\n");
    let (code, out, err) = output(&check).await;
    assert_eq!((code, &*err), (Some(1), ""), "{out}");
    for part in ["ServiceNotFound", "bad", "worse.yaml", "2 problems"] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let nowhere = folder.path().join("nowhere");
    let (code, _, err) = output(&["check", "--manifests", nowhere.to_str().unwrap()]).await;
    assert_eq!(code, Some(2));
    assert!(err.starts_with("l7-ingress check: "), "{err}");
}

#[tokio::test]
async fn explain_says_who_answers() {
    let backend = Backend::echo("web").await;
    let folder = manifests(&backend);
    let explain = async |url: &str, more: &[&str]| {
        let path: &Path = folder.path();
        let mut arguments = vec!["explain", "--manifests", path.to_str().unwrap(), url];
        arguments.extend(more);
        output(&arguments).await
    };
    let (code, out, _) = explain("http://a.test/x", &[]).await;
    assert_eq!(code, Some(0));
    for part in ["default/web", &backend.address.to_string()] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let (code, out, _) = explain("http://127.0.0.1/x", &["-H", "Host: a.test"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("default/web"), "{out}");
    let (code, out, _) = explain("http://b.test/", &[]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("404"), "{out}");
    let (code, _, err) = explain("ftp://a.test/", &[]).await;
    assert_eq!(code, Some(2), "{err}");
}

#[tokio::test]
async fn a_wrong_flag_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let flags = ["run", "--manifests", path, "--admin", "127.0.0.1:0"];
    let wrong = ["--default-backend-service", "no-namespace"];
    let (code, _, err) = output(&[&flags[..], &wrong[..]].concat()).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("--default-backend-service"), "{err}");
}

#[tokio::test]
async fn the_access_log_has_the_form_that_the_configmap_asks_for() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let backend = Backend::echo("web").await;
    let folder = manifests(&backend);
    let config = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: controller}
data:
  log-format-stream: '{"stream": "$protocol", "status": $status, "in": $bytes_received, "out": $bytes_sent}'
  log-format-escape-json: "true"
  enable-opentelemetry: "true"
  log-format-upstream: '{"uri": "$request_uri", "agent": "$http_user_agent", "x": "$http_x_a", "type": "$sent_http_content_type",
    "status": $status, "ingress": "$namespace/$ingress_name", "to": "$upstream_addr", "code": "$upstream_status", "none": "$proxy_alternative_upstream_name",
    "trace": "$opentelemetry_trace_id"}'
  skip-access-log-urls: /quiet,~^/hush
"#;
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let ports = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: tcp}}\ndata: {{\"{port}\": default/web:http}}\n"
    );
    std::fs::write(folder.path().join("ports.yaml"), ports).unwrap();
    let flags = ["--manifests", folder.path().to_str().unwrap()];
    let more = [
        "--configmap",
        "default/controller",
        "--tcp-services-configmap",
        "default/tcp",
    ];
    let mut program = Running::start(&flags, &more);
    let http = program.address("serving http on [").await;
    let tcp = TcpStream::connect(&http).await.unwrap();
    let mut connection = Connection::http1(tcp).await;
    for path in ["/quiet", "/hush/a", "/loud"] {
        let mut request = get(&format!("http://a.test{path}"));
        let quoted = "say \"a\"".parse().unwrap();
        request.headers_mut().insert("x-a", quoted);
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let parent = parent.parse().unwrap();
        request.headers_mut().insert("traceparent", parent);
        soon(path, connection.send(request)).await.unwrap();
    }
    drop(connection);
    let tcp = eventually("an open port", async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let mut raw = crate::harness::Raw::new(tcp);
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = raw.rest().await;
    drop(raw);
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0));
    let mut lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stream = lines.pop().unwrap();
    let wanted =
        serde_json::json!({ "stream": "TCP", "status": 200, "in": 46, "out": answer.len() });
    assert_eq!(stream, wanted);
    let want = serde_json::json!([{
        "uri": "/loud", "agent": "", "x": "say \"a\"", "type": "application/json", "status": 200,
        "ingress": "default/web", "to": backend.address.to_string(), "code": "200", "none": "",
        "trace": TRACE,
    }]);
    assert_eq!(serde_json::Value::from(lines), want);
}
