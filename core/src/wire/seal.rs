//! Seals: how everyone can tell that the author of a broadcast wrote it (`spec/07-trust.md`, T-30 to
//! T-34).

use bytes::Bytes;

use super::codes::kind;
use super::frame::DIGEST_LEN;
use super::message::Header;
use crate::identity::{KeyPair, NodeId, PUBLIC_KEY_LEN, ProtocolId, PublicKey, SIGNATURE_LEN};

/// Bytes of a seal: the author's public key and its signature.
pub const SEAL_LEN: usize = PUBLIC_KEY_LEN + SIGNATURE_LEN;

/// What a seal is for. Its words stand before the digest in the bytes that are signed, so that no
/// signature made for one purpose serves another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Broadcast,
    Note,
}

impl Purpose {
    fn words(self) -> &'static [u8] {
        match self {
            Self::Broadcast => b"peernet broadcast",
            Self::Note => b"peernet note",
        }
    }
}

/// How the bodies of a subnet are made up, and so what is checked of them. Every body is read through
/// the envelope of its subnet, and a [`Message`](super::Message) is what passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Envelope {
    /// A digest and the packed message, as in 0.7.
    #[default]
    Plain,
    /// The same, but that entries of tables go without a digest: the link proves who says them.
    Unsigned,
    /// The same, and behind a broadcast stands the seal of its author, whose id is derived from its key
    /// and this protocol id.
    Sealed(ProtocolId),
}

impl Envelope {
    /// The part of a whole body that its digest covers, with the digest: all but the seal. `None` if
    /// there is too little for a seal. Whether there is one is decided by the header alone.
    pub(super) fn without_seal<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Plain | Self::Unsigned => Some(body),
            Self::Sealed(_) => match Header::read(body) {
                Ok(header) if header.kind == kind::BROADCAST => {
                    body.split_last_chunk::<SEAL_LEN>().map(|(rest, _)| rest)
                }
                _ => Some(body),
            },
        }
    }
}

/// Why the seal of a broadcast is none. Honest nodes relay no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The author's id is not derived from the key.
    #[error("the key is not that of the author")]
    Key,
    /// The signature is not the key's under this message.
    #[error("the signature is not that of the author")]
    Signature,
}

/// The bytes that an author signs: the message by its id.
fn signed(purpose: Purpose, digest: &[u8; DIGEST_LEN]) -> Vec<u8> {
    [purpose.words(), digest].concat()
}

/// `sealed` is a body without its seal; returns the body with that of `keys`.
pub(super) fn seal(purpose: Purpose, body: &[u8], keys: &KeyPair) -> Bytes {
    let digest = body.first_chunk().copied().unwrap_or_default();
    let mut sealed = Vec::with_capacity(body.len() + SEAL_LEN);
    sealed.extend_from_slice(body);
    sealed.extend_from_slice(keys.public().as_bytes());
    sealed.extend_from_slice(&keys.sign(&signed(purpose, &digest)));
    sealed.into()
}

/// Checks the seal at the end of a whole body whose digest has been checked: the key, then what costs
/// more.
pub(super) fn check(
    purpose: Purpose,
    body: &[u8],
    author: &[u8],
    protocol: &ProtocolId,
) -> Result<(), SealError> {
    let (Some(digest), Some((rest, signature))) =
        (body.first_chunk(), body.split_last_chunk::<SIGNATURE_LEN>())
    else {
        return Err(SealError::Signature);
    };
    let key = rest.last_chunk::<PUBLIC_KEY_LEN>().ok_or(SealError::Key)?;
    let key = PublicKey::from_bytes(*key);
    if NodeId::of_key(&key, protocol).as_str().as_bytes() != author {
        return Err(SealError::Key);
    }
    if key.verify(&signed(purpose, digest), signature) { Ok(()) } else { Err(SealError::Signature) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{BodyError, Form, Limits, Message, MessageError, Method};

    fn protocol() -> ProtocolId {
        ProtocolId::derive("test", "tls/mesh")
    }

    fn envelope() -> Envelope {
        Envelope::Sealed(protocol())
    }

    fn keys(n: u8) -> KeyPair {
        KeyPair::from_secret([n; 32])
    }

    fn pack(kind: u64, author: &KeyPair, text: &str) -> Message {
        let id = NodeId::of_key(&author.public(), &protocol());
        Message::pack(kind, id.as_str(), Form::Str, 1_700_000_000_000_000, 0, &(text, 5)).unwrap()
    }

    /// What a reader does.
    fn read(body: Bytes) -> Result<Message, Failed> {
        let body = envelope().open(body, &[], 1 << 20).map_err(Failed::Body)?;
        envelope().read(body, &Limits::default()).map_err(Failed::Message)
    }

    #[derive(Debug, PartialEq)]
    enum Failed {
        Body(BodyError),
        Message(MessageError),
    }

    const FORGED: Failed = Failed::Message(MessageError::Seal(SealError::Signature));

    /// T-30, T-31, T-32: the seal stands behind the message, which stays what it is.
    #[test]
    fn a_sealed_broadcast_reads_as_what_was_sealed() {
        for text in ["", "hello", &"hello ".repeat(10_000)] {
            let plain = pack(kind::BROADCAST, &keys(1), text);
            let sealed = plain.sealed(&keys(1));
            assert_eq!(sealed.body().len(), plain.body().len() + SEAL_LEN);
            assert_eq!(sealed.id(), plain.id());
            let read = read(sealed.body().clone()).unwrap();
            assert_eq!(read, sealed);
            assert!(read.is_sealed() && !plain.is_sealed());
            assert_eq!(read.packed(), plain.packed());
            assert_eq!(read.after_code(), plain.after_code());
            assert_eq!(read.values(&Limits::default()), plain.values(&Limits::default()));
            for method in Method::ALL {
                let frame = method.compress(sealed.body());
                let body = envelope().open(frame.into(), &[method], 1 << 20).unwrap();
                assert_eq!(body, *sealed.body(), "{method}");
            }
        }
    }

    /// a note is what its author sealed, and no broadcast, nor is a broadcast a note.
    #[test]
    fn notes_are_sealed_for_themselves() {
        let note = pack(kind::WHISPER, &keys(1), "hello").noted(&keys(1));
        let read = |body: &[u8]| envelope().read_note(body.to_vec().into(), &Limits::default());
        assert_eq!(read(note.body()).unwrap(), note);
        assert!(note.is_sealed());
        for at in 0..note.body().len() {
            let mut altered = note.body().to_vec();
            altered[at] ^= 1;
            assert!(read(&altered).is_err(), "{at}");
        }
        for len in 0..note.body().len() {
            assert!(read(&note.body()[..len]).is_err(), "{len}");
        }
        let forged = Err(MessageError::Seal(SealError::Signature));
        assert_eq!(read(pack(kind::WHISPER, &keys(1), "hello").sealed(&keys(1)).body()), forged);
        let stolen = pack(kind::WHISPER, &keys(1), "hello").noted(&keys(2));
        assert_eq!(read(stolen.body()), Err(MessageError::Seal(SealError::Key)));
        // Whatever is read as a broadcast elsewhere is none here.
        let broadcast = pack(kind::BROADCAST, &keys(1), "hello");
        assert!(
            read(broadcast.sealed(&keys(1)).body()).is_err()
                && read(broadcast.noted(&keys(1)).body()).is_err()
        );
        let as_broadcast = envelope().read(broadcast.noted(&keys(1)).body().clone(), &Limits::default());
        assert_eq!(as_broadcast, forged);
        // Without seals only the digest is checked.
        let plain = pack(kind::WHISPER, &keys(1), "hello");
        let read = Envelope::Plain.read_note(plain.body().clone(), &Limits::default());
        assert_eq!(read.unwrap(), plain);
        let mut altered = plain.body().to_vec();
        *altered.last_mut().unwrap() ^= 1;
        assert!(Envelope::Plain.read_note(altered.into(), &Limits::default()).is_err());
    }

    /// T-31: whispers carry none.
    #[test]
    fn only_broadcasts_are_sealed() {
        for kind in [kind::RENEGOTIATE, kind::WHISPER, 9] {
            let plain = pack(kind, &keys(1), "hello");
            assert_eq!(read(plain.body().clone()).unwrap(), plain);
            let sealed = plain.sealed(&keys(1));
            assert_eq!(read(sealed.body().clone()), Err(Failed::Body(BodyError::Checksum)));
        }
    }

    /// T-33: not a byte of a sealed broadcast can be another.
    #[test]
    fn whatever_is_altered_is_found() {
        let sealed = pack(kind::BROADCAST, &keys(1), "hello").sealed(&keys(1));
        let seal_at = sealed.body().len() - SEAL_LEN;
        for at in 0..sealed.body().len() {
            for bit in [0, 3, 7] {
                let mut altered = sealed.body().to_vec();
                altered[at] ^= 1 << bit;
                let read = read(altered.into());
                match at {
                    // Another type has no seal; another message has another digest.
                    _ if at < seal_at => assert!(matches!(read, Err(Failed::Body(_))), "{at}: {read:?}"),
                    _ if at < seal_at + PUBLIC_KEY_LEN => {
                        assert_eq!(read, Err(Failed::Message(MessageError::Seal(SealError::Key))), "{at}");
                    }
                    _ => assert_eq!(read, Err(FORGED), "{at}"),
                }
            }
        }
        for len in 0..sealed.body().len() {
            assert!(matches!(read(sealed.body().slice(..len)), Err(Failed::Body(_))), "{len}");
        }
    }

    /// T-32, T-33: with a digest that is right, too.
    #[test]
    fn another_s_seal_another_s_name_and_no_seal_are_found() {
        let (ours, theirs) = (keys(1), keys(2));
        let by_key = |key: SealError| Failed::Message(MessageError::Seal(key));
        // Another message under the seal of one that is genuine.
        let genuine = pack(kind::BROADCAST, &ours, "hello").sealed(&ours);
        let altered = pack(kind::BROADCAST, &ours, "hullo");
        let seal = genuine.body().last_chunk::<SEAL_LEN>().unwrap();
        assert_eq!(read([altered.body(), &seal[..]].concat().into()), Err(FORGED));
        // In another's name, under one's own seal.
        assert_eq!(read(altered.sealed(&theirs).body().clone()), Err(by_key(SealError::Key)));
        // Their signature behind our key.
        let mut mixed = altered.sealed(&theirs).body().to_vec();
        let key_at = mixed.len() - SEAL_LEN;
        mixed[key_at..key_at + PUBLIC_KEY_LEN].copy_from_slice(ours.public().as_bytes());
        assert_eq!(read(mixed.into()), Err(FORGED));
        // None: the last bytes of the message are taken for one.
        assert_eq!(read(altered.body().clone()), Err(Failed::Body(BodyError::Checksum)));
        let long = pack(kind::BROADCAST, &ours, &"hullo ".repeat(100));
        assert_eq!(read(long.body().clone()), Err(Failed::Body(BodyError::Checksum)));
        // A signature for another purpose.
        let mut other = altered.body().to_vec();
        other.extend_from_slice(ours.public().as_bytes());
        other.extend_from_slice(&ours.sign(altered.id().as_bytes()));
        assert_eq!(read(other.into()), Err(FORGED));
        // A message of another subnet, of which the key has another id.
        let id = NodeId::of_key(&ours.public(), &ProtocolId::derive("other", "tls/mesh"));
        let other = Message::pack(kind::BROADCAST, id.as_str(), Form::Str, 1, 0, &("hello",)).unwrap();
        assert_eq!(read(other.sealed(&ours).body().clone()), Err(by_key(SealError::Key)));
    }

    /// T-33: a header that reaches into the seal is none.
    #[test]
    fn a_message_ends_before_its_seal() {
        for packed in [&b"\x93\x00"[..], b"\x93", b"\x93\x00\xa1a", b"\x94\x00\xa1a\x05"] {
            let digest = crate::wire::body::digest(packed);
            let body = [&digest[..], packed, &[0; SEAL_LEN]].concat();
            assert!(read(body.into()).is_err(), "{packed:02x?}");
        }
    }
}
