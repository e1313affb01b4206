//! T-60 to T-81: who makes whom dial, and what becomes of those who misbehave.

use crate::play::*;

/// Where a peer is that is not on the node's machine or network.
const FAR: &str = "8.8.8.8";

pub(crate) fn file() -> String {
    let plays = vec![
        named("a far peer names nothing near", FAR, &[]),
        named("a peer on the network names no address of this machine", "192.168.1.7", &[NETWORK]),
        named("a peer on this machine names any", "127.0.0.1", &[MACHINE, NETWORK]),
        unproven(),
        misbehaved(),
        misbehaved_on_this_machine(),
    ];
    transcript_file("who makes whom dial, private messages, and peers that misbehave", plays)
}

const MACHINE: (&str, u16) = ("127.0.0.1", 22);
const NETWORK: (&str, u16) = ("10.0.0.1", 80);

/// A list of one address of each kind, each by itself.
fn named(name: &str, from: &str, dialled: &[(&str, u16)]) -> Play {
    let mut play = Play::new(name, &["T-60", "T-61"]).joined_from(1, &ANNA, from);
    for (n, near) in
        [MACHINE, NETWORK, ("0.0.0.0", 80), ("224.0.0.1", 80), ("203.0.113.1", 80)].iter().enumerate()
    {
        let list = ANNA.whispers(1, vec![int(7), array(vec![array(vec![address(near.0, near.1), nil()])])]);
        let dials = dialled.contains(near).then(|| dials(&format!("$d{n}"), near.0, near.1));
        play = play.step(list, dials.into_iter().collect());
    }
    let list = ANNA.whispers(1, vec![int(7), array(vec![array(vec![address("9.9.9.9", 80), nil()])])]);
    play.step(list, vec![dials("$far", "9.9.9.9", 80)])
}

fn unproven() -> Play {
    Play::new("where ids are not proven nobody is looked for", &["T-81", "L-53"])
        .config("trust_lookups", false)
        .joined(1, &ANNA)
        .step(whisper(1, "9Zoe", vec![str("hello")]), vec![fails(1, "unproven")])
}

/// Peers lists that are none, until it is too much.
fn nonsense(mut play: Play, times: usize) -> Play {
    for _ in 0..times {
        play = play.quiet(ANNA.whispers(1, vec![int(7), str("nonsense")]));
    }
    play.step(
        ANNA.whispers(1, vec![int(7), str("nonsense")]),
        vec![closes(1, "misbehaved"), disconnected(&ANNA, "misbehaved")],
    )
    .without(&ANNA)
}

fn misbehaved() -> Play {
    let play =
        Play::new("a peer that misbehaves is closed, and refused at its address", &["T-64", "T-65", "T-66"])
            .config("forgive_after", 600_000)
            .config("refuse_for", 300_000)
            .joined_from(1, &ANNA, FAR);
    nonsense(play, 19)
        .at(299_000)
        .step(accepted_from(2, FAR), vec![closes(2, "misbehaved")])
        .quiet(accepted_from(3, "8.8.4.4"))
        .at(300_000)
        .step(tick(), vec![])
        .joined_from(4, &ANNA, FAR)
}

fn misbehaved_on_this_machine() -> Play {
    let play = Play::new("many share this machine's address, so nobody is refused there", &["T-65", "T-66"])
        .config("forgive_after", 600_000)
        .joined_from(1, &ANNA, "127.0.0.1");
    nonsense(play, 19).joined_from(2, &ANNA, "127.0.0.1")
}
