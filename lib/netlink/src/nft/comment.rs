//! Comments as `nft` stores them: in the user data of an object, as (kind, length, text, zero).

/// `NFTNL_UDATA_COMMENT_MAXLEN`.
const LONGEST: usize = 127;

/// One comment as user data; what `nft` would refuse is cut off.
pub(super) fn encode(kind: u8, text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![kind, length];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The comment in user data.
pub(super) fn read(bytes: Option<&[u8]>, kind: u8) -> Option<Box<str>> {
    let mut rest = bytes?;
    loop {
        let (found, length) = (*rest.first()?, usize::from(*rest.get(1)?));
        let value = rest.get(2..2 + length)?;
        if found == kind {
            return Some(crate::wire::read_text(value).into_boxed_str());
        }
        rest = rest.get(2 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read_back_from_among_others() {
        let mut bytes = vec![0, 4, 1, 0, 0, 0];
        bytes.extend(encode(7, "of pod web-0"));
        assert_eq!(read(Some(&bytes), 7).as_deref(), Some("of pod web-0"));
        assert_eq!(read(Some(&bytes), 5), None);
        assert_eq!(read(Some(&[7, 9, 1]), 7), None);
        assert_eq!(encode(0, &"é".repeat(100)).len(), 2 + 126 + 1);
    }
}
