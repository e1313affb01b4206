//! Makes the suite's files, and checks that those in the repository are what it makes. To write them
//! anew after a change here: `PEERNET_WRITE_VECTORS=1 cargo test -p libpeernet-conformance --test files`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod book;
mod broadcast;
mod compression;
mod dialling;
mod double;
mod frames;
mod handshake;
mod ids;
mod joining;
mod link;
mod lookup;
mod messages;
mod pack;
mod peers;
mod play;
mod requests;
mod seals;
mod signed;
mod streams;
mod sync;
mod table;
mod trust;
mod values;

use std::path::Path;

use peernet_conformance::json::{expand, hex, parse, to_value, to_values};
use serde_json::Value as Json;

/// What makes each file's content.
type Maker = fn() -> String;

const FILES: [(&str, Maker); 20] = [
    ("vectors/values.json", values::file),
    ("vectors/messages.json", messages::file),
    ("vectors/frames.json", frames::file),
    ("vectors/compression.json", compression::file),
    ("vectors/ids.json", ids::file),
    ("transcripts/handshake.json", handshake::file),
    ("transcripts/double.json", double::file),
    ("transcripts/peers.json", peers::file),
    ("transcripts/link.json", link::file),
    ("transcripts/broadcast.json", broadcast::file),
    ("transcripts/lookup.json", lookup::file),
    ("transcripts/dialling.json", dialling::file),
    ("transcripts/trust.json", trust::file),
    ("vectors/seals.json", seals::file),
    ("transcripts/signed.json", signed::file),
    ("transcripts/joining.json", joining::file),
    ("transcripts/table.json", table::file),
    ("transcripts/sync.json", sync::file),
    ("transcripts/requests.json", requests::file),
    ("transcripts/book.json", book::file),
];

#[test]
fn the_files_are_what_is_made_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = std::env::var_os("PEERNET_WRITE_VECTORS").is_some();
    for (name, make) in FILES {
        let made = make();
        let path = root.join(name);
        if write {
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == made, "{name} differs from what the generator makes; see the top of this test");
    }
}

/// The generator's own writer of messages makes the very frames that the released implementations do.
#[test]
fn the_generator_writes_what_0_7_writes() {
    let golden = parse(include_str!("../../vectors/p2p-today-0.7.json")).unwrap();
    let vectors = golden["encode"].as_array().unwrap();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let parts = pack::Parts {
            kind: to_value(&vector["type"]).unwrap(),
            sender: to_value(&vector["sender"]).unwrap(),
            time: vector["time"].as_i64().unwrap(),
            payload: to_values(vector["payload"].as_array().unwrap()).unwrap(),
        };
        assert_eq!(hex(&pack::frame(&parts.body())), vector["frame"].as_str().unwrap(), "{}", vector["name"]);
    }
}

#[test]
fn what_is_squeezed_expands_again() {
    let json: Json = serde_json::json!({
        "frame": format!("00{}ff", "55".repeat(100)),
        "str": "x".repeat(65536),
        "list": vec![Json::Null; 40],
        "nested": [{ "bin": "ab".repeat(64) }, 1, 2],
    });
    let small = pack::squeeze(&json, "");
    assert!(small.to_string().len() < 300);
    assert_eq!(expand(&small).unwrap(), json);
}
