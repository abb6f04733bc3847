//! Each step of ADD failing, and the agent killed after each.

use cni::{Step, Stop};
use cni_core::spec::Code;
use serde_json::json;

use crate::{Named, Node, addresses, ask, code, done, skipped};

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let pod = Named::new();
    for step in Step::ALL {
        let (book, agent) = node.agent_that_stops(step, Stop::Failed);
        let add = ask("ADD", "c1", &pod.path(), &json!({}));
        assert_eq!(code(agent.answer(&add)), Code::Internal, "{step:?}");
        assert!(book.leases().is_empty(), "{step:?}");
        assert!(node.cables().is_empty(), "{step:?}");
        assert_eq!(pod.links(), ["lo"], "{step:?}");
    }
}

#[test]
fn a_kill_after_any_step_neither_leaks_nor_doubles() {
    if skipped() {
        return;
    }
    for step in Step::ALL {
        let node = Node::new();
        let pods = [Named::new(), Named::new(), Named::new()];
        let (_, agent) = node.agent();
        let before = done(agent.answer(&ask("ADD", "c0", &pods[0].path(), &json!({})))).unwrap();
        drop(agent);
        let (_, dying) = node.agent_that_stops(step, Stop::Killed);
        dying.answer(&ask("ADD", "c1", &pods[1].path(), &json!({})));
        drop(dying);

        let (book, agent) = node.agent();
        agent.recover().unwrap();
        // The runtime has heard nothing of it, so that only what was whole is kept.
        let kept = usize::from(step == Step::Completed);
        assert_eq!(book.leases().len(), 1 + kept, "{step:?}");
        assert_eq!(node.cables().len(), 1 + kept, "{step:?}");
        let check = ask(
            "CHECK",
            "c0",
            &pods[0].path(),
            &json!({"prevResult": before}),
        );
        done(agent.answer(&check));
        done(agent.answer(&ask("DEL", "c1", &pods[1].path(), &json!({}))));
        let after = done(agent.answer(&ask("ADD", "c2", &pods[2].path(), &json!({})))).unwrap();
        assert!(
            addresses(&after)
                .iter()
                .all(|address| !addresses(&before).contains(address))
        );
    }
}

#[test]
fn a_lost_journal_gives_no_living_pods_address_away() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let pods = [Named::new(), Named::new()];
    let (_, agent) = node.agent();
    let before = done(agent.answer(&ask("ADD", "c0", &pods[0].path(), &json!({})))).unwrap();
    drop(agent);
    std::fs::write(node.journal().join("journal"), "rubbish\nmore rubbish\n").unwrap();
    let (book, agent) = node.agent();
    agent.recover().unwrap();
    let after = done(agent.answer(&ask("ADD", "c1", &pods[1].path(), &json!({})))).unwrap();
    assert!(
        addresses(&after)
            .iter()
            .all(|address| !addresses(&before).contains(address))
    );
    // A DEL of the lost one frees its addresses when the garbage is collected.
    done(agent.answer(&ask("DEL", "c0", &pods[0].path(), &json!({}))));
    agent.collect(std::path::Path::new("/nowhere/x")).unwrap();
    assert_eq!(book.leases().len(), 1);
}

#[test]
fn pods_that_go_without_a_del_are_collected() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let stays = Named::new();
    let goes = Named::new();
    done(agent.answer(&ask("ADD", "stays", &stays.path(), &json!({}))));
    done(agent.answer(&ask("ADD", "goes", &goes.path(), &json!({}))));
    drop(goes);
    agent.collect(std::path::Path::new("/nowhere/x")).unwrap();
    let left: Vec<_> = book
        .leases()
        .into_iter()
        .map(|lease| lease.key.attachment.container)
        .collect();
    assert_eq!(left, ["stays"]);
    assert_eq!(node.cables().len(), 1);
}
