//! The rules of conversation (`spec/03-conversation.md`), told to one node machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, Event, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output, Token,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Limits, Message, Payload, Value};
use peernet::{CloseReason, Config};

const TIME: i64 = 1_479_600_000;

fn node() -> Node {
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    let identity = Identity { id: id("me"), protocol, address: Address::new("127.0.0.1", 4444) };
    Node::new(identity, Config::default(), 1)
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

fn tell(node: &mut Node, input: Input) -> Outbox {
    tell_at(node, 1, input)
}

/// Tells it something that many seconds after it was made.
fn tell_at(node: &mut Node, seconds: u64, input: Input) -> Outbox {
    let mut out = Outbox::new();
    node.handle(Now { mono: Duration::from_secs(seconds), wall: TIME }, input, &mut out);
    out
}

fn message(kind: u64, sender: &str, code: u64, payload: &impl Payload) -> Message {
    Message::pack(kind, sender, Form::Str, TIME, code, payload).unwrap()
}

fn address(n: u16) -> Value {
    Value::Array(vec![Value::from("127.0.0.2"), n.into()])
}

fn handshake(kind: u64, peer: &str, address: Value) -> Message {
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    let payload = (peer, protocol.as_str().as_bytes(), address, Vec::<Value>::new());
    message(kind, peer, code::HANDSHAKE, &payload)
}

fn accept(node: &mut Node, link: u64) -> LinkId {
    let link = LinkId(link);
    tell(node, Input::LinkUp { link, origin: Origin::Accepted });
    link
}

fn neighbour(node: &mut Node, link: u64, peer: &str) -> LinkId {
    let link = accept(node, link);
    let message = handshake(kind::WHISPER, peer, address(5000));
    tell(node, Input::Message { link, message });
    assert_eq!(node.peer_on(link), Some(&id(peer)));
    link
}

fn closed(out: &Outbox) -> Vec<(LinkId, CloseReason)> {
    let close = |output: &Output| match output {
        Output::Close { link, reason } => Some((*link, reason.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(close).collect()
}

fn dialled(out: &Outbox) -> Vec<Address> {
    let dial = |output: &Output| match output {
        Output::Dial { address, .. } => Some(address.clone()),
        _ => None,
    };
    out.outputs.iter().filter_map(dial).collect()
}

/// What is sent, with the payloads unpacked.
fn sent(out: &Outbox) -> Vec<(u64, Vec<Value>)> {
    let send = |output: &Output| match output {
        Output::Send { body, .. } => {
            let message = Message::read(body.clone(), &Limits::default()).unwrap();
            Some((message.header().kind, message.values(&Limits::default()).unwrap()))
        }
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

/// C-5
#[test]
fn nothing_goes_before_the_handshake() {
    let expected = |link| vec![(link, CloseReason::HandshakeExpected)];
    let mut node = node();
    for input in [
        |link| Input::Refused { link },
        |link| Input::Duplicates { link, count: 1 },
        |link| Input::Message { link, message: message(kind::WHISPER, "a", code::PING, &()) },
        |link| Input::Message { link, message: message(kind::BROADCAST, "a", code::BROADCAST, &()) },
        |link| Input::Message { link, message: handshake(kind::BROADCAST, "a", address(1)) },
        |link| Input::Message { link, message: handshake(kind::RENEGOTIATE, "a", address(1)) },
        |link| Input::Message { link, message: message(kind::WHISPER, "a", code::HANDSHAKE, &("1",)) },
    ] {
        let link = accept(&mut node, 1);
        let out = tell(&mut node, input(link));
        assert_eq!(closed(&out), expected(link));
        assert!(sent(&out).is_empty());
    }
    // From a neighbour, what is dropped is a sign of life.
    let link = neighbour(&mut node, 2, "a");
    assert!(tell(&mut node, Input::Refused { link }).outputs.is_empty());
    assert!(tell(&mut node, Input::Duplicates { link, count: 1 }).outputs.is_empty());
}

/// W-17, C-14
#[test]
fn other_types_are_read_as_whispers() {
    let mut node = node();
    let link = accept(&mut node, 1);
    for _ in 0..2 {
        let message = handshake(0x03, "a", address(5000));
        assert!(closed(&tell(&mut node, Input::Message { link, message })).is_empty());
        assert_eq!(node.peer_on(link), Some(&id("a")));
    }
    let message = message(0x7f, "a", code::PING, &());
    let out = tell(&mut node, Input::Message { link, message });
    assert_eq!(sent(&out), [(kind::WHISPER, vec![code::PONG.into()])]);
}

/// C-41, C-43, C-44, C-45
#[test]
fn one_answer_after_another_dials_once() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    let whisper = message(kind::WHISPER, "me", code::WHISPER, &("hello",));
    let command = Command::Whisper { token: Token(1), to: id("far"), message: whisper };
    let requests = sent(&tell(&mut node, Input::Command(command)));
    let wanted = |form: Form| match form {
        Form::Str => Value::from("far"),
        Form::Bin => Value::from(b"far"),
    };
    let request = requests[0].1[1].clone();
    for (asked, form) in requests.iter().zip([Form::Str, Form::Bin]) {
        assert_eq!(*asked, (kind::BROADCAST, vec![code::REQUEST.into(), request.clone(), wanted(form)]));
    }
    assert_eq!(requests.len(), 2);

    let answer = |node: &mut Node, author: &str, at: u16, form| {
        let found = Value::Array(vec![address(at), wanted(form)]);
        let message = message(kind::BROADCAST, author, code::RESPONSE, &[request.clone(), found]);
        tell(node, Input::Message { link, message })
    };
    let there = |port| Address::new("127.0.0.2", port);
    let out = answer(&mut node, "b", 6000, Form::Str);
    assert_eq!(dialled(&out), [there(6000)]);
    // The other request's answer, and another node's.
    assert!(dialled(&answer(&mut node, "b", 6000, Form::Bin)).is_empty());
    assert!(dialled(&answer(&mut node, "c", 6000, Form::Str)).is_empty());
    // Other places are tried, but not any number of them.
    assert_eq!(dialled(&answer(&mut node, "d", 6001, Form::Str)), [there(6001)]);
    let Some(Output::Dial { dial, .. }) = out.outputs.first() else { panic!("{out:?}") };
    tell(&mut node, Input::DialFailed { dial: *dial, problem: "nobody there".to_owned() });
    // What has failed may be told again.
    assert_eq!(dialled(&answer(&mut node, "e", 6000, Form::Str)), [there(6000)]);
    assert!(dialled(&answer(&mut node, "f", 6002, Form::Str)).is_empty());

    let link = LinkId(2);
    tell(&mut node, Input::LinkUp { link, origin: Origin::Accepted });
    let message = handshake(kind::WHISPER, "far", address(6000));
    let out = tell(&mut node, Input::Message { link, message });
    let done =
        |output: &Output| matches!(output, Output::Event(Event::Done { token: Token(1), result: Ok(_) }));
    assert!(out.outputs.iter().any(done));
    assert!(sent(&out).contains(&(kind::WHISPER, vec![code::WHISPER.into(), "hello".into()])));
}

/// C-18: of two links to a py2p, the one that is left must show a sign of life within two seconds,
/// however young the node and whenever the link would have been asked anyway.
#[test]
fn a_py2p_must_show_that_it_reads_the_link_that_is_left() {
    for (start, alive) in [(1, true), (1, false), (29, true), (29, false), (100, true), (100, false)] {
        let mut node = node();
        let py2p = || {
            let protocol = ProtocolId::derive("mesh", "Plaintext");
            let payload = (b"me2", protocol.as_str().as_bytes(), address(5000), Vec::<Value>::new());
            message(kind::WHISPER, "me2", code::HANDSHAKE, &payload)
        };
        let mut outs = Vec::new();
        for (link, at) in [(LinkId(1), 1), (LinkId(2), start)] {
            tell_at(&mut node, at, Input::LinkUp { link, origin: Origin::Accepted });
            outs.push(tell_at(&mut node, at, Input::Message { link, message: py2p() }));
        }
        let (kept, asked) = (node.link_to(&id("me2")).unwrap(), outs.pop().unwrap());
        assert!(sent(&asked).contains(&(kind::WHISPER, vec![code::REQUEST.into(), b"*".into()])));
        assert_eq!(closed(&asked).len(), 1);
        assert!(closed(&tell_at(&mut node, start + 1, Input::Tick)).is_empty());
        if alive {
            let message = message(kind::WHISPER, "me2", code::PEERS, &[Value::Array(Vec::new())]);
            tell_at(&mut node, start + 1, Input::Message { link: kept, message });
        }
        let gone = closed(&tell_at(&mut node, start + 2, Input::Tick));
        match alive {
            true => assert_eq!(gone, []),
            false => assert_eq!(gone, [(kept, CloseReason::Silent)]),
        }
    }
}

/// C-15, C-16
#[test]
fn a_silent_neighbour_is_asked_and_then_given_up() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    assert!(tell_at(&mut node, 30, Input::Tick).outputs.is_empty());
    assert_eq!(sent(&tell_at(&mut node, 31, Input::Tick)), [(kind::WHISPER, vec![code::PING.into()])]);
    assert!(tell_at(&mut node, 60, Input::Tick).outputs.is_empty());
    // Any answer will do.
    tell_at(&mut node, 60, Input::Refused { link });
    assert!(tell_at(&mut node, 61, Input::Tick).outputs.is_empty());
    assert_eq!(sent(&tell_at(&mut node, 90, Input::Tick)), [(kind::WHISPER, vec![code::PING.into()])]);
    assert!(tell_at(&mut node, 119, Input::Tick).outputs.is_empty());
    let out = tell_at(&mut node, 120, Input::Tick);
    assert_eq!(closed(&out), [(link, CloseReason::Silent)]);
    // It had dialled us: we try where it says it is.
    assert_eq!(dialled(&out), [Address::new("127.0.0.2", 5000)]);
}
