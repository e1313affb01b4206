//! What a node of a `tls` subnet that starts again takes for new, and how it stamps (`spec/11-state.md`, K-21
//! to K-24), told to one node machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use peernet::Config;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output, Remote,
    TableOptions, Trust,
};
use peernet::wire::codes::{code, kind};

const WALL: i64 = 1_479_600_000;
const SECOND: i64 = 1_000_000;
/// The name of the record with the end of the stamps that are reserved.
const OWN: &[u8] = b"a\0";

/// Who somebody is, by a number; 0 is the node under test.
fn identity(n: u8) -> Identity {
    let protocol = ProtocolId::derive("mesh", "tls/mesh");
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    let address = Address::new("127.0.0.1", 4000 + u16::from(n));
    Identity { id, protocol, address, trust: Trust::Proven { keys, signed: true } }
}

/// A node, its clocks, and what it has kept.
struct Scene {
    node: Node,
    mono: Duration,
    wall: i64,
    kept: BTreeMap<Vec<u8>, Bytes>,
    /// How often something was kept of authors, and of the node itself.
    writes: [usize; 2],
}

impl Scene {
    /// A node that begins with these records, with neighbours 1 and 2.
    fn start(kept: BTreeMap<Vec<u8>, Bytes>, wall: i64) -> Self {
        let mut node = Node::new(identity(0), Config::default(), 1);
        let now = Now { mono: Duration::ZERO, wall };
        for (key, value) in &kept {
            node.restore(now, key, value).unwrap();
        }
        let mut scene = Self { node, mono: Duration::from_secs(1), wall, kept, writes: [0; 2] };
        let mut out = Outbox::new();
        scene.node.keep_marks(now, &mut out);
        scene.take(out);
        scene.join(1);
        scene.join(2);
        scene
    }

    fn new() -> Self {
        Self::start(BTreeMap::new(), WALL)
    }

    /// The node is killed, and starts again with its clock at `wall`.
    fn killed(self, wall: i64) -> Self {
        Self::start(self.kept, wall)
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Outbox::new();
        self.node.handle(Now { mono: self.mono, wall: self.wall }, input, &mut out);
        self.take(out)
    }

    /// Keeps what is to be kept.
    fn take(&mut self, out: Outbox) -> Vec<Output> {
        for output in &out.outputs {
            if let Output::Keep { key, value } = output {
                if key.starts_with(b"a") {
                    self.writes[usize::from(key == OWN)] += 1;
                }
                match value {
                    Some(value) => self.kept.insert(key.clone(), value.clone()),
                    None => self.kept.remove(key),
                };
            }
        }
        out.outputs
    }

    fn join(&mut self, n: u8) {
        let (link, peer) = (LinkId(n.into()), identity(n));
        let Trust::Proven { keys, .. } = &peer.trust else { panic!() };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.tell(Input::LinkUp { link, origin: Origin::Accepted, remote });
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        let message = peer.pack(kind::WHISPER, 1, code::HANDSHAKE, &payload).unwrap();
        self.tell(Input::Message { link, message });
        assert_eq!(self.node.peer_on(link), Some(&peer.id));
    }

    /// Whether a broadcast of somebody is handed up.
    fn hears(&mut self, author: u8, stamp: i64) -> bool {
        let message = identity(author).pack(kind::BROADCAST, stamp, code::BROADCAST, &("x",)).unwrap();
        let out = self.tell(Input::Message { link: LinkId(1), message });
        out.iter().any(|output| matches!(output, Output::Event(Event::Received(_))))
    }

    /// The end of the stamps that are reserved.
    fn reserved(&self) -> i64 {
        i64::from_be_bytes(self.kept.get(OWN).unwrap()[1..].try_into().unwrap())
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.mono += Duration::from_secs(1);
            self.wall += 1;
            self.tell(Input::Tick);
        }
    }

    /// Sends a broadcast with this stamp, or the next above its last if that is lower.
    fn says(&mut self, stamp: i64) -> i64 {
        let stamp = stamp.max(self.node.last_stamp() + 1);
        let message = identity(0).pack(kind::BROADCAST, stamp, code::BROADCAST, &("x",)).unwrap();
        self.tell(Input::Command(Command::Broadcast(message)));
        stamp
    }
}

/// K-21
#[test]
fn nothing_heard_before_is_new() {
    let mut scene = Scene::new();
    let stamps = [5, 1_000_000, WALL * SECOND, i64::MAX - 1];
    for author in 1..=4 {
        for stamp in stamps {
            assert!(scene.hears(author, stamp - 1) && scene.hears(author, stamp));
        }
    }
    scene.pass(3);
    for wall in [scene.wall + 10, WALL - 365 * 24 * 3600, 0, WALL + 3600] {
        scene = scene.killed(wall);
        for author in 1..=4 {
            assert!(
                stamps.iter().all(|stamp| !scene.hears(author, *stamp) && !scene.hears(author, *stamp - 1))
            );
            assert!(scene.hears(5, i64::from(author) + wall * SECOND), "who was never heard");
        }
        assert_eq!(scene.node.counters().stale, 32);
    }
    assert!(scene.hears(1, i64::MAX), "what is new is heard");
}

/// K-21: a mark of each author every two seconds, however much it says, and nothing for who is silent.
#[test]
fn marks_are_kept_now_and_then() {
    let mut scene = Scene::new();
    for n in 0..10 {
        for message in 0..100 {
            assert!(scene.hears(3, n * 1000 + message) && scene.hears(4, n * 1000 + message));
        }
        scene.pass(2);
    }
    assert_eq!(scene.writes[0], 20);
    scene.pass(20);
    assert_eq!(scene.writes[0], 20);
    // What came last is kept when the node is closed.
    assert!(scene.hears(3, 1_000_000));
    scene.tell(Input::Command(Command::Close));
    let mut scene = scene.killed(WALL);
    assert!(!scene.hears(3, 1_000_000) && scene.hears(3, 1_000_001));
}

/// K-23
#[test]
fn no_stamp_is_used_again() {
    let mut scene = Scene::new();
    let mut last = 0;
    for (seconds, wall) in [(0, WALL), (3, WALL - 3600), (100, WALL + 3600), (7, 0), (20, WALL)] {
        for _ in 0..seconds {
            for n in 0..10 {
                let stamp = scene.says(scene.wall * SECOND + n);
                assert!(stamp > last, "{stamp} after {last}");
                last = stamp;
            }
            scene.pass(1);
        }
        scene = scene.killed(wall);
        assert!(scene.node.last_stamp() >= last);
    }
    // Little of the future is used up by that, and nothing by a node that is closed.
    let before = scene.says(scene.wall * SECOND);
    scene.tell(Input::Command(Command::Close));
    assert_eq!(scene.reserved(), before);
}

/// K-23
#[test]
fn changes_of_a_table_are_stamped_within_what_is_reserved() {
    let mut scene = Scene::new();
    scene.node = Node::new(identity(0), Config::default(), 1).with_table(TableOptions::default());
    let now = Now { mono: Duration::from_secs(1), wall: WALL };
    let mut out = Outbox::new();
    scene.node.keep_marks(now, &mut out);
    scene.take(out);
    for n in 0..100 {
        let (stamp, mut out) = (WALL * SECOND + n * SECOND, Outbox::new());
        scene.node.table_set(now, stamp, "key".into(), vec![7].into(), &mut out).unwrap();
        scene.take(out);
        assert!(stamp < scene.reserved(), "{n}");
    }
}

/// K-23, K-24
#[test]
fn stamps_are_reserved_before_anything_is_said() {
    let mut scene = Scene::new();
    assert!(scene.reserved() > WALL * SECOND);
    scene.writes = [0; 2];
    for n in 0..10_000 {
        let stamp = scene.says(WALL * SECOND + n * 1000);
        assert!(stamp < scene.reserved());
    }
    assert!(scene.writes[1] <= 3, "{} for ten seconds", scene.writes[1]);
    // Where no ids are proven, stamps are seconds, and nothing is reserved.
    let trust = Trust::Claimed;
    let plain = Identity { id: NodeId::parse("me").unwrap(), trust, ..identity(0) };
    let mut node = Node::new(plain, Config::default(), 1);
    let mut out = Outbox::new();
    node.keep_marks(Now { mono: Duration::ZERO, wall: WALL }, &mut out);
    assert!(out.outputs.is_empty());
}
