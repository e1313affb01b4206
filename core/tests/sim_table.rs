//! Tables in simulated networks: what must hold for any seed. A failing one is shrunk before it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod sim_seeds;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use peernet::Config;
use peernet::identity::MessageId;
use peernet::protocol::{Change, Event, TableOptions, Version};
use peernet::sim::{Error, Network, NodeIndex, Options, node_config};
use sim_seeds::{for_seeds, ms, secs};

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// A small generator of its own, so that a test's choices do not disturb the network's.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % sides as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Something that happens to a network.
#[derive(Debug, Clone, Copy)]
enum Step {
    Set {
        node: usize,
        key: usize,
    },
    Delete {
        node: usize,
        key: usize,
    },
    Merge {
        node: usize,
        key: usize,
    },
    Crash {
        node: usize,
    },
    /// With what it kept, or without.
    Restart {
        node: usize,
        wiped: bool,
    },
    Clock {
        node: usize,
        seconds: i64,
    },
    /// The nodes below this one can no longer reach the others.
    Partition {
        at: usize,
    },
    Heal,
    Wait {
        millis: u64,
    },
}

impl Step {
    fn node(&self) -> usize {
        match *self {
            Self::Set { node, .. } | Self::Delete { node, .. } | Self::Merge { node, .. } => node,
            Self::Crash { node } | Self::Restart { node, .. } | Self::Clock { node, .. } => node,
            Self::Partition { .. } | Self::Heal | Self::Wait { .. } => 0,
        }
    }
}

#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    nodes: usize,
    degree: usize,
    leases: bool,
    signed: bool,
    loss: f64,
    duplication: f64,
    reordering: f64,
    steps: Vec<Step>,
}

impl Plan {
    fn random(seed: u64) -> Self {
        let dice = &mut Dice(seed);
        let nodes = if seed.is_multiple_of(8) { 20 + dice.roll(31) } else { 5 + dice.roll(8) };
        let keys = dice.pick(&[1, 2, 5, 40]);
        let count = 30 + dice.roll(90);
        let mut steps: Vec<Step> = (0..nodes)
            .map(|node| Step::Clock { node, seconds: dice.pick(&[0, 0, 0, 1, -HOUR, HOUR, YEAR, -YEAR]) })
            .collect();
        for _ in 0..count {
            let (node, key) = (dice.roll(nodes), dice.roll(keys));
            steps.push(match dice.roll(100) {
                0..45 => Step::Set { node, key },
                45..55 => Step::Delete { node, key },
                55..62 => Step::Merge { node, key },
                62..67 => Step::Crash { node },
                67..74 => Step::Restart { node, wiped: dice.roll(4) == 0 },
                74..77 => Step::Clock { node, seconds: dice.pick(&[0, HOUR, -HOUR, YEAR, -YEAR]) },
                77..80 => Step::Partition { at: 1 + dice.roll(nodes - 1) },
                80..83 => Step::Heal,
                83..85 => Step::Wait { millis: 4_000_000 },
                85..88 => Step::Wait { millis: dice.roll(200_000) as u64 },
                _ => Step::Wait { millis: dice.roll(3_000) as u64 },
            });
        }
        let chance = |dice: &mut Dice| dice.pick(&[0.0, 0.0, 0.05, 0.3]);
        Self {
            seed,
            nodes,
            degree: 2 + dice.roll(3),
            leases: dice.roll(2) == 0,
            signed: seed % 10 == 5,
            loss: chance(dice),
            duplication: chance(dice),
            reordering: chance(dice),
            steps,
        }
    }

    /// Runs it, and says what went wrong.
    fn run(&self) -> Result<(), String> {
        let run = || Scene::new(self).run();
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default())
        })
    }

    /// A plan with as little in it as possible that goes wrong, and how.
    fn shrink(mut self, mut problem: String) -> (Self, String) {
        let mut attempt = |plan: &mut Self, smaller: Self| match smaller.run() {
            Ok(()) => false,
            Err(other) => {
                (*plan, problem) = (smaller, other);
                true
            }
        };
        loop {
            let mut shrunk = false;
            for (fewer, part) in [(self.nodes / 2, 2), (self.nodes - 1, 1)] {
                let steps = self.steps.iter().copied().filter(|step| step.node() < fewer);
                let smaller = Self { nodes: fewer, steps: steps.collect(), ..self.clone() };
                shrunk |= fewer >= 2 && part > 0 && attempt(&mut self, smaller);
            }
            let mut size = self.steps.len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < self.steps.len() {
                    let mut steps = self.steps.clone();
                    steps.drain(at..(at + size).min(steps.len()));
                    let smaller = Self { steps, ..self.clone() };
                    match attempt(&mut self, smaller) {
                        true => shrunk = true,
                        false => at += size,
                    }
                }
                size /= 2;
            }
            for quiet in [
                Self { loss: 0.0, ..self.clone() },
                Self { duplication: 0.0, ..self.clone() },
                Self { reordering: 0.0, ..self.clone() },
            ] {
                let louder = quiet.loss + quiet.duplication + quiet.reordering
                    < self.loss + self.duplication + self.reordering;
                shrunk |= louder && attempt(&mut self, quiet);
            }
            if !shrunk {
                return (self, problem);
            }
        }
    }
}

fn name(key: usize) -> Vec<u8> {
    format!("key {key}").into_bytes()
}

/// A network, and what its users know.
struct Scene<'a> {
    plan: &'a Plan,
    network: Network,
    nodes: Vec<NodeIndex>,
    /// By node and key: the last write that was acknowledged, unless the node lost its disk since, and
    /// whether the node was told that it has given way.
    acknowledged: BTreeMap<(usize, Vec<u8>), (Version, bool)>,
    /// By node and key: what was last seen in this life of the node.
    seen: BTreeMap<(usize, Vec<u8>), Version>,
    written: u64,
}

impl<'a> Scene<'a> {
    fn new(plan: &'a Plan) -> Self {
        let options = Options {
            seed: plan.seed,
            latency: ms(1)..=ms(100),
            signed: plan.signed,
            proven: true,
            table: Some(TableOptions { leases: plan.leases }),
            loss: plan.loss,
            control_loss: plan.loss / 10.0,
            duplication: plan.duplication,
            reordering: plan.reordering,
            ..Options::default()
        };
        let config = Config { redial_max: secs(5), ..node_config() };
        let mut network = Network::random(options, &config, plan.nodes, plan.degree);
        network.run_for(secs(2));
        let nodes = network.nodes().collect();
        Self { plan, network, nodes, acknowledged: BTreeMap::new(), seen: BTreeMap::new(), written: 0 }
    }

    fn run(mut self) -> Result<(), String> {
        self.watch()?;
        for step in &self.plan.steps {
            self.take(*step)?;
            self.watch()?;
        }
        self.network.heal();
        // One may stay down; without it, a ring still connects the others.
        let down = self.nodes.clone().into_iter().filter(|node| !self.network.is_up(*node));
        for node in down.skip(usize::from(self.plan.leases)).collect::<Vec<_>>() {
            self.restart(node, false);
        }
        for _ in 0..400 {
            self.wait(secs(10))?;
            if self.differing().is_none() {
                return self.check();
            }
        }
        Err(format!("the tables stay apart: {:?}", self.differing()))
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        let node = |node: usize| self.nodes[node];
        match step {
            Step::Wait { millis } => return self.wait(ms(millis)),
            Step::Heal => self.network.heal(),
            Step::Partition { at } => {
                let (few, others) = self.nodes.split_at(at.min(self.nodes.len()));
                self.network.partition(&[few, others]);
            }
            Step::Clock { node: of, seconds } => self.network.set_clock_skew(node(of), seconds),
            Step::Crash { node: of } => self.network.crash(node(of)),
            Step::Restart { node: of, wiped } => self.restart(node(of), wiped),
            Step::Set { node: by, key } => {
                self.written += 1;
                let written = self.network.table_set(node(by), &name(key), &self.written);
                return self.wrote(by, key, written);
            }
            Step::Delete { node: by, key } => {
                let deleted = self.network.table_delete(node(by), &name(key));
                return self.wrote(by, key, deleted);
            }
            Step::Merge { node: by, key } => {
                self.written += 1;
                let pair = (peernet::Value::from("n"), peernet::Value::from(self.written));
                let delta = peernet::Value::Map(vec![pair]);
                let merged = self.network.table_delta(node(by), &name(key), &delta);
                return self.wrote(by, key, merged);
            }
        }
        Ok(())
    }

    fn restart(&mut self, node: NodeIndex, wiped: bool) {
        if wiped {
            self.network.crash(node);
            self.network.wipe(node);
            self.acknowledged.retain(|(by, _), _| *by != node.get());
        }
        self.network.restart(node);
        self.seen.retain(|(by, _), _| *by != node.get());
    }

    fn wrote(&mut self, by: usize, key: usize, result: Result<MessageId, Error>) -> Result<(), String> {
        let key = name(key);
        match result {
            Ok(_) => {
                self.watch()?;
                let version = self.version(self.nodes[by], &key).ok_or("acknowledged and not there")?;
                if version.owner != *self.network.id(self.nodes[by]) {
                    return Err(format!("acknowledged and another's: {version:?}"));
                }
                self.acknowledged.insert((by, key), (version, false));
                Ok(())
            }
            Err(Error::Down(_) | Error::Table(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn version(&self, node: NodeIndex, key: &[u8]) -> Option<Version> {
        self.network.machine(node)?.table()?.version(key).cloned()
    }

    fn outranks(&self, a: &Version, b: &Version) -> bool {
        a.rank(b, self.plan.leases).is_gt()
    }

    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let end = self.network.now() + time;
        while self.network.now() < end {
            self.network.run_until(end - self.network.now(), |network| !network.events().is_empty());
            self.watch()?;
        }
        Ok(())
    }

    /// Reads what nodes told their users. No key ever goes back to a lower version.
    fn watch(&mut self) -> Result<(), String> {
        for occurrence in self.network.take_events() {
            let node = occurrence.node;
            match occurrence.event {
                Event::Changed(Change { key, value, old, .. }) => {
                    let version = self.version(node, &key).ok_or("changed and not there")?;
                    let now = self.network.machine(node).and_then(|machine| machine.table()?.get(&key));
                    if now.map(|entry| entry.value) != value.as_deref() || value == old {
                        return Err(format!("{node} was told of a change that is none"));
                    }
                    if let Some(before) = self.seen.get(&(node.get(), key.to_vec()))
                        && !self.outranks(&version, before)
                    {
                        return Err(format!("{node} saw {key:?} go back from {before:?} to {version:?}"));
                    }
                    self.seen.insert((node.get(), key.to_vec()), version);
                }
                Event::Superseded { key, .. } => {
                    if let Some((_, told)) = self.acknowledged.get_mut(&(node.get(), key.to_vec())) {
                        *told = true;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn up(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.nodes.iter().copied().filter(|node| self.network.is_up(*node))
    }

    /// A key of which two nodes have different versions.
    fn differing(&self) -> Option<(Vec<u8>, Vec<Option<Version>>)> {
        (0..40).map(name).find_map(|key| {
            let versions: Vec<_> = self.up().map(|node| self.version(node, &key)).collect();
            versions.iter().any(|version| *version != versions[0]).then_some((key, versions))
        })
    }

    /// What must hold in the end.
    fn check(&self) -> Result<(), String> {
        let tables = self.up().map(|node| {
            let table = self.network.machine(node).unwrap().table().unwrap();
            let pairs = table.iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
            let pairs: Vec<_> = pairs.collect();
            assert_eq!(pairs.len(), table.len());
            pairs
        });
        let tables: Vec<_> = tables.collect();
        if tables.iter().any(|table| *table != tables[0]) {
            return Err("equal versions and other values".to_owned());
        }
        for ((by, key), (write, told)) in &self.acknowledged {
            let node = self.nodes[*by];
            if !self.network.is_up(node) {
                continue;
            }
            let last = self.version(node, key);
            if last.as_ref() == Some(write) {
                continue;
            }
            if !last.as_ref().is_some_and(|last| self.outranks(last, write)) {
                return Err(format!("{node} wrote {write:?}, and it was lost to {last:?}"));
            }
            if !told {
                return Err(format!("{node} wrote {write:?}, and was not told of {last:?}"));
            }
        }
        let counted = |what: fn(peernet::protocol::Counters) -> u64| -> u64 {
            self.network.all_counters().map(|(_, counters)| what(counters)).sum()
        };
        // Where handshakes are lost, peers seem to begin with something else.
        let offences = if self.plan.loss > 0.0 { 0 } else { counted(|counters| counters.offences) };
        match offences + counted(|counters| counters.malformed + counters.forged + counters.table_ahead) {
            0 => Ok(()),
            some => Err(format!("{some} offences among honest nodes")),
        }
    }
}

fn tables_converge(seed: u64) {
    let plan = Plan::random(seed);
    if let Err(problem) = plan.run() {
        eprintln!("seed {seed}: {problem}; shrinking");
        let (plan, problem) = plan.shrink(problem);
        panic!("{problem}, in {plan:#?}");
    }
}

/// S-45, S-47, S-48, S-52, S-53, S-55, S-70: with loss, copies, disorder, partitions, crashes with and without
/// what was kept, and clocks wrong by up to a year.
#[test]
fn tables_converge_whatever_happens() {
    for_seeds(40, 4_000, tables_converge);
}

/// S-70, S-71: two halves with many keys of their own find everything that the other has.
#[test]
fn many_keys_on_both_sides() {
    for_seeds(2, 40, |seed| {
        let options =
            Options { seed, proven: true, table: Some(TableOptions::default()), ..Options::default() };
        let mut network = Network::new(options);
        let nodes = network.add_nodes(4, &node_config());
        network.connect(nodes[0], nodes[1]).unwrap();
        network.connect(nodes[2], nodes[3]).unwrap();
        network.run_for(secs(2));
        for n in 0..4000_u64 {
            network.table_set(nodes[n as usize % 4], &n.to_be_bytes(), &n).unwrap();
        }
        network.run_for(secs(60));
        network.connect(nodes[1], nodes[2]).unwrap();
        assert!(network.run_until(secs(60), |network| {
            nodes.iter().all(|node| network.machine(*node).unwrap().table().unwrap().len() == 4000)
        }));
        for counters in network.all_counters().map(|(_, counters)| counters) {
            assert_eq!(
                (counters.table_limited, counters.table_unasked, counters.table_refused, counters.malformed),
                (0, 0, 0, 0)
            );
        }
    });
}
