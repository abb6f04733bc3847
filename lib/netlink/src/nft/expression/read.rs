//! Expressions as the kernel lists them.

use super::encode::{NFTA_EXPR_DATA, NFTA_EXPR_NAME};
use super::{
    Comparison, Count, Ct, Direction, Expression, FibKey, FibResult, Found, Header, Limit, LimitOf,
    Meta, NatFamily, NatKind, PortChoice, Register, Reject,
};
use crate::nft::value::{Value, Verdict};
use crate::wire::{self, Attributes};

impl Expression {
    /// What it is; [`Expression::Other`] where that is not known here.
    pub(in crate::nft) fn read(attributes: Attributes<'_>) -> Self {
        let name = attributes.get(NFTA_EXPR_NAME).map(wire::read_text);
        let name = name.unwrap_or_default();
        let data = Data(attributes.inside(NFTA_EXPR_DATA));
        read(&name, data).unwrap_or_else(|| Self::Other(name.into_boxed_str()))
    }
}

/// The attributes of an expression.
#[derive(Clone, Copy)]
struct Data<'a>(Attributes<'a>);

impl Data<'_> {
    fn number(self, kind: u16) -> Option<u32> {
        self.0.get(kind).and_then(wire::read_be32)
    }

    fn short(self, kind: u16) -> Option<u16> {
        self.0.get(kind).and_then(wire::read_be16)
    }

    fn long(self, kind: u16) -> Option<u64> {
        self.0.get(kind).and_then(wire::read_be64)
    }

    fn register(self, kind: u16) -> Option<Register> {
        Register::read(self.number(kind)?)
    }

    fn value(self, kind: u16) -> Option<Value> {
        Value::read(self.0.inside(kind))
    }

    fn text(self, kind: u16) -> Option<Box<str>> {
        Some(wire::read_text(self.0.get(kind)?).into_boxed_str())
    }
}

fn read(name: &str, data: Data<'_>) -> Option<Expression> {
    match name {
        "meta" => read_meta(data),
        "payload" => read_payload(data),
        "cmp" => Some(Expression::Compare {
            from: data.register(1)?,
            how: comparison(data.number(2)?)?,
            value: data.value(3)?,
        }),
        "range" => Some(Expression::Range {
            from: data.register(1)?,
            not: data.number(2)? == 1,
            first: data.value(3)?,
            last: data.value(4)?,
        }),
        "bitwise" => Some(Expression::Bitwise {
            from: data.register(1)?,
            into: data.register(2)?,
            mask: data.value(4)?,
            xor: data.value(5)?,
        }),
        "ct" => read_ct(data),
        "lookup" => read_lookup(data),
        "immediate" => match data.register(1) {
            Some(into) => Some(Expression::Load {
                value: data.value(2)?,
                into,
            }),
            None => Verdict::read(data.0.inside(2)).map(Expression::Verdict),
        },
        // One with an offset is of somebody else.
        "numgen" if data.number(3) == Some(1) && data.number(4).unwrap_or(0) == 0 => {
            Some(Expression::Random {
                into: data.register(1)?,
                below: data.number(2)?,
            })
        }
        "notrack" => Some(Expression::NoTrack),
        _ => read_action(name, data),
    }
}

fn read_action(name: &str, data: Data<'_>) -> Option<Expression> {
    Some(match name {
        "nat" => Expression::Nat {
            kind: match data.number(1)? {
                0 => NatKind::Source,
                _ => NatKind::Destination,
            },
            family: match data.number(2)? {
                2 => NatFamily::Ip,
                _ => NatFamily::Ip6,
            },
            address: data.register(3),
            port: data.register(5),
            choice: PortChoice::read(data.number(7).unwrap_or(0)),
        },
        "masq" => Expression::Masquerade(PortChoice::read(data.number(1).unwrap_or(0))),
        "fib" => Expression::Fib {
            into: data.register(1)?,
            result: match data.number(2)? {
                1 => FibResult::Link,
                2 => FibResult::LinkName,
                3 => FibResult::AddressKind,
                _ => return None,
            },
            key: FibKey(data.number(3)?),
        },
        "counter" => Expression::Counter(Count {
            bytes: data.long(1)?,
            packets: data.long(2)?,
        }),
        "objref" if data.number(1) == Some(super::encode::OBJECT_COUNTER) => {
            Expression::NamedCounter(data.text(2)?)
        }
        "limit" => Expression::Limit(Limit {
            rate: data.long(1)?,
            seconds: data.long(2)?,
            burst: data.number(3)?,
            of: match data.number(4)? {
                0 => LimitOf::Packets,
                _ => LimitOf::Bytes,
            },
            over: data.number(5).unwrap_or(0) & 1 == 1,
        }),
        "log" => Expression::Log {
            group: data.short(1)?,
            prefix: data.text(2).unwrap_or_default(),
            length: data.number(3).unwrap_or(0),
        },
        "reject" => Expression::Reject(match data.number(1)? {
            1 => Reject::Reset,
            2 => Reject::Unreachable(data.0.get(2).and_then(wire::read_u8)?),
            _ => return None,
        }),
        "queue" => Expression::Queue {
            number: data.short(1)?,
            total: data.short(2)?,
            bypass: data.short(3)? & 1 == 1,
        },
        _ => return None,
    })
}

fn read_meta(data: Data<'_>) -> Option<Expression> {
    let key = match data.number(2)? {
        0 => Meta::Length,
        3 => Meta::Mark,
        4 => Meta::Incoming,
        5 => Meta::Outgoing,
        6 => Meta::IncomingName,
        7 => Meta::OutgoingName,
        15 => Meta::Family,
        16 => Meta::Protocol,
        19 => Meta::PacketType,
        _ => return None,
    };
    Some(match data.register(1) {
        Some(into) => Expression::Meta { key, into },
        None => Expression::SetMeta {
            key,
            from: data.register(3)?,
        },
    })
}

fn read_payload(data: Data<'_>) -> Option<Expression> {
    Some(Expression::Payload {
        into: data.register(1)?,
        header: match data.number(2)? {
            0 => Header::Link,
            1 => Header::Network,
            2 => Header::Transport,
            _ => return None,
        },
        offset: data.number(3)?,
        length: data.number(4)?,
    })
}

fn read_ct(data: Data<'_>) -> Option<Expression> {
    let key = match data.number(2)? {
        0 => Ct::State,
        1 => Ct::Direction,
        2 => Ct::Status,
        3 => Ct::Mark,
        10 => Ct::Protocol,
        11 => Ct::SourcePort,
        12 => Ct::DestinationPort,
        17 => Ct::Zone,
        19 => Ct::Source4,
        20 => Ct::Destination4,
        21 => Ct::Source6,
        22 => Ct::Destination6,
        _ => return None,
    };
    let direction = data.0.get(3).and_then(wire::read_u8).map(|way| match way {
        0 => Direction::Original,
        _ => Direction::Reply,
    });
    Some(match data.register(1) {
        Some(into) => Expression::Ct {
            key,
            direction,
            into,
        },
        None => Expression::SetCt {
            key,
            from: data.register(4)?,
        },
    })
}

fn read_lookup(data: Data<'_>) -> Option<Expression> {
    Some(Expression::Lookup {
        set: data.text(1)?,
        from: data.register(2)?,
        found: match data.number(3) {
            None => Found::Ignored,
            Some(0) => Found::Obeyed,
            Some(number) => Found::Loaded(Register::read(number)?),
        },
        not: data.number(5).unwrap_or(0) & 1 == 1,
    })
}

fn comparison(number: u32) -> Option<Comparison> {
    Some(match number {
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        2 => Comparison::Less,
        3 => Comparison::AtMost,
        4 => Comparison::More,
        5 => Comparison::AtLeast,
        _ => return None,
    })
}
