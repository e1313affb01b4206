//! Searches (`spec/12-requests.md`) over sockets, and requests and searches under attack.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use peernet::identity::{KeyPair, NodeId};
use peernet::protocol::{Handshake, Identity, Note, Trust};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Decoder, Limits, MAX_FRAME, Message, Payload};
use peernet::{Address, Config, Encryption, Error, Event, Mesh, Query, Row, Rows, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

mod support;

use support::tls::{self, Shown};
use support::{PATIENCE, eventually, frame, soon, wall};

fn config() -> Config {
    Config { max_outgoing: 0, ..Config::lan() }
}

async fn open_with(config: Config) -> Arc<Mesh> {
    Arc::new(Mesh::builder().config(config).open().await.unwrap())
}

async fn open() -> Arc<Mesh> {
    open_with(config()).await
}

async fn join(from: &Mesh, to: &Mesh) {
    soon("two nodes join", from.connect(&to.address().to_string())).await.unwrap();
    eventually("both know it", || to.peers().iter().any(|peer| peer.id == *from.id()).then_some(())).await;
}

async fn next(rows: &mut Rows) -> Row {
    soon("something is found", rows.next()).await.unwrap()
}

/// Answers every search with what was asked, behind a word of its own.
fn knows(mesh: &Mesh, word: &'static str) {
    mesh.on_search(move |search| {
        let data = [word.as_bytes(), b" ", search.data()].concat();
        let _ = search.reply(data);
    });
}

/// what is found, by whom, how far away, and whether that is proven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_proven_where_authors_sign() {
    for signed in [true, false] {
        let open = async || Arc::new(Mesh::builder().sign(signed).config(config()).open().await.unwrap());
        let (a, b, c, d) = (open().await, open().await, open().await, open().await);
        for (from, to) in [(&b, &a), (&c, &b), (&d, &c)] {
            join(from, to).await;
        }
        knows(&b, "b");
        knows(&d, "d");
        let asked = Arc::new(Mutex::new(None));
        let heard = asked.clone();
        c.on_search(move |search| *heard.lock().unwrap() = Some(search));
        let query = Query::new("type", "what?").id("mine").limit(14).hops(2);
        let mut rows = a.announce(query).unwrap();
        let mut found = [next(&mut rows).await, next(&mut rows).await];
        found.sort_by_key(|row| row.hops);
        for (row, who, data, hops) in [(&found[0], &b, "b what?", 0), (&found[1], &d, "d what?", 2)] {
            assert_eq!(
                (&row.kind[..], &row.data[..], row.hops, row.limit),
                (&b"type"[..], data.as_bytes(), hops, 14)
            );
            assert_eq!((&row.sender, row.verified), (who.id(), signed));
            assert_eq!(row.id.len(), 16);
        }
        let search = asked.lock().unwrap().take().unwrap();
        assert_eq!((search.id(), search.kind(), search.data()), (&b"mine"[..], &b"type"[..], &b"what?"[..]));
        assert_eq!((search.sender(), search.verified()), (a.id(), signed));
        assert_eq!((search.hops(), search.limit()), (3, 14));
        for word in 0..8_u8 {
            search.reply_as([word], "other", vec![word; 1024]).unwrap();
            let row = next(&mut rows).await;
            assert_eq!((row.id, row.kind, row.data), (vec![word], b"other".to_vec(), vec![word; 1024]));
        }
        assert_eq!(search.reply("one more").unwrap_err().code(), "too_many");
        assert_eq!(search.reply(vec![0; 1025]).unwrap_err().code(), "config");
        assert_eq!(search.reply_as("", vec![0; 65], "").unwrap_err().code(), "config");
        drop(rows);
        assert_eq!(a.stats().searches_sent, 1);
    }
}

/// A search ends with its time, its node or its stream, and what comes later goes nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_ends() {
    let brief = Config { search_time: Duration::from_millis(200), ..config() };
    let (a, b) = (open_with(brief.clone()).await, open_with(brief).await);
    join(&b, &a).await;
    let (found, mut searches) = tokio::sync::mpsc::unbounded_channel();
    b.on_search(move |search| drop(found.send(search)));
    let mut rows = a.search("type", "").unwrap();
    let search = soon("it is asked", searches.recv()).await.unwrap();
    search.reply("in time").unwrap();
    assert_eq!(next(&mut rows).await.data, b"in time");
    assert!(soon("it is over", rows.next()).await.is_none());
    let is_over = |error: Error| error.code() == "search_over";
    eventually("the way back is over", || search.reply("late").is_err_and(is_over).then_some(())).await;
    let lost = a.stats().found_lost;
    let rows = a.search("type", "").unwrap();
    let search = soon("it is asked", searches.recv()).await.unwrap();
    drop(rows);
    search.reply("to nobody").unwrap();
    eventually("it is dropped", || (a.stats().found_lost > lost).then_some(())).await;
    let mut rows = a.search("type", "").unwrap();
    a.close().await;
    assert!(soon("the node is closed", rows.next()).await.is_none());
    assert_eq!(a.search("type", "").unwrap_err().code(), "closed");
}

#[tokio::test]
async fn searches_are_within_bounds_or_an_error() {
    let a = open_with(Config { searches_per_author: Some(2), ..config() }).await;
    for query in [
        Query::new(vec![0; 65], ""),
        Query::new("", vec![0; 1025]),
        Query::new("", "").id(vec![0; 65]),
        Query::new("", "").limit(0),
        Query::new("", "").limit(16),
        Query::new("", "").limit(3).hops(3),
    ] {
        assert_eq!(a.announce(query).unwrap_err().code(), "config");
    }
    let _kept = [a.search("", "").unwrap(), a.search(vec![0; 64], vec![0; 1024]).unwrap()];
    assert_eq!(a.search("", "").unwrap_err().code(), "too_many");
    for encryption in [Encryption::Plaintext, Encryption::Ssl, Encryption::Ws, Encryption::Wss] {
        let old = Mesh::builder().encryption(encryption).open().await.unwrap();
        assert_eq!(old.search("", "").unwrap_err().code(), "needs_tls");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_are_events() {
    let (a, b) = (open().await, open().await);
    join(&a, &b).await;
    let reader = b.clone();
    let reading = tokio::spawn(async move {
        while let Some(event) = reader.next_event().await {
            if let Event::Search(search) = event {
                let _ = search.reply("heard");
            }
        }
    });
    // The first may come before anyone reads.
    soon("it is answered", async {
        loop {
            let mut rows = a.search("", "").unwrap();
            if let Ok(row) = tokio::time::timeout(Duration::from_millis(200), rows.next()).await {
                assert_eq!(row.unwrap().data, b"heard");
                return;
            }
        }
    })
    .await;
    reading.abort();
}

/// A member of the subnet that does what it likes.
struct Attacker {
    who: Identity,
    stamp: i64,
    read: ReadHalf<TlsStream<TcpStream>>,
    write: WriteHalf<TlsStream<TcpStream>>,
    decoder: Decoder,
}

impl Attacker {
    async fn join(to: &Mesh, secret: u8) -> Self {
        let keys = KeyPair::from_secret([secret; 32]);
        let protocol = to.protocol().clone();
        let id = NodeId::of_key(&keys.public(), &protocol);
        let stream = TcpStream::connect((to.address().host.as_str(), to.address().port)).await.unwrap();
        let mut stream = soon("TLS", tls::dial(stream, Some(Shown::honest(&keys)))).await.unwrap();
        soon("proofs", tls::prove(&mut stream, None, &protocol)).await.unwrap();
        let address = Address::new("127.0.0.1", 9);
        let who = Identity { id, protocol, address, trust: Trust::Proven { keys, signed: true } };
        let (read, write) = split(stream);
        let mut attacker =
            Self { who, stamp: wall() * 1_000_000, read, write, decoder: Decoder::new(MAX_FRAME) };
        let who = &attacker.who;
        let payload = Handshake::payload(&who.id, &who.protocol, &who.address, &[]);
        let hello = attacker.whisper(code::HANDSHAKE, &payload);
        attacker.write.write_all(&hello).await.unwrap();
        attacker
    }

    fn whisper(&mut self, code: u64, payload: &(impl Payload + ?Sized)) -> Vec<u8> {
        self.stamp += 1;
        frame(self.who.pack(kind::WHISPER, self.stamp, code, payload).unwrap().body())
    }

    fn note(&mut self, code: u64, question: Option<[u8; 32]>, number: u64) -> Message {
        self.stamp += 1;
        let (id, data) = (number.to_be_bytes().to_vec(), b"lies".to_vec());
        let note = Note { question, id, kind: b"type".to_vec(), data, limit: 15 };
        self.who.pack_note(self.stamp, code, &note).unwrap()
    }

    fn question(&mut self, number: u64) -> Vec<u8> {
        let note = Value::Bin(self.note(code::SEARCH, None, number).body().to_vec());
        self.whisper(code::SEARCH, &[0.into(), note])
    }

    fn found(&mut self, question: [u8; 32], number: u64) -> Vec<u8> {
        let note = Value::Bin(self.note(code::FOUND, Some(question), number).body().to_vec());
        self.whisper(code::FOUND, &[0.into(), Value::Bin(question.to_vec()), note])
    }

    /// The next message that the node sends it.
    async fn message(&mut self) -> Message {
        loop {
            if let Some(body) = self.decoder.next_frame().unwrap() {
                return Message::read(body, &Limits::default()).unwrap();
            }
            let read =
                soon("the node says something", self.read.read_buf(self.decoder.room())).await.unwrap();
            assert!(read > 0, "the node hung up");
            self.decoder.filled(read);
        }
    }

    /// Sends what `make` makes as fast as the node takes it, and reads nothing.
    fn floods(
        mut self,
        make: impl Fn(&mut Self, u64) -> Vec<u8> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            for number in 0.. {
                let bytes = make(&mut self, number);
                if self.write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        })
    }
}

/// a member that searches at line rate gets its share, and others theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_at_line_rate_hold_up_nobody_s() {
    let bounds = Config { max_outgoing: 0, search_routes: 64, ..Config::default() };
    let node = open_with(bounds.clone()).await;
    let (a, b) = (open_with(bounds.clone()).await, open_with(bounds).await);
    join(&a, &node).await;
    join(&b, &node).await;
    b.on_search(|search| {
        if search.kind() == b"honest" {
            let _ = search.reply(search.data());
        }
    });
    let flood = Attacker::join(&node, 77).await.floods(|attacker, number| attacker.question(number));
    eventually("the flood is on", || (node.stats().searches_limited > 100).then_some(())).await;
    for number in 0..10_u8 {
        let mut rows = a.search("honest", [number]).unwrap();
        assert_eq!(next(&mut rows).await.data, [number]);
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    assert!(!flood.is_finished(), "it is no offence");
    flood.abort();
    let (node, b) = (node.stats(), b.stats());
    assert_eq!(node.offences, 0);
    assert!(node.searches_received < node.searches_limited);
    // A second of the flood's is ten, and this took no ten minutes.
    assert!(b.searches_received < 10 * 600 && b.searches_limited < node.searches_limited, "{b:?}");
}

/// a member that answers a question again and again is heard eight times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_at_line_rate_crowd_out_nobody_s() {
    let bounds = Config { max_outgoing: 0, ..Config::default() };
    let node = open_with(bounds.clone()).await;
    let (a, b) = (open_with(bounds.clone()).await, open_with(bounds).await);
    join(&a, &node).await;
    join(&b, &node).await;
    let (late, mut searches) = tokio::sync::mpsc::unbounded_channel();
    b.on_search(move |search| drop(late.send(search)));
    let mut attacker = Attacker::join(&node, 78).await;
    eventually("it is in", || (node.peers().len() == 3).then_some(())).await;
    let mut rows = a.search("type", "what?").unwrap();
    let question = loop {
        let message = attacker.message().await;
        if message.code() == Some(code::SEARCH) {
            let Some(Value::Bin(note)) = message.values(&Limits::default()).unwrap().pop() else { panic!() };
            break <[u8; 32]>::try_from(&note[..32]).unwrap();
        }
    };
    let flood = attacker.floods(move |attacker, number| attacker.found(question, number));
    eventually("the flood is on", || (node.stats().found_limited > 100).then_some(())).await;
    let search = soon("b is asked", searches.recv()).await.unwrap();
    search.reply("the truth").unwrap();
    let mut lies = 0;
    loop {
        let row = next(&mut rows).await;
        if row.sender == *b.id() {
            break assert_eq!(row.data, b"the truth");
        }
        lies += 1;
    }
    assert!(lies <= 8 && !flood.is_finished());
    flood.abort();
    assert_eq!(node.stats().offences, 0);
}

/// a member that asks at line rate and waits for no answer takes its own places only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_line_rate_hold_up_nobody_s() {
    let node = open_with(Config { max_outgoing: 0, max_requests_per_peer: 16, ..Config::default() }).await;
    let a = open().await;
    join(&a, &node).await;
    let attacker = Attacker::join(&node, 79).await;
    let (enemy, kept) = (attacker.who.id.clone(), Mutex::new(Vec::new()));
    node.on_request(move |request| {
        if *request.sender() == enemy {
            return kept.lock().unwrap().push(request);
        }
        tokio::spawn(async move {
            let payload = request.payload();
            request.respond(&payload).await.unwrap();
        });
    });
    let flood = attacker.floods(|attacker, number| attacker.whisper(code::ASK, &(number, "why?")));
    eventually("the flood is on", || (node.stats().requests_refused > 1000).then_some(())).await;
    for number in 0..100_u64 {
        let answer = soon("an answer", a.request(node.id(), &(number,), PATIENCE)).await.unwrap();
        assert_eq!(answer.payload(), [number.into()]);
    }
    flood.abort();
    assert_eq!(node.stats().requests_received, 116);
}
