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
use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::{
    Address, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox, Remote, Seen, Trust,
};
use peernet::wire::body::{digest, open, unverified};
use peernet::wire::{Form, Limits, Message};

fn main() {
    divan::main();
}

const NOW: Now = Now { mono: Duration::from_secs(1), wall: 1_700_000_000 };
const SIZES: [usize; 2] = [64, 1024];

fn id(n: u16) -> NodeId {
    NodeId::derive("127.0.0.1", n + 1, &protocol(), "bench")
}

fn protocol() -> ProtocolId {
    ProtocolId::derive("mesh", "Plaintext")
}

/// A node with `neighbours` neighbours.
fn node(neighbours: u16) -> (Node, Outbox) {
    let identity = Identity {
        id: id(0),
        protocol: protocol(),
        address: Address::new("127.0.0.1", 1),
        trust: Trust::Claimed,
    };
    let mut node = Node::new(identity, Config { compression: Vec::new(), ..Config::default() }, 1);
    let mut out = Outbox::new();
    for n in 1..=neighbours {
        let link = LinkId(n.into());
        node.handle(
            NOW,
            Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() },
            &mut out,
        );
        let address = Address::new("127.0.0.1", n + 1);
        let payload = Handshake::payload(&id(n), &protocol(), &address, &[]);
        let message = Message::pack(2, id(n).as_str(), Form::Str, NOW.wall, 5, &payload).unwrap();
        node.handle(NOW, Input::Message { link, message }, &mut out);
        out.clear();
    }
    assert_eq!(node.neighbour_count(), neighbours.into());
    (node, out)
}

fn frame(size: usize, number: u64) -> Bytes {
    let mut bytes = vec![7u8; size];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Message::pack(0, id(1).as_str(), Form::Str, NOW.wall, 0, &(bytes,)).unwrap().body().clone()
}

#[divan::bench(args = SIZES)]
fn first_copy(bencher: Bencher, size: usize) {
    let (mut node, mut out) = node(7);
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            frame(size, number)
        })
        .bench_local_values(|frame| {
            let mut known = Vec::with_capacity(1);
            let (digest, header) = unverified(&frame).unwrap();
            node.are_known(NOW, &[(header.time, *digest)], &mut known);
            assert_eq!(known, [false]);
            let message = Message::read(open(frame, &[], 1 << 20).unwrap(), &Limits::default()).unwrap();
            node.handle(NOW, Input::Message { link: LinkId(1), message }, &mut out);
            out.clear();
        });
}

#[divan::bench(args = SIZES)]
fn duplicate(bencher: Bencher, size: usize) {
    let (mut node, mut out) = node(7);
    let frame = frame(size, 1);
    let message = Message::read(frame.clone(), &Limits::default()).unwrap();
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
