//! The behaviour of ingress-nginx's annotations, as tables: one file for each, in `tests/compat`.
//!
//! Every case has a host and an Ingress of its own, so that a file needs one proxy. What a case may say is in
//! [`Case`] and [`Exchange`]; the backend answers with what it was sent, or with what the request's
//! `x-reply-status` and `x-reply-field` fields ask it for; with `x-count: NAME`, only the first `x-reply-times` requests
//! of that name are answered so, and the answer's `x-count` says how many there were. [`Guard`] is asked by `auth-url`.

mod guard;
mod identity;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use guard::Guard;
use identity::Identities;

use crate::harness::{
    Answer, Authority, Backend, Body, Ca, Proxy, credentials, describe, full, request, secret,
    served, soon,
};

/// For how many cases of a file there are certificates.
const MOST_CASES: usize = 40;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Flags of the proxy.
    #[serde(default)]
    flags: Vec<String>,
    /// Keys of the controller's ConfigMap.
    configmap: Option<BTreeMap<String, String>>,
    /// Objects that its cases share.
    #[serde(default)]
    objects: Vec<Value>,
    cases: Vec<Case>,
}

/// One Ingress, and what is asked of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A sentence, without the subject.
    name: String,
    /// Of the Ingress, with the prefix `nginx.ingress.kubernetes.io/` unless they have one.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// `TYPE PATH SERVICE`; `Prefix / echo` unless said otherwise. There are the Services `echo` and `other`, `trio` of
    /// three endpoints, `half` with `echo` and an endpoint that refuses, `dead` with the latter alone, and `empty`; under TLS there are
    /// `secure`, `guarded`, `deep` and `own`.
    #[serde(default)]
    paths: Vec<String>,
    /// Whether the host has a certificate.
    #[serde(default)]
    tls: bool,
    /// Another Ingress of the same host: its annotations and paths.
    beside: Option<Beside>,
    /// More objects; `$HOST` stands for the case's host.
    #[serde(default)]
    objects: Vec<Value>,
    requests: Vec<Exchange>,
}

/// Another Ingress of a case's host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// `Prefix / other` unless said otherwise.
    #[serde(default)]
    paths: Vec<String>,
}

/// A request and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// `GET /target`, or `GET https:/target` for TLS.
    send: String,
    /// How often, with the same answer; once unless said otherwise.
    times: Option<usize>,
    /// The host, where it is not the case's.
    host: Option<String>,
    /// Whose certificate is shown where one is asked for.
    shows: Option<String>,
    /// The host that TLS asks for, where it is not the request's; empty for none.
    sni: Option<String>,
    /// Whether it goes over HTTP/2, under TLS.
    #[serde(default)]
    http2: bool,
    /// Fields of the request.
    #[serde(default)]
    with: BTreeMap<String, String>,
    /// Its body.
    #[serde(default)]
    body: String,
    /// 200 unless said otherwise.
    status: Option<u16>,
    /// Fields of the answer; `null` for one that is not there.
    #[serde(default)]
    fields: BTreeMap<String, Option<String>>,
    /// Parts of fields of the answer.
    #[serde(default)]
    has: BTreeMap<String, String>,
    /// A part of the answer's body.
    contains: Option<String>,
    /// What the backend saw: `path`, `method`, `host`, `pod`, `body`, and under TLS `sni`, `version`, `suite`.
    #[serde(default)]
    saw: BTreeMap<String, String>,
    /// Fields that the backend saw; `null` for one that was not there.
    #[serde(default)]
    saw_fields: BTreeMap<String, Option<String>>,
    /// What such fields begin and end with: `BEGIN*END`.
    #[serde(default)]
    saw_like: BTreeMap<String, String>,
    /// How often the guard was asked.
    asked: Option<usize>,
    /// What it saw the last time, as `saw` and `saw_fields`.
    #[serde(default)]
    guard_saw: BTreeMap<String, String>,
    #[serde(default)]
    guard_fields: BTreeMap<String, Option<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_every_table_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let (mut report, mut wrong, mut total) = (String::new(), String::new(), 0);
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let table: Table = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let faults = run(&table).await;
        let cases = table.cases.len();
        total += cases;
        writeln!(
            report,
            "compat: {name}: {} of {cases}",
            cases - faults.len()
        )
        .unwrap();
        for (case, fault) in faults {
            writeln!(wrong, "{name}: {case}: {fault}").unwrap();
        }
    }
    println!("{report}compat: {total} cases");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The cases that do not hold, and why.
async fn run(table: &Table) -> Vec<(&str, String)> {
    let counts = Counts::default();
    let (echo, other) = (
        scripted("echo", &counts).await,
        scripted("other", &counts).await,
    );
    let mut trio = Vec::new();
    for name in ["one", "two", "three"] {
        trio.push(scripted(name, &counts).await);
    }
    let dead = Backend::refusing().await;
    let guard = Guard::start().await;
    let mut objects = vec![crate::harness::class()];
    objects.extend(served("echo", &[echo.address]));
    objects.extend(served("other", &[other.address]));
    let all: Vec<_> = trio.iter().map(|backend| backend.address).collect();
    objects.extend(served("trio", &all));
    objects.extend(served("half", &[echo.address, dead]));
    objects.extend(served("dead", &[dead]));
    objects.extend(served("empty", &[]));
    let secure = secure(&mut objects).await;
    let identities = Identities::new(&mut objects);
    objects.extend(table.objects.iter().cloned());
    for (number, case) in table.cases.iter().enumerate() {
        objects.extend(case.objects(number));
    }
    let mut flags: Vec<_> = table.flags.iter().map(String::as_str).collect();
    if let Some(data) = &table.configmap {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": "controller", "namespace": "default" },
        }));
        flags.extend(["--configmap", "default/controller"]);
    }
    let objects: Vec<_> = objects.iter().map(|object| guard.place(object)).collect();
    let proxy = Proxy::start(&objects, &flags).await;
    let mut faults = Vec::new();
    for (number, case) in table.cases.iter().enumerate() {
        for exchange in &case.requests {
            let sides = (&proxy, &guard, &identities);
            if let Err(fault) = exchange.check_all(sides, &host(number)).await {
                faults.push((&*case.name, format!("{}: {fault}", exchange.send)));
                break;
            }
        }
    }
    drop(secure);
    faults
}

/// The backends under TLS, and the Secrets that know them: `secure` takes any client; `guarded` asks for a certificate as
/// the Secret `identity` has one; `deep` has two authorities between itself and `ca.crt`, which `identity` and `authority`
/// hold; `own` has a certificate for the hosts of cases; `bare` has the certificate alone, `stranger` one of nobody's and its `ca.crt`.
async fn secure(objects: &mut Vec<Value>) -> Vec<Backend> {
    let (ca, strangers) = (Ca::new("compat"), Ca::new("strangers"));
    let identity = ca.issue(&["proxy"]);
    let deep = ca.below("one").below("two");
    let issue = |ca: &Ca, name: &str| ca.issue(&[&format!("{name}.default.svc"), "named.test"]);
    let hosts: Vec<_> = (0..MOST_CASES).map(host).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let own = Authority::issue(&hosts).server(&["http/1.1"]);
    let configs = [
        ("secure", issue(&ca, "secure").server(&[])),
        (
            "guarded",
            ca.asking(&issue(&ca, "guarded"), rustls::ALL_VERSIONS),
        ),
        ("deep", issue(&deep, "deep").server(&[])),
        ("own", own),
    ];
    let mut backends = Vec::new();
    for (name, config) in configs {
        let backend =
            Backend::https(config, move |request| describe(name.to_owned(), request)).await;
        objects.extend(served(name, &[backend.address]));
        backends.push(backend);
    }
    let foreign = strangers.issue(&["stranger"]);
    let trusted = (&*ca.certificate, "");
    objects.extend([
        credentials("identity", Some(&identity), trusted),
        credentials("authority", None, trusted),
        credentials("bare", Some(&identity), ("", "")),
        credentials("stranger", Some(&foreign), (&strangers.certificate, "")),
    ]);
    backends
}

/// The host of a table's `number`th case.
fn host(number: usize) -> String {
    format!("case{number}.test")
}

impl Case {
    fn objects(&self, number: usize) -> Vec<Value> {
        let host = host(number);
        let name = format!("case{number}");
        let mut ingress = ingress(
            (&name, &host),
            &self.annotations,
            (&self.paths, "Prefix / echo"),
        );
        let mut objects = Vec::new();
        if let Some(beside) = &self.beside {
            let name = format!("beside{number}");
            let paths = (&*beside.paths, "Prefix / other");
            objects.push(self::ingress((&name, &host), &beside.annotations, paths));
        }
        if self.tls {
            let name = format!("case{number}");
            objects.push(secret(&name, &Authority::issue(&[&host])));
            ingress = crate::harness::tls(ingress, &[&host], &name);
        }
        objects.push(ingress);
        objects.extend(self.objects.iter().map(|object| {
            let text = object.to_string().replace("$HOST", &host);
            serde_json::from_str(&text).unwrap()
        }));
        objects
    }
}

fn ingress(
    (name, host): (&str, &str),
    annotations: &BTreeMap<String, String>,
    (paths, default): (&[String], &str),
) -> Value {
    let paths: Vec<_> = match paths.is_empty() {
        true => vec![path(default)],
        false => paths.iter().map(|text| path(text)).collect(),
    };
    let annotations: serde_json::Map<_, _> = annotations
        .iter()
        .map(|(name, value)| {
            let key = match name.contains('/') {
                true => name.clone(),
                false => format!("nginx.ingress.kubernetes.io/{name}"),
            };
            (key, value.replace("$HOST", host).into())
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": "default", "annotations": annotations },
        "spec": { "rules": [{ "host": host, "http": { "paths": paths } }] },
    })
}

fn path(text: &str) -> Value {
    let [path_type, path, service] = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("TYPE PATH SERVICE expected, not {text}"));
    let backend = json!({ "service": { "name": service, "port": { "name": "http" } } });
    json!({ "path": path, "pathType": path_type, "backend": backend })
}

impl Exchange {
    async fn check_all(
        &self,
        (proxy, guard, identities): (&Proxy, &Guard, &Identities),
        host: &str,
    ) -> Result<(), String> {
        guard.asked();
        for _ in 0..self.times.unwrap_or(1) {
            self.check((proxy, identities), host).await?;
        }
        let host = self.host.as_deref().unwrap_or(host);
        self.check_guard(&guard.asked(), host)
    }

    fn check_guard(&self, asked: &[Value], host: &str) -> Result<(), String> {
        let (wanted, got) = (self.asked, asked.len());
        if wanted.is_some_and(|wanted| wanted != got) {
            return Err(format!("the guard was asked {got} times, not {wanted:?}"));
        }
        if self.guard_saw.is_empty() && self.guard_fields.is_empty() {
            return Ok(());
        }
        let seen = asked.last().ok_or("the guard was not asked")?;
        saw("guard", (&self.guard_saw, &self.guard_fields), seen, host)
    }

    async fn check(
        &self,
        (proxy, identities): (&Proxy, &Identities),
        host: &str,
    ) -> Result<(), String> {
        let host = self.host.as_deref().unwrap_or(host);
        let (method, target) = self.send.split_once(' ').ok_or("METHOD TARGET expected")?;
        let (scheme, target) = match target.strip_prefix("https:") {
            Some(target) => ("https", target),
            None => ("http", target),
        };
        let url = format!("{scheme}://{host}{target}");
        let mut request = request(method, &url, full(self.body.clone()));
        for (name, value) in &self.with {
            let name: HeaderName = name.parse().unwrap();
            let value = value.replace("$HOST", host);
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(&value).unwrap());
        }
        let answer = match self.shows.is_some() || self.sni.is_some() || self.http2 {
            true => {
                let sni = self.sni.as_deref().unwrap_or(host);
                let client = (self.shows.as_deref(), sni, self.http2);
                identities.send(proxy, client, request).await
            }
            false => soon(&url, proxy.send(request)).await,
        };
        let wanted = self.status.unwrap_or(200);
        if answer.status != wanted {
            return Err(format!("{} instead of {wanted}", answer.status));
        }
        fields(
            "answer",
            &self.fields,
            |name| answer_field(&answer, name),
            host,
        )?;
        for (name, part) in &self.has {
            let part = part.replace("$HOST", host);
            let got = answer_field(&answer, name).unwrap_or_default();
            if !got.contains(&part) {
                return Err(format!("{part:?} is not in the answer's {name}, {got:?}"));
            }
        }
        let body = String::from_utf8_lossy(&answer.body);
        if let Some(part) = &self.contains
            && !body.contains(part)
        {
            return Err(format!("{part:?} is not in {body:?}"));
        }
        self.check_backend(&answer, host)
    }

    fn check_backend(&self, answer: &Answer, host: &str) -> Result<(), String> {
        if self.saw.is_empty() && self.saw_fields.is_empty() && self.saw_like.is_empty() {
            return Ok(());
        }
        let seen: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| format!("no backend answered, but {:?}", answer.body))?;
        for (name, wanted) in &self.saw_like {
            let got = seen["headers"][name][0].as_str().unwrap_or_default();
            let (begin, end) = wanted.split_once('*').ok_or("BEGIN*END expected")?;
            let rest = got.strip_prefix(begin);
            if rest.is_none_or(|rest| !rest.ends_with(end)) {
                return Err(format!("the backend's {name} is {got:?}, not {wanted:?}"));
            }
        }
        saw("backend", (&self.saw, &self.saw_fields), &seen, host)
    }
}

/// Whether a server saw this.
fn saw(
    whose: &str,
    (parts, wanted): (&BTreeMap<String, String>, &BTreeMap<String, Option<String>>),
    seen: &Value,
    host: &str,
) -> Result<(), String> {
    for (name, wanted) in parts {
        let (wanted, got) = (wanted.replace("$HOST", host), seen[name].as_str());
        if got != Some(&wanted) {
            return Err(format!("the {whose}'s {name} is {got:?}, not {wanted:?}"));
        }
    }
    let field = |name: &str| {
        let values = seen["headers"][name].as_array()?;
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        Some(values.join(", "))
    };
    fields(whose, wanted, field, host)
}

fn fields(
    whose: &str,
    wanted: &BTreeMap<String, Option<String>>,
    got: impl Fn(&str) -> Option<String>,
    host: &str,
) -> Result<(), String> {
    for (name, wanted) in wanted {
        let (wanted, got) = (
            wanted.as_ref().map(|text| text.replace("$HOST", host)),
            got(name),
        );
        if got != wanted {
            return Err(format!("the {whose}'s {name} is {got:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

fn answer_field(answer: &Answer, name: &str) -> Option<String> {
    let values = answer.headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Describes the request, with the status and the fields that it asks for.
async fn scripted(name: &'static str, counts: &Counts) -> Backend {
    let counts = Arc::clone(counts);
    Backend::http(move |request| {
        let counts = Arc::clone(&counts);
        async move {
            let asked = request.headers().clone();
            let mut response = describe(name.to_owned(), request).await;
            let count = asked.get("x-count").map(|key| {
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(key.clone()).or_default();
                *count += 1;
                *count
            });
            let times: Option<usize> = asked
                .get("x-reply-times")
                .map(|times| times.to_str().unwrap().parse().unwrap());
            if times.is_none_or(|times| count.unwrap() <= times) {
                script(&asked, &mut response);
            }
            if let Some(count) = count {
                response.headers_mut().insert("x-count", count.into());
            }
            response
        }
    })
    .await
}

/// Requests by their `x-count`, over all backends.
type Counts = Arc<Mutex<HashMap<HeaderValue, usize>>>;

/// `x-reply-status: 404`, `x-reply-field: Name: value`.
fn script(asked: &HeaderMap, response: &mut Response<Body>) {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    if let Some(status) = asked.get("x-reply-status") {
        *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    for field in asked.get_all("x-reply-field").iter().map(text) {
        let (name, value) = field.split_once(':').unwrap();
        let name: HeaderName = name.trim().parse().unwrap();
        response
            .headers_mut()
            .append(name, value.trim().parse().unwrap());
    }
}
