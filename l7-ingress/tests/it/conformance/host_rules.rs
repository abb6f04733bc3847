//! `host_rules.feature`

use super::World;
use crate::harness::{Authority, ingress, secret, tls};

#[tokio::test]
async fn host_rules() {
    let rules = [
        "*.foo.com Prefix / wildcard-foo-com",
        "foo.bar.com Prefix / foo-bar-com",
    ];
    let object = tls(ingress("host-rules", &rules), &["foo.bar.com"], "tls");
    let world = World::start(&["wildcard-foo-com", "foo-bar-com"], object).await;
    let certificate = Authority::issue(&["foo.bar.com"]);
    world.proxy.apply(secret("tls", &certificate));
    world.status_is_written("host-rules").await;
    crate::harness::eventually("the certificate", async || {
        let config = Authority::client(rustls::ALL_VERSIONS, &["http/1.1"]);
        let handshake = world.proxy.handshake("foo.bar.com", config).await;
        handshake.is_ok().then_some(())
    })
    .await;

    world.check("https://foo.bar.com/", "foo-bar-com").await;
    world.check("http://foo.bar.com/", "foo-bar-com").await;
    world.check("http://subdomain.bar.com/", "404").await;
    world.check("http://bar.foo.com/", "wildcard-foo-com").await;
    world.check("http://baz.bar.foo.com/", "404").await;
    world.check("http://foo.com/", "404").await;
}
