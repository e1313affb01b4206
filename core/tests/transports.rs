//! What any transport must do: the same suite over each encryption that this build offers. A new one
//! is one more line at the end.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::{Config, Encryption, Error, Event, Kind, Mesh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod support;

use support::soon;

async fn open(encryption: Encryption) -> Mesh {
    // Nobody dials but whom the test tells to.
    let config =
        Config { max_outgoing: 0, compression: Vec::new(), trust_lookups: true, ..Config::default() };
    Mesh::builder().encryption(encryption).config(config).open().await.unwrap()
}

/// A node, and another that dialled it.
async fn pair(encryption: Encryption) -> (Mesh, Mesh) {
    let (a, b) = (open(encryption).await, open(encryption).await);
    let found = soon("two nodes join", b.connect(&a.address().to_string())).await.unwrap();
    assert_eq!(found, *a.id());
    connected(&a, &b).await;
    (a, b)
}

/// Waits until `a` tells that it is joined to `b`.
async fn connected(a: &Mesh, b: &Mesh) {
    soon("a neighbour is told", async {
        loop {
            match a.next_event().await.unwrap() {
                Event::Connected { peer, .. } if peer == *b.id() => return,
                _ => {}
            }
        }
    })
    .await;
}

async fn next(mesh: &Mesh) -> peernet::Message {
    soon("a message arrives", mesh.recv()).await.unwrap()
}

/// Waits until `a` tells that `b` is gone.
async fn parted(a: &Mesh, b: &Mesh) {
    soon("a neighbour is gone", async {
        loop {
            match a.next_event().await.unwrap() {
                Event::Disconnected { peer, .. } if peer == *b.id() => return,
                _ => {}
            }
        }
    })
    .await;
    assert!(a.peers().is_empty());
}

async fn who_dials_is_told_who_answers(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    let (of_a, of_b) = (a.peers(), b.peers());
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    assert_eq!((&of_a[0].id, of_a[0].outgoing), (b.id(), false));
    assert_eq!((&of_b[0].id, of_b[0].outgoing), (a.id(), true));
    assert_eq!(of_a[0].address.as_ref(), Some(b.address()));
    let named = format!("{}@{}", a.id(), a.address());
    assert_eq!(soon("again", b.connect(&named)).await.unwrap(), *a.id());
}

async fn someone_else_is_refused(encryption: Encryption) {
    let (a, b, c) = (open(encryption).await, open(encryption).await, open(encryption).await);
    let error = soon("b is refused", b.connect(&format!("{}@{}", c.id(), a.address()))).await.unwrap_err();
    assert!(error.to_string().contains(a.id().as_str()), "{error}");
    let error = soon("b finds itself", b.connect(&b.address().to_string())).await.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
    assert!(b.peers().is_empty());
}

async fn another_subnet_is_refused(encryption: Encryption) {
    let a = open(encryption).await;
    let b = Mesh::builder().subnet("another").encryption(encryption).open().await.unwrap();
    let error = soon("b is refused", b.connect(&a.address().to_string())).await.unwrap_err();
    assert_eq!(error.code(), "connect");
    assert!(error.to_string().contains("another subnet"), "{error}");
    assert!(a.peers().is_empty() && b.peers().is_empty());
}

async fn broadcasts_and_whispers_arrive(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    let c = open(encryption).await;
    soon("c joins", c.connect(&a.address().to_string())).await.unwrap();
    connected(&a, &c).await;
    // By way of a.
    assert_eq!(b.broadcast(&("to all", 1)).await.unwrap().links, 1);
    for mesh in [&a, &c] {
        let message = next(mesh).await;
        assert_eq!((message.kind(), message.sender()), (Kind::Broadcast, b.id()));
        assert_eq!(message.payload(), ["to all".into(), 1.into()]);
        soon("an answer", message.reply(&("heard", mesh.id().as_str()))).await.unwrap();
        let answer = next(&b).await;
        assert_eq!((answer.kind(), answer.sender()), (Kind::Whisper, mesh.id()));
        assert_eq!(answer.payload(), ["heard".into(), mesh.id().as_str().into()]);
    }
}

async fn messages_of_any_size_arrive_whole(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    // Around the sizes of TLS records, of buffers and of a large frame.
    for size in [0, 1, 1_000, 16_383, 16_384, 16_385, 65_535, 65_536, 1_000_000, 9_000_000] {
        let payload: Vec<u8> = (0..size).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
        for (from, to) in [(&a, &b), (&b, &a)] {
            soon("room", from.broadcast(&(payload.clone(),))).await.unwrap();
            assert!(next(to).await.bytes() == Some(&payload[..]), "{size} bytes changed on the way");
        }
    }
}

async fn many_messages_both_ways_arrive_in_order(encryption: Encryption) {
    const COUNT: u64 = 20_000;
    let (a, b) = pair(encryption).await;
    let send = async |mesh: &Mesh| {
        for number in 0..COUNT {
            mesh.broadcast(&(number, vec![number as u8; (number % 300) as usize])).await.unwrap();
        }
    };
    let read = async |mesh: &Mesh| {
        let (mut messages, mut count) = (Vec::new(), 0);
        while count < COUNT {
            mesh.recv_many(&mut messages, 1000).await.unwrap();
            for message in messages.drain(..) {
                assert_eq!(message.payload()[0].as_u64(), Some(count));
                count += 1;
            }
        }
    };
    soon("all arrive", async { tokio::join!(send(&a), send(&b), read(&a), read(&b)) }).await;
}

async fn what_was_accepted_is_written_before_the_end(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    for number in 0..500 {
        b.broadcast(&(number, vec![0_u8; 1000])).await.unwrap();
    }
    soon("b leaves", b.close()).await;
    for number in 0..500_u64 {
        assert_eq!(next(&a).await.payload()[0].as_u64(), Some(number));
    }
    parted(&a, &b).await;
}

async fn an_abrupt_end_is_noticed(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    let id = b.id().clone();
    drop(b);
    soon("a notices", async {
        loop {
            if let Event::Disconnected { peer, .. } = a.next_event().await.unwrap() {
                break assert_eq!(peer, id);
            }
        }
    })
    .await;
    assert!(a.peers().is_empty());
    // And goes on.
    let c = open(encryption).await;
    soon("c joins", c.connect(&a.address().to_string())).await.unwrap();
}

async fn a_link_that_is_closed_can_be_made_again(encryption: Encryption) {
    let (a, b) = pair(encryption).await;
    b.disconnect(a.id()).await.unwrap();
    parted(&a, &b).await;
    assert!(b.peers().is_empty());
    soon("again", b.connect(&a.address().to_string())).await.unwrap();
    connected(&a, &b).await;
    b.broadcast(&("again",)).await.unwrap();
    assert_eq!(next(&a).await.bytes(), Some(&b"again"[..]));
}

/// Strangers that say nothing, rubbish, or little, change nothing for others and are got rid of.
async fn strangers_are_got_rid_of(encryption: Encryption) {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..Config::default() };
    let a = Mesh::builder().encryption(encryption).config(config).open().await.unwrap();
    let address = (a.address().host.as_str(), a.address().port);
    let mut strangers = Vec::new();
    for said in [&b""[..], b"\0", b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1], &[0xff; 100_000]] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        // It may hang up before it has read all.
        let _ = stranger.write_all(said).await;
        strangers.push(stranger);
    }
    let b = open(encryption).await;
    soon("b joins", b.connect(&a.address().to_string())).await.unwrap();
    for mut stranger in strangers {
        let mut answer = Vec::new();
        let _ = soon("a stranger is got rid of", stranger.read_to_end(&mut answer)).await;
    }
    assert_eq!(a.peers().len(), 1);
}

async fn nobody_is_there(encryption: Encryption) {
    let a = open(encryption).await;
    let free = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap().to_string()
    };
    let error = soon("an error", a.connect(&free)).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    assert!(error.to_string().contains(&free), "{error}");
}

/// The suite over each encryption.
macro_rules! suite {
    ($($module:ident: $encryption:expr;)*) => {
        $(mod $module {
            use super::Encryption;

            suite!(@ $encryption =>
                who_dials_is_told_who_answers
                someone_else_is_refused
                another_subnet_is_refused
                broadcasts_and_whispers_arrive
                messages_of_any_size_arrive_whole
                many_messages_both_ways_arrive_in_order
                what_was_accepted_is_written_before_the_end
                an_abrupt_end_is_noticed
                a_link_that_is_closed_can_be_made_again
                strangers_are_got_rid_of
                nobody_is_there
            );
        })*
    };
    (@ $encryption:expr => $($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            super::$name($encryption).await;
        })*
    };
}

suite! {
    plaintext: Encryption::Plaintext;
    tls: Encryption::Tls;
    ssl: Encryption::Ssl;
    ws: Encryption::Ws;
    wss: Encryption::Wss;
}
