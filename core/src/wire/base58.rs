//! Base58 with Bitcoin's alphabet, read as an *integer*.
//!
//! p2p.today writes its ids as integers, not as byte strings: leading zero bytes vanish, and zero is
//! `1`. Bitcoin's own base58 keeps one `1` for each leading zero byte, so a general base58 library
//! gives other texts for ids that begin with a zero byte (one in 256).
//!
//! ```
//! use peernet::wire::base58;
//!
//! assert_eq!(base58::encode_int(&[0x01, 0x00]), "5R");
//! assert_eq!(base58::encode_int(&[0x00, 0x01, 0x00]), "5R");
//! assert_eq!(base58::decode_int("5R", 48), Ok(vec![0x01, 0x00]));
//! ```

use std::cmp::Ordering;

/// The 58 digits in order of their value. The order is that of ASCII too, which [`cmp_int`] uses.
pub const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Marks bytes that are no digit in [`DIGITS`].
const NO_DIGIT: u8 = 0xff;

/// The value of every byte as a digit, or [`NO_DIGIT`].
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Digits handled at once: 58^5 is the greatest power of 58 in 32 bits, so that a limb of 32 bits
/// times it plus a carry fits 64.
const GROUP: usize = 5;

/// 58 to the power of [`GROUP`].
const GROUP_BASE: u64 = 58u64.pow(GROUP as u32);

/// Why a text is no base58 integer.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Base58Error {
    /// The text has no digit at all; zero is written `1`.
    #[error("empty text is no base58 integer (zero is \"1\")")]
    Empty,
    /// A byte of the text is not in the alphabet.
    #[error("byte {byte:#04x} at offset {at} is not in the base58 alphabet")]
    Digit {
        /// Offset of the byte in the text.
        at: usize,
        /// The byte itself.
        byte: u8,
    },
    /// The integer needs more bytes than the caller takes.
    #[error("the base58 integer is longer than {max_bytes} bytes")]
    TooLong {
        /// The bound that was given.
        max_bytes: usize,
    },
}

/// Writes the big-endian integer in `bytes` as base58. Leading zero bytes vanish; zero, and no bytes
/// at all, are `1`.
///
/// The cost grows with the square of the length: meant for ids of some dozens of bytes.
#[must_use]
pub fn encode_int(bytes: &[u8]) -> String {
    let start = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len());
    let (_, bytes) = bytes.split_at(start);
    // Most significant limb first; the first one takes what is over four bytes.
    let (head, whole) = bytes.split_at(bytes.len() % 4);
    let limb = |part: &[u8]| part.iter().fold(0u32, |n, &b| n << 8 | u32::from(b));
    let mut limbs: Vec<u32> = Vec::with_capacity(bytes.len() / 4 + 1);
    if !head.is_empty() {
        limbs.push(limb(head));
    }
    limbs.extend(whole.chunks_exact(4).map(limb));

    // Least significant digit first.
    let mut text: Vec<u8> = Vec::with_capacity(max_digits(bytes.len()) + GROUP);
    let mut rest = limbs.as_mut_slice();
    while !rest.is_empty() {
        let mut remainder = 0u64;
        for limb in rest.iter_mut() {
            let n = remainder << 32 | u64::from(*limb);
            // The remainder is under 58^5 < 2^32, hence so is the quotient.
            *limb = (n / GROUP_BASE) as u32;
            remainder = n % GROUP_BASE;
        }
        for _ in 0..GROUP {
            text.push(ALPHABET[(remainder % 58) as usize]);
            remainder /= 58;
        }
        let zeros = rest.iter().take_while(|&&limb| limb == 0).count();
        rest = rest.split_at_mut(zeros).1;
    }
    while text.last() == Some(&ALPHABET[0]) {
        text.pop();
    }
    if text.is_empty() {
        text.push(ALPHABET[0]);
    }
    text.iter().rev().map(|&digit| char::from(digit)).collect()
}

/// Reads base58 text as an integer: its big-endian bytes without leading zeros, so that zero gives
/// no bytes. Leading `1`s are zeros and do not matter.
///
/// # Errors
/// [`Base58Error`] when `text` is empty or holds another character, or when the integer needs more
/// than `max_bytes` bytes, which also bounds the work done on text from a stranger.
pub fn decode_int(text: &str, max_bytes: usize) -> Result<Vec<u8>, Base58Error> {
    if text.is_empty() {
        return Err(Base58Error::Empty);
    }
    if let Some((at, &byte)) = (text.as_bytes().iter().enumerate()).find(|&(_, &byte)| !is_digit(byte)) {
        return Err(Base58Error::Digit { at, byte });
    }
    let digits = significant(text);
    if digits.len() > max_digits(max_bytes) {
        return Err(Base58Error::TooLong { max_bytes });
    }
    // Least significant limb first.
    let mut limbs: Vec<u32> = Vec::with_capacity(digits.len() / GROUP + 1);
    for group in digits.chunks(GROUP) {
        let mut base = 1u64;
        let mut carry = 0u64;
        for &digit in group {
            base *= 58;
            carry = carry * 58 + u64::from(DIGITS[usize::from(digit)]);
        }
        for limb in &mut limbs {
            let n = u64::from(*limb) * base + carry;
            // The low half stays, the high half is carried.
            *limb = n as u32;
            carry = n >> 32;
        }
        if carry != 0 {
            limbs.push(carry as u32);
        }
    }
    let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    let start = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len());
    let bytes = bytes.split_at(start).1;
    if bytes.len() > max_bytes {
        return Err(Base58Error::TooLong { max_bytes });
    }
    Ok(bytes.to_vec())
}

/// Compares two base58 texts as the integers they write, without decoding them.
///
/// Means something only for texts of the alphabet (see [`is_base58`]); empty text counts as zero.
///
/// ```
/// use std::cmp::Ordering;
/// use peernet::wire::base58::cmp_int;
///
/// assert_eq!(cmp_int("z", "21"), Ordering::Less); // 57 and 58
/// assert_eq!(cmp_int("11z", "z"), Ordering::Equal);
/// ```
#[must_use]
pub fn cmp_int(a: &str, b: &str) -> Ordering {
    let (a, b) = (significant(a), significant(b));
    // More digits is more; at equal length the alphabet's order is that of its bytes.
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Whether `text` is one or more characters of the base58 alphabet.
#[must_use]
pub fn is_base58(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    DIGITS[usize::from(byte)] != NO_DIGIT
}

/// The digits of `text` from the first that is not zero.
fn significant(text: &str) -> &[u8] {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|&b| b != b'1').unwrap_or(bytes.len());
    bytes.split_at(start).1
}

/// An upper bound of the digits that `bytes` bytes need: log(256) / log(58) is 1.3657…
fn max_digits(bytes: usize) -> usize {
    bytes.saturating_mul(1366) / 1000 + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/p2p-today-0.7.json"));

    /// Bytes of hexadecimal digits of any number, as the vectors write integers.
    fn unhex(hex: &str) -> Vec<u8> {
        let hex = if hex.len() % 2 == 1 { format!("0{hex}") } else { hex.to_owned() };
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// I-1, I-2
    #[test]
    fn vectors() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["ids"]["base58_int"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let bytes = unhex(case["hex"].as_str().unwrap());
            let text = case["text"].as_str().unwrap();
            assert_eq!(encode_int(&bytes), text);
            let minimal: Vec<u8> = bytes.iter().copied().skip_while(|&b| b == 0).collect();
            assert_eq!(decode_int(text, 64).unwrap(), minimal);
        }
    }

    /// I-2, I-3
    #[test]
    fn zero() {
        assert_eq!(encode_int(&[]), "1");
        assert_eq!(encode_int(&[0, 0, 0, 0, 0]), "1");
        assert_eq!(decode_int("1", 0), Ok(vec![]));
        assert_eq!(decode_int("1111", 0), Ok(vec![]));
        assert_eq!(cmp_int("", "111"), Ordering::Equal);
    }

    /// I-3
    #[test]
    fn refused() {
        assert_eq!(decode_int("", 8), Err(Base58Error::Empty));
        assert_eq!(decode_int("a0", 8), Err(Base58Error::Digit { at: 1, byte: b'0' }));
        assert_eq!(decode_int("é", 8), Err(Base58Error::Digit { at: 0, byte: 0xc3 }));
        assert_eq!(decode_int("5R", 1), Err(Base58Error::TooLong { max_bytes: 1 }));
        assert_eq!(decode_int("5Q", 1), Ok(vec![0xff]));
        assert_eq!(decode_int(&"z".repeat(1 << 16), 48), Err(Base58Error::TooLong { max_bytes: 48 }));
        for not in ["", "0", "O", "I", "l", "abc ", "é"] {
            assert!(!is_base58(not), "{not:?}");
        }
        assert!(is_base58(std::str::from_utf8(ALPHABET).unwrap()));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = encode_int(&bytes);
            prop_assert!(is_base58(&text));
            let minimal: Vec<u8> = bytes.iter().copied().skip_while(|&b| b == 0).collect();
            prop_assert_eq!(decode_int(&text, bytes.len()).unwrap(), minimal);
        }

        /// I-1, I-4
        #[test]
        fn agrees_with_machine_integers(a: u64, b: u64, shift in 0u32..64) {
            let (a, b) = (a >> shift, b);
            let mut n = a;
            let mut expected = Vec::new();
            loop {
                expected.insert(0, ALPHABET[(n % 58) as usize]);
                n /= 58;
                if n == 0 { break; }
            }
            prop_assert_eq!(encode_int(&a.to_be_bytes()).into_bytes(), expected);
            let texts = (encode_int(&a.to_be_bytes()), encode_int(&b.to_be_bytes()));
            prop_assert_eq!(cmp_int(&texts.0, &texts.1), a.cmp(&b));
        }

        #[test]
        fn never_panics(text in "\\PC{0,80}", max in 0usize..70) {
            if let Ok(bytes) = decode_int(&text, max) {
                prop_assert!(bytes.len() <= max);
                prop_assert!(is_base58(&text));
                prop_assert_eq!(cmp_int(&encode_int(&bytes), &text), Ordering::Equal);
            }
        }
    }
}
