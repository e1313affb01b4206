//! Links between simulated nodes: double connections, keep-alive, misbehaving peers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sim_seeds;

use std::time::Duration;

use peernet::identity::NodeId;
use peernet::protocol::{CloseReason, Event};
use peernet::sim::{Network, NodeIndex, Options, node_config};
use peernet::wire::{Form, Message};
use peernet::{Config, Value};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use sim_seeds::{for_seeds, ms, secs};

/// Two nodes that dial each other, the first `first` ahead of the second, and speak whenever they
/// have somebody to speak to: nothing of that may be lost, and one link stays.
fn dial_each_other(options: Options, dials: &[(usize, Duration)]) {
    let mut network = Network::new(options);
    let nodes = network.add_nodes(2, &node_config());
    let mut sent = Vec::new();
    let mut dials = dials.to_vec();
    for round in 0..1500u32 {
        dials.retain(|(from, at)| {
            let due = *at <= network.now();
            if due {
                network.connect(nodes[*from], nodes[1 - from]).unwrap();
            }
            !due
        });
        for node in &nodes {
            if !network.neighbours(*node).is_empty() {
                sent.push(network.broadcast(*node, &("while it is resolved", round)).unwrap());
            }
        }
        network.run_for(ms(1));
    }
    assert!(network.run_until_idle(secs(60)));
    assert!(network.is_linked(nodes[0], nodes[1]), "they have no link in common");
    assert_eq!(network.connections(nodes[0], nodes[1]), 1, "only one connection stays");
    assert!(!sent.is_empty());
    for id in sent {
        let delivery = network.delivery(&id).unwrap();
        let got = delivery.arrivals().iter().map(|arrival| arrival.count).sum::<u32>();
        assert_eq!(got, 1, "{} sent at {:?} arrived {got} times", delivery.author(), delivery.sent());
    }
    let broken =
        network.events().iter().filter(|told| matches!(told.event, Event::Disconnected { .. })).count();
    assert_eq!(broken, 0, "nobody was told of a disconnection");
}

#[test]
fn both_dial_each_other_in_the_same_instant() {
    for_seeds(30, 5_000, |seed| {
        let options = Options { seed, latency: ms(10)..=ms(10), ..Options::default() };
        dial_each_other(options, &[(0, ms(0)), (1, ms(0))]);
    });
}

#[test]
fn both_dial_each_other_over_ways_of_different_length() {
    for_seeds(30, 5_000, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(200), ..Options::default() };
        let later = ms(seed % 97 * 5);
        dial_each_other(options, &[(0, ms(0)), (1, later)]);
    });
}

#[test]
fn both_dial_each_other_while_single_messages_are_held_up() {
    for_seeds(30, 5_000, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(50), jitter: ms(100), ..Options::default() };
        let later = ms(seed % 97 * 3);
        dial_each_other(options, &[(0, ms(0)), (1, later)]);
    });
}

#[test]
fn one_dials_the_other_twice() {
    for_seeds(30, 5_000, |seed| {
        let jitter = if seed % 2 == 0 { ms(0) } else { ms(100) };
        let options = Options { seed, latency: ms(1)..=ms(50), jitter, ..Options::default() };
        let later = ms(seed % 97 * 3);
        dial_each_other(options, &[(0, ms(0)), (0, later), (1, ms(40))]);
    });
}

/// More connections at once than are kept until it is decided.
#[test]
fn both_dial_each_other_many_times() {
    for_seeds(30, 5_000, |seed| {
        let options = Options { seed, latency: ms(1)..=ms(60), jitter: ms(40), ..Options::default() };
        let mut network = Network::new(options);
        let nodes = network.add_nodes(2, &node_config());
        for dial in 0..8 {
            network.connect(nodes[dial % 2], nodes[1 - dial % 2]).unwrap();
        }
        network.run_for(secs(10));
        assert!(network.is_linked(nodes[0], nodes[1]), "they have no link in common");
        assert_eq!(network.connections(nodes[0], nodes[1]), 1, "only one connection stays");
    });
}

#[test]
fn a_link_whose_other_end_is_silently_gone_is_closed_and_dialled_again() {
    for_seeds(20, 500, |seed| {
        let mut network = Network::new(Options { seed, ..Options::default() });
        let nodes = network.add_nodes(2, &node_config());
        network.connect(nodes[0], nodes[1]).unwrap();
        assert!(network.run_until_idle(secs(5)));
        network.silence(nodes[0], nodes[1]);
        let keep_alive = Config::default().keep_alive;
        let silent = |network: &Network, node: NodeIndex| {
            let gone =
                |event: &Event| matches!(event, Event::Disconnected { reason: CloseReason::Silent, .. });
            network.events().iter().any(|told| told.node == node && gone(&told.event))
        };
        assert!(network.run_until(keep_alive * 3, |network| nodes.iter().all(|node| silent(network, *node))));
        assert!(network.run_until(secs(60), |network| network.is_linked(nodes[0], nodes[1])));
        network.run_for(secs(600));
        assert!(network.is_linked(nodes[0], nodes[1]), "a quiet link that works stays");
    });
}

#[test]
fn a_peer_that_lost_power_is_noticed_and_found_again() {
    for_seeds(20, 500, |seed| {
        let mut network = Network::new(Options { seed, ..Options::default() });
        let nodes = network.add_nodes(3, &node_config());
        network.connect(nodes[0], nodes[1]).unwrap();
        network.connect(nodes[1], nodes[2]).unwrap();
        assert!(network.run_until_idle(secs(5)));
        network.power_off(nodes[1]);
        // Sometimes it is back before anybody noticed.
        network.run_for(secs(seed % 20 * 10));
        network.restart(nodes[1]);
        network.run_for(secs(200));
        assert!(network.is_linked(nodes[0], nodes[1]) && network.is_linked(nodes[1], nodes[2]));
        assert_eq!(network.connections(nodes[0], nodes[1]), 1);
        let id = network.broadcast(nodes[0], &("again",)).unwrap();
        network.run_until_idle(secs(5));
        assert_eq!(network.delivery(&id).unwrap().reached(), 2);
    });
}

#[test]
fn what_was_disconnected_stays_so() {
    for_seeds(20, 500, |seed| {
        let mut network = Network::new(Options { seed, ..Options::default() });
        let nodes = network.add_nodes(2, &node_config());
        network.connect(nodes[0], nodes[1]).unwrap();
        assert!(network.run_until_idle(secs(5)));
        let (from, to) = (nodes[(seed % 2) as usize], nodes[((seed + 1) % 2) as usize]);
        if from == nodes[0] {
            network.disconnect(from, to).unwrap();
            network.run_for(secs(300));
            assert_eq!(network.connections(from, to), 0);
            assert!(network.neighbours(to).is_empty());
        } else {
            // The one that was dialled cannot keep the other from dialling again.
            network.disconnect(from, to).unwrap();
            network.run_for(secs(300));
            assert!(network.is_linked(from, to));
        }
    });
}

/// A value that may stand in a control message, or may not.
fn any_value(rng: &mut SmallRng, network: &Network, depth: usize) -> Value {
    let any_node = NodeIndexes::of(network).any(rng);
    match rng.random_range(0..if depth > 0 { 11 } else { 9 }) {
        0 => Value::Nil,
        1 => Value::Bool(rng.random()),
        2 => Value::from(rng.random_range(0..20u64)),
        3 => Value::from(rng.next_u64()),
        4 => Value::from("*"),
        5 => Value::Bin(b"*".to_vec()),
        6 => Value::from(network.id(any_node).as_str()),
        7 => Value::Bin(network.id(any_node).as_str().as_bytes().to_vec()),
        8 => Value::from(network.address(any_node).host.as_str()),
        9 => {
            let address = network.address(any_node);
            let parts = vec![address.host.as_str().into(), Value::from(u64::from(address.port))];
            Value::Array(vec![Value::Array(parts), network.id(any_node).as_str().into()])
        }
        _ => Value::Array((0..rng.random_range(0..6)).map(|_| any_value(rng, network, depth - 1)).collect()),
    }
}

struct NodeIndexes(Vec<NodeIndex>);

impl NodeIndexes {
    fn of(network: &Network) -> Self {
        Self(network.nodes().collect())
    }

    fn any(&self, rng: &mut SmallRng) -> NodeIndex {
        self.0[rng.random_range(0..self.0.len())]
    }
}

/// A message that looks like one of the protocol's own, of any type and code and by any author.
fn any_message(rng: &mut SmallRng, network: &Network, from: NodeIndex) -> Message {
    let kind = rng.random_range(0..5);
    let author = match rng.random_range(0..4) {
        0 => NodeId::from_digest(&rng.random::<[u8; 32]>().repeat(2)[..48].try_into().unwrap()),
        1 => network.id(NodeIndexes::of(network).any(rng)).clone(),
        _ => network.id(from).clone(),
    };
    let form = if rng.random() { Form::Str } else { Form::Bin };
    let time = network.wall(from) + rng.random_range(-100..100);
    let mut payload = vec![Value::from(rng.random_range(0..20u64))];
    payload.extend((0..rng.random_range(0..5)).map(|_| any_value(rng, network, 3)));
    Message::pack_raw(kind, author.as_str().as_bytes(), form, time, &payload).unwrap()
}

#[test]
fn whatever_one_node_says_the_others_go_on() {
    for_seeds(10, 2_000, |seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let config = Config { max_outgoing: if seed % 2 == 0 { 0 } else { 4 }, ..node_config() };
        let options = Options { seed, ..Options::default() };
        let mut network = Network::random(options, &config, 12, 4);
        assert!(network.run_until_idle(secs(60)));
        let liar = network.add_node(config);
        let honest: Vec<NodeIndex> = network.nodes().filter(|node| *node != liar).collect();
        let before: Vec<(NodeIndex, Vec<NodeIndex>)> =
            honest.iter().map(|node| (*node, network.neighbours(*node))).collect();
        for victim in &honest[..3] {
            network.connect(liar, *victim).unwrap();
        }
        for round in 0..200u32 {
            for victim in &honest {
                for _ in 0..rng.random_range(0..4) {
                    let message = any_message(&mut rng, &network, liar);
                    network.inject(liar, *victim, message);
                }
            }
            if round % 10 == 0 {
                let author = honest[rng.random_range(0..honest.len())];
                let id = network.broadcast(author, &("among the honest", round)).unwrap();
                network.run_for(secs(2));
                let delivery = network.delivery(&id).unwrap();
                assert_eq!(delivery.doubled(), 0);
                for node in honest.iter().filter(|node| **node != author) {
                    assert!(delivery.arrival(*node).is_some(), "{node} missed it");
                }
            }
            network.run_for(ms(rng.random_range(0..500)));
        }
        let malformed: u64 = network.all_counters().map(|(_, counters)| counters.malformed).sum();
        assert!(malformed > 0, "nobody listened to the liar");
        for (node, neighbours) in before {
            for other in neighbours {
                assert!(network.is_linked(node, other), "{node} and {other} were parted");
            }
        }
    });
}
