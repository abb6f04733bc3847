//! l7-ingress: serves Ingress objects over HTTP and HTTPS.
//!
//! ```text
//!  watch ─▶ control ─▶ Compiler ─▶ ArcSwap<Table> ─▶ worker ─▶ serve ─▶ forward ─▶ upstream
//!            │  ▲                                      (one per processor, sharing nothing else)
//!            │  └─ dns (ExternalName)
//!            └─▶ problems, status, metrics
//! ```

mod access_log;
mod answers;
mod body;
mod calls;
mod check;
mod client;
mod control;
mod dns;
mod explain;
mod flood;
mod forward;
mod forwarding;
mod limits;
mod listen;
mod metrics;
mod offline;
mod passwords;
mod proxy_protocol;
mod record;
mod reply;
mod routes;
mod serve;
mod session;
mod settings;
mod stream;
mod streams;
mod tls;
mod traces;
mod upstream;
mod watchdog;
mod worker;

pub use check::check;
pub use control::{RunError, Server, run};
pub use explain::explain;
pub use settings::{
    ArgumentError, CheckArgs, Cli, Command, ExplainArgs, IngressArgs, LoadBalance, LogFormat,
    MetricsArgs, ProxyArgs, RunArgs, StatusArgs,
};
pub use tls::DefaultCertificateError;
