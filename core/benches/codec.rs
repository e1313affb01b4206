//! What the codec costs: `cargo bench --package libpeernet --bench codec`.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::wire::body::{open, unverified};
use peernet::wire::{Decoder, Envelope, Form, Limits, Message, Method, frame};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [64, 1024, 16_384];
const SENDER: &str = "5WQ3ZkHnS7C6x9vUfCwM4pQeYbTtN2rJdGh8aLsKyXmBzRqPwEuVj1FoDi3gA7cH5";

fn message(size: usize) -> Message {
    let bytes: Vec<u8> = (0..size).map(|n| (n * 167 + n / 256 * 31) as u8).collect();
    Message::pack(0, SENDER, Form::Str, 1_700_000_000, 0, &(bytes,)).unwrap()
}

#[divan::bench(args = SIZES)]
fn pack(bencher: Bencher, size: usize) {
    let bytes = vec![7u8; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        Message::pack(0, SENDER, Form::Str, 1_700_000_000, 0, &(black_box(bytes.as_slice()),)).unwrap()
    });
}

#[divan::bench(args = SIZES)]
fn verify_and_read(bencher: Bencher, size: usize) {
    let body = message(size).body().clone();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        Message::read(open(black_box(body.clone()), &[], 1 << 20).unwrap(), &Limits::default()).unwrap()
    });
}

/// What a frame costs whose message is known: its header, read but not verified.
#[divan::bench(args = SIZES)]
fn read_header_only(bencher: Bencher, size: usize) {
    let body = message(size).body().clone();
    bencher.bench_local(|| unverified(black_box(&body)).map(|(_, header)| header.time));
}

/// The floor under `pack` and `verify_and_read`.
#[divan::bench(args = SIZES)]
fn floor_sha256(bencher: Bencher, size: usize) {
    let body = message(size).body().clone();
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| peernet::wire::body::digest(black_box(&body[32..])));
}

#[divan::bench(args = SIZES)]
fn cut_frames(bencher: Bencher, size: usize) {
    let body = message(size).body().clone();
    let mut stream = Vec::new();
    for _ in 0..32 {
        stream.extend_from_slice(&frame::length_field(body.len()).unwrap());
        stream.extend_from_slice(&body);
    }
    let mut decoder = Decoder::new(1 << 20);
    bencher.counter(ItemsCount::new(32usize)).bench_local(|| {
        decoder.push(black_box(&stream));
        let mut frames = 0;
        while decoder.next_frame().unwrap().is_some() {
            frames += 1;
        }
        frames
    });
}

fn keys() -> KeyPair {
    KeyPair::from_secret([7; 32])
}

fn sealed(size: usize) -> (Message, Envelope) {
    let protocol = ProtocolId::derive("mesh", "tls/mesh");
    let id = NodeId::of_key(&keys().public(), &protocol);
    let message = Message::pack(0, id.as_str(), Form::Str, 1, 0, &(vec![7u8; size],)).unwrap();
    (message.sealed(&keys()), Envelope::Sealed(protocol))
}

/// What an author does for each broadcast: items are signatures, by one core.
#[divan::bench(args = SIZES)]
fn sign(bencher: Bencher, size: usize) {
    let (keys, (message, _)) = (keys(), sealed(size));
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| black_box(&message).sealed(&keys));
}

/// What everyone does for the first copy of each broadcast, the digest included: items are messages, by
/// one core.
#[divan::bench(args = SIZES)]
fn verify_and_read_signed(bencher: Bencher, size: usize) {
    let (message, envelope) = sealed(size);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let body = envelope.open(black_box(message.body().clone()), &[], 1 << 20).unwrap();
        envelope.read(body, &Limits::default()).unwrap()
    });
}

#[divan::bench(args = Method::ALL)]
fn compress_text_1k(bencher: Bencher, method: Method) {
    let text: Vec<u8> = b"the mesh carries what one node says ".iter().copied().cycle().take(1024).collect();
    bencher.bench_local(|| method.compress(black_box(&text)));
}

#[divan::bench(args = Method::ALL)]
fn decompress_text_1k(bencher: Bencher, method: Method) {
    let text: Vec<u8> = b"the mesh carries what one node says ".iter().copied().cycle().take(1024).collect();
    let packed = Bytes::from(method.compress(&text));
    bencher.bench_local(|| method.decompress(black_box(&packed), 1 << 20).unwrap());
}
