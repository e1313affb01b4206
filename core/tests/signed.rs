//! Signed broadcasts and their freshness (`spec/07-trust.md`, T-30 to T-46), told to one node machine of
//! a `tls` subnet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Class, Command, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output,
    Received, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Envelope, Limits, Message, SEAL_LEN};
use peernet::{CloseReason, Config, Kind};

const WALL: i64 = 1_479_600_000;
const NOW_STAMP: i64 = WALL * 1_000_000;

/// Who somebody is, by a number; 0 is the node under test.
fn identity(n: u8, signed: bool) -> Identity {
    let protocol = ProtocolId::derive("mesh", if signed { "tls/mesh" } else { "tls/mesh/unsigned" });
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    let address = Address::new("127.0.0.1", 4000 + u16::from(n));
    Identity { id, protocol, address, trust: Trust::Proven { keys, signed } }
}

/// A node, and what it was told and said.
struct Scene {
    node: Node,
    signed: bool,
    mono: Duration,
}

impl Scene {
    /// A node with neighbours 1, 2 and 3 on the links of these numbers.
    fn new(signed: bool, config: Config) -> Self {
        let node = Node::new(identity(0, signed), config, 1);
        let mut scene = Self { node, signed, mono: Duration::from_secs(1) };
        for n in 1..=3 {
            scene.join(n, n.into());
        }
        scene
    }

    fn signed() -> Self {
        Self::new(true, Config::default())
    }

    fn who(&self, n: u8) -> Identity {
        identity(n, self.signed)
    }

    /// Somebody connects, and proves who it is.
    fn connects(&mut self, n: u8, link: u64) -> Outbox {
        let Trust::Proven { keys, .. } = self.who(n).trust else { panic!() };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.tell(Input::LinkUp { link: LinkId(link), origin: Origin::Accepted, remote })
    }

    fn join(&mut self, n: u8, link: u64) {
        self.connects(n, link);
        let (link, peer) = (LinkId(link), self.who(n));
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        let message = peer.pack(kind::WHISPER, NOW_STAMP, code::HANDSHAKE, &payload).unwrap();
        self.tell(Input::Message { link, message });
        assert_eq!(self.node.peer_on(link), Some(&peer.id));
    }

    fn tell(&mut self, input: Input) -> Outbox {
        let mut out = Outbox::new();
        self.node.handle(Now { mono: self.mono, wall: WALL }, input, &mut out);
        out
    }

    /// A body arrives on a link, and is read as a reader reads it.
    fn arrives(&mut self, link: u64, body: &[u8]) -> Outbox {
        let (link, envelope) = (LinkId(link), self.node.identity().envelope());
        let body = envelope.open(body.to_vec().into(), &[], 1 << 20).unwrap();
        let input = Input::read(link, envelope.read(body, &Limits::default())).unwrap();
        self.tell(input)
    }

    fn broadcast(&self, author: u8, stamp: i64, text: &str) -> Message {
        self.who(author).pack(kind::BROADCAST, stamp, code::BROADCAST, &(text,)).unwrap()
    }
}

fn received(out: &Outbox) -> Vec<&Received> {
    let received = |output: &'_ Output| matches!(output, Output::Event(Event::Received(_)));
    let found = out.outputs.iter().filter(|output| received(output));
    found
        .map(|output| if let Output::Event(Event::Received(received)) = output { received } else { panic!() })
        .collect()
}

fn closed(out: &Outbox) -> Vec<(u64, CloseReason)> {
    let close = |output: &Output| match output {
        Output::Close { link, reason } => Some((link.0, reason.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(close).collect()
}

/// What is sent, to which links, in which class.
fn sent(out: &Outbox) -> Vec<(Vec<u64>, Class, bytes::Bytes)> {
    let send = |output: &Output| match output {
        Output::Send { links, class, body } => {
            Some((out.links(links).iter().map(|link| link.0).collect(), *class, body.clone()))
        }
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

/// T-34, T-38: verified, handed up so, and passed on as it came.
#[test]
fn a_signed_broadcast_is_handed_up_and_relayed_as_it_is() {
    let mut scene = Scene::signed();
    let message = scene.broadcast(9, NOW_STAMP, "hello");
    let out = scene.arrives(1, message.body());
    let [received] = received(&out)[..] else { panic!("{out:?}") };
    assert_eq!((received.kind, &received.sender), (Kind::Broadcast, &scene.who(9).id));
    assert!(received.verified());
    assert_eq!(
        sent(&out),
        [(vec![3, 2], Class::Relay, message.body().clone())].map(|mut sent| {
            // In the order of ids.
            sent.0.sort_by_key(|link| scene.who(u8::try_from(*link).unwrap()).id);
            sent
        })
    );
    assert_eq!(scene.node.counters().relayed, 1);
}

/// T-34, T-35: what is no author's ends the link that brought it, and goes no further.
#[test]
fn a_forged_broadcast_ends_the_link() {
    let sealed = |message: &Message, n: u8| message.sealed(&KeyPair::from_secret([n + 1; 32])).body().clone();
    let forgeries: [fn(&Scene) -> Message; 3] = [
        |scene| scene.broadcast(9, NOW_STAMP, "hullo"),
        // In the name of a neighbour, and of the node itself.
        |scene| scene.broadcast(2, NOW_STAMP, "hullo"),
        |scene| scene.broadcast(0, NOW_STAMP, "hullo"),
    ];
    for forgery in forgeries {
        let mut scene = Scene::signed();
        let genuine = scene.broadcast(9, NOW_STAMP, "hello");
        let message = forgery(&scene);
        // Under one's own seal, and under another message's.
        let (packed, seal) = (message.body().len() - SEAL_LEN, genuine.body().len() - SEAL_LEN);
        let moved = [&message.body()[..packed], &genuine.body()[seal..]].concat();
        for (count, (link, body)) in [(1, sealed(&message, 1)), (3, moved.into())].into_iter().enumerate() {
            let out = scene.arrives(link, &body);
            let peer = scene.who(u8::try_from(link).unwrap()).id;
            assert_eq!(closed(&out), [(link, CloseReason::Forged)]);
            assert!(sent(&out).is_empty() && received(&out).is_empty(), "{out:?}");
            assert!(out.outputs.iter().any(|output| matches!(output,
                Output::Event(Event::Disconnected { peer: gone, reason: CloseReason::Forged }) if *gone == peer)));
            assert_eq!(scene.node.counters().forged, count as u64 + 1);
        }
        // The message itself is still taken from whoever brings it.
        let out = scene.arrives(2, genuine.body());
        assert_eq!(received(&out).len(), 1);
    }
}

/// T-35, T-64, T-65: the first forgery costs the link, the second, by then, the right to have one.
#[test]
fn whoever_forges_again_is_refused() {
    let mut scene = Scene::signed();
    let message = scene.broadcast(9, NOW_STAMP, "hullo");
    let forged = message.sealed(&KeyPair::from_secret([2; 32])).into_body();
    let out = scene.arrives(1, &forged);
    assert_eq!(closed(&out), [(1, CloseReason::Forged)]);
    scene.join(1, 11);
    let out = scene.arrives(11, &forged);
    assert_eq!(closed(&out), [(11, CloseReason::Forged)]);
    let out = scene.connects(1, 21);
    assert_eq!(closed(&out), [(21, CloseReason::Misbehaved)]);
    assert_eq!(scene.node.neighbour_count(), 2, "nobody else pays for it");
}

/// T-35: a forgery is no handshake, and a link that is gone cannot be blamed.
#[test]
fn only_neighbours_are_blamed() {
    let mut scene = Scene::signed();
    let link = LinkId(7);
    scene.tell(Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() });
    let out = scene.tell(Input::Forged { link });
    assert_eq!(closed(&out), [(7, CloseReason::HandshakeExpected)]);
    assert!(scene.tell(Input::Forged { link: LinkId(8) }).outputs.is_empty());
}

/// T-36: a copy that comes twice, or late, is counted, and nobody is blamed.
#[test]
fn copies_and_late_copies_are_only_counted() {
    let mut scene = Scene::signed();
    let (early, late) = (scene.broadcast(9, NOW_STAMP, "early"), scene.broadcast(9, NOW_STAMP + 1, "late"));
    for message in [&late, &early] {
        assert_eq!(received(&scene.arrives(1, message.body())).len(), 1);
    }
    for (links, counters) in [(2, (2, 0)), (3, (4, 0))] {
        for message in [&early, &late] {
            let out = scene.arrives(links, message.body());
            assert!(out.outputs.is_empty(), "{out:?}");
        }
        assert_eq!((scene.node.counters().duplicates, scene.node.counters().stale), counters);
    }
    scene.mono += Duration::from_secs(181);
    for (n, message) in [&late, &early].into_iter().enumerate() {
        let out = scene.arrives(1, message.body());
        assert!(out.outputs.is_empty(), "{out:?}");
        assert_eq!(scene.node.counters().stale, n as u64 + 1);
    }
    assert_eq!(scene.node.neighbour_count(), 3);
}

/// T-36: what is known is told before anything is verified.
#[test]
fn a_known_digest_is_dropped_unread() {
    let mut scene = Scene::signed();
    let message = scene.broadcast(9, NOW_STAMP, "hello");
    scene.arrives(1, message.body());
    let (digest, header) = peernet::wire::unverified(message.body()).unwrap();
    let mut known = Vec::new();
    let now = Now { mono: scene.mono, wall: WALL };
    scene.node.are_known(now, &[(header.time, *digest), (header.time, [1; 32])], &mut known);
    assert_eq!(known, [true, false]);
}

/// T-43: clocks that are a year apart keep nothing out.
#[test]
fn the_clock_of_nobody_counts() {
    let year = 365 * 24 * 3600 * 1_000_000;
    for (n, stamp) in [(4, NOW_STAMP - year), (5, NOW_STAMP + year), (6, 0), (7, i64::MAX)] {
        let mut scene = Scene::signed();
        let message = scene.broadcast(n, stamp, "hello");
        assert_eq!(received(&scene.arrives(1, message.body())).len(), 1, "{stamp}");
    }
}

/// T-45, L-46: authors are bounded, and further ones are counted.
#[test]
fn one_author_too_many_is_refused() {
    let mut scene = Scene::new(true, Config { max_authors: 2, ..Config::default() });
    for (author, times, refused) in [(4, 1, 0_u32), (5, 1, 0), (6, 0, 1), (4, 1, 1)] {
        let message = scene.broadcast(author, NOW_STAMP + i64::from(refused), "hello");
        assert_eq!(received(&scene.arrives(1, message.body())).len(), times);
        assert_eq!(scene.node.counters().refused, u64::from(refused));
    }
}

/// T-37, T-38: without signatures nothing is sealed, and only whispers are proven.
#[test]
fn unsigned_subnets_know_no_seals() {
    for signed in [true, false] {
        let mut scene = Scene::new(signed, Config::default());
        let expected = if signed { Envelope::Sealed(scene.who(0).protocol) } else { Envelope::Unsigned };
        assert_eq!(scene.node.identity().envelope(), expected);
        let message = scene.broadcast(9, NOW_STAMP, "hello");
        assert_eq!(message.is_sealed(), signed);
        let out = scene.arrives(1, message.body());
        assert_eq!(received(&out)[0].verified(), signed);
        // In another's name; the link says whose it is.
        let whisper = scene.who(9).pack(kind::WHISPER, NOW_STAMP, code::WHISPER, &("hello",)).unwrap();
        assert!(!whisper.is_sealed());
        let out = scene.arrives(1, whisper.body());
        let [received] = received(&out)[..] else { panic!("{out:?}") };
        assert_eq!((received.kind, &received.sender), (Kind::Whisper, &scene.who(1).id));
        assert!(received.verified());
        // Copies are told apart there, too.
        assert!(scene.arrives(2, message.body()).outputs.is_empty());
    }
}

/// T-33: a machine takes no message for verified that was not read so.
#[test]
fn what_is_not_sealed_is_refused() {
    let mut scene = Scene::signed();
    let sealed = scene.broadcast(9, NOW_STAMP, "hello");
    let body = sealed.body().slice(..sealed.body().len() - SEAL_LEN);
    let message = Message::read(body, &Limits::default()).unwrap();
    let out = scene.tell(Input::Message { link: LinkId(1), message });
    assert!(out.outputs.is_empty(), "{out:?}");
    assert_eq!(scene.node.counters().refused, 1);
}

/// T-32, T-40: what the node says by itself is sealed too, and each has another stamp, higher than
/// those of its program.
#[test]
fn the_node_s_own_broadcasts_are_sealed_and_stamped_apart() {
    let mut scene = Scene::signed();
    let ahead = scene.who(0).pack(kind::BROADCAST, NOW_STAMP + 5, code::BROADCAST, &("hello",)).unwrap();
    assert!(!scene.node.would_repeat(&ahead));
    scene.tell(Input::Command(Command::Broadcast(ahead.clone())));
    assert!(!scene.node.would_repeat(&ahead), "it would have another stamp");
    let whisper = scene.who(0).pack(kind::WHISPER, NOW_STAMP, code::WHISPER, &("hello",)).unwrap();
    let to = scene.who(9).id;
    let command = Command::Whisper { token: Token(1), to, message: whisper };
    let mut bodies: Vec<_> =
        sent(&scene.tell(Input::Command(command))).into_iter().map(|(.., body)| body).collect();
    assert_eq!(bodies.len(), 2, "a request in each form");
    // Someone asks twice for this node.
    for n in 0..2 {
        let payload = ("request", scene.who(0).id.as_str().to_owned());
        let request = scene.who(9).pack(kind::BROADCAST, NOW_STAMP + n, code::REQUEST, &payload).unwrap();
        let out = scene.arrives(1, request.body());
        bodies.extend(
            sent(&out).into_iter().filter(|(_, class, _)| *class == Class::Control).map(|(.., body)| body),
        );
    }
    assert_eq!(bodies.len(), 4);
    let mut last = ahead.header().time;
    for body in bodies {
        let message = scene.node.identity().envelope().read(body, &Limits::default()).unwrap();
        assert!(message.is_sealed() && message.header().time > last);
        last = message.header().time;
    }
}
