//! Host patterns that lead to another host's rules: `server-alias` and `from-to-www-redirect`.

use std::sync::Arc;

use super::Compiler;
use super::accept::Accepted;
use super::host::{Scope, Subject, serves};
use super::ingresses::{Ingresses, precedence};
use super::names::Map;
use super::users::Users;

/// The host that a pattern is another name of.
#[derive(Debug)]
pub(super) struct Mate<'i> {
    pub(super) main: &'i Arc<str>,
    /// The Ingresses that speak of it, oldest first.
    pub(super) ingresses: Vec<&'i Arc<Accepted>>,
    pub(super) kind: MateKind,
    /// Whose annotation it is.
    owner: &'i Arc<Accepted>,
}

/// What is done for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MateKind {
    /// The same rules answer.
    Alias,
    /// Everything is redirected.
    Www,
}

/// `www.x` for `x`, and the other way round; wildcards have none.
pub(super) fn other_form(host: &str) -> Option<String> {
    if host.is_empty() || host.starts_with('*') {
        return None;
    }
    Some(match host.strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{host}"),
    })
}

/// The Ingresses that speak of `pattern`, oldest first, without canaries.
pub(super) fn of<'c>(
    hosts: &Map<Arc<str>, Users>,
    ingresses: &'c Ingresses,
    pattern: &str,
) -> Vec<&'c Arc<Accepted>> {
    let users = hosts.get(pattern).into_iter();
    let mut found: Vec<&Arc<Accepted>> = users
        .flat_map(Users::iter)
        .filter_map(|id| ingresses.serving(id))
        .filter(|ingress| !ingress.is_canary())
        .collect();
    found.sort_unstable_by(|a, b| precedence((a.created, &a.name), (b.created, &b.name)));
    found
}

/// The host that `pattern` is another name of, if it is none of its own. `own` are the Ingresses that speak of it.
pub(super) fn mate<'c>(
    hosts: &Map<Arc<str>, Users>,
    ingresses: &'c Ingresses,
    (pattern, own): (&str, &[&'c Arc<Accepted>]),
) -> Option<Mate<'c>> {
    if own.iter().any(|ingress| serves(ingress, pattern)) {
        return None;
    }
    let found = |owner: &'c Arc<Accepted>, main: &'c Arc<str>, kind| Mate {
        main,
        ingresses: of(hosts, ingresses, main),
        kind,
        owner,
    };
    for owner in own.iter().filter(|ingress| aliases(ingress, pattern)) {
        for rule in &owner.rules {
            let mate = found(owner, &rule.host, MateKind::Alias);
            // Of the Ingresses of a host, the first one that has aliases decides.
            let mut deciding = mate.ingresses.iter().filter(|ingress| {
                serves(ingress, &rule.host) && !ingress.annotations.aliases.is_empty()
            });
            if deciding
                .next()
                .is_some_and(|first| first.name == owner.name)
            {
                return Some(mate);
            }
        }
    }
    own.iter().find_map(|owner| {
        let mut rules = owner.rules.iter().filter(|_| owner.annotations.from_to_www);
        let main = rules.find(|rule| other_form(&rule.host).as_deref() == Some(pattern))?;
        Some(found(owner, &main.host, MateKind::Www))
    })
}

fn aliases(ingress: &Accepted, pattern: &str) -> bool {
    let mut aliases = ingress.annotations.aliases.iter();
    aliases.any(|alias| **alias == *pattern)
}

impl Compiler {
    /// The patterns that have to be compiled again when `host` is.
    pub(super) fn mates_of(&self, host: &str) -> Vec<Arc<str>> {
        let users = self.hosts.get(host).into_iter().flat_map(Users::iter);
        let ingresses = users.filter_map(|id| self.ingresses.serving(id));
        let mates = ingresses.filter(|ingress| serves(ingress, host));
        mates
            .flat_map(|ingress| ingress.mates.iter().cloned())
            .collect()
    }
}

impl Scope<'_> {
    /// Aliases that lead nowhere.
    pub(super) fn mate_conflicts(&mut self, subject: &Subject<'_>) {
        let winner = match &subject.mate {
            Some(mate) if mate.kind == MateKind::Alias => Some(&mate.owner.name),
            _ => None,
        };
        for ingress in &subject.ingresses {
            if winner == Some(&ingress.name) || !aliases(ingress, subject.pattern) {
                continue;
            }
            let pattern = subject.pattern;
            let message = match winner {
                Some(winner) => format!("{pattern} is already an alias of Ingress {winner}"),
                None if subject.ingresses.iter().any(|other| serves(other, pattern)) => {
                    format!("{pattern} is a host of its own, whose rules answer")
                }
                None => format!("another Ingress of the same host has aliases, {pattern} is none"),
            };
            let field = "metadata.annotations[server-alias]".to_owned();
            self.warn(&ingress.name, field, "Conflict", message);
        }
    }
}
