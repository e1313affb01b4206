//! The rules of conversation (`spec/03-conversation.md`) and of the mesh (`spec/04-mesh.md`), told to one
//! node machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::{
    Address, Class, Command, CommandError, DialId, Dialect, Event, Identity, Input, LinkId, Node, Now,
    Origin, Outbox, Output, Remote, Role, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Limits, Message, Method, Payload, Value};
use peernet::{CloseReason, Config, Kind};

const TIME: i64 = 1_479_600_000;

fn node() -> Node {
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    let identity =
        Identity { id: id("me"), protocol, address: Address::new("127.0.0.1", 4444), trust: Trust::Claimed };
    Node::new(identity, Config { trust_lookups: true, connections: 0, ..Config::default() }, 1)
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
    tell(node, Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() });
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

/// C-40, C-41, C-43, C-44, C-45, C-46, L-26
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
    assert!(dialled(&answer(&mut node, "e", 6000, Form::Str)).is_empty());
    assert_eq!(dialled(&answer(&mut node, "f", 6002, Form::Str)), [there(6002)]);
    assert!(dialled(&answer(&mut node, "g", 6003, Form::Str)).is_empty());

    let link = LinkId(2);
    tell(&mut node, Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() });
    let message = handshake(kind::WHISPER, "far", address(6000));
    let out = tell(&mut node, Input::Message { link, message });
    let done =
        |output: &Output| matches!(output, Output::Event(Event::Done { token: Token(1), result: Ok(_) }));
    assert!(out.outputs.iter().any(done));
    assert!(sent(&out).contains(&(kind::WHISPER, vec![code::WHISPER.into(), "hello".into()])));
}

/// C-18, L-29: of two links to a py2p, the one that is left must show a sign of life within two seconds,
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
            tell_at(
                &mut node,
                at,
                Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() },
            );
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

/// C-15, C-16, L-14
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

/// A handshake with any fields.
fn says(id: Value, protocol: Value, address: Value, methods: Value) -> Message {
    message(kind::WHISPER, "whoever", code::HANDSHAKE, &[id, protocol, address, methods])
}

fn mesh(form: Form) -> Value {
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    text(protocol.as_str(), form)
}

fn text(text: &str, form: Form) -> Value {
    match form {
        Form::Str => text.into(),
        Form::Bin => text.as_bytes().into(),
    }
}

fn none() -> Value {
    Value::Array(Vec::new())
}

/// A neighbour of any dialect.
fn speaker(node: &mut Node, link: u64, peer: &str, dialect: Dialect, port: u16) -> (LinkId, Outbox) {
    let link = accept(node, link);
    let (id_form, protocol_form) = match dialect {
        Dialect::Peernet => (Form::Str, Form::Bin),
        Dialect::Py2p => (Form::Bin, Form::Bin),
        Dialect::Js2p => (Form::Str, Form::Str),
    };
    let message = says(text(peer, id_form), mesh(protocol_form), address(port), none());
    let out = tell(node, Input::Message { link, message });
    assert_eq!(node.peer_on(link), Some(&id(peer)));
    (link, out)
}

/// C-6, C-7, C-9, C-10
#[test]
fn bad_handshakes_are_refused() {
    let str = |value: &str| text(value, Form::Str);
    let other = ProtocolId::derive("other", "Plaintext");
    for (message, reason, answered) in [
        (says(str("a"), str(other.as_str()), address(1), none()), "wrong_subnet", true),
        (says(str("a"), Value::Nil, address(1), none()), "wrong_subnet", true),
        // The subnet comes first.
        (says(Value::Nil, str("0"), Value::Nil, Value::Nil), "wrong_subnet", true),
        (says(str("0"), mesh(Form::Bin), address(1), none()), "bad_handshake", false),
        (says(str(""), mesh(Form::Bin), address(1), none()), "bad_handshake", false),
        (says(5.into(), mesh(Form::Bin), address(1), none()), "bad_handshake", false),
        (says(str("a"), mesh(Form::Bin), address(1), Value::Nil), "bad_handshake", false),
        (says(str("me"), mesh(Form::Bin), address(1), none()), "itself", true),
    ] {
        let mut node = node();
        let link = accept(&mut node, 1);
        let out = tell(&mut node, Input::Message { link, message: message.clone() });
        let reasons: Vec<_> = closed(&out).iter().map(|(_, reason)| reason.code()).collect();
        assert_eq!(reasons, [reason], "{message:?}");
        assert_eq!(sent(&out).len(), usize::from(answered), "{message:?}");
        assert_eq!(node.neighbour_count(), 0);
    }
}

/// C-10, L-10
#[test]
fn a_full_node_refuses() {
    let identity = node().identity().clone();
    let mut node = Node::new(identity, Config { max_peers: 1, ..Config::default() }, 1);
    neighbour(&mut node, 1, "a");
    let link = accept(&mut node, 2);
    let message = handshake(kind::WHISPER, "b", address(1));
    let out = tell(&mut node, Input::Message { link, message });
    assert_eq!(closed(&out), [(link, CloseReason::Full)]);
    assert!(sent(&out).is_empty());
}

/// C-1, C-4, C-8, C-11, C-12, C-20, C-25
#[test]
fn every_mixture_of_forms_is_a_neighbour() {
    for (id_form, protocol_form, dialect) in [
        (Form::Str, Form::Bin, Dialect::Peernet),
        (Form::Str, Form::Str, Dialect::Js2p),
        (Form::Bin, Form::Bin, Dialect::Py2p),
        (Form::Bin, Form::Str, Dialect::Py2p),
    ] {
        let mut node = node();
        let link = accept(&mut node, 1);
        let message = says(text("a", id_form), mesh(protocol_form), Value::Nil, none());
        let out = tell(&mut node, Input::Message { link, message });
        assert!(closed(&out).is_empty());
        let found: Vec<_> = node.neighbours().map(|peer| (peer.dialect, peer.address)).collect();
        assert_eq!(found, [(dialect, None)]);
        let said = sent(&out);
        assert_eq!(said[0].1[..2], [code::HANDSHAKE.into(), "me".into()]);
        assert_eq!(said[1], (kind::WHISPER, vec![code::PEERS.into(), none()]));
        let asks = (kind::WHISPER, vec![code::REQUEST.into(), b"*".into()]);
        assert_eq!(said.get(2), (dialect == Dialect::Js2p).then_some(&asks));
    }
}

/// What is agreed, as (read, write).
fn agreed(out: &Outbox) -> Vec<(Vec<Method>, Option<Method>)> {
    let agree = |output: &Output| match output {
        Output::Agree { read, write, .. } => Some((read.clone(), *write)),
        _ => None,
    };
    out.outputs.iter().filter_map(agree).collect()
}

/// W-8, W-9, C-9, L-4
#[test]
fn methods_are_agreed_in_the_right_order() {
    let methods = |codes: &[Value]| {
        let mut node = node();
        let link = accept(&mut node, 1);
        let list = Value::Array(codes.to_vec());
        let message = says("a".into(), mesh(Form::Bin), address(1), list);
        agreed(&tell(&mut node, Input::Message { link, message }))
    };
    let odd = [0x13.into(), 0x13.into(), "x".into(), 0x99.into(), (-1).into(), 0x20.into(), Value::Nil];
    assert_eq!(methods(&odd), [(vec![Method::Zlib, Method::Snappy], Some(Method::Snappy))]);
    assert_eq!(methods(&[0x14.into()]), [(vec![], None)]);
    let late: Vec<Value> = [vec![Value::from(0x14); 63], vec![0x13.into(), 0x20.into()]].concat();
    assert_eq!(methods(&late), [(vec![Method::Zlib], Some(Method::Zlib))]);
}

/// C-13, L-13
#[test]
fn a_handshake_must_come_in_time() {
    let mut node = node();
    let link = accept(&mut node, 1);
    assert!(closed(&tell_at(&mut node, 10, Input::Tick)).is_empty());
    assert_eq!(closed(&tell_at(&mut node, 11, Input::Tick)), [(link, CloseReason::HandshakeTimeout)]);
}

/// L-9
#[test]
fn the_stranger_that_waited_longest_makes_room() {
    let mut node = node();
    for n in 1..=64 {
        accept(&mut node, n);
    }
    let origin = Origin::Accepted;
    let out = tell(&mut node, Input::LinkUp { link: LinkId(65), origin, remote: Remote::default() });
    assert_eq!(closed(&out), [(LinkId(1), CloseReason::HandshakeTimeout)]);
}

/// X-31, X-32: over a stream that the program brought, whose other end may be anywhere.
#[test]
fn a_stream_that_was_brought_is_never_dialled_and_names_nothing_near() {
    let done = |out: &Outbox| -> Vec<(Token, Result<NodeId, CommandError>)> {
        let done = |output: &Output| match output {
            Output::Event(Event::Done { token, result }) => Some((*token, result.clone())),
            _ => None,
        };
        out.outputs.iter().filter_map(done).collect()
    };
    for role in [Role::Dialler, Role::Acceptor] {
        let mut node = node();
        let (link, token) = (LinkId(1), Token(7));
        let up = |link, token| {
            let remote = Remote::default();
            Input::LinkUp { link, origin: Origin::Brought { token, role }, remote }
        };
        let out = tell(&mut node, up(link, token));
        let speaks_first =
            sent(&out).first().is_some_and(|(_, payload)| payload[0] == code::HANDSHAKE.into());
        assert_eq!(speaks_first, role == Role::Dialler);
        assert!(done(&out).is_empty());
        let message = handshake(kind::WHISPER, "a", address(5000));
        let out = tell(&mut node, Input::Message { link, message });
        assert_eq!(done(&out), [(token, Ok(id("a")))]);
        assert_eq!(node.neighbours().next().map(|peer| peer.outgoing), Some(role == Role::Dialler));
        let named = |host: &str| {
            let address = Value::Array(vec![Value::from(host), 80.into()]);
            let list = Value::Array(vec![Value::Array(vec![address, "b".into()])]);
            let message = Message::pack(kind::WHISPER, "a", Form::Str, TIME, code::PEERS, &(list,));
            Input::Message { link, message: message.unwrap() }
        };
        for near in ["127.0.0.1", "10.1.2.3", "fd00::1"] {
            assert!(dialled(&tell(&mut node, named(near))).is_empty(), "{near}");
        }
        assert_eq!(node.counters().addresses_refused, 3);
        assert_eq!(dialled(&tell(&mut node, named("9.9.9.9"))).len(), 1);
        // It is not made again, and the next one is answered for by itself.
        let out = tell(&mut node, Input::LinkDown { link, reason: CloseReason::Remote });
        assert!(dialled(&out).is_empty() && done(&out).is_empty());
        tell(&mut node, up(LinkId(2), Token(8)));
        let out = tell(&mut node, Input::LinkDown { link: LinkId(2), reason: CloseReason::Remote });
        let [(Token(8), Err(CommandError::Connect { reason: Some(CloseReason::Remote), .. }))] =
            &done(&out)[..]
        else {
            panic!("{out:?}");
        };
        tell(&mut node, up(LinkId(3), Token(9)));
        assert_eq!(
            done(&tell(&mut node, Input::Command(Command::Close))),
            [(Token(9), Err(CommandError::Closed))]
        );
        assert_eq!(
            done(&tell(&mut node, up(LinkId(4), Token(10)))),
            [(Token(10), Err(CommandError::Closed))]
        );
    }
}

/// C-14, C-24, L-20
#[test]
fn a_handshake_may_come_again() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    let again = says("a".into(), mesh(Form::Str), address(7), Value::Array(vec![0x13.into()]));
    let out = tell(&mut node, Input::Message { link, message: again.clone() });
    assert_eq!(agreed(&out), [(vec![Method::Zlib], Some(Method::Zlib))]);
    assert!(sent(&out).is_empty(), "the peers were sent less than a second ago");
    let found: Vec<_> = node.neighbours().map(|peer| (peer.dialect, peer.address)).collect();
    assert_eq!(found, [(Dialect::Peernet, Some(Address::new("127.0.0.2", 7)))]);
    let peers = [(kind::WHISPER, vec![code::PEERS.into(), none()])];
    let out = tell_at(&mut node, 2, Input::Message { link, message: again });
    assert_eq!((sent(&out), agreed(&out)), (peers.to_vec(), vec![]));
    for (at, star, answered) in
        [(2, text("*", Form::Bin), false), (3, text("*", Form::Bin), true), (4, text("*", Form::Str), true)]
    {
        let message = message(kind::WHISPER, "a", code::REQUEST, &[star]);
        let out = tell_at(&mut node, at, Input::Message { link, message });
        assert_eq!(sent(&out), peers[..usize::from(answered)]);
    }
    // The chord network's own handshake is not ours to judge.
    let chord = message(kind::WHISPER, "a", code::HANDSHAKE, &("1",));
    assert!(tell(&mut node, Input::Message { link, message: chord }).outputs.is_empty());
    for (message, reason) in [
        (says("b".into(), mesh(Form::Bin), address(1), none()), "wrong_peer"),
        (says("a".into(), "0".into(), address(1), none()), "wrong_subnet"),
        (says("a".into(), mesh(Form::Bin), address(1), Value::Nil), "bad_handshake"),
    ] {
        let mut node = self::node();
        let link = neighbour(&mut node, 1, "a");
        let reasons: Vec<_> = closed(&tell(&mut node, Input::Message { link, message }))
            .iter()
            .map(|(_, why)| why.code())
            .collect();
        assert_eq!(reasons, [reason]);
    }
}

/// C-21, C-22
#[test]
fn everyone_is_told_whom_it_can_join() {
    let mut node = node();
    speaker(&mut node, 1, "peer", Dialect::Peernet, 1);
    speaker(&mut node, 2, "py", Dialect::Py2p, 2);
    speaker(&mut node, 3, "js", Dialect::Js2p, 3);
    let entry = |name: &str, form, port| Value::Array(vec![address(port), text(name, form)]);
    let (peer, py, js) = (entry("peer", Form::Str, 1), entry("py", Form::Bin, 2), entry("js", Form::Str, 3));
    for (n, dialect, named) in [
        (4, Dialect::Peernet, vec![&peer, &py, &js]),
        (5, Dialect::Py2p, vec![&peer, &py]),
        (6, Dialect::Js2p, vec![&peer, &js]),
    ] {
        let link = accept(&mut node, n);
        let (id_form, protocol_form) = match dialect {
            Dialect::Peernet => (Form::Str, Form::Bin),
            Dialect::Py2p => (Form::Bin, Form::Bin),
            Dialect::Js2p => (Form::Str, Form::Str),
        };
        // One without an address is named to nobody.
        let message = says(text(&format!("x{n}"), id_form), mesh(protocol_form), Value::Nil, none());
        let out = tell(&mut node, Input::Message { link, message });
        let list = sent(&out).into_iter().find(|(_, payload)| payload[0] == code::PEERS.into()).unwrap();
        let [_, Value::Array(list)] = &list.1[..] else { panic!("{list:?}") };
        assert_eq!(list.len(), named.len(), "{list:?}");
        assert!(named.iter().all(|entry| list.contains(entry)), "{list:?}");
    }
}

/// C-23, C-34, C-35, L-11, L-22
#[test]
fn peers_lists_are_read_within_bounds() {
    let entry = |port: u16, id: Value| Value::Array(vec![address(port), id]);
    let list = |node: &mut Node, entries: Vec<Value>| {
        let message = message(kind::WHISPER, "a", code::PEERS, &[Value::Array(entries)]);
        let link = node.link_to(&id("a")).unwrap();
        let mut ports: Vec<u16> =
            dialled(&tell(node, Input::Message { link, message })).iter().map(|to| to.port).collect();
        ports.sort_unstable();
        ports
    };
    let mut node = node();
    neighbour(&mut node, 1, "a");
    let own = Value::Array(vec![Value::Array(vec!["127.0.0.1".into(), 4444.into()]), "x".into()]);
    let bad = vec![
        Value::Nil,
        Value::Array(vec![address(1)]),
        Value::Array(vec![Value::Nil, "x".into()]),
        entry(0, "x".into()),
        entry(2, "a".into()),
        entry(3, b"me".into()),
        own,
        entry(4, Value::Nil),
        entry(5, "not an id".into()),
        entry(6, b"b".into()),
    ];
    assert_eq!(list(&mut node, bad), [4, 5, 6]);
    // One more place; of what is named in between the first four there is no second dial.
    assert_eq!(list(&mut node, vec![entry(4, "b".into()), entry(7, "c".into())]), [7]);
    assert!(list(&mut node, vec![entry(8, "d".into())]).is_empty());

    let mut node = self::node();
    neighbour(&mut node, 1, "a");
    let many: Vec<Value> = [vec![Value::Nil; 1000], vec![entry(1, "x".into())]].concat();
    assert!(list(&mut node, many).is_empty());
    let many: Vec<Value> = [vec![Value::Nil; 999], vec![entry(1, "x".into())]].concat();
    assert_eq!(list(&mut node, many), [1]);
    // Not a list.
    let message = message(kind::WHISPER, "a", code::PEERS, &("nobody",));
    tell(&mut node, Input::Message { link: LinkId(1), message });
    assert_eq!(node.counters().malformed, 1);
}

/// C-42, C-43, C-47, C-48, C-57
#[test]
fn whoever_asks_for_a_neighbour_is_answered() {
    let mut node = node();
    let (from, _) = speaker(&mut node, 1, "a", Dialect::Peernet, 1);
    speaker(&mut node, 2, "py", Dialect::Py2p, 2);
    speaker(&mut node, 3, "js", Dialect::Js2p, 3);
    let own = Value::Array(vec!["127.0.0.1".into(), 4444.into()]);
    let ask = |node: &mut Node, kind, form, wanted: Value| {
        let request = Value::Bin(b"any".to_vec());
        let payload = (request.clone(), wanted.clone());
        let message = Message::pack(kind, "far", form, TIME, code::REQUEST, &payload).unwrap();
        let mut answers = sent(&tell(node, Input::Message { link: from, message }));
        answers.retain(|(_, payload)| payload[0] == code::RESPONSE.into());
        let found = |payload: &[Value]| match payload {
            [_, echoed, Value::Array(found)] if *echoed == request && found[1] == wanted => found[0].clone(),
            other => panic!("{other:?}"),
        };
        answers.iter().map(|(kind, payload)| (*kind, found(payload))).collect::<Vec<_>>()
    };
    for kind in [kind::BROADCAST, kind::WHISPER] {
        for (form, wanted, answer) in [
            (Form::Str, text("me", Form::Bin), Some(own.clone())),
            (Form::Str, text("py", Form::Str), Some(address(2))),
            (Form::Str, text("js", Form::Bin), Some(address(3))),
            (Form::Bin, text("py", Form::Bin), Some(address(2))),
            (Form::Bin, text("js", Form::Str), None),
            (Form::Str, text("nobody", Form::Str), None),
        ] {
            let expected: Vec<_> = answer.into_iter().map(|found| (kind::BROADCAST, found)).collect();
            assert_eq!(ask(&mut node, kind, form, wanted.clone()), expected, "{kind} {form:?} {wanted:?}");
        }
    }
    let before = node.counters().malformed;
    for payload in [vec![], vec!["r".into()], vec!["r".into(), "0".into()], vec![Value::Nil; 3]] {
        let relays = sent(&tell(
            &mut node,
            Input::Message { link: from, message: message(kind::BROADCAST, "far", code::REQUEST, &payload) },
        ));
        assert_eq!(relays.len(), 1, "it is relayed all the same");
    }
    assert_eq!(node.counters().malformed, before + 4);
}

/// What is handed up, as (kind, code, author).
fn received(out: &Outbox) -> Vec<(Kind, u64, NodeId)> {
    let event = |output: &Output| match output {
        Output::Event(Event::Received(received)) => {
            Some((received.kind, received.code, received.sender.clone()))
        }
        _ => None,
    };
    out.outputs.iter().filter_map(event).collect()
}

/// C-50, C-51, C-52, C-58
#[test]
fn whispers_go_to_one_node_whatever_they_claim() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    neighbour(&mut node, 2, "b");
    for code in [code::WHISPER, code::BROADCAST, code::FIRST_USER, u64::MAX] {
        let message = Message::pack(kind::WHISPER, "not an id", Form::Bin, -1, code, &("x",)).unwrap();
        let out = tell(&mut node, Input::Message { link, message });
        assert_eq!(received(&out), [(Kind::Whisper, code, id("a"))]);
        assert!(sent(&out).is_empty());
    }
    for code in
        [code::COMPRESSION, code::NOTIFY, code::RESEND, code::RESPONSE, code::STORE, code::DELTA, 0x30]
    {
        let unknown = node.counters().unknown;
        let out =
            tell(&mut node, Input::Message { link, message: message(kind::WHISPER, "a", code, &("x",)) });
        assert!(out.outputs.is_empty(), "{code}: {out:?}");
        assert_eq!(node.counters().unknown, unknown + 1);
    }
    let no_code = Message::pack_raw(kind::WHISPER, b"a", Form::Str, TIME, &("x",)).unwrap();
    assert!(tell(&mut node, Input::Message { link, message: no_code }).outputs.is_empty());
    let pong = message(kind::WHISPER, "a", code::PONG, &());
    assert!(tell(&mut node, Input::Message { link, message: pong }).outputs.is_empty());
    let ping = message(kind::WHISPER, "a", code::PING, &("x", 1));
    let out = tell(&mut node, Input::Message { link, message: ping });
    assert_eq!(sent(&out), [(kind::WHISPER, vec![code::PONG.into()])]);
}

/// C-53, C-57
#[test]
fn renegotiated_methods_are_adopted_and_answered_once() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    let list = Value::Array(vec![0x11.into(), 0x55.into(), 0x13.into()]);
    let offer = |list: &Value| message(kind::RENEGOTIATE, "a", code::COMPRESSION, &(list,));
    let out = tell(&mut node, Input::Message { link, message: offer(&list) });
    let common = Value::Array(vec![0x13.into(), 0x11.into()]);
    assert_eq!(sent(&out), [(kind::RENEGOTIATE, vec![code::COMPRESSION.into(), common])]);
    assert_eq!(agreed(&out), [(vec![Method::Gzip, Method::Zlib], Some(Method::Zlib))]);
    assert!(tell(&mut node, Input::Message { link, message: offer(&list) }).outputs.is_empty());
    let out = tell(&mut node, Input::Message { link, message: offer(&none()) });
    assert_eq!((sent(&out).len(), agreed(&out)), (1, vec![(vec![], None)]));
    for message in [
        offer(&Value::Nil),
        message(kind::RENEGOTIATE, "a", code::COMPRESSION, &()),
        message(kind::RENEGOTIATE, "a", code::PING, &()),
        Message::pack_raw(kind::RENEGOTIATE, b"a", Form::Str, TIME, &()).unwrap(),
    ] {
        let malformed = node.counters().malformed;
        assert!(tell(&mut node, Input::Message { link, message }).outputs.is_empty());
        assert_eq!(node.counters().malformed, malformed + 1);
    }
}

/// C-54, L-27
#[test]
fn the_last_message_is_sent_again() {
    let mut node = node();
    let (link, out) = speaker(&mut node, 1, "py", Dialect::Py2p, 1);
    let again = |node: &mut Node| {
        let message = message(kind::RENEGOTIATE, "py", code::RESEND, &("x",));
        bodies(&tell(node, Input::Message { link, message }))
    };
    assert_eq!(again(&mut node), [bodies(&out).pop().unwrap()]);
    let small = message(kind::BROADCAST, "me", code::BROADCAST, &("x",));
    tell(&mut node, Input::Command(Command::Broadcast(small.clone())));
    assert_eq!(again(&mut node), [small.body().clone()]);
    assert_eq!(again(&mut node), [small.body().clone()]);
    let large = message(kind::WHISPER, "me", code::WHISPER, &(vec![0u8; 17 << 10],));
    tell(&mut node, Input::Command(Command::Whisper { token: Token(1), to: id("py"), message: large }));
    assert_eq!(again(&mut node), [small.body().clone()]);
}

fn bodies(out: &Outbox) -> Vec<bytes::Bytes> {
    let send = |output: &Output| match output {
        Output::Send { body, .. } => Some(body.clone()),
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

/// Which links a body goes to, by the message it holds.
fn relayed(out: &Outbox) -> Vec<(Vec<LinkId>, bytes::Bytes)> {
    let send = |output: &Output| match output {
        Output::Send { links, body, class: Class::Relay } => Some((out.links(links).to_vec(), body.clone())),
        _ => None,
    };
    out.outputs.iter().filter_map(send).collect()
}

/// M-1, M-2, M-3, M-4, M-9, M-16
#[test]
fn the_three_rules() {
    let mut node = node();
    let own = message(kind::BROADCAST, "me", code::BROADCAST, &("x",));
    let out = tell(&mut node, Input::Command(Command::Broadcast(own.clone())));
    assert!(out.outputs.is_empty(), "nobody is there, and nothing is kept");
    let links: Vec<LinkId> =
        ["a", "b", "c"].iter().zip(1..).map(|(peer, link)| neighbour(&mut node, link, peer)).collect();
    let out = tell(&mut node, Input::Command(Command::Broadcast(own.clone())));
    assert_eq!((out.targets.clone(), bodies(&out)), (links.clone(), vec![own.body().clone()]));

    // Neither back, nor to its author.
    let far = message(kind::BROADCAST, "far", code::BROADCAST, &("x",));
    let near = message(kind::BROADCAST, "c", code::BROADCAST, &("x",));
    for (message, to) in [(far, &links[1..]), (near, &links[1..2])] {
        let input = || Input::Message { link: links[0], message: message.clone() };
        let out = tell(&mut node, input());
        assert_eq!(relayed(&out), [(to.to_vec(), message.body().clone())]);
        assert_eq!(received(&out).len(), 1);
        assert!(tell(&mut node, input()).outputs.is_empty());
        let known = Input::Message { link: links[2], message: message.clone() };
        assert!(tell(&mut node, known).outputs.is_empty());
    }
    assert_eq!(node.counters().duplicates, 4);

    assert!(tell(&mut node, Input::Message { link: links[0], message: own }).outputs.is_empty());
    assert_eq!(node.counters().echoes, 1);
}

/// M-6, M-11, L-40
#[test]
fn what_no_fresh_author_sent_is_not_relayed() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    neighbour(&mut node, 2, "b");
    let mut hear = |sender: &str, form, time| {
        let message = Message::pack(kind::BROADCAST, sender, form, time, code::BROADCAST, &("x",)).unwrap();
        let out = tell(&mut node, Input::Message { link, message });
        assert_eq!(relayed(&out).len(), received(&out).len());
        (received(&out).len(), node.counters())
    };
    for off in [-60, 0, 60] {
        assert_eq!(hear("far", Form::Str, TIME + off).0, 1, "{off}");
    }
    assert_eq!(hear("far", Form::Bin, TIME).0, 1);
    for time in [TIME - 61, 0, i64::MIN] {
        assert_eq!(hear("far", Form::Str, time).0, 0);
    }
    assert_eq!(hear("far", Form::Str, i64::MAX).0, 0);
    assert_eq!(hear("far", Form::Str, TIME + 61).0, 0);
    for sender in ["", "0", "not an id", &"a".repeat(129)] {
        assert_eq!(hear(sender, Form::Str, TIME).0, 0);
    }
    let counters = hear("far", Form::Str, TIME).1;
    assert_eq!((counters.stale, counters.future, counters.refused), (3, 2, 4));
}

/// M-10, M-12
#[test]
fn every_code_is_relayed_and_few_are_handed_up() {
    let mut node = node();
    let link = neighbour(&mut node, 1, "a");
    neighbour(&mut node, 2, "b");
    let mut hear = |message: Message| {
        let out = tell(&mut node, Input::Message { link, message });
        assert_eq!(relayed(&out).len(), 1);
        received(&out)
    };
    for code in [code::BROADCAST, code::WHISPER, code::FIRST_USER, u64::MAX] {
        let up = hear(message(kind::BROADCAST, "far", code, &("x",)));
        assert_eq!(up, [(Kind::Broadcast, code, id("far"))]);
    }
    let (handshake, peers, store, last_reserved) = (code::HANDSHAKE, code::PEERS, code::STORE, 0x30);
    for code in [handshake, peers, store, last_reserved] {
        assert!(hear(message(kind::BROADCAST, "far", code, &("x",))).is_empty());
    }
    for payload in [vec![], vec!["x".into()], vec![Value::Int(-1)]] {
        let message = Message::pack_raw(kind::BROADCAST, b"far", Form::Str, TIME, &payload).unwrap();
        assert!(hear(message).is_empty());
    }
    assert_eq!(node.counters().unknown, 7);
}

/// Dials on command.
fn connect(node: &mut Node, seconds: u64, target: &str, persist: bool) -> Outbox {
    let command = Command::Connect { token: Token(7), target: target.parse().unwrap(), persist };
    tell_at(node, seconds, Input::Command(command))
}

fn the_dial(out: &Outbox) -> DialId {
    let dial = |output: &Output| match output {
        Output::Dial { dial, .. } => Some(*dial),
        _ => None,
    };
    out.outputs.iter().find_map(dial).unwrap()
}

fn answers(out: &Outbox) -> Vec<Result<NodeId, ()>> {
    let done = |output: &Output| match output {
        Output::Event(Event::Done { token: Token(7), result }) => Some(result.clone().map_err(|_| ())),
        _ => None,
    };
    out.outputs.iter().filter_map(done).collect()
}

/// C-17, C-26, C-27, C-29, L-23
#[test]
fn of_two_links_to_one_0_7_node_the_right_one_stays() {
    // By value `me` lies between `a` and `z`.
    for (peer, we_are_greater) in [("a", true), ("zzz", false)] {
        for (older_is_ours, newer_is_ours) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut node = node();
            for (link, ours) in [(LinkId(1), older_is_ours), (LinkId(2), newer_is_ours)] {
                let origin = match ours {
                    true => Origin::Dialled(the_dial(&connect(
                        &mut node,
                        1,
                        &format!("127.0.0.9:{}", link.0),
                        false,
                    ))),
                    false => Origin::Accepted,
                };
                tell(&mut node, Input::LinkUp { link, origin, remote: Remote::default() });
                let js2p = says(peer.into(), mesh(Form::Str), address(5000), none());
                let out = tell(&mut node, Input::Message { link, message: js2p });
                if link == LinkId(1) {
                    continue;
                }
                let keep_newer = newer_is_ours == we_are_greater;
                let (kept, gone) = if keep_newer { (LinkId(2), LinkId(1)) } else { (LinkId(1), LinkId(2)) };
                let case = format!("{peer} {older_is_ours} {newer_is_ours}");
                assert_eq!(node.link_to(&id(peer)), Some(kept), "{case}");
                assert_eq!(closed(&out), [(gone, CloseReason::Duplicate)], "{case}");
                let come_or_gone = |output: &Output| {
                    matches!(output, Output::Event(Event::Connected { .. } | Event::Disconnected { .. }))
                };
                assert!(!out.outputs.iter().any(come_or_gone), "{case}");
                // On one that goes, a 0.7 node gets no handshake; on one that stays, all that is due.
                let codes: Vec<_> =
                    sent(&out).into_iter().map(|(_, payload)| payload[0].as_u64().unwrap()).collect();
                let due: &[u64] = match (keep_newer, newer_is_ours) {
                    (true, true) => &[code::PEERS],
                    (true, false) => &[code::HANDSHAKE, code::PEERS, code::REQUEST],
                    (false, _) => &[],
                };
                assert_eq!(codes, due, "{case}");
            }
            let mut out = Outbox::new();
            let mono = Duration::from_millis(1300);
            node.handle(Now { mono, wall: TIME }, Input::Tick, &mut out);
            assert_eq!(sent(&out)[0].1[0], code::HANDSHAKE.into());
            let kept = node.link_to(&id(peer)).unwrap();
            assert_eq!(out.targets, [kept]);

            // It may have noticed only now that the other is gone.
            let gone = if kept == LinkId(1) { LinkId(2) } else { LinkId(1) };
            tell_at(&mut node, 2, Input::LinkDown { link: gone, reason: CloseReason::Remote });
            let out = tell_at(&mut node, 3, Input::Tick);
            assert_eq!(sent(&out)[0].1[0], code::HANDSHAKE.into());
            assert_eq!(out.targets, [kept]);
        }
    }
}

/// C-10, C-30
#[test]
fn a_demanded_id_is_demanded() {
    let mut node = node();
    for (n, (there, reason)) in [("a", None), ("b", Some("wrong_peer"))].into_iter().enumerate() {
        let out = connect(&mut node, 1, &format!("a@127.0.0.2:{}", 5000 + n), false);
        let link = LinkId(n as u64);
        tell(
            &mut node,
            Input::LinkUp { link, origin: Origin::Dialled(the_dial(&out)), remote: Remote::default() },
        );
        let out =
            tell(&mut node, Input::Message { link, message: handshake(kind::WHISPER, there, address(5000)) });
        assert_eq!(closed(&out).first().map(|(_, why)| why.code()), reason);
        assert_eq!(answers(&out), [reason.map_or(Ok(id("a")), |_| Err(()))]);
    }
    // Who stands there is a neighbour already.
    for target in ["127.0.0.2:5000", "a@127.0.0.2:5000"] {
        let out = connect(&mut node, 1, target, false);
        assert!(dialled(&out).is_empty());
        assert_eq!(answers(&out), [Ok(id("a"))]);
    }
    assert_eq!(dialled(&connect(&mut node, 1, "b@127.0.0.2:5000", false)).len(), 1);
}

/// C-32, C-33, C-36
#[test]
fn what_stood_once_is_kept_up() {
    let mut node = node();
    // A first failure is final, unless it is to be kept up from the start.
    let dial = the_dial(&connect(&mut node, 1, "127.0.0.2:5000", false));
    let failed = |dial| Input::DialFailed { dial, problem: "nobody".to_owned() };
    assert_eq!(answers(&tell(&mut node, failed(dial))), [Err(())]);
    assert_eq!(node.next_timer(), None);
    let dial = the_dial(&connect(&mut node, 1, "127.0.0.2:5000", true));
    assert_eq!(answers(&tell(&mut node, failed(dial))), [Err(())]);
    assert!(node.next_timer().unwrap() <= Duration::from_millis(1500));
    let again = tell_at(&mut node, 2, Input::Tick);
    assert_eq!(dialled(&again), [Address::new("127.0.0.2", 5000)]);

    let up = |node: &mut Node, link, out: &Outbox| {
        tell_at(
            node,
            2,
            Input::LinkUp { link, origin: Origin::Dialled(the_dial(out)), remote: Remote::default() },
        );
        tell_at(node, 2, Input::Message { link, message: handshake(kind::WHISPER, "a", address(5000)) });
        assert_eq!(node.link_to(&id("a")), Some(link));
    };
    up(&mut node, LinkId(1), &again);
    tell_at(&mut node, 3, Input::LinkDown { link: LinkId(1), reason: CloseReason::Remote });
    // The failure before it still counts, because it did not stand for long.
    assert!(node.next_timer().unwrap() <= Duration::from_millis(4000));
    let again = tell_at(&mut node, 4, Input::Tick);
    up(&mut node, LinkId(2), &again);
    tell_at(&mut node, 100, Input::LinkDown { link: LinkId(2), reason: CloseReason::Remote });
    assert!(node.next_timer().unwrap() <= Duration::from_millis(100_500), "it stood for long");
    let again = tell_at(&mut node, 101, Input::Tick);
    up(&mut node, LinkId(3), &again);
    let disconnect = Command::Disconnect { token: Token(7), peer: id("a") };
    let out = tell_at(&mut node, 102, Input::Command(disconnect));
    assert_eq!(closed(&out), [(LinkId(3), CloseReason::Local)]);
    assert!(dialled(&tell_at(&mut node, 500, Input::Tick)).is_empty());
}

/// C-32
#[test]
fn what_stands_again_is_not_dialled_again() {
    let mut node = node();
    // The same node under its own address and under another name of it.
    let dials = ["127.0.0.2:5000", "localhost:5000"].map(|to| the_dial(&connect(&mut node, 1, to, true)));
    for (link, dial) in [(LinkId(1), dials[0]), (LinkId(2), dials[1])] {
        tell(&mut node, Input::LinkUp { link, origin: Origin::Dialled(dial), remote: Remote::default() });
        tell(&mut node, Input::Message { link, message: handshake(kind::WHISPER, "a", address(5000)) });
    }
    for link in [LinkId(1), LinkId(2)] {
        tell_at(&mut node, 2, Input::LinkDown { link, reason: CloseReason::Remote });
    }
    assert_eq!(node.link_to(&id("a")), None);
    assert!(node.next_timer().is_some());

    // It comes back by itself, so neither is dialled.
    tell_at(
        &mut node,
        2,
        Input::LinkUp { link: LinkId(3), origin: Origin::Accepted, remote: Remote::default() },
    );
    let message = handshake(kind::WHISPER, "a", address(5000));
    tell_at(&mut node, 2, Input::Message { link: LinkId(3), message });
    assert_eq!(node.link_to(&id("a")), Some(LinkId(3)));
    assert!(dialled(&tell_at(&mut node, 20, Input::Tick)).is_empty());

    // Both are kept up all the same.
    tell_at(&mut node, 21, Input::LinkDown { link: LinkId(3), reason: CloseReason::Remote });
    assert_eq!(dialled(&tell_at(&mut node, 120, Input::Tick)).len(), 2);
}

/// C-22, L-21
#[test]
fn a_peers_list_names_a_hundred() {
    let identity = node().identity().clone();
    let mut node = Node::new(identity, Config { max_peers: 1000, ..Config::default() }, 1);
    let mut named = 0;
    for n in 0..103u16 {
        let (_, out) = speaker(
            &mut node,
            n.into(),
            &format!("n{}", n + 1111).replace('0', "z"),
            Dialect::Peernet,
            n + 1,
        );
        let list = sent(&out).into_iter().find(|(_, payload)| payload[0] == code::PEERS.into()).unwrap();
        named = list.1[1].as_array().unwrap().len();
        assert_eq!(named, usize::from(n).min(100));
    }
    assert_eq!(named, 100);
}

/// C-17, C-19, C-27, L-44
#[test]
fn of_two_peernets_the_greater_closes_in_time() {
    let hear = |node: &mut Node, link| {
        tell(node, Input::Message { link, message: message(kind::WHISPER, "x", code::PONG, &()) })
    };
    let second = |node: &mut Node, peer: &str, link: u64| {
        let link = accept(node, link);
        tell(node, Input::Message { link, message: handshake(kind::WHISPER, peer, address(5000)) })
    };
    let codes = |out: &Outbox| -> Vec<u64> {
        sent(out).iter().map(|(_, payload)| payload[0].as_u64().unwrap()).collect()
    };
    // We are the greater and prefer the older, which must show first that it lives.
    let mut node = node();
    let older = neighbour(&mut node, 1, "a");
    let out = second(&mut node, "a", 2);
    assert_eq!((closed(&out), codes(&out)), (vec![], vec![code::HANDSHAKE]));
    assert_eq!(closed(&hear(&mut node, older)), [(LinkId(2), CloseReason::Duplicate)]);
    // By now it has shown it.
    assert_eq!(closed(&second(&mut node, "a", 3)), [(LinkId(3), CloseReason::Duplicate)]);

    // We are the lesser, prefer the newer, and leave it to the other side.
    let mut node = self::node();
    neighbour(&mut node, 1, "zzz");
    let out = second(&mut node, "zzz", 2);
    assert_eq!((closed(&out), codes(&out)), (vec![], vec![code::HANDSHAKE, code::PEERS]));
    assert_eq!(node.link_to(&id("zzz")), Some(LinkId(2)));
    assert!(closed(&hear(&mut node, LinkId(2))).is_empty());
    let gone = |link| Input::LinkDown { link, reason: CloseReason::Remote };
    assert!(tell(&mut node, gone(LinkId(2))).outputs.is_empty());
    assert_eq!(node.link_to(&id("zzz")), Some(LinkId(1)));
    for link in 3..6 {
        assert!(closed(&second(&mut node, "zzz", link)).is_empty());
    }
    assert_eq!(closed(&second(&mut node, "zzz", 6)), [(LinkId(6), CloseReason::Duplicate)]);
}

/// L-2
#[test]
fn frames_are_bounded_by_a_sensible_number() {
    for (max_frame, fine) in
        [(0, false), (1023, false), (1024, true), (1 << 30, true), ((1 << 30) + 1, false)]
    {
        assert_eq!(Config { max_frame, ..Config::default() }.check().is_ok(), fine, "{max_frame}");
    }
}

/// C-40, L-24, L-25
#[test]
fn few_nodes_are_looked_for_at_once() {
    let mut node = node();
    let whisper = |node: &mut Node, to: &str| {
        let message = message(kind::WHISPER, "me", code::WHISPER, &("x",));
        let command = Command::Whisper { token: Token(7), to: id(to), message };
        answers(&tell(node, Input::Command(command)))
    };
    assert_eq!(whisper(&mut node, "far"), [Err(())], "nobody is there to be asked");
    neighbour(&mut node, 1, "a");
    assert_eq!(whisper(&mut node, "me"), [Err(())]);
    for _ in 0..64 {
        assert_eq!(whisper(&mut node, "far"), []);
    }
    assert_eq!(whisper(&mut node, "far"), [Err(())]);
    for n in 1..256 {
        assert_eq!(whisper(&mut node, &format!("far{}", n + 1111).replace('0', "z")), []);
    }
    assert_eq!(whisper(&mut node, "further"), [Err(())]);
    assert_eq!(whisper(&mut node, "a"), [Ok(id("a"))]);
}
