//! Rules: expressions in a chain, put together from what they match and what they do.

use super::comment;
use super::expression::{
    Comparison, Count, Ct, CtState, CtStatus, Direction, Expression, FibKey, FibResult, Found,
    Limit, Meta, NatFamily, NatKind, PortChoice, Register, Reject,
};
use super::field::Field;
use super::set::NFTA_LIST_ELEM;
use super::table::{NFTA_RULE_CHAIN, attributes, name};
use super::value::{Mark, Port, Value, Verdict};
use crate::wire::{self, Attributes, Frame, Message};

const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const COMMENT: u8 = 0;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it does, one after the other.
    pub expressions: Vec<Expression>,
    /// What it is for.
    pub comment: Option<Box<str>>,
}

/// A rule as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    /// Its chain.
    pub chain: Box<str>,
    /// Its number in the table.
    pub handle: u64,
    /// What it does.
    pub rule: Rule,
}

const R: Register = Register::FIRST;

impl Rule {
    /// One that matches all and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a comment.
    #[must_use]
    pub fn commented(mut self, comment: &str) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The same with one more expression.
    #[must_use]
    pub fn then(mut self, expression: Expression) -> Self {
        self.expressions.push(expression);
        self
    }

    /// What it was made as: a listed rule without what it has counted since, to compare.
    #[must_use]
    pub fn as_made(mut self) -> Self {
        for expression in &mut self.expressions {
            if let Expression::Counter(count) = expression {
                *count = Count::default();
            }
        }
        self
    }

    /// IPv4 only: what reads addresses in an `inet` table begins with this.
    #[must_use]
    pub fn ipv4(self) -> Self {
        self.family(IPV4)
    }

    /// IPv6 only.
    #[must_use]
    pub fn ipv6(self) -> Self {
        self.family(IPV6)
    }

    fn family(self, number: u8) -> Self {
        let key = Meta::Family;
        let load = Expression::Meta { key, into: R };
        self.then(load)
            .compare(Comparison::Equal, Value::from_bytes(&[number]))
    }

    fn compare(self, how: Comparison, value: Value) -> Self {
        self.then(Expression::Compare {
            from: R,
            how,
            value,
        })
    }

    /// Where the field has this value.
    #[must_use]
    pub fn when(self, field: Field, value: impl Into<Value>) -> Self {
        self.then(field.load(R))
            .compare(Comparison::Equal, value.into())
    }

    /// Where it has not.
    #[must_use]
    pub fn unless(self, field: Field, value: impl Into<Value>) -> Self {
        self.then(field.load(R))
            .compare(Comparison::NotEqual, value.into())
    }

    /// Where the field is in this network.
    #[must_use]
    pub fn within(self, field: Field, net: impl Into<ipnet::IpNet>) -> Self {
        self.masked(field, net.into(), Comparison::Equal)
    }

    /// Where it is not.
    #[must_use]
    pub fn outside(self, field: Field, net: impl Into<ipnet::IpNet>) -> Self {
        self.masked(field, net.into(), Comparison::NotEqual)
    }

    fn masked(self, field: Field, net: ipnet::IpNet, how: Comparison) -> Self {
        self.then(field.load(R))
            .mask(net.netmask().into())
            .compare(how, net.network().into())
    }

    fn mask(self, mask: Value) -> Self {
        let xor = Value::from_bytes(&vec![0; mask.bytes().len()]);
        self.then(Expression::Bitwise {
            from: R,
            into: R,
            mask,
            xor,
        })
    }

    /// Where any of these bits of the field is set; for marks.
    #[must_use]
    pub fn with_bits(self, field: Field, bits: u32) -> Self {
        self.then(field.load(R)).any_of(bits)
    }

    fn any_of(self, bits: u32) -> Self {
        self.mask(Mark(bits).into())
            .compare(Comparison::NotEqual, Mark(0).into())
    }

    /// Where the field is between these, both included.
    #[must_use]
    pub fn between(self, field: Field, first: impl Into<Value>, last: impl Into<Value>) -> Self {
        self.then(field.load(R)).then(Expression::Range {
            from: R,
            not: false,
            first: first.into(),
            last: last.into(),
        })
    }

    /// Where the connection is in one of these states.
    #[must_use]
    pub fn in_state(self, states: CtState) -> Self {
        self.connection(Ct::State).any_of(states.0)
    }

    /// Where any of this was done with the connection.
    #[must_use]
    pub fn with_status(self, status: CtStatus) -> Self {
        self.connection(Ct::Status).any_of(status.0)
    }

    /// Where the packet goes this way of its connection.
    #[must_use]
    pub fn going(self, direction: Direction) -> Self {
        self.connection(Ct::Direction)
            .compare(Comparison::Equal, Value::from_bytes(&[direction as u8]))
    }

    fn connection(self, key: Ct) -> Self {
        let direction = None;
        self.then(Expression::Ct {
            key,
            direction,
            into: R,
        })
    }

    /// Where the destination is an address of this host.
    #[must_use]
    pub fn to_this_host(self) -> Self {
        self.addressed(FibKey::DESTINATION, Comparison::Equal)
    }

    /// Where the source is an address of this host.
    #[must_use]
    pub fn from_this_host(self) -> Self {
        self.addressed(FibKey::SOURCE, Comparison::Equal)
    }

    /// Where the destination is not an address of this host.
    #[must_use]
    pub fn to_others(self) -> Self {
        self.addressed(FibKey::DESTINATION, Comparison::NotEqual)
    }

    fn addressed(self, key: FibKey, how: Comparison) -> Self {
        self.then(Expression::Fib {
            key,
            result: FibResult::AddressKind,
            into: R,
        })
        .compare(how, Value::from_bytes(&LOCAL.to_ne_bytes()))
    }

    /// Where the set holds these fields, one after the other.
    #[must_use]
    pub fn one_of(self, fields: &[Field], set: &str) -> Self {
        self.lookup(fields, set, false, Found::Ignored)
    }

    /// Where it does not.
    #[must_use]
    pub fn none_of(self, fields: &[Field], set: &str) -> Self {
        self.lookup(fields, set, true, Found::Ignored)
    }

    /// What the map says about these fields; the next rule where it says nothing.
    #[must_use]
    pub fn decided_by(self, fields: &[Field], map: &str) -> Self {
        self.lookup(fields, map, false, Found::Obeyed)
    }

    /// Loads what the map leads to into the first registers.
    #[must_use]
    pub fn mapped_by(self, fields: &[Field], map: &str) -> Self {
        self.lookup(fields, map, false, Found::Loaded(R))
    }

    fn lookup(mut self, fields: &[Field], set: &str, not: bool, found: Found) -> Self {
        let mut next = R;
        for field in fields {
            self.expressions.push(field.load(next));
            next = Register(next.0 + field.registers());
        }
        self.then(Expression::Lookup {
            set: set.into(),
            from: R,
            not,
            found,
        })
    }

    /// Rewrites to the address, and port if the map has one, that [`Rule::mapped_by`] has loaded.
    #[must_use]
    pub fn nat_as_mapped(self, kind: NatKind, family: NatFamily, with_port: bool) -> Self {
        let port = match family {
            NatFamily::Ip => Register(1),
            NatFamily::Ip6 => Register(4),
        };
        self.then(Expression::Nat {
            kind,
            family,
            address: Some(R),
            port: with_port.then_some(port),
            choice: PortChoice::Keep,
        })
    }

    /// Rewrites to this address and, if any, port.
    #[must_use]
    pub fn nat(self, kind: NatKind, address: std::net::IpAddr, port: Option<u16>) -> Self {
        let (family, next) = match address {
            std::net::IpAddr::V4(_) => (NatFamily::Ip, Register(1)),
            std::net::IpAddr::V6(_) => (NatFamily::Ip6, Register(4)),
        };
        let load = |value, into| Expression::Load { value, into };
        let mut rule = self.then(load(address.into(), R));
        if let Some(port) = port {
            rule = rule.then(load(Port(port).into(), next));
        }
        rule.nat_as_mapped(kind, family, port.is_some())
    }

    /// Sets the packet's mark.
    #[must_use]
    pub fn set_mark(self, mark: u32) -> Self {
        let value = Mark(mark).into();
        let (key, from) = (Meta::Mark, R);
        self.then(Expression::Load { value, into: R })
            .then(Expression::SetMeta { key, from })
    }

    /// Sets these bits of the packet's mark and leaves the others.
    #[must_use]
    pub fn add_mark_bits(self, bits: u32) -> Self {
        let (key, from) = (Meta::Mark, R);
        self.with_raised(Field::Mark, bits)
            .then(Expression::SetMeta { key, from })
    }

    /// Sets the connection's mark.
    #[must_use]
    pub fn set_ct_mark(self, mark: u32) -> Self {
        let value = Mark(mark).into();
        let (key, from) = (Ct::Mark, R);
        self.then(Expression::Load { value, into: R })
            .then(Expression::SetCt { key, from })
    }

    /// Sets these bits of the connection's mark and leaves the others.
    #[must_use]
    pub fn add_ct_mark_bits(self, bits: u32) -> Self {
        let (key, from) = (Ct::Mark, R);
        self.with_raised(Field::CtMark, bits)
            .then(Expression::SetCt { key, from })
    }

    fn with_raised(self, field: Field, bits: u32) -> Self {
        self.then(field.load(R)).then(Expression::Bitwise {
            from: R,
            into: R,
            mask: Mark(!bits).into(),
            xor: Mark(bits).into(),
        })
    }

    /// Rewrites the source to that of the link that the packet leaves by.
    #[must_use]
    pub fn masquerade(self, choice: PortChoice) -> Self {
        self.then(Expression::Masquerade(choice))
    }

    /// Counts.
    #[must_use]
    pub fn count(self) -> Self {
        self.then(Expression::Counter(Count::default()))
    }

    /// Counts in an object with a name.
    #[must_use]
    pub fn count_in(self, counter: &str) -> Self {
        self.then(Expression::NamedCounter(counter.into()))
    }

    /// One packet in `of`, by chance.
    #[must_use]
    pub fn one_in(self, of: u32) -> Self {
        self.then(Expression::Random { below: of, into: R })
            .compare(Comparison::Equal, Value::from_bytes(&[0; 4]))
    }

    /// No more than so much.
    #[must_use]
    pub fn limit(self, limit: Limit) -> Self {
        self.then(Expression::Limit(limit))
    }

    /// Sends a copy to a group, to which a [`crate::PacketLog`] listens.
    #[must_use]
    pub fn log(self, group: u16, prefix: &str) -> Self {
        self.then(Expression::Log {
            group,
            prefix: prefix.into(),
            length: 0,
        })
    }

    /// Drops the packet and says so.
    #[must_use]
    pub fn reject(self, how: Reject) -> Self {
        self.then(Expression::Reject(how))
    }

    /// Decides.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Expression::Verdict(verdict))
    }

    /// Lets the packet pass.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    /// Loses the packet.
    #[must_use]
    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    /// Goes back to the chain that jumped here.
    #[must_use]
    pub fn back(self) -> Self {
        self.verdict(Verdict::Return)
    }

    /// Has another chain see the packet.
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain.into()))
    }

    /// Has another chain see the packet instead.
    #[must_use]
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(Verdict::Goto(chain.into()))
    }

    pub(super) fn write(&self, message: &mut Message) {
        message.nest(NFTA_RULE_EXPRESSIONS, |message| {
            for expression in &self.expressions {
                message.nest(NFTA_LIST_ELEM, |message| expression.write(message));
            }
        });
        if let Some(text) = &self.comment {
            message.bytes(NFTA_RULE_USERDATA, &comment::encode(COMMENT, text));
        }
    }
}

impl ListedRule {
    pub(super) fn read(frame: &Frame<'_>) -> Option<Self> {
        let attributes = attributes(frame);
        let expressions = attributes
            .inside(NFTA_RULE_EXPRESSIONS)
            .map(|(_, expression)| Expression::read(Attributes::new(expression)));
        Some(Self {
            chain: (*name(attributes, NFTA_RULE_CHAIN)?).into(),
            handle: wire::read_be64(attributes.get(NFTA_RULE_HANDLE)?)?,
            rule: Rule {
                expressions: expressions.collect(),
                comment: comment::read(attributes.get(NFTA_RULE_USERDATA), COMMENT),
            },
        })
    }
}

/// Names the chain and, if any, the rule in it.
pub(super) fn write_place(message: &mut Message, chain: &str, handle: Option<u64>) {
    message.text(NFTA_RULE_CHAIN, chain);
    if let Some(handle) = handle {
        message.be64(NFTA_RULE_HANDLE, handle);
    }
}
