//! S-4 to S-25: tables by the rules of 0.7.

use peernet_conformance::json::hex;
use serde_json::{Value as Json, json};

use crate::pack::TIME;
use crate::play::*;

pub(crate) fn file() -> String {
    let leased = [
        own_writes(),
        others_writes(),
        leases(),
        ties(),
        deltas(),
        deletes(),
        malformed(),
        pairs_given(),
        pairs_taken(),
        deleted_pairs(),
        hidden_text(),
        mixed_owners(),
        copies(),
    ];
    let free = [later_wins()];
    let of = |leases: bool| {
        move |play: Play| {
            let mut json = play.done();
            json["node"]["table"] = json!({ "leases": leases });
            json
        }
    };
    transcript_file_of(
        "sync tables of 0.7: which writes are taken, who is told, and what ends links of py2p and js2p",
        leased.map(of(true)).into_iter().chain(free.map(of(false))).collect(),
    )
}

const STORE: u64 = 0x0b;
const DELTA: u64 = 0x11;

fn map(pairs: &[(&str, i32)]) -> Json {
    let pairs: Vec<Json> = pairs.iter().map(|(key, value)| json!([str(key), int(*value)])).collect();
    json!({ "map": pairs })
}

fn set(key: &str, value: Json) -> Json {
    json!({ "set": { "key": key, "value": value } })
}

fn delta(key: &str, value: Json) -> Json {
    json!({ "delta": { "key": key, "value": value } })
}

fn delete(key: &str) -> Json {
    json!({ "delete": { "key": key } })
}

/// A broadcast of the table, by anyone.
fn writes(link: u64, author: Json, seconds: i64, code: u64, key: Json, value: Json) -> Json {
    message(link, BROADCAST, author, TIME + seconds, vec![int(code), key, value])
}

fn stores(link: u64, author: &Peer, seconds: i64, key: &str, value: Json) -> Json {
    writes(link, writer(author), seconds, STORE, bin(key), value)
}

/// Who wrote, in the form in which it says so.
fn writer(author: &Peer) -> Json {
    if author.dialect == Dialect::Js2p { str(author.id) } else { bin(author.id) }
}

/// The node's own broadcast.
fn own(links: &[u64], code: u64, key: &str, value: Json) -> Json {
    let mut send = sends(links, "own", BROADCAST, vec![int(code), bin(key), value]);
    send["send"]["sender"] = bin(NODE);
    send
}

/// A pair of the node's table, told to one neighbour.
fn tells(link: u64, class: &str, key: &str, value: Json, owner: Json, seconds: i64) -> Json {
    let mut send =
        sends(&[link], class, WHISPER, vec![int(STORE), bin(key), value, owner, int(TIME + seconds)]);
    send["send"]["sender"] = bin(NODE);
    send
}

/// A pair that a neighbour tells.
fn pair(link: u64, by: &Peer, key: Json, value: Json, owner: Json, seconds: i64) -> Json {
    by.whispers(link, vec![int(STORE), key, value, owner, int(TIME + seconds)])
}

fn changed(key: &str, value: Json, owner: &str, seconds: i64) -> Json {
    json!({ "changed": {
        "key": hex(key.as_bytes()), "value": value, "owner": owner, "time": TIME + seconds,
    } })
}

fn refused(error: &str) -> Json {
    json!({ "refused": { "error": error } })
}

/// Anna on link 1, a py2p on link 2 and a js2p on link 3, and nobody who minds how long it takes.
fn three(name: &str, rules: &[&str]) -> Play {
    Play::new(name, rules)
        .config("keep_alive", 10_000_000)
        .joined(1, &ANNA)
        .joined(2, &PYTHON)
        .joined(3, &SCRIPT)
}

/// The same in a moment in which the clock has gone on.
fn at(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap() * 1000
}

fn own_writes() -> Play {
    three(
        "own writes go to everyone, with the sender as bytes",
        &["S-1", "S-4", "S-5", "S-6", "S-9", "S-10", "S-11"],
    )
    .step(set("k", int(5)), vec![own(&[1, 2, 3], STORE, "k", int(5)), changed("k", int(5), NODE, 0)])
    .step(set("k", nil()), vec![refused("nil")])
    .step(delta("k", map(&[("a", 1)])), vec![refused("not_a_map")])
    .step(
        delta("m", map(&[("a", 1)])),
        vec![own(&[1, 2, 3], DELTA, "m", map(&[("a", 1)])), changed("m", map(&[("a", 1)]), NODE, 0)],
    )
    .step(
        delta("m", map(&[("b", 2), ("a", 3)])),
        vec![
            own(&[1, 2, 3], DELTA, "m", map(&[("b", 2), ("a", 3)])),
            changed("m", map(&[("a", 3), ("b", 2)]), NODE, 0),
        ],
    )
    .step(delta("m", int(5)), vec![refused("not_a_map")])
    // It is a mesh too.
    .step(broadcast(vec![int(7)]), vec![sends(&[1, 2, 3], "own", BROADCAST, vec![int(0u8), int(7)])])
}

fn others_writes() -> Play {
    let by_py = stores(2, &PYTHON, 0, "p", int(1));
    let by_js = stores(3, &SCRIPT, 0, "j", int(2));
    let by_str = writes(1, str(ANNA.id), 0, STORE, str("s"), int(3));
    three("others' writes are relayed and taken, whatever the forms", &["S-1", "S-4", "S-5", "S-8"])
        .step(by_py.clone(), vec![relays(&[1, 3], &by_py), changed("p", int(1), PYTHON.id, 0)])
        .step(by_js.clone(), vec![relays(&[1, 2], &by_js), changed("j", int(2), SCRIPT.id, 0)])
        .step(by_str.clone(), vec![relays(&[2, 3], &by_str), changed("s", int(3), ANNA.id, 0)])
        .step(set("p", int(4)), vec![refused("lease")])
        .step(delete("j"), vec![refused("lease")])
        .step(delta("s", map(&[])), vec![refused("not_a_map")])
}

fn leases() -> Play {
    let (last, free) = (3_600, 3_601);
    let first = stores(2, &PYTHON, 0, "k", int(1));
    let again = writes(2, str(PYTHON.id), 1, STORE, bin("k"), int(2));
    let early = stores(1, &ANNA, last + 1, "k", int(3));
    let late = stores(1, &ANNA, free + 1, "k", int(4));
    three("a key is its owner's for an hour from its last write", &["S-8", "S-11", "S-14"])
        .step(first.clone(), vec![relays(&[1, 3], &first), changed("k", int(1), PYTHON.id, 0)])
        .at(1_000)
        .step(again.clone(), vec![relays(&[1, 3], &again), changed("k", int(2), PYTHON.id, 1)])
        .at(at(last + 1))
        .step(early.clone(), vec![relays(&[2, 3], &early)])
        .step(set("k", int(5)), vec![refused("lease")])
        .at(at(free + 1))
        .step(late.clone(), vec![relays(&[2, 3], &late), changed("k", int(4), ANNA.id, free + 1)])
        .step(
            set("own", int(6)),
            vec![own(&[1, 2, 3], STORE, "own", int(6)), changed("own", int(6), NODE, free + 1)],
        )
        .at(at(2 * free + 2))
        .step(
            set("k", int(7)),
            vec![own(&[1, 2, 3], STORE, "k", int(7)), changed("k", int(7), NODE, 2 * free + 2)],
        )
}

fn ties() -> Play {
    // Of the same second: 4Anna is less than 5Node, 6Pyth more.
    let less = stores(1, &ANNA, 0, "k", int(2));
    let more = stores(2, &GREAT_PYTHON, 0, "k", int(3));
    Play::new("of two in the same second the smaller owner has it", &["S-8", "S-11", "S-14"])
        .joined(1, &ANNA)
        .joined(2, &GREAT_PYTHON)
        .step(set("k", int(1)), vec![own(&[1, 2], STORE, "k", int(1)), changed("k", int(1), NODE, 0)])
        .step(more.clone(), vec![relays(&[1], &more)])
        .step(
            less.clone(),
            vec![
                relays(&[2], &less),
                json!({ "superseded": { "key": hex(b"k"), "by": ANNA.id } }),
                changed("k", int(2), ANNA.id, 0),
            ],
        )
        .step(set("k", int(4)), vec![refused("lease")])
}

fn deltas() -> Play {
    let by = |seconds: i64, key: &str, map: Json| writes(2, writer(&PYTHON), seconds, DELTA, bin(key), map);
    let (first, second) = (by(0, "m", map(&[("a", 1)])), by(1, "m", map(&[("b", 2)])));
    let (no_map, unfit) = (by(0, "m", int(5)), by(0, "k", map(&[("a", 1)])));
    let foreign = writes(1, writer(&ANNA), 2, DELTA, bin("m"), map(&[("c", 3)]));
    three(
        "a delta merges maps, and reaches nobody whose link it ends",
        &["S-8", "S-9", "S-14", "S-22", "S-25"],
    )
    .step(first.clone(), vec![relays(&[1, 3], &first), changed("m", map(&[("a", 1)]), PYTHON.id, 0)])
    .step(no_map.clone(), vec![relays(&[1], &no_map)])
    .step(set("k", int(5)), vec![own(&[1, 2, 3], STORE, "k", int(5)), changed("k", int(5), NODE, 0)])
    .step(unfit.clone(), vec![relays(&[1], &unfit)])
    .at(1_000)
    .step(
        second.clone(),
        vec![relays(&[1, 3], &second), changed("m", map(&[("a", 1), ("b", 2)]), PYTHON.id, 1)],
    )
    .step(foreign.clone(), vec![relays(&[2, 3], &foreign)])
}

fn deletes() -> Play {
    let none = stores(1, &ANNA, 0, "x", nil());
    let theirs = stores(2, &PYTHON, 0, "k", nil());
    let first = stores(2, &PYTHON, 0, "k", int(1));
    let next = stores(1, &ANNA, 0, "k", int(2));
    three("a delete frees the key, and never reaches a js2p", &["S-4", "S-10", "S-14", "S-21", "S-25"])
        .step(
            set("own", int(1)),
            vec![own(&[1, 2, 3], STORE, "own", int(1)), changed("own", int(1), NODE, 0)],
        )
        .step(delete("own"), vec![own(&[1, 2], STORE, "own", nil()), changed("own", Json::Null, NODE, 0)])
        .step(delete("own"), vec![refused("absent")])
        .step(none.clone(), Vec::new())
        .step(first.clone(), vec![relays(&[1, 3], &first), changed("k", int(1), PYTHON.id, 0)])
        .step(theirs.clone(), vec![relays(&[1], &theirs), changed("k", Json::Null, PYTHON.id, 0)])
        .step(next.clone(), vec![relays(&[2, 3], &next), changed("k", int(2), ANNA.id, 0)])
}

fn malformed() -> Play {
    let says = |payload: Vec<Json>| message(2, BROADCAST, PYTHON.own_id(), TIME, payload);
    let wrong = [
        says(vec![int(STORE)]),
        says(vec![int(STORE), bin("k")]),
        says(vec![int(STORE), int(5), int(6)]),
        says(vec![int(STORE), array(vec![]), int(6)]),
        says(vec![int(STORE), bin("k"), int(1), bin(PYTHON.id), int(TIME)]),
        says(vec![int(DELTA), nil(), map(&[])]),
        says(vec![int(DELTA), bin("k"), map(&[]), int(1)]),
    ];
    let mut play = three("what is no write of a table reaches no 0.7 neighbour", &["S-7", "S-22", "S-25"]);
    for input in wrong {
        play = play.step(input.clone(), vec![relays(&[1], &input)]);
    }
    for payload in [
        vec![int(STORE), bin("k"), int(1)],
        vec![int(STORE), bin("k"), nil(), bin(PYTHON.id), int(TIME)],
        vec![int(STORE), bin("k"), int(1), bin("0"), int(TIME)],
        vec![int(STORE), bin("k"), int(1), bin(PYTHON.id), str("now")],
        vec![int(STORE), int(1), int(1), bin(PYTHON.id), int(TIME)],
    ] {
        play = play.quiet(PYTHON.whispers(2, payload));
    }
    play
}

fn pairs_given() -> Play {
    let by_js = stores(1, &SCRIPT, 0, "j", int(2));
    let by_py = stores(1, &PYTHON, 0, "p", int(3));
    let joins = |play: Play, link: u64, peer: &Peer| {
        let mut welcome = play.welcome(link, peer);
        welcome.extend([
            tells(link, "own", "j", int(2), str(SCRIPT.id), 0),
            tells(link, "own", "own", int(1), bin(NODE), 0),
            tells(link, "own", "p", int(3), bin(PYTHON.id), 0),
        ]);
        play.quiet(accepted(link)).step(peer.shakes_hands(link), welcome)
    };
    let play =
        Play::new("whoever joins is told every pair, owners in the form they came in", &["S-15", "S-20"])
            .joined(1, &ANNA)
            .step(set("own", int(1)), vec![own(&[1], STORE, "own", int(1)), changed("own", int(1), NODE, 0)])
            .step(by_js, vec![changed("j", int(2), SCRIPT.id, 0)])
            .step(by_py, vec![changed("p", int(3), PYTHON.id, 0)]);
    joins(play, 2, &BERT)
}

fn pairs_taken() -> Play {
    let hour_ago = -7_200;
    let new = pair(3, &SCRIPT, str("k"), int(1), str(SCRIPT.id), hour_ago);
    let known = pair(2, &PYTHON, bin("k"), int(2), bin(PYTHON.id), 0);
    let near = pair(2, &PYTHON, bin("near"), int(3), bin(CARA.id), 60);
    let ahead = pair(2, &PYTHON, bin("far"), int(3), bin(CARA.id), 61);
    three("pairs are taken where there is no value, and handed on", &["S-5", "S-16", "S-17", "S-18"])
        .step(
            new,
            vec![
                tells(1, "relay", "k", int(1), str(SCRIPT.id), hour_ago),
                tells(2, "relay", "k", int(1), str(SCRIPT.id), hour_ago),
                changed("k", int(1), SCRIPT.id, hour_ago),
            ],
        )
        .quiet(known)
        .step(
            near,
            vec![
                tells(1, "relay", "near", int(3), bin(CARA.id), 60),
                tells(3, "relay", "near", int(3), bin(CARA.id), 60),
                changed("near", int(3), CARA.id, 60),
            ],
        )
        .quiet(ahead)
}

fn deleted_pairs() -> Play {
    let first = stores(2, &PYTHON, 0, "k", int(1));
    let gone = stores(2, &PYTHON, 2, "k", nil());
    let told = |seconds: i64| pair(3, &SCRIPT, str("k"), int(1), bin(PYTHON.id), seconds);
    three("what was deleted is not brought back by those who have not heard", &["S-19", "S-21"])
        .step(first.clone(), vec![relays(&[1, 3], &first), changed("k", int(1), PYTHON.id, 0)])
        .at(2_000)
        .step(gone.clone(), vec![relays(&[1], &gone), changed("k", Json::Null, PYTHON.id, 2)])
        .quiet(told(0))
        .quiet(told(2))
        .step(
            told(3),
            vec![
                tells(1, "relay", "k", int(1), bin(PYTHON.id), 3),
                tells(2, "relay", "k", int(1), bin(PYTHON.id), 3),
                changed("k", int(1), PYTHON.id, 3),
            ],
        )
}

fn hidden_text() -> Play {
    let hidden = map(&[("toString", 1)]);
    let by_py = stores(2, &PYTHON, 0, "p", map(&[("a", 1), ("__proto__", 2)]));
    let told = pair(2, &PYTHON, bin("q"), hidden.clone(), bin(PYTHON.id), 0);
    three("a map that hides its text never reaches a js2p", &["S-23"])
        .step(
            set("k", hidden.clone()),
            vec![own(&[1, 2], STORE, "k", hidden.clone()), changed("k", hidden.clone(), NODE, 0)],
        )
        .step(
            by_py.clone(),
            vec![relays(&[1], &by_py), changed("p", map(&[("a", 1), ("__proto__", 2)]), PYTHON.id, 0)],
        )
        .step(
            told,
            vec![
                tells(1, "relay", "q", hidden.clone(), bin(PYTHON.id), 0),
                changed("q", hidden, PYTHON.id, 0),
            ],
        )
}

fn mixed_owners() -> Play {
    let by_js = stores(3, &SCRIPT, 0, "k", int(1));
    let by_anna = writes(1, bin(ANNA.id), 0, STORE, bin("k"), int(2));
    let later = writes(1, bin(CARA.id), 1, STORE, bin("k"), int(3));
    three("py2p is spared owners that it cannot order", &["S-8", "S-24"])
        .step(by_js.clone(), vec![relays(&[1, 2], &by_js), changed("k", int(1), SCRIPT.id, 0)])
        .step(by_anna.clone(), vec![relays(&[3], &by_anna), changed("k", int(2), ANNA.id, 0)])
        .at(1_000)
        .step(later.clone(), vec![relays(&[2, 3], &later)])
}

fn copies() -> Play {
    let mut play = three("an own write that would be a copy is stamped ahead, and then waits", &["S-12"]);
    for (ahead, value) in [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)] {
        let mut send = own(&[1, 2, 3], STORE, "k", int(value));
        send["send"]["time"] = (TIME + ahead).into();
        play = play.step(set("k", int(value)), vec![send, changed("k", int(value), NODE, ahead)]);
    }
    play.step(set("k", int(1)), vec![refused("repeated")])
}

fn later_wins() -> Play {
    let first = stores(2, &PYTHON, 0, "k", int(1));
    let same = stores(1, &BERT, 0, "k", int(2));
    let merged = writes(1, writer(&BERT), -5, DELTA, bin("m"), map(&[("b", 2)]));
    let mine = own(&[1, 2, 3], STORE, "k", int(3));
    let mut mine_later = mine;
    mine_later["send"]["time"] = (TIME + 1).into();
    let ahead = stores(2, &PYTHON, 30, "far", int(1));
    three("without leases the later write wins, and a delta always", &["S-8", "S-12", "S-14"])
        .step(first.clone(), vec![relays(&[1, 3], &first), changed("k", int(1), PYTHON.id, 0)])
        .step(same.clone(), vec![relays(&[2, 3], &same)])
        .step(set("k", int(3)), vec![mine_later, changed("k", int(3), NODE, 1)])
        .step(
            set("m", map(&[("a", 1)])),
            vec![own(&[1, 2, 3], STORE, "m", map(&[("a", 1)])), changed("m", map(&[("a", 1)]), NODE, 0)],
        )
        .step(
            merged.clone(),
            vec![
                relays(&[2, 3], &merged),
                json!({ "superseded": { "key": hex(b"m"), "by": BERT.id } }),
                changed("m", map(&[("a", 1), ("b", 2)]), BERT.id, -5),
            ],
        )
        .step(ahead.clone(), vec![relays(&[1, 3], &ahead), changed("far", int(1), PYTHON.id, 30)])
        .step(set("far", int(2)), vec![refused("lease")])
}
