//! A cluster written as YAML, and the questions that tests ask of its table.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use http::Request;
use http::request::Parts;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;
use k8s_openapi::api::networking::v1 as networking_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{EndpointSlice, Kind, ObjectName, Service};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use crate::certificate::Certificate;
use crate::secret::SecretData;
use crate::{
    Change, Compiler, ConfigData, Ingress, IngressClass, Outcome, Resolution, Settings, Table,
};

/// The class that most tests use; applied by [`World::new`].
pub(super) const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
";

/// A moment at which the certificates of tests are valid.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(super) struct World {
    pub(super) compiler: Compiler,
    pub(super) table: Arc<Table>,
}

impl World {
    pub(super) fn new(yaml: &str) -> Self {
        Self::with(Settings::default(), &format!("{CLASS}---{yaml}"))
    }

    pub(super) fn with(settings: Settings, yaml: &str) -> Self {
        let mut world = Self {
            compiler: Compiler::new(settings, default_certificate()),
            table: Arc::default(),
        };
        world.apply(yaml);
        world
    }

    pub(super) fn apply(&mut self, yaml: &str) -> Outcome {
        for change in changes(yaml) {
            self.compiler.apply(change);
        }
        self.compile()
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) -> Outcome {
        let name = object(name);
        self.compiler.apply(match kind {
            Kind::Ingress => Change::Ingress(name, None),
            Kind::IngressClass => Change::IngressClass(name, None),
            Kind::Service => Change::Service(name, None),
            Kind::EndpointSlice => Change::EndpointSlice(name, None),
            Kind::Secret => Change::Secret(name, None),
            Kind::ConfigMap => Change::ConfigMap(name, None),
            other => panic!("{other} is not watched"),
        });
        self.compile()
    }

    pub(super) fn compile(&mut self) -> Outcome {
        let outcome = self.compiler.compile();
        if let Some(table) = &outcome.table {
            self.table = Arc::clone(table);
        }
        outcome
    }

    /// What a request is answered with: a status, or the Service that it goes to.
    pub(super) fn get(&self, url: &str) -> String {
        answer(&self.table, url)
    }

    #[track_caller]
    pub(super) fn check(&self, expectations: &[(&str, &str)]) {
        for (url, want) in expectations {
            assert_eq!(self.get(url), *want, "{url}");
        }
    }

    /// Problems as `object: field: reason`.
    pub(super) fn problems(&self) -> Vec<String> {
        self.compiler
            .problems(now())
            .map(|problem| format!("{}: {}: {}", problem.object, problem.field, problem.reason))
            .collect()
    }

    #[track_caller]
    pub(super) fn check_problems(&self, want: &[&str]) {
        assert_eq!(self.problems(), want);
    }

    /// The Secret whose certificates a handshake chooses from.
    pub(super) fn secrets(&self, sni: Option<&str>) -> Vec<String> {
        let keys = self.table.certificates(sni);
        keys.iter()
            .map(|key| {
                let certificate = Certificate::of(key);
                certificate.unwrap_or_else(|| "default".to_owned())
            })
            .collect()
    }
}

impl Certificate {
    /// What a test's certificate calls itself: its common name.
    fn of(key: &CertifiedKey) -> Option<String> {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let (_, certificate) = X509Certificate::from_der(key.cert.first()?).ok()?;
        let name = certificate.subject().iter_common_name().next()?;
        Some(name.as_str().ok()?.to_owned())
    }
}

/// The head of a GET for `target`; for `/` if that cannot be sent.
pub(super) fn get(target: &str) -> Parts {
    let request = Request::get(target).body(());
    request.unwrap_or_default().into_parts().0
}

pub(super) fn answer(table: &Table, url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let Some(route) = table.find(host, &format!("/{path}")) else {
        return "404".to_owned();
    };
    if let (Some(status), "http") = (route.https_redirect, scheme) {
        return status.as_u16().to_string();
    }
    let endpoints = route.backend.endpoints();
    match &endpoints.resolution {
        Resolution::NotFound => "404".to_owned(),
        Resolution::Missing => "503".to_owned(),
        Resolution::Slices if endpoints.addresses.is_empty() => "503".to_owned(),
        Resolution::Dns { host, port } => format!("dns {host}:{port}"),
        Resolution::Slices => route.backend.service.name.to_string(),
    }
}

pub(super) fn object(name: &str) -> ObjectName {
    match name.split_once('/') {
        Some((namespace, name)) => ObjectName::new(namespace, name),
        None => ObjectName::new("", name),
    }
}

/// A self-signed certificate that calls itself `default`.
pub(super) fn default_certificate() -> Arc<CertifiedKey> {
    Arc::clone(&DEFAULT_CERTIFICATE)
}

static DEFAULT_CERTIFICATE: LazyLock<Arc<CertifiedKey>> = LazyLock::new(|| {
    let (chain, key) = pem("default", &["ingress.local"]);
    let data = SecretData::read(&secret("x", &chain, &key)).unwrap();
    let certificate = Certificate::read(&object("x/x"), &data).unwrap();
    certificate.key
});

/// An ECDSA certificate and its key as PEM.
pub(super) fn pem(common_name: &str, names: &[&str]) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    signed(common_name, names, &key)
}

/// The same with an Ed25519 key: a second kind of key that is quick to make.
pub(super) fn pem_ed25519(common_name: &str, names: &[&str]) -> (String, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    signed(common_name, names, &key)
}

fn signed(common_name: &str, names: &[&str], key: &rcgen::KeyPair) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let certificate = params.self_signed(key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

pub(super) fn secret(name: &str, certificate: &str, key: &str) -> core_v1::Secret {
    core_v1::Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(
            [("tls.crt", certificate), ("tls.key", key)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        ..core_v1::Secret::default()
    }
}

/// A Secret of namespace `shop` with a certificate that calls itself as the Secret.
pub(super) fn tls_secret(name: &str, names: &[&str]) -> Change {
    let (certificate, key) = pem(name, names);
    let secret = secret(name, &certificate, &key);
    Change::Secret(object(&format!("shop/{name}")), SecretData::read(&secret))
}

/// A Service called `name` in `shop` with port 80 called `http`, and a slice with one ready endpoint.
pub(super) fn service(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [10.0.0.1]}}]
---
"
    )
}

/// An Ingress of class nginx in `shop`, created `age` seconds after the epoch.
pub(super) fn ingress(name: &str, age: u32, spec: &str) -> String {
    let time = format!("1970-01-01T00:{:02}:{:02}Z", age / 60, age % 60);
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: shop, creationTimestamp: \"{time}\"}}
spec: {{ingressClassName: nginx, {spec}}}
---
"
    )
}

/// A path of a rule: `Prefix /foo web`.
pub(super) fn path(written: &str) -> String {
    let words: Vec<&str> = written.split_whitespace().collect();
    let [path_type, path, service] = words[..] else {
        panic!("{written:?} is not `type path service`");
    };
    format!(
        "{{pathType: {path_type}, path: {path}, backend: {{service: {{name: {service}, port: {{name: http}}}}}}}}"
    )
}

/// `rules:` with one host.
pub(super) fn rule(host: &str, paths: &[&str]) -> String {
    let paths: Vec<String> = paths.iter().map(|written| path(written)).collect();
    let paths = paths.join(", ");
    let host = match host {
        "" => String::new(),
        host => format!("host: \"{host}\", "),
    };
    format!("rules: [{{{host}http: {{paths: [{paths}]}}}}]")
}

pub(super) fn changes(yaml: &str) -> Vec<Change> {
    let documents = yaml.split("\n---").filter(|text| !text.trim().is_empty());
    documents.map(change).collect()
}

fn change(document: &str) -> Change {
    let document = document.trim_start_matches("---");
    let value: Value =
        serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\nin\n{document}"));
    let kind = value["kind"].as_str().unwrap().to_owned();
    let field = |name: &str| value["metadata"][name].as_str().unwrap_or_default();
    let name = ObjectName::new(field("namespace"), field("name"));
    match kind.as_str() {
        "Ingress" => {
            let read: networking_v1::Ingress = parse(value);
            Change::Ingress(name, Some(Ingress::read(&read)))
        }
        "IngressClass" => {
            let read: networking_v1::IngressClass = parse(value);
            Change::IngressClass(name, Some(IngressClass::read(&read)))
        }
        "Service" => {
            let read: core_v1::Service = parse(value);
            Change::Service(name, Some(Service::from(&read)))
        }
        "EndpointSlice" => {
            let read: discovery_v1::EndpointSlice = parse(value);
            Change::EndpointSlice(name, EndpointSlice::read(&read))
        }
        "ConfigMap" => {
            let read: core_v1::ConfigMap = parse(value);
            Change::ConfigMap(name, ConfigData::read(&read))
        }
        "Secret" => {
            let read: core_v1::Secret = parse(value);
            Change::Secret(name, SecretData::read(&read))
        }
        other => panic!("kind {other}"),
    }
}

fn parse<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
