//! What hostile input may cost in memory. One test, so that nothing else runs in this process; the
//! attacker lives in it too, so its own memory counts among what is measured.

#![cfg(all(feature = "net", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peernet::protocol::Dialect;
use peernet::wire::codes::code;
use peernet::wire::{BodyError, DecompressError, Method};
use peernet::{CloseReason, Config, Encryption, Value};
use support::{MemoryWatch, Raw, Scene, connections, eventually, frame, length};
use tokio::net::{TcpListener, TcpSocket};

const MIB: usize = 1 << 20;

fn config() -> Config {
    Config { max_outgoing: 0, ..Config::lan() }
}

/// Runs an attack and checks by how much the process grew meanwhile.
async fn costs_at_most<T>(name: &str, mib: usize, attack: impl Future<Output = T>) -> T {
    let watch = MemoryWatch::start();
    let result = attack.await;
    let growth = watch.growth();
    assert!(growth <= mib * MIB, "{name} took {} MiB, more than {mib}", growth / MIB);
    result
}

/// L-33 among others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_send_stays_within_bounds() {
    lengths().await;
    silence().await;
    openings().await;
    compression_bombs().await;
    small_bombs_in_a_row().await;
    a_hundred_thousand_addresses().await;
    values().await;
    handshakes().await;
    never_reading().await;
}

/// A length field reserves nothing.
async fn lengths() {
    let scene = Scene::open(config()).await;
    costs_at_most("lengths", 8, async {
        let mut raws = Vec::new();
        for _ in 0..50 {
            let mut raw = Raw::join(&scene.node).await;
            raw.send_bytes(&length(16 << 20)).await.unwrap();
            raw.send_bytes(&[0; 100]).await.unwrap();
            raws.push(raw);
        }
        scene.still_serves().await;
    })
    .await;
}

async fn silence() {
    let scene = Scene::open(config()).await;
    costs_at_most("silence", 16, async {
        let mut raws = Vec::new();
        for _ in 0..connections(1000) {
            raws.push(Raw::connect(&scene.node).await);
        }
        scene.still_serves().await;
    })
    .await;
}

/// What comes before the first frame, as far as it is taken without an end: 64 KiB for each stranger.
async fn openings() {
    let request = [b"GET / HTTP/1.1\r\nHost: ", &[b'x'; 16_000][..]].concat();
    // Of a hello of 64 KiB, one record.
    let hello = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat();
    for (encryption, said) in [
        (Encryption::Ws, &request),
        (Encryption::Ssl, &hello),
        (Encryption::Wss, &hello),
        (Encryption::Tls, &hello),
    ] {
        let scene = Scene::open_over(encryption, config()).await;
        costs_at_most("openings", 200 * 64 / 1024 + 4, async {
            let mut raws = Vec::new();
            for _ in 0..connections(200) {
                let mut raw = Raw::connect(&scene.node).await;
                let _ = raw.send_bytes(said).await;
                raws.push(raw);
            }
            scene.still_serves().await;
        })
        .await;
    }
}

/// Frames that would unpack to more than a frame may hold end their link, and are not unpacked
/// beyond that.
async fn compression_bombs() {
    const LIMIT: usize = MIB;
    let scene = Scene::open(Config { max_frame: LIMIT, ..config() }).await;
    for method in Method::PREFERENCE {
        // Snappy packs 20 to 1 at best, and its frame must pass as one.
        let size = if method == Method::Snappy { 10 * MIB } else { 12 * MIB };
        let bomb = frame(&method.compress(&vec![0; size]));
        assert!(bomb.len() < LIMIT);
        let mut raw = Raw::join_as(&scene.node, Dialect::Peernet, &[method]).await;
        let reason = costs_at_most(method.name(), 8, async {
            raw.send_bytes(&bomb).await.unwrap();
            scene.node.parted(&raw.id).await
        })
        .await;
        let expected = DecompressError::TooLarge { method, limit: LIMIT };
        assert_eq!(reason, CloseReason::Body(BodyError::Decompress(expected)));
        scene.still_serves().await;
    }
}

/// Each unpacks to no more than is allowed, but many fit into one read.
async fn small_bombs_in_a_row() {
    const EACH: usize = 2 * MIB;
    const ROW: usize = 16;
    let scene = Scene::open(config()).await;
    let raw = Raw::join_as(&scene.node, Dialect::Peernet, &[Method::Zlib]).await;
    // Everyone drops a whisper with a code that nobody knows, so only the reading costs.
    let whisper = raw.whisper(0x30, &[vec![0; EACH].into()]);
    let row = frame(&Method::Zlib.compress(whisper.body())).repeat(ROW);
    drop(whisper);
    costs_at_most("small bombs in a row", ROW, async {
        raw.flood(std::iter::once(row), |_| {}).await.is_answered().await;
    })
    .await;
    scene.still_serves().await;
    assert_eq!(scene.node.stats().unknown, ROW as u64);
}

/// Of a list as long as a frame may be, a few addresses are dialled, a few at a time.
async fn a_hundred_thousand_addresses() {
    let most = Config::lan();
    let scene = Scene::open(Config { handshake_timeout: Duration::from_millis(50), ..most.clone() }).await;
    // These take a connection and say nothing.
    let (open, peak, all) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut ports = Vec::new();
    for _ in 0..300 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        let (open, peak, all) = (open.clone(), peak.clone(), all.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                all.fetch_add(1, Ordering::AcqRel);
                peak.fetch_max(open.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                let mut sink = tokio::io::sink();
                let _ = tokio::io::copy(&mut stream, &mut sink).await;
                open.fetch_sub(1, Ordering::AcqRel);
            }
        });
    }
    let mut raw = Raw::join(&scene.node).await;
    let named = (0..100_000_usize).map(|at| {
        // Nobody listens at the others: port 1 of addresses all over the loopback network.
        let (host, port) = match ports.get(at) {
            Some(port) => ("127.0.0.1".to_owned(), *port),
            None => (format!("127.1.{}.{}", at >> 8 & 0xff, at & 0xff), 1 + u16::try_from(at >> 16).unwrap()),
        };
        let id = support::fresh_id(scene.node.mesh.protocol());
        Value::Array(vec![Value::Array(vec![host.into(), port.into()]), id.as_str().into()])
    });
    let list = frame(raw.whisper(code::PEERS, &[Value::Array(named.collect())]).body());
    costs_at_most("100,000 addresses", 64, async {
        raw.send_bytes(&list).await.unwrap();
        raw.is_answered().await;
        scene.still_serves().await;
        eventually("addresses are dialled", || (all.load(Ordering::Acquire) >= 8).then_some(())).await;
    })
    .await;
    // One may be closing while the next is opened.
    let at_once = peak.load(Ordering::Acquire);
    assert!(at_once <= 2 * most.max_outgoing, "{at_once} dialled at once");
    let dialled = all.load(Ordering::Acquire);
    assert!(dialled <= most.book_addresses / 16 + most.max_outgoing, "{dialled} dialled in all");
}

/// A nil is a byte on the wire and much more in memory.
async fn values() {
    let scene = Scene::open(config()).await;
    let mut raw = Raw::join(&scene.node).await;
    let nils = |count: u32| {
        let length = usize::try_from(count).unwrap();
        [&[0xdd_u8][..], &count.to_be_bytes(), &vec![0xc0; length]].concat()
    };
    let (most, more) = (nils(1_000_000), nils(2_000_000));
    let list = frame(&support::body_with(&raw, &more));
    // As a peers list, which the node unpacks by itself.
    let whisper = raw.whisper(code::PEERS, &[Value::Nil]);
    let packed = &whisper.body()[peernet::wire::DIGEST_LEN..whisper.body().len() - 1];
    let packed = [packed, &most].concat();
    let peers = frame(&[&peernet::wire::body::digest(&packed)[..], &packed].concat());
    costs_at_most("a million nils", 80, async {
        for _ in 0..2 {
            raw.send_bytes(&list).await.unwrap();
            raw.send_bytes(&peers).await.unwrap();
        }
        raw.is_answered().await;
        scene.still_serves().await;
    })
    .await;
    assert_eq!(scene.node.stats().refused, 2);
}

async fn handshakes() {
    let scene = Scene::open(config()).await;
    let mut raw = Raw::join(&scene.node).await;
    let (id, protocol) = (raw.id.clone(), scene.node.mesh.protocol().clone());
    let one = frame(support::handshake(Dialect::Peernet, &id, &protocol, &[]).body());
    costs_at_most("10,000 handshakes", 8, async {
        // The node has enough of it before the end.
        let _ = raw.send_bytes(&one.repeat(10_000)).await;
        assert_eq!(scene.node.parted(&id).await, CloseReason::Misbehaved);
        scene.still_serves().await;
    })
    .await;
}

/// What a peer asks for and does not read is not kept for it.
async fn never_reading() {
    let config =
        Config { slow_after: Duration::from_millis(100), stall_timeout: Duration::from_secs(30), ..config() };
    let scene = Scene::open(config).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = scene.node.mesh.address().to_string().parse().unwrap();
    let mut raw = Raw::over(&scene.node, socket.connect(address).await.unwrap());
    raw.shake_hands(&scene.node, Dialect::Peernet, &[]).await;
    let ping = frame(raw.whisper(code::PING, &[]).body());
    costs_at_most("a peer that never reads", 32, async {
        // Answers to it, and what it should pass on.
        raw.send_bytes(&ping.repeat(50_000)).await.unwrap();
        let large = "x".repeat(64 << 10);
        for n in 0..160 {
            scene.a.mesh.broadcast(&(n, large.as_str())).await.unwrap();
        }
        scene.b.tells("B heard all", |journal| (journal.others == 160).then_some(())).await;
        scene.still_serves().await;
    })
    .await;
    assert!(scene.node.stats().answers_dropped > 0);
}
