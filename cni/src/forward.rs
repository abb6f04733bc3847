//! Other people's firewalls, as far as they may keep packets from pods: looked at, and not touched.

use netlink::Error;
use netlink::nft::{Family, Hook, Nft, Table};

/// Chains of this thread's namespace that drop what is forwarded unless a rule of theirs accepts it.
pub(crate) fn dropping() -> Result<Vec<String>, Error> {
    let mut nft = Nft::open()?;
    let mut found = Vec::new();
    for table in nft.tables()?.iter().filter(|table| is_others(table)) {
        for chain in nft.chains(table)? {
            let base = chain.base.filter(|base| base.hook == Hook::Forward);
            if base.is_some_and(|base| !base.accepts) {
                found.push(format!("{table} {}", chain.name));
            }
        }
    }
    Ok(found)
}

fn is_others(table: &Table) -> bool {
    let of_ip = [Family::Inet, Family::Ip, Family::Ip6].contains(&table.family);
    of_ip && !table.name.starts_with("penstock")
}
