//! Searches in simulated networks (`spec/12-requests.md`): how far they go, and what comes back while links
//! break. The first two are substack's own scenarios.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::protocol::{Event, Note};
use peernet::sim::{Network, NodeIndex, Options, node_config};
use peernet::wire::codes::code;

const LONG: Duration = Duration::from_secs(60);

fn signed(seed: u64) -> Options {
    Options { seed, signed: true, ..Options::default() }
}

fn note(limit: u64) -> Note {
    Note { question: None, id: b"id".to_vec(), kind: b"search".to_vec(), data: b"whatever".to_vec(), limit }
}

/// Whoever was asked since the last time, over how many hops, and the question.
fn asked(network: &mut Network) -> Vec<(NodeIndex, u64, [u8; 32])> {
    let searched = |event: peernet::sim::Occurrence| match event.event {
        Event::Searched { hops, received } => Some((event.node, hops, *received.message.id().as_bytes())),
        _ => None,
    };
    network.take_events().into_iter().filter_map(searched).collect()
}

/// What `node` was told was found: its data, over how many hops.
fn rows(network: &mut Network, node: NodeIndex) -> Vec<(Vec<u8>, u64)> {
    let found = |event: peernet::sim::Occurrence| match event.event {
        Event::Found { hops, received, .. } if event.node == node && received.verified() => {
            Some((Note::read(&received.message, code::FOUND).unwrap().data, hops))
        }
        _ => None,
    };
    network.take_events().into_iter().filter_map(found).collect()
}

/// substack's linear hops. What the far end finds has come over all links but the last.
#[test]
fn a_line_is_searched_as_far_as_the_limit() {
    for nodes in [2, 5, 16, 20] {
        let mut network = Network::new(signed(nodes as u64));
        let line = network.add_nodes(nodes, &node_config());
        for pair in line.windows(2) {
            network.connect(pair[1], pair[0]).unwrap();
        }
        assert!(network.run_until_idle(LONG));
        let asker = line[nodes - 1];
        for limit in [1, 2, 4, 15] {
            network.take_events();
            network.search(asker, &note(limit)).unwrap();
            assert!(network.run_until_idle(LONG));
            let asked = asked(&mut network);
            let reached = (nodes - 1).min(limit as usize);
            let expected: Vec<_> = (0..reached).map(|hops| (line[nodes - 2 - hops], hops as u64)).collect();
            assert_eq!(asked.iter().map(|(node, hops, _)| (*node, *hops)).collect::<Vec<_>>(), expected);
            let (last, _, question) = asked[reached - 1];
            let found = Note { question: Some(question), data: b"here".to_vec(), ..note(limit) };
            assert!(network.find(last, &found).unwrap());
            assert!(network.run_until_idle(LONG));
            assert_eq!(rows(&mut network, asker), [(b"here".to_vec(), reached as u64 - 1)]);
            network.run_for(Duration::from_secs(11));
            assert!(!network.find(last, &found).unwrap(), "the way back is over");
        }
    }
}

/// substack's fan-out under connection chaos. Links break all the time, also while answers travel;
/// whoever asks again gets its answer in the end.
#[test]
fn what_is_found_comes_through_while_links_break() {
    for seed in 0..20 {
        let config = node_config();
        let mut network = Network::random(signed(seed), &config, 20, 6);
        assert!(network.run_until_idle(LONG));
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        let (knows, asker) = (nodes[0], nodes[19]);
        let mut rounds = 0;
        let row = loop {
            rounds += 1;
            assert!(rounds <= 60, "seed {seed}: nothing came through in a minute");
            // Three links break now, and the next ones at any moment.
            for chaos in 0..3 {
                let at = (seed as usize * 7 + rounds * 13 + chaos * 5) % 18 + 1;
                if let Some(other) = network.neighbours(nodes[at]).first().copied() {
                    network.cut(nodes[at], other);
                }
            }
            network.take_events();
            network.search(asker, &note(15)).unwrap();
            network.run_for(Duration::from_millis(100));
            let question = asked(&mut network).into_iter().find(|(node, ..)| *node == knows);
            if let Some((_, _, question)) = question {
                let found = Note { question: Some(question), data: b"here".to_vec(), ..note(15) };
                network.find(knows, &found).unwrap();
                let at = nodes[(rounds * 3 + seed as usize) % 18 + 1];
                network.run_for(Duration::from_millis(15));
                if let Some(other) = network.neighbours(at).last().copied() {
                    network.cut(at, other);
                }
            }
            network.run_for(Duration::from_millis(900));
            if let Some(row) = rows(&mut network, asker).pop() {
                break row;
            }
        };
        assert_eq!(row.0, b"here", "seed {seed}");
    }
}

/// Every node of a network hears a question once, and every answer arrives once.
#[test]
fn everyone_is_asked_once_and_every_answer_arrives_once() {
    for seed in 0..10 {
        let mut network = Network::random(signed(seed), &node_config(), 60, 4);
        assert!(network.run_until_idle(LONG));
        let nodes: Vec<NodeIndex> = network.nodes().collect();
        network.take_events();
        network.search(nodes[0], &note(15)).unwrap();
        assert!(network.run_until_idle(LONG));
        let asked = asked(&mut network);
        let mut once: Vec<usize> = asked.iter().map(|(node, ..)| node.get()).collect();
        once.sort_unstable();
        assert_eq!(once, (1..60).collect::<Vec<_>>());
        for (node, _, question) in asked {
            let found = Note { question: Some(question), data: node.get().to_string().into(), ..note(15) };
            assert!(network.find(node, &found).unwrap());
        }
        assert!(network.run_until_idle(LONG));
        let mut found: Vec<Vec<u8>> =
            rows(&mut network, nodes[0]).into_iter().map(|(data, _)| data).collect();
        found.sort_unstable();
        let mut expected: Vec<Vec<u8>> = (1..60).map(|n| n.to_string().into()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
