//! The ledger's history as lines of text, so that a crash between any two bytes loses nothing that was
//! promised.
//!
//! ```text
//!  checksum SP record LF      a record counts when its line is whole and its checksum is right
//!  ADD: hold (before anything is made) ─▶ complete (before the result is given)
//!  DEL: going (before its answer) ─▶ release (after everything is gone)
//! ```
//! Hold and going are on the disk before anything else happens. The others are with the kernel, which
//! outlives the agent; a machine that goes down takes all pods with it, and whatever they held is free.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ipam::{Key, Lease, Ledger};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// The machine has been started: no namespace of an earlier boot is left.
    Boot(String),
    /// An attachment holds something from now on.
    Hold(Box<Lease>),
    /// Its ADD has succeeded.
    Complete(Key),
    /// Its DEL has succeeded, and what is left is being removed.
    Going(Key),
    /// It holds nothing any more.
    Release(Key),
    /// These are free again, in this order.
    Free(Vec<IpAddr>),
}

/// What a journal says.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// The ledger, without its ranges.
    pub ledger: Ledger,
    /// In which boot it was written.
    pub boot: Option<String>,
    /// How many bytes at the end are no record: a write that a crash cut off.
    pub torn: usize,
    /// Lines in the middle that are no records, by their offsets: the file was damaged.
    pub damaged: Vec<usize>,
    /// How many records there were.
    pub records: usize,
}

/// Writes a record as a line.
pub fn encode(record: &Record) -> Vec<u8> {
    let body = serde_json::to_vec(record).expect("records have string keys only");
    let mut line = format!("{:08x} ", checksum(&body)).into_bytes();
    line.extend(body);
    line.push(b'\n');
    line
}

/// Writes what a ledger holds as a journal as short as can be.
pub fn compact(ledger: &Ledger, boot: &str) -> Vec<u8> {
    let mut bytes = encode(&Record::Boot(boot.to_owned()));
    let released = ledger.released();
    if !released.is_empty() {
        bytes.extend(encode(&Record::Free(released)));
    }
    for lease in ledger.leases() {
        bytes.extend(encode(&Record::Hold(Box::new(lease.clone()))));
    }
    bytes
}

/// Reads a journal. Never fails: what is not whole is left out and told.
pub fn replay(bytes: &[u8]) -> Replayed {
    let mut replayed = Replayed::default();
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match decode(line) {
            Some(record) => {
                replayed.apply(record);
                replayed.records += 1;
            }
            // Only the last line can be one that was being written.
            None if at + line.len() == bytes.len() => replayed.torn = line.len(),
            None => replayed.damaged.push(at),
        }
        at += line.len();
    }
    replayed
}

fn decode(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, body) = line.split_at_checked(8)?;
    let body = body.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    match sum == checksum(body) {
        true => serde_json::from_slice(body).ok(),
        false => None,
    }
}

impl Replayed {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Boot(boot) => {
                if self.boot.as_ref().is_some_and(|before| *before != boot) {
                    self.forget_leases();
                }
                self.boot = Some(boot);
            }
            Record::Hold(lease) => self.ledger.hold(*lease),
            Record::Complete(key) => self.ledger.complete(&key),
            Record::Going(key) => self.ledger.go(&key),
            Record::Release(key) => {
                self.ledger.release(&key);
            }
            Record::Free(addresses) => {
                for address in addresses {
                    self.ledger.free(address);
                }
            }
        }
    }

    /// Gives back everything: after a boot no pod is left.
    pub fn forget_leases(&mut self) {
        let keys: Vec<Key> = self
            .ledger
            .leases()
            .map(|lease| lease.key.clone())
            .collect();
        for key in keys {
            self.ledger.release(&key);
        }
    }
}

/// CRC-32 (ISO-HDLC).
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = 0_u32.wrapping_sub(sum & 1);
            sum = (sum >> 1) ^ (0xedb8_8320 & mask);
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipam::Phase;
    use crate::spec::{Attachment, Bandwidth};

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    fn key(number: u8) -> Key {
        Key {
            network: "penstock".to_owned(),
            attachment: Attachment {
                container: format!("c{number}"),
                ifname: "eth0".to_owned(),
            },
        }
    }

    fn ranges() -> Vec<ipnet::IpNet> {
        vec![
            "10.1.1.0/28".parse().unwrap(),
            "fd00::/120".parse().unwrap(),
        ]
    }

    /// What an agent writes for ADDs and DELs of these containers.
    fn write(moves: &[(bool, u8)]) -> (Vec<Vec<u8>>, Ledger) {
        let mut ledger = Ledger::default();
        ledger.set_ranges(&ranges());
        let mut lines = Vec::new();
        for (add, number) in moves {
            if *add {
                let Ok(addresses) = ledger.choose(&key(*number), &[]) else {
                    continue;
                };
                let lease = Lease {
                    key: key(*number),
                    netns: "/run/netns/x".to_owned(),
                    addresses,
                    ports: Vec::new(),
                    mac: None,
                    mtu: None,
                    bandwidth: Bandwidth::default(),
                    pod: None,
                    phase: Phase::Making,
                };
                lines.push(encode(&Record::Hold(Box::new(lease.clone()))));
                ledger.hold(lease);
                lines.push(encode(&Record::Complete(key(*number))));
                ledger.complete(&key(*number));
            } else if ledger.lease(&key(*number)).is_some() {
                lines.push(encode(&Record::Going(key(*number))));
                ledger.go(&key(*number));
                // Some are cut off here.
                if number % 3 > 0 {
                    lines.push(encode(&Record::Release(key(*number))));
                    ledger.release(&key(*number));
                }
            }
        }
        (lines, ledger)
    }

    fn same(one: &Ledger, other: &Ledger) -> bool {
        one.leases().eq(other.leases()) && one.released() == other.released()
    }

    proptest! {
        /// Cut anywhere: what is whole counts, the rest is told, and no address is anybody's twice.
        #[test]
        fn any_cut_leaves_a_whole_prefix(
            moves in prop::collection::vec((any::<bool>(), 0_u8..9), 1..30),
            cut in any::<prop::sample::Index>(),
        ) {
            let (lines, _) = write(&moves);
            let bytes = lines.concat();
            let cut = cut.index(bytes.len() + 1);
            let whole = lines.iter().scan(0, |at, line| { *at += line.len(); Some(*at) })
                .take_while(|end| *end <= cut).count();
            let replayed = replay(&bytes[..cut]);
            prop_assert_eq!(replayed.records, whole);
            prop_assert_eq!(replayed.torn, cut - lines[..whole].concat().len());
            prop_assert!(replayed.damaged.is_empty());
            let mut seen = std::collections::BTreeSet::new();
            prop_assert!(replayed.ledger.leases().flat_map(|lease| &lease.addresses).all(|address| seen.insert(*address)));
            let mut ledger = replayed.ledger;
            ledger.set_ranges(&ranges());
            // Nothing leaks: every address that nobody holds can still be had.
            let free = 13 - ledger.leases().count();
            for number in 0..free {
                let number = 100 + u8::try_from(number).unwrap();
                let addresses = ledger.choose(&key(number), &[]).unwrap();
                prop_assert!(addresses.iter().all(|address| seen.insert(*address)));
                let lease = Lease { key: key(number), netns: String::new(), addresses, ports: Vec::new(),
                    mac: None,
                    mtu: None, bandwidth: Bandwidth::default(), pod: None, phase: Phase::Made };
                ledger.hold(lease);
            }
            prop_assert!(ledger.choose(&key(99), &[]).is_err());
        }

        #[test]
        fn replay_and_compaction_keep_everything(moves in prop::collection::vec((any::<bool>(), 0_u8..9), 0..60)) {
            let (lines, ledger) = write(&moves);
            let replayed = replay(&lines.concat());
            prop_assert!(same(&replayed.ledger, &ledger));
            let again = replay(&compact(&ledger, "boot"));
            prop_assert!(same(&again.ledger, &ledger));
            prop_assert_eq!(again.boot.as_deref(), Some("boot"));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let replayed = replay(&bytes);
            prop_assert_eq!(replayed.records, 0);
        }
    }

    #[test]
    fn damage_in_the_middle_is_told_and_the_rest_is_read() {
        let (mut lines, _) = write(&[(true, 1), (true, 2)]);
        lines[0][12] ^= 1;
        let replayed = replay(&lines.concat());
        assert_eq!(replayed.damaged, [0]);
        assert_eq!((replayed.torn, replayed.records), (0, 3));
    }

    #[test]
    fn another_boot_gives_everything_back() {
        let mut bytes = encode(&Record::Boot("a".to_owned()));
        bytes.extend(write(&[(true, 1), (true, 2)]).0.concat());
        assert_eq!(replay(&bytes).ledger.leases().count(), 2);
        bytes.extend(encode(&Record::Boot("a".to_owned())));
        assert_eq!(replay(&bytes).ledger.leases().count(), 2);
        bytes.extend(encode(&Record::Boot("b".to_owned())));
        let replayed = replay(&bytes);
        assert_eq!(replayed.ledger.leases().count(), 0);
        assert_eq!(replayed.ledger.released().len(), 4);
    }
}
