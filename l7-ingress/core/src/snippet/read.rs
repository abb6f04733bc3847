//! From directives to what they mean on their level.

use http::StatusCode;
use regex::bytes::Regex;

use super::fields::{self, Output};
use super::script::{Condition, Op, Return, Rewrite, Test, Then};
use super::syntax::Directive;
use super::{Fault, Level, Snippet, access, outside, wishes};
use crate::expression::{Expression, Known, Variable};
use crate::filter::compile_expression as compile;

/// What is read, and what is known while it is.
pub(super) struct Reading<'r> {
    level: Level,
    names: Vec<Box<str>>,
    outer: &'r [&'r Snippet],
}

/// The snippet of a level.
pub(super) fn snippet(
    level: Level,
    directives: &[Directive],
    outer: &[&Snippet],
) -> Result<Snippet, Fault> {
    let mut names = Vec::new();
    collect(directives, &mut names)?;
    let mut reading = Reading {
        level,
        names,
        outer,
    };
    let mut lists = Lists::default();
    for directive in directives {
        reading.directive(directive, &mut lists)?;
    }
    Ok(Snippet {
        script: lists.script.into(),
        output: lists.output,
        branches: lists.branches.into(),
        told: lists.told.into(),
        rules: lists.rules.into(),
        wishes: lists.wishes.into(),
        idle: lists.idle.into(),
        names: reading.names.into(),
    })
}

#[derive(Default)]
struct Lists {
    script: Vec<Op>,
    output: Output,
    branches: Vec<Output>,
    told: Vec<fields::Told>,
    rules: Vec<access::Rule>,
    wishes: Vec<wishes::Wish>,
    idle: Vec<Fault>,
}

/// The variables that scripts set, wherever they do: nginx knows them everywhere too.
fn collect(directives: &[Directive], names: &mut Vec<Box<str>>) -> Result<(), Fault> {
    for directive in directives {
        match (directive.name.as_str(), &*directive.words) {
            ("set", [name, _]) => names.push(own_name(directive, name)?.into()),
            ("rewrite", [pattern, ..]) => named_groups(pattern, names),
            ("if", words) => words.iter().for_each(|word| named_groups(word, names)),
            _ => {}
        }
        collect(directive.block.as_deref().unwrap_or_default(), names)?;
    }
    Ok(())
}

/// `(?<NAME>` and `(?P<NAME>`.
fn named_groups(pattern: &str, names: &mut Vec<Box<str>>) {
    for part in pattern.split("(?").skip(1) {
        let part = part.strip_prefix('P').unwrap_or(part);
        let name = part.strip_prefix('<').and_then(|part| part.split_once('>'));
        if let Some((name, _)) = name
            && is_name(name)
            && !Variable::is_built_in(name)
        {
            names.push(name.into());
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && bytes.all(inner) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The name of a variable that may be set.
fn own_name<'w>(directive: &Directive, word: &'w str) -> Result<&'w str, Fault> {
    let name = word.strip_prefix('$').filter(|name| is_name(name));
    let name = name.ok_or_else(|| {
        let what = format!("{word:?} is no variable; one begins with $");
        directive.fault(what)
    })?;
    match name != "args" && Variable::is_built_in(name) {
        true => Err(directive.fault(format!("{word} is not to be set"))),
        false => Ok(name),
    }
}

impl Reading<'_> {
    fn directive(&mut self, directive: &Directive, to: &mut Lists) -> Result<(), Fault> {
        if directive.block.is_some() && directive.name != "if" {
            return Err(directive.fault(outside::reason(&directive.name)));
        }
        if to.output.read(directive, self)? {
            return Ok(());
        }
        match directive.name.as_str() {
            "proxy_hide_header" => to.output.hidden.push(fields::hidden(directive)?),
            "allow" => to.rules.push(access::rule(directive, true)?),
            "deny" => to.rules.push(access::rule(directive, false)?),
            "proxy_set_header" => {
                let [name, value] = &*directive.words else {
                    return Err(directive.fault("a name and a value expected"));
                };
                self.told(directive, (name, value), to)?;
            }
            "more_set_input_headers" | "more_clear_input_headers" => {
                self.input(directive, to)?;
            }
            _ => {
                if let Some(wish) = wishes::read(directive) {
                    self.wish(directive, wish?, to)?;
                } else {
                    let op = self.op(directive, &mut to.branches)?;
                    to.script.push(op);
                }
            }
        }
        Ok(())
    }

    /// Every location says these of itself, so that what the levels around it say is lost, as in nginx.
    fn told(
        &self,
        directive: &Directive,
        field: (&str, &str),
        to: &mut Lists,
    ) -> Result<(), Fault> {
        let told = fields::told(directive, field, self)?;
        match self.level {
            Level::Location => to.told.extend(told),
            Level::Server | Level::Http => to.idle.push(idle(directive)),
        }
        Ok(())
    }

    /// Fields of the request as `NAME: VALUE`, or names alone to take them away.
    fn input(&self, directive: &Directive, to: &mut Lists) -> Result<(), Fault> {
        if directive.words.is_empty() {
            return Err(directive.fault("a field is expected"));
        }
        for word in &directive.words {
            if word.starts_with('-') || word.contains('*') {
                return Err(directive.fault("options and * are not known here"));
            }
            let (name, value) = word.split_once(':').unwrap_or((word, ""));
            let field = (name.trim(), value.trim());
            to.told.extend(fields::told(directive, field, self)?);
        }
        match self.level {
            Level::Location => Ok(()),
            Level::Server | Level::Http => {
                Err(directive.fault("belongs into a configuration-snippet here"))
            }
        }
    }

    fn wish(&self, directive: &Directive, wish: wishes::Wish, to: &mut Lists) -> Result<(), Fault> {
        let is_inherited = matches!(directive.name.as_str(), "access_log" | "satisfy");
        match self.level {
            Level::Location => to.wishes.push(wish),
            Level::Server | Level::Http if is_inherited => {
                let what = "belongs into a configuration-snippet here, or an annotation";
                return Err(directive.fault(what));
            }
            Level::Server | Level::Http => to.idle.push(idle(directive)),
        }
        Ok(())
    }

    fn op(&self, directive: &Directive, branches: &mut Vec<Output>) -> Result<Op, Fault> {
        let is_script = matches!(
            directive.name.as_str(),
            "set" | "return" | "rewrite" | "break" | "if"
        );
        if !is_script {
            return Err(directive.fault(outside::reason(&directive.name)));
        }
        if self.level == Level::Http {
            return Err(directive.fault("belongs into a server or a location"));
        }
        match directive.name.as_str() {
            "if" => self.condition(directive, branches),
            _ if directive.block.is_some() => Err(directive.fault("has no block")),
            _ => self.plain(directive),
        }
    }

    fn plain(&self, directive: &Directive) -> Result<Op, Fault> {
        match (directive.name.as_str(), &*directive.words) {
            ("set", [name, value]) => {
                let name = own_name(directive, name)?.into();
                Ok(Op::Set(name, self.value(directive, value)?))
            }
            ("return", words) => Ok(Op::Return(self.answer(directive, words)?)),
            ("rewrite", [pattern, target]) => self.rewrite(directive, pattern, target, None),
            ("rewrite", [pattern, target, flag]) => {
                self.rewrite(directive, pattern, target, Some(flag))
            }
            ("break", []) => Ok(Op::Break),
            ("set", _) => Err(directive.fault("a variable and a value expected")),
            ("break", _) => Err(directive.fault("stands alone")),
            _ => Err(directive.fault("an expression, a text and perhaps a flag expected")),
        }
    }

    /// An expression with all variables.
    fn value(&self, directive: &Directive, text: &str) -> Result<Expression, Fault> {
        let is_own = |name: &str| self.is_set(name);
        let read = Expression::read(text, Known::Scripts(&is_own));
        read.map_err(|unknown| directive.fault(unknown.to_string()))
    }

    fn is_set(&self, name: &str) -> bool {
        let outer = self.outer.iter().flat_map(|outer| &outer.names);
        self.names.iter().chain(outer).any(|own| **own == *name)
    }

    /// The same where no byte may stand that would end a field.
    pub(super) fn field_value(
        &self,
        directive: &Directive,
        text: &str,
    ) -> Result<Expression, Fault> {
        match text
            .bytes()
            .any(|byte| byte != b'\t' && byte.is_ascii_control())
        {
            true => Err(directive.fault(format!("{text:?} holds what no field may"))),
            false => self.value(directive, text),
        }
    }

    fn answer(&self, directive: &Directive, words: &[String]) -> Result<Return, Fault> {
        let (first, text) = match words {
            [first] => (first, None),
            [first, text] => (first, Some(text)),
            _ => return Err(directive.fault("a status, a URL or both expected")),
        };
        let number = first.bytes().all(|byte| byte.is_ascii_digit());
        if !number || first.is_empty() {
            let url = ["http://", "https://", "$scheme"];
            let is_url = text.is_none() && url.iter().any(|start| first.starts_with(start));
            if !is_url {
                return Err(directive.fault(format!("{first:?} is neither a status nor a URL")));
            }
            return Ok(Return {
                status: StatusCode::FOUND,
                text: Some(self.field_value(directive, first)?),
            });
        }
        let status = first.parse().ok().filter(|code| (200..=599).contains(code));
        let status = status.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| {
            let what = format!("{first} is no status between 200 and 599");
            directive.fault(what)
        })?;
        if status.as_u16() == 444 {
            let what = "444 closes the connection without an answer, which is not done here";
            return Err(directive.fault(what));
        }
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let text = match text {
            None if is_redirect => return Err(directive.fault("a URL expected")),
            None => None,
            Some(text) if is_redirect => Some(self.field_value(directive, text)?),
            Some(text) => Some(self.value(directive, text)?),
        };
        Ok(Return { status, text })
    }

    fn rewrite(
        &self,
        directive: &Directive,
        pattern: &str,
        target: &str,
        flag: Option<&String>,
    ) -> Result<Op, Fault> {
        let pattern = regex(directive, pattern, false)?;
        let (target, keeps_query) = match target.strip_suffix('?') {
            Some(target) => (target, false),
            None => (target, true),
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(self.field_value(directive, query)?)),
            None => (target, None),
        };
        let path = self.field_value(directive, path)?;
        let is_url = [&b"http://"[..], b"https://"];
        let is_url = is_url
            .iter()
            .any(|start| path.beginning().starts_with(start));
        let then = match flag.map(String::as_str) {
            Some("permanent") => Then::Redirect(StatusCode::MOVED_PERMANENTLY),
            Some("redirect") => Then::Redirect(StatusCode::FOUND),
            Some("last" | "break") | None if is_url => Then::Redirect(StatusCode::FOUND),
            Some("last") => Then::Last,
            Some("break") => Then::Break,
            None => Then::Next,
            Some(flag) => {
                let what = format!("{flag:?} is none of last, break, redirect and permanent");
                return Err(directive.fault(what));
            }
        };
        Ok(Op::Rewrite(Box::new(Rewrite {
            pattern,
            path,
            query,
            keeps_query,
            then,
        })))
    }

    /// `if (…) { … }`.
    fn condition(&self, directive: &Directive, branches: &mut Vec<Output>) -> Result<Op, Fault> {
        let Some(block) = &directive.block else {
            return Err(directive.fault("a block in { } expected"));
        };
        let condition = self.test(directive)?;
        let (mut ops, mut output) = (Vec::new(), Output::default());
        for inner in block {
            let is_output = output.read(inner, self)?;
            if is_output && self.level != Level::Location {
                return Err(inner.fault("is not for an if of a server"));
            }
            if is_output {
                continue;
            }
            match inner.name.as_str() {
                "set" | "return" | "rewrite" | "break" if inner.block.is_none() => {
                    ops.push(self.plain(inner)?);
                }
                "if" => return Err(inner.fault("stands in another if")),
                _ => {
                    let known = self.is_known(inner);
                    let what = match known {
                        true => "is not for an if".to_owned(),
                        false => outside::reason(&inner.name),
                    };
                    return Err(inner.fault(what));
                }
            }
        }
        // One that says nothing of responses stands for the location, which says it all.
        branches.push(output);
        Ok(Op::If(condition, ops.into(), branches.len() - 1))
    }

    fn is_known(&self, directive: &Directive) -> bool {
        let names = ["proxy_hide_header", "allow", "deny", "proxy_set_header"];
        names.contains(&directive.name.as_str()) || wishes::read(directive).is_some()
    }

    /// `($a)`, `($a = b)`, `($a !~* b)`: the parentheses may stand apart.
    fn test(&self, directive: &Directive) -> Result<Condition, Fault> {
        let fault = || directive.fault("a condition in ( ) expected");
        let mut words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        let first = words.first_mut().ok_or_else(fault)?;
        *first = first.strip_prefix('(').ok_or_else(fault)?;
        if first.is_empty() {
            words.remove(0);
        }
        let last = words.last_mut().ok_or_else(fault)?;
        *last = last.strip_suffix(')').ok_or_else(fault)?;
        if last.is_empty() {
            words.pop();
        }
        let (variable, rest) = words.split_first().ok_or_else(fault)?;
        if variable.starts_with('-') || variable.starts_with("!-") {
            return Err(directive.fault("tests of files are not done here"));
        }
        if !variable.starts_with('$') {
            return Err(directive.fault(format!("{variable:?} is no variable")));
        }
        let value = self.value(directive, variable)?;
        let (test, negated) = match rest {
            [] => (Test::Is, false),
            [operator, other] => {
                let (bare, negated) = match operator.strip_prefix('!') {
                    Some(bare) => (bare, true),
                    None => (*operator, false),
                };
                let test = match bare {
                    "=" => Test::Equals(self.value(directive, other)?),
                    "~" => Test::Matches(regex(directive, other, false)?),
                    "~*" => Test::Matches(regex(directive, other, true)?),
                    _ => {
                        let what = format!("{operator:?} is none of =, !=, ~, ~*, !~ and !~*");
                        return Err(directive.fault(what));
                    }
                };
                (test, negated)
            }
            _ => return Err(fault()),
        };
        Ok(Condition {
            value,
            test,
            negated,
        })
    }
}

fn regex(directive: &Directive, pattern: &str, any_case: bool) -> Result<Regex, Fault> {
    let compiled = compile(pattern, any_case);
    compiled.map_err(|why| directive.fault(format!("{pattern:?} cannot be matched: {why}")))
}

fn idle(directive: &Directive) -> Fault {
    directive.fault("has no effect here: every path says it of itself")
}
