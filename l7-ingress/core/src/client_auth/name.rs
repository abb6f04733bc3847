//! A client's certificate as endpoints are told of it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// A certificate that a client has shown, with those that came with it.
#[derive(Debug)]
pub struct Presented {
    /// The client's own is the first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whose it is, as nginx's `$ssl_client_s_dn` writes it (RFC 2253).
    pub subject: Box<str>,
    /// Who has signed it.
    pub issuer: Box<str>,
    /// It as PEM, escaped for a URL.
    pub pem: Box<str>,
}

impl Presented {
    /// What a handshake has brought; `None` if that is nothing, or no certificate at all.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        Some(Self {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            subject: text(certificate.subject()).into(),
            issuer: text(certificate.issuer()).into(),
            pem: pem(leaf).into(),
        })
    }
}

/// What stands as it is in a part of a URL (RFC 3986 §2.3).
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // RFC 7468 §2
    for line in base64.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    utf8_percent_encode(&pem, &ESCAPED).to_string()
}

/// RFC 2253: the last part first.
fn text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.iter().rev() {
        let attributes: Vec<_> = part.iter().collect();
        for (number, attribute) in attributes.into_iter().rev().enumerate() {
            if number > 0 {
                text.push('+');
            } else if !text.is_empty() {
                text.push(',');
            }
            let kind = attribute.attr_type();
            let value = attribute.attr_value();
            let number = kind.to_id_string();
            let short = SHORT.iter().find(|(oid, _)| *oid == number);
            match (short, string(value)) {
                (Some((_, short)), Some(value)) => {
                    text.push_str(short);
                    text.push('=');
                    escape(&mut text, &value);
                }
                (short, _) => {
                    text.push_str(short.map_or(number.as_str(), |(_, short)| short));
                    text.push_str("=#");
                    dump(&mut text, value);
                }
            }
        }
    }
    text
}

/// UTF-8, whatever it was.
fn string(value: &Any<'_>) -> Option<Vec<u8>> {
    let wide = |size: usize| {
        let number = |piece: &[u8]| piece.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        let all = value
            .data
            .chunks(size)
            .map(|piece| char::from_u32(number(piece)));
        Some(all.collect::<Option<String>>()?.into_bytes())
    };
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            Some(value.data.to_vec())
        }
        Tag::T61String => Some(
            value
                .data
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
                .into_bytes(),
        ),
        Tag::BmpString => wide(2),
        Tag::UniversalString => wide(4),
        _ => None,
    }
}

/// RFC 2253 §2.4, with what is no printable ASCII as OpenSSL writes it: no value ends a field's line.
fn escape(text: &mut String, value: &[u8]) {
    let last = value.len().wrapping_sub(1);
    for (at, byte) in value.iter().enumerate() {
        let edge = *byte == b' ' && (at == 0 || at == last) || *byte == b'#' && at == 0;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => {
                if edge {
                    text.push('\\');
                }
                text.push(char::from(*byte));
            }
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

fn dump(text: &mut String, value: &Any<'_>) {
    let tag = u8::try_from(value.tag().0).unwrap_or_default();
    let length = value.data.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = &length[zeros..];
    // X.690 §8.1.3
    let form = match length {
        [] => vec![0],
        [short @ ..=0x7F] => vec![*short],
        long => {
            let count = u8::try_from(long.len()).unwrap_or_default();
            [&[0x80 | count], long].concat()
        }
    };
    for byte in [tag].iter().chain(&form).chain(value.data) {
        let _ = write!(text, "{byte:02X}");
    }
}

/// How OpenSSL calls the parts of a name for short. What it has no name for stands by its number, dumped.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];
