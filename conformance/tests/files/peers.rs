//! C-20 to C-25, C-34 and C-35: peers lists.

use serde_json::{Value as Json, json};

use crate::play::*;

pub(crate) fn file() -> String {
    let mut plays = vec![
        named_by_dialect(),
        forms(),
        without_address(),
        asked_for(),
        requests_that_are_none(),
        read(),
        forms_read(),
        useless_entries(),
        malformed(),
        thousand(),
        as_many_as_allowed(),
        dialled_in_turn(),
        failed(),
        none_wanted(),
        remembered(),
        full(),
    ];
    plays.extend(known_ones());
    transcript_file("peers lists: what they name, who is told, and what is dialled of them", plays)
}

fn names(peer: &Peer, link: u64, entries: Vec<Json>) -> Json {
    peer.whispers(link, vec![int(7), array(entries)])
}

fn named_by_dialect() -> Play {
    let rules = ["C-20", "C-21", "C-22"];
    Play::new("no js2p is named to a py2p, nor the reverse", &rules)
        .joined(1, &PYTHON)
        .joined(2, &SCRIPT)
        .joined(3, &ANNA)
        .joined(4, &GREAT_PYTHON)
        .joined(5, &GREAT_SCRIPT)
        .joined(6, &BERT)
}

fn forms() -> Play {
    Play::new("the one who is told is not named", &["C-21", "C-22"])
        .joined(1, &ANNA)
        .at(5_000)
        .step(ANNA.whispers(1, vec![int(8), bin("*")]), vec![peers_list(1, vec![])])
}

fn without_address() -> Play {
    let mut payload = ANNA.introduction();
    payload[3] = nil();
    let mut welcome = Play::new("", &[]).welcome(1, &ANNA);
    welcome[3]["connected"]["address"] = Json::Null;
    Play::new("a neighbour without an address is not named", &["C-8", "C-22"])
        .quiet(accepted(1))
        .step(ANNA.whispers(1, payload), welcome)
        .joined(2, &BERT)
}

fn asked_for() -> Play {
    let play = Play::new("peers are asked for, as str and as bin", &["C-24", "L-20", "W-27"])
        .joined(1, &ANNA)
        .joined(2, &PYTHON);
    let list = vec![ANNA.entry()];
    play.quiet(PYTHON.whispers(2, vec![int(8), bin("*")]))
        .at(999)
        .quiet(PYTHON.whispers(2, vec![int(8), bin("*")]))
        .at(1_000)
        .step(PYTHON.whispers(2, vec![int(8), str("*")]), vec![peers_list(2, list.clone())])
        .step(ANNA.whispers(1, vec![int(8), str("*")]), vec![peers_list(1, vec![PYTHON.entry()])])
        .at(1_999)
        .quiet(PYTHON.whispers(2, vec![int(8), str("*")]))
        .at(2_000)
        .step(PYTHON.whispers(2, vec![int(8), bin("*")]), vec![peers_list(2, list)])
}

fn requests_that_are_none() -> Play {
    let mut play = Play::new("requests that ask for nothing are dropped", &["C-24", "C-57", "W-28"])
        .joined(1, &ANNA)
        .at(3_000);
    for payload in [
        vec![int(8)],
        vec![int(8), str("+")],
        vec![int(8), nil()],
        vec![int(8), array(vec![str("*")])],
        vec![int(8), str("*"), nil(), nil()],
    ] {
        play = play.quiet(ANNA.whispers(1, payload));
    }
    play.step(ANNA.whispers(1, vec![int(8), str("*")]), vec![peers_list(1, vec![])])
}

fn read() -> Play {
    Play::new("whoever is named is dialled", &["C-23", "C-34", "C-35"])
        .joined(1, &ANNA)
        .step(
            names(&ANNA, 1, vec![BERT.entry(), CARA.entry()]),
            vec![json!({ "unordered": [
                dials("$bert", BERT.host, BERT.port),
                dials("$cara", CARA.host, CARA.port),
            ] })],
        )
        .step(dialled(2, "$cara"), vec![own_handshake(2)])
        .step(CARA.shakes_hands(2), {
            let mut all = vec![agrees(2, &[ZLIB, GZIP], Some(ZLIB)), peers_list(2, vec![ANNA.entry()])];
            all.push(connected(&CARA, 2));
            all
        })
        // Both are being dialled or linked: naming them again does nothing.
        .quiet(names(&ANNA, 1, vec![BERT.entry(), CARA.entry()]))
}

fn forms_read() -> Play {
    let odd = array(vec![array(vec![bin(BERT.host), int(BERT.port)]), bin(BERT.id)]);
    Play::new("hosts and ids are read as bin too", &["C-23", "W-27"])
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, vec![odd]), vec![dials("$bert", BERT.host, BERT.port)])
}

fn known_ones() -> Vec<Play> {
    let (host, port) = ADDRESS;
    [
        ("the node itself, by its id", array(vec![address("127.0.0.99", 4099), str(NODE)])),
        ("the node itself, by its id as bin", array(vec![address("127.0.0.99", 4099), bin(NODE)])),
        ("the node itself, by its address", array(vec![address(host, port), str("4Else")])),
        ("a neighbour, by its id", array(vec![address("127.0.0.99", 4099), str(BERT.id)])),
        ("a neighbour, by its id as bin", array(vec![address("127.0.0.99", 4099), bin(BERT.id)])),
    ]
    .into_iter()
    .map(|(name, entry)| {
        Play::new(&format!("who is named is {name}"), &["C-23"])
            .joined(1, &ANNA)
            .joined(2, &BERT)
            .quiet(names(&ANNA, 1, vec![entry]))
    })
    .collect()
}

fn useless_entries() -> Play {
    let entries = vec![
        nil(),
        int(5),
        array(vec![]),
        array(vec![CARA.address()]),
        array(vec![CARA.address(), str(CARA.id), nil()]),
        array(vec![nil(), str(CARA.id)]),
        array(vec![array(vec![nil(), nil()]), str(CARA.id)]),
        array(vec![address("a b", 4004), str(CARA.id)]),
        array(vec![address("127.0.0.4", 0), str(CARA.id)]),
        // No id, or one that is none, but an address.
        array(vec![BERT.address(), nil()]),
        array(vec![CARA.address(), str("0")]),
    ];
    Play::new("entries that are of no use are passed over, the others used", &["C-23", "C-8"])
        .joined(1, &ANNA)
        .step(
            names(&ANNA, 1, entries),
            vec![json!({ "unordered": [
            dials("$bert", BERT.host, BERT.port),
            dials("$cara", CARA.host, CARA.port),
        ] })],
        )
}

fn malformed() -> Play {
    let mut play = Play::new("lists that are none are dropped", &["C-57", "W-28", "C-21"]).joined(1, &ANNA);
    for payload in [
        vec![int(7)],
        vec![int(7), nil()],
        vec![int(7), str("127.0.0.1")],
        vec![int(7), json!({ "map": [] })],
        vec![int(7), array(vec![BERT.entry()]), nil()],
    ] {
        play = play.quiet(ANNA.whispers(1, payload));
    }
    play.step(names(&ANNA, 1, vec![BERT.entry()]), vec![dials("$bert", BERT.host, BERT.port)])
}

fn thousand() -> Play {
    let mut entries = vec![nil(); 999];
    entries.extend([BERT.entry(), CARA.entry()]);
    Play::new("of 1,001 entries the last is not read", &["C-23", "L-22"])
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, entries), vec![dials("$bert", BERT.host, BERT.port)])
}

/// Entries for addresses `127.0.1.n:5000 + n`.
fn crowd(numbers: std::ops::Range<u16>) -> Vec<Json> {
    numbers
        .map(|n| array(vec![address(&format!("127.0.1.{n}"), 5000 + n), str(&format!("4Crowd{}", n + 100))]))
        .collect()
}

/// One of those addresses, whichever.
fn dials_one_of(dial: &str, numbers: std::ops::Range<u16>) -> Json {
    let choices: Vec<Json> = numbers.map(|n| json!([format!("127.0.1.{n}"), 5000 + n])).collect();
    json!({ "dial": { "dial": dial, "address": { "one_of": choices } } })
}

fn as_many_as_allowed() -> Play {
    let crowd_of = |names: [&str; 4]| names.into_iter().map(|name| dials_one_of(name, 1..9)).collect();
    Play::new("no more than four links of its own making", &["C-35", "L-11"])
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, crowd(1..9)), crowd_of(["$a", "$b", "$c", "$d"]))
        .quiet(names(&ANNA, 1, crowd(1..9)))
        .step(dial_failed("$b"), vec![dials_one_of("$e", 1..9)])
        .step(dialled(2, "$c"), vec![own_handshake(2)])
        .at(10_000)
        // Its handshake does not come in time.
        .step(tick(), vec![closes(2, "handshake_timeout"), dials_one_of("$f", 1..9)])
}

fn dialled_in_turn() -> Play {
    let bert = |link| {
        vec![
            agrees(link, &[ZLIB, GZIP], Some(ZLIB)),
            peers_list(link, vec![ANNA.entry()]),
            connected(&BERT, link),
        ]
    };
    Play::new("when a link of its own making ends, another address is dialled", &["C-35", "L-11"])
        .config("max_outgoing", 1)
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, vec![BERT.entry()]), vec![dials("$bert", BERT.host, BERT.port)])
        .quiet(names(&ANNA, 1, vec![CARA.entry()]))
        .step(dialled(2, "$bert"), vec![own_handshake(2)])
        .step(BERT.shakes_hands(2), bert(2))
        .step(link_down(2), vec![disconnected(&BERT, "remote"), dials("$cara", CARA.host, CARA.port)])
}

fn failed() -> Play {
    Play::new("a learned address that fails is dialled again only when it is named again", &["C-35", "C-34"])
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, vec![BERT.entry()]), vec![dials("$bert", BERT.host, BERT.port)])
        .quiet(dial_failed("$bert"))
        .at(25_000)
        .quiet(tick())
        .step(names(&ANNA, 1, vec![BERT.entry()]), vec![dials("$again", BERT.host, BERT.port)])
}

fn none_wanted() -> Play {
    Play::new("with max_outgoing 0 no learned address is dialled", &["L-11"])
        .config("max_outgoing", 0)
        .joined(1, &ANNA)
        .quiet(names(&ANNA, 1, vec![BERT.entry(), CARA.entry()]))
}

fn remembered() -> Play {
    Play::new("of one peer, a sixteenth of the book is remembered", &["C-34", "L-18", "K-31"])
        .config("max_outgoing", 1)
        .config("book_addresses", 48)
        .joined(1, &ANNA)
        .step(names(&ANNA, 1, crowd(1..2)), vec![dials_one_of("$a", 1..2)])
        // Its own address has a share of it too.
        .quiet(names(&ANNA, 1, crowd(2..3)))
        .quiet(names(&ANNA, 1, crowd(3..4)))
        .step(dial_failed("$a"), vec![dials_one_of("$b", 2..3)])
        .quiet(dial_failed("$b"))
}

fn full() -> Play {
    Play::new("with the table of neighbours full, no learned address is dialled", &["C-35", "L-10"])
        .config("max_peers", 1)
        .joined(1, &ANNA)
        .quiet(names(&ANNA, 1, vec![BERT.entry()]))
        .step(link_down(1), vec![disconnected(&ANNA, "remote"), dials("$bert", BERT.host, BERT.port)])
}
