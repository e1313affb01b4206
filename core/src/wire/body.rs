//! Bodies: `SHA-256(P) | P`, possibly compressed (`spec/02-wire.md`, W-5 to W-12).

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::compression::{DecompressError, Method};
use super::frame::DIGEST_LEN;
use super::message::Header;

/// Why the content of a frame is not a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Shorter than a digest.
    #[error("a body of {len} bytes is shorter than its checksum of {DIGEST_LEN}")]
    TooShort {
        /// Bytes there.
        len: usize,
    },
    /// The digest is not that of the bytes after it.
    #[error("the checksum does not match")]
    Checksum,
    /// It unpacks to more than the bound.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
}

/// SHA-256 of `packed`, the id of the message whose bytes these are.
pub fn digest(packed: &[u8]) -> [u8; DIGEST_LEN] {
    Sha256::digest(packed).into()
}

/// Whether `body` is an uncompressed body: a digest followed by the bytes it is the digest of.
pub fn is_plain(body: &[u8]) -> bool {
    body.split_first_chunk::<DIGEST_LEN>().is_some_and(|(carried, packed)| digest(packed) == *carried)
}

/// Reads the header of a body that claims to be uncompressed, without trusting or verifying it:
/// enough to ask whether the message is known already, before the work of hashing it.
pub fn unverified(frame: &[u8]) -> Option<(&[u8; DIGEST_LEN], Header)> {
    let carried = frame.first_chunk::<DIGEST_LEN>()?;
    Header::read(frame).ok().map(|header| (carried, header))
}

/// The uncompressed, verified body in the content of a frame, from a sender with whom the
/// compression `methods` were agreed, in the order to try them. Never unpacks more than `limit`
/// bytes.
///
/// A frame does not say how it was compressed, and an uncompressed body may look compressed. The
/// checksum decides: a reading counts only if its checksum holds, so that nothing is misread.
pub fn open(frame: Bytes, methods: &[Method], limit: usize) -> Result<Bytes, BodyError> {
    // An uncompressed body reads as a message header behind its digest; hardly anything else does.
    let plain = methods.is_empty() || Header::read(&frame).is_ok();
    if plain && is_plain(&frame) {
        return Ok(frame);
    }
    let mut failed = None;
    for method in methods.iter().filter(|method| method.looks_like(&frame)) {
        match method.decompress(&frame, limit) {
            Ok(body) if is_plain(&body) => return Ok(body.into()),
            Ok(_) => {}
            Err(error @ DecompressError::TooLarge { .. }) => failed = Some(error),
            Err(_) => {}
        }
    }
    if !plain && is_plain(&frame) {
        return Ok(frame);
    }
    match failed {
        Some(error) => Err(error.into()),
        None if frame.len() < DIGEST_LEN => Err(BodyError::TooShort { len: frame.len() }),
        None => Err(BodyError::Checksum),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{Form, Message};

    fn body(text: &str) -> Bytes {
        Message::pack(0, "abc", Form::Str, 1, 0, &(text,)).unwrap().body().clone()
    }

    /// W-6, W-7, W-9
    #[test]
    fn every_method_and_none_are_told_apart() {
        let plain = body(&"hello ".repeat(100));
        for method in Method::ALL {
            let packed = Bytes::from(method.compress(&plain));
            assert_eq!(open(packed.clone(), &Method::ALL, 1 << 20).unwrap(), plain, "{method}");
            assert!(open(packed, &[], 1 << 20).is_err(), "{method}");
        }
        assert_eq!(open(plain.clone(), &Method::ALL, 1 << 20).unwrap(), plain);
    }

    /// W-9
    #[test]
    fn an_uncompressed_body_that_looks_compressed_is_read_as_it_is() {
        let found = (0..200_000).map(|n| body(&n.to_string())).find(|body| Method::Zlib.looks_like(body));
        let plain = found.unwrap();
        assert_eq!(open(plain.clone(), &Method::ALL, 1 << 20).unwrap(), plain);
    }

    /// W-11
    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = vec![0; 50 << 20];
        for method in Method::ALL {
            let bomb = Bytes::from(method.compress(&zeros));
            let error = open(bomb, &[method], 1 << 20).unwrap_err();
            assert!(matches!(error, BodyError::Decompress(_)), "{method}: {error}");
        }
    }
}
