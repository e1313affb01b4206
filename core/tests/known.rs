//! The peer book through the front door (`spec/11-state.md`, K-30 to K-46). Every address is a loopback
//! one.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use peernet::store::MemoryStore;
use peernet::{Builder, Config, Error, Mesh};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

async fn eventually(what: &str, reached: impl Fn() -> bool) {
    let wait = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}: it did not happen in time");
}

/// A node that is quick to see to its links.
fn builder() -> Builder {
    Mesh::builder().config(Config { ask_interval: Duration::from_millis(100), ..Config::local() })
}

/// K-36, K-41
#[tokio::test]
async fn a_node_comes_back_without_being_told_an_address() {
    let hosts = [builder().open().await.unwrap(), builder().open().await.unwrap()];
    hosts[1].save(&hosts[0].address().to_string()).unwrap();
    let store = Arc::new(MemoryStore::default());
    let node = builder().store(store.clone()).open().await.unwrap();
    node.connect(&hosts[0].address().to_string()).await.unwrap();
    // It learns of the other by itself.
    eventually("it knows both", || node.peers().len() == 2 && hosts[1].peers().len() == 2).await;
    node.close().await;
    drop(node);

    let node = builder().store(store).open().await.unwrap();
    eventually("it is back", || node.peers().len() == 2).await;
    let stats = node.peer_stats(&hosts[0].address().to_string()).unwrap().unwrap();
    assert_eq!(stats.id.as_ref(), Some(hosts[0].id()));
    assert!(stats.connections_ok >= 1 && stats.latency.is_some() && stats.last_seen.is_some());
    let mut connections = node.connections();
    connections.sort();
    let mut expected: Vec<String> =
        hosts.iter().map(|host| format!("{}@{}", host.id(), host.address())).collect();
    expected.sort();
    assert_eq!(connections, expected);
}

/// K-30, K-33
#[tokio::test]
async fn known_addresses_are_saved_told_and_removed() {
    let node = Mesh::builder().config(Config { connections: 0, ..Config::local() }).open().await.unwrap();
    for address in ["127.0.0.1:9", "localhost:1"] {
        node.save(address).unwrap();
    }
    assert!(matches!(node.save("nowhere"), Err(Error::Address(_))));
    let names = || node.known().iter().map(|known| known.address.to_string()).collect::<Vec<_>>();
    assert_eq!(names(), ["127.0.0.1:9", "localhost:1"]);
    let mut stream = node.known_stream();
    let mut streamed = Vec::new();
    while let Some(known) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        assert!(known.saved);
        streamed.push(known.address.to_string());
    }
    assert_eq!(streamed, names());
    node.remove("localhost:1").unwrap();
    assert_eq!(names(), ["127.0.0.1:9"]);
    assert_eq!(node.peer_stats("localhost:1").unwrap(), None);
    node.close().await;
    assert!(matches!(node.save("localhost:1"), Err(Error::Closed)));
    assert!(matches!(node.remove("localhost:1"), Err(Error::Closed)));
}

/// K-36
#[tokio::test]
async fn the_book_of_a_node_that_does_not_run_can_be_changed() {
    let store = Arc::new(MemoryStore::default());
    let book = || builder().store(store.clone()).peer_book();
    book().unwrap().save("127.0.0.1:9").unwrap();
    assert_eq!(book().unwrap().known().len(), 1);
    let node = builder().store(store.clone()).open().await.unwrap();
    assert!(node.peer_stats("127.0.0.1:9").unwrap().unwrap().saved);
    node.close().await;
    drop(node);
    book().unwrap().remove("127.0.0.1:9").unwrap();
    assert_eq!(book().unwrap().known(), []);
    let error = builder().peer_book().unwrap_err();
    assert_eq!(error.code(), "config");
}
