//! `ingress_class.feature`

use super::World;
use crate::harness::{ingress, ingress_id};

#[tokio::test]
async fn ingress_class() {
    let mut foreign = ingress("foreign", &["foreign.test Prefix / echo"]);
    foreign["spec"]["ingressClassName"] = "some-invalid-class-name".into();
    let world = World::start(&["echo"], foreign).await;
    // One that is ours has got its address: the other would have, too.
    world
        .proxy
        .apply(ingress("own", &["own.test Prefix / echo"]));
    world.status_is_written("own").await;
    let object = world
        .proxy
        .api
        .get(&ingress_id("foreign"))
        .unwrap()
        .unwrap();
    let addresses = &object["status"]["loadBalancer"]["ingress"];
    assert!(addresses.is_null(), "{addresses}");
    world.check("http://foreign.test/", "404").await;
}
