//! What any transport must do: the same suite over each encryption that this build offers, over TCP and over
//! streams that programs bring. A new one is one more line at the end.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet::identity::NodeId;
use peernet::{Config, Encryption, Error, Event, Kind, Mesh, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod support;

use support::soon;

/// How nodes of a subnet come together.
#[derive(Clone, Copy)]
struct Way {
    encryption: Encryption,
    over: Over,
}

#[derive(Clone, Copy, PartialEq)]
enum Over {
    Tcp,
    /// Memory, so many bytes of it.
    Memory(usize),
    #[cfg(unix)]
    UnixSocket,
}

impl Way {
    /// `from` dials `to`. Whom it found.
    async fn join(self, from: &Mesh, to: &Mesh) -> Result<NodeId, Error> {
        let (found, _) = match self.over {
            Over::Tcp => return from.connect(&to.address().to_string()).await,
            Over::Memory(size) => {
                let (here, there) = tokio::io::duplex(size);
                tokio::join!(from.attach(here, Role::Dialler), to.attach(there, Role::Acceptor))
            }
            #[cfg(unix)]
            Over::UnixSocket => {
                let (here, there) = tokio::net::UnixStream::pair().unwrap();
                tokio::join!(from.attach(here, Role::Dialler), to.attach(there, Role::Acceptor))
            }
        };
        found
    }
}

async fn open(encryption: Encryption) -> Mesh {
    // Nobody dials but whom the test tells to.
    let config =
        Config { max_outgoing: 0, compression: Vec::new(), trust_lookups: true, ..Config::default() };
    Mesh::builder().encryption(encryption).config(config).open().await.unwrap()
}

/// A node, and another that dialled it.
async fn pair(way: Way) -> (Mesh, Mesh) {
    let (a, b) = (open(way.encryption).await, open(way.encryption).await);
    let found = soon("two nodes join", way.join(&b, &a)).await.unwrap();
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

async fn who_dials_is_told_who_answers(way: Way) {
    let (a, b) = pair(way).await;
    let (of_a, of_b) = (a.peers(), b.peers());
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    assert_eq!((&of_a[0].id, of_a[0].outgoing), (b.id(), false));
    assert_eq!((&of_b[0].id, of_b[0].outgoing), (a.id(), true));
    assert_eq!(of_a[0].address.as_ref(), Some(b.address()));
    let named = format!("{}@{}", a.id(), a.address());
    assert_eq!(soon("again", b.connect(&named)).await.unwrap(), *a.id());
}

async fn someone_else_is_refused(Way { encryption, .. }: Way) {
    let (a, b, c) = (open(encryption).await, open(encryption).await, open(encryption).await);
    let error = soon("b is refused", b.connect(&format!("{}@{}", c.id(), a.address()))).await.unwrap_err();
    assert!(error.to_string().contains(a.id().as_str()), "{error}");
    let error = soon("b finds itself", b.connect(&b.address().to_string())).await.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
    assert!(b.peers().is_empty());
}

async fn another_subnet_is_refused(way: Way) {
    let a = open(way.encryption).await;
    let b = Mesh::builder().subnet("another").encryption(way.encryption).open().await.unwrap();
    let error = soon("b is refused", way.join(&b, &a)).await.unwrap_err();
    assert_eq!(error.code(), "connect");
    assert!(error.to_string().contains("another subnet"), "{error}");
    assert!(a.peers().is_empty() && b.peers().is_empty());
}

async fn broadcasts_and_whispers_arrive(way: Way) {
    let (a, b) = pair(way).await;
    let c = open(way.encryption).await;
    soon("c joins", way.join(&c, &a)).await.unwrap();
    connected(&a, &c).await;
    // By way of a.
    assert_eq!(b.broadcast(&("to all", 1)).await.unwrap().links, 1);
    for mesh in [&a, &c] {
        let message = next(mesh).await;
        if way.over != Over::Tcp && mesh.id() == c.id() {
            // What is named over a stream is not dialled on this machine.
            soon("c joins b", way.join(&c, &b)).await.unwrap();
        }
        assert_eq!((message.kind(), message.sender()), (Kind::Broadcast, b.id()));
        assert_eq!(message.payload(), ["to all".into(), 1.into()]);
        soon("an answer", message.reply(&("heard", mesh.id().as_str()))).await.unwrap();
        let answer = next(&b).await;
        assert_eq!((answer.kind(), answer.sender()), (Kind::Whisper, mesh.id()));
        assert_eq!(answer.payload(), ["heard".into(), mesh.id().as_str().into()]);
    }
}

async fn messages_of_any_size_arrive_whole(way: Way) {
    let (a, b) = pair(way).await;
    // Around the sizes of TLS records, of buffers and of a large frame.
    for size in [0, 1, 1_000, 16_383, 16_384, 16_385, 65_535, 65_536, 1_000_000, 9_000_000] {
        let payload: Vec<u8> = (0..size).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
        for (from, to) in [(&a, &b), (&b, &a)] {
            soon("room", from.broadcast(&(payload.clone(),))).await.unwrap();
            assert!(next(to).await.bytes() == Some(&payload[..]), "{size} bytes changed on the way");
        }
    }
}

async fn many_messages_both_ways_arrive_in_order(way: Way) {
    const COUNT: u64 = 20_000;
    let (a, b) = pair(way).await;
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

async fn what_was_accepted_is_written_before_the_end(way: Way) {
    let (a, b) = pair(way).await;
    for number in 0..500 {
        b.broadcast(&(number, vec![0_u8; 1000])).await.unwrap();
    }
    soon("b leaves", b.close()).await;
    for number in 0..500_u64 {
        assert_eq!(next(&a).await.payload()[0].as_u64(), Some(number));
    }
    parted(&a, &b).await;
}

async fn an_abrupt_end_is_noticed(way: Way) {
    let (a, b) = pair(way).await;
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
    let c = open(way.encryption).await;
    soon("c joins", way.join(&c, &a)).await.unwrap();
}

async fn a_link_that_is_closed_can_be_made_again(way: Way) {
    let (a, b) = pair(way).await;
    b.disconnect(a.id()).await.unwrap();
    parted(&a, &b).await;
    assert!(b.peers().is_empty());
    soon("again", way.join(&b, &a)).await.unwrap();
    connected(&a, &b).await;
    b.broadcast(&("again",)).await.unwrap();
    assert_eq!(next(&a).await.bytes(), Some(&b"again"[..]));
}

/// Strangers that say nothing, rubbish, or little, change nothing for others and are got rid of.
async fn strangers_are_got_rid_of(Way { encryption, .. }: Way) {
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

async fn nobody_is_there(Way { encryption, .. }: Way) {
    let a = open(encryption).await;
    let free = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap().to_string()
    };
    let error = soon("an error", a.connect(&free)).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    assert!(error.to_string().contains(&free), "{error}");
}

/// The suite over each encryption, over TCP first.
macro_rules! suite {
    ($($module:ident: $encryption:expr, $over:expr;)*) => {
        $(mod $module {
            use super::{Encryption, Over};

            suite!(@ $encryption, $over =>
                who_dials_is_told_who_answers
                another_subnet_is_refused
                broadcasts_and_whispers_arrive
                messages_of_any_size_arrive_whole
                many_messages_both_ways_arrive_in_order
                what_was_accepted_is_written_before_the_end
                an_abrupt_end_is_noticed
                a_link_that_is_closed_can_be_made_again
            );
        })*
    };
    (listening: $($module:ident: $encryption:expr;)*) => {
        $(mod $module {
            use super::{Encryption, Over};

            suite!(@ $encryption, Over::Tcp =>
                someone_else_is_refused
                strangers_are_got_rid_of
                nobody_is_there
            );
        })*
    };
    (@ $encryption:expr, $over:expr => $($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            super::$name(super::Way { encryption: $encryption, over: $over }).await;
        })*
    };
}

//
suite! {
    plaintext: Encryption::Plaintext, Over::Tcp;
    tls: Encryption::Tls, Over::Tcp;
    ssl: Encryption::Ssl, Over::Tcp;
    ws: Encryption::Ws, Over::Tcp;
    wss: Encryption::Wss, Over::Tcp;
    plaintext_in_memory: Encryption::Plaintext, Over::Memory(64 << 10);
    plaintext_in_little_memory: Encryption::Plaintext, Over::Memory(1000);
    tls_in_memory: Encryption::Tls, Over::Memory(64 << 10);
    ssl_in_memory: Encryption::Ssl, Over::Memory(64 << 10);
    ws_in_memory: Encryption::Ws, Over::Memory(64 << 10);
    wss_in_memory: Encryption::Wss, Over::Memory(64 << 10);
}

#[cfg(unix)]
suite! {
    tls_over_unix_sockets: Encryption::Tls, Over::UnixSocket;
}

suite! { listening:
    plaintext_listening: Encryption::Plaintext;
    tls_listening: Encryption::Tls;
    ssl_listening: Encryption::Ssl;
    ws_listening: Encryption::Ws;
    wss_listening: Encryption::Wss;
}

/// a process whose output is its input is ourselves.
#[cfg(unix)]
#[tokio::test]
async fn the_pipes_of_a_process_are_a_stream() {
    let mesh = open(Encryption::Plaintext).await;
    let mut echo = tokio::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stream = tokio::io::join(echo.stdout.take().unwrap(), echo.stdin.take().unwrap());
    let error = soon("an answer", mesh.attach(stream, Role::Dialler)).await.unwrap_err();
    assert!(matches!(&error, Error::Connect(_)) && error.to_string().contains("itself"), "{error}");
    assert!(mesh.peers().is_empty());
    // Nothing holds its pipes any more.
    assert!(soon("it ends", echo.wait()).await.unwrap().success());
}

/// two that both wait for the other to speak first, and two that both do.
#[tokio::test]
async fn both_sides_must_be_different_ones() {
    for encryption in [Encryption::Plaintext, Encryption::Tls] {
        for role in [Role::Dialler, Role::Acceptor] {
            let config = Config {
                handshake_timeout: Duration::from_millis(300),
                dial_timeout: Duration::from_millis(300),
                ..Config::default()
            };
            let builder = || Mesh::builder().encryption(encryption).config(config.clone());
            let (a, b) = (builder().open().await.unwrap(), builder().open().await.unwrap());
            let (here, there) = tokio::io::duplex(64 << 10);
            let (one, other) =
                soon("both give up", async { tokio::join!(a.attach(here, role), b.attach(there, role)) })
                    .await;
            if encryption == Encryption::Plaintext && role == Role::Dialler {
                // Nothing tells them apart here, and nobody needs to.
                assert_eq!((one.unwrap(), other.unwrap()), (b.id().clone(), a.id().clone()));
            } else {
                assert!(matches!(one, Err(Error::Connect(_))) && matches!(other, Err(Error::Connect(_))));
            }
        }
    }
}

/// X-32, L-57
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_streams_are_got_rid_of() {
    for encryption in [Encryption::Plaintext, Encryption::Tls, Encryption::Ws] {
        let config = Config {
            handshake_timeout: Duration::from_millis(300),
            max_opening: 4,
            max_per_address: Some(1),
            connects_per_minute: Some(1_000),
            ..Config::default()
        };
        let a = Mesh::builder().encryption(encryption).config(config).open().await.unwrap();
        let mut strangers = Vec::new();
        for said in [&b""[..], b"\0", b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1], &[0xff; 1000]].repeat(3) {
            let (here, mut there) = tokio::io::duplex(64 << 10);
            there.write_all(said).await.unwrap();
            strangers.push((a.attach(here, Role::Acceptor), there));
        }
        let mut kept = Vec::new();
        let waiting = strangers.into_iter().map(|(waiting, there)| {
            kept.push(there);
            waiting
        });
        for failed in soon("all fail", futures_all(waiting.collect())).await {
            assert!(matches!(failed, Err(Error::Connect(_))), "{encryption:?}: {failed:?}");
        }
        let way = Way { encryption, over: Over::Memory(64 << 10) };
        let peers = [open(encryption).await, open(encryption).await];
        for peer in &peers {
            soon("a peer joins", way.join(peer, &a)).await.unwrap();
        }
        assert_eq!(a.peers().len(), 2, "one stream is as far from another as it can be");
    }
}

/// Waits for all of them at the same time.
async fn futures_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect()),
            false => std::task::Poll::Pending,
        }
    })
    .await
}
