//! M-1 to M-16.

use peernet::wire::body::digest;
use peernet_conformance::json::hex;
use serde_json::{Value as Json, json};

use crate::pack::{TIME, body, frame as framed};
use crate::play::*;
use crate::streams::{Blocks, gzip};

pub(crate) fn file() -> String {
    transcript_file(
        "broadcasts: to whom they go, and that they are heard once",
        vec![
            own(),
            own_alone(),
            relayed(),
            by_author(),
            alone(),
            once(),
            same_content(),
            echo(),
            stamps(),
            stamps_by_the_clock(),
            replayed(),
            unknown(),
            handed_up(),
            no_author(),
            forms(),
            same_bytes(),
            late_neighbour(),
        ],
    )
}

/// Anna, Bert and Cara on links 1 to 3.
fn three(name: &str, rules: &[&str]) -> Play {
    Play::new(name, rules).joined(1, &ANNA).joined(2, &BERT).joined(3, &CARA)
}

fn says(text: &str) -> Vec<Json> {
    vec![int(0), str(text)]
}

fn own() -> Play {
    three("an own broadcast goes to all neighbours", &["M-1", "M-14", "M-15", "W-18"])
        .at(2_500)
        .step(
            broadcast(vec![str("hello"), int(5)]),
            vec![sends(&[1, 2, 3], "own", BROADCAST, vec![int(0), str("hello"), int(5)])],
        )
        .step(broadcast(vec![]), vec![sends(&[1, 2, 3], "own", BROADCAST, vec![int(0)])])
}

fn own_alone() -> Play {
    Play::new("an own broadcast goes to nobody, and is not kept", &["M-16"])
        .quiet(broadcast(vec![str("hello")]))
        .joined(1, &ANNA)
}

fn relayed() -> Play {
    let input = ANNA.says(1, BROADCAST, 0, says("from anna"));
    let other = BERT.says(2, BROADCAST, 0, says("from bert"));
    three("a broadcast goes on to all but the neighbour that brought it", &["M-2", "M-9", "M-12"])
        .step(
            input.clone(),
            vec![relays(&[2, 3], &input), hands_up("broadcast", ANNA.id, 1, says("from anna"))],
        )
        .step(
            other.clone(),
            vec![relays(&[1, 3], &other), hands_up("broadcast", BERT.id, 2, says("from bert"))],
        )
}

fn by_author() -> Play {
    let by_cara = message(1, BROADCAST, str(CARA.id), TIME, says("by cara"));
    let far = message(1, BROADCAST, str("9Far"), TIME, says("from far away"));
    three("nor to its author, whoever brought it", &["M-2", "M-12", "I-11"])
        .step(
            by_cara.clone(),
            vec![relays(&[2], &by_cara), hands_up("broadcast", CARA.id, 1, says("by cara"))],
        )
        .step(
            far.clone(),
            vec![relays(&[2, 3], &far), hands_up("broadcast", "9Far", 1, says("from far away"))],
        )
}

fn alone() -> Play {
    Play::new("with one neighbour there is nobody to go on to", &["M-2"]).joined(1, &ANNA).step(
        message(1, BROADCAST, str("9Far"), TIME, says("x")),
        vec![hands_up("broadcast", "9Far", 1, says("x"))],
    )
}

fn once() -> Play {
    let input = |link| message(link, BROADCAST, str("9Far"), TIME, says("x"));
    three("a broadcast that is known is dropped, whoever brings it", &["M-3", "M-5", "M-7", "M-13"])
        .step(input(1), vec![relays(&[2, 3], &input(1)), hands_up("broadcast", "9Far", 1, says("x"))])
        .quiet(input(1))
        .quiet(input(2))
        .quiet(input(3))
}

fn same_content() -> Play {
    let first = ANNA.says(1, BROADCAST, 0, says("again"));
    let second = ANNA.says(1, BROADCAST, 1, says("again"));
    let bert = BERT.says(2, BROADCAST, 0, says("again"));
    three(
        "the same content is another message at another time, or of another author",
        &["I-12", "M-7", "M-15"],
    )
    .step(first.clone(), vec![relays(&[2, 3], &first), hands_up("broadcast", ANNA.id, 1, says("again"))])
    .step(second.clone(), vec![relays(&[2, 3], &second), hands_up("broadcast", ANNA.id, 1, says("again"))])
    .step(bert.clone(), vec![relays(&[1, 3], &bert), hands_up("broadcast", BERT.id, 2, says("again"))])
    .quiet(first)
    .quiet(second)
}

fn echo() -> Play {
    three("an own broadcast that comes back is dropped", &["M-4", "I-11"])
        .step(broadcast(vec![str("hello")]), vec![sends(&[1, 2, 3], "own", BROADCAST, says("hello"))])
        .quiet(message(1, BROADCAST, str(NODE), TIME, says("hello")))
        .quiet(message(2, BROADCAST, bin(NODE), TIME, says("hello, as bin")))
        .quiet(message(3, BROADCAST, str(NODE), TIME, says("never said")))
}

fn stamps() -> Play {
    let mut play = three("stamps over a minute off are dropped", &["M-6", "L-40", "W-19"]);
    for (seconds, text) in [(-61, "a"), (61, "b"), (-TIME, "c"), (i64::MAX - TIME, "d")] {
        play = play.quiet(ANNA.says(1, BROADCAST, seconds, says(text)));
    }
    for (seconds, text) in [(-60, "e"), (60, "f")] {
        let input = ANNA.says(1, BROADCAST, seconds, says(text));
        let up = hands_up("broadcast", ANNA.id, 1, says(text));
        play = play.step(input.clone(), vec![relays(&[2, 3], &input), up]);
    }
    play.quiet(message(1, BROADCAST, str(ANNA.id), i64::MIN, says("g")))
}

fn stamps_by_the_clock() -> Play {
    let input = ANNA.says(1, BROADCAST, 65, says("from the future"));
    Play::new("what is too new now is taken when its time has come", &["M-6"])
        .joined(1, &ANNA)
        .quiet(input.clone())
        .at(4_999)
        .quiet(input.clone())
        .at(5_000)
        .step(input, vec![hands_up("broadcast", ANNA.id, 1, says("from the future"))])
}

fn replayed() -> Play {
    let input = |link| message(link, BROADCAST, str("9Far"), TIME + 60, says("once"));
    let alive = |play: Play, at: u64| play.at(at).quiet(ANNA.whispers(1, vec![int(4)]));
    let mut play = Play::new(
        "a copy is dropped as long as its stamp would be taken, and then for its stamp",
        &["M-5", "M-6", "M-7"],
    )
    .joined(1, &ANNA)
    .step(input(1), vec![hands_up("broadcast", "9Far", 1, says("once"))]);
    for at in (20_000..=120_000).step_by(20_000) {
        play = alive(play, at).quiet(input(1));
    }
    play.at(121_000).quiet(input(1)).at(140_000).quiet(input(1))
}

fn unknown() -> Play {
    let mut play = three("a broadcast goes on whatever its code", &["M-10", "M-12", "W-22"]);
    for (n, payload) in [
        vec![],
        vec![nil()],
        vec![str("0"), str("x")],
        vec![int(-1)],
        vec![int(0x01), codes(&[])],
        vec![int(0x05), str("x")],
        vec![int(0x07), array(vec![])],
        vec![int(0x09)],
        vec![int(0x0b), bin("key"), str("value")],
        vec![int(0x11), bin("key"), json!({ "map": [] })],
        vec![int(0x30)],
    ]
    .into_iter()
    .enumerate()
    {
        let input = ANNA.says(1, BROADCAST, n as i64, payload);
        play = play.step(input.clone(), vec![relays(&[2, 3], &input)]);
    }
    play
}

fn handed_up() -> Play {
    let mut play = three("what programs say is handed up", &["M-12", "W-31"]);
    for payload in [
        vec![int(0)],
        vec![int(0), nil(), json!({ "map": [[str("k"), array(vec![])]] })],
        vec![int(2), str("under a whisper's code")],
        vec![int(0x31), str("a hook's")],
        vec![int(u64::MAX)],
    ] {
        let input = ANNA.says(1, BROADCAST, 0, payload.clone());
        let up = hands_up("broadcast", ANNA.id, 1, payload);
        play = play.step(input.clone(), vec![relays(&[2, 3], &input), up]);
    }
    play
}

fn no_author() -> Play {
    let mut play = three("a broadcast whose sender is no node id is dropped", &["M-11", "I-10"]);
    let long = "4".repeat(129);
    for sender in [str(""), bin(""), str("no id"), bin("0"), json!({ "bin": "ff" }), str(&long), bin(&long)] {
        play = play.quiet(message(1, BROADCAST, sender, TIME, says("x")));
    }
    play
}

fn forms() -> Play {
    let as_bin = message(1, BROADCAST, bin("9Far"), TIME, says("x"));
    let as_str = message(1, BROADCAST, str("9Far"), TIME, says("x"));
    let up = || hands_up("broadcast", "9Far", 1, says("x"));
    three("an author's id is read in both forms, and stays in its form", &["W-18", "M-9", "I-11"])
        .step(as_bin.clone(), vec![relays(&[2, 3], &as_bin), up()])
        // Other bytes are another message.
        .step(as_str.clone(), vec![relays(&[2, 3], &as_str), up()])
        .quiet(as_bin)
        .quiet(as_str)
}

fn same_bytes() -> Play {
    // Every part in a longer form than needed, as js2p may write it.
    let wide =
        [&b"\xdd\0\0\0\x05\xcc\0\xda\0\x049Far\xd3"[..], &TIME.to_be_bytes(), b"\xd1\0\0\xca\x3f\xc0\0\0"]
            .concat();
    let id = hex(&digest(&wide));
    let payload = vec![int(0), json!({ "float64": "3ff8000000000000" })];
    let relay = json!({ "send": {
        "links": [2, 3], "class": "relay", "type": int(0), "sender": str("9Far"), "time": TIME,
        "payload": payload, "id": id,
    } });
    let mut up = hands_up("broadcast", "9Far", 1, payload);
    up["message"]["id"] = id.into();
    three(
        "a broadcast goes on in the bytes in which it came, however it was compressed",
        &["M-9", "W-15", "I-12"],
    )
    .step(frame(1, &framed(&gzip(&body(&wide), Blocks::Fixed))), vec![relay, up])
    .quiet(frame(2, &framed(&body(&wide))))
}

fn late_neighbour() -> Play {
    let input = ANNA.says(1, BROADCAST, 0, says("x"));
    Play::new("who comes later is told nothing of what was said before", &["M-2", "M-3"])
        .joined(1, &ANNA)
        .joined(2, &BERT)
        .step(input.clone(), vec![relays(&[2], &input), hands_up("broadcast", ANNA.id, 1, says("x"))])
        .joined(3, &CARA)
        .quiet(message(3, BROADCAST, str(ANNA.id), TIME, says("x")))
}
