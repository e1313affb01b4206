//! C-18 and C-26 to C-29: two links between the same two nodes.

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
    transcript_file("two links to one node: which stays, and what is said on it", plays)
}

fn side(ours: bool) -> &'static str {
    if ours { "dialled" } else { "accepted" }
}

/// The link that stays, the one that goes, and what is done when the second handshake comes.
struct Meeting {
    play: Play,
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
    // It stays if the greater id dialled it.
    let newer_stays = newer_is_ours != peer_is_greater;
    let (kept, gone) = if newer_stays { (2, 1) } else { (1, 2) };
    if !newer_is_ours && (newer_stays || peer.dialect == Dialect::Peernet) {
        expect.push(own_handshake(2));
    }
    expect.push(agrees(2, &[ZLIB, GZIP], Some(ZLIB)));
    if newer_stays {
        expect.push(peers_list(2, play.others(peer)));
        if !newer_is_ours && peer.dialect == Dialect::Js2p {
            expect.push(request_peers(2));
        }
    }
    expect.push(closes(gone, "duplicate"));
    if newer_is_ours {
        expect.push(done(2, peer.id));
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
        "a {} and then a {} link to {}, a {} of the {} id",
        side(older_is_ours),
        side(newer_is_ours),
        peer.id,
        format!("{:?}", peer.dialect).to_lowercase(),
        if peer_is_greater { "greater" } else { "lesser" },
    );
    let mut rules = vec!["C-26", "C-27", "C-28", "I-4"];
    rules.extend(match peer.dialect {
        Dialect::Peernet => None,
        Dialect::Py2p => Some("C-18"),
        Dialect::Js2p => Some("C-29"),
    });
    let Meeting { mut play, kept, gone } =
        meeting(Play::new(&name, &rules), peer, older_is_ours, newer_is_ours, peer_is_greater);
    let late = vec![int(2), str("was under way")];
    play = play.step(peer.whispers(gone, late.clone()), vec![hands_up("whisper", peer.id, gone, late)]);
    let pong = vec![int(4)];
    play = play.quiet(peer.whispers(kept, pong));
    if peer.dialect == Dialect::Js2p {
        play = play.at(5_299).quiet(tick()).at(5_300).step(tick(), vec![own_handshake(kept)]);
    }
    play.at(8_000).quiet(link_down(gone)).step(
        whisper(9, peer.id, vec![str("which way?")]),
        vec![sends(&[kept], "own", WHISPER, vec![int(2), str("which way?")]), done(9, peer.id)],
    )
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
