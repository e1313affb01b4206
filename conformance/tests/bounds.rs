//! Bounds whose vectors would be too large to keep: the most that is accepted, exactly.

#![allow(clippy::unwrap_used)]

use peernet::wire::body::digest;
use peernet::wire::{Decoder, FrameError, Limits, MAX_FRAME, Message};

/// A message whose payload is one array of so many nils.
fn nils(count: u32) -> bytes::Bytes {
    let head = [&b"\x94\0\xa1a\0\xdd"[..], &count.to_be_bytes()].concat();
    let packed = [head, vec![0xc0; count as usize]].concat();
    [&digest(&packed)[..], &packed].concat().into()
}

/// L-8: the array itself counts.
#[test]
fn a_million_values_are_read() {
    let limits = Limits::default();
    assert!(Message::read(nils((1 << 20) - 1), &limits).is_ok());
    let error = Message::read(nils(1 << 20), &limits).unwrap_err();
    assert!(!error.is_malformed());
}

/// L-1, W-3
#[test]
fn a_frame_of_16_mib_is_read() {
    let mut decoder = Decoder::new(MAX_FRAME);
    decoder.push(&(16_u32 << 20).to_be_bytes());
    decoder.push(&vec![7; 16 << 20]);
    assert_eq!(decoder.next_frame().unwrap().unwrap().len(), 16 << 20);
    decoder.push(&((16_u32 << 20) + 1).to_be_bytes());
    assert!(matches!(decoder.next_frame(), Err(FrameError::TooLarge { .. })));
}

/// W-2, W-4: however the bytes arrive.
#[test]
fn frames_are_cut_the_same_from_any_pieces() {
    let stream = [&b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d"[..], b"\0\0"].concat();
    for size in 1..=stream.len() {
        let mut decoder = Decoder::new(10);
        let mut frames = Vec::new();
        for piece in stream.chunks(size) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&b"abc"[..], b"", b"d"]);
        assert!(decoder.finish().is_err(), "the stream ends in a length field");
    }
}
