//! RFC 4648 base64, the form of `Secret.data`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let symbol = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= chunk.len() {
                char::from(ALPHABET[symbol])
            } else {
                '='
            });
        }
    }
    text
}

/// True for what a strict decoder accepts; line breaks are ignored, as Go's decoder does.
pub(crate) fn is_valid(text: &str) -> bool {
    let symbols: Vec<u8> = text
        .bytes()
        .filter(|it| !matches!(it, b'\n' | b'\r'))
        .collect();
    let padding = symbols.iter().rev().take_while(|it| **it == b'=').count();
    let (data, _) = symbols.split_at(symbols.len() - padding);
    symbols.len().is_multiple_of(4) && padding <= 2 && data.iter().all(|it| ALPHABET.contains(it))
}

/// How many bytes a valid text stands for.
pub(crate) fn decoded_len(text: &str) -> usize {
    text.bytes().filter(|it| ALPHABET.contains(it)).count() * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_section_10() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert!(is_valid(text));
            assert_eq!(decoded_len(text), plain.len());
        }
        for text in ["Z", "Zg=", "Zg", "Z===", "Zm9*", "=Zm9"] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
