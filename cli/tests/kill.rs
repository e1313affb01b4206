//! A node that is killed again and again while it is told what to keep: ten times in the quick set, two
//! hundred times in the long one (`PEERNET_LONG=1`).

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};
use support::{Node, peernet};

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-kill-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn node(&self, options: &[&str]) -> Node {
        let data = self.0.to_str().unwrap();
        Node::spawn(peernet().args(["node", "--json", "--durable", "--data", data]).args(options))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn kills() -> u32 {
    let long = std::env::var("PEERNET_LONG").is_ok_and(|value| !value.is_empty() && value != "0");
    if long { 200 } else { 10 }
}

/// Sends a burst of commands, takes answers for a while, and kills the node. Returns whether each was done,
/// as far as it had said so by then.
fn killed_at_it(
    mut node: Node,
    commands: impl Iterator<Item = Json>,
    rng: &mut SmallRng,
) -> Vec<Option<bool>> {
    let references: Vec<u64> = commands.map(|command| node.command(command)).collect();
    let wait = rng.random_range(0..references.len());
    let done = node.answer(references[wait]).is_ok();
    std::thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
    node.kill();
    let said = |(at, reference): (usize, &u64)| if at == wait { Some(done) } else { node.said(*reference) };
    references.iter().enumerate().map(said).collect()
}

/// The node starts again with its store as it was.
fn is_whole(node: &mut Node) {
    let told = node.try_wait(Duration::ZERO, |event| event["event"].as_str().unwrap().contains("store"));
    assert_eq!(told, None);
}

/// K-10, K-12: bans that were acknowledged.
#[test]
fn no_ban_is_lost() {
    let folder = Folder::new("bans");
    let seed = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut expected = BTreeSet::new();
    let mut id = None;
    for kill in 0..kills() {
        let mut node = folder.node(&[]);
        assert_eq!(*id.get_or_insert(node.id.clone()), node.id);
        let bans = node.must(json!({"do": "bans"}));
        let bans: BTreeSet<String> =
            bans.as_array().unwrap().iter().map(|ban| ban["peer"].as_str().unwrap().to_owned()).collect();
        assert!(bans.is_superset(&expected), "seed {seed}, kill {kill}");
        is_whole(&mut node);
        let peers: Vec<String> =
            (0..20).map(|_| format!("2{}", rng.random_range(111_111..999_999)).replace('0', "z")).collect();
        let ban = |peer: &String| json!({"do": "ban", "peer": peer, "seconds": 100_000});
        let said = killed_at_it(node, peers.iter().map(ban), &mut rng);
        expected.extend(bans);
        let done = peers.into_iter().zip(said).filter(|(_, said)| *said == Some(true));
        expected.extend(done.map(|(peer, _)| peer));
    }
}

/// K-12: what `set` and `delete` acknowledged.
fn no_change_of_a_table_is_lost(name: &str, options: &[&str]) {
    let folder = Folder::new(name);
    let options = [&["--network", "sync"], options].concat();
    let seed = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    // What each key may hold: what was acknowledged last, or what was under way behind it.
    let mut expected: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    let mut number = 0;
    for kill in 0..kills() {
        let mut node = folder.node(&options);
        is_whole(&mut node);
        for (key, values) in &mut expected {
            let value = node.must(json!({"do": "get", "key": key}));
            assert!(
                values.contains(&value),
                "seed {seed}, kill {kill}: {key} is {value}, not one of {values:?}"
            );
            *values = vec![value];
        }
        let changes: Vec<(String, Json)> = (0..30)
            .map(|_| {
                number += 1;
                let size = if rng.random_range(0..8) == 0 { 20_000 } else { 20 };
                let value = (rng.random_range(0..5) > 0).then(|| format!("{number} {}", "x".repeat(size)));
                (format!("key {}", rng.random_range(0..12)), json!(value))
            })
            .collect();
        let command = |(key, value): &(String, Json)| match value {
            Json::Null => json!({"do": "delete", "key": key}),
            value => json!({"do": "set", "key": key, "value": value}),
        };
        let said = killed_at_it(node, changes.iter().map(command), &mut rng);
        for ((key, value), said) in changes.into_iter().zip(said) {
            let values = expected.entry(key).or_insert_with(|| vec![Json::Null]);
            match said {
                Some(true) => *values = vec![value],
                // There was nothing to delete; or in 0.7, an earlier run of this node, which had another id, had
                // stamped its last change a few seconds ahead.
                Some(false) => {}
                None => values.push(value),
            }
        }
    }
}

#[test]
fn no_change_of_a_native_table_is_lost() {
    no_change_of_a_table_is_lost("tls", &[]);
}

/// Without leases, or a node that starts again under another id could not change what it had set.
#[test]
fn no_change_of_a_table_of_0_7_is_lost() {
    no_change_of_a_table_is_lost("plaintext", &["--encryption", "plaintext", "--no-leases"]);
}
