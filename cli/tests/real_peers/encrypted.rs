//! Subnets that 0.7 has besides plaintext ones: SSL with both, ws with js2p, which alone speaks it.

use std::time::Duration;

use serde_json::json;

use crate::peer::{Dialler, Encryption, Kind, Peer, all_to_all, both_ways, part, settle, talk};

/// Bytes of a message that fills many TLS records and more than one part of a WebSocket message.
const LARGE: usize = 1 << 20;

/// Starts one of ours and another, connected.
fn pair(kind: Kind, encryption: Encryption, dialler: Dialler) -> (Peer, Peer) {
    let mut ours = Peer::encrypted(Kind::Ours, encryption, &[]);
    let mut theirs = Peer::encrypted(kind, encryption, &["--compression", "none"]);
    match dialler {
        Dialler::We => ours.join(&mut theirs),
        Dialler::They => theirs.join(&mut ours),
    }
    (ours, theirs)
}

/// Broadcasts, private replies and large messages, both ways.
fn conversation(kind: Kind, encryption: Encryption, dialler: Dialler) {
    let (mut ours, mut theirs) = pair(kind, encryption, dialler);
    for round in 0..10 {
        talk(&mut ours, &mut theirs, &format!("round {round}"));
    }
    both_ways(&mut ours, &mut theirs, |from, to| {
        let question = from.broadcast(json!(["who is there?", from.id()]));
        to.hear_id(&question);
        let answer = json!(["I am", to.id()]);
        to.must(json!({"do": "reply", "to": question, "payload": answer}));
        let heard = from.hear_payload(&answer);
        assert_eq!((&heard["kind"], &heard["sender"]), (&json!("whisper"), &json!(to.id())));
    });
    both_ways(&mut ours, &mut theirs, |from, to| {
        for size in [1000, 1023, 1024, 1025, 2000, 16_000, 16_384, 70_000, LARGE, 2 * LARGE + 7, 10] {
            let payload = json!([from.id(), "x".repeat(size)]);
            let id = from.broadcast(payload.clone());
            assert!(to.hear_id(&id)["payload"] == payload, "{size} bytes arrive changed");
        }
    });
    part([ours, theirs]);
}

/// A py2p and a js2p are in one conversation through one of ours, which also meets its own kind.
fn bridge(encryption: Encryption, kinds: &[Kind]) {
    let mut ours = Peer::encrypted(Kind::Ours, encryption, &[]);
    let mut others: Vec<Peer> = kinds.iter().map(|kind| Peer::encrypted(*kind, encryption, &[])).collect();
    for other in &mut others {
        other.join(&mut ours);
    }
    let mut all: Vec<&mut Peer> = others.iter_mut().chain([&mut ours]).collect();
    for round in 0..5 {
        all_to_all(&mut all, &format!("round {round}"));
    }
    part(others.into_iter().chain([ours]));
}

/// Another name, or another encryption, is another subnet.
fn wrong_subnet(kind: Kind, encryption: Encryption, dialler: Dialler) {
    let mut ours = Peer::encrypted(Kind::Ours, encryption, &[]);
    let mut stranger = Peer::encrypted(kind, encryption, &["--subnet", "another"]);
    let (from, to) = match dialler {
        Dialler::We => (&mut ours, &stranger),
        Dialler::They => (&mut stranger, &ours),
    };
    let error = from.must_fail(json!({"do": "connect", "address": to.place.to_string()}));
    if dialler == Dialler::We {
        // js2p may close before it has said which subnet it is of.
        assert_eq!(error["code"], "connect", "{error}");
    }
    let mut friend = Peer::encrypted(kind, encryption, &[]);
    friend.join(&mut ours);
    talk(&mut ours, &mut friend, "same subnet");
    assert!(stranger.node.peers().is_empty());
    part([ours, stranger, friend]);
}

/// A peer is killed; we say so, others go on, and whoever comes back is taken in again.
fn killed(kind: Kind, encryption: Encryption, dialler: Dialler) {
    let (mut ours, mut theirs) = pair(kind, encryption, dialler);
    let mut bystander = Peer::encrypted(Kind::Ours, encryption, &[]);
    bystander.join(&mut ours);
    theirs.node.command(json!({"do": "broadcast", "payload": ["x".repeat(LARGE)]}));
    theirs.node.signal("KILL");
    let gone = ours.node.disconnected(theirs.id());
    assert!(["remote", "broken"].contains(&gone["reason"].as_str().unwrap()), "{gone}");
    talk(&mut ours, &mut bystander, "without it");

    let (place, address) = (theirs.place.clone(), ours.place.to_string());
    let mut options = vec!["--encryption", encryption.name(kind)];
    if dialler == Dialler::They {
        options.extend(["--connect", &address]);
    }
    let mut back = Peer::start_at(kind, place, &options);
    ours.connected(&back);
    back.connected(&ours);
    settle(&mut [vec![&mut ours, &mut back, &mut bystander]]);
    // py2p takes down what it could not say on links that were closed as second ones.
    for peer in [ours, back, bystander] {
        peer.finish();
    }
}

/// We are killed, which they must survive, and close, which they must notice.
fn we_go(kind: Kind, encryption: Encryption, dialler: Dialler) {
    let (ours, mut theirs) = pair(kind, encryption, dialler);
    let id = ours.id().to_owned();
    ours.node.signal("KILL");
    theirs.node.disconnected(&id);
    let mut ours = Peer::encrypted(Kind::Ours, encryption, &[]);
    let id = ours.id().to_owned();
    ours.join(&mut theirs);
    talk(&mut ours, &mut theirs, "another");
    ours.finish();
    theirs.node.disconnected(&id);
    theirs.finish();
}

macro_rules! with {
    ($name:ident, $kind:ident, $encryption:ident, $dialler:ident) => {
        mod $name {
            use super::*;

            const CASE: (Kind, Encryption, Dialler) =
                (Kind::$kind, Encryption::$encryption, Dialler::$dialler);

            #[test]
            fn conversation() {
                let (kind, encryption, dialler) = CASE;
                super::conversation(kind, encryption, dialler);
            }

            #[test]
            fn wrong_subnet() {
                let (kind, encryption, dialler) = CASE;
                super::wrong_subnet(kind, encryption, dialler);
            }

            #[test]
            fn killed() {
                let (kind, encryption, dialler) = CASE;
                super::killed(kind, encryption, dialler);
            }

            #[test]
            fn we_go() {
                let (kind, encryption, dialler) = CASE;
                super::we_go(kind, encryption, dialler);
            }
        }
    };
}

/// py2p hears all of several messages that go at once, the last of them too.
#[test]
fn ssl_burst_to_py2p() {
    /// Before anything else is sent that would wake it: half of the time after which the link is asked for a
    /// sign of life.
    const BEFORE_KEEP_ALIVE: Duration = Duration::from_secs(15);
    const COUNT: usize = 50;
    // Of a multiple of 8 bytes, so that no read of 1,024 bytes ends behind a length (see the README there).
    const FRAME: usize = 800;
    for dialler in [Dialler::We, Dialler::They] {
        let (mut ours, mut theirs) = pair(Kind::Py2p, Encryption::Ssl, dialler);
        // A length, a digest, and the heads and values before the text: type, sender, time, code.
        let before = 4 + 32 + 1 + 1 + (2 + ours.id().len()) + 5 + 1 + 3;
        let texts: Vec<_> = (0..COUNT).map(|n| format!("{n:0width$}", width = FRAME - before)).collect();
        for text in &texts {
            ours.node.command(json!({"do": "broadcast", "payload": [text]}));
        }
        for text in &texts {
            let payload = json!([text]);
            let heard = theirs.try_hear(BEFORE_KEEP_ALIVE, |message| message["payload"] == payload);
            assert!(heard.is_some(), "it does not hear {text:.4}");
        }
        part([ours, theirs]);
    }
}

with!(ssl_py2p_we_dial, Py2p, Ssl, We);
with!(ssl_py2p_they_dial, Py2p, Ssl, They);
with!(ssl_js2p_we_dial, Js2p, Ssl, We);
with!(ssl_js2p_they_dial, Js2p, Ssl, They);

with!(ws_js2p_we_dial, Js2p, Ws, We);
with!(ws_js2p_they_dial, Js2p, Ws, They);

#[test]
fn ws_bridge() {
    bridge(Encryption::Ws, &[Kind::Js2p, Kind::Ours]);
}

#[test]
fn ssl_bridge() {
    bridge(Encryption::Ssl, &[Kind::Py2p, Kind::Js2p, Kind::Ours]);
}

/// A node of 0.7, encrypted or not, gets nothing from one whose links prove who is there, whichever of
/// the two dials.
/// T-4, T-5
#[test]
fn nobody_of_0_7_joins_where_ids_are_proven() {
    let mut ours = Peer::start(Kind::Ours, &["--encryption", "tls"]);
    for (kind, encryption) in [
        (Kind::Py2p, Encryption::Plaintext),
        (Kind::Py2p, Encryption::Ssl),
        (Kind::Js2p, Encryption::Ssl),
        (Kind::Js2p, Encryption::Ws),
    ] {
        let mut theirs = Peer::encrypted(kind, encryption, &[]);
        theirs.must_fail(json!({"do": "connect", "address": ours.place.to_string()}));
        let error = ours.must_fail(json!({"do": "connect", "address": theirs.place.to_string()}));
        assert_eq!(error["code"], "connect", "{error}");
        assert_eq!(theirs.must(json!({"do": "peers"})), json!([]));
        // What such a node says of a stream that ends in the middle is its own affair.
        theirs.node.signal("KILL");
    }
    let counted = ours.must(json!({"do": "stats"}));
    assert_eq!((&counted["frames_in"], &counted["peers"]), (&json!(0), &json!(0)), "{counted}");
    let mut friend = Peer::start(Kind::Ours, &["--encryption", "tls"]);
    friend.join(&mut ours);
    talk(&mut ours, &mut friend, "still there");
    part([ours, friend]);
}
