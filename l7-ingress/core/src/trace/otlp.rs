//! OTLP: spans as protocol buffers, and requests to a collector made of them.
//!
//! Field numbers are those of opentelemetry-proto's `trace.proto`, `common.proto`, `resource.proto` and
//! `trace_service.proto`, version 1.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::{BufMut as _, Bytes, BytesMut};

/// The longest text of an attribute; what is more is cut off.
const LONGEST: usize = 4096;

/// The request for gRPC's `TraceService/Export`: one message with all of `spans`, each of them a `Span`.
#[must_use]
pub fn request(service: &str, (scope, version): (&str, &str), spans: &[Bytes]) -> Bytes {
    let name = Message::default().text(1, service);
    let name = Message::default().text(1, "service.name").message(2, &name);
    let resource = Message::default().message(1, &name);
    let scope = Message::default().text(1, scope).text(2, version);
    // ScopeSpans, with all spans.
    let mut scope_spans = Message::default().message(1, &scope);
    for span in spans {
        scope_spans = scope_spans.bytes(2, span);
    }
    let resource_spans = Message::default()
        .message(1, &resource)
        .message(2, &scope_spans);
    Message::default().message(1, &resource_spans).finish()
}

/// A message of gRPC: not compressed, and as long as it is.
///
/// # Panics
/// When it is longer than 4 GiB.
#[must_use]
pub fn frame(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len().saturating_add(5));
    frame.put_u8(0);
    frame.put_u32(
        u32::try_from(message.len()).expect("a bounded number of bounded spans is shorter"),
    );
    frame.extend_from_slice(message);
    frame.freeze()
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(BytesMut);

/// The ways in which a field can be written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field << 3 | wire as u32));
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.put_u8((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.put_u8((number & 0x7f) as u8);
    }

    /// A number.
    pub(super) fn number(mut self, field: u32, number: u64) -> Self {
        self.tag(field, Wire::Varint);
        self.varint(number);
        self
    }

    /// A number of eight bytes.
    pub(super) fn fixed64(mut self, field: u32, number: u64) -> Self {
        self.tag(field, Wire::Fixed64);
        self.0.put_u64_le(number);
        self
    }

    /// A number of four bytes.
    pub(super) fn fixed32(mut self, field: u32, number: u32) -> Self {
        self.tag(field, Wire::Fixed32);
        self.0.put_u32_le(number);
        self
    }

    /// Bytes.
    pub(super) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.tag(field, Wire::Length);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Text, of which not more is taken than can be expected to be read.
    pub(super) fn text(self, field: u32, text: &str) -> Self {
        let cut = text.floor_char_boundary(LONGEST);
        self.bytes(field, text.get(..cut).unwrap_or_default().as_bytes())
    }

    /// Another message.
    pub(super) fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// `Span.attributes`: a text by name.
    pub(super) fn attribute(self, key: &str, value: &str) -> Self {
        let value = Self::default().text(1, value);
        self.key_value(key, &value)
    }

    /// `Span.attributes`: a number by name.
    pub(super) fn count(self, key: &str, value: u64) -> Self {
        let value = Self::default().number(3, value);
        self.key_value(key, &value)
    }

    fn key_value(self, key: &str, value: &Self) -> Self {
        let pair = Self::default().text(1, key).message(2, value);
        self.message(ATTRIBUTES, &pair)
    }

    /// All of it.
    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// `Span.attributes`
const ATTRIBUTES: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_proto_files_say() {
        let span = Message::default()
            .bytes(2, &[1, 2])
            .number(6, 300)
            .fixed64(7, 1)
            .fixed32(16, 0x101)
            .attribute("a", "b")
            .count("n", 7)
            .finish();
        let written: &[u8] = &[
            0x12, 2, 1, 2, // 2: bytes
            0x30, 0xac, 2, // 6: a varint of two bytes
            0x39, 1, 0, 0, 0, 0, 0, 0, 0, // 7: eight bytes, the lowest first
            0x85, 1, 1, 1, 0, 0, // 16: a tag of two bytes, and four bytes
            0x4a, 8, 0x0a, 1, b'a', 0x12, 3, 0x0a, 1, b'b', // 9: KeyValue of a text
            0x4a, 7, 0x0a, 1, b'n', 0x12, 2, 0x18, 7, // 9: KeyValue of a number
        ];
        assert_eq!(span, written);

        let one = Bytes::from_static(&[0x0a, 0]);
        let spans = [one.clone(), one];
        let message = request("web", ("me", "1"), &spans);
        let wanted: &[u8] = &[
            0x0a, 46, // ResourceSpans
            0x0a, 25, // Resource
            0x0a, 23, 0x0a, 12, b's', b'e', b'r', b'v', b'i', b'c', b'e', b'.', b'n', b'a', b'm',
            b'e', 0x12, 7, 0x0a, 5, b'w', b'e', b'b', b'-', b'a',
        ];
        // The service's name is all that these two differ in.
        let named = request("web-a", ("me", "1"), &spans);
        assert_eq!(named.slice(..wanted.len()), wanted);
        let scope_spans: &[u8] = &[
            0x12, 17, // ScopeSpans
            0x0a, 7, 0x0a, 2, b'm', b'e', 0x12, 1, b'1', // InstrumentationScope
            0x12, 2, 0x0a, 0, // Span
            0x12, 2, 0x0a, 0, // Span
        ];
        assert_eq!(named.slice(wanted.len()..), scope_spans);
        assert!(message.ends_with(scope_spans));
        let framed = frame(&message);
        assert_eq!(
            framed.slice(..5),
            [0, 0, 0, 0, u8::try_from(message.len()).unwrap()][..]
        );
        assert_eq!(framed.slice(5..), message);
    }

    #[test]
    fn texts_end_somewhere_and_between_characters() {
        let long = "\u{e4}".repeat(LONGEST);
        let cut = Message::default().text(1, &format!("x{long}")).finish();
        // One byte is left over: half a character is none.
        assert_eq!(cut.len(), 1 + 2 + LONGEST - 1);
        assert!(std::str::from_utf8(&cut.slice(3..)).is_ok());
    }
}
