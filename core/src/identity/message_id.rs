//! The name of a message.

use std::fmt;
use std::str::FromStr;

use super::IdError;

/// Bytes of a message id that `Debug` shows.
const SHORT_LEN: usize = 4;

/// The id of a message: the SHA-256 of its packed bytes, which travels in front of them.
///
/// ```
/// use peernet::identity::MessageId;
///
/// let id = MessageId::from_digest([0xab; 32]);
/// assert_eq!(id.to_string(), "ab".repeat(32));
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 32]);

impl MessageId {
    /// The id that a digest is.
    #[must_use]
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes, as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for MessageId {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl AsRef<[u8]> for MessageId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut id = [0u8; 32];
        if pairs.len() != id.len() || !rest.is_empty() {
            return Err(IdError::NotHex);
        }
        for (byte, pair) in id.iter_mut().zip(pairs) {
            for &digit in pair {
                let digit = char::from(digit).to_digit(16).ok_or(IdError::NotHex)?;
                *byte = *byte << 4 | digit as u8;
            }
        }
        Ok(Self(id))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Short, for logs: equal beginnings are as good as never seen by chance.
impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageId(")?;
        self.0.iter().take(SHORT_LEN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// I-13
    #[test]
    fn refused() {
        let good = "0123456789abcdefABCDEF".repeat(3)[..64].to_owned();
        assert!(good.parse::<MessageId>().is_ok());
        for bad in ["", "00", &good[..63], &format!("{good}0"), &format!("{good}00"), &good.replace('9', "g")]
        {
            assert_eq!(bad.parse::<MessageId>(), Err(IdError::NotHex), "{bad:?}");
        }
        // A sign is no digit, although integer parsers take it.
        assert_eq!(good.replacen("01", "+1", 1).parse::<MessageId>(), Err(IdError::NotHex));
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(format!("{:?}", MessageId::from_digest([0xab; 32])), "MessageId(abababab…)");
    }

    proptest! {
        /// I-13
        #[test]
        fn round_trip(bytes: [u8; 32]) {
            let id = MessageId::from(bytes);
            prop_assert_eq!(id.as_bytes(), &bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
