//! Elections between processes on one API, in simulated time.

use std::time::Duration;

use apiserver::{ApiServer, Effect, Fault, Verb};
use cluster::{Cluster, Leader, LeaseTimes};
use daemon::Process;
use http::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::time::Instant;

use crate::rig::{metric, process};

struct Candidate {
    process: Process,
    leader: Leader,
    _cluster: Cluster,
}

async fn stand(api: &ApiServer, identity: &str) -> Candidate {
    let process = process().await;
    let cluster = Cluster::with_client(api.client("default"), &process).unwrap();
    Candidate {
        leader: cluster.leader("penstock", identity, LeaseTimes::default()),
        process,
        _cluster: cluster,
    }
}

async fn lease(api: &ApiServer) -> Lease {
    let leases: Api<Lease> = Api::namespaced(api.client("default"), "default");
    leases.get("penstock").await.unwrap()
}

async fn holder(api: &ApiServer) -> String {
    let spec = lease(api).await.spec.unwrap();
    spec.holder_identity.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn the_second_leads_as_soon_as_the_first_leaves() {
    let api = ApiServer::new();
    let mut first = stand(&api, "one").await;
    assert!(first.leader.changed().await);
    let mut second = stand(&api, "two").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(first.leader.is_leader() && !second.leader.is_leader());
    assert!(metric(&first.process, "penstock_leader") > 0);

    let begin = Instant::now();
    first.process.shutdown().request();
    assert!(!first.leader.changed().await);
    assert!(second.leader.changed().await);
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "released, not expired"
    );
    assert!(!first.leader.is_leader());
    assert_eq!(holder(&api).await, "two");
    let transitions = lease(&api).await.spec.unwrap().lease_transitions;
    assert_eq!(transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_second_leads_when_the_first_is_dead_and_not_before() {
    let api = ApiServer::new();
    let mut first = stand(&api, "one").await;
    assert!(first.leader.changed().await);
    let mut second = stand(&api, "two").await;
    tokio::time::sleep(Duration::from_secs(30)).await;

    let begin = Instant::now();
    // Dropped where they wait, as by a crash: nothing is released.
    let died = first.leader;
    drop((first.process, first._cluster));
    assert!(second.leader.changed().await);
    assert!(!died.is_leader());
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(12), "too soon: {waited:?}");
    assert!(waited <= Duration::from_secs(20), "too late: {waited:?}");
}

/// One that cannot renew gives up before any other may take over, whatever else goes wrong.
#[tokio::test(start_paused = true)]
async fn there_are_never_two_leaders() {
    let api = ApiServer::new();
    let contenders = [
        stand(&api, "one").await,
        stand(&api, "two").await,
        stand(&api, "three").await,
    ];
    let refuse = |verb, code| Fault {
        verb: Some(verb),
        resource: Some("leases".to_owned()),
        times: None,
        effect: Effect::Refuse {
            code,
            retry_after: None,
        },
    };
    let mut terms = 0;
    for round in 0..16_u32 {
        match round % 8 {
            // The holder can read but not write; then nobody can do anything; then answers are slow.
            1 => api
                .faults()
                .inject(refuse(Verb::Update, StatusCode::INTERNAL_SERVER_ERROR)),
            3 => api
                .faults()
                .inject(refuse(Verb::Get, StatusCode::SERVICE_UNAVAILABLE)),
            5 => api.faults().inject(Fault {
                effect: Effect::Delay(Duration::from_secs(9)),
                ..refuse(Verb::Update, StatusCode::OK)
            }),
            _ => api.faults().clear(),
        }
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(170)).await;
            let leaders = contenders.iter().filter(|it| it.leader.is_leader()).count();
            assert!(leaders <= 1, "{leaders} leaders in round {round}");
            terms += leaders;
        }
    }
    assert!(terms > 400, "hardly anybody led: {terms}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_given_up() {
    let api = ApiServer::new();
    let mut first = stand(&api, "one").await;
    assert!(first.leader.changed().await);
    let leases: Api<Lease> = Api::namespaced(api.client("default"), "default");
    let mut taken = lease(&api).await;
    taken.spec.as_mut().unwrap().holder_identity = Some("usurper".to_owned());
    leases
        .replace("penstock", &Default::default(), &taken)
        .await
        .unwrap();
    assert!(!first.leader.changed().await);
    assert_eq!(holder(&api).await, "usurper");
}
