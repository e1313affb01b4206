//! Floods: a node that is flooded stays within its bounds of memory, and two honest neighbours go on
//! talking through it. How much of their rate is left is printed, and depends on the machine:
//! `cargo test -p libpeernet --test flood -- --nocapture`; with `PEERNET_LONG=1` each takes ten times as
//! long.
//!
//! One test, so that nothing else runs in this process; attacker and peers live in it too, so that
//! their memory counts among what is measured, and they share its threads with the node.

#![cfg(all(feature = "net", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod sim_seeds;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use peernet::protocol::Dialect;
use peernet::wire::codes::code;
use peernet::{Config, Encryption, Mesh, Stats};
use support::{MemoryWatch, PATIENCE, Raw, Scene, connections, frame, fresh_id, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MIB: usize = 1 << 20;
/// What the attacker itself, the test and the allocator may take.
const OTHERS: usize = 24 * MIB;
/// Memory of one connection that is at the door or shakes hands: what a stranger may fill, and TLS.
const OPENING: usize = 128 << 10;

/// The bounds that everyone has.
fn config() -> Config {
    Config { max_outgoing: 0, ..Config::default() }
}

/// The most that links which shake hands may take.
fn opening(config: &Config) -> usize {
    2 * config.max_opening * OPENING
}

/// The most that one neighbour may fill: its queues, the program's inbox, a batch and a read.
fn neighbour(config: &Config) -> usize {
    config.own_queue * 2 + config.relay_queue + config.inbox_bytes + 4 * MIB
}

/// Messages a second that A gets to B through the node, one after the other.
async fn rate(scene: &Arc<Scene>) -> f64 {
    let window = if sim_seeds::long() { Duration::from_secs(10) } else { Duration::from_secs(1) };
    let (begun, mut heard) = (Instant::now(), 0_u32);
    while begun.elapsed() < window {
        scene.probe(&scene.b).await;
        heard += 1;
    }
    f64::from(heard) / begun.elapsed().as_secs_f64()
}

/// Floods the node while A talks to B. All of it must arrive, and memory stay within `bound` bytes.
async fn withstands(
    name: &str,
    scene: &Arc<Scene>,
    bound: usize,
    attack: impl Future<Output = ()> + Send + 'static,
) -> Stats {
    let calm = rate(scene).await;
    let watch = MemoryWatch::start();
    let attack = tokio::spawn(attack);
    let flooded = rate(scene).await;
    let ended = attack.is_finished();
    attack.abort();
    let growth = watch.growth();
    assert!(!ended, "{name}: the attack ended by itself");
    scene.still_serves().await;
    let bound = bound + OTHERS;
    println!(
        "{name}: {:.0} % of {calm:.0} messages a second are left; {} MiB more, of {} allowed",
        100.0 * flooded / calm,
        growth / MIB,
        bound / MIB
    );
    assert!(growth <= bound, "{name} took {} MiB, more than {}", growth / MIB, bound / MIB);
    scene.node.stats()
}

/// L-9, L-33, L-37, L-56, L-57, L-58
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_stay_within_bounds_and_neighbours_go_on() {
    never_finishing(Encryption::Plaintext, b"\0").await;
    // The beginning of a TLS 1.3 ClientHello of 512 bytes.
    never_finishing(Encryption::Tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    at_line_rate().await;
    never_reading().await;
    reconnecting().await;
    reconnecting_with_one_key().await;
}

/// L-9, L-57: connections by the thousand that begin a handshake and do not end it.
async fn never_finishing(encryption: Encryption, beginning: &'static [u8]) {
    let config = config();
    let scene = Scene::open_over(encryption, config.clone()).await;
    let (address, most) = (scene.node.mesh.address().to_string(), connections(2000));
    let attack = async move {
        let mut open = std::collections::VecDeque::new();
        loop {
            if let Ok(mut stream) = TcpStream::connect(&address).await {
                let _ = stream.write_all(beginning).await;
                open.push_back(stream);
            }
            if open.len() > most {
                open.pop_front();
            }
        }
    };
    let name = format!("connections that never finish ({})", encryption.protocol_name());
    let stats = withstands(&name, &scene, opening(&config), attack).await;
    let turned = stats.crowded_out + stats.handshakes_failed;
    println!("  {turned} of them were closed for newer ones or ended");
    assert!(turned > 0);
}

/// L-36 to L-38, L-58: a neighbour that sends as fast as it is read.
async fn at_line_rate() {
    let config = config();
    let scene = Scene::open(config.clone()).await;
    let raw = Raw::join(&scene.node).await;
    let row = frame(raw.whisper(code::WHISPER, &["x".into()]).body()).repeat(1000);
    let attack = async move {
        let Raw { mut read, mut write, .. } = raw;
        let sending = async { while write.write_all(&row).await.is_ok() {} };
        // Else it would soon be closed as one that takes nothing.
        tokio::join!(sending, read.drain());
    };
    let before = scene.node.stats().frames_in;
    let stats = withstands("a peer that sends at line rate", &scene, neighbour(&config), attack).await;
    println!("  {} messages of its were read", stats.frames_in - before);
    assert!(stats.frames_in > before);
}

/// L-32 to L-35: a neighbour that asks, and takes nothing.
async fn never_reading() {
    let config = Config {
        slow_after: Duration::from_millis(100),
        stall_timeout: PATIENCE * 10,
        keep_alive: PATIENCE * 10,
        ..config()
    };
    let scene = Scene::open(config.clone()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = scene.node.mesh.address().to_string().parse().unwrap();
    let mut raw = Raw::over(&scene.node, socket.connect(address).await.unwrap());
    raw.shake_hands(&scene.node, Dialect::Peernet, &[]).await;
    let pings = frame(raw.whisper(code::PING, &[]).body()).repeat(1000);
    let attack = async move {
        loop {
            raw.send_bytes(&pings).await.unwrap();
        }
    };
    let stats = withstands("a peer that never reads", &scene, neighbour(&config), attack).await;
    assert!(stats.answers_dropped > 0);
}

/// L-9: a peer that comes, shakes hands and goes, again and again.
async fn reconnecting() {
    let config = config();
    let scene = Scene::open(config.clone()).await;
    let (address, protocol) = (scene.node.mesh.address().to_string(), scene.node.mesh.protocol().clone());
    let attack = async move {
        let hello = |id| frame(handshake(Dialect::Peernet, &id, &protocol, &[]).body());
        loop {
            let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
            let _ = stream.write_all(&hello(fresh_id(&protocol))).await;
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    let opened = scene.node.stats().links_opened;
    let bound = opening(&config) + neighbour(&config);
    let stats = withstands("a peer that reconnects in a loop", &scene, bound, attack).await;
    println!("  it came {} times", stats.links_opened - opened);
}

/// L-56: who proves the same id each time is soon refused.
async fn reconnecting_with_one_key() {
    let config = config();
    let scene = Scene::open_over(Encryption::Tls, config.clone()).await;
    let address = scene.node.mesh.address().to_string();
    let attacker = Mesh::builder().config(Config::local()).open().await.unwrap();
    let node = scene.node.mesh.id().clone();
    let attack = async move {
        loop {
            let _ = attacker.connect(&address).await;
            let _ = attacker.disconnect(&node).await;
        }
    };
    let bound = opening(&config) + neighbour(&config);
    let stats = withstands("a peer that reconnects with one key", &scene, bound, attack).await;
    println!("  it was refused {} times", stats.peers_refused);
    assert!(stats.peers_refused > 0);
}
