//! Who is believed what, who may join, and what becomes of those who misbehave (`spec/07-trust.md`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;
use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, CommandError, DialId, Event, Handshake, Identity, Input, LinkId, Node, Now, Origin,
    Outbox, Output, Reach, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{BodyError, DecompressError, Form, FrameError, Message, Method, Payload, Value};
use peernet::{CloseReason, Config};

const TIME: i64 = 1_479_600_000;

fn protocol() -> ProtocolId {
    ProtocolId::derive("mesh", "Plaintext")
}

fn keys(n: u8) -> KeyPair {
    KeyPair::from_secret([n; 32])
}

/// The id that the `n`th key proves.
fn proven(n: u8) -> NodeId {
    NodeId::of_key(&keys(n).public(), &protocol())
}

fn node_with(trust: Trust, config: Config) -> Node {
    let id = if trust == Trust::Claimed { id("me") } else { proven(0) };
    let identity = Identity { id, protocol: protocol(), address: Address::new("127.0.0.1", 4444), trust };
    Node::new(identity, config, 1)
}

/// A node of a subnet that proves no ids.
fn open_node() -> Node {
    node_with(Trust::Claimed, Config { connections: 0, ..Config::default() })
}

/// A node of a subnet that proves ids.
fn proving_node() -> Node {
    node_with(Trust::Proven { keys: keys(0), signed: false }, Config { connections: 0, ..Config::default() })
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

fn tell_at(node: &mut Node, seconds: u64, input: Input) -> Outbox {
    let mut out = Outbox::new();
    let wall = TIME.saturating_add_unsigned(seconds);
    node.handle(Now { mono: Duration::from_secs(seconds), wall }, input, &mut out);
    out
}

fn tell(node: &mut Node, input: Input) -> Outbox {
    tell_at(node, 0, input)
}

fn message(kind: u64, sender: &NodeId, code: u64, payload: &(impl Payload + ?Sized)) -> Message {
    Message::pack(kind, sender.as_str(), Form::Str, TIME, code, payload).unwrap()
}

fn handshake(id: &NodeId) -> Message {
    let payload = Handshake::payload(id, &protocol(), &Address::new("127.0.0.1", 5000), &[]);
    message(kind::WHISPER, id, code::HANDSHAKE, &payload[..])
}

fn at(ip: &str) -> Remote {
    Remote { ip: Some(ip.parse().unwrap()), key: None }
}

fn holding(n: u8) -> Remote {
    Remote { ip: None, key: Some(keys(n).public()) }
}

fn up(node: &mut Node, seconds: u64, link: u64, remote: Remote) -> Outbox {
    tell_at(node, seconds, Input::LinkUp { link: LinkId(link), origin: Origin::Accepted, remote })
}

/// Makes a neighbour of whoever is at the other end.
fn neighbour(node: &mut Node, link: u64, peer: &NodeId, remote: Remote) {
    assert_eq!(closed(&up(node, 0, link, remote)), []);
    tell(node, Input::Message { link: LinkId(link), message: handshake(peer) });
    assert_eq!(node.link_to(peer), Some(LinkId(link)));
}

fn closed(out: &Outbox) -> Vec<CloseReason> {
    let closed = out.outputs.iter().filter_map(|output| match output {
        Output::Close { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    closed.collect()
}

fn is_silent(out: &Outbox) -> bool {
    !out.outputs.iter().any(|output| matches!(output, Output::Send { .. }))
}

fn dials(out: &Outbox) -> Vec<(DialId, String, Reach)> {
    let dials = out.outputs.iter().filter_map(|output| match output {
        Output::Dial { dial, address, reach } => Some((*dial, address.host.clone(), *reach)),
        _ => None,
    });
    dials.collect()
}

fn named(host: &str) -> Value {
    Value::Array(vec![host.into(), 80.into()])
}

/// What a node dials when a neighbour at `ip` names `host` in a peers list.
fn dialled_for(ip: Option<&str>, host: &str) -> Vec<(String, Reach)> {
    let mut node = open_node();
    let remote = ip.map(at).unwrap_or_default();
    neighbour(&mut node, 1, &id("a"), remote);
    let list = Value::Array(vec![Value::Array(vec![named(host), "friend".into()])]);
    let list = message(kind::WHISPER, &id("a"), code::PEERS, &[list]);
    let out = tell(&mut node, Input::Message { link: LinkId(1), message: list });
    assert_eq!(closed(&out), [], "it may mean well");
    let dials: Vec<_> = dials(&out).into_iter().map(|(_, host, reach)| (host, reach)).collect();
    assert_eq!(node.counters().addresses_refused, u64::from(dials.is_empty()));
    dials
}

/// T-60, T-61
#[test]
fn peers_lists_name_nothing_nearer_than_the_peer() {
    let from = [(None, 4), (Some("127.0.0.1"), 3), (Some("192.168.1.2"), 2), (Some("8.8.8.8"), 1)];
    let hosts =
        [("0.0.0.0", 4), ("224.0.0.1", 4), ("127.0.0.1", 3), ("::1", 3), ("10.0.0.1", 2), ("9.9.9.9", 1)];
    for (from, far) in from {
        for (host, needs) in hosts {
            let dialled = dialled_for(from, host);
            assert_eq!(dialled.len(), usize::from(needs <= far), "{host} named from {from:?}");
        }
    }
}

/// T-62: where a name leads is not known before it is dialled.
#[test]
fn names_are_dialled_within_the_reach_of_whoever_named_them() {
    let reach = |ip| dialled_for(ip, "example.org").remove(0).1;
    assert_eq!(reach(Some("8.8.8.8")), Reach::Global);
    assert_eq!(reach(Some("fd00::1")), Reach::Network);
    assert_eq!(reach(Some("::1")), Reach::Machine);
    assert_eq!(reach(None), Reach::Any);
    let mut node = open_node();
    let target = "example.org:1".parse().unwrap();
    let out = tell(&mut node, Input::Command(Command::Connect { token: Token(1), target, persist: false }));
    assert_eq!(dials(&out)[0].2, Reach::Any, "what the program asks for");
}

/// T-60: a lookup response is judged by whoever brings it, as is the address of a peer's own.
#[test]
fn answers_and_own_addresses_are_judged_too() {
    let mut node =
        node_with(Trust::Claimed, Config { trust_lookups: true, connections: 0, ..Config::default() });
    neighbour(&mut node, 1, &id("a"), at("8.8.8.8"));
    let whisper = message(kind::WHISPER, &id("me"), code::WHISPER, &("x",));
    let command = Command::Whisper { token: Token(1), to: id("far"), message: whisper };
    let out = tell(&mut node, Input::Command(command));
    let Some(Output::Send { body, .. }) = out.outputs.first() else { panic!("{out:?}") };
    let request = Message::read(body.clone(), &Default::default()).unwrap();
    let request = request.values(&Default::default()).unwrap().remove(1);
    for (host, dialled) in [("127.0.0.1", false), ("192.168.0.1", false), ("9.9.9.9", true)] {
        let found = Value::Array(vec![named(host), "far".into()]);
        let answer = message(kind::BROADCAST, &id("b"), code::RESPONSE, &[request.clone(), found]);
        let out = tell(&mut node, Input::Message { link: LinkId(1), message: answer });
        assert_eq!(dials(&out).len(), usize::from(dialled), "{host}");
    }
    // Silent for long, it would be tried at the address of its handshake, which is a loopback one.
    for seconds in [30, 60] {
        assert_eq!(dials(&tell_at(&mut node, seconds, Input::Tick)), []);
    }
    assert_eq!(node.neighbour_count(), 0);
}

/// T-63, L-50
#[test]
fn named_addresses_are_dialled_at_a_walk() {
    let config = Config { named_dials_per_minute: 6, max_outgoing: 1, connections: 0, ..Config::default() };
    let mut node = node_with(Trust::Claimed, config);
    neighbour(&mut node, 1, &id("a"), Remote::default());
    let entry = |n: usize| Value::Array(vec![named(&format!("127.0.1.{n}")), Value::Nil]);
    let list = message(kind::WHISPER, &id("a"), code::PEERS, &[Value::Array((1..100).map(entry).collect())]);
    let mut out = tell(&mut node, Input::Message { link: LinkId(1), message: list });
    let mut at_once = 0;
    while let Some((dial, ..)) = dials(&out).first().cloned() {
        at_once += 1;
        out = tell(&mut node, Input::DialFailed { dial, problem: "refused".to_owned() });
    }
    assert_eq!(at_once, 6);
    assert_eq!(dials(&tell_at(&mut node, 9, Input::Tick)), []);
    assert_eq!(dials(&tell_at(&mut node, 10, Input::Tick)).len(), 1);
}

/// A control message that is none.
fn nonsense(sender: &NodeId, kind: u64) -> Message {
    message(kind, sender, if kind == kind::BROADCAST { code::RESPONSE } else { code::PEERS }, &("nonsense",))
}

/// Sends nonsense until the link is closed; returns how much it took.
fn misbehave(node: &mut Node, link: u64, peer: &NodeId) -> usize {
    for count in 1..1000 {
        let message = nonsense(peer, kind::WHISPER);
        let out = tell(node, Input::Message { link: LinkId(link), message });
        if !closed(&out).is_empty() {
            assert_eq!(closed(&out), [CloseReason::Misbehaved]);
            let told = |output: &Output| {
                matches!(output, Output::Event(Event::Disconnected { reason: CloseReason::Misbehaved, .. }))
            };
            assert!(out.outputs.iter().any(told));
            return count;
        }
    }
    panic!("nothing came of it");
}

/// T-64, T-65, T-66, L-51, L-52
#[test]
fn whoever_misbehaves_is_closed_and_refused() {
    let mut node = proving_node();
    neighbour(&mut node, 1, &proven(1), holding(1));
    assert_eq!(misbehave(&mut node, 1, &proven(1)), 20);
    let refused = up(&mut node, 299, 2, holding(1));
    assert_eq!((closed(&refused), is_silent(&refused)), (vec![CloseReason::Misbehaved], true));
    assert_eq!(closed(&up(&mut node, 299, 3, holding(2))), [], "others are let in");
    assert_eq!(closed(&up(&mut node, 300, 4, holding(1))), []);
    let counters = node.counters();
    assert_eq!((counters.offences, counters.misbehaved, counters.peers_refused), (20, 1, 1));
}

/// T-66
#[test]
fn where_no_id_is_proven_the_address_is_refused_unless_many_share_it() {
    let mut node = open_node();
    neighbour(&mut node, 1, &id("a"), at("8.8.8.8"));
    misbehave(&mut node, 1, &id("a"));
    assert_eq!(closed(&up(&mut node, 1, 2, at("8.8.8.8"))), [CloseReason::Misbehaved]);
    assert_eq!(closed(&up(&mut node, 1, 3, at("8.8.8.9"))), []);
    let ip = |ip: &str| ip.parse::<IpAddr>().unwrap();
    let now = Now { mono: Duration::from_secs(1), wall: TIME };
    assert!(node.refuses(now, ip("8.8.8.8")) && !node.refuses(now, ip("8.8.8.9")));

    for remote in [at("127.0.0.1"), Remote::default()] {
        let mut node = open_node();
        neighbour(&mut node, 1, &id("a"), remote.clone());
        misbehave(&mut node, 1, &id("a"));
        assert_eq!(closed(&up(&mut node, 0, 2, remote)), []);
    }
}

/// T-64, T-68: what a link's end says of the other side.
#[test]
fn links_that_end_badly_count_only_if_no_honest_peer_ends_so() {
    let offences = |reason: &CloseReason| {
        let mut node = proving_node();
        neighbour(&mut node, 1, &proven(1), holding(1));
        tell(&mut node, Input::LinkDown { link: LinkId(1), reason: reason.clone() });
        node.counters().offences
    };
    let method = Method::Zlib;
    for reason in [
        BodyError::Checksum.into(),
        BodyError::TooShort { len: 1 }.into(),
        BodyError::Decompress(DecompressError::Malformed { method }).into(),
        CloseReason::HandshakeExpected,
    ] {
        assert_eq!(offences(&reason), 1, "{reason}");
    }
    for reason in [
        CloseReason::Remote,
        CloseReason::Broken("reset".to_owned()),
        CloseReason::Stalled,
        CloseReason::SlowFrame,
        FrameError::TooLarge { length: 1 << 30, limit: 1 }.into(),
        FrameError::Truncated { have: 1, need: 4 }.into(),
        BodyError::Decompress(DecompressError::TooLarge { method, limit: 1 }).into(),
    ] {
        assert_eq!(offences(&reason), 0, "{reason}");
    }
    // A handshake in another name than the proven one, twice.
    let mut node = proving_node();
    for link in [1, 2] {
        up(&mut node, 0, link, holding(1));
        let out = tell(&mut node, Input::Message { link: LinkId(link), message: handshake(&proven(2)) });
        assert_eq!((closed(&out), is_silent(&out)), (vec![CloseReason::WrongKey], true));
    }
    assert_eq!(closed(&up(&mut node, 0, 3, holding(1))), [CloseReason::Misbehaved]);
    assert_eq!(closed(&up(&mut node, 0, 4, holding(2))), [], "nobody pays for whoever uses its name");
}

/// T-68
#[test]
fn nobody_pays_for_what_it_relays_in_good_faith() {
    let mut node = proving_node();
    neighbour(&mut node, 1, &proven(1), holding(1));
    let link = LinkId(1);
    for n in 0..1000 {
        let author = proven(2);
        let copy = message(kind::BROADCAST, &author, code::BROADCAST, &("again",));
        let stale =
            Message::pack(kind::BROADCAST, author.as_str(), Form::Str, n, code::BROADCAST, &(n,)).unwrap();
        let unknown = message(kind::BROADCAST, &author, 0x30, &(n,));
        for message in [copy, stale, unknown, nonsense(&author, kind::BROADCAST)] {
            assert_eq!(closed(&tell(&mut node, Input::Message { link, message })), []);
        }
        assert_eq!(closed(&tell(&mut node, Input::Refused { link })), []);
        assert_eq!(closed(&tell(&mut node, Input::Duplicates { link, count: 9 })), []);
    }
    assert_eq!(node.counters().offences, 0);
}

/// T-80
#[test]
fn nothing_is_said_to_somebody_else_than_the_one_dialled() {
    let mut node = proving_node();
    let target = format!("{}@127.0.0.1:1", proven(1)).parse().unwrap();
    let out = tell(&mut node, Input::Command(Command::Connect { token: Token(1), target, persist: true }));
    let (dial, ..) = dials(&out)[0];
    let origin = Origin::Dialled(dial);
    let out = tell(&mut node, Input::LinkUp { link: LinkId(1), origin, remote: holding(2) });
    assert_eq!((closed(&out), is_silent(&out)), (vec![CloseReason::WrongPeer(proven(2))], true));
    let failed = |output: &Output| {
        let Output::Event(Event::Done { result: Err(CommandError::Connect { reason, .. }), .. }) = output
        else {
            return false;
        };
        *reason == Some(CloseReason::WrongPeer(proven(2)))
    };
    assert!(out.outputs.iter().any(failed));
}

/// T-81, L-53
#[test]
fn where_anyone_can_answer_nobody_is_looked_for() {
    let whisper = |node: &mut Node, to: &NodeId| {
        let message = message(kind::WHISPER, &id("me"), code::WHISPER, &("x",));
        tell(node, Input::Command(Command::Whisper { token: Token(1), to: to.clone(), message }))
    };
    let mut node = open_node();
    neighbour(&mut node, 1, &id("a"), Remote::default());
    let out = whisper(&mut node, &id("far"));
    let refused = |output: &Output| {
        matches!(output, Output::Event(Event::Done { result: Err(CommandError::Unproven { .. }), .. }))
    };
    assert!(out.outputs.iter().any(refused) && is_silent(&out));
    assert!(!is_silent(&whisper(&mut node, &id("a"))), "neighbours get theirs");

    let mut node =
        node_with(Trust::Claimed, Config { trust_lookups: true, connections: 0, ..Config::default() });
    neighbour(&mut node, 1, &id("a"), Remote::default());
    assert!(!is_silent(&whisper(&mut node, &id("far"))));
    let mut node = proving_node();
    neighbour(&mut node, 1, &proven(1), holding(1));
    assert!(!is_silent(&whisper(&mut node, &proven(7))));
    for config in [Config::default(), Config::wan(), Config::lan(), Config::local()] {
        assert!(!config.trust_lookups);
    }
}

fn rule(node: &mut Node, seconds: u64, command: Command) -> Outbox {
    tell_at(node, seconds, Input::Command(command))
}

fn ban(n: u8, until: u64) -> Command {
    Command::Ban { peer: proven(n), until: TIME.saturating_add_unsigned(until) }
}

/// T-70, T-72
#[test]
fn only_those_on_the_list_join() {
    let mut node = proving_node();
    neighbour(&mut node, 1, &proven(1), holding(1));
    neighbour(&mut node, 2, &proven(2), holding(2));
    let out = rule(&mut node, 0, Command::Allow(vec![proven(1), proven(3)]));
    assert_eq!(closed(&out), [CloseReason::NotAllowed]);
    assert_eq!(node.neighbours().map(|neighbour| neighbour.id).collect::<Vec<_>>(), [proven(1)]);
    let out = up(&mut node, 0, 3, holding(2));
    assert_eq!((closed(&out), is_silent(&out)), (vec![CloseReason::NotAllowed], true));
    neighbour(&mut node, 4, &proven(3), holding(3));
    assert_eq!(closed(&rule(&mut node, 0, Command::Allow(vec![proven(2)]))), []);
    neighbour(&mut node, 5, &proven(2), holding(2));
    for n in 1..=3 {
        assert_eq!(closed(&rule(&mut node, 0, Command::Disallow(proven(n)))), [CloseReason::NotAllowed]);
    }
    // A list with nobody on it is one.
    assert_eq!(closed(&up(&mut node, 0, 6, holding(1))), [CloseReason::NotAllowed]);
    assert_eq!(node.counters().peers_refused, 2);
}

/// T-70, T-71: nothing is said to the wrong one that was dialled either, and it is tried again.
#[test]
fn whoever_was_dialled_is_judged_too() {
    let mut node = proving_node();
    rule(&mut node, 0, ban(1, 100));
    let target = "127.0.0.1:1".parse().unwrap();
    let out = rule(&mut node, 0, Command::Connect { token: Token(1), target, persist: true });
    let origin = Origin::Dialled(dials(&out)[0].0);
    let out = tell(&mut node, Input::LinkUp { link: LinkId(1), origin, remote: holding(1) });
    assert_eq!((closed(&out), is_silent(&out)), (vec![CloseReason::Banned], true));
    assert_eq!(dials(&tell_at(&mut node, 2, Input::Tick)).len(), 1);
}

/// T-71
#[test]
fn bans_end_by_themselves_or_when_they_are_lifted() {
    let mut node = proving_node();
    neighbour(&mut node, 1, &proven(1), holding(1));
    assert_eq!(closed(&rule(&mut node, 0, ban(1, 100))), [CloseReason::Banned]);
    rule(&mut node, 0, ban(2, 50));
    let in_force = |node: &Node, seconds: u64| {
        let wall = TIME.saturating_add_unsigned(seconds);
        let mut bans: Vec<_> = node.bans(Now { mono: Duration::from_secs(seconds), wall }).collect();
        bans.sort_by_key(|(_, until)| *until);
        bans.into_iter().map(|(peer, until)| (peer.clone(), until - TIME)).collect::<Vec<_>>()
    };
    assert_eq!(in_force(&node, 0), [(proven(2), 50), (proven(1), 100)]);
    assert_eq!(in_force(&node, 50), [(proven(1), 100)]);
    assert_eq!(closed(&up(&mut node, 49, 2, holding(2))), [CloseReason::Banned]);
    assert_eq!(closed(&up(&mut node, 50, 3, holding(2))), []);
    assert_eq!(closed(&up(&mut node, 99, 4, holding(1))), [CloseReason::Banned]);
    rule(&mut node, 99, Command::Unban(proven(1)));
    assert_eq!(closed(&up(&mut node, 99, 5, holding(1))), []);
    assert_eq!(in_force(&node, 99), []);
}

/// T-72, T-68
#[test]
fn what_those_write_who_may_not_join_is_dropped_wherever_it_comes_from() {
    for (first, refused) in
        [(ban(3, 100), true), (Command::Allow(vec![proven(1), proven(2)]), true), (ban(4, 100), false)]
    {
        let mut node = proving_node();
        neighbour(&mut node, 1, &proven(1), holding(1));
        neighbour(&mut node, 2, &proven(2), holding(2));
        rule(&mut node, 0, first);
        let message = message(kind::BROADCAST, &proven(3), code::BROADCAST, &("hear me",));
        let out = tell(&mut node, Input::Message { link: LinkId(1), message });
        assert_eq!(closed(&out), []);
        let heard = out.outputs.iter().any(|output| matches!(output, Output::Event(Event::Received(_))));
        assert_eq!((heard, is_silent(&out)), (!refused, refused));
        let counters = node.counters();
        assert_eq!((counters.authors_refused, counters.offences), (u64::from(refused), 0));
    }
}

/// L-56
#[test]
fn whoever_connects_all_the_time_is_refused() {
    let config = Config { connects_per_minute: Some(6), ..Config::default() };
    let mut node = node_with(Trust::Proven { keys: keys(0), signed: false }, config);
    let mut link = 0;
    let mut comes = |node: &mut Node, seconds, n| {
        link += 1;
        let out = up(node, seconds, link, holding(n));
        tell_at(node, seconds, Input::LinkDown { link: LinkId(link), reason: CloseReason::Remote });
        closed(&out)
    };
    for _ in 0..6 {
        assert_eq!(comes(&mut node, 100, 1), []);
    }
    for seconds in [100, 101, 399] {
        assert_eq!(comes(&mut node, seconds, 1), [CloseReason::Misbehaved]);
    }
    assert_eq!(comes(&mut node, 101, 2), []);
    assert_eq!(comes(&mut node, 400, 1), []);
}

/// L-60
#[test]
fn what_one_author_has_passed_on_is_bounded() {
    let config = Config { relays_per_author: Some(10), ..Config::default() };
    let mut node = node_with(Trust::Proven { keys: keys(0), signed: false }, config);
    neighbour(&mut node, 1, &proven(1), holding(1));
    neighbour(&mut node, 2, &proven(2), holding(2));
    for (author, relayed) in [(3, 10), (4, 10)] {
        let mut silent = 0;
        for n in 0..15 {
            let message = message(kind::BROADCAST, &proven(author), code::BROADCAST, &(n,));
            let out = tell(&mut node, Input::Message { link: LinkId(1), message });
            silent += u64::from(is_silent(&out));
            let heard = out.outputs.iter().any(|output| matches!(output, Output::Event(Event::Received(_))));
            assert!(heard, "all of it is heard here");
        }
        assert_eq!(silent, 15 - relayed);
    }
    assert_eq!((node.counters().relays_limited, node.counters().offences), (10, 0));
}
