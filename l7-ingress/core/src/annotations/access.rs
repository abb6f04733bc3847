//! `allowlist-source-range`, `denylist-source-range` and what they were once called.

use std::net::IpAddr;

use ipnet::IpNet;

use super::reader::{Effect, Reader};
use crate::filter::{SourceRanges, Sources};

/// Who may come in by address.
pub(super) fn read(reader: &mut Reader<'_>, default: Option<&Sources>) -> Option<Box<Sources>> {
    let allow = ranges(
        reader,
        ["allowlist-source-range", "whitelist-source-range"],
        Effect::Deny,
    );
    let deny = ranges(reader, ["denylist-source-range"], Effect::Deny);
    let sources = Sources {
        allow: allow.or_else(|| default.and_then(|default| default.allow.clone())),
        deny: deny.or_else(|| default.and_then(|default| default.deny.clone())),
    };
    (sources != Sources::default()).then(|| Box::new(sources))
}

/// A list of networks, under the first of these names that is set; an empty one is none.
pub(super) fn ranges<const N: usize>(
    reader: &mut Reader<'_>,
    names: [&'static str; N],
    effect: Effect,
) -> Option<SourceRanges> {
    let name = names.into_iter().find(|name| reader.text(name).is_some())?;
    let networks = reader.value(name, effect, networks)?;
    (!networks.is_empty()).then(|| SourceRanges::new(networks))
}

/// Networks and single addresses, with commas between them.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let elements = text.split(',').map(str::trim);
    let elements = elements.filter(|element| !element.is_empty());
    elements.map(network).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>();
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = network.or_else(|_| address());
    network.map_err(|_| format!("{text:?} is neither a network such as 10.0.0.0/8 nor an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_with_and_without_a_length() {
        let read = |text| networks(text).map(|all| all.iter().map(ToString::to_string).collect());
        let list = |all: &[&str]| -> Result<Vec<String>, String> {
            Ok(all.iter().map(|&network| network.to_owned()).collect())
        };
        assert_eq!(read("10.0.0.0/8"), list(&["10.0.0.0/8"]));
        assert_eq!(
            read(" 1.2.3.4 , ::1,2001:db8::/32,"),
            list(&["1.2.3.4/32", "::1/128", "2001:db8::/32"])
        );
        assert_eq!(read(""), list(&[]));
        for bad in ["10.0.0.0/33", "10.0.0", "all", "1.2.3.4 5.6.7.8", "::/129"] {
            assert!(networks(bad).is_err(), "{bad:?}");
        }
    }
}
