//! Who is who: protocol ids, node ids, message ids, the keys that prove them, and
//! the secret of a closed subnet.
//!
//! The three ids are digests. The first two travel as base58 text, the last as raw bytes.

mod hex;
mod keys;
mod message_id;
mod node_id;
mod protocol_id;
mod secret;

pub use keys::{KeyError, KeyPair, PUBLIC_KEY_LEN, PublicKey, SECRET_KEY_LEN, SIGNATURE_LEN};
pub use message_id::MessageId;
pub use node_id::{MAX_NODE_ID_LEN, NodeId, random_salt};
pub use protocol_id::{MAX_PROTOCOL_ID_LEN, PROTOCOL_VERSION, ProtocolId};
pub use secret::{Secret, SecretError};

use crate::wire::base58::is_base58;

/// Why a text or some bytes are no id.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// Nothing there.
    #[error("an id has at least one character")]
    Empty,
    /// Longer than any id we take.
    #[error("an id of {len} bytes is longer than {max}")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
        /// Longest accepted length, in bytes.
        max: usize,
    },
    /// A character outside the base58 alphabet.
    #[error("an id is written in base58 (letters and digits without 0, O, I and l)")]
    NotBase58,
    /// Not the hexadecimal digits of a message id.
    #[error("a message id is written as 64 hexadecimal digits")]
    NotHex,
}

/// Checks that `text` is `1..=max` base58 characters.
fn check_base58(text: &str, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > max {
        Err(IdError::TooLong { len: text.len(), max })
    } else if !is_base58(text) {
        Err(IdError::NotBase58)
    } else {
        Ok(())
    }
}
