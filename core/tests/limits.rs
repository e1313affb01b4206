//! Bounds in time and size that only sockets show (`spec/05-limits.md`). Every address is a loopback one.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::time::{Duration, Instant};

use peernet::identity::NodeId;
use peernet::protocol::Handshake;
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Message, frame};
use peernet::{Address, CloseReason, Config, Encryption, Error, Event, Mesh, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not happen in time")
}

async fn open(config: Config) -> Mesh {
    Mesh::builder().encryption(Encryption::Plaintext).config(config).open().await.unwrap()
}

async fn stranger(mesh: &Mesh) -> TcpStream {
    TcpStream::connect(mesh.listening().to_string()).await.unwrap()
}

/// Whether the node has ended the link, without having said anything.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}

fn framed(message: &Message) -> Vec<u8> {
    let length = frame::length_field(message.body().len()).unwrap();
    [&length[..], message.body()].concat()
}

/// Shakes hands as a node that compresses nothing.
async fn neighbour(mesh: &Mesh) -> (TcpStream, NodeId) {
    let mut stream = stranger(mesh).await;
    let id = NodeId::parse("2Raw").unwrap();
    let payload = Handshake::payload(&id, mesh.protocol(), &Address::new("127.0.0.1", 9), &[]);
    let hello =
        Message::pack(kind::WHISPER, id.as_str(), Form::Str, 0, code::HANDSHAKE, &payload[..]).unwrap();
    stream.write_all(&framed(&hello)).await.unwrap();
    let connected = soon(mesh.next_event()).await;
    assert!(matches!(connected, Some(Event::Connected { peer, .. }) if peer == id));
    (stream, id)
}

async fn disconnected(mesh: &Mesh) -> CloseReason {
    loop {
        if let Some(Event::Disconnected { reason, .. }) = soon(mesh.next_event()).await {
            return reason;
        }
    }
}

/// L-3: a stranger's frame of 64 KiB is waited for, one of a byte more is not.
#[tokio::test]
async fn a_stranger_may_send_64_kib() {
    let mesh = open(Config::default()).await;
    let mut greedy = stranger(&mesh).await;
    greedy.write_all(&((64_u32 << 10) + 1).to_be_bytes()).await.unwrap();
    assert!(is_closed(&mut greedy).await);

    let mut modest = stranger(&mesh).await;
    modest.write_all(&(64_u32 << 10).to_be_bytes()).await.unwrap();
    modest.write_all(&vec![0; (64 << 10) - 1]).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(100), modest.read(&mut [0; 1])).await;
    assert!(quiet.is_err(), "the frame is not whole yet");
    // Whole it is no body.
    modest.write_all(&[0]).await.unwrap();
    assert!(is_closed(&mut modest).await);
}

/// L-6: a frame that does not come to its end ends the link, however it drips.
#[tokio::test]
async fn a_frame_must_arrive_in_time() {
    let config = Config { frame_timeout: Duration::from_millis(200), ..Config::default() };
    let mesh = open(config).await;
    let (mut stream, _) = neighbour(&mesh).await;
    let began = Instant::now();
    let drip = async {
        stream.write_all(&1000_u32.to_be_bytes()).await.unwrap();
        // Until the link is gone, which the other branch tells.
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (reason, ()) = tokio::join!(disconnected(&mesh), drip);
    assert_eq!(reason, CloseReason::SlowFrame);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

/// C-31, L-12: an address that does not answer at all.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dial_that_is_not_answered_fails() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: once the queue is full, the system leaves further connections unanswered.
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(stream.unwrap());
    }
    let mesh = open(Config { dial_timeout: Duration::from_millis(200), ..Config::default() }).await;
    let began = Instant::now();
    let error = soon(mesh.connect(&address.to_string())).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
}

/// L-34, L-35: a peer that reads nothing is told of, and then given up.
#[tokio::test]
async fn a_peer_that_never_reads_is_given_up() {
    let config = Config {
        slow_after: Duration::from_millis(100),
        stall_timeout: Duration::from_millis(400),
        ..Config::default()
    };
    let mesh = open(config).await;
    let (_stream, id) = neighbour(&mesh).await;
    let sending = async {
        // Waits while the queue is full; with the last link gone there is nobody to send to.
        let mut number = 0;
        while mesh.broadcast(&(number, "x".repeat(100_000))).await.unwrap().links > 0 {
            number += 1;
        }
    };
    let told = async {
        let slow = soon(mesh.next_event()).await;
        assert!(matches!(slow, Some(Event::SlowPeer { peer }) if peer == id));
        assert_eq!(disconnected(&mesh).await, CloseReason::Stalled);
    };
    soon(async { tokio::join!(sending, told) }).await;
}

/// L-39: closing waits for what is queued, but not for ever.
#[tokio::test]
async fn closing_waits_no_longer_than_it_should() {
    let config = Config { close_timeout: Duration::from_millis(300), ..Config::default() };
    let mesh = open(config).await;
    let (_stream, _) = neighbour(&mesh).await;
    // More than the sockets take while nobody reads.
    let full = (0..).find_map(|number| mesh.try_broadcast(&(number, "x".repeat(100_000))).err());
    assert!(matches!(full, Some(Error::Full { .. })));
    let began = Instant::now();
    soon(mesh.close()).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(10), "{took:?}");
}

/// L-19: what is under way on a link that goes is still read, for a while.
#[tokio::test]
async fn a_duplicate_is_read_until_it_is_closed() {
    let mesh = open(Config::default()).await;
    let id = NodeId::parse(&"z".repeat(66)).unwrap();
    let payload = [
        Value::from(id.as_str()),
        mesh.protocol().as_str().into(),
        Value::Array(vec!["127.0.0.1".into(), 9.into()]),
        Value::Array(vec![]),
    ];
    let hello = Message::pack(kind::WHISPER, id.as_str(), Form::Str, 0, code::HANDSHAKE, &payload).unwrap();
    // As js2p, whose older link goes at once when the greater id dials a second one.
    let mut older = stranger(&mesh).await;
    older.write_all(&framed(&hello)).await.unwrap();
    assert!(matches!(soon(mesh.next_event()).await, Some(Event::Connected { .. })));
    let mut newer = stranger(&mesh).await;
    newer.write_all(&framed(&hello)).await.unwrap();
    // Our direction of the older one ends; what it says after that is heard.
    soon(older.read_to_end(&mut Vec::new())).await.unwrap();
    let late = Message::pack(kind::WHISPER, id.as_str(), Form::Str, 0, code::WHISPER, &("late",)).unwrap();
    older.write_all(&framed(&late)).await.unwrap();
    assert_eq!(soon(mesh.recv()).await.unwrap().payload(), ["late".into()]);
    // Then it is closed altogether: writing to it fails in the end.
    let began = Instant::now();
    let given_up = async {
        while older.write_all(&framed(&late)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(given_up).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// How often a node slowed down a neighbour that sends 400 whispers of 1 KiB at once, all of which arrive.
async fn slowed_down(config: Config) -> u64 {
    const COUNT: u16 = 400;
    let mesh = open(config).await;
    let (mut stream, id) = neighbour(&mesh).await;
    let whisper = |n: u16| {
        let payload = (n, "x".repeat(1024));
        let message = Message::pack(kind::WHISPER, id.as_str(), Form::Str, 0, code::WHISPER, &payload);
        framed(&message.unwrap())
    };
    let all: Vec<u8> = (0..COUNT).flat_map(whisper).collect();
    let (written, ()) = tokio::join!(stream.write_all(&all), async {
        for n in 0..COUNT {
            assert_eq!(soon(mesh.recv()).await.unwrap().payload()[0], n.into());
        }
    });
    written.unwrap();
    mesh.stats().throttled
}

/// L-58, L-59: a peer that sends more than its share is read more slowly, and nothing is lost.
#[tokio::test]
async fn whoever_sends_too_much_is_read_more_slowly() {
    assert_eq!(slowed_down(Config::default()).await, 0);
    assert!(slowed_down(Config { messages_per_second: Some(200), ..Config::default() }).await > 0);
    assert!(slowed_down(Config { bytes_per_second: Some(200 << 10), ..Config::default() }).await > 0);
}
