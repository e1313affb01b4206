//! Who may join, through the front door (`spec/07-trust.md`). Every address is a loopback one.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::{Builder, CloseReason, Encryption, Error, Event, Mesh};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not happen in time")
}

fn keys(n: u8) -> KeyPair {
    KeyPair::from_secret([n; 32])
}

/// The id of a node of the default subnet with the `n`th keys.
fn id(n: u8) -> NodeId {
    NodeId::of_key(&keys(n).public(), &ProtocolId::derive("mesh", "tls/mesh"))
}

fn builder(n: u8) -> Builder {
    Mesh::builder().identity(keys(n))
}

async fn joins(from: &Mesh, to: &Mesh) -> Result<NodeId, Error> {
    soon(from.connect(&to.address().to_string())).await
}

async fn disconnected(mesh: &Mesh) -> CloseReason {
    loop {
        if let Some(Event::Disconnected { reason, .. }) = soon(mesh.next_event()).await {
            return reason;
        }
    }
}

/// T-70
#[tokio::test]
async fn only_those_on_the_list_join() {
    let host = builder(1).allow([id(2)]).open().await.unwrap();
    let (guest, stranger) = (builder(2).open().await.unwrap(), builder(3).open().await.unwrap());
    assert_eq!(host.id(), &id(1));
    joins(&guest, &host).await.unwrap();
    let error = joins(&stranger, &host).await.unwrap_err();
    assert_eq!(error.code(), "connect");
    assert_eq!(host.peers().len(), 1);
    assert_eq!(host.stats().peers_refused, 1);

    // It holds for whom the node dials too, and says why.
    let error = joins(&host, &stranger).await.unwrap_err();
    assert!(error.to_string().contains("allow list"), "{error}");

    host.allow(stranger.id()).unwrap();
    joins(&stranger, &host).await.unwrap();
    host.disallow(guest.id()).unwrap();
    assert_eq!(disconnected(&host).await, CloseReason::NotAllowed);
}

/// T-71
#[tokio::test]
async fn a_ban_closes_the_link_and_keeps_it_closed() {
    let (host, other) = (builder(1).open().await.unwrap(), builder(2).open().await.unwrap());
    joins(&other, &host).await.unwrap();
    host.ban(other.id(), Duration::from_secs(3600)).unwrap();
    assert_eq!(disconnected(&host).await, CloseReason::Banned);
    let bans = host.bans();
    assert_eq!(bans.iter().map(|ban| &ban.peer).collect::<Vec<_>>(), [other.id()]);
    let rest = bans[0].until.duration_since(SystemTime::now()).unwrap();
    assert!((3500..=3600).contains(&rest.as_secs()), "{rest:?}");
    soon(other.close()).await;

    let again = builder(2).open().await.unwrap();
    joins(&again, &host).await.unwrap_err();
    host.unban(again.id()).unwrap();
    assert!(host.bans().is_empty());
    joins(&again, &host).await.unwrap();
}

/// T-73
#[tokio::test]
async fn the_program_decides() {
    let asked = Arc::<Mutex<Vec<_>>>::default();
    let (log, wanted) = (asked.clone(), id(2));
    let host = builder(1).admit(move |peer| {
        log.lock().unwrap().push(peer.clone());
        peer.id == wanted
    });
    let host = host.open().await.unwrap();
    let (guest, stranger) = (builder(2).open().await.unwrap(), builder(3).open().await.unwrap());
    joins(&guest, &host).await.unwrap();
    joins(&stranger, &host).await.unwrap_err();
    let error = joins(&host, &stranger).await.unwrap_err();
    assert!(error.to_string().contains("the program refused it"), "{error}");
    let asked = asked.lock().unwrap();
    let who: Vec<_> = asked.iter().map(|peer| (peer.id.clone(), peer.dialled)).collect();
    assert_eq!(who, [(id(2), false), (id(3), false), (id(3), true)]);
    assert!(asked.iter().all(|peer| peer.ip.is_some_and(|ip| ip.is_loopback())));
    assert_eq!((host.peers().len(), host.stats().peers_refused), (1, 2));
}

/// T-74
#[tokio::test]
async fn nobody_is_judged_by_an_id_that_is_not_proven() {
    let plain = || Mesh::builder().encryption(Encryption::Plaintext);
    for (builder, option) in [(plain().allow([id(1)]), "allow"), (plain().admit(|_| true), "admit")] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.to_string().contains(option) && error.to_string().contains("proves"), "{error}");
    }
    let mesh = plain().open().await.unwrap();
    let rules = [
        mesh.ban(&id(1), Duration::from_secs(1)),
        mesh.unban(&id(1)),
        mesh.allow(&id(1)),
        mesh.disallow(&id(1)),
    ];
    assert!(rules.iter().all(|result| matches!(result, Err(Error::Config(_)))));
    assert!(mesh.bans().is_empty());
}

/// T-75
#[tokio::test]
async fn bans_outlive_the_node() {
    let folder = std::env::temp_dir().join(format!("peernet-bans-{}", std::process::id()));
    let open = async || builder(1).data_dir(&folder).open().await;
    let other = builder(2).open().await.unwrap();
    let host = open().await.unwrap();
    host.ban(other.id(), Duration::from_secs(3600)).unwrap();
    host.ban(&id(3), Duration::from_secs(3600)).unwrap();
    host.ban(&id(4), Duration::ZERO).unwrap();
    host.unban(&id(3)).unwrap();
    let bans = host.bans();
    assert_eq!(bans.iter().map(|ban| &ban.peer).collect::<Vec<_>>(), [other.id()]);
    soon(host.close()).await;
    assert!(matches!(host.ban(&id(3), Duration::from_secs(1)), Err(Error::Closed)));

    let host = open().await.unwrap();
    assert_eq!(host.bans(), bans);
    joins(&other, &host).await.unwrap_err();
    host.unban(other.id()).unwrap();
    joins(&other, &host).await.unwrap();
    soon(host.close()).await;
    std::fs::remove_dir_all(folder).unwrap();
}
