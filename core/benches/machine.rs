//! What the state machine costs: `cargo bench --package libpeernet --bench machine`.
//!
//! `first_copy` and `duplicate` are one node of eight that are all linked to each other, per frame:
//! everything between the bytes of a frame and the outbox. A broadcast brings one of the first and
//! six of the second.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use divan::{Bencher, black_box};
use peernet::Config;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Handshake, Heard, Identity, Input, LinkId, Node, Now, Origin, Outbox, Remote, Seen, Trust,
};
use peernet::wire::Limits;
use peernet::wire::body::{digest, unverified};

fn main() {
    divan::main();
}

const NOW: Now = Now { mono: Duration::from_secs(1), wall: 1_700_000_000 };
const SIZES: [usize; 2] = [64, 1024];

/// Who number `n` is, in a plaintext subnet or a signed one.
fn identity(n: u16, signed: bool) -> Identity {
    let address = Address::new("127.0.0.1", n + 1);
    if signed {
        let protocol = ProtocolId::derive("mesh", "tls/mesh");
        let keys = KeyPair::from_secret([n as u8; 32]);
        let id = NodeId::of_key(&keys.public(), &protocol);
        return Identity { id, protocol, address, trust: Trust::Proven { keys, signed } };
    }
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    let id = NodeId::derive("127.0.0.1", n + 1, &protocol, "bench");
    Identity { id, protocol, address, trust: Trust::Claimed }
}

/// A node with `neighbours` neighbours.
fn node(neighbours: u16, signed: bool) -> (Node, Outbox) {
    let config = Config { compression: Vec::new(), ..Config::default() };
    let mut node = Node::new(identity(0, signed), config, 1);
    let mut out = Outbox::new();
    for n in 1..=neighbours {
        let (link, peer) = (LinkId(n.into()), identity(n, signed));
        let key = match &peer.trust {
            Trust::Proven { keys, .. } => Some(keys.public()),
            Trust::Claimed => None,
        };
        let remote = Remote { key, ..Remote::default() };
        node.handle(NOW, Input::LinkUp { link, origin: Origin::Accepted, remote }, &mut out);
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        let message = peer.pack(2, NOW.wall, 5, &payload).unwrap();
        node.handle(NOW, Input::Message { link, message }, &mut out);
        out.clear();
    }
    assert_eq!(node.neighbour_count(), neighbours.into());
    (node, out)
}

fn frame(author: &Identity, size: usize, number: u64) -> Bytes {
    let mut bytes = vec![7u8; size];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    author.pack(0, NOW.wall, 0, &(bytes,)).unwrap().into_body()
}

#[divan::bench(args = SIZES)]
fn first_copy(bencher: Bencher, size: usize) {
    first_copies(bencher, size, false);
}

/// With the check of the signature.
#[divan::bench(args = SIZES)]
fn first_copy_signed(bencher: Bencher, size: usize) {
    first_copies(bencher, size, true);
}

fn first_copies(bencher: Bencher, size: usize, signed: bool) {
    let (mut node, mut out) = node(7, signed);
    let (author, envelope) = (identity(1, signed), node.identity().envelope());
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            frame(&author, size, number)
        })
        .bench_local_values(|frame| {
            let mut known = Vec::with_capacity(1);
            let (digest, header) = unverified(&frame).unwrap();
            node.are_known(NOW, &[(header.time, *digest)], &mut known);
            assert_eq!(known, [false]);
            let body = envelope.open(frame, &[], 1 << 20).unwrap();
            let message = envelope.read(body, &Limits::default()).unwrap();
            node.handle(NOW, Input::Message { link: LinkId(1), message }, &mut out);
            out.clear();
        });
}

#[divan::bench(args = SIZES)]
fn duplicate(bencher: Bencher, size: usize) {
    duplicates(bencher, size, false);
}

/// Whose signature nobody looks at.
#[divan::bench(args = SIZES)]
fn duplicate_signed(bencher: Bencher, size: usize) {
    duplicates(bencher, size, true);
}

fn duplicates(bencher: Bencher, size: usize, signed: bool) {
    let (mut node, mut out) = node(7, signed);
    let frame = frame(&identity(1, signed), size, 1);
    let message = node.identity().envelope().read(frame.clone(), &Limits::default()).unwrap();
    node.handle(NOW, Input::Message { link: LinkId(1), message }, &mut out);
    let mut known = Vec::with_capacity(1);
    bencher.bench_local(|| {
        let (digest, header) = unverified(black_box(&frame)).unwrap();
        node.are_known(NOW, &[(header.time, *digest)], &mut known);
        assert_eq!(known, [true]);
        node.handle(NOW, Input::Duplicates { link: LinkId(2), count: 1 }, &mut out);
    });
}

/// Remembering one id among as many as a busy minute brings.
#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn remember(bencher: Bencher, ids: u32) {
    let mut seen = Seen::new(60, 3, 8 << 20, [3, 5]);
    for n in 0..ids {
        seen.insert(NOW.wall, NOW.wall, &digest(&n.to_be_bytes()));
    }
    let mut next = ids;
    bencher
        .with_inputs(|| {
            next += 1;
            digest(&next.to_be_bytes())
        })
        .bench_local_values(|digest| seen.insert(NOW.wall, NOW.wall, &digest));
}

/// The same where authors are remembered, too.
#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn remember_by_author(bencher: Bencher, ids: u32) {
    let minute = Duration::from_secs(60);
    let mut heard = Heard::new(minute, minute, 8 << 20, 1 << 16, [3, 5]);
    let author = identity(1, true).id;
    for n in 0..ids {
        heard.insert(NOW.mono, 0, &author, n.into(), &digest(&n.to_be_bytes()));
    }
    let mut next = ids;
    bencher
        .with_inputs(|| {
            next += 1;
            (next, digest(&next.to_be_bytes()))
        })
        .bench_local_values(|(stamp, digest)| heard.insert(NOW.mono, 0, &author, stamp.into(), &digest));
}
