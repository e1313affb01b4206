//! Whatever a stranger sends to an open port, the node goes on serving its peers.
//!
//! What such input may cost in memory is measured in `hostile_memory.rs`, in a process of its own.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use peernet::identity::NodeId;
use peernet::protocol::Dialect;
use peernet::wire::codes::{code, kind};
use peernet::wire::{BodyError, Form, FrameError, Message, Method};
use peernet::{CloseReason, Config, Value};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::{
    PATIENCE, Raw, Scene, body_with, connections, eventually, frame, fresh_id, handshake, length, say, soon,
    wall,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

/// A node under attack that loses patience soon.
fn impatient() -> Config {
    Config {
        handshake_timeout: Duration::from_millis(300),
        frame_timeout: Duration::from_millis(300),
        max_outgoing: 0,
        ..Config::lan()
    }
}

/// A node under attack with the time-outs of everyday.
fn patient() -> Config {
    Config { max_outgoing: 0, ..Config::lan() }
}

/// Sends `bytes` to a fresh connection and waits until the node has closed it.
async fn is_refused(scene: &Scene, bytes: &[u8]) {
    let mut raw = Raw::connect(&scene.node).await;
    // The node may hang up before all is written.
    let _ = raw.send_bytes(bytes).await;
    raw.ends().await;
}

/// Sends `bytes` behind a proper handshake, and returns why the node closed the connection.
async fn reason_for(scene: &Scene, bytes: &[u8]) -> CloseReason {
    let mut raw = Raw::join(&scene.node).await;
    let _ = raw.send_bytes(bytes).await;
    let id = raw.id.clone();
    raw.ends().await;
    scene.node.parted(&id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes() {
    let scene = Scene::open(impatient()).await;
    let failed = scene.node.stats().handshakes_failed;
    scene
        .under(async {
            let mut rng = SmallRng::seed_from_u64(1);
            let mut raws = Vec::new();
            for round in 0..20 {
                let mut bytes = vec![0; 1 + round * 1400];
                rng.fill_bytes(&mut bytes);
                let digest = peernet::wire::body::digest(&bytes);
                // As they are, as the content of a frame, and with the right checksum too.
                for bytes in [bytes.clone(), frame(&bytes), frame(&[&digest, &bytes[..]].concat())] {
                    let mut raw = Raw::connect(&scene.node).await;
                    let _ = raw.send_bytes(&bytes).await;
                    raws.push(raw);
                }
            }
            for raw in raws {
                raw.ends().await;
            }
        })
        .await;
    assert_eq!(scene.node.stats().handshakes_failed - failed, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_behind_a_handshake() {
    let scene = Scene::open(impatient()).await;
    scene
        .under(async {
            let mut rng = SmallRng::seed_from_u64(2);
            for round in 1..20 {
                let mut bytes = vec![0; round * 997];
                rng.fill_bytes(&mut bytes);
                let reason = reason_for(&scene, &frame(&bytes)).await;
                assert!(matches!(reason, CloseReason::Body(_)), "{reason}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_of_4_gib() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            is_refused(&scene, &length(u32::MAX)).await;
            // Before the handshake even what is allowed later is too much.
            is_refused(&scene, &length(1 << 20)).await;
            let reason = reason_for(&scene, &length(u32::MAX)).await;
            assert!(matches!(reason, CloseReason::Frame(FrameError::TooLarge { .. })), "{reason}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_request() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            for _ in 0..20 {
                is_refused(&scene, b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n").await;
            }
        })
        .await;
}

/// Sends one byte after the other, each long before the next time-out.
async fn drip(raw: &mut Raw, bytes: &[u8]) {
    for byte in bytes {
        if raw.write.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the node read all that dripped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_drip_of_a_handshake() {
    let scene = Scene::open(impatient()).await;
    let failed = scene.node.stats().handshakes_failed;
    scene
        .under(async {
            let mut raw = Raw::connect(&scene.node).await;
            let long = frame(&[7; 10_000]);
            soon("the node tires of a drip", drip(&mut raw, &long)).await;
            raw.ends().await;
        })
        .await;
    assert_eq!(scene.node.stats().handshakes_failed - failed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_drip_of_a_frame() {
    let scene = Scene::open(impatient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let long = frame(raw.broadcast(&["x".repeat(10_000).into()]).body());
            soon("the node tires of a drip", drip(&mut raw, &long)).await;
            assert_eq!(scene.node.parted(&raw.id).await, CloseReason::SlowFrame);
        })
        .await;
}

/// L-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections() {
    let config = patient();
    let most = config.max_opening;
    let scene = Scene::open(config).await;
    let many = connections(1000);
    let before = scene.node.stats().links_opened;
    // A and B have links too.
    let opening = || usize::try_from(scene.node.stats().links - 2).unwrap();
    let silent = scene
        .under(async {
            let mut silent = Vec::with_capacity(many);
            for _ in 0..many {
                silent.push(Raw::connect(&scene.node).await);
                assert!(opening() <= most);
            }
            let expected = before + u64::try_from(many).unwrap();
            eventually("all connections were accepted", || {
                (scene.node.stats().links_opened >= expected).then_some(())
            })
            .await;
            assert!(opening() <= most);
            silent
        })
        .await;
    // All that were too many are closed, the oldest first.
    for raw in silent.into_iter().take(many.saturating_sub(most)) {
        raw.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_closed_in_time() {
    let scene = Scene::open(impatient()).await;
    scene.under(async { Raw::connect(&scene.node).await.ends().await }).await;
}

/// L-9: double connections count too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_in_one_name() {
    let config = patient();
    // A, B, and whoever bears that name.
    let most = u64::try_from(config.max_opening).unwrap() + 3;
    let scene = Scene::open(config).await;
    let many = connections(400);
    scene
        .under(async {
            let id = fresh_id(scene.node.mesh.protocol());
            let before = scene.node.stats().links_opened;
            let mut raws = Vec::with_capacity(many);
            for at in 0..many {
                let mut raw = Raw::connect(&scene.node).await;
                let dialect = [Dialect::Peernet, Dialect::Py2p, Dialect::Js2p][at % 3];
                let hello = handshake(dialect, &id, scene.node.mesh.protocol(), &[]);
                raw.send(&hello).await.unwrap();
                raws.push(raw);
                let links = scene.node.stats().links;
                assert!(links <= most, "{links} links");
            }
            let expected = before + u64::try_from(many).unwrap();
            eventually("all connections were accepted", || {
                (scene.node.stats().links_opened >= expected).then_some(())
            })
            .await;
            let links = scene.node.stats().links;
            assert!(links <= most, "{links} links");
        })
        .await;
}

/// T-64, T-65: no honest peer repeats its handshake that often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_ten_thousand_times() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let (id, protocol) = (raw.id.clone(), scene.node.mesh.protocol().clone());
            let handshakes = (0..10_000).flat_map(|at| {
                let dialect = [Dialect::Peernet, Dialect::Py2p, Dialect::Js2p][at % 3];
                frame(handshake(dialect, &id, &protocol, &Method::ALL[..at % 6]).body())
            });
            // The node hangs up before all is written.
            let _ = raw.send_bytes(&handshakes.collect::<Vec<u8>>()).await;
            assert_eq!(scene.node.parted(&id).await, CloseReason::Misbehaved);
            raw.ends().await;
        })
        .await;
    assert_eq!(scene.node.stats().misbehaved, 1);
}

fn is_peers(message: &Message) -> bool {
    message.code() == Some(code::PEERS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads() {
    let config = Config {
        slow_after: Duration::from_millis(200),
        stall_timeout: Duration::from_millis(600),
        relay_queue: 256 << 10,
        ..patient()
    };
    let scene = Scene::open(config).await;
    // A small window, so that it does not take long to fill.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = scene.node.mesh.address().to_string().parse().unwrap();
    let mut raw = Raw::over(&scene.node, socket.connect(address).await.unwrap());
    raw.shake_hands(&scene.node, Dialect::Peernet, &[]).await;
    let id = raw.id.clone();

    let large = "x".repeat(64 << 10);
    let fill = async {
        // More than the kernel keeps for a connection.
        for n in 0..400 {
            soon("A goes on broadcasting", scene.a.mesh.broadcast(&(n, large.as_str()))).await.unwrap();
        }
    };
    scene.under(fill).await;
    scene.node.tells("a slow peer is reported", |journal| journal.slow.contains(&id).then_some(())).await;
    assert_eq!(scene.node.parted(&id).await, CloseReason::Stalled);
    scene.b.tells("B heard all", |journal| (journal.others == 400).then_some(())).await;
    assert!(scene.node.stats().relays_dropped > 0);
    scene.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_out_of_time_and_echoes() {
    const EACH: u64 = 3000;
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let own = scene.node.mesh.id().clone();
            for n in 0..EACH {
                let stamped = |sender: &NodeId, time| {
                    Message::pack(kind::BROADCAST, sender.as_str(), Form::Str, time, code::BROADCAST, &(n,))
                        .unwrap()
                };
                let id = raw.id.clone();
                for message in [
                    stamped(&id, wall() - 1000),
                    stamped(&id, i64::MIN),
                    stamped(&id, wall() + 1000),
                    stamped(&id, i64::MAX),
                    stamped(&own, wall()),
                ] {
                    raw.send(&message).await.unwrap();
                }
            }
            raw.is_answered().await;
        })
        .await;
    let stats = scene.node.stats();
    assert_eq!((stats.stale, stats.future, stats.echoes), (2 * EACH, 2 * EACH, EACH));
    assert_eq!(scene.b.journal.borrow().others, 0);
}

/// M-17: ids of broadcasts from the near future have to be remembered until it has passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_broadcasts_from_the_near_future_than_can_be_remembered() {
    const CAPACITY: usize = 16_384;
    let scene = Scene::open(Config { seen_capacity: CAPACITY, ..patient() }).await;
    let begun = Instant::now();
    scene
        .under(async {
            let raw = Raw::join(&scene.node).await;
            let id = raw.id.clone();
            let early = (0..CAPACITY + CAPACITY / 4).map(move |n| {
                let time = wall() + 50;
                frame(
                    Message::pack(kind::BROADCAST, id.as_str(), Form::Str, time, code::BROADCAST, &(n,))
                        .unwrap()
                        .body(),
                )
            });
            raw.flood(early, |_| {}).await.is_answered().await;
        })
        .await;
    assert!(scene.node.stats().future > 0);
    assert!(begun.elapsed() < Duration::from_secs(40), "the present had to wait for the future");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broadcast_many_times() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let (mut one, mut other) = (Raw::join(&scene.node).await, Raw::join(&scene.node).await);
            let message = one.broadcast(&["again".into()]);
            for _ in 0..5000 {
                one.send(&message).await.unwrap();
                other.send(&message).await.unwrap();
            }
            one.is_answered().await;
            other.is_answered().await;
        })
        .await;
    assert_eq!(scene.node.stats().duplicates, 9999);
    assert_eq!(scene.b.journal.borrow().others, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_handshakes() {
    let scene = Scene::open(patient()).await;
    let protocol = scene.node.mesh.protocol().clone();
    let id = fresh_id(&protocol);
    let said = |kind: u64, code: u64, payload: Vec<Value>| {
        Message::pack(kind, id.as_str(), Form::Str, wall(), code, &payload).unwrap()
    };
    let shake = |payload: Vec<Value>| said(kind::WHISPER, code::HANDSHAKE, payload);
    let address = || Value::Array(vec!["127.0.0.1".into(), 9.into()]);
    let list = || Value::Array(vec![]);
    let (me, net) = (|| Value::from(id.as_str()), || Value::from(protocol.as_str().as_bytes()));
    let mut bad = vec![
        // Something else first.
        said(kind::BROADCAST, code::HANDSHAKE, vec![me(), net(), address(), list()]),
        said(kind::BROADCAST, code::BROADCAST, vec!["hello".into()]),
        said(kind::RENEGOTIATE, code::RESEND, vec![]),
        said(kind::WHISPER, code::PEERS, vec![list()]),
        said(kind::WHISPER, 1 << 40, vec![]),
        Message::pack_raw(kind::WHISPER, id.as_str().as_bytes(), Form::Str, wall(), &()).unwrap(),
        // Too little and too much of it.
        shake(vec![]),
        shake(vec!["1".into()]),
        shake(vec![me(), net(), address()]),
        shake(vec![me(), net(), address(), list(), list()]),
        // Its parts of other types.
        shake(vec![me(), net(), address(), 5.into()]),
        shake(vec![me(), net(), address(), Value::Nil]),
        shake(vec![me(), Value::Nil, address(), list()]),
        shake(vec![me(), 7.into(), address(), list()]),
        shake(vec![me(), vec![0xff_u8; 44].into(), address(), list()]),
        shake(vec![me(), fresh_id(&protocol).as_str().into(), address(), list()]),
        // The node's own id.
        shake(vec![scene.node.mesh.id().as_str().into(), net(), address(), list()]),
    ];
    for no_id in [
        Value::Nil,
        7.into(),
        "".into(),
        "not base58".into(),
        "0OIl".into(),
        "z".repeat(129).into(),
        "z".repeat(50_000).into(),
        vec![0xff_u8; 66].into(),
        Value::Array(vec![me()]),
        Value::Map(vec![(me(), me())]),
    ] {
        bad.push(shake(vec![no_id, net(), address(), list()]));
    }
    let failed = scene.node.stats().handshakes_failed;
    scene
        .under(async {
            for message in &bad {
                is_refused(&scene, &frame(message.body())).await;
            }
        })
        .await;
    assert_eq!(scene.node.stats().handshakes_failed - failed, u64::try_from(bad.len()).unwrap());
    assert!(scene.node.journal.borrow().disconnected.iter().all(|(peer, _)| *peer != id));
}

/// What is odd about these a peer is not refused for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_addresses_and_methods_in_handshakes() {
    let scene = Scene::open(patient()).await;
    let net = Value::from(scene.node.mesh.protocol().as_str().as_bytes());
    let methods: Vec<Value> = (0..10_000).map(Value::from).collect();
    scene
        .under(async {
            for address in [
                Value::Nil,
                Value::Array(vec![]),
                Value::Array(vec![Value::Nil, Value::Nil]),
                Value::Array(vec!["".into(), 0.into()]),
                Value::Array(vec!["127.0.0.1".into(), 70_000.into()]),
                Value::Array(vec!["h".repeat(40_000).into(), 1.into()]),
                "127.0.0.1:9".into(),
            ] {
                let mut raw = Raw::connect(&scene.node).await;
                let payload =
                    [raw.id.as_str().into(), net.clone(), address, Value::Array(methods[..3000].to_vec())];
                let hello = raw.whisper(code::HANDSHAKE, &payload);
                raw.send(&hello).await.unwrap();
                raw.is_answered().await;
                let peers = scene.node.mesh.peers();
                let peer = peers.iter().find(|peer| peer.id == raw.id).unwrap();
                assert_eq!(peer.address, None);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting_and_too_many_values() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let deep = body_with(&raw, &[&[0x91; 100_000][..], &[0xc0]].concat());
            let nils = [&[0xdd_u8][..], &1_200_000_u32.to_be_bytes(), &vec![0xc0; 1_200_000]].concat();
            let many = body_with(&raw, &nils);
            let maps = body_with(&raw, &[&[0x81, 0xc0].repeat(50_000)[..], &[0xc0]].concat());
            for body in [&deep, &many, &maps] {
                raw.send_bytes(&frame(body)).await.unwrap();
            }
            raw.is_answered().await;
            assert_eq!(scene.node.stats().refused, 3);
            // What announces more than there is, is no msgpack.
            for announced in [
                &[0xdd_u8, 0xff, 0xff, 0xff, 0xff][..],
                &[0xdf, 0xff, 0xff, 0xff, 0xff],
                &[0xc6, 0xff, 0xff, 0xff, 0xff],
            ] {
                let reason = reason_for(&scene, &frame(&body_with(&raw, announced))).await;
                assert_eq!(reason.code(), "bad_message");
            }
        })
        .await;
    assert_eq!(scene.b.journal.borrow().others, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_frame_and_the_end() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            for len in [1, 3, 4, 5, 40, 100] {
                let hello = handshake(Dialect::Peernet, scene.a.mesh.id(), scene.a.mesh.protocol(), &[]);
                let mut raw = Raw::connect(&scene.node).await;
                raw.send_bytes(&frame(hello.body())[..len]).await.unwrap();
                raw.write.shutdown().await.unwrap();
                raw.ends().await;

                let mut raw = Raw::join(&scene.node).await;
                let whole = frame(raw.broadcast(&["x".repeat(100).into()]).body());
                raw.send_bytes(&whole[..len]).await.unwrap();
                raw.write.shutdown().await.unwrap();
                let reason = scene.node.parted(&raw.id).await;
                assert!(matches!(reason, CloseReason::Frame(FrameError::Truncated { .. })), "{reason}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_come_and_go() {
    let scene = Scene::open(patient()).await;
    let before = scene.node.stats().links_opened;
    scene
        .under(async {
            for round in 0..2000 {
                let mut raw = Raw::connect(&scene.node).await;
                if round % 4 == 0 {
                    let hello = handshake(Dialect::Js2p, &raw.id, scene.node.mesh.protocol(), &[]);
                    raw.send(&hello).await.unwrap();
                }
            }
            eventually("all connections were accepted", || {
                (scene.node.stats().links_opened - before >= 2000).then_some(())
            })
            .await;
        })
        .await;
    eventually("only A and B are left", || (scene.node.stats().peers == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests() {
    const EACH: u64 = 5000;
    let scene = Scene::open(patient()).await;
    let begun = Instant::now();
    let (lists, addresses) = scene
        .under(async {
            let raw = Raw::join(&scene.node).await;
            let (own, wanted) = (raw.id.clone(), scene.b.mesh.id().clone());
            let requests = (0..EACH).flat_map(move |n| {
                let request = [Value::from(n.to_string()), Value::from(wanted.as_str())];
                // Nobody asked for this.
                let answer = [Value::from(n.to_string()), Value::Array(vec![Value::Nil, Value::Nil])];
                [
                    say(&own, kind::BROADCAST, code::REQUEST, &request),
                    say(&own, kind::WHISPER, code::REQUEST, &["*".into()]),
                    say(&own, kind::BROADCAST, code::RESPONSE, &answer),
                ]
                .map(|message| frame(message.body()))
            });
            let (mut lists, mut addresses) = (0, 0);
            let count = |message: &Message| {
                lists += u64::from(is_peers(message));
                addresses += u64::from(message.code() == Some(code::RESPONSE));
            };
            let mut raw = raw.flood(requests, count).await;
            raw.is_answered().await;
            (lists, addresses)
        })
        .await;
    assert!(lists <= begun.elapsed().as_secs() + 2, "{lists} lists");
    // The node answers, and so does B, whose address is asked for.
    assert!((1..=2 * EACH).contains(&addresses), "{addresses} addresses");
}

/// C-42, L-45: what a stranger asks is not answered at length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_huge_name_is_not_repeated() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let huge = Value::from("x".repeat(1 << 18));
            for _ in 0..20 {
                let request = [huge.clone(), scene.b.mesh.id().as_str().into()];
                let asked = raw.whisper(code::REQUEST, &request);
                raw.send(&asked).await.unwrap();
            }
            raw.is_answered().await;
        })
        .await;
    assert_eq!(scene.node.stats().malformed, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_id_in_a_second_handshake() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            let other = scene.b.mesh.id().clone();
            let hello = handshake(Dialect::Peernet, &other, scene.node.mesh.protocol(), &[]);
            raw.send(&hello).await.unwrap();
            assert_eq!(scene.node.parted(&raw.id).await, CloseReason::WrongPeer(other));
            raw.ends().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_changed_all_the_time() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            let raw = Raw::join(&scene.node).await;
            let own = raw.id.clone();
            let changes = (0..5000).flat_map(move |at| {
                let list = [Value::Array(vec![Method::ALL[at % 5].code().into()])];
                [
                    say(&own, kind::RENEGOTIATE, code::COMPRESSION, &list),
                    say(&own, kind::RENEGOTIATE, code::RESEND, &[]),
                ]
                .map(|message| frame(message.body()))
            });
            raw.flood(changes, |_| {}).await.is_answered().await;
        })
        .await;
}

/// C-56, L-39: whom the node has said goodbye to cannot hold on to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_go() {
    let scene = Scene::open(Config { close_timeout: Duration::from_secs(1), ..patient() }).await;
    scene
        .under(async {
            let mut raw = Raw::join(&scene.node).await;
            scene.node.mesh.disconnect(&raw.id).await.unwrap();
            assert_eq!(scene.node.parted(&raw.id).await, CloseReason::Local);
            let ping = frame(raw.whisper(code::PING, &[]).body());
            soon("the node stops reading", async {
                while raw.write.write_all(&ping).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        })
        .await;
}

/// Frames that are compressed, each within its limit, but by no method that was agreed, or badly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_compression() {
    let scene = Scene::open(patient()).await;
    scene
        .under(async {
            for method in Method::ALL {
                let mut raw = Raw::join_as(&scene.node, Dialect::Peernet, &[method]).await;
                let body = raw.broadcast(&["x".repeat(1000).into()]).body().clone();
                let mut packed = method.compress(&body);
                raw.send_bytes(&frame(&packed)).await.unwrap();
                raw.is_answered().await;
                packed.truncate(packed.len() / 2);
                raw.send_bytes(&frame(&packed)).await.unwrap();
                let reason = scene.node.parted(&raw.id).await;
                assert_eq!(reason, CloseReason::Body(BodyError::Checksum), "{method}");

                let mut raw = Raw::join(&scene.node).await;
                raw.send_bytes(&frame(&method.compress(&body))).await.unwrap();
                let reason = scene.node.parted(&raw.id).await;
                assert_eq!(reason, CloseReason::Body(BodyError::Checksum), "{method}");
            }
        })
        .await;
    assert_eq!(scene.b.journal.borrow().others, 5);
}

/// Several of these at once, and none keeps the others or the peers from anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once() {
    let scene = Scene::open(impatient()).await;
    let attack = |seed: u64, scene: Arc<Scene>| async move {
        let mut rng = SmallRng::seed_from_u64(seed);
        for _ in 0..10 {
            let mut bytes = vec![0; 5000];
            rng.fill_bytes(&mut bytes);
            is_refused(&scene, &bytes).await;
            is_refused(&scene, b"GET / HTTP/1.1\r\n\r\n").await;
            let mut raw = Raw::join(&scene.node).await;
            for n in 0..200 {
                let message = raw.broadcast(&[n.into()]);
                raw.send(&message).await.unwrap();
            }
            let _ = raw.send_bytes(&length(u32::MAX)).await;
            raw.ends().await;
        }
    };
    scene
        .under(async {
            let tasks: Vec<_> = (0..8).map(|seed| tokio::spawn(attack(seed, scene.clone()))).collect();
            for task in tasks {
                tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
            }
        })
        .await;
    scene.b.tells("B heard all", |journal| (journal.others == 8 * 10 * 200).then_some(())).await;
}
