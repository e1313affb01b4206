//! What the nodes of a closed subnet share (`spec/07-trust.md`).

use std::fmt;
use std::str::FromStr;

use super::hex;

/// What the text of a secret begins with, so that one is recognised where it does not belong.
const PREFIX: &str = "peernet-secret-";
/// Bytes of a secret that is made here.
const MADE_LEN: usize = 32;
/// Fewest bytes of a secret: 128 bits cannot be guessed.
const MIN_LEN: usize = 16;
/// Most bytes of a secret; more would add nothing.
const MAX_LEN: usize = 64;

/// A secret that all nodes of a closed subnet share: without it a node cannot join, and is told nothing.
/// Random bytes, never a password: `peernet secret` makes one. `Debug` does not show it.
///
/// ```
/// use peernet::identity::Secret;
///
/// let secret = Secret::generate(&mut rand::rng());
/// assert_eq!(secret.to_text().parse(), Ok(secret));
/// assert!("correct horse battery staple".parse::<Secret>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one, of 256 random bits.
    #[must_use]
    pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
        let mut bytes = vec![0; MADE_LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The secret that these bytes are.
    ///
    /// # Errors
    /// [`SecretError::Length`] unless there are 16 to 64 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        match bytes.len() {
            MIN_LEN..=MAX_LEN => Ok(Self(bytes.to_owned())),
            _ => Err(SecretError::Length),
        }
    }

    /// The bytes: keep them to yourself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, to be kept in a file that only its owner can read: `peernet-secret-` and
    /// hexadecimal digits. There is no `Display`, so that none is printed by mistake.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", hex::write(&self.0))
    }
}

/// Reads what [`Secret::to_text`] writes; white space around it does not count.
impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(hex::read);
        Self::from_bytes(&bytes.ok_or(SecretError::Form)?)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a text or some bytes are no secret. Says nothing of them.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// Too few bytes to be safe from guessing, or too many.
    #[error("a secret has 16 to 64 random bytes; `peernet secret` makes one")]
    Length,
    /// Not written as a secret is.
    #[error("a secret is written `peernet-secret-` and hexadecimal digits; `peernet secret` makes one")]
    Form,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// T-12, T-17
    #[test]
    fn refused() {
        let text = |digits: &str| format!("{PREFIX}{digits}").parse::<Secret>();
        assert_eq!(text(&"ab".repeat(16)).unwrap().as_bytes(), [0xab; 16]);
        assert!(format!(" {PREFIX}{}\n", "AB".repeat(64)).parse::<Secret>().is_ok());
        assert_eq!(text(&"ab".repeat(15)), Err(SecretError::Length));
        assert_eq!(text(&"ab".repeat(65)), Err(SecretError::Length));
        assert_eq!(text(&"a".repeat(33)), Err(SecretError::Form));
        assert_eq!(text(&"+a".repeat(16)), Err(SecretError::Form));
        assert_eq!("ab".repeat(16).parse::<Secret>(), Err(SecretError::Form));
    }

    #[test]
    fn never_shown() {
        let secret = Secret::from_bytes(&[7; 16]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
