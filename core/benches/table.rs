//! What a table costs: `cargo bench --package libpeernet --bench table`.
//!
//! `join` is a node that has nothing beside one that has everything, in an unsigned subnet and without
//! sockets: all that both machines and their readers do. `reconcile` is the same where they differ in ten
//! keys. `set` and `merge` are one write, by the node itself and by another.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use peernet::Config;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, DialId, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output, Remote,
    TableOptions, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Limits, Message, Pack};

fn main() {
    divan::main();
}

const NOW: Now = Now { mono: Duration::from_secs(1), wall: 1_779_600_000 };
const STAMP: i64 = NOW.wall * 1_000_000;
const KEYS: u64 = 100_000;
const VALUE: usize = 100;

fn identity(n: u8) -> Identity {
    let protocol = ProtocolId::derive("sync0", "tls/sync/unsigned");
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    Identity {
        id,
        protocol,
        address: Address::new("127.0.0.1", n.into()),
        trust: Trust::Proven { keys, signed: false },
    }
}

fn value(n: u64) -> Bytes {
    let mut packed = Vec::new();
    let mut bytes = vec![7_u8; VALUE];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes.pack(&mut packed).unwrap();
    packed.into()
}

fn key(n: u64) -> Bytes {
    Bytes::from(format!("key {n:08}"))
}

/// A node with so many keys.
fn node(n: u8, keys: u64) -> Node {
    let mut node =
        Node::new(identity(n), Config::default(), n.into()).with_table(TableOptions { leases: false });
    node.watch_table(false);
    node.keep_table(false);
    let mut out = Outbox::new();
    for n in 0..keys {
        node.table_set(NOW, STAMP + n as i64, key(n), value(n), &mut out).unwrap();
        out.clear();
    }
    node
}

/// A node of an author's, with a write of each key.
fn writes(keys: u64) -> Vec<Message> {
    let mut author = node(9, 0);
    let mut out = Outbox::new();
    let link_up = Input::LinkUp { link: LinkId(1), origin: Origin::Accepted, remote: remote(1) };
    author.handle(NOW, link_up, &mut out);
    author.handle(NOW, greeting(1, 1), &mut out);
    out.clear();
    let write = |n: u64| {
        author.table_set(NOW, STAMP + n as i64, key(n), value(n), &mut out).unwrap();
        let body = out.outputs.drain(..).find_map(|output| match output {
            Output::Send { body, .. } => Some(body),
            _ => None,
        });
        Message::read(body.unwrap(), &Limits::default()).unwrap()
    };
    (0..keys).map(write).collect()
}

fn remote(n: u8) -> Remote {
    let Trust::Proven { keys, .. } = identity(n).trust else { return Remote::default() };
    Remote { key: Some(keys.public()), ..Remote::default() }
}

fn greeting(link: u64, from: u8) -> Input {
    let peer = identity(from);
    let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
    let message = peer.pack(kind::WHISPER, STAMP, code::HANDSHAKE, &payload).unwrap();
    Input::Message { link: LinkId(link), message }
}

/// Links two nodes and carries what they say until they have nothing more to say. Returns the bytes.
fn meet(nodes: &mut [Node; 2]) -> u64 {
    let mut out = Outbox::new();
    let target = "127.0.0.1:1".parse().unwrap();
    nodes[0].handle(
        NOW,
        Input::Command(Command::Connect { token: Token(1), target, persist: false }),
        &mut out,
    );
    let dial = out.outputs.iter().find_map(|output| match output {
        Output::Dial { dial, .. } => Some(*dial),
        _ => None,
    });
    let origins = [Origin::Dialled(dial.unwrap_or(DialId(0))), Origin::Accepted];
    out.clear();
    for (n, origin) in origins.into_iter().enumerate() {
        let link_up = Input::LinkUp { link: LinkId(0), origin, remote: remote(1 - n as u8) };
        nodes[n].handle(NOW, link_up, &mut out);
    }
    out.clear();
    let mut bytes = 0;
    // The handshake of the one that was dialled first, as the other's is said already.
    nodes[1].handle(NOW, greeting(0, 0), &mut out);
    let mut waiting = vec![(1, bodies(&mut out))];
    while let Some((from, bodies)) = waiting.pop() {
        let there = &mut nodes[1 - from];
        let envelope = there.identity().envelope();
        for body in bodies {
            bytes += body.len() as u64;
            let body = envelope.open(body, &[], 16 << 20).unwrap();
            let message = envelope.read(body, &Limits::default()).unwrap();
            there.handle(NOW, Input::Message { link: LinkId(0), message }, &mut out);
        }
        let answer = self::bodies(&mut out);
        if !answer.is_empty() {
            waiting.push((1 - from, answer));
        }
    }
    bytes
}

fn bodies(out: &mut Outbox) -> Vec<Bytes> {
    let body = |output| match output {
        Output::Send { body, .. } => Some(body),
        _ => None,
    };
    let bodies = out.outputs.drain(..).filter_map(body).collect();
    out.clear();
    bodies
}

#[divan::bench(sample_size = 1000)]
fn get(bencher: Bencher<'_, '_>) {
    let node = node(0, KEYS);
    let keys: Vec<Bytes> = (0..KEYS).map(|n| key(n * 7919 % KEYS)).collect();
    let mut next = keys.iter().cycle();
    bencher.bench_local(|| {
        let key = next.next().unwrap();
        black_box(node.table().unwrap().get(key).map(|entry| entry.value.len()))
    });
}

#[divan::bench(sample_size = 1000)]
fn set(bencher: Bencher<'_, '_>) {
    let (mut node, mut out, mut n) = (node(0, KEYS), Outbox::new(), 0);
    bencher.bench_local(|| {
        n += 1;
        node.table_set(NOW, STAMP + n, key(n as u64 * 7919 % KEYS), value(n as u64), &mut out).unwrap();
        out.clear();
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn merge(bencher: Bencher<'_, '_>) {
    let writes = writes(KEYS);
    bencher.counter(KEYS).with_inputs(|| (node(0, 0), Outbox::new())).bench_local_values(
        |(mut node, mut out)| {
            node.handle(
                NOW,
                Input::LinkUp { link: LinkId(1), origin: Origin::Accepted, remote: remote(1) },
                &mut out,
            );
            node.handle(NOW, greeting(1, 1), &mut out);
            for message in &writes {
                node.handle(NOW, Input::Message { link: LinkId(1), message: message.clone() }, &mut out);
                out.clear();
            }
            assert_eq!(node.table().unwrap().len() as u64, KEYS);
            node
        },
    );
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn join(bencher: Bencher<'_, '_>) {
    let bytes = meet(&mut [node(0, 0), node(1, KEYS)]);
    bencher.counter(BytesCount::new(bytes)).with_inputs(|| [node(0, 0), node(1, KEYS)]).bench_local_values(
        |mut nodes| {
            meet(&mut nodes);
            assert_eq!(nodes[0].table().unwrap().len() as u64, KEYS);
            nodes
        },
    );
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn reconcile(bencher: Bencher<'_, '_>) {
    let two = || {
        let mut nodes = [node(0, 0), node(1, KEYS)];
        meet(&mut nodes);
        // They part, and ten keys are written.
        for (n, node) in nodes.iter_mut().enumerate() {
            let mut out = Outbox::new();
            let down = Input::LinkDown { link: LinkId(0), reason: peernet::CloseReason::Remote };
            node.handle(NOW, down, &mut out);
            for k in 0..5 {
                let new = key(KEYS + k + 10 * n as u64);
                node.table_set(NOW, STAMP + KEYS as i64 + k as i64, new, value(k), &mut out).unwrap();
            }
        }
        nodes
    };
    bencher.with_inputs(two).bench_local_values(|mut nodes| {
        meet(&mut nodes);
        assert_eq!(nodes[0].table().unwrap().len() as u64, KEYS + 10);
        nodes
    });
}
