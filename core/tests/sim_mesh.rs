//! Broadcasts and whispers in simulated meshes: what must hold for any seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sim_seeds;

use std::time::Duration;

use peernet::identity::MessageId;
use peernet::protocol::{CommandError, Event};
use peernet::sim::{Network, NodeIndex, Options, node_config};
use sim_seeds::{for_seeds, long, ms, secs};

/// A small generator of its own, so that a test's choices do not disturb the network's.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % sides as u64).unwrap()
    }
}

fn connected(options: Options, nodes: usize, degree: usize) -> (Network, Vec<NodeIndex>) {
    let mut network = Network::random(options, &node_config(), nodes, degree);
    assert!(network.run_until_idle(secs(60)));
    let nodes = network.nodes().collect();
    (network, nodes)
}

fn broadcast(network: &mut Network, from: NodeIndex, what: u64) -> MessageId {
    network.broadcast(from, &("broadcast", what)).unwrap()
}

/// Every one of `nodes` but the author got it, exactly once.
fn assert_everyone_once(network: &Network, id: &MessageId, nodes: &[NodeIndex]) {
    let delivery = network.delivery(id).unwrap();
    for node in nodes.iter().filter(|node| **node != delivery.author()) {
        let count = delivery.arrival(*node).map_or(0, |arrival| arrival.count);
        assert_eq!(count, 1, "{node} got it {count} times");
    }
    assert_eq!(delivery.arrival(delivery.author()), None, "its author got it back");
}

fn every_broadcast_reaches_everyone_once(nodes: usize, degree: usize, seed: u64) {
    let options = Options { seed, latency: ms(1)..=ms(100), keep_events: false, ..Options::default() };
    let (mut network, nodes) = connected(options, nodes, degree);
    let mut dice = Dice(seed);
    let mut sent = Vec::new();
    for number in 0..10 {
        // Some alone, some on top of each other.
        sent.push(broadcast(&mut network, nodes[dice.roll(nodes.len())], number));
        network.run_for(ms(dice.roll(400) as u64));
    }
    assert!(network.run_until_idle(secs(60)));
    for id in &sent {
        let delivery = network.delivery(id).unwrap();
        assert_eq!((delivery.reached(), delivery.doubled()), (nodes.len() - 1, 0));
    }
    let delivered: u64 = network.all_counters().map(|(_, counters)| counters.delivered).sum();
    assert_eq!(delivered, 10 * (nodes.len() as u64 - 1));
}

#[test]
fn small_meshes_of_every_density() {
    for_seeds(60, 10_000, |seed| {
        every_broadcast_reaches_everyone_once(2 + (seed % 23) as usize, 2 + (seed % 7) as usize, seed);
    });
}

#[test]
fn a_thousand_nodes_at_degree_4() {
    for_seeds(1, 200, |seed| every_broadcast_reaches_everyone_once(1000, 4, seed));
}

#[test]
fn ten_thousand_nodes_at_degree_6() {
    if long() {
        for_seeds(0, 5, |seed| every_broadcast_reaches_everyone_once(10_000, 6, seed));
    }
}

#[test]
fn clocks_within_a_minute_of_each_other_lose_nothing() {
    for_seeds(20, 2_000, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(50), ..Options::default() };
        let (mut network, nodes) = connected(options, 30, 4);
        let mut dice = Dice(seed);
        for node in &nodes {
            // A message is under way for less than two seconds.
            network.set_clock_skew(*node, dice.roll(59) as i64 - 29);
        }
        for number in 0..10 {
            let id = broadcast(&mut network, nodes[dice.roll(30)], number);
            assert!(network.run_until_idle(secs(60)));
            assert_everyone_once(&network, &id, &nodes);
            network.run_for(secs(dice.roll(40) as u64));
        }
    });
}

#[test]
fn clocks_further_apart_miss_some_and_count_them_and_double_none() {
    let mut missed = 0;
    for_seeds_sum(20, 2_000, &mut missed, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(500), ..Options::default() };
        let (mut network, nodes) = connected(options, 30, 4);
        let mut dice = Dice(seed);
        let mut missed = 0;
        for number in 0..30 {
            // Some clocks are set anew at any time, also while messages are under way.
            let node = nodes[dice.roll(30)];
            network.set_clock_skew(node, [0, 40, -40, 75, -75, 1_000, -1_000][dice.roll(7)]);
            broadcast(&mut network, nodes[dice.roll(30)], number);
            network.run_for(ms(dice.roll(2_000) as u64));
        }
        assert!(network.run_until_idle(secs(60)));
        for delivery in network.deliveries() {
            assert_eq!(delivery.doubled(), 0, "{delivery:?}");
            missed += nodes.len() - 1 - delivery.reached();
        }
        let counted: u64 = network.all_counters().map(|(_, counters)| counters.stale + counters.future).sum();
        assert_eq!(missed > 0, counted > 0, "{missed} are missing and {counted} counted");
        missed as u64
    });
    assert!(missed > 0, "with such clocks something must be missed");
}

/// A clock that jumps ahead lets ids be forgotten; it must not let copies in again when it jumps back
/// while they are still under way.
#[test]
fn clocks_that_jump_while_copies_are_under_way_double_none() {
    for_seeds(20, 2_000, |seed| {
        let options = Options { seed, latency: ms(50)..=ms(2_400), ..Options::default() };
        let (mut network, nodes) = connected(options, 24, 4);
        let mut dice = Dice(seed);
        for number in 0..60 {
            for node in &nodes {
                if dice.roll(3) == 0 {
                    network.set_clock_skew(*node, [0, 0, 20, 100, 1_000, -100][dice.roll(6)]);
                }
            }
            broadcast(&mut network, nodes[dice.roll(24)], number);
            network.run_for(ms(dice.roll(1_500) as u64));
        }
        network.run_for(secs(60));
        for delivery in network.deliveries() {
            assert_eq!(delivery.doubled(), 0, "{delivery:?}");
        }
    });
}

fn for_seeds_sum(quick: u64, many: u64, sum: &mut u64, simulate: impl Fn(u64) -> u64) {
    let total = std::cell::Cell::new(0);
    for_seeds(quick, many, |seed| total.set(total.get() + simulate(seed)));
    *sum = total.get();
}

#[test]
fn loss_doubles_nothing_and_is_counted() {
    let mut missed = 0;
    for_seeds_sum(20, 2_000, &mut missed, |seed| {
        let loss = (seed % 10) as f64 * 0.05;
        let options = Options { seed, loss, jitter: ms(50), keep_events: false, ..Options::default() };
        let (mut network, nodes) = connected(options, 100, 4);
        let mut missed = 0;
        for number in 0..10 {
            let id = broadcast(&mut network, nodes[number as usize], number);
            assert!(network.run_until_idle(secs(60)));
            let delivery = network.delivery(&id).unwrap();
            assert_eq!(delivery.doubled(), 0);
            let missing = nodes.len() - 1 - delivery.reached();
            assert!(missing == 0 || delivery.lost() > 0, "missing {missing}, and nothing was lost");
            missed += missing as u64;
        }
        assert!(loss > 0.0 || missed == 0);
        missed
    });
    assert!(missed > 0, "with such a loss something must be missed");
}

#[test]
fn after_a_partition_heals_everyone_is_reached_again() {
    for_seeds(10, 1_000, |seed| {
        let (mut network, nodes) = connected(Options { seed, ..Options::default() }, 40, 4);
        let mut dice = Dice(seed);
        let (left, right) = nodes.split_at(1 + dice.roll(39));
        network.partition(&[left, right]);
        network.run_for(secs(dice.roll(300) as u64));
        let id = broadcast(&mut network, left[0], 0);
        network.run_for(secs(5));
        let delivery = network.delivery(&id).unwrap();
        assert!(right.iter().all(|node| delivery.arrival(*node).is_none()), "it crossed the partition");
        network.heal();
        // The longest pause before a dial is a minute.
        network.run_for(secs(70));
        for number in 1..4 {
            let id = broadcast(&mut network, nodes[dice.roll(40)], number);
            assert!(network.run_until_idle(secs(60)));
            assert_everyone_once(&network, &id, &nodes);
        }
    });
}

#[test]
fn crashed_nodes_come_back_and_hear_again() {
    for_seeds(10, 1_000, |seed| {
        let (mut network, nodes) = connected(Options { seed, ..Options::default() }, 30, 4);
        let mut dice = Dice(seed);
        for number in 0..5 {
            let victims: Vec<NodeIndex> = (0..1 + dice.roll(5)).map(|_| nodes[dice.roll(30)]).collect();
            for victim in &victims {
                match dice.roll(3) {
                    0 => network.crash(*victim),
                    1 => network.power_off(*victim),
                    _ => network.close(*victim),
                }
            }
            network.run_for(secs(dice.roll(100) as u64));
            for victim in &victims {
                if !network.is_up(*victim) {
                    network.restart(*victim);
                }
            }
            // Keep-alive finds the silently gone in two times 30 s, dials are at most 60 s apart, and one
            // that nobody answers takes 10 s.
            network.run_for(secs(150));
            let id = broadcast(&mut network, nodes[dice.roll(30)], number);
            assert!(network.run_until_idle(secs(60)));
            assert_everyone_once(&network, &id, &nodes);
        }
    });
}

/// Nodes crash, vanish and return, links fall silent and the network divides, for a long time: no
/// broadcast is doubled, and once peace returns everyone is reached.
#[test]
fn churn() {
    let hours = if long() { 48 } else { 1 };
    for_seeds(2, 20, |seed| {
        let options = Options { seed, jitter: ms(20), loss: 0.01, ..Options::default() };
        let (mut network, nodes) = connected(options, 25, 4);
        let mut dice = Dice(seed);
        let mut number = 0;
        while network.now() < Duration::from_secs(hours * 3600) {
            let (a, b) = (nodes[dice.roll(25)], nodes[dice.roll(25)]);
            match dice.roll(12) {
                0 => network.crash(a),
                1 => network.power_off(a),
                2 => network.close(a),
                3..=5 => network.restart(a),
                6 => network.silence(a, b),
                7 => network.partition(&[&nodes[..dice.roll(25)]]),
                8..=10 => network.heal(),
                _ => {
                    let _ = network.connect(a, b);
                }
            }
            if network.is_up(b) {
                number += 1;
                broadcast(&mut network, b, number);
            }
            network.run_for(ms(dice.roll(20_000) as u64));
            network.take_events();
        }
        for delivery in network.deliveries() {
            assert_eq!(delivery.doubled(), 0, "{delivery:?}");
        }
        network.heal();
        for node in &nodes {
            if !network.is_up(*node) {
                network.restart(*node);
            }
        }
        network.run_for(secs(200));
        for a in &nodes {
            for b in network.neighbours(*a) {
                assert!(network.is_linked(*a, b), "{a} and {b} disagree");
                assert_eq!(network.connections(*a, b), 1, "{a} and {b}");
            }
        }
        let lost_before = network.traffic().lost;
        for _ in 0..20 {
            number += 1;
            let id = broadcast(&mut network, nodes[dice.roll(25)], number);
            assert!(network.run_until_idle(secs(60)));
            let delivery = network.delivery(&id).unwrap();
            assert!(delivery.reached() == 24 || delivery.lost() > 0, "{delivery:?}");
        }
        assert!(network.traffic().lost >= lost_before);
    });
}

#[test]
fn a_whisper_finds_its_way_to_a_node_several_hops_away() {
    for_seeds(20, 2_000, |seed| {
        let mut network = Network::new(Options { seed, ..Options::default() });
        let nodes = network.add_nodes(8, &node_config());
        // A line of six; the other two know the last one too, and tell its address as well.
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (3, 6), (6, 5), (3, 7), (7, 5)] {
            network.connect(nodes[from], nodes[to]).unwrap();
        }
        assert!(network.run_until_idle(secs(10)));
        let (first, last) = (nodes[0], nodes[5]);
        let (id, token) = network.send(first, last, &("are you there",)).unwrap();
        let (second, _) = network.send(first, last, &("and this",)).unwrap();
        assert!(network.run_until_idle(secs(10)));
        assert_eq!(network.result(token), Some(&Ok(network.id(last).clone())));
        for id in [id, second] {
            let arrivals = network.delivery(&id).unwrap().arrivals();
            assert_eq!(arrivals.len(), 1);
            assert_eq!((arrivals[0].node, arrivals[0].count, arrivals[0].hops), (last, 1, 1));
        }
        assert!(network.is_linked(first, last), "it was dialled for that");
        assert_eq!(network.counters(first).links_opened, 2, "once, however many told its address");
        // Now they are neighbours, and the answer needs no looking for.
        let (answer, _) = network.send(last, first, &("yes",)).unwrap();
        assert!(network.run_until_idle(secs(10)));
        assert_eq!(network.delivery(&answer).unwrap().copies(), 1);
        assert_eq!(network.delivery(&answer).unwrap().reached(), 1);
    });
}

#[test]
fn two_nodes_that_look_for_each_other_at_once_lose_nothing() {
    for_seeds(20, 2_000, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(60), jitter: ms(40), ..Options::default() };
        let (mut network, nodes) = connected(options, 20, 2);
        let far = |from: NodeIndex, to: NodeIndex| !network.is_linked(from, to) && from != to;
        let pairs: Vec<(NodeIndex, NodeIndex)> =
            nodes.iter().flat_map(|a| nodes.iter().map(|b| (*a, *b))).filter(|(a, b)| far(*a, *b)).collect();
        let (a, b) = pairs[Dice(seed).roll(pairs.len())];
        let (there, _) = network.send(a, b, &("there",)).unwrap();
        let (back, _) = network.send(b, a, &("back",)).unwrap();
        network.run_for(secs(30));
        for id in [there, back] {
            let delivery = network.delivery(&id).unwrap();
            assert_eq!((delivery.reached(), delivery.doubled()), (1, 0));
        }
        assert!(network.is_linked(a, b));
        assert_eq!(network.connections(a, b), 1);
    });
}

#[test]
fn a_whisper_to_a_node_that_is_gone_fails_in_time() {
    for_seeds(10, 500, |seed| {
        let (mut network, nodes) = connected(Options { seed, ..Options::default() }, 20, 3);
        let (from, gone) = (nodes[0], nodes[19]);
        network.crash(gone);
        network.run_for(secs(1));
        let (id, token) = network.send(from, gone, &("anyone?",)).unwrap();
        network.run_for(node_config().lookup_timeout + secs(1));
        let result = network.result(token).unwrap();
        assert!(matches!(result, Err(CommandError::Unreachable { .. })), "{result:?}");
        assert_eq!(network.delivery(&id).unwrap().reached(), 0);
    });
}

#[test]
fn nodes_that_join_by_themselves_form_one_mesh() {
    for_seeds(10, 500, |seed| {
        let mut network = Network::new(Options { seed, ..Options::default() });
        let config = peernet::Config { max_outgoing: 4, ..node_config() };
        let nodes = network.add_nodes(40, &config);
        for node in &nodes[1..] {
            network.connect(*node, nodes[0]).unwrap();
            network.run_for(ms(50));
        }
        network.run_for(secs(30));
        for node in &nodes {
            for peer in network.neighbours(*node) {
                assert!(network.is_linked(*node, peer), "{node} and {peer} disagree");
                assert_eq!(network.connections(*node, peer), 1, "{node} and {peer}");
            }
        }
        // The mesh no longer hangs on the one that everyone was told of.
        network.crash(nodes[0]);
        network.run_for(secs(5));
        let id = broadcast(&mut network, nodes[1], 1);
        assert!(network.run_until_idle(secs(30)));
        assert_everyone_once(&network, &id, &nodes[1..]);
    });
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed: u64| {
        let options = Options { seed, jitter: ms(10), loss: 0.05, control_loss: 0.01, ..Options::default() };
        let mut network = Network::random(options, &node_config(), 50, 4);
        network.run_for(secs(20));
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        for number in 0..10 {
            broadcast(&mut network, nodes[number as usize], number);
            network.run_for(ms(100));
        }
        network.send(nodes[1], nodes[40], &("far",)).unwrap();
        network.crash(nodes[20]);
        network.partition(&[&nodes[..25]]);
        network.run_for(secs(100));
        network.heal();
        network.restart(nodes[20]);
        network.run_for(secs(100));
        let told: Vec<String> = network.events().iter().map(|told| format!("{told:?}")).collect();
        (network.fingerprint(), network.traffic(), told)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn events_tell_what_users_are_told() {
    let (mut network, nodes) = connected(Options { seed: 3, ..Options::default() }, 2, 2);
    let id = broadcast(&mut network, nodes[0], 7);
    network.crash(nodes[0]);
    network.run_for(secs(1));
    let told: Vec<&Event> =
        network.events().iter().filter(|t| t.node == nodes[1]).map(|t| &t.event).collect();
    let received = told.iter().position(|event| matches!(event, Event::Received(r) if r.id() == id));
    let gone = told.iter().position(|event| matches!(event, Event::Disconnected { .. }));
    assert!(received.unwrap() < gone.unwrap(), "what was sent before a crash arrives before it shows");
    assert!(network.broadcast(nodes[0], &("x",)).is_err(), "a crashed node cannot send");
}
