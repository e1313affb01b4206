//! C-17 to C-19 and C-26 to C-29: two links between the same two nodes.

use crate::play::*;

pub(crate) fn file() -> String {
    let mut plays = Vec::new();
    for peer in [ANNA, BERT, PYTHON, GREAT_PYTHON, SCRIPT, GREAT_SCRIPT] {
        for older_is_ours in [false, true] {
            for newer_is_ours in [false, true] {
                plays.push(met(&peer, older_is_ours, newer_is_ours, peer.id > NODE));
            }
        }
    }
    // As integers: two digits are less than five, whatever they are.
    let short = Peer { id: "zz", ..ANNA };
    let long = Peer { id: "222222", ..ANNA };
    plays.push(met(&short, false, true, false));
    plays.push(met(&long, false, true, true));
    // Leading zeros do not count.
    let padded = Peer { id: "11116", ..ANNA };
    plays.push(met(&padded, false, true, false));
    plays.push(silent_python());
    plays.push(kept_up());
    plays.push(fallen_back());
    plays.push(crowded());
    plays.push(asked_on_either());
    transcript_file("two links to one node: which stays, and what is said on it", plays)
}

fn side(ours: bool) -> &'static str {
    if ours { "dialled" } else { "accepted" }
}

/// Two links to one peer, the handshake on the second just read.
struct Meeting {
    play: Play,
    /// The link that C-26 prefers, and the other one.
    kept: u64,
    gone: u64,
}

/// Link 1 is there, and link 2 comes.
fn meeting(
    play: Play,
    peer: &Peer,
    older_is_ours: bool,
    newer_is_ours: bool,
    peer_is_greater: bool,
) -> Meeting {
    let play = if older_is_ours { play.dialled(1, 1, peer) } else { play.joined(1, peer) };
    let mut expect = Vec::new();
    // It is preferred if the greater id dialled it.
    let newer_is_preferred = newer_is_ours != peer_is_greater;
    let (kept, gone) = if newer_is_preferred { (2, 1) } else { (1, 2) };
    let one_decides = peer.dialect == Dialect::Peernet;
    if !newer_is_ours && (newer_is_preferred || one_decides) {
        expect.push(own_handshake(2));
    }
    expect.push(agrees(2, &[ZLIB, GZIP], Some(ZLIB)));
    if newer_is_preferred || (one_decides && peer_is_greater) {
        expect.push(peers_list(2, play.others(peer)));
    }
    if newer_is_preferred && !newer_is_ours && peer.dialect == Dialect::Js2p {
        expect.push(request_peers(2));
    }
    if newer_is_ours {
        expect.push(done(2, peer.id));
    }
    if !one_decides {
        expect.push(closes(gone, "duplicate"));
    }
    if peer.dialect == Dialect::Py2p {
        expect.push(request_peers(kept));
    }
    let play = play.at(5_000);
    let play = if newer_is_ours {
        // Under another name, as the first is a neighbour's address already.
        play.step(
            connect(2, &format!("localhost:{}", peer.port)),
            vec![dials("$second", "localhost", peer.port)],
        )
        .step(dialled(2, "$second"), vec![own_handshake(2)])
    } else {
        play.quiet(accepted(2))
    };
    Meeting { play: play.step(peer.shakes_hands(2), expect), kept, gone }
}

fn met(peer: &Peer, older_is_ours: bool, newer_is_ours: bool, peer_is_greater: bool) -> Play {
    let name = format!(
        "a link that was {} and then one that was {}, to {}, a {} of the {} id",
        side(older_is_ours),
        side(newer_is_ours),
        peer.id,
        format!("{:?}", peer.dialect).to_lowercase(),
        if peer_is_greater { "greater" } else { "lesser" },
    );
    let mut rules = vec!["C-17", "C-26", "C-27", "C-28", "I-4"];
    rules.extend(match peer.dialect {
        Dialect::Peernet => None,
        Dialect::Py2p => Some("C-18"),
        Dialect::Js2p => Some("C-29"),
    });
    let Meeting { mut play, kept, gone } =
        meeting(Play::new(&name, &rules), peer, older_is_ours, newer_is_ours, peer_is_greater);
    let late = |play: Play| {
        let late = vec![int(2), str("was under way")];
        play.step(peer.whispers(gone, late.clone()), vec![hands_up("whisper", peer.id, gone, late)])
    };
    // Between two peernets the greater closes, as soon as the other has spoken on the link that stays.
    let decides = peer.dialect == Dialect::Peernet && !peer_is_greater;
    play = late(play).step(
        peer.whispers(kept, vec![int(4)]),
        if decides { vec![closes(gone, "duplicate")] } else { vec![] },
    );
    play = late(play);
    if peer.dialect == Dialect::Js2p {
        play = play.at(5_299).quiet(tick()).at(5_300).step(tick(), vec![own_handshake(kept)]);
    }
    play = play
        .at(8_000)
        .quiet(link_down(gone))
        .step(
            whisper(9, peer.id, vec![str("which way?")]),
            vec![sends(&[kept], "own", WHISPER, vec![int(2), str("which way?")]), done(9, peer.id)],
        )
        .quiet(peer.whispers(kept, vec![int(4)]));
    let again = if peer.dialect == Dialect::Js2p { vec![own_handshake(kept)] } else { vec![] };
    play.at(8_299).quiet(tick()).at(8_300).step(tick(), again)
}

/// The link that was preferred ends first.
fn fallen_back() -> Play {
    let play = Play::new("the link that was preferred ends, and the other takes its place", &["C-19"])
        .joined(3, &CARA);
    let Meeting { play, kept, gone } = meeting(play, &BERT, false, false, true);
    play.at(6_000)
        .quiet(link_down(kept))
        .step(
            whisper(9, BERT.id, vec![str("which way?")]),
            vec![sends(&[gone], "own", WHISPER, vec![int(2), str("which way?")]), done(9, BERT.id)],
        )
        .step(link_down(gone), vec![disconnected(&BERT, "remote")])
}

fn crowded() -> Play {
    let mut play =
        Play::new("a fifth link to one peer is closed at once", &["C-17", "C-26", "L-44"]).joined(1, &BERT);
    for link in 2..=4 {
        let welcome =
            vec![own_handshake(link), agrees(link, &[ZLIB, GZIP], Some(ZLIB)), peers_list(link, vec![])];
        play = play.quiet(accepted(link)).step(BERT.shakes_hands(link), welcome);
    }
    play.quiet(accepted(5)).step(
        BERT.shakes_hands(5),
        vec![own_handshake(5), agrees(5, &[ZLIB, GZIP], Some(ZLIB)), closes(5, "duplicate")],
    )
}

/// A neighbour is not named to itself, whichever link it asks on.
fn asked_on_either() -> Play {
    let play =
        Play::new("who asks for peers on a second link is not told of itself", &["C-22"]).joined(3, &CARA);
    let Meeting { play, kept, gone } = meeting(play, &BERT, false, true, true);
    let request = || vec![int(8), bin("*")];
    let list = |link| vec![peers_list(link, vec![CARA.entry()])];
    play.at(7_000)
        .step(BERT.whispers(gone, request()), list(gone))
        .step(BERT.whispers(kept, request()), list(kept))
}

fn silent_python() -> Play {
    let play = Play::new("a py2p no longer reads the link that is left", &["C-18", "C-16", "L-29"]);
    let Meeting { play, kept, .. } = meeting(play, &GREAT_PYTHON, false, false, true);
    play.at(6_999).quiet(tick()).at(7_000).step(
        tick(),
        vec![
            closes(kept, "silent"),
            disconnected(&GREAT_PYTHON, "silent"),
            dials("$again", GREAT_PYTHON.host, GREAT_PYTHON.port),
        ],
    )
}

fn kept_up() -> Play {
    let play = Play::new("what was dialled is kept up by either of two links", &["C-27", "C-32"]);
    let Meeting { play, kept, gone } = meeting(play, &ANNA, true, false, false);
    play.at(6_000)
        .quiet(link_down(gone))
        .at(10_000)
        .step(link_down(kept), vec![disconnected(&ANNA, "remote"), redials(ANNA.host, ANNA.port, 500)])
        .at(10_500)
        .step(tick(), vec![dials("$dial1", ANNA.host, ANNA.port)])
}
