//! Problems become Events, a metric, and nothing that floods the API.

use std::time::Duration;

use apiserver::{ApiServer, Verb};
use http::StatusCode;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use model::{Kind, ObjectRef, Problem, Severity};

use crate::rig::{config_map, config_map_id, embedded, eventually, metric, name};

fn problem(object: &str, field: &str) -> Problem {
    Problem {
        object: ObjectRef::new(Kind::ConfigMap, name(object)),
        field: field.to_owned(),
        reason: "TestReason",
        message: "is wrong".to_owned(),
        severity: Severity::Error,
    }
}

async fn events(api: &ApiServer) -> Vec<Event> {
    let events: Api<Event> = Api::all(api.client("default"));
    events.list(&ListParams::default()).await.unwrap().items
}

#[tokio::test]
async fn a_problem_is_an_event_of_its_object() {
    let (api, process, cluster) = embedded().await;
    api.apply("test", config_map("a", "1")).unwrap();
    cluster.problems().report(
        "test",
        vec![problem("a", "data.value"), problem("a", "data.x")],
    );
    let event = eventually("the Event", async || events(&api).await.pop()).await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reason.as_deref(), Some("TestReason"));
    let message = "data.value: is wrong; data.x: is wrong";
    assert_eq!(event.message.as_deref(), Some(message));
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    let object = api.get(&config_map_id("a")).unwrap().unwrap();
    assert_eq!(
        event.involved_object.uid.as_deref(),
        object["metadata"]["uid"].as_str()
    );
    assert_eq!(event.involved_object.kind.as_deref(), Some("ConfigMap"));
    assert_eq!(metric(&process, "penstock_test_problems"), 2);
    assert_eq!(cluster.problems().current().len(), 2);
}

#[tokio::test]
async fn the_same_problem_again_raises_the_count() {
    let (api, process, cluster) = embedded().await;
    api.apply("test", config_map("a", "1")).unwrap();
    for count in 1..=3 {
        cluster
            .problems()
            .report("test", vec![problem("a", "data.value")]);
        // The same set again is nothing new.
        cluster
            .problems()
            .report("test", vec![problem("a", "data.value")]);
        eventually("the Event is counted", async || {
            let events = events(&api).await;
            assert!(events.len() <= 1, "one Event for one problem");
            (events.first()?.count == Some(count)).then_some(())
        })
        .await;
        cluster.problems().report("test", vec![]);
        eventually("the problem is gone", async || {
            (metric(&process, "penstock_test_problems") == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn problems_of_several_sources_stand_beside_each_other() {
    let (_api, process, cluster) = embedded().await;
    let count = async |want: usize| {
        eventually("the metric", async || {
            (metric(&process, "penstock_test_problems") == want).then_some(())
        })
        .await;
    };
    cluster.problems().report("routes", vec![problem("a", "x")]);
    cluster
        .problems()
        .report("certificates", vec![problem("b", "x")]);
    count(2).await;
    cluster.problems().report("routes", vec![]);
    count(1).await;
    assert_eq!(cluster.problems().current(), [problem("b", "x")]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_problems_neither_block_nor_flood() {
    let (api, process, cluster) = embedded().await;
    let many: Vec<Problem> = (0..10_000)
        .map(|number| {
            let object = format!("object-{number:05}");
            problem(&object, "data.value")
        })
        .collect();
    for object in 0..500 {
        // Enough of them exist for the Events that are written in this time.
        api.apply("test", config_map(&format!("object-{object:05}"), ""))
            .unwrap();
    }
    cluster.problems().report("test", many);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(metric(&process, "penstock_test_problems"), 10_000);
    let written = events(&api).await.len();
    assert!(
        (100..=200).contains(&written),
        "written in ten seconds: {written}"
    );
    // When they are gone, no Event tells of them any more.
    cluster.problems().report("test", vec![]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let later = events(&api).await.len();
    assert!(
        later <= written + 300,
        "written after they were gone: {later}"
    );
    assert_eq!(metric(&process, "penstock_events_dropped_total"), 0);
}

#[tokio::test]
async fn events_of_good_news_and_of_cluster_wide_objects() {
    let (api, _process, cluster) = embedded().await;
    let namespace = ObjectRef::new(Kind::Namespace, model::ObjectName::new("", "default"));
    cluster.events().normal(namespace, "AllWell", "all is well");
    let event = eventually("the Event", async || events(&api).await.pop()).await;
    assert_eq!(event.type_.as_deref(), Some("Normal"));
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(event.involved_object.namespace, None);
}

#[tokio::test]
async fn an_object_that_is_gone_has_no_event() {
    let (api, process, cluster) = embedded().await;
    api.apply("test", config_map("b", "1")).unwrap();
    cluster
        .problems()
        .report("test", vec![problem("a", "x"), problem("b", "x")]);
    let event = eventually("the Event", async || events(&api).await.pop()).await;
    assert_eq!(event.involved_object.name.as_deref(), Some("b"));
    assert_eq!(metric(&process, "penstock_events_dropped_total"), 0);
}

#[tokio::test]
async fn an_event_survives_a_short_outage() {
    let (api, process, cluster) = embedded().await;
    api.apply("test", config_map("a", "1")).unwrap();
    let refused = StatusCode::SERVICE_UNAVAILABLE;
    api.faults().refuse(Verb::Create, "events", 2, refused);
    cluster
        .problems()
        .report("test", vec![problem("a", "data.value")]);
    eventually("the Event", async || events(&api).await.pop()).await;
    assert_eq!(api.faults().pending(), 0, "both refusals were used up");
    assert_eq!(metric(&process, "penstock_events_dropped_total"), 0);
}
