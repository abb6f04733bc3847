//! Chooses an endpoint.

use std::num::NonZeroUsize;
use std::rc::Rc;

use l7_ingress_core::upstream::{Key, weight};
use tokio::time::Instant;

use super::peer::Peer;

/// The next peer in turn that is neither ejected nor among `tried`.
///
/// When all that are left are ejected, ejection is ignored: answering badly beats not answering.
pub(crate) fn round_robin(
    peers: &[Rc<Peer>],
    turn: usize,
    tried: &[Rc<Peer>],
    now: Instant,
) -> Option<Rc<Peer>> {
    next(peers, turn, now, |peer| contains(tried, peer)).cloned()
}

/// The cheaper of two random peers (power of two choices over peak-EWMA), with the same exceptions.
pub(crate) fn ewma(
    peers: &[Rc<Peer>],
    random: impl Fn(usize) -> usize,
    tried: &[Rc<Peer>],
    now: Instant,
) -> Option<Rc<Peer>> {
    if peers.is_empty() {
        return None;
    }
    let first = next(peers, random(peers.len()), now, |peer| {
        contains(tried, peer)
    })?;
    // Two different ones: of two endpoints, the same one twice would send the slower a quarter.
    let second = next(peers, random(peers.len()), now, |peer| {
        Rc::ptr_eq(peer, first) || contains(tried, peer)
    });
    let better = second.filter(|second| {
        (second.is_ejected(now), second.cost(now)) < (first.is_ejected(now), first.cost(now))
    });
    Some(Rc::clone(better.unwrap_or(first)))
}

fn next(
    peers: &[Rc<Peer>],
    turn: usize,
    now: Instant,
    skip: impl Fn(&Rc<Peer>) -> bool,
) -> Option<&Rc<Peer>> {
    let in_turn = || {
        (0..peers.len())
            .map(|step| &peers[(turn + step) % peers.len()])
            .filter(|peer| !skip(peer))
    };
    in_turn()
        .find(|peer| !peer.is_ejected(now))
        .or_else(|| in_turn().next())
}

/// The `size` peers that weigh most for `key`, the heaviest last, without those to `skip`.
pub(crate) fn heaviest(
    peers: &[Rc<Peer>],
    key: Key,
    size: NonZeroUsize,
    skip: impl Fn(&Rc<Peer>) -> bool,
) -> Vec<Rc<Peer>> {
    let mut best: Vec<(u64, &Rc<Peer>)> = Vec::with_capacity(size.get().min(peers.len()) + 1);
    for peer in peers.iter().filter(|peer| !skip(peer)) {
        let weight = weight(key, peer.number);
        let place = best.partition_point(|(other, _)| *other < weight);
        if place > 0 || best.len() < size.get() {
            best.insert(place, (weight, peer));
        }
        if best.len() > size.get() {
            best.remove(0);
        }
    }
    best.into_iter().map(|(_, peer)| Rc::clone(peer)).collect()
}

pub(crate) fn contains(tried: &[Rc<Peer>], peer: &Rc<Peer>) -> bool {
    tried.iter().any(|other| Rc::ptr_eq(other, peer))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use l7_ingress_core::BackendProtocol;
    use l7_ingress_core::global::KeepAlive;

    use super::*;
    use crate::upstream::peer::InFlight;

    fn peers(count: u16, now: Instant) -> Vec<Rc<Peer>> {
        let keep_alive = KeepAlive {
            connections: 1,
            idle: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            requests: 100,
        };
        (0..count)
            .map(|port| {
                let address = ([127, 0, 0, 1], 1000 + port).into();
                let all_idle = Rc::new(Cell::new(0));
                Rc::new(Peer::new(
                    address,
                    (BackendProtocol::Http, None),
                    Rc::new(Cell::new(keep_alive)),
                    all_idle,
                    now,
                ))
            })
            .collect()
    }

    #[test]
    fn round_robin_visits_everybody_in_turn() {
        let now = Instant::now();
        let peers = peers(3, now);
        let ports: Vec<u16> = (0..6)
            .map(|turn| round_robin(&peers, turn, &[], now).unwrap().address.port())
            .collect();
        assert_eq!(ports, [1000, 1001, 1002, 1000, 1001, 1002]);
    }

    #[test]
    fn the_tried_are_never_chosen_and_the_ejected_only_as_a_last_resort() {
        let now = Instant::now();
        let peers = peers(3, now);
        peers[1].failed(now);
        let pick = |turn, tried: &[Rc<Peer>]| {
            round_robin(&peers, turn, tried, now).map(|peer| peer.address.port())
        };
        assert_eq!(pick(1, &[]), Some(1002));
        let tried = [Rc::clone(&peers[0]), Rc::clone(&peers[2])];
        assert_eq!(
            pick(0, &tried),
            Some(1001),
            "ejected, but there is nobody else"
        );
        assert_eq!(pick(0, &peers), None);
        let later = now + Duration::from_secs(2);
        let healed = round_robin(&peers, 1, &[], later).unwrap();
        assert_eq!(healed.address.port(), 1001, "an ejection ends");
    }

    #[test]
    fn ejections_grow_with_failures_and_end_with_an_answer() {
        let now = Instant::now();
        let peer = &peers(1, now)[0];
        peer.failed(now);
        peer.failed(now);
        assert!(peer.is_ejected(now + Duration::from_millis(1500)));
        InFlight::new(Rc::clone(peer), now).answered(now);
        assert!(!peer.is_ejected(now));
    }

    #[test]
    fn ewma_prefers_the_faster_and_the_less_busy() {
        let now = Instant::now();
        let peers = peers(2, now);
        let later = now + Duration::from_millis(100);
        InFlight::new(Rc::clone(&peers[0]), now).answered(later);
        InFlight::new(Rc::clone(&peers[1]), now).answered(now + Duration::from_millis(10));
        let turn = Cell::new(0);
        let both = |_| {
            turn.set(turn.get() + 1);
            turn.get() % 2
        };
        let port = |peer: Option<Rc<Peer>>| peer.unwrap().address.port();
        assert_eq!(port(ewma(&peers, both, &[], later)), 1001);
        let busy: Vec<_> = (0..50)
            .map(|_| InFlight::new(Rc::clone(&peers[1]), later))
            .collect();
        assert_eq!(
            port(ewma(&peers, both, &[], later)),
            1000,
            "{} at once",
            busy.len()
        );
    }
    #[test]
    fn ewma_tries_a_new_endpoint_and_does_not_flood_it() {
        let now = Instant::now();
        let peers = peers(2, now);
        let later = now + Duration::from_millis(10);
        InFlight::new(Rc::clone(&peers[0]), now).answered(later);
        let turn = Cell::new(0);
        let both = |_| {
            turn.set(turn.get() + 1);
            turn.get() % 2
        };
        let mut silent = Vec::new();
        for _ in 0..20 {
            let peer = ewma(&peers, both, &[], later).unwrap();
            if peer.address.port() == 1001 {
                silent.push(InFlight::new(peer, later));
            }
        }
        assert_eq!(silent.len(), 1, "it has not answered yet");
    }
}
