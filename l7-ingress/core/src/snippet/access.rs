//! `allow` and `deny`.

use std::net::IpAddr;

use http::StatusCode;
use ipnet::IpNet;

use super::Fault;
use super::syntax::Directive;
use crate::filter::{Answer, Verdict};

/// Who may come in, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    allows: bool,
    /// Everybody, if none.
    network: Option<IpNet>,
}

pub(super) fn rule(directive: &Directive, allows: bool) -> Result<Rule, Fault> {
    let [word] = &*directive.words else {
        return Err(directive.fault("one address, network or \"all\" expected"));
    };
    let network = match word.as_str() {
        "all" => None,
        word => Some(network(word).ok_or_else(|| {
            let what = format!("{word:?} is neither an address nor a network nor \"all\"");
            directive.fault(what)
        })?),
    };
    Ok(Rule { allows, network })
}

fn network(word: &str) -> Option<IpNet> {
    let network = word.parse::<IpNet>();
    let host = || word.parse::<IpAddr>().map(IpNet::from);
    Some(network.or_else(|_| host()).ok()?.trunc())
}

/// nginx's access module: the first rule that fits; who fits none is neither let in nor kept out.
pub(crate) fn judge<'r>(rules: &[Rule], address: IpAddr) -> Verdict<'r> {
    let address = address.to_canonical();
    let fits = |rule: &&Rule| {
        let network = rule.network.as_ref();
        network.is_none_or(|network| network.contains(&address))
    };
    match rules.iter().find(fits) {
        None => Verdict::Continue,
        Some(rule) if rule.allows => Verdict::Granted,
        Some(_) => Verdict::Answer(Answer::status(StatusCode::FORBIDDEN)),
    }
}
