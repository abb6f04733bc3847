//! A whole l7-ingress in this process, with an API of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use apiserver::{ApiServer, ObjectId};
use clap::Parser as _;
use cluster::Cluster;
use daemon::Process;
use l7_ingress::{Cli, Command, RunArgs, RunError, Server};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Answer, Authority, Connection, Request, eventually, get, soon};

/// A running l7-ingress. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) api: ApiServer,
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    served: Option<JoinHandle<Result<(), RunError>>>,
}

/// What every test starts it with, unless it says otherwise.
const FLAGS: &[(&str, &str)] = &[
    ("--admin", "127.0.0.1:0"),
    ("--http", "127.0.0.1:0"),
    ("--https", "127.0.0.1:0"),
    ("--workers", "2"),
    ("--access-log", "off"),
    ("--drain-delay", "0s"),
    ("--drain-deadline", "1s"),
];

fn arguments(flags: &[&str]) -> RunArgs {
    let defaults = FLAGS
        .iter()
        .filter(|(name, _)| !flags.contains(name))
        .flat_map(|(name, value)| [*name, *value]);
    let line = ["l7-ingress", "run"]
        .into_iter()
        .chain(defaults)
        .chain(flags.iter().copied());
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(args) => *args,
        _ => unreachable!("the command is run"),
    }
}

impl Proxy {
    /// Starts it on these objects, with these flags.
    pub(crate) async fn start(objects: &[Value], flags: &[&str]) -> Self {
        let api = ApiServer::new();
        for object in objects {
            api.apply("test", object.clone()).unwrap();
        }
        Self::with_api(api, flags).await
    }

    /// Starts it on an API that is there already.
    pub(crate) async fn with_api(api: ApiServer, flags: &[&str]) -> Self {
        let args = arguments(flags);
        let process = Process::start("l7-ingress", &args.daemon).await.unwrap();
        let cluster = Cluster::with_client(api.client("default"), &process).unwrap();
        let server = Server::bind(args).unwrap();
        let (http, https) = (server.http()[0], server.https()[0]);
        let served = tokio::task::spawn(server.serve(process.clone(), cluster));
        Self {
            api,
            process,
            http,
            https,
            served: Some(served),
        }
    }

    /// Makes an object what this says.
    pub(crate) fn apply(&self, object: Value) {
        self.api.apply("test", object).unwrap();
    }

    /// Removes an object.
    pub(crate) fn delete(&self, id: &ObjectId) {
        assert!(self.api.delete(id).unwrap(), "{id:?} was not there");
    }

    /// Where clients come in.
    pub(crate) const fn door(&self) -> Door {
        let Self { http, https, .. } = *self;
        Door { http, https }
    }

    /// See [`Door::http1`].
    pub(crate) async fn connect(&self, url: &str) -> Connection {
        self.door().http1(url).await
    }

    /// See [`Door::http2`].
    pub(crate) async fn connect_http2(&self, url: &str) -> Connection {
        self.door().http2(url).await
    }

    /// A TLS session whose certificate is good for `name`.
    pub(crate) async fn tls(&self, name: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        self.door().tls(name, protocols).await
    }

    /// A TLS handshake.
    pub(crate) async fn handshake(
        &self,
        name: &str,
        config: rustls::ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.door().handshake(name, config).await
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let url = request.uri().to_string();
        let mut connection = self.connect(&url).await;
        soon(&url, connection.send(request)).await.unwrap()
    }

    /// GETs a URL on a connection of its own.
    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(get(url)).await
    }

    /// GETs a URL until the answer is what is wanted.
    pub(crate) async fn until(&self, url: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        eventually(url, async || {
            let answer = self.get(url).await;
            wanted(&answer).then_some(answer)
        })
        .await
    }

    /// GETs from the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let address = self.process.admin_addr();
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut connection = Connection::http1(tcp).await;
        let url = format!("http://{address}{path}");
        soon(&url, connection.send(get(&url))).await.unwrap()
    }

    /// Waits until all kinds were listed and requests are served.
    pub(crate) async fn ready(&self) {
        eventually("ready", async || {
            (self.admin("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    /// A metric, summed over the series that have all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.process.registry().gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let has = |metric: &prometheus::proto::Metric, (name, value): &(&str, &str)| {
            let mut pairs = metric.get_label().iter();
            pairs.any(|pair| pair.name() == *name && pair.value() == *value)
        };
        metrics
            .iter()
            .filter(|metric| labels.iter().all(|label| has(metric, label)))
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }

    /// Waits for its end; it has been asked to leave.
    pub(crate) async fn ended(&mut self) -> Result<(), RunError> {
        let served = self.served.take().expect("it ends once");
        soon("the end", served).await.unwrap()
    }
}

/// The addresses of a proxy, and the ways through them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) http: SocketAddr,
    https: SocketAddr,
}

impl Door {
    /// A connection for requests of this URL, `HTTP/1.1` under TLS where it says https.
    pub(crate) async fn http1(self, url: &str) -> Connection {
        let uri: http::Uri = url.parse().unwrap();
        if uri.scheme_str() == Some("https") {
            let tls = self.tls(uri.host().unwrap(), &["http/1.1"]).await;
            return Connection::http1(tls).await;
        }
        Connection::http1(TcpStream::connect(self.http).await.unwrap()).await
    }

    /// An HTTP/2 connection for requests of this URL; by prior knowledge where it says http.
    pub(crate) async fn http2(self, url: &str) -> Connection {
        let uri: http::Uri = url.parse().unwrap();
        if uri.scheme_str() == Some("https") {
            let tls = self.tls(uri.host().unwrap(), &["h2"]).await;
            return Connection::http2(tls).await;
        }
        Connection::http2(TcpStream::connect(self.http).await.unwrap()).await
    }

    /// A TLS session whose certificate is good for `name`.
    async fn tls(self, name: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        let config = Authority::client(rustls::ALL_VERSIONS, protocols);
        self.handshake(name, config).await.unwrap()
    }

    /// A TLS handshake.
    async fn handshake(
        self,
        name: &str,
        config: rustls::ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.https).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        soon("a handshake", connector.connect(name, tcp)).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.shutdown().request();
    }
}
