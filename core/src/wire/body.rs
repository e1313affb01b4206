//! Bodies: `SHA-256(P) | P`, possibly compressed (`spec/02-wire.md`, W-5 to W-12).

use std::cell::RefCell;

use bytes::Bytes;
use sha2::block_api::compress256;

use super::codes::{code, kind};
use super::compression::{DecompressError, Method};
use super::frame::DIGEST_LEN;
use super::message::Header;
use super::seal::Envelope;

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

/// What stands in the place of a digest that is not made.
const NO_DIGEST: [u8; DIGEST_LEN] = [0; DIGEST_LEN];
/// Bytes that SHA-256 takes in at once.
const BLOCK: usize = 64;
/// Beginnings of messages whose hashing is kept. Each takes 96 bytes.
const BEGINNINGS: usize = 32;
/// The state that SHA-256 begins with (FIPS 180-4, 5.3.3).
const FIRST_STATE: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A first block, and the state of the hash after it.
struct Beginning {
    block: [u8; BLOCK],
    state: [u32; 8],
}

/// SHA-256 of `packed`, the id of the message whose bytes these are.
///
/// The first block of a message holds its kind and most of its author's id, and so is the same in all
/// messages of one author: each thread keeps what hashing the latest ones came to. Of a small message
/// that is a third of the work.
pub fn digest(packed: &[u8]) -> [u8; DIGEST_LEN] {
    thread_local!(
        static LATEST: RefCell<[Option<Beginning>; BEGINNINGS]> = const { RefCell::new([const { None }; BEGINNINGS]) }
    );
    let Some((block, rest)) = packed.split_first_chunk::<BLOCK>() else {
        return end_of_digest(FIRST_STATE, packed, packed.len());
    };
    let state = LATEST.with_borrow_mut(|latest| {
        // Ids are hashes, so any of their characters tell authors apart.
        let place = usize::from(block[BLOCK / 2]) + usize::from(block[BLOCK / 2 + 1]) * 7;
        match &mut latest[place % BEGINNINGS] {
            Some(known) if known.block == *block => known.state,
            place => {
                let mut state = FIRST_STATE;
                compress256(&mut state, std::slice::from_ref(block));
                *place = Some(Beginning { block: *block, state });
                state
            }
        }
    });
    end_of_digest(state, rest, packed.len())
}

/// SHA-256 of `len` bytes, of which `rest` is to be taken in yet.
fn end_of_digest(mut state: [u32; 8], rest: &[u8], len: usize) -> [u8; DIGEST_LEN] {
    let (blocks, tail) = rest.as_chunks::<BLOCK>();
    if !blocks.is_empty() {
        compress256(&mut state, blocks);
    }
    // The padding: a bit, zeros, and the length in bits at the end of a block (FIPS 180-4, 5.1.1).
    let mut last = [[0; BLOCK]; 2];
    let padded = last.as_flattened_mut();
    padded[..tail.len()].copy_from_slice(tail);
    padded[tail.len()] = 0x80;
    let end = if tail.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    padded[end - 8..end].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    compress256(&mut state, &last[..end / BLOCK]);
    let mut digest = [0; DIGEST_LEN];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// Gives a body, in which there is room for it, its digest.
pub(super) fn put_digest(body: &mut [u8]) {
    if let Some((place, packed)) = body.split_first_chunk_mut::<DIGEST_LEN>() {
        *place = digest(packed);
    }
}

/// Whether `body` is an uncompressed body without a seal: a digest followed by the bytes it is the
/// digest of.
pub fn is_plain(body: &[u8]) -> bool {
    body.split_first_chunk::<DIGEST_LEN>().is_some_and(|(carried, packed)| digest(packed) == *carried)
}

/// Whether `body` is a whisper of entries that goes without a digest, as each entry has its own
/// (`spec/10-sync.md`, S-75).
fn is_unhashed(body: &[u8]) -> bool {
    let is_entries =
        |header: Header| header.kind == kind::WHISPER && header.code(body) == Some(code::ENTRIES);
    body.first_chunk() == Some(&NO_DIGEST) && Header::read(body).is_ok_and(is_entries)
}

/// Reads the header of a body that claims to be uncompressed, without trusting or verifying it:
/// enough to ask whether the message is known already, before the work of hashing it.
pub fn unverified(frame: &[u8]) -> Option<(&[u8; DIGEST_LEN], Header)> {
    let carried = frame.first_chunk::<DIGEST_LEN>()?;
    Header::read(frame).ok().map(|header| (carried, header))
}

/// As [`Envelope::open`], where there are no seals.
pub fn open(frame: Bytes, methods: &[Method], limit: usize) -> Result<Bytes, BodyError> {
    Envelope::Plain.open(frame, methods, limit)
}

impl Envelope {
    /// Whether `body` is an uncompressed body of this subnet: a digest, the bytes it is the digest of,
    /// and room for a seal where there is to be one. The seal itself is not looked at. Entries of tables
    /// may go without a digest where ids are proven.
    pub fn holds(&self, body: &[u8]) -> bool {
        match self {
            Self::Plain => is_plain(body),
            Self::Unsigned | Self::Sealed(_) => {
                is_unhashed(body) || self.without_seal(body).is_some_and(is_plain)
            }
        }
    }

    /// The uncompressed, verified body in the content of a frame, from a sender with whom the
    /// compression `methods` were agreed, in the order to try them. Never unpacks more than `limit`
    /// bytes.
    ///
    /// A frame does not say how it was compressed, and an uncompressed body may look compressed. The
    /// checksum decides: a reading counts only if its checksum holds, so that nothing is misread.
    pub fn open(&self, frame: Bytes, methods: &[Method], limit: usize) -> Result<Bytes, BodyError> {
        // An uncompressed body reads as a message header behind its digest; hardly anything else does.
        let plain = methods.is_empty() || Header::read(&frame).is_ok();
        if plain && self.holds(&frame) {
            return Ok(frame);
        }
        let mut failed = None;
        for method in methods.iter().filter(|method| method.looks_like(&frame)) {
            match method.decompress(&frame, limit) {
                Ok(body) if self.holds(&body) => return Ok(body.into()),
                Ok(_) => {}
                Err(error @ DecompressError::TooLarge { .. }) => failed = Some(error),
                Err(_) => {}
            }
        }
        if !plain && self.holds(&frame) {
            return Ok(frame);
        }
        match failed {
            Some(error) => Err(error.into()),
            None if frame.len() < DIGEST_LEN => Err(BodyError::TooShort { len: frame.len() }),
            None => Err(BodyError::Checksum),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::identity::ProtocolId;
    use crate::wire::{Form, Limits, Message};

    fn body(text: &str) -> Bytes {
        Message::pack(0, "abc", Form::Str, 1, 0, &(text,)).unwrap().body().clone()
    }

    /// W-5: what a thread keeps of earlier messages changes nothing.
    #[test]
    fn digests_are_those_of_sha_256() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * n / 7) as u8).collect();
        for len in 0..400 {
            for start in [0, 1, 0, 500, 1] {
                let packed = &bytes[start..start + len];
                assert_eq!(digest(packed), <[u8; DIGEST_LEN]>::from(Sha256::digest(packed)), "{start} {len}");
            }
            // Alike in all but one place of the first block.
            let mut other = bytes[..len].to_vec();
            for place in [0, 20, 63] {
                if let Some(byte) = other.get_mut(place) {
                    *byte ^= 1;
                }
                assert_eq!(digest(&other), <[u8; DIGEST_LEN]>::from(Sha256::digest(&other)), "{place} {len}");
            }
        }
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

    /// S-75: no other message, and nobody but those who prove who they are.
    #[test]
    fn only_entries_may_lack_a_digest() {
        let sealed = Envelope::Sealed(ProtocolId::derive("sync1", "tls/sync"));
        let unhashed = |kind, code| {
            let message = Message::pack(kind, "abc", Form::Str, 1, code, &("text",)).unwrap();
            Bytes::from([&NO_DIGEST, &message.body()[DIGEST_LEN..]].concat())
        };
        let entries = unhashed(kind::WHISPER, code::ENTRIES);
        for envelope in [Envelope::Unsigned, sealed.clone()] {
            assert_eq!(envelope.open(entries.clone(), &Method::ALL, 1 << 20).unwrap(), entries);
            let read = envelope.read(entries.clone(), &Limits::default()).unwrap();
            assert_eq!(read.code(), Some(code::ENTRIES));
        }
        let wrong = |envelope: &Envelope, body: Bytes| envelope.open(body, &[], 1 << 20).is_err();
        assert!(wrong(&Envelope::Plain, entries.clone()));
        for envelope in [Envelope::Unsigned, sealed] {
            for (kind, code) in [
                (kind::BROADCAST, code::ENTRIES),
                (kind::RENEGOTIATE, code::ENTRIES),
                (kind::WHISPER, code::DIGEST),
                (kind::WHISPER, code::WHISPER),
            ] {
                assert!(wrong(&envelope, unhashed(kind, code)), "{kind} {code}");
            }
            assert!(wrong(&envelope, entries.slice(..DIGEST_LEN)));
            let mut other = entries.to_vec();
            other[0] = 1;
            assert!(wrong(&envelope, other.into()));
        }
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
