//! A node that is killed again and again while it is told what to keep: ten times in the quick set, two
//! hundred times in the long one (`PEERNET_LONG=1`).

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
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

/// Sends a burst of commands, takes answers for a while, and kills the node. Returns which were answered, by
/// their place.
fn killed_at_it(mut node: Node, commands: impl Iterator<Item = Json>, rng: &mut SmallRng) -> Vec<usize> {
    let references: Vec<u64> = commands.map(|command| node.command(command)).collect();
    let wait = rng.random_range(0..references.len());
    node.answer(references[wait]).unwrap();
    std::thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
    node.kill();
    // What it had said by then counts, whether anybody had read it or not.
    let answered =
        |(at, reference): (usize, &u64)| (at <= wait || node.was_answered(*reference)).then_some(at);
    references.iter().enumerate().filter_map(answered).collect()
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
        let answered = killed_at_it(node, peers.iter().map(ban), &mut rng);
        expected.extend(bans);
        expected.extend(answered.into_iter().map(|at| peers[at].clone()));
    }
}
