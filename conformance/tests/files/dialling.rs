//! C-30 to C-36, and the program's connect, disconnect and close.

use serde_json::json;

use crate::play::*;

pub(crate) fn file() -> String {
    transcript_file(
        "what the program dials, how long it is kept up, and how it ends",
        vec![
            fails_at_once(),
            fails_and_goes_on(),
            pauses(),
            longest_pause(),
            again_after_a_break(),
            pauses_begin_anew(),
            pauses_go_on(),
            closed_before_the_handshake(),
            stands_already(),
            stands_under_another_id(),
            disconnected_for_good(),
            disconnected_accepted(),
            disconnected_while_waiting(),
            not_a_neighbour(),
            closed(),
            closed_while_dialling(),
            after_the_end(),
            not_bounded(),
        ],
    )
}

fn persists(token: u64, target: &str) -> serde_json::Value {
    json!({ "connect": { "token": token, "target": target, "persist": true } })
}

fn dials_anna(dial: &str) -> Vec<serde_json::Value> {
    vec![dials(dial, ANNA.host, ANNA.port)]
}

fn fails_at_once() -> Play {
    Play::new("a first dial that fails is not tried again", &["C-30", "C-32"])
        .step(connect(1, &ANNA.at()), dials_anna("$dial"))
        .at(2_000)
        .step(dial_failed("$dial"), vec![fails(1, "connect")])
        .at(300_000)
        .quiet(tick())
}

fn fails_and_goes_on() -> Play {
    Play::new("unless the program wants that", &["C-32", "C-33"])
        .step(persists(1, &ANNA.at()), dials_anna("$dial"))
        .at(2_000)
        .step(dial_failed("$dial"), vec![fails(1, "connect"), redials(ANNA.host, ANNA.port, 500)])
        .at(2_249)
        .quiet(tick())
        .at(2_500)
        .step(tick(), dials_anna("$dial"))
}

fn pauses() -> Play {
    let mut play = Play::new("pauses double from one failure to the next", &["C-33", "L-15"])
        .step(persists(1, &ANNA.at()), dials_anna("$dial"))
        .step(dial_failed("$dial"), vec![fails(1, "connect"), redials(ANNA.host, ANNA.port, 500)]);
    let mut at = 0;
    for pause in [500, 1_000, 2_000, 4_000, 8_000] {
        at += pause / 2 - 1;
        play = play.at(at).quiet(tick());
        at += pause / 2 + 1;
        play = play
            .at(at)
            .step(tick(), dials_anna("$dial"))
            .step(dial_failed("$dial"), vec![redials(ANNA.host, ANNA.port, 2 * pause)]);
    }
    play
}

fn longest_pause() -> Play {
    let mut play = Play::new("up to the longest", &["C-33", "L-16"])
        .config("redial_max", 1_500)
        .step(persists(1, &ANNA.at()), dials_anna("$dial"))
        .step(dial_failed("$dial"), vec![fails(1, "connect"), redials(ANNA.host, ANNA.port, 500)]);
    for (at, next) in [(500, 1_000), (1_500, 1_500), (3_000, 1_500), (4_500, 1_500)] {
        play = play
            .at(at)
            .step(tick(), dials_anna("$dial"))
            .step(dial_failed("$dial"), vec![redials(ANNA.host, ANNA.port, next)]);
    }
    play
}

/// Anna comes back on another link; nobody is told of a command.
fn back(play: Play, link: u64) -> Play {
    let mut welcome = play.settled(link, &ANNA);
    welcome.push(connected(&ANNA, link));
    play.step(dialled(link, "$dial1"), vec![own_handshake(link)]).step(ANNA.shakes_hands(link), welcome)
}

fn again_after_a_break() -> Play {
    let play = Play::new("what stood once is dialled again when it breaks", &["C-32", "C-33"])
        .dialled(1, 1, &ANNA)
        .at(10_000)
        .step(link_down(1), vec![disconnected(&ANNA, "remote"), redials(ANNA.host, ANNA.port, 500)])
        .without(&ANNA)
        .at(10_500)
        .step(tick(), dials_anna("$dial1"));
    back(play, 2)
}

/// A link that was made after two failures ends after so many milliseconds.
fn stood(name: &str, for_ms: u64, pause: u64) -> Play {
    let play = Play::new(name, &["C-33", "L-16"])
        .config("redial_max", 5_000)
        .dialled(1, 1, &ANNA)
        .step(link_down(1), vec![disconnected(&ANNA, "remote"), redials(ANNA.host, ANNA.port, 500)])
        .without(&ANNA)
        .at(500)
        .step(tick(), dials_anna("$dial1"))
        .step(dial_failed("$dial1"), vec![redials(ANNA.host, ANNA.port, 1_000)])
        .at(1_500)
        .step(tick(), dials_anna("$dial1"));
    back(play, 2)
        .at(1_500 + for_ms)
        .step(link_down(2), vec![disconnected(&ANNA, "remote"), redials(ANNA.host, ANNA.port, pause)])
}

fn pauses_begin_anew() -> Play {
    stood("a link that stood for long sets the pauses back to the beginning", 5_000, 500)
}

fn pauses_go_on() -> Play {
    stood("one that stood for less does not", 4_999, 2_000)
}

fn closed_before_the_handshake() -> Play {
    Play::new("a link that ends before its handshake has failed", &["C-30", "C-32"])
        .step(connect(1, &ANNA.at()), dials_anna("$dial"))
        .step(dialled(1, "$dial"), vec![own_handshake(1)])
        .step(link_down(1), vec![fails(1, "connect")])
        .at(300_000)
        .quiet(tick())
}

fn stands_already() -> Play {
    Play::new("a neighbour's address is not dialled, but kept up from now on", &["C-30", "C-32"])
        .joined(1, &ANNA)
        .step(connect(1, &ANNA.at()), vec![done(1, ANNA.id)])
        .step(connect(2, &format!("{}@{}", ANNA.id, ANNA.at())), vec![done(2, ANNA.id)])
        .at(10_000)
        .step(
            link_down(1),
            vec![json!({ "unordered": [
                disconnected(&ANNA, "remote"),
                redials(ANNA.host, ANNA.port, 500),
                redials(ANNA.host, ANNA.port, 500),
            ] })],
        )
}

fn stands_under_another_id() -> Play {
    Play::new("a neighbour's address is dialled if another id is demanded", &["C-30"])
        .joined(1, &ANNA)
        .step(connect(1, &format!("{}@{}", BERT.id, ANNA.at())), dials_anna("$dial"))
}

fn disconnected_for_good() -> Play {
    Play::new("what the program disconnects is not dialled again", &["C-36", "C-32"])
        .dialled(1, 1, &ANNA)
        .step(disconnect(2, &ANNA), vec![closes(1, "local"), disconnected(&ANNA, "local"), done(2, ANNA.id)])
        .quiet(link_down(1))
        .at(300_000)
        .quiet(tick())
}

fn disconnected_accepted() -> Play {
    Play::new("who dialled can be disconnected too", &["C-36"])
        .joined(1, &ANNA)
        .joined(2, &BERT)
        .step(disconnect(1, &ANNA), vec![closes(1, "local"), disconnected(&ANNA, "local"), done(1, ANNA.id)])
        .quiet(ANNA.whispers(1, vec![int(2), str("too late")]))
        .step(
            broadcast(vec![str("who is left?")]),
            vec![sends(&[2], "own", BROADCAST, vec![int(0), str("who is left?")])],
        )
}

fn disconnected_while_waiting() -> Play {
    Play::new("a node that is to be dialled again is not, once it is disconnected", &["C-36", "C-32"])
        .step(
            json!({ "connect": { "token": 1, "target": format!("{}@{}", ANNA.id, ANNA.at()), "persist": true } }),
            dials_anna("$dial"),
        )
        .step(dial_failed("$dial"), vec![fails(1, "connect"), redials(ANNA.host, ANNA.port, 500)])
        .step(disconnect(2, &ANNA), vec![fails(2, "not_connected")])
        .at(300_000)
        .quiet(tick())
}

fn not_a_neighbour() -> Play {
    Play::new("who is no neighbour cannot be disconnected", &["C-36"])
        .joined(1, &ANNA)
        .step(disconnect(1, &BERT), vec![fails(1, "not_connected")])
}

fn closed() -> Play {
    Play::new("a node that closes ends every link", &["C-32", "C-36", "C-56"])
        .joined(1, &ANNA)
        .dialled(1, 2, &BERT)
        .quiet(accepted(3))
        .step(
            json!({ "close": {} }),
            vec![
                closes(1, "local"),
                disconnected(&ANNA, "local"),
                closes(2, "local"),
                disconnected(&BERT, "local"),
                closes(3, "local"),
            ],
        )
        .at(300_000)
        .quiet(tick())
}

fn closed_while_dialling() -> Play {
    Play::new("a node that closes answers whoever waits", &["C-32", "C-40"])
        .config("trust_lookups", true)
        .joined(1, &ANNA)
        .step(connect(1, &BERT.at()), vec![dials("$dial", BERT.host, BERT.port)])
        .step(
            whisper(2, "9Zoe", vec![str("hello")]),
            [str("9Zoe"), bin("9Zoe")]
                .map(|wanted| sends(&[1], "own", BROADCAST, vec![int(8), str("$request"), wanted]))
                .to_vec(),
        )
        .step(
            json!({ "close": {} }),
            vec![fails(1, "closed"), fails(2, "closed"), closes(1, "local"), disconnected(&ANNA, "local")],
        )
        // The connection that was under way comes all the same.
        .step(dialled(2, "$dial"), vec![closes(2, "local")])
}

fn after_the_end() -> Play {
    Play::new("a node that is closed takes part no more", &["C-56"])
        .quiet(json!({ "close": {} }))
        .step(accepted(1), vec![closes(1, "local")])
        .step(connect(1, &ANNA.at()), vec![fails(1, "closed")])
        .quiet(broadcast(vec![str("hello")]))
}

fn not_bounded() -> Play {
    let play = Play::new("what the program dials counts, and is not bounded", &["L-11", "C-35"])
        .config("max_outgoing", 1)
        .dialled(1, 1, &ANNA)
        .step(connect(2, &BERT.at()), vec![dials("$dial2", BERT.host, BERT.port)]);
    play.quiet(ANNA.whispers(1, vec![int(7), array(vec![CARA.entry()])]))
}
