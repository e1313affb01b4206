//! What a program sees of [`Mesh`], over each encryption.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::{KeyPair, ProtocolId, Secret};
use peernet::{Encryption, Error, Mesh};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(encryption: Encryption) -> Mesh {
    Mesh::builder().encryption(encryption).open().await.unwrap()
}

async fn pair(encryption: Encryption) -> (Mesh, Mesh) {
    let (a, b) = (open(encryption).await, open(encryption).await);
    b.connect(&a.address().to_string()).await.unwrap();
    (a, b)
}

/// M-15; T-40, by which nothing is ever the same again.
async fn the_same_payload_is_heard_as_often_as_it_was_accepted(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    let mut accepted = 0;
    let refused = loop {
        match b.try_broadcast(&("tick",)) {
            Ok(report) => assert_eq!(report.links, 1),
            Err(error) => break Some(error),
        }
        accepted += 1;
        if accepted == 100 {
            break None;
        }
    };
    match encryption {
        Encryption::Tls => assert!(refused.is_none(), "{refused:?}"),
        _ => assert!(accepted >= 6 && matches!(refused, Some(Error::Repeated)), "{refused:?}"),
    }
    // One that waits is accepted in the end.
    timeout(PATIENCE, b.broadcast(&("tick",))).await.unwrap().unwrap();
    b.broadcast(&("end",)).await.unwrap();
    for _ in 0..=accepted {
        let message = timeout(PATIENCE, a.recv()).await.unwrap().unwrap();
        assert_eq!(message.bytes(), Some(&b"tick"[..]));
    }
    assert_eq!(timeout(PATIENCE, a.recv()).await.unwrap().unwrap().bytes(), Some(&b"end"[..]));
}

/// T-38, T-40: what is proven is said to be, and times are seconds everywhere.
async fn programs_are_told_what_is_proven(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    b.broadcast(&("to all",)).await.unwrap();
    b.send(a.id(), &("to you",)).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for _ in 0..2 {
        let message = timeout(PATIENCE, a.recv()).await.unwrap().unwrap();
        assert_eq!(message.verified(), encryption == Encryption::Tls);
        assert!(message.time().abs_diff(i64::try_from(now).unwrap()) < 3600);
    }
    assert_eq!(a.stats().forged, 0);
}

async fn many_are_received_at_once_and_in_order(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    for number in 0..1000 {
        b.broadcast(&(number,)).await.unwrap();
    }
    let mut messages = Vec::new();
    while messages.len() < 1000 {
        let before = messages.len();
        let count = timeout(PATIENCE, a.recv_many(&mut messages, 64)).await.unwrap().unwrap();
        assert!((1..=64).contains(&count));
        assert_eq!(messages.len(), before + count);
    }
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message.payload(), [(number as u64).into()]);
    }
    assert_eq!(a.recv_many(&mut messages, 0).await.unwrap(), 0);
    a.close().await;
    assert!(matches!(a.recv_many(&mut messages, 64).await, Err(Error::Closed)));
}

async fn closing_twice_and_using_after_close_are_defined(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    b.broadcast(&("last words",)).await.unwrap();
    b.close().await;
    b.close().await;
    assert_eq!(a.recv().await.unwrap().bytes(), Some(&b"last words"[..]), "what was accepted is written");
    assert!(matches!(b.broadcast(&("x",)).await, Err(Error::Closed)));
    assert!(matches!(b.try_broadcast(&("x",)), Err(Error::Closed)));
    assert!(matches!(b.send(a.id(), &("x",)).await, Err(Error::Closed)));
    assert!(matches!(b.connect(&a.address().to_string()).await, Err(Error::Closed)));
    assert!(matches!(b.recv().await, Err(Error::Closed)));
    assert!(b.next_event().await.is_none());
    assert!(b.peers().is_empty());
}

async fn hooks_see_their_codes_first_and_may_take(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    let (taken, mut took) = tokio::sync::mpsc::unbounded_channel();
    a.on_code(0x40, move |message| taken.send(message.payload()).is_ok()).unwrap();
    assert!(matches!(a.on_code(0x05, |_| true), Err(Error::Code { code: 5 })));
    b.broadcast_as(0x40, &("to the hook", 1)).await.unwrap();
    b.broadcast_as(0x41, &("to nobody",)).await.unwrap();
    b.send_as(a.id(), 0x40, &("to the hook", 2)).await.unwrap();
    b.broadcast(&("to all",)).await.unwrap();
    assert_eq!(timeout(PATIENCE, took.recv()).await.unwrap().unwrap(), ["to the hook".into(), 1.into()]);
    assert_eq!(timeout(PATIENCE, took.recv()).await.unwrap().unwrap(), ["to the hook".into(), 2.into()]);
    assert_eq!(timeout(PATIENCE, a.recv()).await.unwrap().unwrap().bytes(), Some(&b"to all"[..]));
    assert!(matches!(b.broadcast_as(0x30, &("x",)).await, Err(Error::Code { .. })));
}

/// Whatever does not wait works within a hook, also what the program is told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_may_use_their_node() {
    let (a, b) = pair(Encryption::Tls).await;
    let a = std::sync::Arc::new(a);
    let hooked = std::sync::Arc::downgrade(&a);
    let hook = move |message: &peernet::Message| {
        let Some(a) = hooked.upgrade() else { return false };
        assert!(!a.is_closed() && a.try_recv().is_ok());
        a.on_code(0x40, |_| false).unwrap();
        a.ban(message.sender(), Duration::from_secs(60)).is_ok()
    };
    a.on_code(0x40, hook).unwrap();
    b.broadcast_as(0x40, &("out with me",)).await.unwrap();
    let told = async {
        loop {
            match a.next_event().await {
                Some(peernet::Event::Disconnected { peer, .. }) => break peer,
                other => drop(other.unwrap()),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, told).await.unwrap(), *b.id());
}

/// L-30 to L-32: a program that does not read is told how much it missed, and goes on behind it.
async fn a_program_that_does_not_read_is_told_what_it_missed(encryption: Encryption) {
    let config = peernet::Config {
        inbox_messages: 100,
        inbox_patience: Duration::from_millis(20),
        ..peernet::Config::local()
    };
    let a = Mesh::builder().encryption(encryption).config(config).open().await.unwrap();
    let b = open(encryption).await;
    b.connect(&a.address().to_string()).await.unwrap();
    let sent = 5_000_u64;
    for n in 0..sent {
        b.broadcast(&(n,)).await.unwrap();
    }
    let handled = async {
        while a.stats().delivered < sent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, handled).await.unwrap();
    let (mut read, mut missed, mut next) = (0, 0, 0);
    while read + missed < sent {
        match timeout(PATIENCE, a.recv()).await.unwrap() {
            Ok(message) => {
                let number = message.payload()[0].as_u64().unwrap();
                assert_eq!(number, next, "in order, with gaps where they were told");
                (read, next) = (read + 1, number + 1);
            }
            Err(Error::Lagged { count }) => (missed, next) = (missed + count, next + count),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(missed > 0 && read >= 100, "{read} read, {missed} missed");
    assert_eq!(a.stats().lagged, missed);
    b.broadcast(&("still open",)).await.unwrap();
    assert_eq!(timeout(PATIENCE, a.recv()).await.unwrap().unwrap().bytes(), Some(&b"still open"[..]));
}

async fn wrong_use_fails_early_and_says_what_to_do(encryption: Encryption) {
    let builder = || Mesh::builder().encryption(encryption);
    assert_eq!(builder().listen("nowhere").open().await.unwrap_err().code(), "address");
    assert_eq!(builder().listen("192.0.2.1:4444").open().await.unwrap_err().code(), "listen");
    let config = peernet::Config { max_peers: 0, ..peernet::Config::default() };
    assert_eq!(builder().config(config).open().await.unwrap_err().code(), "config");
    let mesh = open(encryption).await;
    assert_eq!(mesh.connect("127.0.0.1").await.unwrap_err().code(), "address");
    let nobody = "127.0.0.1:1";
    let error = mesh.connect(nobody).await.unwrap_err();
    assert_eq!(error.code(), "connect");
    assert!(error.to_string().contains(nobody), "{error}");
    let big = vec![0_u8; (16 << 20) + 1];
    assert_eq!(mesh.broadcast(&(big,)).await.unwrap_err().code(), "too_large");
    let itself = mesh.connect(&mesh.address().to_string()).await.unwrap_err();
    assert!(itself.to_string().contains("itself"), "{itself}");
}

/// A loop that only sends leaves room for everything else, also with nobody to send to.
async fn a_sending_loop_does_not_starve_its_thread(encryption: Encryption) {
    let mesh = open(encryption).await;
    let sending = async {
        for n in 0_u64.. {
            mesh.broadcast(&(n,)).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        () = sending => {}
        () = tokio::time::sleep(Duration::from_millis(10)) => {}
    }
}

/// The tests above over each encryption.
macro_rules! over_each_encryption {
    ($($name:ident)*) => {
        over_each_encryption!(plaintext, Plaintext => $($name)*);
        over_each_encryption!(tls, Tls => $($name)*);
    };
    ($module:ident, $encryption:ident => $($name:ident)*) => {
        mod $module {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Encryption::$encryption).await;
            })*
        }
    };
}

over_each_encryption! {
    the_same_payload_is_heard_as_often_as_it_was_accepted
    programs_are_told_what_is_proven
    many_are_received_at_once_and_in_order
    closing_twice_and_using_after_close_are_defined
    hooks_see_their_codes_first_and_may_take
    a_program_that_does_not_read_is_told_what_it_missed
    wrong_use_fails_early_and_says_what_to_do
    a_sending_loop_does_not_starve_its_thread
}

/// T-18
#[tokio::test]
async fn what_needs_proven_ids_is_refused_without_them() {
    let keys = KeyPair::generate(&mut rand::rng());
    let secret = Secret::generate(&mut rand::rng());
    let plain = || Mesh::builder().encryption(Encryption::Plaintext);
    for (option, builder) in [
        ("identity", plain().identity(keys)),
        ("secret", plain().secret(secret)),
        ("sign", plain().sign(true)),
        ("sign", plain().sign(false)),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.to_string().contains(option) && error.to_string().contains("tls"), "{error}");
    }
}

/// T-37: a subnet signs or does not, and the two never meet.
#[tokio::test]
async fn without_signatures_only_whispers_are_proven() {
    let open = |sign| Mesh::builder().sign(sign).open();
    let (a, b, signed) = (open(false).await.unwrap(), open(false).await.unwrap(), open(true).await.unwrap());
    let protocol = ProtocolId::derive("mesh", "tls/mesh/unsigned");
    assert_eq!(a.protocol(), &protocol);
    assert!(signed.connect(&a.address().to_string()).await.is_err());
    b.connect(&a.address().to_string()).await.unwrap();
    for n in 0..20 {
        b.broadcast(&("the same",)).await.unwrap();
        let message = timeout(PATIENCE, a.recv()).await.unwrap().unwrap();
        assert!(!message.verified() && message.sender() == b.id(), "{n}");
    }
    b.send(a.id(), &("to you",)).await.unwrap();
    assert!(timeout(PATIENCE, a.recv()).await.unwrap().unwrap().verified());
}
