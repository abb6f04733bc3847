//! Expressions as bytes.

use super::{Count, Expression, Found, Limit, PortChoice, Register, Reject};
use crate::wire::Message;

pub(super) const NFTA_EXPR_NAME: u16 = 1;
pub(super) const NFTA_EXPR_DATA: u16 = 2;
/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;
/// `NFT_OBJECT_COUNTER`.
pub(in crate::nft) const OBJECT_COUNTER: u32 = 1;
const NFT_NG_RANDOM: u32 = 1;
const RANDOM: u32 = 1 << 2;
const FULLY_RANDOM: u32 = 1 << 4;

impl Register {
    /// Those of 16 bytes go by the numbers 1 to 4, as the kernel lists them.
    fn number(self) -> u32 {
        match self.0 % 4 {
            0 => u32::from(self.0 / 4) + 1,
            _ => u32::from(self.0) + 8,
        }
    }

    pub(super) fn read(number: u32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        match number {
            1..=4 => Some(Self((number - 1) * 4)),
            8..=23 => Some(Self(number - 8)),
            _ => None,
        }
    }
}

impl PortChoice {
    fn flags(self) -> u32 {
        match self {
            Self::Keep => 0,
            Self::Random => RANDOM,
            Self::FullyRandom => FULLY_RANDOM,
        }
    }

    pub(super) fn read(flags: u32) -> Self {
        match (flags & FULLY_RANDOM, flags & RANDOM) {
            (0, 0) => Self::Keep,
            (0, _) => Self::Random,
            _ => Self::FullyRandom,
        }
    }
}

impl Count {
    pub(in crate::nft) fn write(self, message: &mut Message) {
        message.be64(1, self.bytes).be64(2, self.packets);
    }
}

impl Expression {
    /// Its name and its attributes; the numbers are those of `NFTA_<name>_*`.
    pub(in crate::nft) fn write(&self, message: &mut Message) {
        message.text(NFTA_EXPR_NAME, self.name());
        message.nest(NFTA_EXPR_DATA, |message| self.write_data(message));
    }

    fn name(&self) -> &str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Compare { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Bitwise { .. } => "bitwise",
            Self::Ct { .. } | Self::SetCt { .. } => "ct",
            Self::Lookup { .. } => "lookup",
            Self::Load { .. } | Self::Verdict(_) => "immediate",
            Self::Random { .. } => "numgen",
            Self::Nat { .. } => "nat",
            Self::Masquerade(_) => "masq",
            Self::Fib { .. } => "fib",
            Self::Counter(_) => "counter",
            Self::NamedCounter(_) => "objref",
            Self::Limit(_) => "limit",
            Self::Log { .. } => "log",
            Self::Reject(_) => "reject",
            Self::Queue { .. } => "queue",
            Self::NoTrack => "notrack",
            Self::Other(name) => name,
        }
    }

    fn write_data(&self, message: &mut Message) {
        match self {
            Self::Meta { key, into } => {
                message.be32(1, into.number()).be32(2, *key as u32);
            }
            Self::SetMeta { key, from } => {
                message.be32(2, *key as u32).be32(3, from.number());
            }
            Self::Ct {
                key,
                direction,
                into,
            } => {
                message.be32(1, into.number()).be32(2, *key as u32);
                if let Some(direction) = direction {
                    message.u8(3, *direction as u8);
                }
            }
            Self::SetCt { key, from } => {
                message.be32(2, *key as u32).be32(4, from.number());
            }
            Self::Load { value, into } => {
                message.be32(1, into.number());
                message.nest(2, |message| value.write(message));
            }
            Self::Verdict(verdict) => {
                message.be32(1, VERDICT);
                message.nest(2, |message| verdict.write(message));
            }
            Self::Random { below, into } => {
                message.be32(1, into.number()).be32(2, *below);
                message.be32(3, NFT_NG_RANDOM);
            }
            Self::Counter(count) => count.write(message),
            Self::NamedCounter(name) => {
                message.be32(1, OBJECT_COUNTER).text(2, name);
            }
            Self::Limit(limit) => limit.write(message),
            Self::NoTrack | Self::Other(_) => {}
            Self::Payload { .. }
            | Self::Compare { .. }
            | Self::Range { .. }
            | Self::Bitwise { .. }
            | Self::Lookup { .. } => self.write_match(message),
            Self::Nat { .. }
            | Self::Masquerade(_)
            | Self::Fib { .. }
            | Self::Log { .. }
            | Self::Reject(_)
            | Self::Queue { .. } => self.write_action(message),
        }
    }

    fn write_match(&self, message: &mut Message) {
        match self {
            Self::Payload {
                header,
                offset,
                length,
                into,
            } => {
                message.be32(1, into.number()).be32(2, *header as u32);
                message.be32(3, *offset).be32(4, *length);
            }
            Self::Compare { from, how, value } => {
                message.be32(1, from.number()).be32(2, *how as u32);
                message.nest(3, |message| value.write(message));
            }
            Self::Range {
                from,
                not,
                first,
                last,
            } => {
                message.be32(1, from.number()).be32(2, (*not).into());
                message.nest(3, |message| first.write(message));
                message.nest(4, |message| last.write(message));
            }
            Self::Bitwise {
                from,
                into,
                mask,
                xor,
            } => {
                let length = u32::try_from(mask.bytes().len()).unwrap_or(0);
                message.be32(1, from.number()).be32(2, into.number());
                message.be32(3, length);
                message.nest(4, |message| mask.write(message));
                message.nest(5, |message| xor.write(message));
            }
            Self::Lookup {
                set,
                from,
                not,
                found,
            } => {
                message.text(1, set).be32(2, from.number());
                match found {
                    Found::Ignored => {}
                    Found::Loaded(into) => {
                        message.be32(3, into.number());
                    }
                    Found::Obeyed => {
                        message.be32(3, VERDICT);
                    }
                }
                if *not {
                    message.be32(5, 1);
                }
            }
            _ => {}
        }
    }

    fn write_action(&self, message: &mut Message) {
        match self {
            Self::Nat {
                kind,
                family,
                address,
                port,
                choice,
            } => {
                message.be32(1, *kind as u32).be32(2, *family as u32);
                // The kernel takes a missing maximum for the minimum.
                if let Some(address) = address {
                    message.be32(3, address.number());
                }
                if let Some(port) = port {
                    message.be32(5, port.number());
                }
                write_flags(message, 7, choice.flags());
            }
            Self::Masquerade(choice) => write_flags(message, 1, choice.flags()),
            Self::Fib { key, result, into } => {
                message.be32(1, into.number()).be32(2, *result as u32);
                message.be32(3, key.0);
            }
            Self::Log {
                group,
                prefix,
                length,
            } => {
                message.be16(1, *group);
                if !prefix.is_empty() {
                    message.text(2, prefix);
                }
                if *length > 0 {
                    message.be32(3, *length);
                }
            }
            Self::Reject(Reject::Reset) => {
                message.be32(1, 1).u8(2, 0);
            }
            Self::Reject(Reject::Unreachable(code)) => {
                message.be32(1, 2).u8(2, *code);
            }
            Self::Queue {
                number,
                total,
                bypass,
            } => {
                message.be16(1, *number).be16(2, *total);
                message.be16(3, (*bypass).into());
            }
            _ => {}
        }
    }
}

impl Limit {
    fn write(&self, message: &mut Message) {
        message.be64(1, self.rate).be64(2, self.seconds);
        message.be32(3, self.burst).be32(4, self.of as u32);
        write_flags(message, 5, self.over.into());
    }
}

fn write_flags(message: &mut Message, kind: u16, flags: u32) {
    if flags != 0 {
        message.be32(kind, flags);
    }
}
