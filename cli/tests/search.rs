//! Requests and searches from the command line.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value as Json, json};
use support::{Node, Talk, peernet, run};

fn node(options: &[&str]) -> Node {
    Node::spawn(peernet().args(["node", "--json"]).args(options))
}

fn lines(bytes: &[u8]) -> Vec<Json> {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn an_announcement_is_found() {
    let relay = node(&[]);
    let connect = ["--connect", &relay.address[..]];
    let mut announce = Talk::start(peernet().args(["announce", "colour", "blue", "--json"]).args(connect));
    let listening = announce.line("listening", |line| line.contains("listening"));
    let announcer: Json = serde_json::from_str(&listening).unwrap();
    let search =
        |options: &[&str]| run(&[&["search", "colour", "of the sky"][..], &connect, options].concat(), "");
    let found = search(&["--json", "--count", "1"]);
    assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
    let rows = lines(&found.stdout);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["event"], &rows[0]["data"], &rows[0]["type"]),
        (&json!("found"), &json!("blue"), &json!("colour"))
    );
    assert_eq!((&rows[0]["verified"], &rows[0]["limit"]), (&json!(true), &json!(15)));
    // By way of the relay, unless the two have found each other meanwhile.
    let near = |hops: &Json| hops.as_u64().is_some_and(|hops| hops <= 1);
    assert!(near(&rows[0]["hops"]), "{}", rows[0]);
    assert_eq!(rows[0]["sender"], announcer["id"]);
    let asked = announce.line("a search", |line| line.contains("\"search\""));
    let asked: Json = serde_json::from_str(&asked).unwrap();
    assert!(asked["data"] == "of the sky" && near(&asked["hops"]), "{asked}");
    // For people.
    let found = search(&["--count", "1"]);
    let said = String::from_utf8(found.stdout).unwrap();
    assert!(said.starts_with("blue ") && said.contains(" hop"), "{said}");
    let nothing = run(&[&["search", "taste", "--time", "1"][..], &connect].concat(), "");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing was found"));
    announce.signal("TERM");
    assert!(announce.finish().success());
}

#[test]
fn nobody_is_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = run(&["search", "colour", "--connect", &free], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&free));
    assert_eq!(run(&["search", "colour"], "").status.code(), Some(2));
    let long = "x".repeat(65);
    assert_eq!(run(&["announce", &long, "", "--connect", &free], "").status.code(), Some(2));
}

#[test]
fn programs_ask_and_answer() {
    let (mut a, mut b) = (node(&[]), node(&[]));
    let (a_id, b_id) = (a.id.clone(), b.id.clone());
    a.join(&mut b);
    let reference = b.command(json!({ "do": "request", "peer": a_id, "payload": ["what?", 1.5] }));
    let asked = a.wait("a request", |event| event["event"] == "request");
    assert_eq!((&asked["sender"], &asked["payload"]), (&json!(b_id), &json!(["what?", 1.5])));
    assert_eq!(a.must(json!({ "do": "respond", "to": asked["number"], "payload": ["that"] })), Json::Null);
    assert_eq!(b.answer(reference), Ok(json!({ "payload": ["that"] })));
    let again = a.ask(json!({ "do": "respond", "to": asked["number"], "payload": [] }));
    assert_eq!(again, Err("unknown_number".to_owned()));
    let late = b.ask(json!({ "do": "request", "peer": a_id, "payload": [], "seconds": 0 }));
    assert_eq!(late, Err("timed_out".to_owned()));

    let reference =
        b.command(json!({ "do": "search", "type": "colour", "data": { "$bin": "ff" }, "count": 2 }));
    let asked = a.wait("a search", |event| event["event"] == "search");
    assert_eq!(
        (&asked["type"], &asked["data"], &asked["verified"]),
        (&json!("colour"), &json!({ "$bin": "ff" }), &json!(true))
    );
    for data in ["red", "blue"] {
        assert_eq!(a.must(json!({ "do": "found", "to": asked["number"], "data": data })), Json::Null);
    }
    let rows = b.answer(reference).unwrap();
    assert_eq!(
        (&rows[0]["data"], &rows[1]["data"], &rows[1]["sender"]),
        (&json!("red"), &json!("blue"), &json!(a_id))
    );
}
