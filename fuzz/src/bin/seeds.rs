//! Writes the seeds of the corpus: what the golden vectors have, and scripts for the node machine that
//! get it talking. `cargo run --manifest-path fuzz/Cargo.toml --bin seeds`, from anywhere.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use peernet::fuzzing::TlsEnd;
use peernet::identity::{KeyPair, Secret};
use peernet::wire::{DIGEST_LEN, Header, LENGTH_LEN, Method};
use serde_json::Value;
use tokio::io::AsyncReadExt;

/// Larger inputs only slow the rounds down.
const LARGEST: usize = 2 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = fs::read_to_string(home.join("../conformance/vectors/p2p-today-0.7.json"))?;
    let vectors: Value = serde_json::from_str(&vectors)?;
    let frames = |section: &str| frames_of(&vectors, section);
    let (plain, packed, bad) = (frames("encode"), frames("decode"), frames("reject"));

    let mut streams = vec![];
    for chunk in plain.chunks(4).chain(packed.chunks(8)).chain(bad.chunks(2)) {
        for manner in 0..2 {
            streams.push([&[255, 7, manner], chunk.concat().as_slice()].concat());
        }
    }
    write(home, "frame", streams)?;

    let contents = || plain.iter().chain(&packed).chain(&bad).filter_map(|frame| frame.get(LENGTH_LEN..));
    let opened = contents().map(|content| [&[0x1f], content].concat());
    let read = contents().filter_map(|content| Some([&[0x80], content.get(DIGEST_LEN..)?].concat()));
    write(home, "message", opened.chain(read).collect())?;

    let streams = packed.iter().filter_map(|frame| frame.get(LENGTH_LEN..)).flat_map(|content| {
        let fitting = (0u8..).zip(Method::ALL).filter(|(_, method)| method.looks_like(content));
        fitting.map(|(at, _)| [&[at, 255], content].concat()).collect::<Vec<_>>()
    });
    write(home, "decompress", streams.collect())?;

    let payloads = plain.iter().filter_map(|frame| {
        let body = frame.get(LENGTH_LEN..)?;
        let message = peernet::wire::Message::read(body.to_vec().into(), &Default::default()).ok()?;
        let Header { count, .. } = *message.header();
        Some([&[u8::try_from(count).ok()?, 0, 0], message.packed()].concat())
    });
    write(home, "value", payloads.collect())?;

    let bodies = plain.iter().filter_map(|frame| frame.get(LENGTH_LEN..));
    let sealed = bodies.flat_map(|body| {
        let packed = body.get(DIGEST_LEN..).unwrap_or_default();
        // As it is; sealed by one who is not the author; in a sealed message, which is altered in places.
        let bare = [&[0, 0, 0, 0, 0], body].concat();
        let others = [&[5, 1, 0, 0, 0], packed].concat();
        let altered =
            [[2, 0, 7, 0, 3], [10, 1, 40, 0, 3], [10, 2, 130, 0, 7]].map(|start| [&start, packed].concat());
        [bare, others].into_iter().chain(altered)
    });
    write(home, "seal", sealed.collect())?;

    write(home, "node", scripts())?;
    write(home, "sync", tables())?;
    write(home, "websocket", websockets(&plain))?;
    write(home, "tls", links()?)?;
    Ok(())
}

/// Writes, entries, digests and time in all sorts of order.
fn tables() -> Vec<Vec<u8>> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    (0..24).map(|n| (0..40 + n * 16).map(|_| next()).collect()).collect()
}

/// Frames in messages, as a client and as a server send them, among pings and closes, and what is refused.
fn websockets(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let part = |role: u8, first: u8, content: &[u8]| {
        let masked = if role == 0 { 0x80 } else { 0 };
        let mut part = vec![first];
        match (u8::try_from(content.len()), u16::try_from(content.len())) {
            (Ok(short @ ..126), _) => part.push(masked | short),
            (_, Ok(medium)) => {
                part.push(masked | 126);
                part.extend(medium.to_be_bytes());
            }
            _ => return Vec::new(),
        }
        if role == 0 {
            part.extend([1, 2, 3, 4]);
            part.extend(content.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            part.extend(content);
        }
        part
    };
    let mut seeds = Vec::new();
    for role in [0, 1] {
        let mut add = |limit: u8, parts: &[(u8, &[u8])]| {
            let stream: Vec<u8> =
                parts.iter().flat_map(|(first, content)| part(role, *first, content)).collect();
            seeds.push([&[role, limit, 7], stream.as_slice()].concat());
        };
        for frames in frames.chunks(3).take(6) {
            add(255, &frames.iter().map(|frame| (0x82, frame.as_slice())).collect::<Vec<_>>());
        }
        for frame in frames.iter().take(3) {
            let (one, two) = frame.split_at(frame.len() / 2);
            add(255, &[(0x02, one), (0x89, b"ping"), (0x80, two), (0x8a, b"pong"), (0x88, &[3, 232])]);
            add(1, &[(0x82, frame)]);
        }
        add(255, &[(0x81, b"text")]);
        add(255, &[(0x02, b""), (0x00, b""), (0x00, b"x"), (0x82, b"")]);
        add(255, &[(0x80, b"")]);
        add(255, &[(0xc2, b"")]);
        add(255, &[(0x09, b"")]);
        add(255, &[(0x88, b"x")]);
        add(255, &[(0x88, b""), (0x82, b"behind")]);
    }
    for length in [[0; 8], [0x80, 0, 0, 0, 0, 0, 0, 0], [0x7f, 255, 255, 255, 255, 255, 255, 255]] {
        seeds.push([&[1, 255, 0, 0x82, 127][..], &length].concat());
    }
    seeds
}

/// Links under TLS, whole and changed at all sorts of places, and the first bytes of one from a stranger.
fn links() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let payload: Vec<u8> = (0..600_u16).map(|at| at as u8).collect();
    let mut seeds = Vec::new();
    for manner in [1, 5] {
        seeds.extend([vec![manner], [&[manner], payload.as_slice()].concat()]);
    }
    // In the first flight, the second, the proof, the payload, and its end.
    for place in [0_u16, 3, 5, 60, 190, 240, 300, 420, 470, 500, 540, 900, 1100, 1130] {
        let [high, low] = place.to_be_bytes();
        for how in 0..4 {
            seeds.push([&[2, high, low, how, 1], payload.as_slice()].concat());
        }
    }
    seeds.push([&[3, 0, 5, 0, 2, 2, 0, 3, 0], payload.as_slice()].concat());

    let hello = first_flight()?;
    for len in [1, 5, 6, 50, hello.len() - 1, hello.len()] {
        seeds.push([&[0], &hello[..len]].concat());
    }
    seeds.push([&[0], hello.as_slice(), &hello].concat());
    seeds.push([&[0][..], b"GET / HTTP/1.1\r\n\r\n"].concat());
    seeds.push([&[0][..], &[0, 0, 0, 40], &[7; 40]].concat());
    Ok(seeds)
}

/// What a node sends first on a link.
fn first_flight() -> Result<Vec<u8>, Box<dyn Error>> {
    let secret = Secret::from_bytes(&[1; 16])?;
    let end = TlsEnd::new(&KeyPair::from_secret([1; 32]), &secret).ok_or("no TLS 1.3")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(4096);
        let mut flight = vec![0; 4096];
        let read = async {
            let count = far.read(&mut flight).await;
            drop(far);
            count
        };
        let (count, _) = tokio::join!(read, end.dial(near));
        count.map(|count| flight[..count].to_vec())
    })?)
}

fn frames_of(vectors: &Value, section: &str) -> Vec<Vec<u8>> {
    let cases = vectors[section].as_array().into_iter().flatten();
    cases.filter_map(|case| unhex(case["frame"].as_str()?)).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn write(home: &Path, target: &str, inputs: Vec<Vec<u8>>) -> Result<(), Box<dyn Error>> {
    let folder = home.join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let once: BTreeSet<Vec<u8>> = inputs.into_iter().filter(|input| input.len() <= LARGEST).collect();
    for (at, input) in once.iter().enumerate() {
        fs::write(folder.join(format!("seed-{at:03}")), input)?;
    }
    println!("{target}: {} seeds", once.len());
    Ok(())
}

/// Steps of the node's script; see `Run::step` in `machine.rs`.
mod step {
    pub const LINK_UP: &[u8] = &[0];
    pub const DIAL_STANDS: &[u8] = &[2, 0, 1];
    pub const DIAL_FAILS: &[u8] = &[2, 0, 0];
    pub const SECONDS_PASS: &[u8] = &[11, 1, 31];
    pub const TIMER: &[u8] = &[11, 2];

    /// Someone tells where the node is that is looked for.
    pub fn found(at: u8) -> Vec<u8> {
        vec![17, 1, at, 0, 0, 1, 0, 0]
    }

    pub fn link_down(link: u8) -> Vec<u8> {
        vec![3, 0, link]
    }

    /// `form` is 0 for py2p, 1 for js2p, 2 for peernet; methods are zlib and snappy.
    pub fn handshake(link: u8, node: u8, form: u8) -> Vec<u8> {
        vec![4, link, node, form, node, 2, 3, 4, 0, 0, node, 0]
    }

    pub fn broadcast(link: u8, author: u8, text: u8) -> Vec<u8> {
        vec![7, link, 0, 0, 1, 6, 1, text, 0, author, 0]
    }

    pub fn whisper(link: u8, author: u8) -> Vec<u8> {
        vec![7, link, 2, 2, 1, 2, 9, 0, author, 0]
    }

    pub fn repeat(link: u8) -> Vec<u8> {
        vec![15, 0, link, 1]
    }

    pub fn peers(link: u8, from: u8) -> Vec<u8> {
        let mut bytes = vec![10, link, 6];
        for node in from..from + 6 {
            bytes.extend([node, node % 8, 0]);
        }
        bytes.extend([0, 1, 0]);
        bytes
    }

    /// What the user wants: 0 broadcast, 1 whisper, 2 connect, 3 disconnect, 255 close.
    pub fn command(what: u8, node: u8, rest: &[u8]) -> Vec<u8> {
        [&[13, node, what], rest].concat()
    }
}

fn scripts() -> Vec<Vec<u8>> {
    use step::*;
    let begin = vec![2, 1];
    let joined = |links: u8| {
        let mut script = begin.clone();
        for link in 0..links {
            script.extend(LINK_UP);
            script.extend(handshake(link, link + 1, link % 3));
        }
        script
    };
    let with = |links: u8, steps: &[&[u8]]| [joined(links), steps.concat()].concat();
    let user = |steps: &[&[u8]]| [begin.clone(), steps.concat()].concat();
    vec![
        joined(4),
        // Broadcasts, again, and again on other links.
        with(3, &[&broadcast(0, 1, 1), &repeat(1), &repeat(2), &broadcast(1, 5, 2), &repeat(0)]),
        with(2, &[&whisper(0, 1), &whisper(1, 6), &link_down(0), &broadcast(0, 2, 1)]),
        // Double connections in all three dialects.
        with(
            1,
            &[
                LINK_UP,
                &handshake(1, 1, 0),
                LINK_UP,
                &handshake(2, 1, 1),
                LINK_UP,
                &handshake(3, 1, 2),
                TIMER,
                TIMER,
            ],
        ),
        with(2, &[LINK_UP, &handshake(2, 2, 2), &link_down(1), &handshake(1, 2, 2), &handshake(0, 3, 2)]),
        // A peers list is dialled.
        with(1, &[&peers(0, 3), DIAL_STANDS, &handshake(1, 3, 2), DIAL_FAILS, DIAL_STANDS, &peers(1, 9)]),
        // Time passes over silent peers.
        with(3, &[SECONDS_PASS, SECONDS_PASS, SECONDS_PASS]),
        user(&[LINK_UP, LINK_UP, LINK_UP, LINK_UP, TIMER, TIMER]),
        // What the user wants.
        user(&[
            &command(2, 3, &[1, 3, 0]),
            DIAL_STANDS,
            &handshake(0, 3, 2),
            &command(0, 0, &[1]),
            &link_down(0),
            TIMER,
            DIAL_FAILS,
            TIMER,
        ]),
        user(&[&command(2, 3, &[0, 3, 1]), DIAL_STANDS, &handshake(0, 4, 2), &command(3, 3, &[])]),
        with(1, &[&command(2, 1, &[1, 1, 0]), &command(3, 1, &[]), LINK_UP, &handshake(0, 1, 0)]),
        // A node is looked for and found.
        with(2, &[&command(1, 6, &[]), &found(20), DIAL_STANDS, &handshake(2, 6, 2)]),
        with(2, &[&command(1, 6, &[]), &(30..40).flat_map(found).collect::<Vec<_>>(), DIAL_FAILS]),
        with(2, &[&command(1, 6, &[]), TIMER, TIMER, &command(255, 0, &[]), LINK_UP, &handshake(0, 5, 2)]),
    ]
}
