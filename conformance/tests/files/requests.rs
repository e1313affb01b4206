//! requests, and searches that come by.

use peernet_conformance::json::hex;
use serde_json::{Value as Json, json};

use crate::play::*;
use crate::seals::{STAMP, keys, parts};
use crate::signed::{proven, two};

pub(crate) fn file() -> String {
    transcript_file_of(
        "tls subnets: requests and their answers, and searches",
        vec![
            proven(asks()),
            proven(is_refused()),
            proven(waits_no_longer()),
            proven(answers()),
            proven(malformed()),
            proven(passes_on()),
        ],
    )
}

const ASK: u64 = 0x14;
const ANSWER: u64 = 0x15;
const SEARCH: u64 = 0x16;
const FOUND: u64 = 0x17;

fn ask(token: u64, to: &Peer, timeout: u64) -> Json {
    json!({ "ask": { "token": token, "to": to.id, "payload": [str("what?")], "timeout": timeout } })
}

fn asked(number: u64) -> Vec<Json> {
    vec![int(ASK), int(number), str("what?")]
}

fn asks() -> Play {
    let answer = |number: u64, text: &str| vec![int(ANSWER), int(number), int(0u8), str(text)];
    two("a request is answered by whom it went to", &["R-1", "R-2", "R-3"])
        .step(ask(1, &ANNA, 5000), vec![sends(&[1], "own", WHISPER, asked(1))])
        .step(ask(2, &BERT, 5000), vec![sends(&[2], "own", WHISPER, asked(2))])
        // Neither is anything to the other.
        .quiet(BERT.whispers(2, answer(1, "a lie")))
        .quiet(ANNA.whispers(1, answer(7, "nothing")))
        .step(
            ANNA.whispers(1, answer(1, "that")),
            vec![json!({ "answered": { "token": 1, "payload": answer(1, "that") } })],
        )
        .quiet(ANNA.whispers(1, answer(1, "again")))
}

fn is_refused() -> Play {
    let mut play = two("a request that gets a word instead of an answer fails at once", &["R-2"]);
    for (token, word) in [(1, 1_u8), (2, 2), (3, 3), (4, 77)] {
        play = play.step(ask(token, &ANNA, 5000), vec![sends(&[1], "own", WHISPER, asked(token))]).step(
            ANNA.whispers(1, vec![int(ANSWER), int(token), int(word)]),
            vec![fails(token, "unanswered")],
        );
    }
    play
}

fn waits_no_longer() -> Play {
    two("a request ends with its time, or with the link to its addressee", &["R-4"])
        .step(ask(1, &ANNA, 5000), vec![sends(&[1], "own", WHISPER, asked(1))])
        .step(ask(2, &BERT, 9000), vec![sends(&[2], "own", WHISPER, asked(2))])
        .at(4999)
        .quiet(tick())
        .at(5000)
        .step(tick(), vec![fails(1, "timed_out")])
        .quiet(ANNA.whispers(1, vec![int(ANSWER), int(1u8), int(0u8)]))
        .step(link_down(2), vec![fails(2, "unanswered"), disconnected(&BERT, "remote")])
        .without(&BERT)
}

fn heard(number: u64, peer: &Peer) -> Json {
    json!({ "asked": { "number": number, "peer": peer.id, "payload": asked(number) } })
}

fn answers() -> Play {
    let answer = |number: u64, with: (&str, Json)| json!({ "answer": { "number": number, "peer": ANNA.id, with.0: with.1 } });
    let said = |number: u64, text: &str| vec![int(ANSWER), int(number), int(0u8), str(text)];
    two("what others ask is handed up, and answered or refused", &["R-2", "R-5", "R-6"])
        .config("max_requests_per_peer", 2)
        .step(ANNA.whispers(1, asked(1)), vec![heard(1, &ANNA)])
        .step(ANNA.whispers(1, asked(9)), vec![heard(9, &ANNA)])
        .step(ANNA.whispers(1, asked(10)), vec![control(1, vec![int(ANSWER), int(10u8), int(3u8)])])
        .step(BERT.whispers(2, asked(9)), vec![heard(9, &BERT)])
        .step(
            answer(9, ("payload", json!([str("that")]))),
            vec![sends(&[1], "own", WHISPER, said(9, "that"))],
        )
        .quiet(answer(9, ("payload", json!([str("again")]))))
        .step(
            answer(1, ("refusal", json!("dropped"))),
            vec![control(1, vec![int(ANSWER), int(1u8), int(2u8)])],
        )
        .step(ANNA.whispers(1, asked(1)), vec![heard(1, &ANNA)])
        .step(
            answer(1, ("refusal", json!("not_taken"))),
            vec![control(1, vec![int(ANSWER), int(1u8), int(1u8)])],
        )
}

fn malformed() -> Play {
    two("what is no request and no answer is dropped", &["R-7"])
        .quiet(ANNA.whispers(1, vec![int(ASK)]))
        .quiet(ANNA.whispers(1, vec![int(ASK), str("1")]))
        .quiet(ANNA.whispers(1, vec![int(ANSWER), int(1u8)]))
        .step(ANNA.whispers(1, asked(1)), vec![heard(1, &ANNA)])
        .quiet(ANNA.whispers(1, asked(1)))
}

/// A note of the `n`th key's, and its message id.
fn note(n: usize, payload: Vec<peernet::Value>) -> (Vec<u8>, Vec<u8>) {
    let parts = parts(n, WHISPER, STAMP, payload);
    let packed = parts.packed();
    let digest = peernet::wire::body::digest(&packed).to_vec();
    let signed = [&b"peernet note"[..], &digest].concat();
    let seal = [keys(n).public().as_bytes().to_vec(), keys(n).sign(&signed).to_vec()].concat();
    ([digest.clone(), packed, seal].concat(), digest)
}

fn bytes(bytes: &[u8]) -> Json {
    json!({ "bin": hex(bytes) })
}

fn passes_on() -> Play {
    let bin = |text: &str| peernet::Value::from(text.as_bytes());
    let question = |limit: u64| vec![SEARCH.into(), bin("id"), bin("type"), bin("data"), limit.into()];
    let (asked, digest) = note(2, question(2));
    let (last, _) = note(2, question(1));
    let found = [&[FOUND.into(), peernet::Value::Bin(digest.clone())], &question(2)[1..]].concat();
    let (row, _) = note(1, found);
    let shown = |payload: Vec<Json>, verified: bool| json!({ "searched": { "hops": 0, "sender": BERT.id, "verified": verified, "payload": payload } });
    let payload = |limit: u8| {
        vec![
            int(SEARCH),
            super::play::bin("id"),
            super::play::bin("type"),
            super::play::bin("data"),
            int(limit),
        ]
    };
    let searches = |hops: u8, note: &[u8]| vec![int(SEARCH), int(hops), bytes(note)];
    let finds = |hops: u8| vec![int(FOUND), int(hops), bytes(&digest), bytes(&row)];
    two("a question goes on, and what is found comes back", &["R-20", "R-21", "R-22", "R-24", "R-25"])
        // Of Bert's, so that only Anna has not had it.
        .step(
            BERT.whispers(2, searches(0, &asked)),
            vec![sends(&[1], "relay", WHISPER, searches(1, &asked)), shown(payload(2), true)],
        )
        .quiet(ANNA.whispers(1, searches(1, &asked)))
        .step(BERT.whispers(2, searches(0, &last)), vec![shown(payload(1), true)])
        .step(ANNA.whispers(1, finds(0)), vec![sends(&[2], "relay", WHISPER, finds(1))])
        .at(10_000)
        .quiet(ANNA.whispers(1, finds(0)))
}
