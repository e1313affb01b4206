//! A node under attack with two honest peers, and the attacker: a raw socket that speaks as much of
//! the protocol as its attack needs.

// Each test program uses a part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod tls;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::Dialect;
use peernet::wire::codes::{code, kind};
use peernet::wire::{Decoder, Form, LENGTH_LEN, Limits, MAX_FRAME, Message, Method, open};
use peernet::{CloseReason, Config, Encryption, Event, Mesh, Stats, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take before a test gives up; far more than it takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `what`, and fails by its name when it does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {PATIENCE:?}: {what}"),
    }
}

/// Waits until `holds` returns something, for facts that no event tells.
pub(crate) async fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(value) = holds() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// What a node told its program.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// How often each probe arrived.
    pub(crate) probes: HashMap<i64, u32>,
    /// Messages that are no probes.
    pub(crate) others: u64,
    pub(crate) disconnected: Vec<(NodeId, CloseReason)>,
    pub(crate) slow: Vec<NodeId>,
}

/// A node whose events are read all the time.
pub(crate) struct Watched {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) journal: watch::Receiver<Journal>,
    reader: JoinHandle<()>,
}

const PROBE: &str = "probe";

impl Watched {
    pub(crate) async fn open(config: Config) -> Self {
        Self::open_over(Encryption::Plaintext, config).await
    }

    pub(crate) async fn open_over(encryption: Encryption, config: Config) -> Self {
        let mesh = Mesh::builder().encryption(encryption).config(config).open().await.unwrap();
        let mesh = Arc::new(mesh);
        let (write, journal) = watch::channel(Journal::default());
        let read = mesh.clone();
        let reader = tokio::spawn(async move {
            while let Some(event) = read.next_event().await {
                write.send_modify(|journal| note(journal, event));
            }
        });
        Self { mesh, journal, reader }
    }

    /// Waits until the journal shows what `holds` looks for.
    pub(crate) async fn tells<T>(&self, what: &str, mut holds: impl FnMut(&Journal) -> Option<T>) -> T {
        let mut journal = self.journal.clone();
        soon(what, async {
            loop {
                if let Some(value) = holds(&journal.borrow_and_update()) {
                    return value;
                }
                journal.changed().await.expect("the node ended");
            }
        })
        .await
    }

    /// Waits for the reason why `peer` was disconnected.
    pub(crate) async fn parted(&self, peer: &NodeId) -> CloseReason {
        self.tells("a peer is disconnected", |journal| {
            let found = journal.disconnected.iter().find(|(who, _)| who == peer);
            found.map(|(_, reason)| reason.clone())
        })
        .await
    }

    pub(crate) fn stats(&self) -> Stats {
        self.mesh.stats()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn note(journal: &mut Journal, event: Event) {
    match event {
        Event::Message(message) => match message.payload().as_slice() {
            [Value::Str(word), number] if word == PROBE => {
                *journal.probes.entry(number.as_i64().unwrap()).or_default() += 1;
            }
            _ => journal.others += 1,
        },
        Event::Disconnected { peer, reason } => journal.disconnected.push((peer, reason)),
        Event::SlowPeer { peer } => journal.slow.push(peer),
        _ => {}
    }
}

/// How honest peers are configured: they dial only whom they are told to, so that what one hears of
/// the other came through the node under attack.
pub(crate) fn honest() -> Config {
    Config { max_outgoing: 0, ..Config::lan() }
}

/// A node under attack, with two honest peers that reach each other only through it.
pub(crate) struct Scene {
    pub(crate) node: Watched,
    pub(crate) a: Watched,
    pub(crate) b: Watched,
    encryption: Encryption,
    probe: AtomicI64,
}

impl Scene {
    /// `config` is that of the node under attack.
    pub(crate) async fn open(config: Config) -> Arc<Self> {
        Self::open_over(Encryption::Plaintext, config).await
    }

    /// `config` is that of the node under attack.
    pub(crate) async fn open_over(encryption: Encryption, config: Config) -> Arc<Self> {
        let node = Watched::open_over(encryption, config).await;
        let a = Watched::open_over(encryption, honest()).await;
        let b = Watched::open_over(encryption, honest()).await;
        let scene = Self { node, a, b, encryption, probe: AtomicI64::new(0) };
        for peer in [&scene.a, &scene.b] {
            scene.admit(peer).await;
        }
        Arc::new(scene)
    }

    /// Joins `peer` to the node, as often as it takes under attack.
    async fn admit(&self, peer: &Watched) {
        let address = self.node.mesh.address().to_string();
        soon("an honest peer joins", async { while peer.mesh.connect(&address).await.is_err() {} }).await;
        let id = peer.mesh.id();
        eventually("the node knows the peer", || {
            self.node.mesh.peers().iter().any(|peer| peer.id == *id).then_some(())
        })
        .await;
    }

    /// One broadcast of A reaches `to`.
    pub(crate) async fn probe(&self, to: &Watched) -> i64 {
        let number = self.probe.fetch_add(1, Ordering::Relaxed);
        soon("A broadcasts", self.a.mesh.broadcast(&(PROBE, number))).await.unwrap();
        to.tells("a broadcast of A arrives", |journal| journal.probes.get(&number).map(|_| ())).await;
        number
    }

    /// The node still does what it is there for: broadcasts pass through it, and new peers join.
    pub(crate) async fn still_serves(&self) {
        self.probe(&self.b).await;
        let newcomer = Watched::open_over(self.encryption, honest()).await;
        self.admit(&newcomer).await;
        self.probe(&newcomer).await;
        self.probe(&self.b).await;
        self.each_once();
        newcomer.mesh.close().await;
    }

    /// What reached B reached it once: a later message of the same author over the same path has
    /// arrived, so no second copy can be under way.
    fn each_once(&self) {
        let journal = self.b.journal.borrow();
        for (number, times) in &journal.probes {
            assert_eq!(*times, 1, "probe {number} arrived {times} times");
        }
    }

    /// Lets A broadcast all the time, each message when the one before has reached B.
    pub(crate) fn keep_talking(self: &Arc<Self>) -> Talk {
        let (scene, stop) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            // The pace leaves the machine to the attack and to other tests.
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            let mut rounds = 0;
            while !stopped.load(Ordering::Acquire) {
                pace.tick().await;
                scene.probe(&scene.b).await;
                rounds += 1;
            }
            rounds
        });
        Talk { scene: self.clone(), stop, task }
    }

    /// Runs `attack` while A talks to B, and checks that all was well during and after it.
    pub(crate) async fn under<T>(self: &Arc<Self>, attack: impl Future<Output = T>) -> T {
        let talk = self.keep_talking();
        let result = attack.await;
        talk.end().await;
        self.still_serves().await;
        result
    }
}

/// A talks to B until it is ended.
pub(crate) struct Talk {
    scene: Arc<Scene>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Talk {
    async fn end(self) {
        self.stop.store(true, Ordering::Release);
        let rounds = soon("A finishes talking", self.task).await.unwrap();
        assert!(rounds > 0, "nothing passed while under attack");
        self.scene.each_once();
    }
}

/// A raw connection to the node under attack.
pub(crate) struct Raw {
    pub(crate) id: NodeId,
    pub(crate) read: RawRead,
    pub(crate) write: OwnedWriteHalf,
}

pub(crate) struct RawRead {
    stream: OwnedReadHalf,
    decoder: Decoder,
}

/// A node id that nobody has had.
pub(crate) fn fresh_id(protocol: &ProtocolId) -> NodeId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let salt = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    NodeId::derive("127.0.0.1", 9, protocol, &salt)
}

/// The time by the clock that nodes stamp messages with.
pub(crate) fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A body as a frame.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length, body].concat()
}

/// A message of `sender`.
pub(crate) fn say(sender: &NodeId, kind: u64, code: u64, payload: &[Value]) -> Message {
    Message::pack(kind, sender.as_str(), Form::Str, wall(), code, payload).unwrap()
}

/// A handshake as `dialect` writes it.
pub(crate) fn handshake(dialect: Dialect, id: &NodeId, protocol: &ProtocolId, methods: &[Method]) -> Message {
    let text = |text: &str, form| match form {
        Form::Str => Value::from(text),
        Form::Bin => Value::from(text.as_bytes()),
    };
    let protocol_form = match dialect {
        Dialect::Js2p => Form::Str,
        Dialect::Py2p | Dialect::Peernet => Form::Bin,
    };
    let methods: Vec<Value> = methods.iter().map(|method| method.code().into()).collect();
    let payload = vec![
        text(id.as_str(), dialect.id_form()),
        text(protocol.as_str(), protocol_form),
        // Nobody listens there.
        Value::Array(vec!["127.0.0.1".into(), 9.into()]),
        Value::Array(methods),
    ];
    Message::pack(kind::WHISPER, id.as_str(), dialect.id_form(), wall(), code::HANDSHAKE, &payload).unwrap()
}

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) async fn connect(to: &Watched) -> Self {
        let address = to.mesh.address();
        let dial = TcpStream::connect((address.host.as_str(), address.port));
        Self::over(to, soon("an attacker connects", dial).await.unwrap())
    }

    pub(crate) fn over(to: &Watched, stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (stream, write) = stream.into_split();
        let read = RawRead { stream, decoder: Decoder::new(MAX_FRAME) };
        Self { id: fresh_id(to.mesh.protocol()), read, write }
    }

    /// A connection that shook hands.
    pub(crate) async fn join(to: &Watched) -> Self {
        Self::join_as(to, Dialect::Peernet, &[]).await
    }

    pub(crate) async fn join_as(to: &Watched, dialect: Dialect, methods: &[Method]) -> Self {
        let mut raw = Self::connect(to).await;
        raw.shake_hands(to, dialect, methods).await;
        raw
    }

    pub(crate) async fn shake_hands(&mut self, to: &Watched, dialect: Dialect, methods: &[Method]) {
        let hello = handshake(dialect, &self.id, to.mesh.protocol(), methods);
        self.send(&hello).await.unwrap();
        soon("the node answers the handshake", async {
            while self.read.message().await.expect("the node hung up").code() != Some(code::PEERS) {}
        })
        .await;
    }

    pub(crate) async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.send_bytes(&frame(message.body())).await
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("the node reads", self.write.write_all(bytes)).await
    }

    /// A whisper in this attacker's name.
    pub(crate) fn whisper(&self, code: u64, payload: &[Value]) -> Message {
        say(&self.id, kind::WHISPER, code, payload)
    }

    /// A broadcast in this attacker's name.
    pub(crate) fn broadcast(&self, payload: &[Value]) -> Message {
        say(&self.id, kind::BROADCAST, code::BROADCAST, payload)
    }

    /// The node still answers on this connection. It may have dropped answers that were not read in
    /// time, so it is asked more than once.
    pub(crate) async fn is_answered(&mut self) {
        soon("the node answers a ping", async {
            loop {
                let ping = self.whisper(code::PING, &[]);
                self.send(&ping).await.unwrap();
                if tokio::time::timeout(Duration::from_millis(500), self.read.pong()).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }

    /// Sends `frames` as fast as the node takes them, and shows `each` message that comes meanwhile.
    pub(crate) async fn flood(
        self,
        frames: impl Iterator<Item = Vec<u8>> + Send + 'static,
        mut each: impl FnMut(&Message),
    ) -> Self {
        let Self { id, mut read, mut write } = self;
        let mut writing = tokio::spawn(async move {
            for frame in frames {
                write.write_all(&frame).await.expect("the node hung up");
            }
            write
        });
        let write = soon("the node takes the flood", async {
            loop {
                tokio::select! {
                    message = read.message() => each(&message.expect("the node hung up")),
                    written = &mut writing => return written.unwrap(),
                }
            }
        })
        .await;
        Self { id, read, write }
    }

    /// Waits until the node has closed this connection.
    pub(crate) async fn ends(mut self) {
        soon("the node hangs up", self.read.drain()).await;
    }
}

impl RawRead {
    /// The next message; `None` when the connection ended.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                let body = open(frame, &Method::ALL, MAX_FRAME).unwrap();
                return Some(Message::read(body, &Limits::default()).unwrap());
            }
            match self.stream.read_buf(self.decoder.room()).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.filled(n),
            }
        }
    }

    /// Reads up to the answer to a ping.
    async fn pong(&mut self) {
        while self.message().await.expect("the node hung up").code() != Some(code::PONG) {}
    }

    /// Reads and forgets whatever comes, to the end.
    pub(crate) async fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while !matches!(self.stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    }
}

/// A body whose one payload element, behind the code of a broadcast, is `value` as it stands.
pub(crate) fn body_with(raw: &Raw, value: &[u8]) -> Vec<u8> {
    let message = raw.broadcast(&[Value::Nil]);
    let (digest_len, body) = (peernet::wire::DIGEST_LEN, message.body());
    // The nil that stands last makes room for the value.
    let packed = [&body[digest_len..body.len() - 1], value].concat();
    [peernet::wire::body::digest(&packed).as_slice(), &packed].concat()
}

/// Bytes of memory that this process holds.
#[cfg(target_os = "linux")]
pub(crate) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Watches how far the memory of this process grows.
#[cfg(target_os = "linux")]
pub(crate) struct MemoryWatch {
    before: usize,
    peak: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

#[cfg(target_os = "linux")]
impl MemoryWatch {
    pub(crate) fn start() -> Self {
        let before = resident();
        let peak = Arc::new(AtomicUsize::new(before));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (peak.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                seen.fetch_max(resident(), Ordering::AcqRel);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { before, peak, stop, thread }
    }

    /// The most that the process grew by since the start.
    pub(crate) fn growth(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.peak.load(Ordering::Acquire).max(resident()) - self.before
    }
}

/// How many connections with both ends in this process an attack may open: `wanted`, unless the
/// system lets a process have too few open files for that.
pub(crate) fn connections(wanted: usize) -> usize {
    // The soft limit is often far below what the system allows.
    if let Some((_, hard)) = open_files() {
        let (pid, limit) = (std::process::id().to_string(), format!("--nofile={hard}:"));
        let _ = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).output();
    }
    let files = open_files().map_or(256, |(soft, _)| soft);
    // A quarter stays for the tests beside this one.
    wanted.min((files - files / 4) / 2)
}

/// The soft and the hard limit of open files.
fn open_files() -> Option<(usize, usize)> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace().map_while(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Bytes of a frame's length field for `len` bytes.
pub(crate) fn length(len: u32) -> [u8; LENGTH_LEN] {
    len.to_be_bytes()
}
