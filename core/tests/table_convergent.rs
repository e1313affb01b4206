//! Tables where ids are proven (`spec/10-sync.md`, S-40 to S-74), told to one node machine of a `tls`
//! subnet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Change, Command, Counters, Event, Handshake, Identity, Input, LEASE, LinkId, Node, Now, Origin,
    Outbox, Output, Remote, TableError, TableOptions, Trust, Version,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Envelope, Limits, Message, Pack};
use peernet::{CloseReason, Config, Value};

const WALL: i64 = 1_779_600_000;
const MICROS: i64 = 1_000_000;
const STAMP: i64 = WALL * MICROS;
const YEAR: i64 = 365 * 24 * 3600 * MICROS;

/// Who somebody is, by a number; 0 is the node under test.
fn identity(n: u8, signed: bool) -> Identity {
    let protocol = ProtocolId::derive("sync1", if signed { "tls/sync" } else { "tls/sync/unsigned" });
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    let address = Address::new("127.0.0.1", 4000 + u16::from(n));
    Identity { id, protocol, address, trust: Trust::Proven { keys, signed } }
}

fn packed(value: &(impl Pack + ?Sized)) -> Bytes {
    let mut packed = Vec::new();
    value.pack(&mut packed).unwrap();
    packed.into()
}

/// A node, and the clocks it is given.
struct Scene {
    node: Node,
    signed: bool,
    mono: Duration,
}

impl Scene {
    /// A node with neighbours 1 and 2 on the links of these numbers.
    fn new(leases: bool, signed: bool, config: Config) -> Self {
        let mut scene = Self::alone(0, leases, signed, config);
        for n in 1..=2 {
            scene.join(n);
        }
        scene
    }

    fn alone(n: u8, leases: bool, signed: bool, config: Config) -> Self {
        let node = Node::new(identity(n, signed), config, n.into()).with_table(TableOptions { leases });
        Self { node, signed, mono: Duration::from_secs(1) }
    }

    fn join(&mut self, n: u8) {
        let (link, peer) = (LinkId(n.into()), identity(n, self.signed));
        let Trust::Proven { keys, .. } = &peer.trust else { panic!() };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.tell(Input::LinkUp { link, origin: Origin::Accepted, remote });
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        self.hears(n, code::HANDSHAKE, &payload);
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: WALL + self.mono.as_secs() as i64 }
    }

    fn tell(&mut self, input: Input) -> Outbox {
        let mut out = Outbox::new();
        self.node.handle(self.now(), input, &mut out);
        out
    }

    fn pass(&mut self, time: Duration) -> Outbox {
        let end = self.mono + time;
        let mut out = Outbox::new();
        while let Some(due) = self.node.next_timer().filter(|due| *due <= end) {
            self.mono = self.mono.max(due);
            // They live.
            for n in 1..=2 {
                self.hears(n, code::PONG, &[]);
            }
            self.node.handle(self.now(), Input::Tick, &mut out);
        }
        self.mono = end;
        out
    }

    /// A neighbour whispers.
    fn hears(&mut self, n: u8, code: u64, payload: &[Value]) -> Outbox {
        let message = identity(n, self.signed).pack(kind::WHISPER, STAMP, code, payload).unwrap();
        self.tell(Input::Message { link: LinkId(n.into()), message })
    }

    fn broadcast(&mut self, message: &Message) -> Outbox {
        self.tell(Input::Message { link: LinkId(1), message: message.clone() })
    }

    /// What an author broadcasts to set a key, or to delete it.
    fn write(&self, author: u8, key: &str, value: impl Into<Value>, version: (u64, i64, i64)) -> Message {
        let (term, claimed, stamp) = version;
        let version = Value::Array(vec![term.into(), claimed.into(), stamp.into()]);
        let payload = [key.as_bytes().into(), value.into(), version];
        identity(author, self.signed).pack(kind::BROADCAST, stamp, code::STORE, &payload).unwrap()
    }

    /// As a first write with a lease.
    fn writes(&mut self, author: u8, key: &str, value: impl Into<Value>, stamp: i64) -> Outbox {
        let write = self.write(author, key, value, (0, stamp, stamp));
        self.broadcast(&write)
    }

    /// A neighbour hands entries on: ages and bodies.
    fn is_handed(&mut self, n: u8, entries: &[(u32, Bytes)]) -> Outbox {
        let mut all = Vec::new();
        for (age, body) in entries {
            all.extend_from_slice(&age.to_be_bytes());
            all.extend_from_slice(&(body.len() as u32).to_be_bytes());
            all.extend_from_slice(body);
        }
        self.hears(n, code::ENTRIES, &[7.into(), all.into()])
    }

    fn set(&mut self, key: &str, value: impl Pack) -> Result<Outbox, TableError> {
        let (now, mut out) = (self.now(), Outbox::new());
        let key = Bytes::copy_from_slice(key.as_bytes());
        self.node.table_set(now, now.wall * MICROS, key, packed(&value), &mut out)?;
        Ok(out)
    }

    fn delete(&mut self, key: &str) -> Result<Outbox, TableError> {
        let (now, mut out) = (self.now(), Outbox::new());
        self.node.table_delete(now, now.wall * MICROS, key.as_bytes(), &mut out)?;
        Ok(out)
    }

    fn delta(&mut self, key: &str, delta: &Value) -> Result<Outbox, TableError> {
        let (now, mut out) = (self.now(), Outbox::new());
        self.node.table_delta(now, now.wall * MICROS, key.as_bytes(), packed(delta), &mut out)?;
        Ok(out)
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        let entry = self.node.table().unwrap().get(key.as_bytes())?;
        Some(Bytes::copy_from_slice(entry.value))
    }

    fn lease(&self, key: &str) -> Option<Duration> {
        self.node.table().unwrap().get(key.as_bytes())?.lease(self.now())
    }

    fn version(&self, key: &str) -> Option<Version> {
        self.node.table().unwrap().version(key.as_bytes()).cloned()
    }

    fn counters(&self) -> Counters {
        self.node.counters()
    }
}

fn closed(out: &Outbox) -> Vec<(u64, CloseReason)> {
    let close = |output: &Output| match output {
        Output::Close { link, reason } => Some((link.0, reason.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(close).collect()
}

/// What is sent, to which links.
fn sent(out: &Outbox) -> Vec<(Vec<u64>, Message)> {
    let send = |output: &Output| match output {
        Output::Send { links, body, .. } => {
            let links = out.links(links).iter().map(|link| link.0).collect();
            // The seal of a broadcast is none of the message's own bytes.
            let whole = Message::read(body.clone(), &Limits::default());
            let message = whole.unwrap_or_else(|_| {
                Message::read(body.slice(..body.len() - peernet::wire::SEAL_LEN), &Limits::default()).unwrap()
            });
            Some((links, message))
        }
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

fn sent_as(out: &Outbox, code: u64) -> Vec<Vec<Value>> {
    let messages = sent(out).into_iter().map(|(_, message)| message);
    let wanted = messages.filter(|message| message.code() == Some(code));
    wanted.map(|message| message.values(&Limits::default()).unwrap()).collect()
}

fn changes(out: &Outbox) -> Vec<Change> {
    let change = |output: &Output| match output {
        Output::Event(Event::Changed(change)) => Some(change.clone()),
        _ => None,
    };
    out.outputs.iter().filter_map(change).collect()
}

fn superseded(out: &Outbox) -> Vec<(Bytes, Option<Bytes>, NodeId)> {
    let event = |output: &Output| match output {
        Output::Event(Event::Superseded { key, value, by }) => Some((key.clone(), value.clone(), by.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(event).collect()
}

fn kept(out: &Outbox) -> Vec<(Vec<u8>, Option<Bytes>)> {
    let keep = |output: &Output| match output {
        Output::Keep { key, value } => Some((key.clone(), value.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(keep).collect()
}

/// S-40, S-41, S-46: what a set and a delete say, and what is kept of them.
#[test]
fn a_write_says_its_version() {
    for (leases, signed) in [(true, true), (true, false), (false, false)] {
        let mut scene = Scene::new(leases, signed, Config::default());
        let out = scene.set("k", 5).unwrap();
        let stamp = scene.now().wall * MICROS;
        let claimed = if leases { stamp } else { 0 };
        let [(links, message)] = &sent(&out)[..] else { panic!("{out:?}") };
        assert_eq!(links.len(), 2);
        let version = Value::Array(vec![0.into(), claimed.into(), stamp.into()]);
        let says = [0x0b.into(), b"k".into(), 5.into(), version];
        assert_eq!(message.values(&Limits::default()).unwrap(), says);
        let mark = u64::from_be_bytes(message.id().as_bytes()[..8].try_into().unwrap());
        let owner = scene.node.identity().id.clone();
        assert_eq!(scene.version("k"), Some(Version { term: 0, claimed, owner, stamp, mark }));
        let [change] = &changes(&out)[..] else { panic!("{out:?}") };
        assert_eq!(
            (&change.key[..], change.value.as_deref(), &change.old),
            (&b"k"[..], Some(&[5][..]), &None)
        );

        let out = scene.delete("k").unwrap();
        let version = Value::Array(vec![0.into(), claimed.into(), (stamp + 1).into()]);
        assert_eq!(sent_as(&out, 0x0b), [[0x0b.into(), b"k".into(), Value::Nil, version]]);
        assert_eq!((scene.get("k"), scene.node.table().unwrap().len()), (None, 0));
        let [change] = &changes(&out)[..] else { panic!("{out:?}") };
        assert_eq!((change.value.as_deref(), change.old.as_deref()), (None, Some(&[5][..])));
        assert!(scene.version("k").is_some(), "it is remembered");
        assert_eq!(scene.delete("k").unwrap_err(), TableError::Absent);
        assert_eq!(scene.set("k", Value::Nil).unwrap_err(), TableError::Nil);
    }
}

/// S-41: a delta goes as the map that came of it.
#[test]
fn a_delta_is_merged_where_it_is_made() {
    let mut scene = Scene::new(true, false, Config::default());
    let map = |pairs: &[(&str, u64)]| {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    };
    scene.delta("k", &map(&[("a", 1), ("b", 2)])).unwrap();
    let out = scene.delta("k", &map(&[("b", 3), ("c", 4)])).unwrap();
    let whole = map(&[("a", 1), ("b", 3), ("c", 4)]);
    assert_eq!(sent_as(&out, 0x0b)[0][2], whole);
    assert_eq!(scene.get("k").unwrap(), packed(&whole));
    scene.set("n", 1).unwrap();
    assert!(matches!(scene.delta("n", &map(&[("a", 1)])), Err(TableError::NotAMap(_))));
    assert!(matches!(scene.delta("k", &1.into()), Err(TableError::NotAMap(_))));
}

/// S-42: what is no write is relayed, counted, and laid to nobody.
#[test]
fn what_is_no_write_changes_nothing() {
    let version =
        |term: i64, claimed: i64, stamp: i64| Value::Array(vec![term.into(), claimed.into(), stamp.into()]);
    let good = version(0, STAMP, STAMP);
    let key = || Value::from(b"k");
    let bad = [
        vec![],
        vec![key()],
        vec![key(), 1.into()],
        vec![key(), 1.into(), Value::Nil],
        vec!["k".into(), 1.into(), good.clone()],
        vec![5.into(), 1.into(), good.clone()],
        vec![Value::Bin(vec![0; 4097]), 1.into(), good.clone()],
        vec![key(), 1.into(), good.clone(), 1.into()],
        vec![key(), 1.into(), Value::Array(vec![0.into(), STAMP.into()])],
        vec![key(), 1.into(), Value::Array(vec![0.into(), STAMP.into(), 1.5.into()])],
        vec![key(), 1.into(), version(-1, STAMP, STAMP)],
        // A claim after the write.
        vec![key(), 1.into(), version(0, STAMP + 1, STAMP)],
    ];
    let mut scene = Scene::new(true, false, Config::default());
    for (n, payload) in bad.iter().enumerate() {
        let message =
            identity(9, false).pack(kind::BROADCAST, STAMP + n as i64, code::STORE, payload).unwrap();
        let out = scene.broadcast(&message);
        assert_eq!((sent(&out).len(), changes(&out).len()), (1, 0), "{payload:?}");
        assert_eq!(scene.counters().malformed, n as u64 + 1, "{payload:?}");
    }
    assert_eq!((scene.counters().offences, scene.node.table().unwrap().len()), (0, 0));
    assert_eq!(changes(&scene.writes(9, "k", 1, STAMP + 99)).len(), 1);

    // Without leases nobody has claims.
    let mut scene = Scene::new(false, false, Config::default());
    for (n, parts) in [(1, 0), (0, 1)].into_iter().enumerate() {
        let write = scene.write(9, "k", 1, (parts.0, parts.1, STAMP + n as i64));
        assert!(changes(&scene.broadcast(&write)).is_empty());
    }
    assert_eq!(scene.counters().malformed, 2);
    // Deltas are 0.7's.
    let delta = identity(9, false).pack(kind::BROADCAST, STAMP, code::DELTA, &("k", 1)).unwrap();
    scene.broadcast(&delta);
    assert_eq!(scene.counters().unknown, 1);
}

/// S-45, S-53: in whatever order writes come, the highest stays, and nobody is told of others.
#[test]
fn order_means_nothing() {
    let mut scene = Scene::new(true, false, Config::default());
    let claimed = STAMP;
    let writes =
        [(0, STAMP + 50, STAMP + 60), (0, claimed, STAMP), (0, claimed, STAMP + 9), (0, claimed, STAMP + 5)];
    let told: Vec<usize> = writes
        .iter()
        .zip([3, 4, 4, 4])
        .map(|(version, author)| {
            let write = scene.write(author, "k", version.2, *version);
            changes(&scene.broadcast(&write)).len()
        })
        .collect();
    assert_eq!(told, [1, 1, 1, 0]);
    assert_eq!(scene.version("k").map(|version| version.stamp), Some(STAMP + 9));
}

/// S-47: a stamp is higher than all that its author knew of, whatever clocks say.
#[test]
fn a_clock_that_is_wrong_locks_nothing() {
    for off in [YEAR, -YEAR] {
        let mut scene = Scene::new(false, false, Config::default());
        let write = scene.write(9, "k", 1, (0, 0, STAMP + off));
        scene.broadcast(&write);
        scene.set("k", 2).unwrap();
        assert_eq!(scene.get("k").as_deref(), Some(&[2][..]));
        let own = scene.now().wall * MICROS;
        assert_eq!(scene.version("k").unwrap().stamp, own.max(STAMP + off + 1));
    }
}

/// S-48, S-49: a key is its owner's until an hour after its last write, by our own steady time.
#[test]
fn leases_run_by_our_own_time() {
    let mut scene = Scene::new(true, false, Config::default());
    // An author whose clock is wrong by a year has an hour too.
    scene.writes(9, "k", 1, STAMP - YEAR);
    let owner = identity(9, false).id;
    let leased = |remaining| TableError::Leased { owner: owner.clone(), remaining };
    assert_eq!(scene.set("k", 2).unwrap_err(), leased(LEASE));
    scene.pass(LEASE / 2);
    assert_eq!(scene.delete("k").unwrap_err(), leased(LEASE / 2));
    // Its next write begins the hour anew.
    let again = scene.write(9, "k", 3, (0, STAMP - YEAR, STAMP - YEAR + 1));
    scene.broadcast(&again);
    assert_eq!(scene.lease("k"), Some(LEASE));
    scene.pass(LEASE);
    assert_eq!(scene.lease("k"), None);
    scene.set("k", 2).unwrap();
    let version = scene.version("k").unwrap();
    assert_eq!((version.term, version.claimed), (1, version.stamp));
    // Our own later writes, and our delete, keep the claim.
    scene.pass(Duration::from_secs(5));
    scene.set("k", 4).unwrap();
    scene.delete("k").unwrap();
    let deleted = scene.version("k").unwrap();
    assert_eq!((deleted.term, deleted.claimed), (1, version.claimed));
    // A deleted key is anyone's.
    scene.set("k", 5).unwrap();
    assert_eq!(scene.version("k").unwrap().term, 2);
}

/// S-49: whoever comes later gives nobody another hour.
#[test]
fn entries_bring_their_age() {
    let mut scene = Scene::new(true, false, Config::default());
    let body = |scene: &Scene, key| scene.write(9, key, 1, (0, STAMP, STAMP)).into_body();
    let entries =
        [(3000, body(&scene, "young")), (3600, body(&scene, "old")), (u32::MAX, body(&scene, "oldest"))];
    let out = scene.is_handed(1, &entries);
    assert_eq!(changes(&out).len(), 3);
    assert_eq!(scene.lease("young"), Some(Duration::from_secs(600)));
    assert_eq!((scene.lease("old"), scene.lease("oldest")), (None, None));
    assert_eq!(sent_as(&out, code::ENTRIES), [[Value::from(0x13), 7.into()]], "acknowledged");
}

/// S-50: the numbers must not run out.
#[test]
fn what_is_stamped_too_far_ahead_is_refused() {
    let mut scene = Scene::new(true, false, Config::default());
    let most = scene.now().wall * MICROS + 10 * YEAR;
    for (n, (version, taken)) in [
        ((0, STAMP, most + 1), false),
        ((0, STAMP, i64::MAX), false),
        ((most as u64 + 1, STAMP, STAMP), false),
        ((u64::MAX, STAMP, STAMP), false),
        ((0, STAMP, most), true),
        ((most as u64, STAMP, STAMP), true),
    ]
    .into_iter()
    .enumerate()
    {
        let write = scene.write(9, &format!("k{n}"), 1, version);
        assert_eq!(changes(&scene.broadcast(&write)).len(), usize::from(taken), "{version:?}");
    }
    assert_eq!(scene.counters().table_ahead, 4);
    // A clock that does not know the time is not asked.
    let mut scene = Scene::alone(0, true, false, Config::default());
    let write = scene.write(9, "k", 1, (0, STAMP, STAMP));
    let link_up = Scene::join;
    link_up(&mut scene, 1);
    let now = Now { mono: scene.mono, wall: 0 };
    let mut out = Outbox::new();
    scene.node.handle(now, Input::Message { link: LinkId(1), message: write }, &mut out);
    assert_eq!(changes(&out).len(), 1);
}

/// S-51, L-88: a deleted key is remembered for a day, and does not come back by itself.
#[test]
fn deleted_keys_are_remembered_for_a_time() {
    let mut scene = Scene::new(true, false, Config::default());
    scene.writes(9, "k", 1, STAMP);
    let deleted = scene.write(9, "k", Value::Nil, (0, STAMP, STAMP + 1));
    scene.broadcast(&deleted);
    let day = Duration::from_secs(24 * 3600);
    scene.pass(day - Duration::from_secs(1));
    // What was before it stays away.
    let old = scene.write(9, "k", 2, (0, STAMP, STAMP)).into_body();
    assert!(changes(&scene.is_handed(1, &[(86_000, old.clone())])).is_empty());
    assert!(scene.version("k").is_some());
    let out = scene.pass(Duration::from_secs(1));
    assert!(scene.version("k").is_none());
    assert_eq!(kept(&out), [(b"tk".to_vec(), None)]);
    // Someone who remembers it for longer does not remind us.
    scene.is_handed(1, &[(86_400, deleted.into_body())]);
    assert!(scene.version("k").is_none());
    assert_eq!(changes(&scene.is_handed(1, &[(86_401, old)])).len(), 1, "without it, what is there counts");
}

/// S-52: whoever's write gives way is told.
#[test]
fn superseded_writes_are_told() {
    let mut scene = Scene::new(true, false, Config::default());
    scene.set("k", 1).unwrap();
    let other = identity(9, false).id;
    let out = scene.writes(9, "k", 2, STAMP - YEAR);
    assert_eq!(superseded(&out), [(Bytes::from("k"), Some(Bytes::from_static(&[1])), other.clone())]);
    // What it replaces now is not ours.
    assert!(superseded(&scene.writes(8, "k", 3, STAMP - 2 * YEAR)).is_empty());
    // Nor does our own next write supersede us.
    scene.set("own", 1).unwrap();
    assert!(superseded(&scene.set("own", 2).unwrap()).is_empty());
    // One of ours, from before we forgot everything.
    let ours = scene.write(0, "own", 3, (0, STAMP - YEAR, STAMP - YEAR)).into_body();
    let own = identity(0, false).id;
    assert_eq!(
        superseded(&scene.is_handed(1, &[(5, ours)])),
        [(Bytes::from("own"), Some(Bytes::from_static(&[2])), own)]
    );
}

/// S-54, L-85, L-86: whoever fills the table, or its memory of deleted keys, fills half of it.
#[test]
fn nobody_fills_the_table_alone() {
    let config = || Config { table_keys: 100, ..Config::default() };
    for value in [Value::from(1), Value::Nil] {
        let mut scene = Scene::new(true, false, config());
        scene.set("ours", 1).unwrap();
        scene.writes(8, "theirs", 1, STAMP);
        for n in 0..500 {
            scene.writes(9, &format!("k{n}"), value.clone(), STAMP + n);
        }
        assert_eq!(scene.counters().table_refused, 450);
        // Others still have room, and what was there is there.
        assert_eq!(changes(&scene.writes(8, "more", 1, STAMP + 1)).len(), 1);
        for n in 0..47 {
            scene.set(&format!("own{n}"), 1).unwrap();
        }
        let full = scene.set("one too many", 1).unwrap_err();
        assert!(matches!(full, TableError::Full { bound } if bound.contains("table_keys")), "{full}");
        assert_eq!((scene.get("ours"), scene.get("theirs")), (Some(packed(&1)), Some(packed(&1))));
        // What is there can be changed and deleted.
        scene.set("ours", 2).unwrap();
        scene.delete("ours").unwrap();
        assert!(scene.set("ours", 3).is_ok());
    }
    let mut scene = Scene::new(true, false, Config { table_bytes: 100_000, ..Config::default() });
    let large = || Value::from("x".repeat(10_000));
    for n in 0..20 {
        scene.writes(9, &format!("k{n}"), large(), STAMP + n);
    }
    assert_eq!(scene.counters().table_refused, 16);
    for n in 0..4 {
        scene.set(&format!("own{n}"), large()).unwrap();
    }
    let full = scene.set("one too many", large()).unwrap_err();
    assert!(matches!(full, TableError::Full { bound } if bound.contains("half of table_bytes")), "{full}");
    scene.set("own0", 1).unwrap();
    scene.set("one too many", large()).unwrap();
}

/// S-55: what was kept is there after a start, with what was left of its lease.
#[test]
fn records_bring_everything_back() {
    for signed in [true, false] {
        let mut scene = Scene::new(true, signed, Config::default());
        let mut records = BTreeMap::new();
        let mut keep = |out: &Outbox| records.extend(kept(out));
        keep(&scene.set("a", "x".repeat(100_000)).unwrap());
        keep(&scene.writes(9, "b", 2, STAMP));
        keep(&scene.set("c", 3).unwrap());
        keep(&scene.delete("c").unwrap());
        assert_eq!(records.keys().collect::<Vec<_>>(), [b"ta", b"tb", b"tc"]);

        let mut again = Scene::alone(0, true, signed, Config::default());
        again.mono = Duration::ZERO;
        let later = Now { mono: Duration::ZERO, wall: scene.now().wall + 600 };
        for (key, value) in &records {
            again.node.restore(later, key, value.as_deref().unwrap()).unwrap();
        }
        for key in ["a", "b", "c"] {
            assert_eq!((again.version(key), again.get(key)), (scene.version(key), scene.get(key)), "{key}");
        }
        let left = again.node.table().unwrap().get(b"b").unwrap().lease(later);
        assert_eq!(left, Some(LEASE - Duration::from_secs(600)));
        assert!(again.node.next_timer().is_some(), "what is deleted will be forgotten");

        // No record that is damaged is taken, and none makes trouble.
        let (key, value) = (b"tb".to_vec(), records[&b"tb".to_vec()].clone().unwrap());
        let mut other = Scene::alone(0, true, signed, Config::default());
        for at in 9..value.len() - if signed { peernet::wire::SEAL_LEN } else { 0 } {
            let mut damaged = value.to_vec();
            damaged[at] ^= 4;
            assert!(other.node.restore(later, &key, &damaged).is_err(), "{at}");
        }
        for len in 0..value.len() {
            assert!(other.node.restore(later, &key, &value[..len]).is_err(), "{len}");
        }
        assert!(other.node.restore(later, b"tx", &value).is_err(), "under another key");
        assert!(other.node.restore(later, &key, &[&[2], &value[1..]].concat()).is_err(), "of another form");
        assert_eq!(other.node.table().unwrap().len(), 0);
        // A clock that was set meanwhile takes neither leases nor the memory of deleted keys away for long.
        let later = Now { mono: Duration::ZERO, wall: WALL + 365 * 24 * 3600 };
        other.node.restore(later, b"tc", records[&b"tc".to_vec()].as_deref().unwrap()).unwrap();
        assert!(other.node.next_timer().unwrap() >= Duration::from_secs(3600));
    }
}

/// S-56: whoever may not join writes nothing either.
#[test]
fn banned_authors_are_not_heard() {
    let mut scene = Scene::new(true, false, Config::default());
    let entry = scene.write(9, "k", 1, (0, STAMP, STAMP)).into_body();
    scene.tell(Input::Command(Command::Ban { peer: identity(9, false).id, until: WALL + 1000 }));
    assert!(changes(&scene.is_handed(1, &[(5, entry.clone())])).is_empty());
    assert_eq!((scene.counters().authors_refused, scene.counters().offences), (1, 0));
    scene.pass(Duration::from_secs(1000));
    assert_eq!(changes(&scene.is_handed(1, &[(5, entry)])).len(), 1);
}

/// S-57: what could not be handed on is not taken.
#[test]
fn entries_fit_a_frame() {
    let config = Config { max_frame: 10_000, ..Config::default() };
    let mut scene = Scene::new(true, false, config);
    let error = scene.set("k", "x".repeat(9_500)).unwrap_err();
    assert!(matches!(error, TableError::TooLarge { max: 9_488, .. }), "{error}");
    scene.set("k", "x".repeat(9_000)).unwrap();
    scene.writes(9, "l", "x".repeat(9_500), STAMP);
    assert_eq!((scene.get("l"), scene.counters().table_refused), (None, 1));
    let error = scene.set(&"k".repeat(4097), 1).unwrap_err();
    assert_eq!(error, TableError::Key { len: 4097, max: 4096 });
}

/// S-68, S-69: in a signed subnet an author's word counts, and whoever hands on another's closes its link.
#[test]
fn entries_are_verified_against_their_authors() {
    let genuine = |scene: &Scene| scene.write(9, "k", 1, (0, STAMP, STAMP));
    let mut scene = Scene::new(true, true, Config::default());
    let out = scene.is_handed(1, &[(5, genuine(&scene).into_body())]);
    assert_eq!((changes(&out).len(), closed(&out).len()), (1, 0));
    // Altered under its seal, in another's name, and under another's seal.
    let (good, other) = (genuine(&scene).into_body(), scene.write(8, "k", 2, (1, STAMP, STAMP)).into_body());
    let seal = good.slice(good.len() - peernet::wire::SEAL_LEN..);
    let swapped = [&other[..other.len() - peernet::wire::SEAL_LEN], &seal].concat();
    for forged in [swapped.into(), other.iter().copied().rev().collect::<Vec<u8>>().into()] {
        let mut scene = Scene::new(true, true, Config::default());
        let forged: Bytes = forged;
        let out = scene.is_handed(1, &[(5, genuine(&scene).into_body()), (5, forged)]);
        assert_eq!(changes(&out).len(), 1, "what came before it was genuine");
        assert_eq!(scene.version("k").unwrap().term, 0);
        assert_eq!(scene.counters().forged + scene.counters().malformed, 1);
    }
    let mut scene = Scene::new(true, true, Config::default());
    let swapped = [&other[..other.len() - peernet::wire::SEAL_LEN], &seal].concat();
    let out = scene.is_handed(1, &[(5, swapped.into())]);
    assert_eq!(closed(&out), [(1, CloseReason::Forged)]);
    // Where nobody signs, what is no broadcast is malformed all the same.
    let mut scene = Scene::new(true, false, Config::default());
    let mut body = genuine(&scene).into_body().to_vec();
    body[3] ^= 1;
    let out = scene.is_handed(1, &[(5, body.into())]);
    assert_eq!((changes(&out).len(), closed(&out).len(), scene.counters().malformed), (0, 0, 1));
    assert_eq!(scene.counters().offences, 1);
}

/// A whisper of entries, as it is before anyone has looked at it.
fn entries(n: u8, bodies: &[Bytes]) -> Message {
    let len = |body: &Bytes| (body.len() as u32).to_be_bytes();
    let all: Vec<u8> = bodies.iter().flat_map(|body| [&[0; 4][..], &len(body), body].concat()).collect();
    let payload = [7.into(), Value::from(all)];
    identity(n, true).pack(kind::WHISPER, STAMP, code::ENTRIES, &payload).unwrap()
}

/// S-68, S-69: seals may be verified before the machine is given what they stand behind. It names those that
/// matter, and verifies whatever it is not told of.
#[test]
fn seals_may_be_verified_elsewhere() {
    let mut scene = Scene::new(true, true, Config::default());
    let (link, now) = (LinkId(1), scene.now());
    scene.writes(9, "known", 1, STAMP);
    scene.tell(Input::Command(Command::Ban { peer: identity(8, true).id, until: WALL + 1000 }));
    let write = |author, key| scene.write(author, key, 1, (0, STAMP, STAMP)).into_body();
    let forge = |author, key| {
        let mut body = write(author, key).to_vec();
        *body.last_mut().unwrap() ^= 1;
        Bytes::from(body)
    };
    let bodies = [write(9, "known"), write(9, "a"), write(8, "banned"), forge(9, "b"), write(9, "c")];
    let message = entries(1, &bodies);
    let seals = scene.node.seals_to_verify(now, link, &message);
    assert_eq!(seals.iter().map(|(_, body)| body).collect::<Vec<_>>(), [&bodies[1], &bodies[3], &bodies[4]]);
    let envelope = scene.node.identity().envelope();
    let genuine: Vec<bool> = seals.iter().map(|(_, body)| envelope.is_genuine(body)).collect();
    assert_eq!(genuine, [true, false, true]);
    let places = |wanted: &[usize]| wanted.iter().map(|of| seals[*of].0).collect::<Vec<_>>();
    // What was found genuine is not looked at again (this one is not); everything else is.
    let given = |genuine| Input::Entries { link, message: Box::new(message.clone()), genuine };
    let fresh = || {
        let mut scene = Scene::new(true, true, Config::default());
        scene.writes(9, "known", 1, STAMP);
        scene
    };
    let mut other = fresh();
    let out = other.tell(given(places(&[0, 1, 2])));
    assert_eq!((changes(&out).len(), closed(&out).len()), (4, 0));
    for genuine in [&[][..], &[0], &[0, 2]] {
        let mut other = fresh();
        let out = other.tell(given(places(genuine)));
        assert_eq!(closed(&out), [(1, CloseReason::Forged)], "{genuine:?}");
        assert_eq!((other.get("c"), other.get("a").is_some()), (None, true));
    }
    // From a stranger, and in a subnet where nobody signs, there is nothing to verify.
    assert!(scene.node.seals_to_verify(now, LinkId(7), &message).is_empty());
    let unsigned = Scene::new(true, false, Config::default());
    assert!(unsigned.node.seals_to_verify(now, link, &message).is_empty());
    // Nor is anything but entries of a neighbour taken for such.
    let body = envelope.read(bodies[1].clone(), &Limits::default()).unwrap();
    let out = scene.tell(Input::Entries { link, message: Box::new(body), genuine: vec![0] });
    assert_eq!(changes(&out).len(), 1, "as a broadcast");
    scene.tell(Input::Entries { link: LinkId(7), message: Box::new(message.clone()), genuine: vec![0] });
    assert_eq!(scene.get("c"), None);
}

/// S-66: entries that are cut off or hold what is no entry.
#[test]
fn entries_that_do_not_read_are_an_offence() {
    let whole = {
        let scene = Scene::alone(0, true, false, Config::default());
        let body = scene.write(9, "k", 1, (0, STAMP, STAMP)).into_body();
        [&5_u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
    };
    for len in 1..whole.len() {
        let mut scene = Scene::new(true, false, Config::default());
        scene.hears(1, code::ENTRIES, &[7.into(), whole[..len].into()]);
        assert_eq!((scene.counters().malformed, scene.counters().offences), (1, 1), "{len}");
        assert_eq!(scene.node.table().unwrap().len(), 0);
    }
    let mut scene = Scene::new(true, false, Config::default());
    for payload in [
        vec![],
        vec![Value::Nil],
        vec!["7".into()],
        vec![7.into(), "text".into()],
        vec![7.into(), 8.into(), 9.into()],
    ] {
        let before = scene.counters().malformed;
        scene.hears(1, code::ENTRIES, &payload);
        assert_eq!(scene.counters().malformed, before + 1, "{payload:?}");
    }
}

fn digest(session: u64, role: u64, ranges: Vec<Value>, wanted: &[u64]) -> Vec<Value> {
    let wanted: Vec<u8> = wanted.iter().flat_map(|place| place.to_be_bytes()).collect();
    vec![session.into(), role.into(), Value::Array(ranges), wanted.into()]
}

/// The question of someone who has nothing.
fn nothing() -> Vec<Value> {
    vec![Value::Array(vec![Value::Nil, u64::MAX.into(), Value::Bin(Vec::new())])]
}

/// S-60, S-61: digests that do not read.
#[test]
fn digests_that_do_not_read_are_an_offence() {
    let sum = |start: Value, end: u64| Value::Array(vec![start, end.into(), 1.into(), 2.into()]);
    let bad = [
        vec![],
        vec![1.into()],
        digest(1, 2, vec![], &[]),
        digest(1, 0, vec![Value::Nil], &[]),
        digest(1, 0, vec![sum(5.into(), 4)], &[]),
        digest(1, 0, vec![sum(5.into(), 9), sum(9.into(), 10)], &[]),
        digest(1, 0, vec![sum(5.into(), u64::MAX), sum(Value::Nil, u64::MAX)], &[]),
        digest(1, 0, vec![sum((-1).into(), 9)], &[]),
        digest(1, 0, (0..129).map(|n| sum(Value::Nil, n)).collect(), &[]),
        digest(1, 0, vec![Value::Array(vec![Value::Nil, 9.into(), vec![0_u8; 15].into()])], &[]),
        vec![1.into(), 0.into(), Value::Array(vec![]), vec![0_u8; 7].into()],
        vec![1.into(), 0.into(), Value::Array(vec![]), vec![0_u8; 300_000].into()],
    ];
    for payload in bad {
        let mut scene = Scene::new(true, false, Config::default());
        let out = scene.hears(1, code::DIGEST, &payload);
        assert_eq!((scene.counters().malformed, scene.counters().offences), (1, 1), "{payload:?}");
        assert!(sent(&out).is_empty());
    }
    let mut scene = Scene::new(true, false, Config::default());
    let most = (0..128).map(|n| sum(Value::Nil, n)).collect();
    assert_eq!(sent_as(&scene.hears(1, code::DIGEST, &digest(1, 0, most, &[])), code::DIGEST).len(), 1);
}

/// S-75: zeros stand in its place, and what has the same is no copy.
#[test]
fn entries_go_without_a_digest() {
    for signed in [true, false] {
        let (mut full, mut new) =
            (Scene::new(true, signed, Config::default()), Scene::new(true, signed, Config::default()));
        for n in 0..40 {
            full.set(&format!("k{n}"), "x".repeat(5_000)).unwrap();
        }
        let out = full.hears(1, code::DIGEST, &digest(1, 0, nothing(), &[]));
        let entries: Vec<Message> = sent(&out).into_iter().map(|(_, message)| message).collect();
        let is_entries = |message: &&Message| message.code() == Some(code::ENTRIES);
        let entries: Vec<&Message> = entries.iter().filter(is_entries).collect();
        assert!(entries.len() > 1);
        for message in entries {
            assert!(message.body().starts_with(&[0; 32]));
            let envelope = new.node.identity().envelope();
            let body = envelope.open(message.body().clone(), &[], 1 << 20).unwrap();
            let message = envelope.read(body, &Limits::default()).unwrap();
            new.tell(Input::Message { link: LinkId(1), message });
        }
        assert_eq!(new.node.table().unwrap().len(), 40);
        assert!(Envelope::Plain.open(sent(&out)[1].1.body().clone(), &[], 1 << 20).is_err());
    }
}

/// S-67, S-72, S-74: no more is on its way to a peer than a window, whatever it claims to have read.
#[test]
fn whoever_reads_nothing_is_sent_no_more() {
    let mut scene = Scene::new(true, false, Config::default());
    for n in 0..60 {
        scene.set(&format!("k{n}"), "x".repeat(20_000)).unwrap();
    }
    let out = scene.hears(1, code::DIGEST, &digest(1, 0, nothing(), &[]));
    let entries = sent_as(&out, code::ENTRIES);
    assert_eq!(entries.len(), 8);
    assert!(entries.iter().all(|values| values[2].as_bin().unwrap().len() <= 60 << 10));
    // Asking again brings nothing, nor do receipts for what it has not read.
    for session in 2..10 {
        let out = scene.hears(1, code::DIGEST, &digest(session, 0, nothing(), &[]));
        assert!(sent_as(&out, code::ENTRIES).is_empty());
        assert!(sent_as(&scene.hears(1, code::ENTRIES, &[session.into()]), code::ENTRIES).is_empty());
    }
    assert_eq!(scene.counters().table_unasked, 8);
    let receipt = entries[1][1].clone();
    assert_eq!(
        sent_as(&scene.hears(1, code::ENTRIES, std::slice::from_ref(&receipt)), code::ENTRIES).len(),
        1
    );
    assert!(sent_as(&scene.hears(1, code::ENTRIES, &[receipt]), code::ENTRIES).is_empty());
    // After a while what was sent is taken for lost.
    scene.pass(Duration::from_secs(31));
    let out = scene.hears(1, code::DIGEST, &digest(99, 0, nothing(), &[]));
    assert_eq!(sent_as(&out, code::ENTRIES).len(), 8);
}

/// S-71, S-72, S-73: sessions, questions, and the work that they make.
#[test]
fn whoever_asks_too_much_is_not_answered() {
    let mut scene = Scene::new(true, false, Config::default());
    let out = scene.hears(1, code::DIGEST, &digest(1, 1, nothing(), &[]));
    assert!(sent(&out).is_empty());
    assert_eq!((scene.counters().table_unasked, scene.counters().offences), (1, 0));
    let answered = (0..200)
        .filter(|session| {
            !sent(&scene.hears(1, code::DIGEST, &digest(*session, 0, nothing(), &[]))).is_empty()
        })
        .count();
    assert_eq!((answered, scene.counters().table_limited), (60, 100), "then it is closed");
    assert_eq!((scene.node.link_to(&identity(1, false).id), scene.counters().misbehaved), (None, 1));

    // The same question over and over in one session.
    let mut scene = Scene::new(true, false, Config::default());
    for n in 0..1000 {
        scene.set(&format!("k{n}"), n).unwrap();
    }
    let all = || vec![Value::Array(vec![Value::Nil, u64::MAX.into(), 77.into(), 1.into()])];
    let answered = (0..200)
        .filter(|_| !sent(&scene.hears(1, code::DIGEST, &digest(5, 0, all(), &[]))).is_empty())
        .count();
    assert!((32..70).contains(&answered), "{answered}");
    assert!(scene.counters().table_limited > 0);
}

/// Two nodes with a link between them, which carry out what they say.
struct Pair {
    scenes: [Scene; 2],
    /// What they said about their tables.
    bytes: usize,
}

impl Pair {
    fn new(signed: bool, fill: impl Fn(usize, &mut Scene)) -> Self {
        let scene = |n| Scene::alone(n, true, signed, Config::default());
        let mut pair = Self { scenes: [scene(0), scene(1)], bytes: 0 };
        for (n, scene) in pair.scenes.iter_mut().enumerate() {
            fill(n, scene);
        }
        for (n, origin) in [(0, Origin::Accepted), (1, Origin::Accepted)] {
            let Trust::Proven { keys, .. } = identity(1 - n as u8, signed).trust else { panic!() };
            let remote = Remote { key: Some(keys.public()), ..Remote::default() };
            pair.scenes[n].tell(Input::LinkUp { link: LinkId(0), origin, remote });
        }
        // Nobody dialled, so nobody begins: somebody has to say something, and time does the rest.
        for n in 0..2 {
            let peer = identity(1 - n as u8, signed);
            let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
            let message = peer.pack(kind::WHISPER, STAMP, code::HANDSHAKE, &payload).unwrap();
            let out = pair.scenes[n].tell(Input::Message { link: LinkId(0), message });
            drop(out);
        }
        pair
    }

    fn carry(&mut self, from: usize, out: &Outbox) {
        let mut queue = vec![(from, bodies(out))];
        while let Some((from, bodies)) = queue.pop() {
            let there = &mut self.scenes[1 - from];
            for body in bodies {
                let len = body.len();
                let message = there.node.identity().envelope().read(body, &Limits::default()).unwrap();
                if matches!(message.code(), Some(code::DIGEST | code::ENTRIES)) {
                    self.bytes += len;
                }
                let out = there.tell(Input::Message { link: LinkId(0), message });
                queue.push((1 - from, self::bodies(&out)));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.scenes[0].mono + time;
        loop {
            let due = |scene: &Scene| scene.node.next_timer().filter(|due| *due <= end);
            let (a, b) = (due(&self.scenes[0]), due(&self.scenes[1]));
            let Some(next) = a.into_iter().chain(b).min() else { break };
            for n in 0..2 {
                self.scenes[n].mono = next.max(self.scenes[n].mono);
                let out = self.scenes[n].tell(Input::Tick);
                self.carry(n, &out);
            }
        }
        self.scenes.iter_mut().for_each(|scene| scene.mono = end);
    }
}

fn bodies(out: &Outbox) -> Vec<Bytes> {
    let body = |output: &Output| match output {
        Output::Send { body, .. } => Some(body.clone()),
        _ => None,
    };
    out.outputs.iter().filter_map(body).collect()
}

/// S-62, S-63, S-64, S-65, S-66, S-70, L-87: from time to time neighbours find what the other lacks, at little cost.
#[test]
fn neighbours_compare_their_tables() {
    for signed in [false, true] {
        let many = if signed { 50 } else { 2000 };
        let mut pair = Pair::new(signed, |n, scene| {
            for key in 0..many {
                let write = scene.write(9, &format!("shared {key}"), key, (0, STAMP, STAMP));
                scene.is_handed_alone(&write);
            }
            for key in 0..5 {
                scene.set(&format!("{n} {key}"), key).unwrap();
            }
        });
        pair.bytes = 0;
        pair.run(Duration::from_secs(50));
        for scene in &pair.scenes {
            assert_eq!(scene.node.table().unwrap().len(), many as usize + 10, "signed: {signed}");
            let counters = scene.counters();
            assert_eq!(
                counters.malformed + counters.table_limited + counters.table_unasked + counters.offences,
                0
            );
        }
        assert!(pair.bytes < 24 << 10, "{}", pair.bytes);
        // Equal tables cost next to nothing.
        pair.bytes = 0;
        pair.run(Duration::from_secs(60));
        assert!(pair.bytes < 4 << 10, "{}", pair.bytes);
    }
}

impl Scene {
    /// Takes a write in before there are neighbours: as a record.
    fn is_handed_alone(&mut self, write: &Message) {
        let values = write.values(&Limits::default()).unwrap();
        let key = [b"t", values[1].as_bin().unwrap()].concat();
        let record = [&[1][..], &self.now().wall.to_be_bytes(), write.body()].concat();
        self.node.restore(self.now(), &key, &record).unwrap();
    }
}

/// S-70: whoever dials begins at once.
#[test]
fn a_new_link_begins_with_a_digest() {
    let mut scene = Scene::alone(0, true, false, Config::default());
    scene.set("k", 1).unwrap();
    let target = "127.0.0.1:4001".parse().unwrap();
    let token = peernet::protocol::Token(1);
    let out = scene.tell(Input::Command(Command::Connect { token, target, persist: false }));
    let dial = out.outputs.iter().find_map(|output| match output {
        Output::Dial { dial, .. } => Some(*dial),
        _ => None,
    });
    let peer = identity(1, false);
    let Trust::Proven { keys, .. } = &peer.trust else { panic!() };
    let remote = Remote { key: Some(keys.public()), ..Remote::default() };
    scene.tell(Input::LinkUp { link: LinkId(1), origin: Origin::Dialled(dial.unwrap()), remote });
    let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
    let out = scene.hears(1, code::HANDSHAKE, &payload);
    let [asked] = &sent_as(&out, code::DIGEST)[..] else { panic!("{out:?}") };
    assert_eq!((asked.len(), &asked[2]), (5, &Value::from(0)));
    // One key is told by its place and mark.
    let range = asked[3].as_array().unwrap()[0].as_array().unwrap();
    assert_eq!((&range[0], &range[1], range[2].as_bin().unwrap().len()), (&Value::Nil, &u64::MAX.into(), 16));
    // The answer says that this is wanted, and it is given.
    let place = u64::from_be_bytes(range[2].as_bin().unwrap()[..8].try_into().unwrap());
    let session = asked[1].as_u64().unwrap();
    let out = scene.hears(1, code::DIGEST, &digest(session, 1, vec![], &[place]));
    assert_eq!(sent_as(&out, code::ENTRIES).len(), 1);
    assert!(matches!(scene.node.identity().envelope(), Envelope::Unsigned));
}
