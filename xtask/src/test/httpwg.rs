//! HTTP/2 conformance: httpwg-cli against l7-ingress, in the clear and under TLS. What deviates has to
//! be what `docs/conformance.md` explains, no more and no less.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Tally;
use crate::bench::free_ports;
use crate::echo::{self, Identity};
use crate::process::Daemon;
use crate::{certs, probe, workspace};

const VERSION: &str = "0.2.5";
/// How many cases that version has.
const CASES: usize = 107;
/// How long the proxy may take to start, and the tool to end; it takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "localhost";
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The cases that fail, for the reasons that `docs/conformance.md` gives.
const DEVIATIONS: &[(&str, &[&str])] = &[
    ("4. http frames", &["invalid header block fragment"]),
    (
        "5. streams and multiplexing",
        &[
            "closed sends headers frame",
            "closed sends headers frame after rst stream",
            "half closed remote sends data frame",
            "half closed remote sends headers frame",
        ],
    ),
    (
        "6. frame definitions",
        &[
            "sends data frame on invalid stream state",
            "sends ping frame with invalid length",
            "sends priority frame with invalid length",
            "sends rst stream frame with invalid length",
            "sends settings frame with ack and payload",
            "sends settings frame with invalid length",
            "sends settings initial window size with exceeded max window size value",
            "sends settings initial window size with invalid value",
            "sends window update frame with invalid length",
        ],
    ),
    (
        "8. expressing http semantics in http2",
        &[
            "sends connect without authority",
            "sends headers frame with mismatched host authority",
            "sends headers frame with pseudo header in trailer",
        ],
    ),
];

/// Runs the lane; skipped where the tool cannot be had or does not run.
pub(super) fn run() -> Result<Tally> {
    let program = workspace::build("l7-ingress", "dev")?;
    let target = program.ancestors().nth(2).context("a target folder")?;
    let Some(tool) = install(&target.join("tools").join(format!("httpwg-cli-{VERSION}")))? else {
        return Ok(Tally::skipping("httpwg-cli cannot be installed"));
    };
    crate::runtime()?.block_on(check(&program, &tool))
}

/// Little optimised: it waits most of its time, but all its cases run at once and have to be in time.
fn install(root: &Path) -> Result<Option<PathBuf>> {
    let tool = root.join("bin/httpwg");
    if !tool.is_file() {
        println!("installing httpwg-cli {VERSION} in {}", root.display());
        workspace::cargo()
            .args(["install", "--locked", "--debug", "--quiet", "httpwg-cli"])
            .args(["--config", "profile.dev.opt-level=1"])
            .args(["--config", "profile.dev.debug=false"])
            .args(["--version", VERSION, "--root"])
            .arg(root)
            .arg("--target-dir")
            .arg(root.join("build"))
            .status()
            .context("cargo install does not start")?;
    }
    Ok(tool.is_file().then_some(tool))
}

async fn check(program: &Path, tool: &Path) -> Result<Tally> {
    let folder = TempDir::with_prefix("penstock-httpwg-").context("a temporary folder")?;
    let pems = certs::issue(&[NAME])?;
    let [http, https, admin] = free_ports()?.map(|port| SocketAddr::from((LOCALHOST, port)));
    let identity = Identity {
        service: "web".to_owned(),
        ingress: "web".to_owned(),
        pod: "web-1".to_owned(),
    };
    let backend = echo::start(SocketAddr::from((LOCALHOST, 0)), identity).await?;
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).context("a folder for manifests")?;
    let objects = format!("{}---\n{}", pems.secret("tls"), route(backend));
    fs::write(manifests.join("web.yaml"), objects).context("the manifests")?;

    let mut command = Command::new(program);
    command
        .args(["run", "--watch-ingress-without-class", "--manifests"])
        .arg(&manifests)
        .args(["--http", &http.to_string()])
        .args(["--https", &https.to_string()])
        .args(["--admin", &admin.to_string()])
        .args(["--default-ssl-certificate", "default/tls"])
        .args(["--workers", "1", "--access-log", "off"])
        .args(["--drain-delay", "0s", "--drain-deadline", "1s"]);
    let log = folder.path().join("l7-ingress.log");
    let mut proxy = Daemon::start("l7-ingress", &mut command, &log)?;
    probe::until_ready(&mut proxy, (admin, NAME, "/readyz"), PATIENCE).await?;

    let under_tls = bridge(https, &pems.ca).await?;
    let mut tally = Tally::default();
    for (how, address) in [("in the clear", http), ("under TLS", under_tls)] {
        let output = suite(tool, address, &folder.path().join("httpwg.log")).await?;
        tally.add(judge(&output, how));
    }
    proxy.stop(PATIENCE).await;
    Ok(tally)
}

/// A Service and an Ingress for all hosts.
fn route(backend: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: default\n  annotations:\n    \
         penstock.dev/endpoints: \"{backend}\"\nspec:\n  ports:\n    - port: 80\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  namespace: default\n\
         spec:\n  defaultBackend:\n    service:\n      name: web\n      port:\n        number: 80\n"
    )
}

/// A port in the clear that leads to `to` under TLS, which the tool does not speak.
async fn bridge(to: SocketAddr, ca: &str) -> Result<SocketAddr> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    let listener = TcpListener::bind((LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((clear, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                // Either end may break off; the tool's other end is what is looked at.
                drop(join(clear, to, tls).await);
            });
        }
    });
    Ok(address)
}

async fn join(mut clear: TcpStream, to: SocketAddr, tls: TlsConnector) -> std::io::Result<()> {
    clear.set_nodelay(true)?;
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).expect("localhost is a name");
    let mut ciphered = tls.connect(name, tcp).await?;
    copy_bidirectional(&mut clear, &mut ciphered).await?;
    Ok(())
}

/// What the tool prints.
async fn suite(tool: &Path, address: SocketAddr, log: &Path) -> Result<String> {
    let mut command = Command::new(tool);
    command
        .args(["--address", &address.to_string()])
        .args(["--frame-timeout", "5000", "--connect-timeout", "5000"])
        .env("RUST_BACKTRACE", "0")
        .env("NO_COLOR", "1");
    let mut daemon = Daemon::start("httpwg", &mut command, log)?;
    let ended = timeout(PATIENCE, daemon.ended()).await;
    ensure!(
        ended.is_ok(),
        "httpwg does not end:\n{}",
        daemon.last_words()
    );
    let output = fs::read(log).context("what httpwg says")?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn judge(output: &str, how: &str) -> Tally {
    let named = |mark: &str| -> BTreeSet<String> {
        let lines = output
            .lines()
            .filter_map(|line| line.split_once(mark).map(|(_, name)| name));
        lines.map(|name| name.trim().to_owned()).collect()
    };
    let (passed, failed) = (named("Test passed: "), named("Test failed: "));
    if passed.is_empty() && failed.is_empty() {
        // It needs io_uring, which not every kernel offers.
        let last = output.lines().next_back().unwrap_or_default();
        return Tally::skipping(&format!("httpwg-cli does not run here: {last}"));
    }
    let documented = documented();
    let mut wrong: Vec<_> = failed
        .difference(&documented)
        .map(|name| format!("fails: {name}"))
        .collect();
    let missing = documented.difference(&failed);
    wrong.extend(missing.map(|name| format!("is documented to deviate and does not: {name}")));
    if passed.len() + failed.len() != CASES {
        wrong.push(format!("{CASES} cases were expected"));
    }
    println!(
        "httpwg-cli {how}: {} passed, {} deviate",
        passed.len(),
        failed.len()
    );
    for what in &wrong {
        println!("    {what}");
    }
    Tally {
        passed: passed.len(),
        failed: wrong.len(),
        skipped: Vec::new(),
    }
}

fn documented() -> BTreeSet<String> {
    let names = |(chapter, cases): &(&str, &[&str])| -> Vec<String> {
        let cases = cases.iter();
        cases
            .map(|case| format!("RFC 9113 :: {chapter} :: {case}"))
            .collect()
    };
    DEVIATIONS.iter().flat_map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(failed: &BTreeSet<String>, passed: usize) -> String {
        let failed = failed
            .iter()
            .map(|name| format!("❌ Test failed: {name}\n"));
        let passed = (0..passed).map(|n| format!("✅ Test passed: {n}\n"));
        failed.chain(passed).collect()
    }

    #[test]
    fn what_deviates_is_what_is_documented() {
        let mut failed = documented();
        let passed = CASES - failed.len();
        let tally = judge(&output(&failed, passed), "");
        assert_eq!((tally.passed, tally.failed), (passed, 0));
        // One more, one less, and one that was not run.
        failed.insert("RFC 9113 :: another".to_owned());
        assert_eq!(judge(&output(&failed, passed - 1), "").failed, 1);
        failed.pop_first();
        assert_eq!(judge(&output(&failed, passed), "").failed, 2);
        assert_eq!(judge(&output(&documented(), passed - 1), "").failed, 1);
        assert_eq!(judge("no such system call", "").skipped.len(), 1);
    }
}
