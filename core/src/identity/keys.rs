//! Keys: what proves an id in `tls` subnets (`spec/07-trust.md`).

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use super::hex;

/// What the text of a key pair begins with, so that one is recognised where it does not belong.
const PREFIX: &str = "peernet-key-";

/// Bytes of a public key.
pub const PUBLIC_KEY_LEN: usize = 32;
/// Bytes of a secret key.
pub const SECRET_KEY_LEN: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// An Ed25519 public key (RFC 8032). Not checked to be a point of the curve: [`PublicKey::verify`]
/// fails for one that is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_LEN]);

impl PublicKey {
    /// The key that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }

    /// Whether `signature` is this key's under `message`. Strict (no key of small order, no second
    /// form of a signature), so that everyone comes to the same answer.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        // The point that a key is takes a tenth of the time to find, and is mostly that of the key before.
        thread_local!(static LATEST: RefCell<Option<VerifyingKey>> = const { RefCell::new(None) });
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        LATEST.with_borrow_mut(|latest| {
            let known = latest.take().filter(|known| *known.as_bytes() == self.0);
            *latest = known.or_else(|| VerifyingKey::from_bytes(&self.0).ok());
            latest.is_some_and(|key| key.verify_strict(message, &signature).is_ok())
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// An Ed25519 key pair: whoever has it is the node whose id is derived from it. Never printed. Cheap to clone.
///
/// ```
/// use peernet::identity::KeyPair;
///
/// let keys = KeyPair::from_secret([7; 32]);
/// let signature = keys.sign(b"hello");
/// assert!(keys.public().verify(b"hello", &signature));
/// assert!(!keys.public().verify(b"hullo", &signature));
/// assert_eq!(keys.to_text().parse(), Ok(keys));
/// ```
#[derive(Clone)]
pub struct KeyPair(Arc<SigningKey>);

impl KeyPair {
    /// New keys.
    #[must_use]
    pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
        let mut secret = [0; SECRET_KEY_LEN];
        rng.fill_bytes(&mut secret);
        Self::from_secret(secret)
    }

    /// The keys that belong to a secret key.
    #[must_use]
    pub fn from_secret(secret: [u8; SECRET_KEY_LEN]) -> Self {
        Self(Arc::new(SigningKey::from_bytes(&secret)))
    }

    /// The secret key: keep it to yourself.
    #[must_use]
    pub fn secret(&self) -> [u8; SECRET_KEY_LEN] {
        self.0.to_bytes()
    }

    /// The keys as text, to be kept in a file that only its owner can read: `peernet-key-` and the
    /// secret key in hexadecimal digits. There is no `Display`, so that none is printed by mistake.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", hex::write(&self.secret()))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).to_bytes()
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.public())
    }
}

/// Reads what [`KeyPair::to_text`] writes; white space around it does not count.
impl FromStr for KeyPair {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let secret = text.trim().strip_prefix(PREFIX).and_then(hex::read).ok_or(KeyError)?;
        Ok(Self::from_secret(secret.try_into().map_err(|_| KeyError)?))
    }
}

/// A text is no key pair. Says nothing of it.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
#[error("a key pair is written `peernet-key-` and 64 hexadecimal digits")]
pub struct KeyError;

#[cfg(test)]
mod tests {
    use super::*;

    /// T-17
    #[test]
    fn text() {
        let keys = KeyPair::from_secret([0xab; 32]);
        let text = keys.to_text();
        assert_eq!(text, format!("peernet-key-{}", "ab".repeat(32)));
        assert_eq!(format!(" {text}\n").parse(), Ok(keys.clone()));
        for bad in ["", "peernet-key-", &text[..75], &format!("{text}ab"), &"ab".repeat(32)] {
            assert_eq!(bad.parse::<KeyPair>(), Err(KeyError), "{bad}");
        }
        assert!(!format!("{keys:?}").contains("abab"));
    }
}
