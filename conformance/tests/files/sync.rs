//! S-41 to S-70: tables where ids are proven, and how two are compared.

use peernet::Value;
use peernet_conformance::json::hex;
use serde_json::{Value as Json, json};

use crate::pack::{Parts, TIME};
use crate::play::*;
use crate::seals::{STAMP, parts};
use crate::signed::{proven, two};

pub(crate) fn file() -> String {
    let of = |leases: bool| {
        move |play: Play| {
            let mut json = proven(play);
            // Whose signature is under what is the affair of other transcripts.
            json["node"]["trust"]["signed"] = false.into();
            json["node"]["table"] = json!({ "leases": leases });
            json
        }
    };
    let leased = [own_writes(), claims(), malformed(), handed_on(), asked_by_nobody_with_a_key()];
    let free = [later_wins()];
    transcript_file_of(
        "sync tables in tls subnets: which version of a key stays, and what neighbours tell each other",
        leased.map(of(true)).into_iter().chain(free.map(of(false))).collect(),
    )
}

const STORE: u64 = 0x0b;
const DIGEST: u64 = 0x12;
const ENTRIES: u64 = 0x13;

fn version(term: u64, claimed: i64, stamp: i64) -> Json {
    array(vec![int(term), int(claimed), int(stamp)])
}

/// Bert, who is the author throughout, writes a number.
fn write(key: &str, value: i64, (term, claimed, stamp): (u64, i64, i64)) -> Parts {
    let version = Value::Array(vec![term.into(), claimed.into(), stamp.into()]);
    parts(2, BROADCAST, stamp, vec![STORE.into(), key.as_bytes().into(), value.into(), version])
}

fn arrives(link: u64, parts: &Parts) -> Json {
    frame(link, &crate::pack::frame(&parts.body()))
}

/// It goes on to Anna.
fn goes_on(parts: &Parts) -> Json {
    json!({ "send": {
        "links": [1], "class": "relay", "type": int(BROADCAST), "sender": str(BERT.id), "time": parts.time,
        "id": hex(&peernet::wire::body::digest(&parts.packed())),
    } })
}

fn changed(key: &str, value: Json, owner: &str, seconds: i64) -> Json {
    let key = hex(key.as_bytes());
    json!({ "changed": { "key": key, "value": value, "owner": owner, "time": TIME + seconds } })
}

fn set(key: &str, value: i64) -> Json {
    json!({ "set": { "key": key, "value": int(value) } })
}

fn refused() -> Json {
    json!({ "refused": { "error": "lease" } })
}

/// The node's own broadcast to both neighbours.
fn own(key: &str, value: Json, version: Json) -> Json {
    sends(&[1, 2], "own", BROADCAST, vec![int(STORE), bin(key), value, version])
}

fn own_writes() -> Play {
    two("own writes carry their version", &["S-40", "S-41", "S-47", "S-48", "S-53"])
        .step(set("k", 5), vec![changed("k", int(5), NODE, 0), own("k", int(5), version(0, STAMP, STAMP))])
        .step(
            set("k", 6),
            vec![changed("k", int(6), NODE, 0), own("k", int(6), version(0, STAMP, STAMP + 1))],
        )
        .step(
            json!({ "delete": { "key": "k" } }),
            vec![changed("k", Json::Null, NODE, 0), own("k", nil(), version(0, STAMP, STAMP + 2))],
        )
        // A deleted key is anyone's, also whose it was.
        .step(
            set("k", 7),
            vec![changed("k", int(7), NODE, 0), own("k", int(7), version(1, STAMP + 3, STAMP + 3))],
        )
}

fn claims() -> Play {
    let year = 365 * 24 * 3600 * 1_000_000;
    let claimed = STAMP - year;
    let first = write("k", 1, (0, claimed, claimed));
    let third = write("k", 3, (0, claimed, claimed + 2));
    let second = write("k", 2, (0, claimed, claimed + 1));
    let later = write("k", 4, (0, claimed + 1, claimed + 9_000_000));
    let next = write("k", 5, (1, claimed, claimed));
    let seconds = claimed.div_euclid(1_000_000) - TIME;
    two("an earlier claim, a later stamp, a higher term", &["S-43", "S-44", "S-45", "S-46", "S-48"])
        .step(arrives(2, &first), vec![goes_on(&first), changed("k", int(1), BERT.id, seconds)])
        .step(set("k", 9), vec![refused()])
        .step(arrives(2, &third), vec![goes_on(&third), changed("k", int(3), BERT.id, seconds)])
        .step(arrives(2, &second), vec![goes_on(&second)])
        .step(arrives(2, &later), vec![goes_on(&later)])
        .step(arrives(2, &next), vec![goes_on(&next), changed("k", int(5), BERT.id, seconds)])
        .step(set("k", 9), vec![refused()])
}

fn later_wins() -> Play {
    let first = write("k", 1, (0, 0, STAMP + 5_000_000));
    let older = write("k", 2, (0, 0, STAMP));
    two("without leases a later stamp is enough", &["S-44", "S-47"])
        .step(arrives(2, &first), vec![goes_on(&first), changed("k", int(1), BERT.id, 5)])
        .step(arrives(2, &older), vec![goes_on(&older)])
        .step(
            set("k", 9),
            vec![changed("k", int(9), NODE, 5), own("k", int(9), version(0, 0, STAMP + 5_000_001))],
        )
}

fn malformed() -> Play {
    let late_claim = write("k", 1, (0, STAMP + 1, STAMP));
    let ahead = write("k", 1, (0, STAMP, STAMP + 11 * 365 * 24 * 3600 * 1_000_000 * 10));
    two("what is no write, or too far ahead, is passed on and not taken", &["S-42", "S-50"])
        .step(arrives(2, &late_claim), vec![goes_on(&late_claim)])
        .step(arrives(2, &ahead), vec![goes_on(&ahead)])
}

fn be(number: usize) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

/// What entries hold: ages and bodies.
fn entries(all: &[(usize, &Parts)]) -> Json {
    let entry = |(age, parts): &(usize, &Parts)| {
        let body = parts.body();
        [&be(*age)[..], &be(body.len()), &body].concat()
    };
    json!({ "bin": hex(&all.iter().flat_map(entry).collect::<Vec<u8>>()) })
}

fn handed_on() -> Play {
    let (old, young) = (write("old", 1, (0, STAMP, STAMP)), write("young", 2, (0, STAMP, STAMP)));
    let given = vec![int(ENTRIES), int(7), entries(&[(3_600, &old), (3_000, &young)])];
    let ours = STAMP + 1;
    let asked =
        vec![int(DIGEST), json!({ "int": "$session" }), int(0), json!("$ranges"), json!({ "bin": "" })];
    two("entries bring writes, their age, and nobody another hour", &["S-49", "S-66", "S-68"])
        .step(
            ANNA.whispers(1, given.clone()),
            vec![
                changed("old", int(1), BERT.id, 0),
                changed("young", int(2), BERT.id, 0),
                control(1, vec![int(ENTRIES), int(7)]),
            ],
        )
        // Again they are nothing new.
        .step(ANNA.whispers(1, given), vec![control(1, vec![int(ENTRIES), int(7)])])
        .step(set("young", 9), vec![refused()])
        .step(
            set("old", 9),
            vec![changed("old", int(9), NODE, 0), own("old", int(9), version(1, ours, ours))],
        )
        // What Anna told, Bert may not know: from a second later on they compare.
        .at(1_000)
        .step(tick(), vec![control(2, asked)])
}

/// A question or an answer.
fn digest(session: Json, role: u64, ranges: Vec<Json>, wanted: &[u8]) -> Vec<Json> {
    vec![int(DIGEST), session, int(role), array(ranges), json!({ "bin": hex(wanted) })]
}

fn list(items: &[u8]) -> Json {
    array(vec![nil(), int(u64::MAX), json!({ "bin": hex(items) })])
}

fn asked_by_nobody_with_a_key() -> Play {
    let held = write("k", 1, (0, STAMP, STAMP));
    let place: [u8; 8] = peernet::wire::body::digest(b"k")[..8].try_into().unwrap();
    let mark: [u8; 8] = peernet::wire::body::digest(&held.packed())[..8].try_into().unwrap();
    let item = [place, mark].concat();
    let unknown = [[1; 8], [2; 8]].concat();
    let none = || list(&[]);
    let given = |receipt: &str| {
        sends(&[1], "own", WHISPER, vec![int(ENTRIES), json!({ "int": receipt }), entries(&[(0, &held)])])
    };
    let rules = ["S-60", "S-61", "S-62", "S-63", "S-64", "S-65", "S-66", "S-67", "S-72"];
    two("a question is answered, and what is lacking given", &rules)
        .step(arrives(2, &held), vec![goes_on(&held), changed("k", int(1), BERT.id, 0)])
        // Who has nothing is given all.
        .step(
            ANNA.whispers(1, digest(int(5), 0, vec![none()], &[])),
            vec![control(1, digest(int(5), 1, vec![], &[])), given("$receipt")],
        )
        .quiet(ANNA.whispers(1, vec![int(ENTRIES), json!({ "int": "$receipt" })]))
        // Who has the same is given nothing; who has another is asked for it.
        .step(
            ANNA.whispers(1, digest(int(6), 0, vec![list(&item)], &[])),
            vec![control(1, digest(int(6), 1, vec![], &[]))],
        )
        .step(
            ANNA.whispers(1, digest(int(7), 0, vec![list(&[&unknown[..], &item].concat())], &[])),
            vec![control(1, digest(int(7), 1, vec![], &[1; 8]))],
        )
        // A sum that is another is answered with a list; and what is wanted is given.
        .step(
            ANNA.whispers(1, digest(int(8), 0, vec![array(vec![nil(), int(u64::MAX), int(1), int(1)])], &[])),
            vec![control(1, digest(int(8), 1, vec![list(&item)], &[]))],
        )
        .step(
            ANNA.whispers(1, digest(int(8), 0, vec![], &place)),
            vec![control(1, digest(int(8), 1, vec![], &[])), given("$another")],
        )
        // An answer to nothing, and the acknowledgement of nothing.
        .quiet(ANNA.whispers(1, digest(int(9), 1, vec![none()], &[])))
        .quiet(ANNA.whispers(1, vec![int(ENTRIES), int(12_345)]))
}
