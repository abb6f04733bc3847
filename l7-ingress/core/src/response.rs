//! HTTP/1.1 responses as backends send them: where the head ends, how the body is framed, where it
//! ends (RFC 9112 §4–§7). Reads nothing by itself: bytes come in, pieces go out.
//!
//! A backend is not trusted to frame: what is ambiguous is refused, so that no byte of one response
//! can ever be taken for the next one on the same connection.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use memchr::memmem;

/// The most fields that a response head or trailer section may have.
const MAX_FIELDS: usize = 128;
/// The longest line that announces a chunk, extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// The longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Why a response was refused. The backend is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not HTTP/1.x, or a malformed field.
    #[error("backend sent a malformed response head")]
    Head,
    /// The head is longer than the limit.
    #[error("backend sent a response head that is too long")]
    HeadTooLong,
    /// Content-Length and Transfer-Encoding together, several lengths, an unknown coding.
    #[error("backend sent a response whose length is ambiguous")]
    Framing,
    /// A chunk size or delimiter that is none.
    #[error("backend sent a malformed chunk")]
    Chunk,
    /// The connection was closed before the body was complete.
    #[error("backend closed the connection in the middle of a response")]
    Incomplete,
}

/// A response head.
#[derive(Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, as sent.
    pub headers: HeaderMap,
    /// How its body is framed.
    pub body: BodyDecoder,
    /// Whether the backend keeps the connection open afterwards.
    pub keep_alive: bool,
}

/// Takes one head off the front of `buffer`; `None` when it is not complete yet.
///
/// `method` is the request's: a HEAD's response has no body whatever its fields say (RFC 9112
/// §6.3).
///
/// # Errors
/// When the head is malformed, ambiguous, or longer than `limit` bytes.
pub fn response_head(
    buffer: &mut BytesMut,
    method: &Method,
    limit: usize,
) -> Result<Option<ResponseHead>, ResponseError> {
    let Some(end) = memmem::find(buffer, b"\r\n\r\n") else {
        return if buffer.len() < limit {
            Ok(None)
        } else {
            Err(ResponseError::HeadTooLong)
        };
    };
    let length = end.saturating_add(4);
    if length > limit {
        return Err(ResponseError::HeadTooLong);
    }
    let head = buffer.split_to(length).freeze();
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &head, &mut fields) {
        // A head that ends earlier, at bare line feeds, would leave bytes that nobody framed.
        Ok(httparse::Status::Complete(parsed)) if parsed == length => {}
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::HeadTooLong),
        _ => return Err(ResponseError::Head),
    }
    let version = match parsed.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(ResponseError::Head)?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        // The value shares the head's allocation: no copy per field.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        headers.append(
            name.map_err(|_| ResponseError::Head)?,
            value.map_err(|_| ResponseError::Head)?,
        );
    }
    let body = framing(status, &headers, method, version)?;
    let keep_alive = keep_alive(version, &headers) && body != BodyDecoder::UntilClose;
    Ok(Some(ResponseHead {
        status,
        headers,
        body,
        keep_alive,
    }))
}

/// RFC 9112 §6.3, without its leniency.
fn framing(
    status: StatusCode,
    headers: &HeaderMap,
    method: &Method,
    version: Version,
) -> Result<BodyDecoder, ResponseError> {
    let coding = single(headers, &header::TRANSFER_ENCODING)?;
    let length = single(headers, &header::CONTENT_LENGTH)?;
    if coding.is_some() && (length.is_some() || version == Version::HTTP_10) {
        return Err(ResponseError::Framing);
    }
    let length = match length {
        Some(text) => Some(decimal(text.as_bytes()).ok_or(ResponseError::Framing)?),
        None => None,
    };
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(ResponseError::Framing);
    }
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || method == Method::HEAD;
    Ok(match (bodiless, coding, length) {
        (true, _, _) | (_, _, Some(0)) => BodyDecoder::Done,
        (_, Some(_), _) => BodyDecoder::Chunked(Chunked::Size),
        (_, _, Some(length)) => BodyDecoder::Length(length),
        (_, None, None) => BodyDecoder::UntilClose,
    })
}

/// The only value of a field that may occur once.
fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, ResponseError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ResponseError::Framing),
    }
}

/// Digits only: no sign, no list, no space.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let mut close = false;
    let mut keep = false;
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            close |= token.eq_ignore_ascii_case(b"close");
            keep |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    !close && (version == Version::HTTP_11 || keep)
}

/// Finds the end of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// Nothing more comes.
    Done,
    /// That many bytes more.
    Length(u64),
    /// Chunked transfer coding (RFC 9112 §7.1).
    Chunked(Chunked),
    /// Until the backend closes.
    UntilClose,
}

/// Where in the chunked coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// In a line that announces a chunk.
    Size,
    /// In a chunk's data, with that many bytes to come.
    Data(u64),
    /// At the line end after a chunk's data.
    DataEnd,
    /// In the trailer section.
    Trailers,
}

/// What [`BodyDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// The trailer section; the body is done.
    Trailers(HeaderMap),
    /// More bytes are needed.
    More,
    /// The body is done.
    Done,
}

impl BodyDecoder {
    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// When the coding is broken.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, ResponseError> {
        match self {
            Self::Done => Ok(Piece::Done),
            Self::Length(left) => {
                let Some(data) = take(buffer, left) else {
                    return Ok(Piece::More);
                };
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Piece::Data(data))
            }
            Self::UntilClose => {
                let mut unbounded = u64::MAX;
                Ok(take(buffer, &mut unbounded).map_or(Piece::More, Piece::Data))
            }
            Self::Chunked(state) => {
                let piece = state.decode(buffer)?;
                if matches!(piece, Piece::Done | Piece::Trailers(_)) {
                    *self = Self::Done;
                }
                Ok(piece)
            }
        }
    }

    /// What the end of the connection means at this point: the end of the body, or a body that was
    /// cut.
    ///
    /// # Errors
    /// When the body was cut.
    pub fn end_of_stream(&mut self) -> Result<(), ResponseError> {
        match self {
            Self::Done => Ok(()),
            Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(ResponseError::Incomplete),
        }
    }

    /// How many bytes are left, where known.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }
}

/// Up to `left` bytes off the front, without a copy.
fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let available = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
    let n = available.min(*left);
    if n == 0 {
        return None;
    }
    *left = left.saturating_sub(n);
    let n = usize::try_from(n).unwrap_or(buffer.len());
    Some(buffer.split_to(n).freeze())
}

impl Chunked {
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, ResponseError> {
        loop {
            match self {
                Self::Size => match chunk_size(buffer)? {
                    None => return Ok(Piece::More),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(left) => {
                    let Some(data) = take(buffer, left) else {
                        return Ok(Piece::More);
                    };
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                Self::DataEnd => match buffer.get(..2) {
                    None => return Ok(Piece::More),
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(ResponseError::Chunk),
                },
                Self::Trailers => return trailers(buffer),
            }
        }
    }
}

/// The line that announces a chunk: hexadecimal digits, then extensions that nobody reads.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, ResponseError> {
    let Some(end) = buffer
        .iter()
        .take(MAX_CHUNK_LINE)
        .position(|byte| *byte == b'\n')
    else {
        return if buffer.len() < MAX_CHUNK_LINE {
            Ok(None)
        } else {
            Err(ResponseError::Chunk)
        };
    };
    let line = buffer.split_to(end.saturating_add(1));
    let line = line.strip_suffix(b"\r\n").ok_or(ResponseError::Chunk)?;
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(ResponseError::Chunk)?;
    // `rest` is empty or an extension after optional blanks; a carriage return inside is a trick.
    let extension = rest.trim_ascii_start();
    let rest_is_fine = extension.is_empty() || extension.starts_with(b";");
    if digits.is_empty() || digits.len() > 15 || !rest_is_fine || line.contains(&b'\r') {
        return Err(ResponseError::Chunk);
    }
    let text = std::str::from_utf8(digits).map_err(|_| ResponseError::Chunk)?;
    u64::from_str_radix(text, 16)
        .map(Some)
        .map_err(|_| ResponseError::Chunk)
}

/// The trailer section up to the empty line. Framing fields in it are dropped (RFC 9110 §6.5.1).
fn trailers(buffer: &mut BytesMut) -> Result<Piece, ResponseError> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Piece::Done);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (length, fields) = match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_TRAILERS => return Ok(Piece::More),
        _ => return Err(ResponseError::Chunk),
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| ResponseError::Chunk)?;
        let forbidden = [
            header::TRANSFER_ENCODING,
            header::CONTENT_LENGTH,
            header::HOST,
        ];
        if !forbidden.contains(&name) {
            let value = HeaderValue::from_bytes(field.value).map_err(|_| ResponseError::Chunk)?;
            map.append(name, value);
        }
    }
    buffer.advance(length);
    Ok(Piece::Trailers(map))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that a backend's bytes amount to, fed in slices of `step` bytes and then closed.
    fn read(bytes: &[u8], method: &Method, step: usize) -> Result<(u16, Vec<u8>, usize), String> {
        let mut buffer = BytesMut::new();
        let mut head = None;
        let mut body = Vec::new();
        let mut feed = bytes.chunks(step.max(1));
        loop {
            let fed = feed.next();
            buffer.extend_from_slice(fed.unwrap_or_default());
            if head.is_none() {
                head = response_head(&mut buffer, method, 4096).map_err(|e| e.to_string())?;
            }
            if let Some(head) = &mut head {
                loop {
                    match head.body.decode(&mut buffer).map_err(|e| e.to_string())? {
                        Piece::Data(data) => body.extend_from_slice(&data),
                        Piece::Trailers(_) | Piece::Done => {
                            let rest = feed.map(<[u8]>::len).chain([buffer.len()]).sum();
                            return Ok((head.status.as_u16(), body, rest));
                        }
                        Piece::More => break,
                    }
                }
            }
            if fed.is_none() {
                let head = head.as_mut().ok_or("no head")?;
                head.body.end_of_stream().map_err(|e| e.to_string())?;
                return Ok((head.status.as_u16(), body, 0));
            }
        }
    }

    fn check(bytes: &str, expect: Result<(u16, &str, usize), ResponseError>) {
        let expect = expect
            .map(|(status, body, rest)| (status, body.as_bytes().to_vec(), rest))
            .map_err(|error| error.to_string());
        for step in [1, 2, 7, bytes.len()] {
            assert_eq!(
                read(bytes.as_bytes(), &Method::GET, step),
                expect,
                "{bytes:?} by {step}"
            );
        }
    }

    #[test]
    fn bodies_end_where_the_framing_says() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Ok((200, "hello", 0)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP",
            Ok((200, "ok", 4)),
        );
        check("HTTP/1.1 204 No Content\r\n\r\nx", Ok((204, "", 1)));
        check(
            "HTTP/1.1 304 NM\r\nContent-Length: 9\r\n\r\n",
            Ok((304, "", 0)),
        );
        check(
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            Ok((200, "until the end", 0)),
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}5\r\nhello\r\n0\r\n\r\nrest"),
            Ok((200, "hello", 4)),
        );
        check(
            &format!("{chunked}5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"),
            Ok((200, "hello", 0)),
        );
        check(&format!("{chunked}0\r\n\r\n"), Ok((200, "", 0)));
    }

    #[test]
    fn what_is_ambiguous_or_cut_is_refused() {
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(both, Err(ResponseError::Framing));
        for bad in ["+5", "0x5", "5,5", "", "5 5", "-1", "99999999999999999999"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bad}\r\n\r\n");
            check(&head, Err(ResponseError::Framing));
        }
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
        check(twice, Err(ResponseError::Framing));
        let coding = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        check(coding, Err(ResponseError::Framing));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            Err(ResponseError::Incomplete),
        );
        check("HTTP/9.9 200 OK\r\n\r\n", Err(ResponseError::Head));
        check("hello\r\n\r\n", Err(ResponseError::Head));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bad in [
            "\r\n",
            "5\nhello",
            "5\r\nhelloXX",
            "x\r\n",
            "1 0\r\n",
            "0;\rx\r\n",
            "+5\r\n",
        ] {
            check(&format!("{chunked}{bad}"), Err(ResponseError::Chunk));
        }
        check(
            &format!("{chunked}ffffffffffffffff\r\n"),
            Err(ResponseError::Chunk),
        );
        check(
            &format!("{chunked}5\r\nhello\r\n"),
            Err(ResponseError::Incomplete),
        );
    }

    #[test]
    fn a_head_request_has_no_body_whatever_the_fields_say() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(bytes, &Method::HEAD, 1), Ok((200, Vec::new(), 0)));
    }

    #[test]
    fn a_connection_is_kept_only_when_both_version_and_field_agree() {
        let keeps = |text: &str| {
            let mut buffer = BytesMut::from(text);
            response_head(&mut buffer, &Method::GET, 4096)
                .unwrap()
                .unwrap()
                .keep_alive
        };
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keeps(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n"
        ));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(keeps(
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        ));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn a_head_longer_than_the_limit_is_refused() {
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\nx: "[..]);
        buffer.extend_from_slice(&[b'a'; 5000]);
        let refused = response_head(&mut buffer, &Method::GET, 4096).unwrap_err();
        assert_eq!(refused, ResponseError::HeadTooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_split_give_one_answer(
            tail in proptest::collection::vec(any::<u8>(), 0..64),
            chunked in any::<bool>(),
            step in 1_usize..9,
        ) {
            let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
            if chunked {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            }
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(
                read(&bytes, &Method::GET, step),
                read(&bytes, &Method::GET, bytes.len())
            );
        }
    }
}
