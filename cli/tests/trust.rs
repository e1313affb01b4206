//! Who a node is and who may join it, from the command line.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use serde_json::json;
use support::{Node, peernet, run};

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-cli-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &str, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A node of the default network and encryption.
fn node(options: &[&str]) -> Node {
    Node::spawn(peernet().args(["node", "--json"]).args(options))
}

/// What a command printed that went well.
fn said(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Why a command failed, in one line.
fn refused(output: Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn nodes_of_the_default_network_prove_who_they_are() {
    let (mut a, mut b) = (node(&[]), node(&[]));
    let wrong = format!("{}@{}", b.id, a.address);
    assert_eq!(b.ask(json!({"do": "connect", "address": wrong})), Err("connect".to_owned()));
    let address = format!("{}@{}", a.id, a.address);
    assert_eq!(b.must(json!({"do": "connect", "address": address})), json!({"peer": a.id}));
    b.must(json!({"do": "broadcast", "payload": ["hello"]}));
    let message = a.message();
    assert_eq!((&message["payload"], &message["sender"]), (&json!(["hello"]), &json!(b.id)));
    let mut plain = Node::start(&[]);
    assert_eq!(plain.ask(json!({"do": "connect", "address": a.address})), Err("connect".to_owned()));
}

/// T-19
#[test]
fn an_identity_stays_with_its_data_directory() {
    let folder = Folder::new("identity");
    let (data, copy, file) = (folder.path("data"), folder.path("copy"), folder.path("keys"));
    let mut first = node(&["--data", &data]);
    let id = first.id.clone();
    for args in [&["node", "--json", "--data", &data][..], &["identity", "--data", &data]] {
        let why = refused(run(args, ""), 1);
        assert!(why.contains("in use"), "{why}");
    }
    first.close_stdin();
    assert_eq!(first.finish().0.code(), Some(0));
    assert_eq!(node(&["--data", &data]).id, id);
    assert_eq!(said(run(&["identity", "--data", &data], "")).trim(), id);

    let args = ["identity", "--data", &data, "--export", &file, "--subnet", "mesh", "--subnet", "other"];
    let ids = said(run(&args, ""));
    assert_eq!(ids.lines().count(), 2);
    assert!(ids.starts_with(&id) && !ids.ends_with(&format!("{id}\n")), "{ids}");
    assert_eq!(mode(&file), 0o600);
    assert!(refused(run(&args, ""), 1).contains("exists"), "nothing is overwritten");
    let import = ["identity", "--data", &copy, "--import", &file];
    assert_eq!(said(run(&import, "")).trim(), id);
    assert_eq!(node(&["--data", &copy]).id, id);
    assert_eq!(said(run(&import, "")).trim(), id, "again does no harm");
    let other = folder.path("other");
    let others = said(run(&["identity", "--data", &other], ""));
    assert_ne!(others.trim(), id);
    let why = refused(run(&["identity", "--data", &other, "--import", &file], ""), 1);
    assert!(why.contains("another identity"), "{why}");
    set_mode(&file, 0o644);
    let why = refused(run(&import, ""), 1);
    assert!(why.contains("can be read by others"), "{why}");
}

/// K-5, K-8, K-12
#[test]
fn what_is_kept_is_there_again_and_if_it_is_damaged_that_is_told() {
    let folder = Folder::new("kept");
    let data = folder.path("data");
    let someone = KeyPair::generate(&mut rand::rng()).public();
    let someone = NodeId::of_key(&someone, &ProtocolId::derive("mesh", "tls/mesh"));
    let mut first = node(&["--data", &data, "--durable"]);
    first.must(json!({"do": "ban", "peer": someone.as_str(), "seconds": 1000}));
    let id = first.id.clone();
    first.kill();
    drop(first);
    let mut second = node(&["--data", &data]);
    assert_eq!(second.must(json!({"do": "bans"}))[0]["peer"], someone.as_str());
    second.close_stdin();
    assert_eq!(second.finish().0.code(), Some(0));

    std::fs::write(folder.path("data/store/db"), vec![0; 10_000]).unwrap();
    let mut third = node(&["--data", &data]);
    let told = third.next_event().unwrap();
    assert_eq!((&told["event"], &third.id), (&json!("store_replaced"), &id));
    assert!(PathBuf::from(told["path"].as_str().unwrap()).join("db").exists(), "{told}");
    assert_eq!(third.must(json!({"do": "bans"})), json!([]));

    let plain = folder.path("plain");
    drop(node(&["--encryption", "plaintext", "--data", &plain, "--durable"]));
    assert!(!PathBuf::from(&plain).join("identity").exists());
    assert_eq!(
        run(&["node", "--json", "--durable"], "").status.code(),
        Some(2),
        "there is nowhere to keep it"
    );
}

/// T-10, T-12, T-17
#[test]
fn only_who_has_the_secret_joins() {
    let folder = Folder::new("secret");
    let (file, other) = (folder.path("secret"), folder.path("other"));
    assert_eq!(said(run(&["secret", "--out", &file], "")), "", "it is not shown");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    assert!(refused(run(&["secret", "--out", &file], ""), 1).contains("exists"));
    let printed = said(run(&["secret"], ""));
    assert_ne!(printed, text);
    assert_eq!((printed.len(), &printed[..15]), (text.len(), "peernet-secret-"));
    std::fs::write(&other, printed).unwrap();
    set_mode(&other, 0o600);

    let mut a = node(&["--secret-file", &file]);
    for options in [&[][..], &["--secret-file", &other]] {
        let mut stranger = node(options);
        let joined = stranger.ask(json!({"do": "connect", "address": a.address}));
        assert_eq!(joined, Err("connect".to_owned()));
        assert_eq!(stranger.must(json!({"do": "peers"})), json!([]));
    }
    assert_eq!(a.must(json!({"do": "peers"})), json!([]));
    let mut friend = node(&["--secret-file", &file]);
    friend.must(json!({"do": "connect", "address": a.address}));
    friend.must(json!({"do": "broadcast", "payload": ["hello"]}));
    assert_eq!(a.message()["payload"], json!(["hello"]));

    let node = ["node", "--json", "--secret-file", &other];
    let plain = [&node[..], &["--encryption", "plaintext"]].concat();
    assert!(refused(run(&plain, ""), 2).contains("secret: only encryption tls"));
    set_mode(&other, 0o640);
    assert!(refused(run(&node, ""), 1).contains("chmod 600"));
    set_mode(&other, 0o600);
    std::fs::write(&other, "password1").unwrap();
    let why = refused(run(&node, ""), 1);
    assert!(why.contains("`peernet secret` makes one") && !why.contains("password1"), "{why}");
    std::fs::remove_file(&other).unwrap();
    assert!(refused(run(&node, ""), 1).contains(&other));
}

/// T-3
#[test]
fn ids_of_keys() {
    let vectors = include_str!("../../conformance/vectors/trust.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let cases = vectors["ids"]["key"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        assert_eq!(said(run(&["id", "key", text("key"), text("protocol")], "")).trim(), text("id"));
    }
    for bad in ["", "00", &"0".repeat(66), &"x".repeat(64)] {
        assert_eq!(run(&["id", "key", bad, "mesh"], "").status.code(), Some(2), "{bad}");
    }
}
