//! Snippets: the part of nginx's configuration that is read into values and run here. What is outside of it is
//! refused by name; no text is ever handed on to anything that would interpret it.
//!
//! ```text
//!  text ─▶ syntax (words, blocks) ─▶ read (this level's directives) ─▶ Snippet
//!                                                                        │ script   rewrite phases: set, if, return, rewrite
//!                                                                        │ rules    access phase: allow, deny
//!                                                                        │ told     fields of the request to the endpoint
//!                                                                        │ output   fields of the response
//!                                                                        └ wishes   what has an annotation of its own
//! ```
//!
//! Levels are nginx's: http, server, location, and `if` within a location. What a level says of `add_header`,
//! `proxy_hide_header` and `allow` replaces all that the outer ones say; `more_set_headers` of all levels count.

mod access;
mod fields;
mod outcome;
mod outside;
mod read;
mod script;
mod syntax;
mod wishes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderName;

use crate::expression::Expression;
use crate::filter::Policy;

pub use access::Rule;
pub use outcome::{Outcome, Time};
pub use script::State;

use fields::{Output, Told};
use script::Op;
use wishes::Wish;

pub(crate) use access::judge;
pub(crate) use script::Ran;

/// Where a snippet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In front of all servers.
    Http,
    /// Of a host.
    Server,
    /// Of a path.
    Location,
}

/// What a snippet of one level asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// What is run in the rewrite phase.
    script: Box<[Op]>,
    /// What is done to responses.
    output: Output,
    /// The same for each `if` that says something of it.
    branches: Box<[Output]>,
    /// What endpoints are told.
    told: Box<[Told]>,
    /// Who may come in; the first that fits decides.
    rules: Box<[Rule]>,
    wishes: Box<[Wish]>,
    /// What is said in vain.
    idle: Box<[Fault]>,
    /// What its scripts and expressions give values to.
    names: Box<[Box<str>]>,
}

/// Why a snippet is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    line: u32,
    /// Empty where the text is no directive.
    directive: String,
    what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.directive.is_empty() {
            write!(f, "{}: ", self.directive)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl Snippet {
    /// Reads the text of a level. It may use what the snippets `outer` set.
    ///
    /// # Errors
    /// For the first directive that is not one of those that are read, or not written as it should be.
    pub fn read(level: Level, text: &str, outer: &[&Self]) -> Result<Self, Fault> {
        let directives = syntax::read(text)?;
        read::snippet(level, &directives, outer)
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This one, and what `other` of the same level says after it.
    #[must_use]
    pub fn then(&self, other: &Self) -> Self {
        let branches = self.branches.len();
        let moved = other.script.iter().map(|op| op.moved(branches));
        Self {
            script: self.script.iter().cloned().chain(moved).collect(),
            output: self.output.then(&other.output),
            branches: join(&self.branches, &other.branches),
            told: join(&self.told, &other.told),
            rules: join(&self.rules, &other.rules),
            wishes: join(&self.wishes, &other.wishes),
            idle: join(&self.idle, &other.idle),
            names: join(&self.names, &other.names),
        }
    }

    /// This one of a server, with what it has of the http level.
    #[must_use]
    pub fn within(&self, http: &Self) -> Self {
        let rules = match self.rules.is_empty() {
            true => &http.rules,
            false => &self.rules,
        };
        Self {
            output: self.output.within(&http.output),
            rules: rules.clone(),
            ..self.clone()
        }
    }

    /// Changes what has an annotation of its own, which it has precedence over.
    pub(crate) fn change(&self, policy: &mut Policy) {
        for wish in &self.wishes {
            wish.apply(policy);
        }
    }

    /// What endpoints are told, if it is about nothing else.
    pub(crate) fn into_told(mut self) -> Option<Box<[(HeaderName, Expression)]>> {
        let told = std::mem::take(&mut self.told);
        let told = told.into_iter().map(|told| (told.name, told.value));
        self.is_empty().then(|| told.collect())
    }

    /// Whether there is something to run.
    pub(crate) fn runs(&self) -> bool {
        !self.script.is_empty()
    }

    /// Whether it can lead a request to another path.
    pub(crate) fn relocates(&self) -> bool {
        self.script.iter().any(Op::relocates)
    }

    /// What is said where it has no effect.
    pub(crate) fn idle(&self) -> impl Iterator<Item = &Fault> {
        self.idle.iter()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// The snippet of a location with the one of the ConfigMap after it.
pub(crate) fn joined(own: Option<Snippet>, all: Option<&Arc<Snippet>>) -> Option<Arc<Snippet>> {
    match (own, all) {
        (None, all) => all.cloned(),
        (Some(own), None) => Some(Arc::new(own)),
        (Some(own), Some(all)) => Some(Arc::new(own.then(all))),
    }
}

fn join<T: Clone>(one: &[T], other: &[T]) -> Box<[T]> {
    one.iter().chain(other).cloned().collect()
}
