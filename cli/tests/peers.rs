//! `peernet peers`: the peer book of a node that is not running.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::PathBuf;

use serde_json::Value as Json;
use support::{Node, peernet, run};

/// A data directory for one test, removed at its end.
struct Data(PathBuf);

impl Data {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-peers-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// `peernet peers` on it: exit code, output, and what went wrong.
    fn peers(&self, what: &[&str]) -> (i32, String, String) {
        let output = run(&[&["peers"], what, &["--data", self.text()]].concat(), "");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn list(&self) -> Vec<Json> {
        let (code, said, problem) = self.peers(&["list", "--json"]);
        assert_eq!(code, 0, "{problem}");
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn addresses_are_added_shown_and_removed() {
    let data = Data::new("book");
    assert_eq!(data.peers(&["list"]), (0, "no address is known\n".to_owned(), String::new()));
    assert_eq!(data.peers(&["add", "example.org:1", "[::1]:2"]).0, 0);
    let known: Vec<Json> = data.list();
    let addresses: Vec<&str> = known.iter().map(|known| known["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["[::1]:2", "example.org:1"]);
    assert!(known.iter().all(|known| known["saved"] == true && known["connections"]["ok"] == 0));
    let (_, table, _) = data.peers(&["list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == 3 && rows[0].starts_with("address ") && rows[2].contains(" never "), "{table}");
    let (_, stats, _) = data.peers(&["stats", "example.org:1"]);
    assert!(stats.starts_with("example.org:1\n") && stats.contains("connections failed  0\n"), "{stats}");

    // Of another network there is another book.
    assert_eq!(data.peers(&["list", "--subnet", "other"]).1, "no address is known\n");

    assert_eq!(data.peers(&["remove", "example.org:1"]).0, 0);
    assert_eq!(data.list().len(), 1);
    let (code, said, problem) = data.peers(&["stats", "example.org:1"]);
    assert_eq!((code, said.as_str(), problem.as_str()), (1, "", "peernet: example.org:1 is not known\n"));
}

#[test]
fn what_is_no_address_changes_nothing() {
    let data = Data::new("wrong");
    for what in ["add", "remove", "stats"] {
        let (code, _, problem) = data.peers(&[what, "example.org:1", "nowhere"]);
        assert_eq!(code, 2);
        assert!(problem.contains("`nowhere` is not an address"), "{problem}");
    }
    assert!(!data.0.exists());
    assert_eq!(data.peers(&["list", "--no-leases"]).0, 2);
}

/// K-36, K-41: neither is ever told to connect.
#[test]
fn a_node_joins_by_its_book_again_and_again() {
    let data = Data::new("joins");
    let mut host = Node::spawn(peernet().args(["node", "--json"]));
    assert_eq!(data.peers(&["add", &host.address]).0, 0);
    for life in 1..=3 {
        let mut node = Node::spawn(peernet().args(["node", "--json", "--data", data.text()]));
        node.connected(&host.id);
        host.connected(&node.id);
        let (code, _, problem) = data.peers(&["list"]);
        assert_eq!(code, 1, "it is running");
        assert!(problem.contains("in use"), "{problem}");
        let id = node.id.clone();
        if life == 2 {
            node.kill();
        } else {
            node.write_line(r#"{"do":"close"}"#);
            // Its links end before its book is written: it is not closed until the process has ended.
            let (status, _) = node.finish();
            assert!(status.success(), "{status}");
        }
        host.disconnected(&id);
    }
    let known = data.list();
    let known = known.iter().find(|known| known["address"] == host.address.as_str()).unwrap();
    assert_eq!(known["id"], host.id.as_str());
    assert!(known["connections"]["ok"].as_u64() >= Some(1), "{known}");
}
