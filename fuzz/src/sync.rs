//! The target `sync`: a node with a table, and two neighbours that say what a script says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use peernet::Config;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output, Remote,
    TableOptions, Trust, Version,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Limits, Message, Value};

use super::machine::Script;

const KEYS: usize = 8;
const BOUND: usize = 6;
const WALL: i64 = 1_779_600_000;
const STAMP: i64 = WALL * 1_000_000;
const NEIGHBOURS: std::ops::RangeInclusive<u64> = 1..=2;

/// The kept version of a key only ever gives way to one that outranks it, bounds hold, everything that is told
/// is so, and no more is on its way to a peer than may be.
pub fn sync(data: &[u8]) {
    let mut script = Script(data);
    let mut run = Run::new(script.byte() & 1 == 1);
    while !script.is_empty() {
        run.step(&mut script);
        run.check();
    }
}

fn identity(n: u8) -> Identity {
    let protocol = ProtocolId::derive("sync", "tls/sync/unsigned");
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    Identity {
        id,
        protocol,
        address: Address::new("127.0.0.1", 1),
        trust: Trust::Proven { keys, signed: false },
    }
}

struct Run {
    node: Node,
    leases: bool,
    mono: Duration,
    stamp: i64,
    /// What was last kept of each key.
    versions: BTreeMap<Vec<u8>, Version>,
    /// Receipts of entries that were sent to each neighbour.
    receipts: BTreeMap<u64, BTreeSet<u64>>,
    /// The last question that the node asked.
    asked: Option<u64>,
}

impl Run {
    fn new(leases: bool) -> Self {
        let config =
            Config { table_keys: BOUND, table_bytes: 4096, connects_per_minute: None, ..Config::default() };
        let node = Node::new(identity(0), config, 7).with_table(TableOptions { leases });
        let mut run = Self {
            node,
            leases,
            mono: Duration::from_secs(1),
            stamp: STAMP,
            versions: BTreeMap::new(),
            receipts: BTreeMap::new(),
            asked: None,
        };
        NEIGHBOURS.for_each(|n| run.join(n));
        run
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: WALL + self.mono.as_secs() as i64 }
    }

    fn join(&mut self, n: u64) {
        let peer = identity(n as u8);
        let Trust::Proven { keys, .. } = &peer.trust else { return };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.feed(Input::LinkUp { link: LinkId(n), origin: Origin::Accepted, remote });
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        self.whisper(n, code::HANDSHAKE, &payload);
    }

    fn whisper(&mut self, n: u64, code: u64, payload: &[Value]) {
        let Ok(message) = identity(n as u8).pack(kind::WHISPER, STAMP, code, payload) else { return };
        self.feed(Input::Message { link: LinkId(n), message });
    }

    fn feed(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.node.handle(self.now(), input, &mut out);
        self.carry_out(&out);
    }

    fn carry_out(&mut self, out: &Outbox) {
        for output in &out.outputs {
            match output {
                Output::Send { links, body, .. } => self.sent(out.links(links), body),
                Output::Event(Event::Changed(change)) => {
                    assert!(change.value.is_some() || change.old.is_some());
                    assert!(self.node.table().is_some_and(|table| table.version(&change.key).is_some()));
                }
                Output::Keep { key, value: Some(_) } => assert_eq!(key[0], b't'),
                _ => {}
            }
        }
    }

    fn sent(&mut self, links: &[LinkId], body: &Bytes) {
        let message = Message::read(body.clone(), &Limits::default()).expect("what a node sends reads");
        let values = message.values(&Limits::default()).unwrap();
        match values.as_slice() {
            [code, session, role, ..] if code.as_u64() == Some(code::DIGEST) => {
                assert!(body.len() <= 256 << 10);
                if role.as_u64() == Some(0) {
                    self.asked = session.as_u64();
                }
            }
            [code, receipt, Value::Bin(_)] if code.as_u64() == Some(code::ENTRIES) => {
                let [link] = links else { panic!("entries are for one") };
                let waiting = self.receipts.entry(link.0).or_default();
                assert!(waiting.insert(receipt.as_u64().unwrap()), "a receipt twice");
                assert!(waiting.len() <= 3, "more than a window");
            }
            _ => {}
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let n = 1 + script.pick(2) as u64;
        match script.pick(12) {
            0 | 1 => {
                let (key, value) = (key(script), Bytes::copy_from_slice(&[script.byte() & 0x7f]));
                self.stamp += i64::from(script.byte());
                let (now, stamp, mut out) = (self.now(), self.stamp, Outbox::new());
                let _ = self.node.table_set(now, stamp, key.into(), value, &mut out);
                self.carry_out(&out);
            }
            2 => {
                let (key, now, stamp, mut out) = (key(script), self.now(), self.stamp, Outbox::new());
                let _ = self.node.table_delete(now, stamp, &key, &mut out);
                self.carry_out(&out);
            }
            3 | 4 => {
                let message = self.write(script);
                self.feed(Input::Message { link: LinkId(n), message });
            }
            5 | 6 => {
                let mut all = Vec::new();
                for _ in 0..script.pick(4) {
                    let mut body = self.write(script).into_body().to_vec();
                    let len = body.len() as u32 - u32::from(script.pick(16) == 15);
                    if script.pick(8) == 7 {
                        let at = usize::from(script.byte()) % body.len();
                        body[at] ^= 1 << script.pick(8);
                    }
                    all.extend_from_slice(&(u32::from(script.byte()) * 600).to_be_bytes());
                    all.extend_from_slice(&len.to_be_bytes());
                    all.extend_from_slice(&body);
                }
                self.whisper(n, code::ENTRIES, &[script.wide().into(), all.into()]);
            }
            7 | 8 => {
                let role = script.pick(3);
                let session = match self.asked.filter(|_| role == 1) {
                    Some(asked) => asked,
                    None => u64::from(script.byte()),
                };
                let ranges = (0..script.pick(6)).map(|_| range(script)).collect();
                let wanted = script.bytes().to_vec();
                self.whisper(
                    n,
                    code::DIGEST,
                    &[session.into(), role.into(), Value::Array(ranges), wanted.into()],
                );
            }
            9 => {
                let receipt = self.receipts.get_mut(&n).and_then(BTreeSet::pop_first);
                self.whisper(n, code::ENTRIES, &[receipt.unwrap_or(7).into()]);
            }
            10 => self.pass(Duration::from_millis(u64::from(script.byte()) * 40)),
            _ => {
                self.pass(Duration::from_secs(u64::from(script.byte()) * 600));
                // What was not acknowledged counts as lost.
                self.receipts.clear();
            }
        }
        // Whoever is gone for what it said comes back when it may.
        let gone = NEIGHBOURS.filter(|n| self.node.link_to(&identity(*n as u8).id).is_none());
        for n in gone.collect::<Vec<_>>() {
            self.receipts.remove(&n);
            self.feed(Input::LinkDown { link: LinkId(n), reason: peernet::CloseReason::Remote });
            self.join(n);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.mono + time;
        for _ in 0..20 {
            let Some(due) = self.node.next_timer().filter(|due| *due <= end) else { break };
            self.mono = self.mono.max(due);
            self.feed(Input::Tick);
        }
        // What is forgotten may come back.
        self.mono = end;
        self.feed(Input::Tick);
        let table = self.node.table().expect("it has a table");
        self.versions.retain(|key, _| table.version(key).is_some());
    }

    /// A write by one of a few authors, with few versions, so that they meet.
    fn write(&self, script: &mut Script<'_>) -> Message {
        let key = key(script);
        let value = match script.pick(4) {
            0 => Value::Nil,
            1 => Value::Bin(vec![7; usize::from(script.byte()) * 8]),
            _ => Value::from(script.byte()),
        };
        let (term, claimed, stamp) = match self.leases {
            true => (script.byte() % 4, STAMP - i64::from(script.byte()), STAMP + i64::from(script.byte())),
            false => (0, 0, STAMP + i64::from(script.byte())),
        };
        let version = Value::Array(vec![term.into(), claimed.into(), stamp.into()]);
        let author = identity(3 + script.byte() % 3);
        let payload = [key.into(), value, version];
        author.pack(kind::BROADCAST, stamp, code::STORE, &payload).unwrap()
    }

    fn check(&mut self) {
        let table = self.node.table().unwrap();
        let mut known = 0;
        for n in 0..KEYS {
            let key = vec![n as u8];
            let Some(version) = table.version(&key) else {
                assert!(!self.versions.contains_key(&key), "a version is gone");
                continue;
            };
            known += 1;
            if let Some(before) = self.versions.get(&key) {
                assert!(version.rank(before, self.leases).is_ge(), "{before:?} gave way to {version:?}");
            }
            self.versions.insert(key, version.clone());
        }
        assert!(known <= BOUND);
        assert_eq!(table.iter().count(), table.len());
        assert!(table.iter().all(|entry| table.get(entry.key).map(|same| same.value) == Some(entry.value)));
    }
}

fn key(script: &mut Script<'_>) -> Vec<u8> {
    vec![script.pick(KEYS) as u8]
}

fn range(script: &mut Script<'_>) -> Value {
    let place = |script: &mut Script<'_>| match script.pick(4) {
        0 => Value::Nil,
        1 => u64::MAX.into(),
        2 => script.wide().into(),
        _ => (u64::from(script.byte()) << 56).into(),
    };
    let (start, end) = (place(script), place(script));
    match script.pick(3) {
        0 => Value::Array(vec![start, end, script.byte().into(), script.wide().into()]),
        1 => Value::Array(vec![start, end, Value::Bin(Vec::new())]),
        _ => Value::Array(vec![start, end, script.bytes().into()]),
    }
}
