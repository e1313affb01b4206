//! Signed meshes in which a part of the nodes is hostile: what must hold among the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sim_seeds;

use std::collections::BTreeMap;

use peernet::Kind;
use peernet::identity::MessageId;
use peernet::protocol::Event;
use peernet::sim::{Manner, Meddler, Network, NodeIndex, Options, node_config};
use sim_seeds::{for_seeds, ms, secs};

const YEAR: i64 = 365 * 24 * 3600;

/// A signed network, connected, whose every fifth node has then turned hostile.
struct Scene {
    network: Network,
    hostile: Vec<bool>,
}

impl Scene {
    fn new(nodes: usize, degree: usize, seed: u64) -> Self {
        let options = Options { seed, latency: ms(10)..=ms(80), signed: true, ..Options::default() };
        let mut network = Network::random(options, &node_config(), nodes, degree);
        // Places in the graph are random, so places in the order can be used for what is to be random.
        for node in network.nodes() {
            let skew = match node.get() % 7 {
                0 => -3600,
                1 => 3600,
                2 => YEAR,
                3 => -YEAR,
                _ => 0,
            };
            network.set_clock_skew(node, skew);
        }
        assert!(network.run_until_idle(secs(60)));
        let hostile: Vec<bool> = network.nodes().map(|node| node.get() % 5 == 4).collect();
        for node in network.nodes().filter(|node| hostile[node.get()]) {
            let manner = if node.get() % 2 == 0 { Manner::Forges } else { Manner::Replays };
            network.turn_hostile(node, Meddler::new(manner, seed ^ node.get() as u64));
        }
        Self { network, hostile }
    }

    fn is_honest(&self, node: NodeIndex) -> bool {
        !self.hostile[node.get()]
    }

    fn honest(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.network.nodes().filter(|node| self.is_honest(*node))
    }

    /// For each honest node, a name of those that honest links connect it to.
    fn groups(&self) -> BTreeMap<NodeIndex, NodeIndex> {
        let mut groups = BTreeMap::new();
        for first in self.honest() {
            let mut next = vec![first];
            while let Some(node) = next.pop() {
                if self.is_honest(node) && !groups.contains_key(&node) {
                    groups.insert(node, first);
                    next.extend(self.network.neighbours(node));
                }
            }
        }
        groups
    }

    fn broadcast(&mut self, from: NodeIndex) -> MessageId {
        // Always the same, which must not matter.
        self.network.broadcast(from, &("to all",)).unwrap()
    }

    /// What honest nodes handed up were true messages, each once; and among honest nodes nobody parted.
    fn assert_honest_nodes_were_told_the_truth(&mut self) {
        let mut received = 0;
        for occurrence in self.network.take_events() {
            if !self.is_honest(occurrence.node) {
                continue;
            }
            match occurrence.event {
                Event::Received(message) => {
                    let delivery = self.network.delivery(&message.id()).expect("nobody sent this");
                    assert!(message.verified() && message.kind == Kind::Broadcast);
                    assert_eq!(&message.sender, self.network.id(delivery.author()));
                    received += 1;
                }
                Event::Disconnected { peer, reason } => {
                    let peer = self.network.node_with(&peer).unwrap();
                    assert!(!self.is_honest(peer), "{} parted with {peer}: {reason}", occurrence.node);
                }
                _ => {}
            }
        }
        assert!(received > 0);
        for delivery in self.network.deliveries() {
            for arrival in delivery.arrivals().iter().filter(|arrival| self.is_honest(arrival.node)) {
                assert_eq!(arrival.count, 1, "{} was told twice", arrival.node);
            }
        }
    }

    /// What an honest node sent reached all whom honest links connect it to.
    fn assert_reached_its_group(&self, id: &MessageId, groups: &BTreeMap<NodeIndex, NodeIndex>) {
        let delivery = self.network.delivery(id).unwrap();
        let author = delivery.author();
        for (node, _) in groups.iter().filter(|(node, group)| **node != author && *group == &groups[&author])
        {
            assert!(delivery.arrival(*node).is_some(), "{node} never heard of it");
        }
    }

    fn counted(&self, what: impl Fn(peernet::protocol::Counters) -> u64) -> u64 {
        self.honest().map(|node| what(self.network.counters(node))).sum()
    }
}

fn hostile_relays_change_nothing(nodes: usize, degree: usize, rounds: u64, seed: u64) {
    let mut scene = Scene::new(nodes, degree, seed);
    let groups = scene.groups();
    let largest = groups.values().filter(|group| Some(*group) == groups.values().next()).count();
    assert!(largest * 10 > nodes * 7, "{largest} honest nodes hold together");
    let mut honest = Vec::new();
    for round in 0..rounds {
        for n in 0..6 {
            let author = (round * 61 + n * 17 + seed) as usize % nodes;
            let author = scene.network.nodes().nth(author).unwrap();
            let id = scene.broadcast(author);
            if scene.is_honest(author) {
                honest.push(id);
            }
            scene.network.run_for(ms(n * 20));
        }
        // Long enough for generations to pass, in the end.
        scene.network.run_for(secs(70));
    }
    assert!(scene.network.run_until_idle(secs(60)));
    scene.assert_honest_nodes_were_told_the_truth();
    assert!(honest.len() > 10);
    for id in &honest {
        scene.assert_reached_its_group(id, &groups);
    }
    assert!(scene.counted(|counters| counters.forged) > 0, "nobody forged anything");
    assert!(scene.counted(|counters| counters.stale) > 0, "nobody replayed anything old");
    assert!(scene.counted(|counters| counters.duplicates) > 0);
    assert_eq!(scene.counted(|counters| counters.future + counters.refused + counters.malformed), 0);
}

/// T-33 to T-36, T-41, T-43: a fifth of the nodes alters, forges, reorders and replays; clocks are wrong by
/// up to a year.
#[test]
fn hostile_relays_deceive_nobody_and_keep_nothing_back() {
    for_seeds(1, 10, |seed| hostile_relays_change_nothing(500, 10, 5, seed));
    for_seeds(5, 200, |seed| hostile_relays_change_nothing(60, 8, 8, seed));
}
