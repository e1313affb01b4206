//! How links come about, break, and are mended.

use serde_json::json;

use crate::each_way;
use crate::peer::{Dialler, Kind, Peer, Place, both_ways, pair, part, settle, talk};

impl Kind {
    /// The other of the two real implementations.
    fn other(self) -> Self {
        match self {
            Self::Py2p => Self::Js2p,
            _ => Self::Py2p,
        }
    }
}

each_way! {
    /// A node of another subnet gets no link, and is in nobody's way.
    fn wrong_subnet(kind, dialler) {
        let mut ours = Peer::start(Kind::Ours, &[]);
        let mut stranger = Peer::start(kind, &["--subnet", "another"]);
        let (from, to) = match dialler {
            Dialler::We => (&mut ours, &stranger),
            Dialler::They => (&mut stranger, &ours),
        };
        let to = to.place.to_string();
        let error = from.must_fail(json!({"do": "connect", "address": to}));
        if dialler == Dialler::We {
            assert_eq!(error["code"], "connect", "{error}");
            assert!(error["error"].as_str().unwrap().contains("another subnet"), "{error}");
        }

        // They are still there for others.
        let mut friend = Peer::start(kind, &[]);
        friend.join(&mut ours);
        talk(&mut ours, &mut friend, "same subnet");
        let mut relative = Peer::start(Kind::Ours, &["--subnet", "another"]);
        relative.join(&mut stranger);
        talk(&mut relative, &mut stranger, "another subnet");
        assert_eq!(ours.node.peers(), [friend.id()]);
        assert_eq!(stranger.node.peers(), [relative.id()]);
        part([ours, stranger, friend, relative]);
    }
}

each_way! {
    /// A peer is killed in the middle of a conversation: we say so, others go on, and when it is back
    /// at its old address, so is the link.
    fn killed_and_restarted(kind, dialler) {
        let (mut ours, mut theirs) = pair(kind, dialler, &[]);
        let mut bystander = Peer::start(kind.other(), &[]);
        bystander.join(&mut ours);
        for number in 0..20 {
            let say = |peer: &mut Peer| {
                peer.node.command(json!({"do": "broadcast", "payload": ["small talk", peer.id(), number]}))
            };
            say(&mut ours);
            say(&mut theirs);
        }
        theirs.node.signal("KILL");

        let gone = ours.node.disconnected(theirs.id());
        assert!(["remote", "broken"].contains(&gone["reason"].as_str().unwrap()), "{gone}");
        talk(&mut ours, &mut bystander, "without it");

        let back: &[&str] = match dialler {
            Dialler::We => &[],
            Dialler::They => &["--connect", &ours.place.to_string()],
        };
        let mut back = Peer::start_at(kind, theirs.place.clone(), back);
        assert_ne!(back.id(), theirs.id());
        ours.connected(&back);
        back.connected(&ours);
        let topic = "back again";
        both_ways(&mut ours, &mut back, |from, to| {
            let payload = json!([topic, from.id()]);
            from.must(json!({"do": "broadcast", "payload": payload}));
            to.hear_payload(&payload);
            bystander.hear_payload(&payload);
        });
        part([ours, back, bystander]);
    }
}

/// Both dial each other in the same moment; whatever links come of it, each soon hears the other.
/// Which link should stay depends on the ids, which differ every time, so there are several pairs.
fn dial_each_other(kind: Kind) {
    const PAIRS: usize = 4;
    let start = |_| (Peer::start(Kind::Ours, &[]), Peer::start(kind, &[]));
    let mut pairs: Vec<(Peer, Peer)> = (0..PAIRS).map(start).collect();
    for (ours, theirs) in &mut pairs {
        both_ways(ours, theirs, |from, to| {
            from.node.command(json!({"do": "connect", "address": to.place.to_string()}));
        });
    }
    all_settle(pairs);
}

/// Waits until the two of each pair hear each other, and checks that they never hear anything twice.
fn all_settle(mut pairs: Vec<(Peer, Peer)>) {
    let mut groups: Vec<_> = pairs.iter_mut().map(|(ours, theirs)| vec![ours, theirs]).collect();
    settle(&mut groups);
    for (ours, theirs) in pairs {
        ours.finish();
        theirs.finish();
    }
}

#[test]
fn py2p_dialled_while_it_dials_us() {
    dial_each_other(Kind::Py2p);
}

#[test]
fn js2p_dialled_while_it_dials_us() {
    dial_each_other(Kind::Js2p);
}

/// We dial the same node twice in the same moment.
fn dial_twice(kind: Kind) {
    const PAIRS: usize = 3;
    let start = |_| {
        let theirs = Peer::start(kind, &[]);
        let address = theirs.place.to_string();
        (Peer::start(Kind::Ours, &["--connect", &address, "--connect", &address]), theirs)
    };
    all_settle((0..PAIRS).map(start).collect());
}

#[test]
fn py2p_dialled_twice() {
    dial_twice(Kind::Py2p);
}

#[test]
fn js2p_dialled_twice() {
    dial_twice(Kind::Js2p);
}

/// py2p dials us again over the link that it has; js2p would not.
#[test]
fn py2p_dials_twice() {
    const PAIRS: usize = 3;
    let start = |_| {
        let ours = Peer::start(Kind::Ours, &[]);
        let address = ours.place.to_string();
        let theirs = Peer::start(Kind::Py2p, &["--connect", &address, "--connect", &address]);
        (ours, theirs)
    };
    all_settle((0..PAIRS).map(start).collect());
}

/// Nodes that are not there yet are tried again until they are.
#[test]
fn connects_to_those_that_start_later() {
    let places = [(Kind::Py2p, Place::free()), (Kind::Js2p, Place::free())];
    let [py2p, js2p] = places.each_ref().map(|(_, place)| place.to_string());
    let mut ours = Peer::start(Kind::Ours, &["--connect", &py2p, "--connect", &js2p]);
    for address in [&py2p, &js2p] {
        let error = ours.node.wait(&format!("an error about {address}"), |event| {
            event["event"] == "error" && event["error"].as_str().unwrap().contains(address.as_str())
        });
        assert_eq!((&error["code"], error.get("ref")), (&json!("connect"), None), "{error}");
    }
    let mut later = places.map(|(kind, place)| Peer::start_at(kind, place, &[]));
    for peer in &mut later {
        ours.connected(peer);
        peer.connected(&ours);
    }
    let payload = json!(["here we are"]);
    let id = ours.try_broadcast(&payload).unwrap();
    for peer in &mut later {
        peer.hear_id(&id);
        let greeting = json!(["hello from", peer.id()]);
        let id = peer.broadcast(greeting);
        ours.hear_id(&id);
    }
    part(later.into_iter().chain([ours]));
}
