//! Each side proves that it is of the subnet, and has its secret if there is one, before any frame
//! (`spec/07-trust.md`). The proof is bound to the TLS session: one that is passed on to
//! another session, by someone in between, is no proof there.

use ring::hmac;

use crate::identity::{ProtocolId, Secret};

/// Bytes of a proof.
pub(super) const PROOF_LEN: usize = 32;
/// Bytes of what is exported from the TLS session.
pub(super) const EXPORT_LEN: usize = 32;
/// The label under which it is exported (RFC 8446, 7.5).
pub(super) const EXPORT_LABEL: &[u8] = b"EXPORTER-peernet-proof";

/// Who proves. Part of the proof, so that none can be sent back to where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Dialler = 0,
    Acceptor = 1,
}

/// What is proven: to be of this subnet.
pub(super) struct Proof {
    key: hmac::Key,
    protocol: ProtocolId,
}

impl Proof {
    pub(super) fn new(protocol: ProtocolId, secret: Option<&Secret>) -> Self {
        let secret = secret.map(Secret::as_bytes).unwrap_or_default();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), protocol }
    }

    fn message(&self, role: Role, export: &[u8; EXPORT_LEN]) -> Vec<u8> {
        [b"peernet proof", &[role as u8][..], self.protocol.as_str().as_bytes(), export].concat()
    }

    pub(super) fn make(&self, role: Role, export: &[u8; EXPORT_LEN]) -> [u8; PROOF_LEN] {
        let tag = hmac::sign(&self.key, &self.message(role, export));
        let mut proof = [0; PROOF_LEN];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// Whether `proof` is right. Takes the same time wherever it is wrong.
    pub(super) fn verify(&self, role: Role, export: &[u8; EXPORT_LEN], proof: &[u8; PROOF_LEN]) -> bool {
        hmac::verify(&self.key, &self.message(role, export), proof).is_ok()
    }
}
