//! A certificate is replaced while clients shake hands (F18): each gets one whole chain, the old one
//! or a newer one, and soon the newest.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rustls::version::{TLS12, TLS13};

use crate::harness::{
    Authority, Backend, Pem, Proxy, class, eventually, ingress, secret, served, soon, tls,
};

const ROTATIONS: usize = 50;
const CLIENTS: usize = 8;
/// Handshakes between two rotations, at least.
const BETWEEN: usize = 10;

type Chain = Vec<Vec<u8>>;

/// What a client is shown; it has verified the chain, and that the key belongs to it.
async fn shown(proxy: &Proxy, config: rustls::ClientConfig) -> Chain {
    let session = proxy.handshake("a.test", config).await.unwrap();
    let certificates = session.get_ref().1.peer_certificates().unwrap();
    certificates.iter().map(|one| one.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_handshake_gets_one_whole_chain() {
    let web = Backend::echo("web").await;
    let first = Authority::issue_below(&["a.test"]);
    let object = ingress("web", &["a.test Prefix / web"]);
    let mut objects = served("web", &[web.address]);
    objects.extend([
        class(),
        secret("tls", &first),
        tls(object, &["a.test"], "tls"),
    ]);
    let proxy = Arc::new(Proxy::start(&objects, &[]).await);
    proxy.ready().await;
    // All that were issued, in order: a chain of two certificates is one of these, or a mixture.
    let issued = Arc::new(Mutex::new(vec![first.chain()]));
    let (stop, shaken) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (proxy, issued) = (Arc::clone(&proxy), Arc::clone(&issued));
            let (stop, shaken) = (Arc::clone(&stop), Arc::clone(&shaken));
            tokio::task::spawn(async move {
                let version = if number % 2 == 0 { &TLS13 } else { &TLS12 };
                let mut newest = 0;
                while !stop.load(Relaxed) {
                    let chain = shown(&proxy, Authority::client(&[version], &[])).await;
                    assert_eq!(chain.len(), 2, "the issuer is sent along");
                    let known = issued.lock().unwrap().iter().position(|one| *one == chain);
                    let known = known.expect("no mixture of two chains");
                    assert!(known >= newest, "{known} after {newest}");
                    newest = known;
                    shaken.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..ROTATIONS {
        let next: Pem = Authority::issue_below(&["a.test"]);
        issued.lock().unwrap().push(next.chain());
        proxy.apply(secret("tls", &next));
        let goal = shaken.load(Relaxed) + BETWEEN;
        eventually("handshakes", async || {
            (shaken.load(Relaxed) >= goal).then_some(())
        })
        .await;
    }
    let newest = issued.lock().unwrap().last().unwrap().clone();
    eventually("the newest chain", async || {
        let chain = shown(&proxy, Authority::client(rustls::ALL_VERSIONS, &[])).await;
        (chain == newest).then_some(())
    })
    .await;
    stop.store(true, Relaxed);
    for client in clients {
        soon("a client's end", client).await.unwrap();
    }
    let shaken = shaken.load(Relaxed);
    println!("{shaken} handshakes through {ROTATIONS} certificates: 0 failed");
}
