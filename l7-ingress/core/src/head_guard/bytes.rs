//! How far a run of bytes of one class goes.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &mut [bool] = &mut table;
    let mut byte = 0_u8;
    while let Some((slot, tail)) = rest.split_first_mut() {
        *slot = is_token(byte);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
};

/// How many bytes at the start are token characters.
pub(super) fn token(bytes: &[u8]) -> usize {
    let end = |&byte: &u8| !TOKEN.get(usize::from(byte)).copied().unwrap_or_default();
    bytes.iter().position(end).unwrap_or(bytes.len())
}

/// How many bytes at the start are neither below `FLOOR` nor DEL. Eight at a time.
pub(super) fn printable<const FLOOR: u8>(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    const DEL: u64 = u64::from_le_bytes([0x7f; 8]);
    let floor = u64::from_le_bytes([FLOOR; 8]);
    let mut rest = bytes;
    while let Some((block, tail)) = rest.split_first_chunk::<8>() {
        let block = u64::from_le_bytes(*block);
        // A byte borrows from the next only if it is a hit itself, so the lowest hit is exact.
        let below = block.wrapping_sub(floor) & !block;
        let del = (block ^ DEL).wrapping_sub(ONES) & !(block ^ DEL);
        let hits = (below | del) & HIGH;
        if hits != 0 {
            let before = bytes.len().saturating_sub(rest.len());
            return before.saturating_add(hits.trailing_zeros() as usize >> 3);
        }
        rest = tail;
    }
    let before = bytes.len().saturating_sub(rest.len());
    let end = |&byte: &u8| byte < FLOOR || byte == 0x7f;
    before.saturating_add(rest.iter().position(end).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_end_at_the_first_other_byte(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let until = |stop: fn(&u8) -> bool| bytes.iter().position(stop).unwrap_or(bytes.len());
            prop_assert_eq!(printable::<b' '>(&bytes), until(|&b| b < b' ' || b == 0x7f));
            prop_assert_eq!(printable::<b'!'>(&bytes), until(|&b| b < b'!' || b == 0x7f));
            let separator = |b: &u8| !b.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(b);
            prop_assert_eq!(token(&bytes), until(separator));
        }

        #[test]
        fn long_runs(len in 0_usize..40, end in prop::sample::select(vec![0, 9, 10, 13, 0x1f, 0x7f])) {
            let mut bytes = vec![b'\x80'; len];
            bytes.push(end);
            bytes.extend([0xff, 0x00, 0x7f, b'a', 0, 0, 0, 0]);
            prop_assert_eq!(printable::<b' '>(&bytes), len);
        }
    }
}
