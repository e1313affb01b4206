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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/trust.json"));

    fn unhex<const N: usize>(json: &serde_json::Value) -> [u8; N] {
        let digits = json.as_str().unwrap();
        assert_eq!(digits.len(), 2 * N);
        std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
    }

    /// T-8, T-11, T-12
    #[test]
    fn vectors() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["proof"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let protocol = ProtocolId::parse(case["protocol"].as_str().unwrap()).unwrap();
            let secret = match case["secret"].as_str().unwrap() {
                "" => None,
                digits => Some(format!("peernet-secret-{digits}").parse().unwrap()),
            };
            let roles = [Role::Dialler, Role::Acceptor];
            let role = roles[usize::try_from(case["role"].as_u64().unwrap()).unwrap()];
            let other = roles[usize::from(role == Role::Dialler)];
            let (export, expected) = (unhex(&case["export"]), unhex::<PROOF_LEN>(&case["proof"]));
            let proof = Proof::new(protocol, secret.as_ref());
            assert_eq!(proof.make(role, &export), expected);
            assert!(proof.verify(role, &export, &expected));
            assert!(!proof.verify(other, &export, &expected));
            for at in 0..PROOF_LEN {
                let mut wrong = expected;
                wrong[at] ^= 1;
                assert!(!proof.verify(role, &export, &wrong));
            }
        }
    }
}
