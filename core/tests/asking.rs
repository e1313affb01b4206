//! Requests and searches (`spec/12-requests.md`), told to one node machine of a `tls` subnet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, CommandError, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin, Outbox,
    Output, Refusal, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Limits, Message, Payload};
use peernet::{CloseReason, Config, Value};

const WALL: i64 = 1_479_600_000;
const STAMP: i64 = WALL * 1_000_000;

/// Who somebody is, by a number; 0 is the node under test.
fn identity(n: u8, signed: bool) -> Identity {
    let protocol = ProtocolId::derive("mesh", if signed { "tls/mesh" } else { "tls/mesh/unsigned" });
    let keys = KeyPair::from_secret([n + 1; 32]);
    let id = NodeId::of_key(&keys.public(), &protocol);
    let address = Address::new("127.0.0.1", 4000 + u16::from(n));
    Identity { id, protocol, address, trust: Trust::Proven { keys, signed } }
}

/// A node with neighbours 1, 2 and 3 on the links of these numbers.
struct Scene {
    node: Node,
    signed: bool,
    mono: Duration,
}

impl Scene {
    fn new(signed: bool, config: Config) -> Self {
        let node = Node::new(identity(0, signed), config, 1);
        let mut scene = Self { node, signed, mono: Duration::from_secs(1) };
        for n in 1..=3 {
            scene.join(n, n.into());
        }
        scene
    }

    fn who(&self, n: u8) -> Identity {
        identity(n, self.signed)
    }

    fn id(&self, n: u8) -> NodeId {
        self.who(n).id
    }

    fn join(&mut self, n: u8, link: u64) {
        let (link, peer) = (LinkId(link), self.who(n));
        let Trust::Proven { keys, .. } = &peer.trust else { panic!() };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.tell(Input::LinkUp { link, origin: Origin::Accepted, remote });
        let payload = Handshake::payload(&peer.id, &peer.protocol, &peer.address, &[]);
        let message = peer.pack(kind::WHISPER, STAMP, code::HANDSHAKE, &payload).unwrap();
        self.tell(Input::Message { link, message });
        assert_eq!(self.node.peer_on(link), Some(&peer.id));
    }

    fn tell(&mut self, input: Input) -> Outbox {
        let mut out = Outbox::new();
        self.node.handle(Now { mono: self.mono, wall: WALL }, input, &mut out);
        out
    }

    /// Neighbour `n` whispers.
    fn hears(&mut self, n: u8, code: u64, payload: &(impl Payload + ?Sized)) -> Outbox {
        let message = self.who(n).pack(kind::WHISPER, STAMP, code, payload).unwrap();
        self.tell(Input::Message { link: LinkId(n.into()), message })
    }

    /// Lets that much time pass.
    fn passes(&mut self, time: Duration) -> Outbox {
        self.mono += time;
        self.tell(Input::Tick)
    }

    fn ask(&mut self, token: u64, to: u8) -> Outbox {
        let message = self.who(0).pack(kind::WHISPER, STAMP, code::ASK, &(token, "what?")).unwrap();
        let (token, to, timeout) = (Token(token), self.id(to), Duration::from_secs(5));
        self.tell(Input::Command(Command::Ask { token, to, message, timeout }))
    }
}

/// What is sent, to which links, with the payloads unpacked.
fn sent(out: &Outbox) -> Vec<(Vec<u64>, Vec<Value>)> {
    let send = |output: &Output| match output {
        Output::Send { links, body, .. } => {
            let message = Message::read(body.clone(), &Limits::default()).unwrap();
            let links = out.links(links).iter().map(|link| link.0).collect();
            Some((links, message.values(&Limits::default()).unwrap()))
        }
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

/// What the program is told.
fn told(out: Outbox) -> Vec<Event> {
    let event = |output| if let Output::Event(event) = output { Some(event) } else { None };
    out.outputs.into_iter().filter_map(event).collect()
}

fn failed(out: Outbox) -> Vec<(u64, CommandError)> {
    let failed = |event| match event {
        Event::Done { token, result: Err(error) } => Some((token.0, error)),
        _ => None,
    };
    told(out).into_iter().filter_map(failed).collect()
}

///
#[test]
fn an_answer_is_that_of_the_one_who_was_asked() {
    let mut scene = Scene::new(true, Config::default());
    let out = scene.ask(77, 1);
    assert_eq!(sent(&out), [(vec![1], vec![code::ASK.into(), 77.into(), "what?".into()])]);
    assert!(told(out).is_empty(), "it waits for the answer");
    // Others have nothing to say to it, and other numbers are none of ours.
    for (n, number) in [(2, 77), (1, 76), (1, 78), (3, u64::MAX)] {
        assert!(scene.hears(n, code::ANSWER, &(number, 0, "lie")).outputs.is_empty());
    }
    assert_eq!((scene.node.counters().answers_late, scene.node.counters().offences), (4, 0));
    let events = told(scene.hears(1, code::ANSWER, &(77, 0, "that")));
    let [Event::Answered { token: Token(77), received }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(received.sender, scene.id(1));
    assert_eq!(
        received.message.values(&Limits::default()).unwrap(),
        [code::ANSWER.into(), 77.into(), 0.into(), "that".into()]
    );
    assert!(scene.hears(1, code::ANSWER, &(77, 0, "again")).outputs.is_empty());
    for (number, word, refusal) in [
        (1, 1, Refusal::NotTaken),
        (2, 2, Refusal::Dropped),
        (3, 3, Refusal::Busy),
        (4, 999, Refusal::Dropped),
    ] {
        scene.ask(number, 2);
        let peer = scene.id(2);
        let failed = failed(scene.hears(2, code::ANSWER, &(number, word, "more")));
        assert_eq!(failed, [(number, CommandError::Unanswered { peer, refusal: Some(refusal) })]);
    }
}

///
#[test]
fn a_request_fails_in_time_or_with_its_link() {
    let mut scene = Scene::new(true, Config::default());
    scene.ask(1, 1);
    scene.ask(2, 2);
    let out = scene.tell(Input::LinkDown { link: LinkId(1), reason: CloseReason::Remote });
    assert_eq!(failed(out), [(1, CommandError::Unanswered { peer: scene.id(1), refusal: None })]);
    assert!(failed(scene.passes(Duration::from_millis(4999))).is_empty());
    let late = failed(scene.passes(Duration::from_millis(1)));
    assert_eq!(late, [(2, CommandError::TimedOut { peer: scene.id(2) })]);
    // One that is looked for is not sent any more once its time is over.
    scene.ask(3, 1);
    assert_eq!(
        failed(scene.passes(Duration::from_secs(5))),
        [(3, CommandError::TimedOut { peer: scene.id(1) })]
    );
    scene.ask(4, 1);
    scene.join(1, 9);
    scene.mono += Duration::from_secs(1);
    let again = failed(scene.tell(Input::LinkDown { link: LinkId(9), reason: CloseReason::Remote }));
    assert_eq!(again, [(4, CommandError::Unanswered { peer: scene.id(1), refusal: None })]);
    scene.ask(5, 1);
    scene.ask(6, 2);
    let closed = failed(scene.tell(Input::Command(Command::Close)));
    assert_eq!(closed, [(5, CommandError::Closed), (6, CommandError::Closed)]);
}

///
#[test]
fn every_request_is_answered_with_a_word() {
    let mut scene = Scene::new(true, Config::default());
    for (number, refusal, word) in
        [(1, Refusal::NotTaken, 1), (2, Refusal::Dropped, 2), (3, Refusal::Busy, 3)]
    {
        let events = told(scene.hears(1, code::ASK, &(number, "what?")));
        assert!(
            matches!(&events[..], [Event::Asked { number: asked, .. }] if *asked == number),
            "{events:?}"
        );
        let peer = scene.id(1);
        assert!(scene.node.is_asked(&peer, number) && !scene.node.is_asked(&scene.id(2), number));
        let answer = Command::Answer { peer: peer.clone(), number, answer: Err(refusal) };
        let out = scene.tell(Input::Command(answer));
        assert_eq!(sent(&out), [(vec![1], vec![code::ANSWER.into(), number.into(), word.into()])]);
        assert!(!scene.node.is_asked(&peer, number));
    }
    assert_eq!(scene.node.counters().requests_refused, 3);
    // An asker that is gone is not answered.
    scene.hears(1, code::ASK, &(4,));
    scene.tell(Input::LinkDown { link: LinkId(1), reason: CloseReason::Remote });
    scene.join(1, 9);
    let answer = Command::Answer { peer: scene.id(1), number: 4, answer: Err(Refusal::Dropped) };
    assert!(scene.tell(Input::Command(answer)).outputs.is_empty());
}

///
#[test]
fn what_is_no_request_is_malformed() {
    let mut scene = Scene::new(true, Config::default());
    let mut malformed = 0;
    let mut is_malformed = |scene: &mut Scene, code, payload: &[Value]| {
        assert!(scene.hears(1, code, payload).outputs.is_empty(), "{payload:?}");
        malformed += 1;
        let counters = scene.node.counters();
        assert_eq!((counters.malformed, counters.offences), (malformed, malformed), "{code:#x} {payload:?}");
    };
    for payload in [&[][..], &["1".into()], &[(-1).into()], &[Value::Nil, 1.into()]] {
        is_malformed(&mut scene, code::ASK, payload);
    }
    for payload in
        [&[][..], &[1.into()], &[1.into(), "0".into()], &[Value::Nil, 0.into()], &[1.into(), (-1).into()]]
    {
        is_malformed(&mut scene, code::ANSWER, payload);
    }
    assert_eq!(told(scene.hears(1, code::ASK, &(5,))).len(), 1);
    is_malformed(&mut scene, code::ASK, &[5.into()]);
    // Another peer's numbers are its own.
    assert_eq!(told(scene.hears(2, code::ASK, &(5,))).len(), 1);
}
