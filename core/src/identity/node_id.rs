//! The name of a node.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha384};

use super::{IdError, ProtocolId, PublicKey, check_base58};
use crate::wire::base58;

/// Longest node id accepted, in characters. A derived one has at most 66; the rest is room for ids
/// that others make by another rule.
pub const MAX_NODE_ID_LEN: usize = 128;

/// Characters that [`NodeId::short`] shows.
const SHORT_LEN: usize = 8;

/// The id of a node: base58 text, opaque to everyone but the node that made it. Cheap to clone.
///
/// Equality and `Ord` are those of the text. The rule which of two connections stays compares ids as
/// integers: that is [`NodeId::cmp_int`].
///
/// ```
/// use peernet::identity::{NodeId, ProtocolId};
///
/// let protocol = ProtocolId::derive("mesh", "Plaintext");
/// let id = NodeId::derive("127.0.0.1", 4444, &protocol, "any text, different in every process");
/// assert_eq!(NodeId::parse(id.as_str()), Ok(id));
/// assert!(NodeId::parse("not base58!").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Takes an id as text.
    ///
    /// # Errors
    /// [`IdError`] unless `text` is 1 to [`MAX_NODE_ID_LEN`] base58 characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_base58(text, MAX_NODE_ID_LEN)?;
        Ok(Self(text.into()))
    }

    /// Takes an id as the bytes of its text, the form in which py2p sends it.
    ///
    /// # Errors
    /// [`IdError`] unless `text` is 1 to [`MAX_NODE_ID_LEN`] base58 characters.
    pub fn from_bytes(text: &[u8]) -> Result<Self, IdError> {
        // Length first: not a byte of an overlong id is looked at.
        if text.len() > MAX_NODE_ID_LEN {
            return Err(IdError::TooLong { len: text.len(), max: MAX_NODE_ID_LEN });
        }
        Self::parse(std::str::from_utf8(text).map_err(|_| IdError::NotBase58)?)
    }

    /// The id that writes the digest `digest` (a big-endian integer) in base58.
    #[must_use]
    pub fn from_digest(digest: &[u8; 48]) -> Self {
        Self(base58::encode_int(digest).into())
    }

    /// The id of a node reached at `host` and `port`, by py2p's rule: the SHA-384 of the address
    /// written `('127.0.0.1', 4444)`, the protocol id and the salt.
    ///
    /// `salt` is what makes it unique: see [`random_salt`].
    #[must_use]
    pub fn derive(host: &str, port: u16, protocol: &ProtocolId, salt: &str) -> Self {
        let mut hash = Sha384::new();
        hash.update(format!("('{host}', {port})"));
        hash.update(protocol.as_str());
        hash.update(salt);
        Self::from_digest(&hash.finalize().into())
    }

    /// The id of the node that has this key, in a `tls` subnet: the SHA-384 of a prefix, the key and the
    /// protocol id.
    #[must_use]
    pub fn of_key(key: &PublicKey, protocol: &ProtocolId) -> Self {
        let mut hash = Sha384::new();
        hash.update("peernet node id");
        hash.update(key.as_bytes());
        hash.update(protocol.as_str());
        Self::from_digest(&hash.finalize().into())
    }

    /// The base58 text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters of the id, enough for people to tell nodes apart in a log.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_LEN).unwrap_or(&self.0)
    }

    /// Compares two ids as the integers they write.
    #[must_use]
    pub fn cmp_int(&self, other: &Self) -> Ordering {
        base58::cmp_int(&self.0, &other.0)
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl AsRef<str> for NodeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map keyed by `NodeId` be asked with text.
impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

/// The text of a random UUID (version 4), which is what the released implementations salt their ids
/// with: 122 random bits from `rng`.
///
/// ```
/// let salt = peernet::identity::random_salt(&mut rand::rng());
/// assert_eq!(salt.len(), 36);
/// ```
pub fn random_salt<R: rand::Rng + ?Sized>(rng: &mut R) -> String {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    // RFC 9562: the version in the high half of byte 6, the variant in the two high bits of byte 8.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/p2p-today-0.7.json"));

    /// I-8
    #[test]
    fn vectors() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["ids"]["node"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let host = case["address"][0].as_str().unwrap();
            let port = u16::try_from(case["address"][1].as_u64().unwrap()).unwrap();
            let protocol = ProtocolId::parse(case["protocol"].as_str().unwrap()).unwrap();
            let id = NodeId::derive(host, port, &protocol, case["salt"].as_str().unwrap());
            assert_eq!(id.as_str(), case["id"].as_str().unwrap());
            assert_eq!(NodeId::from_bytes(id.as_str().as_bytes()), Ok(id));
        }
    }

    /// T-2, T-3
    #[test]
    fn ids_of_keys() {
        const TRUST: &str =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/trust.json"));
        // The first two of RFC 8032, 7.1.
        let secrets = [
            "peernet-key-9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "peernet-key-4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        ];
        let vectors: serde_json::Value = serde_json::from_str(TRUST).unwrap();
        let cases = vectors["ids"]["key"].as_array().unwrap();
        for (at, case) in cases.iter().enumerate() {
            let key = secrets[at / 2].parse::<crate::identity::KeyPair>().unwrap().public();
            let digits: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digits, case["key"].as_str().unwrap());
            let protocol = ProtocolId::parse(case["protocol"].as_str().unwrap()).unwrap();
            assert_eq!(NodeId::of_key(&key, &protocol).as_str(), case["id"].as_str().unwrap());
        }
        assert_eq!(cases.len(), 2 * secrets.len());
    }

    /// I-10, L-28
    #[test]
    fn bounds() {
        assert_eq!(NodeId::parse(""), Err(IdError::Empty));
        assert!(NodeId::parse("a").is_ok());
        assert!(NodeId::parse(&"a".repeat(128)).is_ok());
        assert_eq!(NodeId::parse(&"a".repeat(129)), Err(IdError::TooLong { len: 129, max: 128 }));
        assert_eq!(NodeId::parse("a0"), Err(IdError::NotBase58));
        assert_eq!(NodeId::from_bytes(&[0xff]), Err(IdError::NotBase58));
        assert_eq!(NodeId::from_bytes(&[b'a'; 129]), Err(IdError::TooLong { len: 129, max: 128 }));
    }

    /// I-4, I-11
    #[test]
    fn order_is_that_of_integers_only_where_asked() {
        let (small, great) = (NodeId::parse("zz").unwrap(), NodeId::parse("222").unwrap());
        assert_eq!(small.cmp_int(&great), Ordering::Less);
        assert_eq!(small.cmp(&great), Ordering::Greater);
    }

    #[test]
    fn short_and_lookup() {
        let id = NodeId::parse("abcdefghijk").unwrap();
        assert_eq!(id.short(), "abcdefgh");
        assert_eq!(NodeId::parse("abc").unwrap().short(), "abc");
        assert_eq!(format!("{id:>12}|{id:?}"), " abcdefghijk|NodeId(abcdefghijk)");
        assert_eq!(HashMap::from([(id, 1)]).get("abcdefghijk"), Some(&1));
    }

    /// I-9
    #[test]
    fn salt_is_a_version_4_uuid() {
        let mut rng = rand::rng();
        let salt = random_salt(&mut rng);
        assert_ne!(salt, random_salt(&mut rng));
        let bytes = salt.as_bytes();
        assert_eq!(bytes.len(), 36);
        for (i, &byte) in bytes.iter().enumerate() {
            match i {
                8 | 13 | 18 | 23 => assert_eq!(byte, b'-'),
                14 => assert_eq!(byte, b'4'),
                19 => assert!(b"89ab".contains(&byte)),
                _ => assert!(b"0123456789abcdef".contains(&byte)),
            }
        }
    }
}
