//! Fields: what rules compare and look up, by name.

use super::expression::{Ct, Direction, Expression, Header, Meta, Register};

/// A value that a rule loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// IPv4 source.
    Source4,
    /// IPv4 destination.
    Destination4,
    /// IPv6 source.
    Source6,
    /// IPv6 destination.
    Destination6,
    /// The protocol above IP.
    Protocol,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// Mark of the packet.
    Mark,
    /// Name of the link that the packet came in by.
    IncomingName,
    /// Name of the link that the packet leaves by.
    OutgoingName,
    /// Mark of the connection.
    CtMark,
    /// Destination port that the connection was begun with, before it was rewritten.
    OriginalDestinationPort,
    /// IPv4 destination that the connection was begun with.
    OriginalDestination4,
    /// IPv6 destination that the connection was begun with.
    OriginalDestination6,
}

impl Field {
    /// The expression that loads it.
    pub fn load(self, into: Register) -> Expression {
        let payload = |header, offset, length| Expression::Payload {
            header,
            offset,
            length,
            into,
        };
        let meta = |key| Expression::Meta { key, into };
        let original = |key| Expression::Ct {
            key,
            direction: Some(Direction::Original),
            into,
        };
        match self {
            Self::Source4 => payload(Header::Network, 12, 4),
            Self::Destination4 => payload(Header::Network, 16, 4),
            Self::Source6 => payload(Header::Network, 8, 16),
            Self::Destination6 => payload(Header::Network, 24, 16),
            Self::SourcePort => payload(Header::Transport, 0, 2),
            Self::DestinationPort => payload(Header::Transport, 2, 2),
            Self::Protocol => meta(Meta::Protocol),
            Self::Mark => meta(Meta::Mark),
            Self::IncomingName => meta(Meta::IncomingName),
            Self::OutgoingName => meta(Meta::OutgoingName),
            Self::OriginalDestinationPort => original(Ct::DestinationPort),
            Self::OriginalDestination4 => original(Ct::Destination4),
            Self::OriginalDestination6 => original(Ct::Destination6),
            Self::CtMark => Expression::Ct {
                key: Ct::Mark,
                direction: None,
                into,
            },
        }
    }

    /// How many registers it takes.
    pub(super) fn registers(self) -> u8 {
        match self {
            Self::Source6
            | Self::Destination6
            | Self::OriginalDestination6
            | Self::IncomingName
            | Self::OutgoingName => 4,
            _ => 1,
        }
    }
}
