//! Encryption `tls` under attack, and what is kept of an identity.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId, Secret};
use peernet::protocol::Dialect;
use peernet::{Config, DataDir, DataError, Encryption, Error, Event, Mesh};
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

mod support;

use support::tls::{self, ACCEPTOR, Shown};
use support::{eventually, frame, handshake, soon};

fn builder() -> peernet::Builder {
    // Nobody dials but whom the test tells to.
    Mesh::builder().config(Config { max_outgoing: 0, ..Config::default() })
}

async fn open() -> Mesh {
    builder().open().await.unwrap()
}

fn keys(number: u8) -> KeyPair {
    KeyPair::from_secret([number; 32])
}

fn secret(number: u8) -> Secret {
    Secret::from_bytes(&[number; 32]).unwrap()
}

async fn tcp(to: &Mesh) -> TcpStream {
    TcpStream::connect((to.address().host.as_str(), to.address().port)).await.unwrap()
}

/// Everything that comes until the other side has ended.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    // It may end in a reset; what came is there.
    let _ = soon("the other side ends", stream.read_to_end(&mut all)).await;
    all
}

/// A wire with somebody listening: passes on what comes to `address`, and keeps all of it.
struct Tap {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    async fn to(mesh: &Mesh) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (heard, to) = (Arc::new(Mutex::new(Vec::new())), mesh.address().clone());
        let tap = heard.clone();
        tokio::spawn(async move {
            let (caller, _) = listener.accept().await.unwrap();
            let called = TcpStream::connect((to.host.as_str(), to.port)).await.unwrap();
            let ((from_a, to_a), (from_b, to_b)) = (caller.into_split(), called.into_split());
            tokio::join!(listen_in(from_a, to_b, &tap), listen_in(from_b, to_a, &tap));
        });
        Self { address, heard }
    }
}

async fn listen_in(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Mutex<Vec<u8>>,
) {
    let mut part = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        heard.lock().unwrap().extend_from_slice(&part[..count]);
        to.write_all(&part[..count]).await.unwrap();
    }
}

/// Whether eight bytes in a row of `what` stand anywhere in `text`.
fn shows(text: &[u8], what: &[u8]) -> bool {
    let runs: HashSet<&[u8]> = what.windows(8).collect();
    text.windows(8).any(|run| runs.contains(run))
}

/// Sends a marker over a wire with a listener; what that heard, and what it should not have.
async fn overheard(encryption: Encryption) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let open = async || {
        let config = Config { max_outgoing: 0, compression: Vec::new(), ..Config::default() };
        Mesh::builder().encryption(encryption).config(config).open().await.unwrap()
    };
    let (a, b) = (open().await, open().await);
    let tap = Tap::to(&a).await;
    soon("b joins over the tapped wire", b.connect(&tap.address)).await.unwrap();
    let marker: Vec<u8> =
        (1..=512_u64).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
    b.broadcast(&(marker.clone(),)).await.unwrap();
    let message = soon("a hears it", a.recv()).await.unwrap();
    assert_eq!(message.bytes(), Some(&marker[..]));
    soon("a answers", message.reply(&(marker.clone(),))).await.unwrap();
    assert_eq!(soon("b hears it", b.recv()).await.unwrap().bytes(), Some(&marker[..]));
    let ids = [a.id(), b.id()].map(|id| id.as_str().as_bytes().to_vec());
    let secrets = [
        ("the payload", marker),
        ("an id", ids.concat()),
        ("the subnet", a.protocol().as_str().as_bytes().to_vec()),
    ];
    let heard = tap.heard.lock().unwrap().clone();
    assert!(heard.len() > 8192, "the tap heard nothing");
    (heard, secrets.into())
}

/// T-1, T-4
#[tokio::test]
async fn who_listens_to_the_wire_reads_nothing() {
    let (heard, secrets) = overheard(Encryption::Tls).await;
    for (name, secret) in secrets {
        assert!(!shows(&heard, &secret), "{name} can be read");
    }
    // It would be noticed.
    let (heard, secrets) = overheard(Encryption::Plaintext).await;
    for (name, secret) in secrets {
        assert!(shows(&heard, &secret), "{name} is not where it was looked for");
    }
}

/// A node with two tables of its own: nobody is in them, and nothing was handed up.
fn untouched(mesh: &Mesh) {
    assert!(mesh.peers().is_empty());
    assert_eq!((mesh.stats().delivered, mesh.stats().frames_in), (0, 0));
}

/// T-4, T-5
#[tokio::test]
async fn who_speaks_no_tls_gets_nothing() {
    let node = open().await;
    let plain = Mesh::builder().encryption(Encryption::Plaintext).open().await.unwrap();
    let error = soon("refused", plain.connect(&node.address().to_string())).await.unwrap_err();
    assert_eq!(error.code(), "connect");
    let error = soon("refused", node.connect(&plain.address().to_string())).await.unwrap_err();
    assert!(error.to_string().contains("no node of an encrypted subnet"), "{error}");
    // The right handshake, in the clear.
    let hello = handshake(Dialect::Peernet, plain.id(), node.protocol(), &[]);
    let mut socket = tcp(&node).await;
    socket.write_all(&frame(hello.body())).await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(answer.len() <= 7, "more than an alert of TLS: {answer:?}");
    untouched(&node);
    eventually("both are counted", || (node.stats().strangers == 2).then_some(())).await;
}

/// T-5, T-6
#[tokio::test]
async fn only_an_ed25519_key_of_ones_own_will_do() {
    let node = open().await;
    let (own, other) = (keys(1), keys(2));
    let others = Shown { key: tls::spki(&other.public()), signs: own.clone() };
    let longer = Shown { key: [tls::spki(&own.public()), vec![0]].concat(), signs: own.clone() };
    let no_point =
        Shown { key: tls::spki(&peernet::identity::PublicKey::from_bytes([2; 32])), signs: own.clone() };
    let mut x25519 = Shown::honest(&own);
    x25519.key[8] = 0x6e;
    for (attempts, shown) in (1..).zip([Some(others), Some(longer), Some(no_point), Some(x25519), None]) {
        // The client learns of it when it reads.
        if let Ok(mut stream) = soon("TLS", tls::dial(tcp(&node).await, shown)).await {
            let _ = tls::prove(&mut stream, None, node.protocol()).await.unwrap_err();
        }
        eventually("it is refused", || (node.stats().strangers == attempts).then_some(())).await;
    }
    untouched(&node);
    let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&own))).await.unwrap();
    soon("an honest one is let in", tls::prove(&mut stream, None, node.protocol())).await.unwrap();
}

/// T-7
#[tokio::test]
async fn no_session_is_resumed() {
    let (node, own) = (open().await, Shown::honest(&keys(1)));
    let client = TlsConnector::from(tls::client_config(Some(own.clone())));
    for _ in 0..2 {
        let mut stream = client.connect(tls::nameless(), tcp(&node).await).await.unwrap();
        tls::prove(&mut stream, None, node.protocol()).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = TlsAcceptor::from(tls::server_config(own));
    for _ in 0..2 {
        let answer = async {
            let mut stream = server.accept(listener.accept().await.unwrap().0).await.unwrap();
            // By now it has had our tickets.
            stream.read_exact(&mut [0; 32]).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(session.server_name(), None);
        };
        let (error, ()) = soon("refused", async { tokio::join!(node.connect(&address), answer) }).await;
        assert!(error.is_err());
    }
}

/// The same on the side that dials.
/// T-5, T-6
#[tokio::test]
async fn who_answers_must_have_the_key_that_it_shows() {
    let (node, listener) = (open().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    let shown = Shown { key: tls::spki(&keys(2).public()), signs: keys(1) };
    let answer = async { tls::accept(listener.accept().await.unwrap().0, shown).await };
    let (error, answered) = soon("refused", async { tokio::join!(node.connect(&address), answer) }).await;
    assert_eq!(error.unwrap_err().code(), "connect");
    assert!(answered.is_err());
}

/// T-8, T-9, T-10
#[tokio::test]
async fn without_a_right_proof_nothing_is_told() {
    let config = Config { handshake_timeout: Duration::from_millis(500), ..Config::default() };
    let node = Mesh::builder().secret(secret(1)).config(config).open().await.unwrap();
    let protocol = node.protocol().clone();
    let hello = frame(handshake(Dialect::Peernet, node.id(), &protocol, &[]).body());
    let other = ProtocolId::derive("other", "tls/mesh");
    type Say = Box<dyn Fn([u8; 32]) -> Vec<u8>>;
    let (p, h) = (protocol.clone(), hello.clone());
    let wrong: Vec<Say> = vec![
        Box::new(|_| Vec::new()),
        Box::new(move |_| h.clone()),
        Box::new(|_| vec![0; 32]),
        Box::new({
            let p = p.clone();
            move |export| tls::proof(None, &p, tls::DIALLER, export)
        }),
        Box::new({
            let p = p.clone();
            move |export| tls::proof(Some(&secret(2)), &p, tls::DIALLER, export)
        }),
        Box::new({
            let p = p.clone();
            move |export| tls::proof(Some(&secret(1)), &p, ACCEPTOR, export)
        }),
        Box::new(move |export| tls::proof(Some(&secret(1)), &other, tls::DIALLER, export)),
        // One of another session.
        Box::new({
            let p = p.clone();
            move |_| tls::proof(Some(&secret(1)), &p, tls::DIALLER, [7; 32])
        }),
    ];
    for say in &wrong {
        let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&keys(1)))).await.unwrap();
        let said = say(tls::export(stream.get_ref().1));
        stream.write_all(&said).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "it is told nothing");
    }
    untouched(&node);
    eventually("all are counted", || (node.stats().strangers == wrong.len() as u64).then_some(())).await;
    let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&keys(1)))).await.unwrap();
    soon("the right one is let in", tls::prove(&mut stream, Some(&secret(1)), &protocol)).await.unwrap();
}

/// T-9, T-13
#[tokio::test]
async fn someone_else_at_an_address_learns_nothing() {
    let (node, listener) = (open().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let id = NodeId::of_key(&keys(1).public(), node.protocol());
    // With the right key but without a proof; then with a proof but another key than was dialled.
    for (dialled, proves, said) in [(&id, false, "another secret"), (node.id(), true, id.as_str())] {
        let answer = async {
            let stream = listener.accept().await.unwrap().0;
            let mut stream = tls::accept(stream, Shown::honest(&keys(1))).await.unwrap();
            let mut theirs = [0; 32];
            stream.read_exact(&mut theirs).await.unwrap();
            let export = tls::export(stream.get_ref().1);
            assert_eq!(theirs[..], tls::proof(None, node.protocol(), tls::DIALLER, export)[..]);
            let ours = if proves { tls::proof(None, node.protocol(), ACCEPTOR, export) } else { vec![0; 32] };
            stream.write_all(&ours).await.unwrap();
            stream.flush().await.unwrap();
            rest(&mut stream).await
        };
        let target = format!("{dialled}@{address}");
        let (error, heard) = soon("refused", async { tokio::join!(node.connect(&target), answer) }).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(heard, b"", "no frame before it is known who answers");
    }
}

/// T-14
#[tokio::test]
async fn nobody_is_let_in_under_anothers_id() {
    let (node, known) = (open().await, open().await);
    soon("a known node joins", known.connect(&node.address().to_string())).await.unwrap();
    eventually("it is in the table", || (node.peers().len() == 1).then_some(())).await;
    for claimed in [known.id().clone(), NodeId::parse("anyone").unwrap()] {
        let failed = node.stats().handshakes_failed;
        let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&keys(1)))).await.unwrap();
        tls::prove(&mut stream, None, node.protocol()).await.unwrap();
        let hello = handshake(Dialect::Peernet, &claimed, node.protocol(), &[]);
        stream.write_all(&frame(hello.body())).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "it is told nothing");
        assert_eq!(node.stats().handshakes_failed, failed + 1);
    }
    let peers: Vec<NodeId> = node.peers().into_iter().map(|peer| peer.id).collect();
    assert_eq!(peers, [known.id().clone()]);
    soon("the known one is still there", node.send(known.id(), &("hello",))).await.unwrap();
    assert_eq!(soon("it hears", known.recv()).await.unwrap().bytes(), Some(&b"hello"[..]));
}

/// What he in the middle does about proofs.
#[derive(Clone, Copy)]
enum Middle {
    /// Passes them on.
    Passes,
    /// Makes his own, without a secret.
    Makes,
}

/// Someone in between: answers those who want `mesh` with a key of his own, and dials it with that.
async fn man_in_the_middle(mesh: &Mesh, how: Middle) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (to, protocol) = (mesh.address().clone(), mesh.protocol().clone());
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let called = TcpStream::connect((to.host.as_str(), to.port)).await.unwrap();
            let shown = Shown::honest(&keys(66));
            let (Ok(mut caller), Ok(mut called)) =
                tokio::join!(tls::accept(caller, shown.clone()), tls::dial(called, Some(shown)))
            else {
                continue;
            };
            if let Middle::Makes = how {
                let _ = tls::prove(&mut called, None, &protocol).await;
                let mut proof = [0; 32];
                let _ = caller.read_exact(&mut proof).await;
                let ours = tls::proof(None, &protocol, ACCEPTOR, tls::export(caller.get_ref().1));
                let _ = caller.write_all(&ours).await;
            }
            let _ = tokio::io::copy_bidirectional(&mut caller, &mut called).await;
        }
    });
    address
}

/// T-8, T-10, T-13, T-14
#[tokio::test]
async fn someone_in_between_with_keys_of_his_own_is_refused() {
    let protocol = ProtocolId::derive("mesh", "tls/mesh");
    let his = NodeId::of_key(&keys(66).public(), &protocol);
    for (with_secret, how, dialled, said) in [
        // By the id that was dialled.
        (false, Middle::Makes, true, his.as_str()),
        // He can only pass on handshakes in other names, and those are noticed at either end.
        (false, Middle::Makes, false, "connect"),
        (false, Middle::Passes, false, "someone is in between"),
        (true, Middle::Passes, false, "someone is in between"),
        (true, Middle::Passes, true, "someone is in between"),
        (true, Middle::Makes, false, "someone is in between"),
    ] {
        let open = async || {
            let builder = builder();
            let builder = if with_secret { builder.secret(secret(1)) } else { builder };
            builder.open().await.unwrap()
        };
        let (a, b) = (open().await, open().await);
        let middle = man_in_the_middle(&a, how).await;
        let target = if dialled { format!("{}@{middle}", a.id()) } else { middle };
        let error = soon("refused", b.connect(&target)).await.unwrap_err();
        assert_eq!(error.code(), "connect");
        assert!(error.to_string().contains(said), "{error}");
        assert!(a.peers().is_empty() && b.peers().is_empty());
        // Without him they join.
        soon("b joins", b.connect(&format!("{}@{}", a.id(), a.address()))).await.unwrap();
    }
}

/// Where neither an id nor a secret is given, someone in between is a node like any other.
/// T-14
#[tokio::test]
async fn someone_in_between_is_a_node_with_his_own_id() {
    let (a, b) = (open().await, open().await);
    let middle = builder().identity(keys(66)).open().await.unwrap();
    soon("he joins a", middle.connect(&a.address().to_string())).await.unwrap();
    let found = soon("b joins him", b.connect(&middle.address().to_string())).await.unwrap();
    assert_eq!(found, NodeId::of_key(&keys(66).public(), a.protocol()));
    b.broadcast(&("hello",)).await.unwrap();
    assert_eq!(soon("a hears b", a.recv()).await.unwrap().sender(), b.id());
}

/// T-10, T-12
#[tokio::test]
async fn only_the_same_secret_joins() {
    let with = async |secret: Option<Secret>| {
        let builder = builder();
        secret.map_or(builder.clone(), |secret| builder.secret(secret)).open().await.unwrap()
    };
    let node = with(Some(secret(1))).await;
    let address = node.address().to_string();
    for other in [None, Some(secret(2))] {
        let other = with(other).await;
        for (from, to) in [(&other, &node), (&node, &other)] {
            let error = soon("refused", from.connect(&to.address().to_string())).await.unwrap_err();
            assert_eq!(error.code(), "connect");
            assert!(error.to_string().contains("another secret"), "{error}");
        }
        untouched(&other);
    }
    untouched(&node);
    let friend = with(Some(secret(1))).await;
    soon("a friend joins", friend.connect(&address)).await.unwrap();
    friend.broadcast(&("hello",)).await.unwrap();
    assert_eq!(soon("it is heard", node.recv()).await.unwrap().bytes(), Some(&b"hello"[..]));
}

/// T-16
#[tokio::test]
async fn who_never_finishes_the_handshake_is_given_up() {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..Config::default() };
    let node = Mesh::builder().config(config).open().await.unwrap();
    let hello = tls::client_hello();
    let mut socket = tcp(&node).await;
    let mut sent = 0;
    // Half of it, a byte at a time, and as often again as it takes.
    let drip = async {
        while socket.write_all(&hello[sent..=sent]).await.is_ok() {
            sent = (sent + 1).min(hello.len() / 2);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if node.stats().strangers > 0 {
                break;
            }
        }
    };
    soon("it is given up", drip).await;
    assert_eq!(node.stats().strangers, 1);
    untouched(&node);
}

/// T-15
#[tokio::test]
async fn an_end_without_a_goodbye_is_a_broken_link() {
    let node = open().await;
    for (goodbye, code) in [(true, "remote"), (false, "broken")] {
        let raw = keys(1);
        let id = NodeId::of_key(&raw.public(), node.protocol());
        let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&raw))).await.unwrap();
        tls::prove(&mut stream, None, node.protocol()).await.unwrap();
        let hello = frame(handshake(Dialect::Peernet, &id, node.protocol(), &[]).body());
        // How the bytes are cut into records means nothing.
        let (first, second) = hello.split_at(3);
        for part in [first, second] {
            stream.write_all(part).await.unwrap();
            stream.flush().await.unwrap();
        }
        // Fresh keys in the middle change nothing either.
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        let ping = peernet::wire::Message::pack(
            peernet::wire::codes::kind::WHISPER,
            id.as_str(),
            peernet::wire::Form::Str,
            support::wall(),
            peernet::wire::codes::code::PING,
            &[],
        );
        let heard = node.stats().frames_in;
        stream.write_all(&frame(ping.unwrap().body())).await.unwrap();
        stream.flush().await.unwrap();
        eventually("the node hears it", || (node.stats().frames_in > heard).then_some(())).await;
        let (mut socket, session) = stream.into_inner();
        let mut session = session;
        if goodbye {
            session.send_close_notify();
            let mut bytes = Vec::new();
            session.write_tls(&mut bytes).unwrap();
            socket.write_all(&bytes).await.unwrap();
        }
        socket.shutdown().await.unwrap();
        let reason = soon("the node notices", async {
            loop {
                match node.next_event().await.unwrap() {
                    Event::Disconnected { peer, reason } if peer == id => break reason,
                    _ => {}
                }
            }
        })
        .await;
        assert_eq!(reason.code(), code, "{reason}");
    }
}

/// A peer that takes nothing is told of, and then given up; sealing hides neither.
#[tokio::test]
async fn who_reads_nothing_is_given_up() {
    let config = Config {
        max_outgoing: 0,
        slow_after: Duration::from_millis(100),
        stall_timeout: Duration::from_millis(400),
        ..Config::local()
    };
    let node = Arc::new(Mesh::builder().config(config).open().await.unwrap());
    let id = NodeId::of_key(&keys(1).public(), node.protocol());
    let mut stream = tls::dial(tcp(&node).await, Some(Shown::honest(&keys(1)))).await.unwrap();
    tls::prove(&mut stream, None, node.protocol()).await.unwrap();
    let hello = handshake(Dialect::Peernet, &id, node.protocol(), &[]);
    stream.write_all(&frame(hello.body())).await.unwrap();
    stream.flush().await.unwrap();
    eventually("it is let in", || (node.peers().len() == 1).then_some(())).await;
    let talking = node.clone();
    let talk = tokio::spawn(async move {
        while talking.broadcast(&(vec![0_u8; 100_000],)).await.is_ok_and(|report| report.links > 0) {}
    });
    let mut slow = false;
    let reason = soon("it is given up", async {
        loop {
            match node.next_event().await.unwrap() {
                Event::SlowPeer { peer } => slow = peer == id,
                Event::Disconnected { reason, .. } => break reason,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(reason.code(), "stalled");
    assert!(slow, "and told of before");
    soon("nobody waits for it", talk).await.unwrap();
}

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-tls-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn open_in(folder: &Path) -> Result<Mesh, Error> {
    builder().data_dir(folder).open().await
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// T-3, T-19
#[tokio::test]
async fn an_identity_is_kept_where_there_is_a_data_directory() {
    let folder = Folder::new("kept");
    let first = open_in(&folder.0).await.unwrap();
    let (id, keys) = (first.id().clone(), first.keys().unwrap().clone());
    assert_eq!(id, NodeId::of_key(&keys.public(), first.protocol()));
    // Closed or dropped, the directory is free again.
    first.close().await;
    let second = open_in(&folder.0).await.unwrap();
    assert_eq!(second.id(), &id);
    drop((first, second));
    let elsewhere = builder().identity(keys.to_text().parse().unwrap()).open().await.unwrap();
    assert_eq!(elsewhere.id(), &id);
    let other = builder().subnet("other").data_dir(&folder.0).open().await.unwrap();
    assert_eq!(other.keys().unwrap(), &keys);
    assert_ne!(other.id(), &id, "not the same node in another subnet");
    assert_ne!(open().await.id(), open().await.id(), "without one, each time another");
}

/// T-19
#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_an_identity() {
    let folder = Folder::new("owner");
    drop(open_in(&folder.0).await.unwrap());
    assert_eq!((mode(&folder.0), mode(&folder.identity())), (0o700, 0o600));
    for others in [0o640, 0o604, 0o660] {
        set_mode(&folder.identity(), others);
        let error = open_in(&folder.0).await.unwrap_err();
        assert!(matches!(error, Error::Data(DataError::ReadableByOthers { .. })), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    set_mode(&folder.identity(), 0o600);
    open_in(&folder.0).await.unwrap();
}

/// T-19
#[tokio::test]
async fn a_damaged_identity_is_told_and_not_replaced() {
    let folder = Folder::new("damaged");
    drop(open_in(&folder.0).await.unwrap());
    let whole = std::fs::read_to_string(folder.identity()).unwrap();
    for damaged in [&whole[..40], "", "peernet-key-", &whole.repeat(20)] {
        std::fs::write(folder.identity(), damaged).unwrap();
        let error = open_in(&folder.0).await.unwrap_err();
        assert_eq!(error.code(), "data");
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(!error.to_string().contains(&whole[12..30]), "a key is never shown");
        assert_eq!(std::fs::read_to_string(folder.identity()).unwrap(), damaged);
    }
    // What a process left that was killed while it wrote does no harm.
    std::fs::write(folder.0.join("identity.new"), &whole[..20]).unwrap();
    std::fs::remove_file(folder.identity()).unwrap();
    let anew = open_in(&folder.0).await.unwrap();
    assert_ne!(anew.keys().unwrap().to_text(), whole.trim());
}

/// T-19
#[tokio::test]
async fn a_data_directory_is_for_one_node_and_one_identity() {
    let folder = Folder::new("one");
    let first = open_in(&folder.0).await.unwrap();
    let error = open_in(&folder.0).await.unwrap_err();
    assert!(matches!(error, Error::Data(DataError::InUse { .. })), "{error}");
    drop(first);
    let error = builder().identity(keys(1)).data_dir(&folder.0).open().await.unwrap_err();
    assert!(matches!(error, Error::Data(DataError::OtherIdentity { .. })), "{error}");
    let own = DataDir::open(&folder.0).unwrap().identity().unwrap();
    builder().identity(own).data_dir(&folder.0).open().await.unwrap();
    let fresh = Folder::new("given");
    drop(builder().identity(keys(1)).data_dir(&fresh.0).open().await.unwrap());
    assert_eq!(open_in(&fresh.0).await.unwrap().keys(), Some(&keys(1)));
    // Where a file is, no directory can be.
    let error = open_in(&fresh.identity()).await.unwrap_err();
    assert_eq!(error.code(), "data");
}
