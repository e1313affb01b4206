//! Networks whose nodes come and go: they find together by what they know of each other
//! (`spec/11-state.md`, K-40 to K-46).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sim_seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peernet::Config;
use peernet::sim::{Network, NodeIndex, Options, node_config};
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use sim_seeds::{for_seeds, long, secs};

/// Nodes that see to their links by themselves.
fn config() -> Config {
    let Config { max_outgoing, connections, max_peers, .. } = Config::default();
    Config { max_outgoing, connections, max_peers, ..node_config() }
}

fn network(seed: u64) -> Network {
    Network::new(Options { seed, keep_events: false, ..Options::default() })
}

fn running(network: &Network) -> Vec<NodeIndex> {
    network.nodes().filter(|node| network.is_up(*node)).collect()
}

/// The parts of the network: running nodes that links connect, largest part first.
fn parts(network: &Network) -> Vec<BTreeSet<NodeIndex>> {
    let links: BTreeMap<NodeIndex, Vec<NodeIndex>> =
        running(network).into_iter().map(|node| (node, network.neighbours(node))).collect();
    let mut left: BTreeSet<NodeIndex> = links.keys().copied().collect();
    let mut parts = Vec::new();
    while let Some(first) = left.first().copied() {
        let (mut part, mut next) = (BTreeSet::new(), vec![first]);
        while let Some(node) = next.pop() {
            if left.remove(&node) {
                part.insert(node);
                // Links that both sides know of.
                let both = |other: &&NodeIndex| links.get(other).is_some_and(|theirs| theirs.contains(&node));
                next.extend(links[&node].iter().filter(both));
            }
        }
        parts.push(part);
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}

/// Who knows whom of two parts of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    None,
    /// Only somebody outside knows somebody in the part, and need not lack neighbours.
    In,
    /// Somebody in the part knows somebody outside.
    Out,
}

fn way(network: &Network, part: &BTreeSet<NodeIndex>, all: &[NodeIndex]) -> Way {
    let outside = || all.iter().filter(|node| !part.contains(node));
    let any = |knows: &dyn Fn(NodeIndex, NodeIndex) -> bool| {
        part.iter().any(|node| outside().any(|other| knows(*node, *other)))
    };
    if any(&|node, other| network.knows(node, other)) {
        Way::Out
    } else if any(&|node, other| network.knows(other, node)) {
        Way::In
    } else {
        Way::None
    }
}

/// Nodes that live for about a minute each, always as many of them.
struct Churn {
    network: Network,
    rng: SmallRng,
    ends: BTreeSet<(Duration, NodeIndex)>,
    /// Since when nodes are in a part of their own although somebody knows a way to another.
    apart: BTreeMap<NodeIndex, (Duration, Way)>,
    /// How often a node was apart when somebody looked.
    ever_apart: u64,
    /// How often it had been for long, with a way that only others knew.
    waited: u64,
    newcomers: u64,
}

impl Churn {
    fn new(nodes: usize, seed: u64) -> Self {
        let mut network = network(seed);
        network.add_nodes(nodes * 3 / 2, &config());
        let mut churn = Self {
            network,
            rng: SmallRng::seed_from_u64(seed),
            ends: BTreeSet::new(),
            apart: BTreeMap::new(),
            ever_apart: 0,
            waited: 0,
            newcomers: 0,
        };
        let all: Vec<NodeIndex> = churn.network.nodes().collect();
        for node in &all[nodes..] {
            churn.network.crash(*node);
        }
        for node in &all[..nodes] {
            churn.meet_some(*node);
            churn.let_live(*node);
        }
        churn
    }

    /// Tells a node one to three addresses of others.
    fn meet_some(&mut self, node: NodeIndex) {
        let count = self.rng.random_range(1..=3);
        let others = running(&self.network).into_iter().filter(|other| *other != node);
        for other in others.sample(&mut self.rng, count) {
            self.network.save(node, other).unwrap();
        }
    }

    fn let_live(&mut self, node: NodeIndex) {
        let life = Duration::from_secs_f64(self.rng.random_range(5.0..115.0));
        self.ends.insert((self.network.now() + life, node));
    }

    /// Lets a second pass: nodes die, and others take their places.
    fn second(&mut self) {
        let end = self.network.now() + secs(1);
        while let Some((at, node)) = self.ends.first().copied().filter(|(at, _)| *at <= end) {
            self.ends.remove(&(at, node));
            self.network.run_for(at.saturating_sub(self.network.now()));
            let down = self.network.nodes().filter(|node| !self.network.is_up(*node));
            let next = down.choose(&mut self.rng).unwrap();
            self.network.crash(node);
            // Most come back knowing what they knew; some are new.
            if self.rng.random_bool(0.3) {
                self.network.wipe(next);
            }
            self.network.restart(next);
            if self.network.machine(next).unwrap().known().next().is_none() {
                self.meet_some(next);
            }
            self.newcomers += 1;
            self.let_live(next);
        }
        self.network.run_for(end.saturating_sub(self.network.now()));
    }

    /// Nobody may have been apart for longer than two intervals although it knew a way; and if only
    /// others knew one, hardly anybody.
    fn check(&mut self) {
        let (now, all) = (self.network.now(), running(&self.network));
        let mut apart = BTreeMap::new();
        for part in parts(&self.network).iter().skip(1) {
            let way = way(&self.network, part, &all);
            for node in part.iter().filter(|_| way > Way::None) {
                let before = self.apart.get(node).filter(|(_, before)| *before == way);
                apart.insert(*node, (before.map_or(now, |(since, _)| *since), way));
            }
        }
        self.apart = apart;
        self.ever_apart += self.apart.len() as u64;
        for (node, (since, way)) in &self.apart {
            let too_long = now - *since > config().ask_interval * 2;
            self.waited += u64::from(too_long && *way == Way::In);
            let known = || self.network.machine(*node).unwrap().known().collect::<Vec<_>>();
            assert!(
                !too_long || *way == Way::In,
                "at {now:?}, {node} has been apart since {since:?}, and knows {:?}",
                known(),
            );
        }
    }
}

/// K-43, K-44, K-46
#[test]
fn two_hundred_that_live_a_minute_stay_together() {
    let time = if long() { 24 * 3600 } else { 240 };
    for_seeds(1, 1, |seed| {
        let mut churn = Churn::new(200, seed);
        for _ in 0..time {
            churn.second();
            churn.check();
        }
        assert!(churn.waited * 1000 <= churn.newcomers, "{} of {}", churn.waited, churn.newcomers);
        // Or nothing was shown.
        assert!(churn.newcomers > time && churn.ever_apart > 0);
    });
}

/// K-41: substack's third scenario, of which five listen.
#[test]
fn thirty_find_together_by_five() {
    for_seeds(10, 200, |seed| {
        let mut network = network(seed);
        let nodes = network.add_nodes(30, &config());
        let mut rng = SmallRng::seed_from_u64(seed);
        for node in &nodes {
            let count = rng.random_range(3..=5);
            let known = nodes[..5].iter().filter(|known| *known != node).sample(&mut rng, count);
            for known in known {
                network.save(*node, *known).unwrap();
            }
        }
        network.run_for(config().ask_interval * 2);
        assert_eq!(parts(&network).len(), 1);
        network.run_for(secs(60));
        for node in &nodes {
            assert!(network.neighbours(*node).len() >= config().connections, "{node}");
        }
    });
}

/// A network of nodes that were each told of one that came before.
fn grown(nodes: usize, seed: u64) -> Network {
    let mut network = network(seed);
    let nodes = network.add_nodes(nodes, &config());
    let mut rng = SmallRng::seed_from_u64(seed);
    for pair in 1..nodes.len() {
        network.save(nodes[pair], nodes[rng.random_range(0..pair)]).unwrap();
        network.run_for(Duration::from_millis(100));
    }
    network.run_for(secs(60));
    assert_eq!(parts(&network).len(), 1);
    network
}

/// K-44, K-46: each half has all the links it wants, and still finds the other.
#[test]
fn halves_that_are_whole_find_each_other() {
    for_seeds(20, 500, |seed| {
        let mut network = grown(40, seed);
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        let smaller = 6 + (seed as usize * 7) % 15;
        network.partition(&[&nodes[..smaller]]);
        // From a short while to so long that everything was tried often.
        network.run_for(secs(20 + seed % 5 * 300));
        assert_eq!(parts(&network).len(), 2);
        assert!(nodes.iter().all(|node| network.neighbours(*node).len() >= config().connections));
        network.heal();
        network.run_for(config().ask_interval * 2);
        assert_eq!(parts(&network).len(), 1, "{smaller} of 40 stayed apart");
    });
}

/// K-36, K-43, K-46: nobody is told an address.
#[test]
fn whoever_knew_one_that_is_still_there_comes_back() {
    for_seeds(20, 500, |seed| {
        let mut network = grown(30, seed);
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        let returning = nodes[(seed % 20) as usize];
        network.crash(returning);
        // All that were there first go, and others come.
        for first in &nodes[..20] {
            network.crash(*first);
        }
        let newer = network.add_nodes(20, &config());
        for node in &newer {
            network.save(*node, nodes[20 + node.get() % 10]).unwrap();
        }
        network.run_for(secs(600));
        // Of those that it knew, one is left.
        let last = nodes[20..].iter().find(|last| {
            network.restart(returning);
            let knows = network.knows(returning, **last);
            network.crash(returning);
            knows
        });
        let Some(last) = last else { return };
        for node in nodes[20..].iter().filter(|node| *node != last) {
            network.crash(*node);
        }
        network.run_for(secs(60));
        network.restart(returning);
        network.run_for(config().ask_interval * 2);
        assert_eq!(parts(&network).len(), 1);
        assert!(!network.neighbours(returning).is_empty());
    });
}

/// K-36: as after a power failure.
#[test]
fn nodes_that_all_went_at_once_find_together_again() {
    for_seeds(20, 500, |seed| {
        let mut network = grown(30, seed);
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        for node in &nodes {
            network.power_off(*node);
        }
        network.run_for(secs(3600));
        for node in &nodes {
            network.restart(*node);
        }
        network.run_for(config().ask_interval * 2);
        assert_eq!(parts(&network).len(), 1);
    });
}

/// K-45: a network in which nobody comes or goes becomes quiet.
#[test]
fn links_that_are_enough_are_left_alone() {
    for_seeds(5, 100, |seed| {
        let mut network = grown(60, seed);
        network.run_for(secs(600));
        let opened = |network: &Network| -> u64 { network.all_counters().map(|(_, c)| c.links_opened).sum() };
        let before = opened(&network);
        network.run_for(secs(600));
        // Each link counts at both ends.
        let looks = (opened(&network) - before) / 2;
        assert!((1..=60 * 12).contains(&looks), "{looks} links in ten minutes of 60 nodes");
        let all: usize = network.nodes().map(|node| network.neighbours(node).len()).sum();
        assert!(all <= 60 * 2 * (config().connections + 1), "{all} ends of links");
    });
}

/// K-35, K-36
#[test]
fn whoever_moves_tells_its_neighbours() {
    for_seeds(10, 200, |seed| {
        let mut network = grown(20, seed);
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        let mover = nodes[(seed % 20) as usize];
        network.relocate(mover);
        network.run_for(secs(1));
        for neighbour in network.neighbours(mover) {
            assert!(network.knows(neighbour, mover), "{neighbour} was not told");
        }
        // And one that moves while it is down comes back from there.
        network.crash(mover);
        network.relocate(mover);
        network.run_for(secs(300));
        network.restart(mover);
        network.run_for(config().ask_interval * 2);
        assert_eq!(parts(&network).len(), 1);
    });
}
