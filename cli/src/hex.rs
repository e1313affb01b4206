//! Bytes as hexadecimal text.

/// Appends `bytes` in lower-case digits.
pub(crate) fn write(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(digit)).copied().map_or('0', char::from));
        }
    }
}

/// The bytes that `text` writes, in digits of either case; `None` if it is anything else.
pub(crate) fn read(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect::<Option<Vec<u8>>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        write(&all, &mut text);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(read(text.as_bytes()), Some(all.clone()));
        assert_eq!(read(text.to_uppercase().as_bytes()), Some(all));
        for bad in ["0", "0g", "+1", " 1", "é"] {
            assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
