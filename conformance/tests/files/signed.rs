//! T-33 to T-46: signed broadcasts, and which of them are new.

use peernet::Value;
use peernet_conformance::json::{hex, parse};
use serde_json::{Value as Json, json};

use crate::pack::{Parts, frame as framed};
use crate::play::*;
use crate::seals::{SECRETS, STAMP, id, keys, parts, protocol, seal, sealed};

pub(crate) fn file() -> String {
    transcript_file_of(
        "tls subnets: signed broadcasts, forged ones, and which are new",
        vec![
            proven(relayed()),
            proven(forged()),
            proven(altered()),
            proven(late()),
            proven(clocks()),
            proven(own()),
        ],
    )
}

/// The keys of the node, and of its neighbours Anna and Bert; nobody else's node id is proven.
const NAMES: [(&str, usize); 3] = [(NODE, 0), (ANNA.id, 1), (BERT.id, 2)];

/// Makes a transcript with short names one of a subnet that proves ids.
pub(crate) fn proven(play: Play) -> Json {
    let mut text = play.done().to_string();
    for (name, n) in NAMES {
        text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", id(n)));
    }
    text = text.replace(&hex(PROTOCOL.as_bytes()), &hex(protocol().as_str().as_bytes()));
    text = text.replace(PROTOCOL, protocol().as_str());
    let mut json = parse(&text).unwrap();
    json["node"]["trust"] = json!({ "secret": SECRETS[0], "signed": true });
    for step in json["steps"].as_array_mut().unwrap() {
        for output in step["expect"].as_array_mut().unwrap() {
            // Each of the node's own messages has another stamp.
            if let Some(send) = output.get_mut("send").and_then(Json::as_object_mut)
                && (send["class"] != "relay" || send["sender"] == str(&id(0)))
            {
                send.remove("time");
            }
        }
    }
    json
}

/// Someone connects and proves the `n`th key.
pub(crate) fn proves(link: u64, n: usize) -> Json {
    json!({ "accepted": { "link": link, "remote": { "key": hex(keys(n).public().as_bytes()) } } })
}

/// Anna and Bert on links 1 and 2, with their keys.
pub(crate) fn two(name: &str, rules: &[&str]) -> Play {
    Play::new(name, rules).joined_by(proves(1, 1), 1, &ANNA).joined_by(proves(2, 2), 2, &BERT)
}

/// A broadcast of Bert, who is the author throughout.
pub(crate) fn says(stamp: i64, text: &str) -> Parts {
    parts(2, 0, STAMP + stamp, vec![Value::Int(0), text.into()])
}

pub(crate) fn arrives(link: u64, parts: &Parts) -> Json {
    frame(link, &framed(&sealed(2, parts)))
}

pub(crate) fn handed_up(link: u64, text: &str) -> Json {
    let mut message = hands_up("broadcast", BERT.id, link, vec![int(0), str(text)]);
    message["message"]["verified"] = true.into();
    message
}

/// The broadcast goes on to Anna, sealed as it is.
fn goes_on(parts: &Parts, text: &str) -> Json {
    json!({ "send": {
        "links": [1], "class": "relay", "type": int(0u8), "sender": str(BERT.id), "time": parts.time,
        "payload": [int(0), str(text)], "sealed": true,
        "id": hex(&peernet::wire::body::digest(&parts.packed())),
    } })
}

fn relayed() -> Play {
    let (first, second) = (says(0, "hello"), says(1, "again"));
    two(
        "a signed broadcast is handed up and relayed with its seal",
        &["T-30", "T-31", "T-33", "T-34", "T-38"],
    )
    .step(arrives(2, &first), vec![goes_on(&first, "hello"), handed_up(2, "hello")])
    // From Anna, who is no author: all others have it.
    .step(arrives(1, &second), vec![handed_up(1, "again")])
    .quiet(arrives(2, &second))
}

fn forged() -> Play {
    let genuine = says(0, "hello");
    let by_anna = [genuine.body(), seal(1, &genuine.packed())].concat();
    two("a broadcast in another's name ends the link that brought it", &["T-32", "T-34", "T-35"])
        .step(frame(1, &framed(&by_anna)), vec![closes(1, "forged"), disconnected(&ANNA, "forged")])
        .step(arrives(2, &genuine), vec![handed_up(2, "hello")])
}

fn altered() -> Play {
    let (genuine, other) = (says(0, "hello"), says(0, "hullo"));
    let moved = [other.body(), seal(2, &genuine.packed())].concat();
    two("so does one that was altered under its seal", &["T-33", "T-34", "T-35"])
        .step(frame(1, &framed(&moved)), vec![closes(1, "forged"), disconnected(&ANNA, "forged")])
}

fn late() -> Play {
    let (first, second, third) = (says(0, "first"), says(1, "second"), says(2, "third"));
    two("copies and late copies are dropped, and nobody is blamed", &["T-36", "T-41", "T-42", "T-43"])
        .config("keep_alive", 1_000_000)
        .step(arrives(1, &second), vec![handed_up(1, "second")])
        .step(arrives(1, &first), vec![handed_up(1, "first")])
        .quiet(arrives(1, &second))
        .quiet(arrives(2, &first))
        .at(119_000)
        .quiet(arrives(1, &second))
        .at(181_000)
        .quiet(arrives(1, &second))
        .quiet(arrives(1, &first))
        .step(arrives(1, &third), vec![handed_up(1, "third")])
}

fn clocks() -> Play {
    let year = 365 * 24 * 3600 * 1_000_000;
    let (past, future) = (says(-year, "last year"), says(year, "next year"));
    two("whatever an author's clock says", &["T-40", "T-43"])
        .step(arrives(1, &past), vec![handed_up(1, "last year")])
        .step(arrives(1, &future), vec![handed_up(1, "next year")])
        .quiet(arrives(1, &past))
}

fn own() -> Play {
    let said = || {
        let mut send = sends(&[1, 2], "own", BROADCAST, vec![int(0), str("hello")]);
        send["send"]["sealed"] = true.into();
        send
    };
    two("own broadcasts are sealed", &["T-32"])
        .step(broadcast(vec![str("hello")]), vec![said()])
        .step(broadcast(vec![str("hello")]), vec![said()])
}
