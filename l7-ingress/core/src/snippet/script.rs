//! What is run in the rewrite phases, in the order in which it is written.

use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};
use regex::bytes::Regex;

use super::fields::Output;
use super::{Outcome, Snippet};
use crate::expression::{Expression, Registers, Seen, TooLong};
use crate::filter::{Answer, Facts, encode, here, tidy};
use crate::{Route, path};

/// nginx's: how often a request may be led elsewhere.
const MAX_MOVES: u8 = 10;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Set(Box<str>, Expression),
    /// With the place of what it says of responses.
    If(Condition, Box<[Self]>, usize),
    Return(Return),
    Rewrite(Box<Rewrite>),
    Break,
}

/// `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Return {
    pub(super) status: StatusCode,
    /// A URL of redirects, else a body.
    pub(super) text: Option<Expression>,
}

/// The condition of `if`.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) value: Expression,
    pub(super) test: Test,
    pub(super) negated: bool,
}

/// What a value is held against.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// It is neither empty nor `0`.
    Is,
    Equals(Expression),
    Matches(Regex),
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.test, &other.test) {
            (Test::Is, Test::Is) => true,
            (Test::Equals(own), Test::Equals(others)) => own == others,
            (Test::Matches(own), Test::Matches(others)) => own.as_str() == others.as_str(),
            _ => false,
        };
        same && self.value == other.value && self.negated == other.negated
    }
}

impl Eq for Condition {}

/// `rewrite`.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    pub(super) pattern: Regex,
    pub(super) path: Expression,
    /// What follows its `?`.
    pub(super) query: Option<Expression>,
    /// Whether the request's own query follows.
    pub(super) keeps_query: bool,
    pub(super) then: Then,
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str()
            && self.path == other.path
            && self.query == other.query
            && self.keeps_query == other.keeps_query
            && self.then == other.then
    }
}

impl Eq for Rewrite {}

/// What follows a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// What is written after it.
    Next,
    /// The search for the path.
    Last,
    /// The endpoint.
    Break,
    /// The client is sent there.
    Redirect(StatusCode),
}

impl Op {
    /// The same in a snippet where so many branches stand before its own.
    pub(super) fn moved(&self, by: usize) -> Self {
        match self {
            Self::If(condition, ops, branch) => {
                Self::If(condition.clone(), ops.clone(), branch + by)
            }
            other => other.clone(),
        }
    }

    pub(super) fn relocates(&self) -> bool {
        match self {
            Self::Rewrite(rewrite) => matches!(rewrite.then, Then::Next | Then::Last),
            Self::If(_, ops, _) => ops.iter().any(Self::relocates),
            Self::Set(..) | Self::Return(_) | Self::Break => false,
        }
    }
}

/// How a script goes on.
#[derive(Debug)]
pub(super) enum Flow {
    Next,
    /// It is done.
    Stop,
    Answer(Answer),
}

/// What scripts have made of a request so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    registers: Registers,
    changed: Option<Changed>,
    /// The `if` of the location that was entered last.
    branch: Option<usize>,
    /// Whether the location has been found: what it says counts.
    in_location: bool,
    /// Whether `break` has ended what the location would rewrite.
    stopped: bool,
    /// Whether another location is to be looked for.
    moved: bool,
    moves: u8,
}

/// Another path, or another query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// As it is matched.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

/// What a script has come to.
#[derive(Debug)]
pub(crate) enum Ran {
    Next,
    Answer(Answer),
}

impl State {
    /// For a request of this number.
    #[must_use]
    pub fn new(request_id: &str) -> Self {
        let mut state = Self::default();
        state.registers.request_id = request_id.into();
        state
    }

    /// The path and the query that stand for the client's now, where they are others.
    #[must_use]
    pub fn place(&self) -> Option<(&str, Option<&str>)> {
        let changed = self.changed.as_ref()?;
        Some((&changed.path, changed.query.as_deref()))
    }

    /// Whether what the location itself rewrites and returns is left out.
    pub(crate) const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Where filters go on once another location is found: the first of them that has not been run for good.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.moves > 0
    }

    /// The request has reached a location.
    pub(crate) fn enter(&mut self, route: &Route, facts: &Facts<'_>) {
        if self.in_location {
            return;
        }
        self.in_location = true;
        self.branch = None;
        self.stopped = false;
        if let Some(groups) = route.groups(self.path(facts)) {
            self.registers.groups = groups;
        }
    }

    /// Whether another location is to be looked for; an answer where that has been so too often.
    pub(crate) fn moves(&mut self, route: &Route, facts: &Facts<'_>) -> Result<bool, Answer> {
        // What the location rewrites ends there, as if a `break` followed.
        let is_rewritten = self.in_location
            && !self.stopped
            && route.rewrite().is_some()
            && route.groups(self.path(facts)).is_some();
        if !std::mem::take(&mut self.moved) || is_rewritten {
            return Ok(false);
        }
        self.moves += 1;
        if self.moves > MAX_MOVES {
            return Err(Answer::status(StatusCode::INTERNAL_SERVER_ERROR));
        }
        self.in_location = false;
        Ok(true)
    }

    /// Runs the script of a level.
    pub(crate) fn run(&mut self, snippet: &Snippet, route: &Route, facts: &Facts<'_>) -> Ran {
        let scope = Scope { route, facts };
        match self.ops(&scope, &snippet.script) {
            Ok(Flow::Answer(answer)) => Ran::Answer(answer),
            Ok(Flow::Next | Flow::Stop) => Ran::Next,
            Err(TooLong) => Ran::Answer(Answer::status(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }

    fn ops(&mut self, scope: &Scope<'_>, ops: &[Op]) -> Result<Flow, TooLong> {
        for op in ops {
            match self.op(scope, op)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn op(&mut self, scope: &Scope<'_>, op: &Op) -> Result<Flow, TooLong> {
        match op {
            Op::Set(name, value) => {
                let value = self.value(scope, value)?;
                match &**name {
                    // What the client wrote into it must not end the request's target.
                    "args" => {
                        let mut query = Vec::with_capacity(value.len());
                        encode_query(&mut query, &value);
                        self.change(scope, None, Some(lossy(query)));
                    }
                    name => self.registers.set(name, value),
                }
                Ok(Flow::Next)
            }
            Op::If(condition, ops, branch) => {
                if !self.holds(scope, condition)? {
                    return Ok(Flow::Next);
                }
                self.branch = Some(*branch);
                self.ops(scope, ops)
            }
            Op::Return(wanted) => Ok(Flow::Answer(self.answer(scope, wanted)?)),
            Op::Rewrite(rewrite) => self.rewrite(scope, rewrite),
            Op::Break => {
                self.stopped = self.in_location;
                self.moved &= !self.in_location;
                Ok(Flow::Stop)
            }
        }
    }

    /// What an expression says with what is known by now.
    fn value(&self, scope: &Scope<'_>, expression: &Expression) -> Result<Vec<u8>, TooLong> {
        self.value_with(scope, expression, |to, bytes| to.extend_from_slice(bytes))
    }

    fn value_with(
        &self,
        scope: &Scope<'_>,
        expression: &Expression,
        escape: impl Fn(&mut Vec<u8>, &[u8]),
    ) -> Result<Vec<u8>, TooLong> {
        let facts = self.facts(scope.facts);
        let seen = Seen {
            facts: Some(&facts),
            route: Some(scope.route),
            own: Some(&self.registers),
            answer: None,
        };
        expression.value_with(&seen, escape)
    }

    /// The request with the path and the query that it has now.
    #[must_use]
    pub fn facts<'f>(&'f self, facts: &Facts<'f>) -> Facts<'f> {
        match self.place() {
            Some((path, query)) => Facts {
                path,
                query,
                ..*facts
            },
            None => *facts,
        }
    }

    fn path<'f>(&'f self, facts: &Facts<'f>) -> &'f str {
        self.facts(facts).path
    }

    fn change(&mut self, scope: &Scope<'_>, path: Option<String>, query: Option<String>) {
        let now = self.facts(scope.facts);
        let path = path.unwrap_or_else(|| now.path.to_owned());
        let query = query.filter(|query| !query.is_empty());
        self.changed = Some(Changed { path, query });
    }

    fn holds(&mut self, scope: &Scope<'_>, condition: &Condition) -> Result<bool, TooLong> {
        let value = self.value(scope, &condition.value)?;
        let holds = match &condition.test {
            Test::Is => !value.is_empty() && value != b"0",
            Test::Equals(other) => value == self.value(scope, other)?,
            Test::Matches(pattern) => self.matches(pattern, &value),
        };
        Ok(holds != condition.negated)
    }

    /// What the groups match is kept, unless nothing matches.
    fn matches(&mut self, pattern: &Regex, value: &[u8]) -> bool {
        let Some(captures) = pattern.captures(value) else {
            return false;
        };
        let group = |group: Option<regex::bytes::Match<'_>>| {
            group.map_or_else(Vec::new, |group| group.as_bytes().to_vec())
        };
        self.registers.groups = captures.iter().map(group).collect();
        for name in pattern.capture_names().flatten() {
            self.registers.set(name, group(captures.name(name)));
        }
        true
    }

    fn answer(&self, scope: &Scope<'_>, wanted: &Return) -> Result<Answer, TooLong> {
        let status = wanted.status;
        let is_page = status.as_u16() >= 400;
        let Some(text) = &wanted.text else {
            return Ok(match is_page {
                true => Answer::status(status),
                false => Answer::status(status).body(self.default_type(scope), Vec::new()),
            });
        };
        let text = self.value(scope, text)?;
        Ok(match is_redirect(status) {
            true => redirect(scope, status, text),
            false if text.is_empty() && is_page => Answer::status(status),
            false => Answer::status(status).body(self.default_type(scope), text),
        })
    }

    fn default_type(&self, scope: &Scope<'_>) -> HeaderValue {
        let outputs = self.outputs(scope.route);
        let own = outputs.and_then(|outputs| outputs.default_type);
        own.unwrap_or_else(|| HeaderValue::from_static("text/html"))
    }

    fn rewrite(&mut self, scope: &Scope<'_>, rewrite: &Rewrite) -> Result<Flow, TooLong> {
        let now = self.facts(scope.facts);
        let (path, query) = (now.path.as_bytes().to_vec(), now.query.map(str::to_owned));
        if !self.matches(&rewrite.pattern, &path) {
            return Ok(Flow::Next);
        }
        let own = match &rewrite.query {
            None => None,
            Some(own) => Some(lossy(self.value_with(scope, own, encode_query)?)),
        };
        let kept = query.filter(|_| rewrite.keeps_query);
        let query = match (own, kept) {
            (Some(own), Some(kept)) if !own.is_empty() => Some(format!("{own}&{kept}")),
            (_, Some(kept)) => Some(kept),
            (own, None) => own,
        };
        if let Then::Redirect(status) = rewrite.then {
            let mut target = self.value_with(scope, &rewrite.path, encode_path)?;
            if let Some(query) = query.filter(|query| !query.is_empty()) {
                target.push(b'?');
                target.extend_from_slice(query.as_bytes());
            }
            return Ok(Flow::Answer(redirect(scope, status, target)));
        }
        let target = self.value(scope, &rewrite.path)?;
        let bad = || Ok(Flow::Answer(Answer::status(StatusCode::BAD_REQUEST)));
        // Anew from what can stand in a path, so that captures cannot climb.
        let Some(target) = tidy(&target) else {
            return bad();
        };
        let Ok(path) = path::normalise(&target) else {
            return bad();
        };
        self.change(scope, Some(path.into_owned()), query);
        self.moved = !self.in_location || rewrite.then != Then::Break;
        self.stopped = self.in_location && rewrite.then != Then::Next;
        Ok(match rewrite.then {
            Then::Next => Flow::Next,
            _ => Flow::Stop,
        })
    }

    /// What all levels together say of the response as it is now.
    fn outputs(&self, route: &Route) -> Option<Output> {
        let server = route.server.as_deref().map(|server| server.output.clone());
        let own = route.policy.snippet.as_deref();
        let own = own.filter(|_| self.in_location);
        let Some(own) = own else {
            return server;
        };
        let mut output = own.output.clone();
        if let Some(server) = &server {
            output = output.within(server);
        }
        if let Some(branch) = self.branch.and_then(|branch| own.branches.get(branch)) {
            output = branch.within(&output);
        }
        Some(output).filter(|output| !output.is_empty())
    }

    /// What is to be done to the response, with all that is known of the request.
    #[must_use]
    pub fn outcome(&self, route: &Route, facts: &Facts<'_>) -> Option<Outcome> {
        let outputs = self.outputs(route)?;
        let facts = self.facts(facts);
        let seen = Seen {
            facts: Some(&facts),
            route: Some(route),
            own: Some(&self.registers),
            answer: None,
        };
        // What does not fit is left out as a whole: it is no field value in any case.
        Outcome::new(&outputs, &seen).ok()
    }

    /// The fields that the endpoint gets in place of others; `Host` among them.
    #[must_use]
    pub fn told(&self, route: &Route, facts: &Facts<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let Some(own) = route.policy.snippet.as_deref() else {
            return Vec::new();
        };
        let scope = Scope { route, facts };
        let told = own.told.iter().filter_map(|told| {
            let value = self.value(&scope, &told.value).ok()?;
            Some((told.name.clone(), HeaderValue::try_from(value).ok()?))
        });
        told.collect()
    }
}

/// Where a script runs.
struct Scope<'s> {
    route: &'s Route,
    facts: &'s Facts<'s>,
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// To a URL, or to a path of the same host.
fn redirect(scope: &Scope<'_>, status: StatusCode, target: Vec<u8>) -> Answer {
    let location = match String::from_utf8(target) {
        Ok(target) if target.starts_with('/') => {
            HeaderValue::try_from(here(scope.route, scope.facts, &target)).ok()
        }
        Ok(target) => HeaderValue::try_from(target).ok(),
        Err(_) => None,
    };
    match location {
        Some(location) => Answer::status(status).with(LOCATION, location),
        None => Answer::status(StatusCode::BAD_REQUEST),
    }
}

fn encode_path(to: &mut Vec<u8>, bytes: &[u8]) {
    let mut text = String::new();
    encode(&mut text, bytes);
    to.extend_from_slice(text.as_bytes());
}

fn encode_query(to: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte) {
            true => to.push(byte),
            false => to.extend_from_slice(percent_encoding::percent_encode_byte(byte).as_bytes()),
        }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
