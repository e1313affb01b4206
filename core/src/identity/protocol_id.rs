//! The name of a network: which nodes may join each other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{IdError, check_base58};
use crate::wire::base58::encode_int;

/// The protocol version that goes into every protocol id: nodes of another version refuse us.
pub const PROTOCOL_VERSION: &str = "0.7";

/// Longest protocol id accepted, in characters. A derived one has at most 44.
pub const MAX_PROTOCOL_ID_LEN: usize = 128;

/// What two nodes must have in common to join each other: the subnet's name, the encryption's name
/// and the protocol version, as base58 of a SHA-256. Cheap to clone.
///
/// ```
/// use peernet::identity::ProtocolId;
///
/// let id = ProtocolId::derive("mesh", "Plaintext");
/// assert_eq!(id.as_str(), "EpAmyZWv9rZUKmjQgU3FTUD4GrJHvVEXizmghVBc8eGD");
/// assert_ne!(id, ProtocolId::derive("mesh", "SSL"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(Arc<str>);

impl ProtocolId {
    /// The id of `subnet` under `encryption` (`Plaintext`, `SSL` or `ws`) and [`PROTOCOL_VERSION`].
    #[must_use]
    pub fn derive(subnet: &str, encryption: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(subnet);
        hash.update(encryption);
        hash.update(PROTOCOL_VERSION);
        Self(encode_int(&hash.finalize()).into())
    }

    /// Takes an id that was written elsewhere.
    ///
    /// # Errors
    /// [`IdError`] unless `text` is 1 to [`MAX_PROTOCOL_ID_LEN`] base58 characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_base58(text, MAX_PROTOCOL_ID_LEN)?;
        Ok(Self(text.into()))
    }

    /// The base58 text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProtocolId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl AsRef<str> for ProtocolId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/p2p-today-0.7.json"));

    /// I-5, I-6
    #[test]
    fn vectors() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["ids"]["protocol"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            assert_eq!(case["version"], PROTOCOL_VERSION);
            let id =
                ProtocolId::derive(case["subnet"].as_str().unwrap(), case["encryption"].as_str().unwrap());
            assert_eq!(id.as_str(), case["id"].as_str().unwrap());
            assert_eq!(id.to_string().parse::<ProtocolId>(), Ok(id));
        }
    }

    /// I-7, L-28
    #[test]
    fn refused() {
        assert_eq!(ProtocolId::parse(""), Err(IdError::Empty));
        assert_eq!(ProtocolId::parse("l"), Err(IdError::NotBase58));
        assert_eq!(ProtocolId::parse(&"a".repeat(129)), Err(IdError::TooLong { len: 129, max: 128 }));
    }
}
