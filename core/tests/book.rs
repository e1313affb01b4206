//! The peer book, and how nodes find together by it (`spec/11-state.md`, K-30 to K-46), told to one node
//! machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::Config;
use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::{
    Address, CloseReason, Command, DialId, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin,
    Outbox, Output, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Limits, Message, Payload, Value};

const TIME: i64 = 1_479_600_000;

fn protocol() -> ProtocolId {
    ProtocolId::derive("mesh", "Plaintext")
}

fn id(n: u64) -> NodeId {
    NodeId::parse(&format!("4Node{n}").replace('0', "A")).unwrap()
}

fn address(n: u64) -> Address {
    let [.., a, b, c] = n.to_be_bytes();
    Address::new(format!("10.{a}.{b}.{c}"), 4444)
}

/// One node, and what it wants since it was last asked.
struct Scene {
    node: Node,
    now: Duration,
    next_link: u64,
    out: Outbox,
}

impl Scene {
    fn new(config: Config) -> Self {
        let identity =
            Identity { id: id(0), protocol: protocol(), address: address(0), trust: Trust::Claimed };
        let node = Node::new(identity, config, 1);
        Self { node, now: Duration::from_secs(1), next_link: 0, out: Outbox::new() }
    }

    fn present(&self) -> Now {
        Now { mono: self.now, wall: TIME.saturating_add_unsigned(self.now.as_secs()) }
    }

    fn tell(&mut self, input: Input) {
        let now = self.present();
        self.node.handle(now, input, &mut self.out);
    }

    /// Lets time pass; neighbours are there all the time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.node.next_timer().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let links: Vec<LinkId> = self.node.neighbours().map(|peer| peer.link).collect();
            for link in links {
                self.tell(Input::Duplicates { link, count: 0 });
            }
            self.tell(Input::Tick);
        }
        self.now = end;
    }

    fn message(&mut self, link: LinkId, from: u64, code: u64, payload: &(impl Payload + ?Sized)) {
        let sender = id(from);
        let message = Message::pack(kind::WHISPER, sender.as_str(), Form::Str, TIME, code, payload).unwrap();
        self.tell(Input::Message { link, message });
    }

    fn shake_hands(&mut self, link: LinkId, peer: u64, at: &Address) {
        let payload = Handshake::payload(&id(peer), &protocol(), at, &[]);
        self.message(link, peer, code::HANDSHAKE, &payload[..]);
    }

    fn link_up(&mut self, origin: Origin) -> LinkId {
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.tell(Input::LinkUp { link, origin, remote: Remote::default() });
        link
    }

    /// The `n`th node connects.
    fn neighbour(&mut self, n: u64) -> LinkId {
        let link = self.link_up(Origin::Accepted);
        self.shake_hands(link, n, &address(n));
        assert_eq!(self.node.link_to(&id(n)), Some(link));
        link
    }

    /// A dial leads to the `n`th node.
    fn answers(&mut self, dial: DialId, n: u64) -> LinkId {
        let link = self.link_up(Origin::Dialled(dial));
        self.shake_hands(link, n, &address(n));
        link
    }

    fn names(&mut self, link: LinkId, by: u64, named: impl Iterator<Item = u64>) {
        let entry = |n| Value::Array(vec![address_value(&address(n)), id(n).as_str().into()]);
        self.message(link, by, code::PEERS, &[Value::Array(named.map(entry).collect())][..]);
    }

    fn save(&mut self, numbers: impl Iterator<Item = u64>) {
        self.tell(Input::Command(Command::Save(numbers.map(address).collect())));
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out.outputs)
    }

    /// What was dialled since the last time.
    fn dials(&mut self) -> Vec<(DialId, Address)> {
        let dial = |output| match output {
            Output::Dial { dial, address, .. } => Some((dial, address)),
            _ => None,
        };
        self.outputs().into_iter().filter_map(dial).collect()
    }

    /// What was dialled since the last time, all of which fails.
    fn failing_dials(&mut self) -> Vec<Address> {
        let mut all = Vec::new();
        loop {
            let dials = self.dials();
            if dials.is_empty() {
                return all;
            }
            for (dial, address) in dials {
                all.push(address);
                self.tell(Input::DialFailed { dial, problem: "refused".to_owned() });
            }
        }
    }

    fn is_known(&self, n: u64) -> bool {
        self.node.peer_stats(&address(n)).is_some()
    }
}

fn address_value(address: &Address) -> Value {
    Value::Array(vec![address.host.as_str().into(), address.port.into()])
}

/// The links that were asked for peers.
fn asked(outputs: &[Output]) -> usize {
    let is_request = |output: &&Output| match output {
        Output::Send { body, .. } => {
            let message = Message::read(body.clone(), &Limits::default()).unwrap();
            message.code() == Some(code::REQUEST)
        }
        _ => false,
    };
    outputs.iter().filter(is_request).count()
}

/// K-40, K-41, L-100, L-101
#[test]
fn a_node_that_lacks_neighbours_asks_and_dials() {
    let mut scene = Scene::new(Config::default());
    for n in 1..=4 {
        scene.neighbour(n);
    }
    scene.outputs();
    let interval = scene.node.config().ask_interval;
    scene.pass(interval);
    let outputs = scene.outputs();
    assert_eq!(asked(&outputs), 4);
    // One more is wanted, and one dial at a time leads to it.
    scene.save(11..=20);
    scene.pass(Duration::ZERO);
    let dials = scene.dials();
    assert_eq!(dials.len(), 1);
    scene.tell(Input::DialFailed { dial: dials[0].0, problem: "refused".to_owned() });
    let again = scene.dials();
    assert_eq!(again.len(), 1, "the next at once");
    assert_ne!(again[0].1, dials[0].1);
    scene.answers(again[0].0, 11);
    scene.pass(Duration::ZERO);
    assert_eq!(scene.dials(), []);
    assert_eq!(scene.node.neighbour_count(), 5);
    scene.outputs();
    scene.pass(interval);
    let outputs = scene.outputs();
    assert_eq!(asked(&outputs), 0, "five are enough");
}

/// K-40: neither those that neighbours have named nor what it was told to save, once it is closed.
#[test]
fn a_closed_node_dials_nobody() {
    let mut scene = Scene::new(Config { named_dials_per_minute: 1000, ..Config::default() });
    let link = scene.neighbour(1);
    scene.names(link, 1, 11..=90);
    scene.pass(Duration::ZERO);
    let under_way = scene.dials();
    assert!(!under_way.is_empty());
    scene.tell(Input::Command(Command::Close));
    for (dial, _) in under_way {
        scene.tell(Input::DialFailed { dial, problem: "refused".to_owned() });
    }
    scene.save(100..=110);
    scene.pass(Duration::from_secs(600));
    assert_eq!(scene.dials(), []);
}

/// K-40, L-100
#[test]
fn without_connections_nothing_is_asked() {
    for config in
        [Config { connections: 0, ..Config::default() }, Config { max_outgoing: 0, ..Config::default() }]
    {
        let mut scene = Scene::new(config);
        scene.neighbour(1);
        scene.save(11..=20);
        scene.outputs();
        scene.pass(Duration::from_secs(25));
        let outputs = scene.outputs();
        assert!(outputs.is_empty(), "{outputs:?}");
        assert_eq!(scene.node.known().count(), 11, "it knows them all the same");
    }
}

/// K-43: ten fail again and again; within two intervals, each has been tried.
#[test]
fn in_need_all_that_is_known_is_tried() {
    let mut scene = Scene::new(Config { redial_min: Duration::from_secs(60), ..Config::default() });
    scene.save(1..=10);
    scene.pass(Duration::ZERO);
    assert_eq!(scene.failing_dials().len(), 10);
    for _ in 0..20 {
        let interval = scene.node.config().ask_interval;
        let mut tried = Vec::new();
        for _ in 0..2 {
            scene.pass(interval);
            tried.extend(scene.failing_dials());
        }
        tried.sort();
        tried.dedup();
        assert_eq!(tried.len(), 10, "whatever their pauses");
    }
    // One that answers in the end is a neighbour.
    scene.pass(scene.node.config().ask_interval);
    let (dial, _) = scene.dials().remove(0);
    scene.answers(dial, 1);
    assert_eq!(scene.node.neighbour_count(), 1);
}

/// K-45
#[test]
fn a_look_beyond_keeps_only_what_is_of_use() {
    let mut scene = Scene::new(Config::default());
    (1..=5).for_each(|n| _ = scene.neighbour(n));
    scene.save(11..=40);
    let look = |scene: &mut Scene, n: u64, names: u64| {
        scene.outputs();
        let mut dials = Vec::new();
        while dials.is_empty() {
            scene.pass(Duration::from_secs(1));
            dials = scene.dials();
        }
        assert_eq!(dials.len(), 1, "one at a time");
        let link = scene.answers(dials[0].0, n);
        scene.outputs();
        scene.names(link, n, [names].into_iter());
        let mut left = Vec::new();
        for output in scene.outputs() {
            if let Output::Event(Event::Disconnected { peer, reason }) = output {
                assert_eq!(reason, CloseReason::Spare);
                left.push(peer);
            }
        }
        left
    };
    assert_eq!(look(&mut scene, 101, 1), [id(101)], "it has a neighbour of ours");
    assert_eq!(scene.node.neighbour_count(), 5);
    for n in 102..=106 {
        assert_eq!(look(&mut scene, n, 999), [], "it may be of another part");
    }
    assert_eq!(scene.node.neighbour_count(), 10);
    // There are many of these by now.
    let left = look(&mut scene, 107, 999);
    assert!(left.len() == 1 && (102..=106).any(|n| left[0] == id(n)), "{left:?}");
    assert!(scene.node.link_to(&id(107)).is_some() && scene.node.neighbour_count() == 10);
}

/// K-31, K-32
#[test]
fn whoever_names_a_hundred_thousand_fills_a_sixteenth() {
    let config = Config { connections: 0, max_outgoing: 0, ..Config::default() };
    let share = config.book_addresses as u64 / 16;
    let mut scene = Scene::new(config);
    let honest = scene.neighbour(1);
    scene.names(honest, 1, 1000..1100);
    scene.save(2000..2010);
    let hostile = scene.neighbour(2);
    for list in 0..100 {
        scene.names(hostile, 2, (0..1000).map(|n| 100_000 + list * 1000 + n));
    }
    assert_eq!(scene.node.counters().addresses_ignored, 100_000 - (share - 1));
    assert!((1000..1100).chain(2000..2010).all(|n| scene.is_known(n)));
    // Nor do a thousand of its kind change that.
    for peer in 3..30 {
        let link = scene.neighbour(peer);
        scene.names(link, peer, (0..1000).map(|n| (peer << 16) + n));
    }
    assert!(scene.node.known().count() <= scene.node.config().book_addresses);
    assert!((2000..2010).all(|n| scene.is_known(n)));
    assert!((1000..1100).all(|n| scene.is_known(n)), "whoever named few loses nothing");
}

/// K-33
#[test]
fn its_own_address_is_dialled_once() {
    let mut scene = Scene::new(Config::default());
    let link = scene.neighbour(1);
    scene.outputs();
    scene.names(link, 1, [50].into_iter());
    let dials = scene.dials();
    let found = scene.link_up(Origin::Dialled(dials[0].0));
    scene.shake_hands(found, 0, &address(0));
    assert!(!scene.is_known(50));
    scene.names(link, 1, [50].into_iter());
    scene.pass(Duration::from_secs(20));
    assert_eq!(scene.dials(), []);
    assert_eq!(scene.node.counters().addresses_ignored, 1);
}

/// K-35
#[test]
fn a_neighbour_that_moves_is_met_again() {
    let mut scene = Scene::new(Config::default());
    let link = scene.neighbour(1);
    assert_eq!(scene.node.peer_stats(&address(1)).unwrap().id, Some(id(1)));
    scene.shake_hands(link, 1, &address(2));
    assert_eq!(scene.node.peer_stats(&address(2)).unwrap().id, Some(id(1)));
}

/// K-36
#[test]
fn a_node_that_starts_again_dials_whom_it_knew() {
    let mut scene = Scene::new(Config::default());
    scene.save([11].into_iter());
    scene.pass(Duration::ZERO);
    let (dial, _) = scene.dials().remove(0);
    let link = scene.answers(dial, 11);
    let mut records = std::collections::BTreeMap::new();
    scene.names(link, 11, 20..30);
    scene.pass(Duration::from_secs(120));
    for output in scene.outputs() {
        if let Output::Keep { key, value: Some(value) } = output {
            records.insert(key, value);
        }
    }
    let mut again = Scene::new(Config::default());
    let now = again.present();
    for (key, value) in &records {
        again.node.restore(now, key, value).unwrap();
    }
    again.pass(Duration::ZERO);
    assert_eq!(again.dials().into_iter().map(|(_, address)| address).collect::<Vec<_>>(), [address(11)]);
    assert_eq!(again.node.peer_stats(&address(11)).unwrap().addresses_received, 10);
}

/// K-47
#[test]
fn whoever_left_is_left_alone_for_a_while() {
    let mut scene = Scene::new(Config::default());
    let (link, pause) = (scene.neighbour(1), scene.node.config().redial_max);
    scene.outputs();
    scene.tell(Input::LinkDown { link, reason: CloseReason::Remote });
    scene.pass(pause - Duration::from_secs(1));
    assert_eq!(scene.dials(), []);
    scene.pass(scene.node.config().ask_interval + Duration::from_secs(1));
    assert_eq!(scene.dials()[0].1, address(1));
}

/// L-102
#[test]
fn what_only_fails_is_forgotten_in_time() {
    let mut scene = Scene::new(Config::default());
    let link = scene.neighbour(1);
    scene.names(link, 1, 100..200);
    for _ in 0..120 {
        scene.failing_dials();
        scene.pass(scene.node.config().ask_interval);
    }
    assert_eq!(scene.node.known().count(), 16);
    assert!(scene.is_known(1), "who is there is known");
}

/// C-36
#[test]
fn whoever_was_disconnected_is_not_dialled() {
    let mut scene = Scene::new(Config::default());
    scene.save([11].into_iter());
    scene.pass(Duration::ZERO);
    let (dial, _) = scene.dials().remove(0);
    scene.answers(dial, 11);
    scene.neighbour(1);
    let third = scene.neighbour(2);
    for peer in [11, 1] {
        scene.tell(Input::Command(Command::Disconnect { token: Token(peer), peer: id(peer) }));
    }
    scene.names(third, 2, [1, 11].into_iter());
    scene.pass(Duration::from_secs(30));
    assert_eq!(scene.dials(), []);
    // It may come by itself, and is then as any other.
    let back = scene.neighbour(1);
    scene.tell(Input::LinkDown { link: back, reason: CloseReason::Silent });
    scene.save([11].into_iter());
    scene.pass(Duration::from_secs(10));
    let mut dialled: Vec<Address> = scene.failing_dials();
    dialled.sort();
    dialled.dedup();
    assert_eq!(dialled, [address(1), address(11)]);
}
