//! What nodes and links take in memory. One test, so that nothing else runs in this process.

#![cfg(all(feature = "net", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use peernet::{Config, Encryption, Mesh};
use support::{eventually, resident, soon};

/// Enough nodes for 105 links between them.
const NODES: usize = 15;
const LINKS: usize = NODES * (NODES - 1) / 2;

async fn open() -> Mesh {
    let config = Config { max_outgoing: 0, ..Config::default() };
    Mesh::builder().encryption(Encryption::Plaintext).config(config).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_links_are_small() {
    let first = open().await;
    let process = resident();
    assert!(process < 10 << 20, "a process with an idle node takes {} KiB", process >> 10);

    let mut nodes = vec![first];
    while nodes.len() < NODES {
        nodes.push(open().await);
    }
    let each = resident().saturating_sub(process) / (NODES - 1);
    assert!(each < 1 << 20, "an idle node takes {} KiB", each >> 10);

    let before = resident();
    for (at, node) in nodes.iter().enumerate() {
        for other in &nodes[..at] {
            soon("nodes connect", node.connect(&other.address().to_string())).await.unwrap();
        }
    }
    let all = u64::try_from(NODES - 1).unwrap();
    eventually("all are linked", || nodes.iter().all(|node| node.stats().peers == all).then_some(())).await;
    let link = resident().saturating_sub(before) / LINKS;
    // Both ends are in this process.
    assert!(link < 2 * (64 << 10), "a link takes {} KiB at both ends together", link >> 10);

    // And after every link has carried something.
    for node in &nodes {
        for n in 0..20 {
            node.broadcast(&(n, "x".repeat(100))).await.unwrap();
        }
    }
    for node in &nodes {
        for _ in 0..20 * (NODES - 1) {
            soon("a broadcast arrives", node.recv()).await.unwrap();
        }
    }
    let used = resident().saturating_sub(before) / LINKS;
    // Read buffers have grown with the burst, each to its bound at most.
    assert!(used < 2 * (256 << 10), "a used link takes {} KiB at both ends together", used >> 10);
    eprintln!(
        "process {} KiB, node {} KiB, link {} KiB, used link {} KiB",
        process >> 10,
        each >> 10,
        link >> 10,
        used >> 10
    );
}
