//! The conversation between a harness and its drivers: lines on stdin, JSON lines on stdout.
//!
//! A driver prints `addr`, is told `connect A0 A1 …`, prints `ready`; driver 0 is told `go` and prints
//! `sent` (or, in a ping-pong, `result`), the others print `result` after the last message or when
//! told `stop`. `quit` or the end of stdin ends it.

use std::io::{BufRead, Write};

use peernet::Encryption;
use peernet::wire::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::monotonic::now_ns;

/// Which part one driver plays.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Role {
    /// w1 stream, w2 broadcast, w3 ping-pong, w4 memory of many nodes
    #[arg(long)]
    pub(super) workload: String,
    /// Number of this driver; 0 sends
    #[arg(long, default_value_t = 0)]
    pub(super) index: usize,
    /// Drivers in all (w4: nodes in this process)
    #[arg(long, default_value_t = 2)]
    pub(super) nodes: usize,
    /// Bytes of each message
    #[arg(long, default_value_t = 64)]
    pub(super) size: usize,
    /// Messages, or round trips
    #[arg(long, default_value_t = 1000)]
    pub(super) count: u64,
    /// Encryption of the subnet
    #[arg(long, default_value = "tls")]
    pub(super) encryption: Encryption,
    /// Broadcasts are not signed (tls only)
    #[arg(long)]
    pub(super) unsigned: bool,
    /// Methods to compress with where that pays, best first, as in `zlib,gzip` (default: none)
    #[arg(long, value_delimiter = ',')]
    pub(super) compress: Vec<Method>,
    /// What the messages are made of
    #[arg(long, value_parser = ["random", "text"], default_value = "random")]
    pub(super) content: String,
}

/// A line from the harness.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    Connect(Vec<String>),
    Go,
    Stop,
    Quit,
}

/// Reads control lines on a thread of their own.
pub(super) fn control() -> mpsc::UnboundedReceiver<Control> {
    let (lines, received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let mut words = line.split_whitespace().map(str::to_owned);
            let control = match words.next().as_deref() {
                Some("connect") => Control::Connect(words.collect()),
                Some("go") => Control::Go,
                Some("stop") => Control::Stop,
                Some("quit") => break,
                _ => continue,
            };
            if lines.send(control).is_err() {
                return;
            }
        }
        let _ = lines.send(Control::Quit);
    });
    received
}

pub(super) fn emit(event: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{event}");
    let _ = out.flush();
}

pub(super) fn emit_address(address: &str) {
    emit(&json!({"ev": "addr", "addr": address}));
}

pub(super) fn emit_ready() {
    emit(&json!({"ev": "ready"}));
}

pub(super) fn emit_sent(count: u64, start_ns: u64) {
    emit(&json!({"ev": "sent", "sent": count, "start_ns": start_ns, "end_ns": now_ns()}));
}

/// Counts what arrives, each sequence number for itself.
pub(super) struct Recorder {
    expected: u64,
    received: u64,
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
    seen: Vec<u64>,
    doubled: u64,
    reported: bool,
}

impl Recorder {
    pub(super) fn new(expected: u64) -> Self {
        Self {
            expected,
            received: 0,
            bytes: 0,
            first_ns: 0,
            last_ns: 0,
            seen: Vec::new(),
            doubled: 0,
            reported: false,
        }
    }

    /// One message arrived. Returns whether it was the last.
    pub(super) fn record(&mut self, message: &[u8]) -> bool {
        let Some(sequence) = sequence(message) else { return false };
        if self.received == 0 {
            self.first_ns = now_ns();
        }
        self.received += 1;
        self.bytes += message.len() as u64;
        if sequence < self.expected {
            let word = usize::try_from(sequence / 64).unwrap_or(0);
            if self.seen.len() <= word {
                self.seen.resize(word + 1, 0);
            }
            if let Some(bits) = self.seen.get_mut(word) {
                let bit = 1 << (sequence % 64);
                self.doubled += u64::from(*bits & bit != 0);
                *bits |= bit;
            }
        } else {
            self.doubled += 1;
        }
        // The clock costs as much as the rest of this.
        if self.received.is_multiple_of(32) || self.received >= self.expected {
            self.last_ns = now_ns();
        }
        self.received == self.expected
    }

    /// Reports, once, what arrived, and in how many bytes on the wire.
    pub(super) fn report(&mut self, wire_bytes: u64) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let distinct: u64 = self.seen.iter().map(|bits| u64::from(bits.count_ones())).sum();
        emit(&json!({
            "ev": "result", "received": self.received, "bytes": self.bytes,
            "first_ns": self.first_ns, "last_ns": self.last_ns,
            "exactly_once": self.doubled == 0 && distinct == self.expected, "wire_bytes": wire_bytes,
        }));
    }
}

/// Where the contents of messages come from: each is a window of one pool, behind its number.
pub(super) struct Source {
    pool: Vec<u8>,
    message: Vec<u8>,
}

const POOL: usize = 1 << 18;
const WORDS: &str = "the mesh carries what one node says to every other node once and no more often ";

impl Source {
    pub(super) fn new(role: &Role) -> Self {
        let size = role.size.max(16);
        let pool = match role.content.as_str() {
            "text" => WORDS.bytes().cycle().take(POOL + size).collect(),
            _ => {
                let mut state = now_ns() | 1;
                let mut next = || {
                    // xorshift64: incompressible is all it must be.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()
                };
                (0..(POOL + size) / 8 + 1).flat_map(|_| next()).collect()
            }
        };
        Self { pool, message: vec![0; size] }
    }

    /// Message number `sequence`; valid until the next.
    pub(super) fn message(&mut self, sequence: u64) -> &[u8] {
        let (number, body) = self.message.split_at_mut(8);
        number.copy_from_slice(&sequence.to_be_bytes());
        let start = usize::try_from(sequence.wrapping_mul(0x9E37_79B9) % POOL as u64).unwrap_or(0);
        body.copy_from_slice(&self.pool[start..start + body.len()]);
        &self.message
    }
}

pub(super) fn sequence(message: &[u8]) -> Option<u64> {
    message.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Round-trip times in nanoseconds to one result line. The first tenth, at most 500, is warm-up.
pub(super) fn emit_latency(round_trips: &[u64]) {
    let warm_up = (round_trips.len() / 10).min(500);
    let mut sorted = round_trips.get(warm_up..).unwrap_or_default().to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let place = ((sorted.len().max(1) - 1) as f64 * share).round() as usize;
        sorted.get(place).map_or(0.0, |ns| (*ns as f64 / 100.0).round() / 10.0)
    };
    emit(&json!({
        "ev": "result", "rounds": sorted.len(),
        "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "max_us": at(1.0),
    }));
}
