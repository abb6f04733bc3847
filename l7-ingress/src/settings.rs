//! What the command line says, parsed once.

mod metrics;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use daemon::parse_duration;
use ipnet::IpNet;
use l7_ingress_core::filter::Policy;
use l7_ingress_core::global::{
    ClientPatience, Global, Http2, KeepAlive, Log, LogForm, Patience, strict_transport_security,
};
use l7_ingress_core::log_format::LogTemplate;
use l7_ingress_core::{Balance, DefaultBackend, forwarded};
use model::ObjectName;

use crate::metrics::ConstantLabels;

pub use metrics::MetricsArgs;

/// Serves Ingress objects over HTTP and HTTPS.
#[derive(Debug, Parser)]
#[command(name = "l7-ingress", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What l7-ingress can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM, then drain
    Run(Box<RunArgs>),
    /// List every problem of a manifest folder; exit 1 if there is one
    Check(CheckArgs),
    /// Say step by step which Ingress, rule, Service and endpoint would answer a URL, and why
    Explain(ExplainArgs),
}

/// `l7-ingress run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The process.
    #[command(flatten)]
    pub daemon: daemon::Flags,
    /// The cluster.
    #[command(flatten)]
    pub cluster: cluster::Flags,
    /// Which Ingresses.
    #[command(flatten)]
    pub ingress: IngressArgs,
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyArgs,
    /// The status of Ingresses.
    #[command(flatten)]
    pub status: StatusArgs,
    /// What is counted of requests.
    #[command(flatten)]
    pub metrics: MetricsArgs,
}

/// `l7-ingress check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Folder of YAML or JSON manifests
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Which Ingresses.
    #[command(flatten)]
    pub ingress: IngressArgs,
}

/// `l7-ingress explain`
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Folder of YAML or JSON manifests
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// The request: an http or https URL
    #[arg(value_name = "URL")]
    pub url: http::Uri,
    /// A request header, as in 'Host: shop.example'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Which Ingresses.
    #[command(flatten)]
    pub ingress: IngressArgs,
}

/// Which Ingresses are served, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Ingresses")]
pub struct IngressArgs {
    /// Controller names that an IngressClass may have to be ours [default: penstock.dev/ingress and
    /// k8s.io/ingress-nginx]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub controller_class: Vec<String>,
    /// Value of the annotation kubernetes.io/ingress.class that is ours
    #[arg(long, value_name = "NAME", default_value = "nginx")]
    pub ingress_class: String,
    /// Serve Ingresses whose class has the name of --ingress-class, whoever its controller is
    #[arg(long)]
    pub ingress_class_by_name: bool,
    /// Serve Ingresses that name no class
    #[arg(long)]
    pub watch_ingress_without_class: bool,
    /// Serve the Ingresses of this namespace only [default: all]
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Service that answers what no Ingress matches, as NAMESPACE/NAME or NAMESPACE/NAME:PORT [default:
    /// 404]
    #[arg(long, value_name = "SERVICE")]
    pub default_backend_service: Option<String>,
    /// Secret with the certificate for names that have none, as NAMESPACE/NAME [default: made at
    /// start]
    #[arg(long, value_name = "SECRET")]
    pub default_ssl_certificate: Option<String>,
    /// Prefix of annotations, beside penstock.dev/, which wins
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "nginx.ingress.kubernetes.io"
    )]
    pub annotations_prefix: String,
    /// How an endpoint is chosen
    #[arg(long, value_enum, default_value_t = LoadBalance::RoundRobin)]
    pub load_balance: LoadBalance,
    /// Longest body of a request, as in 512, 8k, 1m or 2g, unless an annotation says otherwise; 0 for
    /// any
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = l7_ingress_core::size)]
    pub proxy_body_size: u64,
    /// ConfigMap with settings, as NAMESPACE/NAME: ingress-nginx's keys, which win over flags; watched
    #[arg(long, value_name = "CONFIGMAP")]
    pub configmap: Option<String>,
    /// ConfigMap of TCP ports, as NAMESPACE/NAME: PORT: NAMESPACE/SERVICE:PORT, with :PROXY after it
    /// where clients send a PROXY header, and ::PROXY where endpoints get one; watched
    #[arg(long, value_name = "CONFIGMAP")]
    pub tcp_services_configmap: Option<String>,
    /// ConfigMap of UDP ports, as NAMESPACE/NAME: PORT: NAMESPACE/SERVICE:PORT; watched
    #[arg(long, value_name = "CONFIGMAP")]
    pub udp_services_configmap: Option<String>,
    /// Let Ingresses have the TLS of their hosts ended by their endpoints (ssl-passthrough)
    #[arg(long)]
    pub enable_ssl_passthrough: bool,
    /// Send /path to /path/ with 301 where an Ingress has the latter alone, as nginx does
    #[arg(long)]
    pub trailing_slash_redirect: bool,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadBalance {
    /// In turn
    #[value(name = "round_robin")]
    RoundRobin,
    /// The better of two random ones, by latency and load
    Ewma,
}

/// The form of access log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// None
    Off,
    /// One JSON object per line
    Json,
    /// ingress-nginx's default format
    Nginx,
}

/// Whose status is written.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Status")]
pub struct StatusArgs {
    /// Write this Service's addresses to the Ingresses' status, as NAMESPACE/NAME
    #[arg(
        long,
        value_name = "SERVICE",
        conflicts_with = "publish_status_address"
    )]
    pub publish_service: Option<String>,
    /// Write these addresses or names to the Ingresses' status
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub publish_status_address: Vec<String>,
    /// Name of the Lease whose holder writes status
    #[arg(long, value_name = "NAME", default_value = "ingress-controller-leader")]
    pub election_id: String,
}

/// How clients and backends are spoken to.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Proxy")]
pub struct ProxyArgs {
    /// Tell clients to come back by HTTPS only, in responses over TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub hsts: bool,
    /// How long clients remember that, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 31_536_000)]
    pub hsts_max_age: u64,
    /// Whether they are told so of all subdomains
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub hsts_include_subdomains: bool,
    /// Ask for a place in browsers' preload lists
    #[arg(long)]
    pub hsts_preload: bool,
    /// Address for HTTP; may be repeated
    #[arg(long, value_name = "ADDR", default_values = ["0.0.0.0:80", "[::]:80"])]
    pub http: Vec<SocketAddr>,
    /// Address for HTTPS; may be repeated
    #[arg(long, value_name = "ADDR", default_values = ["0.0.0.0:443", "[::]:443"])]
    pub https: Vec<SocketAddr>,
    /// Worker threads [default: one per processor]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// Access log on standard output
    #[arg(long, value_enum, default_value_t = LogFormat::Nginx)]
    pub access_log: LogFormat,
    /// Expect the PROXY protocol, version 1 or 2, on every connection
    #[arg(long)]
    pub use_proxy_protocol: bool,
    /// Longest wait for the PROXY protocol's header
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub proxy_protocol_header_timeout: Duration,
    /// Believe X-Forwarded-* headers of clients within --proxy-real-ip-cidr
    #[arg(long)]
    pub use_forwarded_headers: bool,
    /// Append to X-Forwarded-For instead of replacing it
    #[arg(long)]
    pub compute_full_forwarded_for: bool,
    /// Header with the client's address, where it is believed
    #[arg(long, value_name = "NAME", default_value = "X-Forwarded-For")]
    pub forwarded_for_header: http::HeaderName,
    /// Networks whose forwarding headers are believed
    #[arg(long, value_name = "CIDR", value_delimiter = ',', default_values = ["0.0.0.0/0", "::/0"])]
    pub proxy_real_ip_cidr: Vec<IpNet>,
    /// Longest time for a TLS handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub handshake_timeout: Duration,
    /// Longest time for a request's head
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub client_header_timeout: Duration,
    /// Longest silence within a request's body
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub client_body_timeout: Duration,
    /// Longest time in which a client takes nothing of a response
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub send_timeout: Duration,
    /// How long an idle client connection is kept
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = parse_duration)]
    pub keep_alive: Duration,
    /// Requests that one client connection may carry
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub keep_alive_requests: u64,
    /// Longest time to connect to a backend
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub proxy_connect_timeout: Duration,
    /// Longest silence of a backend between two reads
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub proxy_read_timeout: Duration,
    /// Longest time in which a backend takes nothing of a request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub proxy_send_timeout: Duration,
    /// Tries on different endpoints, the first included
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub proxy_next_upstream_tries: usize,
    /// Idle connections to backends, per worker
    #[arg(long, value_name = "N", default_value_t = 320)]
    pub upstream_keepalive_connections: usize,
    /// How long a connection to a backend may idle
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub upstream_keepalive_timeout: Duration,
    /// How old a connection to a backend may become
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub upstream_keepalive_time: Duration,
    /// Requests that one connection to a backend may carry
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub upstream_keepalive_requests: u32,
    /// DNS server for the names of ExternalName Services; may be repeated [default: those of
    /// /etc/resolv.conf]
    #[arg(long, value_name = "ADDR")]
    pub resolver: Vec<SocketAddr>,
    /// Client connections over all workers [default: half of the file descriptor limit less 64]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,
    /// Concurrent streams of one HTTP/2 client connection
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub http2_max_concurrent_streams: u32,
}

/// A flag has a value that means nothing.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {value:?}: {expected} expected")]
pub struct ArgumentError {
    flag: &'static str,
    value: String,
    expected: &'static str,
}

impl IngressArgs {
    /// How Ingresses are read.
    ///
    /// # Errors
    /// When a name is none.
    pub(crate) fn settings(&self) -> Result<l7_ingress_core::Settings, ArgumentError> {
        let defaults = l7_ingress_core::Settings::default();
        let wrong = |flag, value: &str, expected| ArgumentError {
            flag,
            value: value.to_owned(),
            expected,
        };
        let default_backend = self.default_backend_service.as_deref().map(|text| {
            DefaultBackend::parse(text)
                .ok_or_else(|| wrong("--default-backend-service", text, "NAMESPACE/NAME[:PORT]"))
        });
        let default_certificate = self.default_ssl_certificate.as_deref().map(|text| {
            ObjectName::parse(text, "")
                .ok_or_else(|| wrong("--default-ssl-certificate", text, "NAMESPACE/NAME"))
        });
        let config = |flag, text: &Option<String>| {
            let parse = |text: &String| {
                ObjectName::parse(text, "").ok_or_else(|| wrong(flag, text, "NAMESPACE/NAME"))
            };
            text.as_ref().map(parse).transpose()
        };
        let classes = self
            .controller_class
            .iter()
            .map(|class| class.as_str().into())
            .collect();
        Ok(l7_ingress_core::Settings {
            controller_classes: if self.controller_class.is_empty() {
                defaults.controller_classes.clone()
            } else {
                classes
            },
            ingress_class: Some(self.ingress_class.as_str().into()),
            ingress_class_by_name: self.ingress_class_by_name,
            watch_without_class: self.watch_ingress_without_class,
            watch_namespaces: self
                .watch_namespace
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            default_backend: default_backend.transpose()?,
            default_certificate: default_certificate.transpose()?,
            configmap: config("--configmap", &self.configmap)?,
            tcp_services: config("--tcp-services-configmap", &self.tcp_services_configmap)?,
            udp_services: config("--udp-services-configmap", &self.udp_services_configmap)?,
            ssl_passthrough: self.enable_ssl_passthrough,
            annotation_prefixes: vec![
                "penstock.dev".into(),
                self.annotations_prefix.trim_end_matches('/').into(),
            ],
            balance: match self.load_balance {
                LoadBalance::RoundRobin => Balance::RoundRobin,
                LoadBalance::Ewma => Balance::Ewma,
            },
            policy: Arc::new(Policy {
                body_limit: (self.proxy_body_size > 0).then_some(self.proxy_body_size),
                ..Policy::clone(&defaults.policy)
            }),
            trailing_slash_redirect: self.trailing_slash_redirect,
            hash_seed: fastrand::u64(..),
            ..defaults
        })
    }
}

impl StatusArgs {
    /// The Service of `--publish-service`.
    pub(crate) fn published_service(&self) -> Result<Option<ObjectName>, ArgumentError> {
        let parse = |text: &String| {
            ObjectName::parse(text, "").ok_or_else(|| ArgumentError {
                flag: "--publish-service",
                value: text.clone(),
                expected: "NAMESPACE/NAME",
            })
        };
        self.publish_service.as_ref().map(parse).transpose()
    }
}

impl ProxyArgs {
    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.map_or_else(processors, NonZeroUsize::get)
    }

    /// Connections over all workers: a request may need a second descriptor for its backend.
    fn max_connections(&self) -> usize {
        self.max_connections.unwrap_or_else(|| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let descriptors = limit.current.and_then(|n| usize::try_from(n).ok());
            descriptors.unwrap_or(usize::MAX).saturating_sub(RESERVED) / 2
        })
    }
}

/// Descriptors that clients and backends may not take: listeners, the admin port, the API.
const RESERVED: usize = 64;

impl RunArgs {
    /// The labels that ingress-nginx puts on every series.
    pub(crate) fn constant_labels(&self) -> ConstantLabels {
        let pod = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        [
            ("controller_class", self.ingress.ingress_class.clone()),
            ("controller_namespace", self.cluster.namespace.clone()),
            ("controller_pod", pod),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl ProxyArgs {
    /// What holds for all routes unless the ConfigMap says otherwise, for one of `workers`; `https` are the addresses
    /// that HTTPS is served on.
    pub(crate) fn global(&self, https: &[SocketAddr], workers: usize) -> Global {
        let defaults = Global::default();
        let hsts = || {
            let (subdomains, preload) = (self.hsts_include_subdomains, self.hsts_preload);
            strict_transport_security(self.hsts_max_age, subdomains, preload)
        };
        let https_port = https.first().map(|address| address.port().to_string());
        Global {
            client: ClientPatience {
                head: self.client_header_timeout,
                body: self.client_body_timeout,
                keep_alive: self.keep_alive,
                send: self.send_timeout,
                handshake: self.handshake_timeout,
            },
            keep_alive_requests: self.keep_alive_requests,
            http2: Http2 {
                max_concurrent_streams: self.http2_max_concurrent_streams,
                ..defaults.http2
            },
            proxy_protocol: self
                .use_proxy_protocol
                .then_some(self.proxy_protocol_header_timeout),
            forwarded: forwarded::Settings {
                use_forwarded_headers: self.use_forwarded_headers,
                real_ip: false,
                compute_full_forwarded_for: self.compute_full_forwarded_for,
                trusted: self.proxy_real_ip_cidr.clone(),
                https_port: https_port.map(Into::into),
            },
            forwarded_for_header: self.forwarded_for_header.clone(),
            hsts: self.hsts.then(hsts),
            upstream: Patience {
                connect: self.proxy_connect_timeout,
                read: self.proxy_read_timeout,
                send: self.proxy_send_timeout,
                ..defaults.upstream
            },
            tries: self.proxy_next_upstream_tries.max(1),
            keep_alive: KeepAlive {
                connections: self.upstream_keepalive_connections,
                idle: self.upstream_keepalive_timeout,
                age: self.upstream_keepalive_time,
                requests: self.upstream_keepalive_requests,
            },
            log: Log {
                form: match self.access_log {
                    LogFormat::Off => LogForm::Off,
                    LogFormat::Json => LogForm::Json,
                    LogFormat::Nginx => LogForm::Nginx,
                },
                stream: Arc::new(match self.access_log {
                    LogFormat::Json => LogTemplate::stream_json(),
                    LogFormat::Off | LogFormat::Nginx => LogTemplate::stream(),
                }),
                ..Log::default()
            },
            max_connections: (self.max_connections() / workers).max(1),
            ..defaults
        }
    }
}
