//! Requests and searches (`spec/12-requests.md`), told to one node machine of a `tls` subnet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, CommandError, Event, Handshake, Identity, Input, LinkId, Node, Note, Now, Origin,
    Outbox, Output, Refusal, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Limits, Message, Payload, SEAL_LEN};
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
        self.tell(Input::Command(Command::Ask { token, to, message: message.into(), timeout }))
    }
}

/// What is sent, to which links, with the payloads unpacked.
fn sent(out: &Outbox) -> Vec<(Vec<u64>, Vec<Value>)> {
    let send = |output: &Output| match output {
        Output::Send { links, body, .. } => {
            let message = Message::read(body.clone(), &Limits::default()).unwrap();
            let mut links: Vec<u64> = out.links(links).iter().map(|link| link.0).collect();
            links.sort_unstable();
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

fn closed(out: &Outbox) -> Vec<(u64, CloseReason)> {
    let close = |output: &Output| match output {
        Output::Close { link, reason } => Some((link.0, reason.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(close).collect()
}

/// A note of `n`'s, under its seal where authors sign.
fn note(scene: &Scene, n: u8, code: u64, question: Option<&Message>, id: &str, limit: u64) -> Message {
    let question = question.map(|question| *question.id().as_bytes());
    let note = Note { question, id: id.into(), kind: "type".into(), data: "data".into(), limit };
    scene.who(n).pack_note(STAMP, code, &note).unwrap()
}

fn question(scene: &Scene, n: u8, id: &str, limit: u64) -> Message {
    note(scene, n, code::SEARCH, None, id, limit)
}

fn bin(message: &Message) -> Value {
    Value::Bin(message.body().to_vec())
}

fn digest(message: &Message) -> Value {
    Value::Bin(message.id().as_bytes().to_vec())
}

fn searched(scene: &mut Scene, from: u8, hops: u64, note: &Message) -> Outbox {
    scene.hears(from, code::SEARCH, &[hops.into(), bin(note)])
}

fn found(scene: &mut Scene, from: u8, hops: u64, question: &Message, note: &Message) -> Outbox {
    scene.hears(from, code::FOUND, &[hops.into(), digest(question), bin(note)])
}

///
#[test]
fn a_question_goes_on_once_within_its_limit() {
    for signed in [true, false] {
        let mut scene = Scene::new(signed, Config::default());
        // The author is a neighbour too, and need not be asked.
        let asked = question(&scene, 2, "one", 15);
        let out = searched(&mut scene, 1, 4, &asked);
        assert_eq!(sent(&out), [(vec![3], vec![code::SEARCH.into(), 5.into(), bin(&asked)])]);
        let events = told(out);
        let [Event::Searched { hops: 4, received }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&received.sender, received.verified()), (&scene.id(2), signed));
        let read = Note::read(&received.message, code::SEARCH).unwrap();
        assert_eq!((&read.id[..], &read.kind[..], &read.data[..]), (&b"one"[..], &b"type"[..], &b"data"[..]));
        // Once, whoever brings it again, and however far it says it came.
        for (from, hops) in [(1, 4), (3, 0), (2, 14)] {
            assert!(searched(&mut scene, from, hops, &asked).outputs.is_empty());
        }
        assert_eq!(scene.node.counters().duplicates, 3);
        // The last link: to be heard, and not to be passed on.
        let last = question(&scene, 9, "two", 5);
        let out = searched(&mut scene, 1, 4, &last);
        assert!(sent(&out).is_empty());
        assert_eq!(told(out).len(), 1);
        // Our own goes to everyone.
        let own = question(&scene, 0, "own", 1);
        let command = Command::Search { token: Token(1), note: own.clone(), hops: 0 };
        let out = scene.tell(Input::Command(command));
        assert_eq!(sent(&out), [(vec![1, 2, 3], vec![code::SEARCH.into(), 0.into(), bin(&own)])]);
        assert_eq!(scene.node.counters().searches_received, 2);
    }
}

///
#[test]
fn what_is_found_goes_back_the_way_of_the_question() {
    let mut scene = Scene::new(true, Config::default());
    let asked = question(&scene, 9, "one", 15);
    searched(&mut scene, 1, 3, &asked);
    let theirs = note(&scene, 8, code::FOUND, Some(&asked), "row", 15);
    let out = found(&mut scene, 3, 6, &asked, &theirs);
    assert_eq!(sent(&out), [(vec![1], vec![code::FOUND.into(), 7.into(), digest(&asked), bin(&theirs)])]);
    assert!(told(out).is_empty(), "it is none of our business");
    // What we find begins its way here.
    let ours = note(&scene, 0, code::FOUND, Some(&asked), "row", 15);
    let out = scene.tell(Input::Command(Command::Find { note: ours.clone() }));
    assert_eq!(sent(&out), [(vec![1], vec![code::FOUND.into(), 0.into(), digest(&asked), bin(&ours)])]);
    // Nothing for what nobody asked, and nothing from whom it would go to.
    let other = question(&scene, 9, "two", 15);
    let stray = note(&scene, 8, code::FOUND, Some(&other), "row", 15);
    assert!(found(&mut scene, 3, 0, &other, &stray).outputs.is_empty());
    assert!(found(&mut scene, 1, 0, &asked, &theirs).outputs.is_empty());
    assert_eq!(scene.node.counters().found_lost, 2);
    // What is found for our own question is handed up, as often as it is found.
    let own = question(&scene, 0, "own", 15);
    scene.tell(Input::Command(Command::Search { token: Token(7), note: own.clone(), hops: 0 }));
    for n in [1, 2, 8] {
        let row = note(&scene, n, code::FOUND, Some(&own), "row", 15);
        let events = told(found(&mut scene, 2, 1, &own, &row));
        let [Event::Found { token: Token(7), hops: 1, received }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&received.sender, received.verified()), (&scene.id(n), true));
    }
    scene.tell(Input::Command(Command::EndSearch(Token(7))));
    let row = note(&scene, 3, code::FOUND, Some(&own), "row", 15);
    assert!(found(&mut scene, 2, 1, &own, &row).outputs.is_empty());
    // A neighbour that is gone gets nothing, until it is back.
    scene.tell(Input::LinkDown { link: LinkId(1), reason: CloseReason::Remote });
    let more = note(&scene, 7, code::FOUND, Some(&asked), "row", 15);
    assert!(found(&mut scene, 3, 6, &asked, &more).outputs.is_empty());
    let question = *asked.id().as_bytes();
    assert_eq!(scene.node.may_find(&question), Err(CommandError::NotConnected { peer: scene.id(1) }));
    scene.join(1, 9);
    assert_eq!(scene.node.may_find(&question), Ok(()));
    let more = note(&scene, 6, code::FOUND, Some(&asked), "row", 15);
    assert_eq!(sent(&found(&mut scene, 3, 6, &asked, &more))[0].0, [9]);
    assert_eq!(scene.node.counters().found_lost, 4);
}

/// L-72
#[test]
fn a_search_is_over_in_time() {
    let mut scene = Scene::new(true, Config::default());
    let (asked, own) = (question(&scene, 9, "one", 15), question(&scene, 0, "own", 15));
    searched(&mut scene, 1, 0, &asked);
    scene.tell(Input::Command(Command::Search { token: Token(7), note: own.clone(), hops: 0 }));
    assert!(told(scene.passes(Duration::from_millis(9999))).is_empty());
    let row = note(&scene, 8, code::FOUND, Some(&asked), "row", 15);
    assert_eq!(sent(&found(&mut scene, 2, 0, &asked, &row)).len(), 1);
    let events = told(scene.passes(Duration::from_millis(1)));
    assert!(matches!(&events[..], [Event::Done { token: Token(7), result: Ok(_) }]), "{events:?}");
    for question in [&asked, &own] {
        let row = note(&scene, 7, code::FOUND, Some(question), "row", 15);
        assert!(found(&mut scene, 2, 0, question, &row).outputs.is_empty());
        assert_eq!(scene.node.may_find(question.id().as_bytes()), Err(CommandError::SearchOver));
    }
    // A question that comes later is another.
    assert_eq!(told(searched(&mut scene, 1, 0, &asked)).len(), 1);
    scene.tell(Input::Command(Command::Search { token: Token(8), note: own, hops: 0 }));
    assert_eq!(failed(scene.tell(Input::Command(Command::Close))), [(8, CommandError::Closed)]);
}

///
#[test]
fn what_is_no_search_is_malformed() {
    let mut scene = Scene::new(true, Config::default());
    let mut malformed = 0;
    let mut is_malformed = |scene: &mut Scene, code, payload: &[Value]| {
        // Nobody stays long who does such things.
        if malformed % 10 == 9 {
            scene.mono += Duration::from_secs(3600);
        }
        assert!(scene.hears(1, code, payload).outputs.is_empty(), "{payload:?}");
        malformed += 1;
        let counters = scene.node.counters();
        assert_eq!((counters.malformed, counters.offences), (malformed, malformed), "{code:#x} {payload:?}");
    };
    let asked = question(&scene, 9, "one", 15);
    let good = bin(&asked);
    for payload in [
        vec![],
        vec![0.into()],
        vec![good.clone()],
        vec![(-1).into(), good.clone()],
        vec!["0".into(), good.clone()],
        vec![15.into(), good.clone()],
        vec![0.into(), good.clone(), 0.into()],
        vec![0.into(), Value::Bin(vec![1; 100])],
        vec![0.into(), Value::Bin(vec![1; 3000])],
        vec![0.into(), Value::Bin(vec![])],
        // Something that was found is no question.
        vec![0.into(), bin(&note(&scene, 9, code::FOUND, Some(&asked), "row", 15))],
    ] {
        is_malformed(&mut scene, code::SEARCH, &payload);
    }
    let raw = |values: &[Value]| {
        let who = identity(9, true);
        let Trust::Proven { keys, .. } = &who.trust else { panic!() };
        let message = Message::pack_raw(kind::WHISPER, who.id.as_str().as_bytes(), Form::Str, STAMP, values);
        bin(&message.unwrap().noted(keys))
    };
    let part = |len: usize| Value::Bin(vec![7; len]);
    let notes = [
        [part(65), part(1), part(1), 1.into()],
        [part(1), part(65), part(1), 1.into()],
        [part(1), part(1), part(1025), 1.into()],
        [part(1), part(1), part(1), 0.into()],
        [part(1), part(1), part(1), 16.into()],
        [part(1), part(1), "text".into(), 1.into()],
        [part(1), part(1), part(1), Value::Nil],
    ]
    .map(|parts| raw(&[&[code::SEARCH.into()], &parts[..]].concat()));
    for note in notes {
        is_malformed(&mut scene, code::SEARCH, &[0.into(), note]);
    }
    let largest = [code::SEARCH.into(), part(64), part(64), part(1024), 15.into()];
    let largest = raw(&largest);
    scene.mono += Duration::from_secs(3600);
    assert_eq!(told(scene.hears(2, code::SEARCH, &[14.into(), largest])).len(), 1);
    searched(&mut scene, 2, 0, &asked);
    let row = note(&scene, 8, code::FOUND, Some(&asked), "row", 15);
    let other = note(&scene, 8, code::FOUND, Some(&row), "row", 15);
    for payload in [
        vec![0.into(), bin(&row)],
        vec![0.into(), digest(&asked)],
        vec![15.into(), digest(&asked), bin(&row)],
        vec![0.into(), Value::Bin(vec![1; 31]), bin(&row)],
        vec![0.into(), digest(&asked), bin(&asked)],
        // It says itself what it was found for.
        vec![0.into(), digest(&asked), bin(&other)],
    ] {
        is_malformed(&mut scene, code::FOUND, &payload);
    }
}

///
#[test]
fn whoever_brings_a_forged_note_loses_its_link() {
    let forged = |scene: &Scene, message: &Message| {
        // As if by node 9, under the seal of another.
        let mut body = message.body().to_vec();
        let seal = question(scene, 8, "other", 15);
        let at = body.len() - SEAL_LEN;
        body.truncate(at);
        body.extend_from_slice(&seal.body()[seal.body().len() - SEAL_LEN..]);
        Value::Bin(body)
    };
    let mut scene = Scene::new(true, Config::default());
    let asked = question(&scene, 9, "one", 15);
    let out = scene.hears(1, code::SEARCH, &[0.into(), forged(&scene, &asked)]);
    assert_eq!(closed(&out), [(1, CloseReason::Forged)]);
    searched(&mut scene, 2, 0, &asked);
    let row = note(&scene, 9, code::FOUND, Some(&asked), "row", 15);
    let out = scene.hears(3, code::FOUND, &[0.into(), digest(&asked), forged(&scene, &row)]);
    assert_eq!(closed(&out), [(3, CloseReason::Forged)]);
    assert_eq!(scene.node.counters().forged, 2);
}

///
#[test]
fn without_seals_nothing_is_verified() {
    let mut scene = Scene::new(false, Config::default());
    let own = question(&scene, 0, "own", 15);
    scene.tell(Input::Command(Command::Search { token: Token(7), note: own.clone(), hops: 0 }));
    // Anyone may say that it is another's.
    let row = note(&scene, 9, code::FOUND, Some(&own), "row", 15);
    let events = told(found(&mut scene, 1, 0, &own, &row));
    let [Event::Found { received, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(received.sender == scene.id(9) && !received.verified());
}

///
#[test]
fn own_questions_and_those_of_the_banned_end_here() {
    let mut scene = Scene::new(true, Config::default());
    let own = question(&scene, 0, "own", 15);
    // Of another life of this node.
    assert!(searched(&mut scene, 1, 3, &own).outputs.is_empty());
    assert_eq!(scene.node.counters().echoes, 1);
    let peer = scene.id(9);
    scene.tell(Input::Command(Command::Ban { peer, until: WALL + 100 }));
    let asked = question(&scene, 9, "one", 15);
    assert!(searched(&mut scene, 1, 3, &asked).outputs.is_empty());
    let asked = question(&scene, 8, "one", 15);
    searched(&mut scene, 1, 3, &asked);
    let row = note(&scene, 9, code::FOUND, Some(&asked), "row", 15);
    assert!(found(&mut scene, 2, 0, &asked, &row).outputs.is_empty());
    assert_eq!(scene.node.counters().authors_refused, 2);
}

fn unlimited() -> Config {
    Config { searches_per_author: None, searches_per_peer: None, found_per_peer: None, ..Config::default() }
}

/// R-29, L-73
#[test]
fn ways_back_are_shared_fairly() {
    let mut scene = Scene::new(true, Config { search_routes: 20, ..unlimited() });
    let lost = |scene: &Scene| scene.node.counters().searches_limited;
    // One neighbour takes them all, as long as nobody else wants any.
    let of_1: Vec<Message> = (0..30).map(|n| question(&scene, 9, &n.to_string(), 15)).collect();
    for asked in &of_1 {
        searched(&mut scene, 1, 0, asked);
    }
    assert_eq!(lost(&scene), 10);
    // Others get their share of it.
    for n in 0..15 {
        let (of_2, of_3) = (question(&scene, 8, &n.to_string(), 15), question(&scene, 7, &n.to_string(), 15));
        searched(&mut scene, 2, 0, &of_2);
        searched(&mut scene, 3, 0, &of_3);
        if n < 6 {
            assert!(scene.node.may_find(of_2.id().as_bytes()).is_ok());
            assert!(scene.node.may_find(of_3.id().as_bytes()).is_ok());
        }
    }
    let kept = of_1.iter().filter(|asked| scene.node.may_find(asked.id().as_bytes()).is_ok()).count();
    assert!((6..=7).contains(&kept), "{kept}");
    assert!(scene.node.may_find(of_1[0].id().as_bytes()).is_err(), "the oldest go first");
    let own = question(&scene, 0, "own", 15);
    let out = scene.tell(Input::Command(Command::Search { token: Token(7), note: own, hops: 0 }));
    assert!(failed(out).is_empty(), "our own program is heard too");
}

/// R-29, L-75, L-76, L-77
#[test]
fn what_comes_too_often_is_dropped() {
    let mut scene = Scene::new(
        true,
        Config {
            searches_per_author: Some(3),
            searches_per_peer: Some(8),
            found_per_peer: Some(2),
            ..Config::default()
        },
    );
    let ask = |scene: &mut Scene, from: u8, author: u8, ids: std::ops::Range<u32>| {
        ids.filter(|id| {
            let asked = question(scene, author, &id.to_string(), 15);
            !told(searched(scene, from, 0, &asked)).is_empty()
        })
        .count()
    };
    assert_eq!(ask(&mut scene, 1, 9, 0..5), 3, "of one author");
    assert_eq!(ask(&mut scene, 2, 9, 5..10), 0, "whoever brings it");
    assert_eq!(ask(&mut scene, 1, 8, 0..3), 3);
    assert_eq!(ask(&mut scene, 1, 7, 0..3), 0, "of one neighbour");
    assert_eq!(ask(&mut scene, 2, 7, 0..3), 3, "another");
    assert_eq!(scene.node.counters().searches_limited, 10);
    scene.mono += Duration::from_secs(1);
    assert_eq!(ask(&mut scene, 1, 9, 10..15), 3);
    let own = |scene: &mut Scene, id: u64| {
        let note = question(scene, 0, &id.to_string(), 15);
        failed(scene.tell(Input::Command(Command::Search { token: Token(id), note, hops: 0 })))
    };
    assert!((0..3).all(|id| own(&mut scene, id).is_empty()));
    assert_eq!(own(&mut scene, 3), [(3, CommandError::TooMany { what: "searches" })]);
    let asked = question(&scene, 0, "0", 15);
    for n in 0..4 {
        let row = note(&scene, 10 + n, code::FOUND, Some(&asked), "row", 15);
        assert_eq!(told(found(&mut scene, 1, 0, &asked, &row)).len(), usize::from(n < 2));
    }
    assert_eq!(scene.node.counters().found_limited, 2);
}

/// R-29, L-74
#[test]
fn what_one_node_finds_is_bounded() {
    let mut scene = Scene::new(true, Config { search_rows: 20, ..unlimited() });
    let asked = question(&scene, 9, "one", 15);
    searched(&mut scene, 1, 0, &asked);
    let find = |scene: &mut Scene, author: u8, count: u32| {
        (0..count)
            .filter(|id| {
                let row = note(scene, author, code::FOUND, Some(&asked), &id.to_string(), 15);
                !sent(&found(scene, 2, 0, &asked, &row)).is_empty()
            })
            .count()
    };
    assert_eq!(find(&mut scene, 8, 12), 8, "of one author");
    for _ in 0..8 {
        let ours = note(&scene, 0, code::FOUND, Some(&asked), "row", 15);
        assert_eq!(sent(&scene.tell(Input::Command(Command::Find { note: ours }))).len(), 1);
    }
    let what = "answers to this search";
    assert_eq!(scene.node.may_find(asked.id().as_bytes()), Err(CommandError::TooMany { what }));
    assert_eq!(find(&mut scene, 7, 12), 4, "for one question");
    assert_eq!(scene.node.counters().found_limited, 12);
}
