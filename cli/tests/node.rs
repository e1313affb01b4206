//! `peernet node` as other programs see it: real processes over loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value as Json, json};
use support::{Node, PATIENCE, Talk, peernet, run};

fn is_error(event: &Json) -> bool {
    event["event"] == "error"
}

/// A port that nobody listens on, at a loopback address that no other test uses.
fn free_address(host: &str) -> String {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn every_kind_of_value_is_broadcast_and_not_echoed() {
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    assert_eq!(a.protocol, "EpAmyZWv9rZUKmjQgU3FTUD4GrJHvVEXizmghVBc8eGD");
    b.join(&mut a);
    let payload = json!([
        null, true, false, 0, 1, 1.0, -1, -0.5, 9007199254740992_i64, {"$int": "9007199254740993"},
        {"$int": "18446744073709551615"}, {"$int": "-9223372036854775808"}, 5e-324, 1e300,
        {"$float64": "7ff0000000000000"}, {"$float64": "7ff8000000000000"}, "", "é🙂\u{0}\"\\\n",
        {"$bin": ""}, {"$bin": "00ff"}, [], [[1], {}], {"z": 1, "a": {"$bin": "01"}},
        {"$map": [[1, "one"], [null, []]]}, {"$map": [["$bin", 1]]},
    ]);
    let sent = a.must(json!({"do": "broadcast", "payload": payload}));
    assert_eq!(sent["links"], 1);
    let got = b.message();
    assert_eq!(got["payload"].to_string(), payload.to_string());
    assert_eq!((&got["kind"], &got["id"], &got["sender"]), (&json!("broadcast"), &sent["id"], &json!(a.id)));
    assert!(got["time"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(got["verified"], json!(false), "plaintext proves nothing");

    b.must(json!({"do": "broadcast", "payload": ["back"]}));
    assert_eq!(a.message()["payload"], json!(["back"]), "the first that it hears is not its own");
}

/// T-38
#[test]
fn programs_are_told_what_is_proven() {
    for options in [&[][..], &["--unsigned"]] {
        let start = || Node::spawn(peernet().args(["node", "--json"]).args(options));
        let (mut a, mut b) = (start(), start());
        a.join(&mut b);
        a.must(json!({"do": "broadcast", "payload": ["to all"]}));
        assert_eq!(b.message()["verified"], json!(options.is_empty()));
        a.must(json!({"do": "send", "peer": b.id, "payload": ["to you"]}));
        assert_eq!(b.message()["verified"], json!(true));
    }
}

/// Joining rules in a subnet that proves ids: a ban says why the link went, and keeps it away.
#[test]
fn whoever_is_banned_is_gone_until_the_ban_is_lifted() {
    let start = |options: &[&str]| Node::spawn(peernet().args(["node", "--json"]).args(options));
    let mut guest = start(&[]);
    let mut host = start(&["--allow", &guest.id]);
    guest.join(&mut host);
    let mut stranger = start(&[]);
    let uninvited = json!({"do": "connect", "address": host.address});
    assert_eq!(stranger.ask(uninvited), Err("connect".to_owned()));

    host.must(json!({"do": "ban", "peer": guest.id, "seconds": 3600}));
    assert_eq!(host.disconnected(&guest.id)["reason"], "banned");
    let bans = host.must(json!({"do": "bans"}));
    assert_eq!(bans[0]["peer"], json!(guest.id));
    assert!(bans[0]["until"].as_i64().unwrap() > 1_700_000_000);
    let again = json!({"do": "connect", "address": guest.address});
    assert_eq!(host.ask(again.clone()), Err("connect".to_owned()));

    host.must(json!({"do": "unban", "peer": guest.id}));
    assert_eq!(host.must(json!({"do": "bans"})), json!([]));
    assert_eq!(host.must(again), json!({"peer": guest.id}));

    let mut plain = Node::start(&[]);
    let ban = json!({"do": "ban", "peer": guest.id, "seconds": 1});
    assert_eq!(plain.ask(ban), Err("config".to_owned()));
}

#[test]
fn messages_come_behind_connected() {
    let mut a = Node::start(&[]);
    let mut b = Node::start(&["--connect", &a.address.clone()]);
    b.connected(&a.id);
    b.must(json!({"do": "broadcast", "payload": [1]}));
    let first = a.next_event().unwrap();
    assert_eq!((&first["event"], &first["peer"]), (&json!("connected"), &json!(b.id)));
    assert_eq!(first["address"], json!(b.address));
    assert_eq!(a.next_event().unwrap()["event"], "message");
}

#[test]
fn send_and_reply_between_neighbours() {
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    a.join(&mut b);
    let sent = a.must(json!({"do": "send", "peer": b.id, "payload": ["you alone"]}));
    let got = b.message();
    assert_eq!((&got["kind"], &got["id"]), (&json!("whisper"), &sent["id"]));
    let back = b.must(json!({"do": "reply", "to": got["id"], "payload": ["and you"]}));
    let got = a.message();
    assert_eq!((&got["kind"], &got["id"], &got["sender"]), (&json!("whisper"), &back["id"], &json!(b.id)));
    assert_eq!(got["payload"], json!(["and you"]));

    let nobody = "1".repeat(64);
    let unknown = json!({"do": "reply", "to": "0".repeat(64), "payload": []});
    assert_eq!(a.ask(unknown), Err("unknown_message".to_owned()));
    assert_eq!(a.ask(json!({"do": "disconnect", "peer": nobody})), Err("not_connected".to_owned()));
    let mut alone = Node::start(&[]);
    let far = json!({"do": "send", "peer": nobody, "payload": []});
    assert_eq!(alone.ask(far.clone()), Err("unproven".to_owned()));
    let mut trusting = Node::start(&["--trust-lookups"]);
    assert_eq!(trusting.ask(far), Err("unreachable".to_owned()));
}

/// A door to an address: closes at once on whoever knocks, and tells of it, until it is opened.
struct Door {
    address: String,
    open: Arc<AtomicBool>,
    knocks: Receiver<()>,
}

impl Door {
    fn new(host: &str) -> (Self, impl FnOnce(String)) {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, (knock, knocks)) = (Arc::new(AtomicBool::new(false)), channel());
        let door = Self { address, open: open.clone(), knocks };
        let serve = move |target: String| {
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if open.load(Ordering::SeqCst) {
                        let inner = TcpStream::connect(&target).unwrap();
                        carry(stream.try_clone().unwrap(), inner.try_clone().unwrap());
                        carry(inner, stream);
                    } else {
                        drop(stream);
                        let _ = knock.send(());
                    }
                }
            });
        };
        (door, serve)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[test]
fn reply_to_a_node_two_hops_away() {
    // Nodes dial whom their neighbours name, so a line of three becomes a triangle; here the far end
    // is behind a door that opens only when that was tried.
    let (door, serve) = Door::new("127.11.0.1");
    let mut a = Node::start(&["--advertise", &door.address]);
    serve(a.address.clone());
    let (mut b, mut c) = (Node::start(&[]), Node::start(&["--trust-lookups"]));
    a.join(&mut b);
    c.join(&mut b);
    door.knocks.recv_timeout(PATIENCE).expect("c tries to reach a by itself");
    let sent = a.must(json!({"do": "broadcast", "payload": ["who is there?"]}));
    let got = c.message();
    assert_eq!((&got["id"], &got["sender"]), (&sent["id"], &json!(a.id)));
    assert_eq!(c.peers(), [b.id.as_str()]);

    door.open.store(true, Ordering::SeqCst);
    let back = c.must(json!({"do": "reply", "to": got["id"], "payload": ["c is"]}));
    let got = a.message();
    assert_eq!((&got["id"], &got["sender"]), (&back["id"], &json!(c.id)));
    assert_eq!(got["kind"], "whisper");
    c.connected(&a.id);
}

#[test]
fn connections_that_must_not_be() {
    let mut a = Node::start(&[]);
    let other = Node::start(&["--subnet", "other"]);
    assert_ne!(a.protocol, other.protocol);
    let refused = free_address("127.11.0.2");
    let alike = Node::start(&[]);
    let wrong_id = format!("{}@{}", other.id, alike.address);
    for address in [&other.address, &wrong_id, &refused, &a.address.clone()] {
        let answer = a.ask(json!({"do": "connect", "address": address}));
        assert_eq!(answer, Err("connect".to_owned()), "{address}");
    }
    for address in ["nowhere", "host:", "0O@127.0.0.1:1"] {
        let answer = a.ask(json!({"do": "connect", "address": address}));
        assert_eq!(answer, Err("address".to_owned()), "{address}");
    }
    assert!(a.peers().is_empty());
}

#[test]
fn with_an_id_only_that_node_will_do() {
    let (mut a, b, mut c) = (Node::start(&[]), Node::start(&[]), Node::start(&[]));
    let target = |id: &str| json!({"do": "connect", "address": format!("{id}@{}", c.address)});
    let (wrong, right) = (target(&b.id), target(&c.id));
    assert_eq!(a.ask(wrong), Err("connect".to_owned()));
    assert_eq!(a.must(right), json!({"peer": c.id}));
    c.connected(&a.id);
}

#[test]
fn connect_options_fail_without_ref_and_are_tried_again() {
    let address = free_address("127.11.0.3");
    let other = Node::start(&["--subnet", "other"]);
    let mut a = Node::start(&["--connect", &address, "--connect", &other.address]);
    for target in [&address, &other.address] {
        let error = a.wait("an error about it", |event| {
            is_error(event) && event["error"].as_str().unwrap().contains(target.as_str())
        });
        assert_eq!((error.get("ref"), &error["code"]), (None, &json!("connect")));
    }
    let b = Node::start(&["--listen", &address]);
    assert_eq!(b.address, address);
    a.connected(&b.id);
}

#[test]
fn a_broken_link_is_dialled_again_and_a_released_one_is_not() {
    let address = free_address("127.11.0.4");
    let first = Node::start(&["--listen", &address]);
    let mut a = Node::start(&[]);
    a.must(json!({"do": "connect", "address": address}));
    a.connected(&first.id);
    let gone = first.id.clone();
    drop(first);
    a.disconnected(&gone);
    let mut second = Node::start(&["--listen", &address]);
    a.connected(&second.id);
    second.connected(&a.id);

    assert_eq!(a.must(json!({"do": "disconnect", "peer": second.id})), Json::Null);
    assert_eq!(a.disconnected(&second.id)["reason"], "local");
    second.disconnected(&a.id);
    assert!(a.peers().is_empty());
    assert_eq!(a.ask(json!({"do": "disconnect", "peer": second.id})), Err("not_connected".to_owned()));
}

#[test]
fn stats_count() {
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    a.join(&mut b);
    for n in 0..3 {
        a.must(json!({"do": "broadcast", "payload": [n]}));
        assert_eq!(b.message()["payload"], json!([n]));
    }
    let (sent, got) = (a.must(json!({"do": "stats"})), b.must(json!({"do": "stats"})));
    assert_eq!((&sent["broadcasts"], &sent["peers"]), (&json!(3), &json!(1)));
    assert_eq!((&got["delivered"], &got["lagged"]), (&json!(3), &json!(0)));
    assert!(got["bytes_in"].as_u64().unwrap() > 300);
}

#[test]
fn commands_that_do_not_read_or_do_not_apply() {
    let mut a = Node::start(&[]);
    a.write_line("{nonsense");
    let error = a.wait("an error", is_error);
    assert_eq!((error.get("ref"), &error["code"]), (None, &json!("usage")));
    for (command, code) in [
        (json!({"do": "dance"}), "usage"),
        (json!({}), "usage"),
        (json!({"do": "send", "payload": []}), "usage"),
        (json!({"do": "broadcast", "payload": [{"$bin": "0"}]}), "value"),
        (json!({"do": "set", "key": "k", "value": 1}), "unsupported"),
        (json!({"do": "get", "key": "k"}), "unsupported"),
        (json!({"do": "delta", "key": "k", "value": {}}), "unsupported"),
        (json!({"do": "delete", "key": "k"}), "unsupported"),
        (json!({"do": "keys"}), "unsupported"),
        (json!({"do": "join"}), "unsupported"),
        (json!({"do": "leave"}), "unsupported"),
    ] {
        let text = command.to_string();
        assert_eq!(a.ask(command), Err(code.to_owned()), "{text}");
    }
    let large = json!({"do": "broadcast", "payload": ["x".repeat(17 << 20)]});
    assert_eq!(a.ask(large), Err("too_large".to_owned()));
    // Any JSON is a ref.
    let reference = r#"{"b":[1,1.0,null],"a":"é"}"#;
    a.write_line(&format!(r#"{{"do":"peers","ref":{reference}}}"#));
    let answer = a.wait("the answer", |event| event["event"] == "result");
    assert_eq!(answer["ref"].to_string(), reference);
}

#[test]
fn answers_keep_their_order_and_events_do_not_wait_for_them() {
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    a.join(&mut b);
    // Someone who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = a.command(json!({"do": "connect", "address": silent.local_addr().unwrap().to_string()}));
    let quick = a.command(json!({"do": "peers"}));
    let (held, _) = silent.accept().unwrap();
    b.must(json!({"do": "broadcast", "payload": ["meanwhile"]}));
    assert_eq!(a.message()["payload"], json!(["meanwhile"]));
    drop((held, silent));
    let answer = a.wait("an answer", |event| event.get("ref").is_some());
    assert_eq!((&answer["ref"], &answer["code"]), (&json!(slow), &json!("connect")));
    assert_eq!(a.answer(quick).unwrap()[0]["id"], json!(b.id));
}

#[test]
fn close_answers_and_exits() {
    let (mut a, mut b) = (Node::start(&["--serve"]), Node::start(&[]));
    a.join(&mut b);
    let close = a.command(json!({"do": "close"}));
    assert_eq!(a.answer(close), Ok(Json::Null));
    let (status, _) = a.finish();
    assert_eq!(status.code(), Some(0));
    let peers = b.peers();
    if !peers.is_empty() {
        b.wait("disconnected", |event| event["event"] == "disconnected");
    }
}

#[test]
fn the_end_of_input_drains_everything() {
    const COUNT: usize = 10_000;
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    a.join(&mut b);
    for n in 0..COUNT {
        a.write_line(&format!(r#"{{"do":"broadcast","payload":[{n}],"ref":{n}}}"#));
    }
    a.close_stdin();
    for n in 0..COUNT {
        let message =
            b.wait("all broadcasts", |event| event["event"] == "message" || event["event"] == "lagged");
        assert_eq!(message["payload"], json!([n]), "{message}");
    }
    let (status, events) = a.finish();
    assert_eq!(status.code(), Some(0));
    let answers: Vec<&Json> = events.iter().filter(|event| event["event"] == "result").collect();
    assert_eq!(answers.len(), COUNT);
    assert!(
        answers.iter().enumerate().all(|(n, answer)| answer["ref"] == n && answer["value"]["links"] == 1)
    );
    b.wait("disconnected", |event| event["event"] == "disconnected");
}

#[test]
fn the_end_of_input_drains_while_others_talk() {
    // Less in all than b may have waiting, so that b misses nothing however slowly it is read.
    const COUNT: usize = 250;
    let (mut a, mut b) = (Node::start(&[]), Node::start(&[]));
    a.join(&mut b);
    let mut talk = b.take_stdin();
    let talker = thread::spawn(move || {
        let filler = "y".repeat(1000);
        for n in 0..30_000 {
            let line = format!("{{\"do\":\"broadcast\",\"payload\":[{n},\"{filler}\"]}}\n");
            talk.write_all(line.as_bytes()).unwrap();
        }
        talk
    });
    let filler = "x".repeat(50_000);
    for n in 0..COUNT {
        a.write_line(&format!(r#"{{"do":"broadcast","payload":[{n},"{filler}"]}}"#));
    }
    a.close_stdin();
    for n in 0..COUNT {
        let message = b.wait("all broadcasts", |event| {
            event["event"] == "message" || event["event"] == "lagged" || event["event"] == "disconnected"
        });
        assert_eq!(message["payload"][0], json!(n), "event {}", message["event"]);
    }
    let (status, _) = a.finish();
    assert_eq!(status.code(), Some(0));
    talker.join().unwrap();
}

#[test]
fn serve_goes_on_until_a_signal() {
    let mut a = Node::start(&["--serve"]);
    a.close_stdin();
    let mut b = Node::start(&[]);
    b.must(json!({"do": "connect", "address": a.address}));
    b.must(json!({"do": "broadcast", "payload": ["still there?"]}));
    a.message();
    a.signal("TERM");
    b.disconnected(&a.id.clone());
    let (status, _) = a.finish();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_signal_ends_it_whatever_it_waits_for() {
    let mut a = Node::start(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = a.command(json!({"do": "connect", "address": silent.local_addr().unwrap().to_string()}));
    let _held = silent.accept().unwrap();
    a.signal("INT");
    assert_eq!(a.answer(slow), Err("closed".to_owned()));
    let (status, _) = a.finish();
    assert_eq!(status.code(), Some(0));
}

/// Nodes of each encryption find each other, and take those of another for what they are not.
#[test]
fn every_encryption_joins_its_own() {
    let names = ["tls", "plaintext", "ssl", "ws", "wss"];
    let start = |name| Node::spawn(peernet().args(["node", "--json", "--encryption", name]));
    let mut nodes = names.map(|name| (start(name), start(name)));
    for (a, b) in &mut nodes {
        a.join(b);
        a.must(json!({"do": "broadcast", "payload": ["hello"]}));
        assert_eq!(b.message()["payload"], json!(["hello"]));
    }
    for at in 0..nodes.len() {
        let foreign = nodes[(at + 1) % nodes.len()].1.address.clone();
        let connect = nodes[at].0.command(json!({"do": "connect", "address": foreign}));
        assert_eq!(nodes[at].0.answer(connect), Err("connect".to_owned()), "{}", names[at]);
    }
}

/// A file that there is, and that is no certificate.
const CLI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// S-2, S-3
#[test]
fn a_table_is_set_and_read_by_json_lines() {
    for encryption in ["tls", "plaintext"] {
        let start = |options: &[&str]| {
            let args = ["node", "--json", "--network", "sync", "--encryption", encryption];
            Node::spawn(peernet().args(args).args(options))
        };
        let (mut a, mut b) = (start(&[]), start(&[]));
        let update = |node: &mut Node| node.wait("an update", |event| event["event"] == "update");
        a.must(json!({"do": "set", "key": "early", "value": 1}));
        b.join(&mut a);
        assert_eq!(update(&mut a)["key"], "early");
        assert_eq!(update(&mut b)["key"], "early");
        let value = json!([null, 1.0, {"$bin": "ff"}, {"k": "é"}]);
        assert_eq!(a.must(json!({"do": "set", "key": {"$bin": "ff"}, "value": value})), Json::Null);
        for node in [&mut a, &mut b] {
            let event = update(node);
            assert_eq!((&event["key"], &event["value"]), (&json!({"$bin": "ff"}), &value));
            assert!(event["time"].as_i64().unwrap() > 1_700_000_000 && event["owner"].is_string());
            assert_eq!(node.must(json!({"do": "get", "key": {"$bin": "ff"}})), value);
        }
        assert_eq!(b.must(json!({"do": "get", "key": "none"})), Json::Null);
        assert_eq!(b.ask(json!({"do": "set", "key": {"$bin": "ff"}, "value": 1})), Err("lease".to_owned()));
        assert_eq!(b.ask(json!({"do": "set", "key": "k", "value": null})), Err("nil".to_owned()));
        b.must(json!({"do": "delta", "key": "m", "value": {"x": 1}}));
        b.must(json!({"do": "delta", "key": "m", "value": {"y": 2}}));
        assert_eq!(update(&mut a)["value"], json!({"x": 1}));
        assert_eq!(update(&mut a)["value"], json!({"x": 1, "y": 2}));
        assert_eq!(a.ask(json!({"do": "delta", "key": "early", "value": {}})), Err("not_a_map".to_owned()));
        assert_eq!(b.must(json!({"do": "delete", "key": "m"})), Json::Null);
        let gone = a.wait("a delete", |event| event["event"] == "delete");
        assert_eq!((&gone["key"], &gone["owner"]), (&json!("m"), &json!(b.id)));
        assert_eq!(b.must(json!({"do": "delete", "key": "m"})), Json::Null);
        let keys = a.must(json!({"do": "keys"}));
        assert_eq!(keys.as_array().unwrap().len(), 2, "{keys}");

        let mut free = start(&["--no-leases"]);
        let address = json!({"do": "connect", "address": a.address});
        assert_eq!(free.ask(address), Err("connect".to_owned()));
    }
    let mut mesh = Node::start(&[]);
    for command in [json!({"do": "set", "key": "k", "value": 1}), json!({"do": "keys"})] {
        assert_eq!(mesh.ask(command), Err("unsupported".to_owned()));
    }
}

#[test]
fn a_chat_shows_what_happens_to_the_table() {
    let start = || Talk::start(peernet().args(["node", "--network", "sync", "--encryption", "plaintext"]));
    let mut chat = start();
    let invitation = chat.line("the invitation", |line| line.starts_with("Others join with: "));
    let invitation = invitation.rsplit(": peernet ").next().unwrap().to_owned();
    assert!(invitation.contains("--network sync"), "{invitation}");
    let mut other = Talk::start(peernet().args(invitation.split(' ')));
    other.line("a connection", |line| line.starts_with('+'));
    other.write_line("/set colour light green");
    for talk in [&mut chat, &mut other] {
        talk.line("an update", |line| line.ends_with("  colour = light green"));
        talk.write_line("/get colour");
        talk.line("the value", |line| line.starts_with("  colour = light green, set by "));
        talk.write_line("/keys");
        talk.line("the keys", |line| line == "  colour = light green");
    }
    chat.write_line("/delete colour");
    chat.line("a refusal", |line| line.starts_with("Not done: the key belongs to"));
    other.write_line("/delete colour");
    chat.line("a delete", |line| line.ends_with("  colour is deleted"));
    chat.write_line("/get colour");
    chat.line("nothing", |line| line == "  colour has no value");
    chat.write_line("/help");
    chat.line("help with tables", |line| line.starts_with("  /set KEY TEXT"));
    for mut talk in [chat, other] {
        talk.write_line("/quit");
        assert!(talk.finish().success());
    }
}

/// A table is dumped from a network and from a data directory, and loaded into another network.
#[test]
fn a_table_is_dumped_and_loaded() {
    let data = std::env::temp_dir().join(format!("peernet-table-{}", std::process::id()));
    let dir = data.to_str().unwrap();
    let node =
        |options: &[&str]| Node::spawn(peernet().args(["node", "--json", "--network", "sync"]).args(options));
    let lines = |args: &[&str], input: &str| {
        let output = run(args, input);
        let problems = String::from_utf8(output.stderr).unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code(), lines, problems)
    };
    let mut first = node(&["--data", dir]);
    let values = [("a", json!({"$bin": "ff"})), ("b", json!([1, 1.0, {"x": null}]))];
    for (key, value) in &values {
        first.must(json!({"do": "set", "key": key, "value": value}));
    }
    let id = first.id.clone();
    let (address, mut second) = (first.address.clone(), node(&[]));
    let (code, live, _) = lines(&["table", "dump", "--connect", &address], "");
    first.close_stdin();
    assert!(first.finish().0.success());
    let (kept_code, kept, _) = lines(&["table", "dump", "--data", dir], "");
    assert_eq!((code, kept_code), (Some(0), Some(0)));
    assert_eq!(live, kept);
    for (line, (key, value)) in kept.iter().zip(&values) {
        assert_eq!((&line["key"], &line["value"], &line["owner"]), (&json!(key), value, &json!(id)));
        assert!(line["time"].as_i64().unwrap() > 1_700_000_000);
    }
    assert_eq!(kept.len(), 2);

    let mut input: String = kept.iter().map(|line| format!("{line}\n")).collect();
    input.push_str("{\"key\":\"c\"}\n\n{\"key\":\"d\",\"value\":null}\n");
    let to = second.address.clone();
    let (code, _, problems) = lines(&["table", "load", "--connect", &to], &input);
    assert_eq!((code, problems.lines().count()), (Some(1), 2), "{problems}");
    assert!(
        problems.contains("line 3: it has no \"value\"") && problems.contains("line 5: nil"),
        "{problems}"
    );
    for (key, value) in &values {
        second.wait("an update", |event| event["event"] == "update" && event["key"] == *key);
        assert_eq!(second.must(json!({"do": "get", "key": key})), *value);
    }
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn what_this_version_does_not_offer_exits_2_and_says_so() {
    let plain = ["node", "--encryption", "plaintext"];
    for (args, word) in [
        ([&plain[..], &["--network", "chord"]].concat(), "chord"),
        ([&plain[..], &["--unsigned"]].concat(), "sign: only encryption tls"),
        ([&plain[..], &["--allow", "x"]].concat(), "allow: only encryption tls"),
        ([&plain[..], &["--origin", "any"]].concat(), "origins: web pages connect to ws and wss"),
        (
            ["node", "--encryption", "wss", "--certificate", CLI, "--key", CLI].to_vec(),
            "certificate: the chain",
        ),
        ([&plain[..], &["--no-leases"]].concat(), "--no-leases belongs to --network sync"),
        ([&plain[..], &["--listen", "nowhere"]].concat(), "nowhere"),
        ([&plain[..], &["--connect", "a@b"]].concat(), "host:port"),
        ([&plain[..], &["--advertise", ":1"]].concat(), "host"),
    ] {
        let output = run(&args, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(word), "{said}");
    }
    for args in [
        &["node", "--encryption", "rot13"][..],
        &["node", "--encryption", "wss", "--certificate", CLI],
        &["node", "--what"],
    ] {
        assert_eq!(run(args, "").status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn an_address_in_use_exits_1_and_says_so() {
    let a = Node::start(&[]);
    let output = run(&["node", "--encryption", "plaintext", "--json", "--listen", &a.address], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&a.address) && said.lines().count() == 1, "{said}");
}

#[test]
fn a_chat_for_people() {
    let mut a = Node::start(&[]);
    let args = ["node", "--encryption", "plaintext", "--subnet", "mesh", "--connect", &a.address];
    let mut chat = Talk::start(peernet().args(args));
    let first = chat.line("the first line", |_| true);
    let join = "peernet node --encryption plaintext --subnet mesh --connect 127.0.0.1:";
    assert!(first.contains(join), "{first}");
    chat.line("the join", |line| line.contains("is connected"));
    let joined = a.wait("connected", |event| event["event"] == "connected");
    assert!(first.ends_with(joined["address"].as_str().unwrap()));

    chat.write_line("hello there");
    let got = a.message();
    assert_eq!((&got["payload"], &got["sender"]), (&json!(["hello there"]), &joined["peer"]));
    a.must(json!({"do": "broadcast", "payload": ["hi\u{1b}[2J", 5, 1.0, {"$bin": "00"}]}));
    let line = chat.line("the message", |line| line.contains("hi"));
    assert_eq!(line, format!(r#"{}  hi\u{{1b}}[2J 5 1.0 {{"$bin":"00"}}"#, &a.id[..8]));
    a.must(json!({"do": "reply", "to": got["id"], "payload": ["psst"]}));
    chat.line("the whisper", |line| line.contains("(to you)  psst"));
    chat.write_line("/peers");
    chat.line("the neighbour", |line| line.contains(&a.address) && line.contains(&a.id[..8]));
    chat.write_line("/stats");
    chat.line("a counter", |line| line.trim_start().starts_with("delivered") && line.ends_with(" 2"));
    chat.write_line("/what");
    chat.line("advice", |line| line.contains("/help"));
    chat.write_line("/quit");
    assert!(chat.finish().success());
    a.disconnected(joined["peer"].as_str().unwrap());

    let mut alone = Talk::start(peernet().args(["node", "--encryption", "plaintext"]));
    alone.write_line("anyone?");
    alone.line("the truth", |line| line.contains("nobody heard"));
    alone.close_stdin();
    assert!(alone.finish().success());
}
