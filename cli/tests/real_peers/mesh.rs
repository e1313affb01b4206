//! Several nodes: what is passed on, and who is told of whom.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value as Json, json};

use crate::peer::{Kind, Peer, Place, all_to_all, part, settle};

/// A reply and a message of its own from `theirs` to `ours`, its neighbour.
fn whispers(ours: &mut Peer, theirs: &mut Peer) {
    let question = json!(["answer me", theirs.id()]);
    ours.must(json!({"do": "broadcast", "payload": question}));
    let to = theirs.hear_payload(&question)["id"].clone();
    let answer = json!(["an answer", theirs.id()]);
    theirs.must(json!({"do": "reply", "to": to, "payload": answer}));
    let more = json!(["and more", theirs.id()]);
    theirs.must(json!({"do": "send", "peer": ours.id(), "payload": more}));
    for payload in [answer, more] {
        let heard = ours.hear_payload(&payload);
        assert_eq!((&heard["kind"], &heard["sender"]), (&json!("whisper"), &json!(theirs.id())));
    }
}

/// A py2p and a js2p, which cannot join each other, talk through one of ours.
fn bridge_through(kind: Kind) {
    let mut ours = Peer::start(kind, &[]);
    let mut py2p = Peer::start(Kind::Py2p, &[]);
    let mut js2p = Peer::start(Kind::Js2p, &[]);
    py2p.join(&mut ours);
    ours.join(&mut js2p);
    for round in 0..5 {
        all_to_all(&mut [&mut py2p, &mut ours, &mut js2p], &format!("bridge {round}"));
    }
    whispers(&mut ours, &mut py2p);
    whispers(&mut ours, &mut js2p);
    part([ours, py2p, js2p]);
}

#[test]
fn bridge() {
    bridge_through(Kind::Ours);
}

#[test]
fn bridge_in_c() {
    bridge_through(Kind::C);
}

#[test]
fn bridge_in_cpp() {
    bridge_through(Kind::Cpp);
}

/// The same with two of ours, which each know one of them at first.
fn bridge_of(left: Kind, right: Kind) {
    let mut left = Peer::start(left, &[]);
    let mut right = Peer::start(right, &[]);
    let mut py2p = Peer::start(Kind::Py2p, &[]);
    let mut js2p = Peer::start(Kind::Js2p, &[]);
    py2p.join(&mut left);
    js2p.join(&mut right);
    right.join(&mut left);
    // Each is told of those that it can join, and dials them while they dial it.
    settle(&mut [vec![&mut py2p, &mut left, &mut right, &mut js2p]]);
    for round in 0..5 {
        all_to_all(&mut [&mut py2p, &mut left, &mut right, &mut js2p], &format!("bridge of two {round}"));
    }
    whispers(&mut left, &mut py2p);
    whispers(&mut right, &mut js2p);
    for peer in [left, right, py2p, js2p] {
        peer.finish();
    }
}

#[test]
fn bridge_of_two() {
    bridge_of(Kind::Ours, Kind::Ours);
}

#[test]
fn bridge_of_c_and_cpp() {
    bridge_of(Kind::C, Kind::Cpp);
}

/// A node that advertises an address at which only this test listens, so that whoever is told of the
/// node is found out.
struct Bait {
    listener: TcpListener,
    peer: Peer,
}

impl Bait {
    fn lay(kind: Kind) -> Self {
        let place = Place::free();
        let listener = TcpListener::bind((place.host.as_str(), place.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, peer: Peer::start(kind, &["--advertise", &place.to_string()]) }
    }

    /// Whether anyone has dialled the address.
    fn was_taken(&self) -> bool {
        match self.listener.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

fn peers(peer: &mut Peer) -> Vec<Json> {
    let peers = peer.must(json!({"do": "peers"}));
    peers.as_array().unwrap().iter().map(|peer| peer["id"].clone()).collect()
}

/// Nodes of one kind are told of each other by ours between them, and join; py2p and js2p, which
/// would only refuse each other, are never told of each other.
fn told_of_their_own(kind: Kind, strange: Kind) {
    let mut ours = Peer::start(Kind::Ours, &[]);
    let mut stranger = Bait::lay(strange);
    stranger.peer.join(&mut ours);
    let mut first = Peer::start(kind, &[]);
    first.join(&mut ours);
    // It comes last, so it is named all the others at once that it may know.
    let mut second = Peer::start(kind, &[]);
    second.join(&mut ours);
    second.connected(&first);
    first.connected(&second);

    settle(&mut [vec![&mut ours, &mut stranger.peer, &mut first, &mut second]]);
    all_to_all(&mut [&mut ours, &mut stranger.peer, &mut first, &mut second], "told");
    assert!(!stranger.was_taken(), "someone was told of the {strange:?}");
    assert_eq!(peers(&mut stranger.peer), [ours.id()]);
    let ids = [first.id().to_owned(), second.id().to_owned()];
    for (peer, other) in [(&mut first, &ids[1]), (&mut second, &ids[0])] {
        let found = peers(peer);
        assert!(found.len() == 2 && found.contains(&json!(ours.id())) && found.contains(&json!(other)));
    }
    part([ours, stranger.peer, first, second]);
}

#[test]
fn py2p_nodes_are_told_of_each_other() {
    told_of_their_own(Kind::Py2p, Kind::Js2p);
}

#[test]
fn js2p_nodes_are_told_of_each_other() {
    told_of_their_own(Kind::Js2p, Kind::Py2p);
}
