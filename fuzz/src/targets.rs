//! One function per target: it takes any bytes, and panics when the code under test breaks a promise.

// Public in the fuzz crate, not so in the test that includes this file.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "asking.rs"]
mod asking_machine;
#[path = "machine.rs"]
mod machine;
#[path = "sync.rs"]
mod table;
#[path = "tls.rs"]
mod tls_link;

use peernet::Value;
use peernet::identity::{KeyPair, NodeId, PublicKey};
use peernet::protocol::Handshake;
use peernet::wire::codes::kind;
use peernet::wire::value::{skip, unpack, validate};
use peernet::wire::websocket::{End as Ended, Framer, Role, Unframer};
use peernet::wire::{
    Decoder, DecompressError, Envelope, Form, FrameError, Header, LENGTH_LEN, Limits, Message, Method,
    Payload, SEAL_LEN,
};
use peernet::wire::{body, open, unverified};

pub use asking_machine::asking;
pub use machine::node;
pub use table::sync;
pub use tls_link::tls;

/// Bytes over this are compressed no more: it would only cost rounds.
const COMPRESS_UP_TO: usize = 4 << 10;

/// The first bytes of an input, as choices.
fn choices<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut chosen = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    chosen[..head.len()].copy_from_slice(head);
    (chosen, rest)
}

/// The decoder gives the same frames and the same end however the bytes are split.
pub fn frame(data: &[u8]) {
    let ([limit, seed, manner], stream) = choices(data);
    let limit = usize::from(limit) << 4;
    let (expected, end) = frames_of(stream, limit);

    let mut decoder = Decoder::new(limit);
    let (mut rest, mut frames) = (stream, Vec::new());
    let mut step = u32::from(seed) + 1;
    loop {
        // Any split will do, so long as the same input gives the same.
        step = step.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let (now, later) = rest.split_at(rest.len().min((step >> 16) as usize % 97));
        if step & 1 << 24 == 0 {
            decoder.push(now);
        } else {
            decoder.room().extend_from_slice(now);
            decoder.filled(now.len());
        }
        rest = later;
        let ahead: Vec<Vec<u8>> = decoder.whole_frames().map(<[u8]>::to_vec).collect();
        let before = frames.len();
        while let Ok(Some(frame)) = decoder.peek() {
            let (len, copy) = (frame.len(), frame.to_vec());
            match manner % 3 {
                0 => assert_eq!(decoder.take(len), copy),
                1 => decoder.skip(len),
                _ => assert_eq!(decoder.next_frame().unwrap().unwrap(), copy),
            }
            frames.push(copy);
        }
        // It looks ahead at what it then gives, up to a frame that is too large.
        assert!(ahead.starts_with(&frames[before..]));
        if decoder.peek().is_err() || rest.is_empty() {
            break;
        }
    }
    assert_eq!(frames, expected);
    let left = stream.len() - expected.iter().map(|frame| LENGTH_LEN + frame.len()).sum::<usize>();
    match end {
        End::TooLarge => assert!(matches!(decoder.next_frame(), Err(FrameError::TooLarge { .. }))),
        End::Clean => assert!(decoder.finish().is_ok() && !decoder.is_partial()),
        End::Partial => {
            assert!(decoder.is_partial());
            match decoder.finish() {
                Err(FrameError::Truncated { have, need }) => assert!(have == left && have < need),
                other => panic!("{other:?}"),
            }
        }
    }
}

enum End {
    Clean,
    Partial,
    TooLarge,
}

/// What the frames of a stream are, written down as simply as can be.
fn frames_of(mut stream: &[u8], limit: usize) -> (Vec<Vec<u8>>, End) {
    let mut frames = Vec::new();
    loop {
        if stream.is_empty() {
            return (frames, End::Clean);
        }
        let Some((length, rest)) = stream.split_first_chunk::<LENGTH_LEN>() else {
            return (frames, End::Partial);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > limit {
            return (frames, End::TooLarge);
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { return (frames, End::Partial) };
        frames.push(frame.to_vec());
        stream = rest;
    }
}

/// A WebSocket gives the same content, pings and end however its bytes are split; and what is put into one
/// comes out of it.
pub fn websocket(data: &[u8]) {
    let ([manner, limit, seed], stream) = choices(data);
    let (us, them) = match manner & 1 {
        0 => (Role::Server, Role::Client),
        _ => (Role::Client, Role::Server),
    };
    let limit = usize::from(limit) << 3;
    let expected = content_of(stream, us, limit);
    let mut unframer = Unframer::new(us, limit);
    let (mut content, mut ping) = (Vec::new(), None);
    for piece in pieces(stream, seed) {
        let mut piece = piece.to_vec();
        let kept = unframer.take(&mut piece);
        content.extend_from_slice(&piece[..kept]);
        if let Some(last) = unframer.take_ping() {
            assert!(last.len() <= 125);
            ping = Some(last);
        }
    }
    let end = match unframer.end() {
        None => None,
        Some(Ended::Closed) => Some(1000),
        Some(Ended::Refused(violation)) => Some(violation.close_code()),
    };
    assert_eq!((content, ping, end), expected);

    // The same bytes as frames, up to where they end or become larger than is worth the time.
    const LARGEST: usize = 64 << 10;
    let frames = match frames_of(stream, LARGEST) {
        (frames, End::TooLarge) => {
            &stream[..frames.iter().map(|frame| LENGTH_LEN + frame.len()).sum::<usize>()]
        }
        _ => stream,
    };
    let (mut framer, mut unframer) = (Framer::new(us), Unframer::new(them, LARGEST + LENGTH_LEN));
    let room = 1 + usize::from(manner);
    let mut back = Vec::new();
    for mut piece in pieces(frames, seed) {
        while !piece.is_empty() {
            let mut wire = Vec::new();
            let used = framer.put(piece, &mut wire, room);
            // Never stuck, and over its room by no more than heads.
            assert!(used > 0 && wire.len() <= room + 32);
            if framer.is_between_parts() && seed & 1 == 1 {
                framer.pong(piece, &mut wire);
            }
            piece = &piece[used..];
            let kept = unframer.take(&mut wire);
            back.extend_from_slice(&wire[..kept]);
        }
    }
    assert_eq!(unframer.end(), None);
    // A length field that is not whole begins no message.
    assert!(frames.starts_with(&back) && frames.len() - back.len() < LENGTH_LEN);
}

/// A stream in pieces of sizes that the same seed gives again.
fn pieces(mut rest: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut step = u32::from(seed) + 1;
    std::iter::from_fn(move || {
        step = step.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let (now, later) = rest.split_at(rest.len().min(1 + (step >> 16) as usize % 97));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

/// What a WebSocket's bytes say, written down as simply as can be: the content of its messages, its last
/// ping, and the code it ended with.
fn content_of(mut stream: &[u8], us: Role, limit: usize) -> (Vec<u8>, Option<Vec<u8>>, Option<u16>) {
    let (mut content, mut ping, mut open) = (Vec::new(), None, false);
    let end = loop {
        let [first, second, rest @ ..] = stream else { break None };
        let (kind, last, short) = (first & 15, first & 0x80 != 0, u64::from(second & 0x7f));
        let masked = second & 0x80 != 0;
        match kind {
            _ if first & 0x70 != 0 || masked != (us == Role::Server) => break Some(1002),
            1 => break Some(1003),
            0 | 2 if (kind == 0) != open => break Some(1002),
            0 | 2 => {}
            8..=10 if !last || short > 125 || kind == 8 && short == 1 => break Some(1002),
            8..=10 => {}
            _ => break Some(1002),
        }
        let size = match short {
            127 => 8,
            126 => 2,
            _ => 0,
        };
        let Some((head, rest)) = rest.split_at_checked(size + if masked { 4 } else { 0 }) else { break None };
        let length = match size {
            0 => short,
            _ => head[..size].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if size == 2 && length < 126 || size == 8 && length < 1 << 16 || length >= 1 << 63 {
            break Some(1002);
        }
        if length > limit as u64 {
            break Some(1009);
        }
        let there = rest.len().min(length as usize);
        let plain: Vec<u8> = match &head[size..] {
            [] => rest[..there].to_vec(),
            mask => rest[..there].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect(),
        };
        match kind {
            0 | 2 => {
                open = !last;
                content.extend(plain);
            }
            _ if there < length as usize => {}
            8 => break Some(1000),
            9 => ping = Some(plain),
            _ => {}
        }
        stream = &rest[there..];
        if there < length as usize {
            break None;
        }
    };
    (content, ping, end)
}

/// A frame's content is opened, read and unpacked; what reads can be written again.
pub fn message(data: &[u8]) {
    let ([flags], content) = choices(data);
    let methods: Vec<Method> =
        Method::ALL.into_iter().enumerate().filter(|(at, _)| flags >> at & 1 == 1).map(|(_, m)| m).collect();
    let limit = 64 << 10;
    // A digest is not to be guessed, so it is put before what claims to be packed.
    let content = match flags & 0x80 {
        0 => content.to_vec(),
        _ => [&body::digest(content)[..], content].concat(),
    };
    let _ = unverified(&content);
    let Ok(opened) = open(content.clone().into(), &methods, limit) else { return };
    assert!(opened.len() <= limit.max(content.len()));
    let (digest, packed) = opened.split_first_chunk::<32>().expect("a body has a digest");
    assert_eq!(*digest, body::digest(packed));

    let header = Header::read(&opened);
    let limits = Limits::default();
    let read = match Message::read(opened.clone(), &limits) {
        Ok(message) => message,
        Err(error) => {
            let _ = (error.is_malformed(), error.to_string());
            return;
        }
    };
    assert_eq!(Ok(*read.header()), header);
    let values = read.values(&limits).expect("a message that reads unpacks");
    assert_eq!(values.len(), read.header().count as usize);
    assert_eq!(read.code(), values.first().and_then(Value::as_u64));
    assert!(read.packed().ends_with(read.after_code()));
    let only = match values.as_slice() {
        [Value::Int(_), Value::Str(text)] => Some(text.as_bytes()),
        [Value::Int(_), Value::Bin(bytes)] => Some(bytes.as_slice()),
        _ => None,
    };
    assert_eq!(read.only_bytes(), only);
    let _ = Handshake::read(&read, &machine::protocol());

    let Header { kind, sender_form, time, .. } = *read.header();
    let again = Message::pack_raw(kind, read.sender(), sender_form, time, &values).unwrap();
    let back = Message::read(again.body().clone(), &limits).expect("what was packed reads");
    assert_eq!((back.sender(), back.header().time, back.header().kind), (read.sender(), time, kind));
    assert!(same(&back.values(&limits).unwrap(), &values));
}

/// Nothing reads as a broadcast but what its author sealed; everything else reads as without seals.
pub fn seal(data: &[u8]) {
    let ([flags, author, at, above, bit], content) = choices(data);
    let protocol = machine::protocol();
    let envelope = Envelope::Sealed(protocol.clone());
    let keys = KeyPair::from_secret([author % 3 + 1; 32]);
    let mut frame = content.to_vec();
    if flags & 1 == 1 {
        frame = [&body::digest(content)[..], content].concat();
    }
    if flags & 2 == 2 {
        // In the name of the key's node, so that the seal is right.
        let id = NodeId::of_key(&keys.public(), &protocol);
        let time = i64::from(at) - i64::from(above);
        let payload = (content, i64::from(bit));
        let message = Message::pack(0, id.as_str(), Form::Str, time, 0, &payload).unwrap();
        let sealed = message.sealed(&keys);
        let read = envelope.read(sealed.body().clone(), &Limits::default());
        assert_eq!(read.as_ref(), Ok(&sealed));
        frame = sealed.into_body().to_vec();
    } else if flags & 4 == 4 {
        frame = match Message::read(frame.clone().into(), &Limits::default()) {
            Ok(message) => message.sealed(&keys).into_body().to_vec(),
            Err(_) => [&frame[..], keys.public().as_bytes(), &keys.sign(&frame)].concat(),
        };
    }
    let altered = flags & 8 == 8 && !frame.is_empty();
    if altered {
        let at = usize::from(u16::from_be_bytes([above, at])) % frame.len();
        frame[at] ^= 1 << (bit % 8);
    }

    let methods: &[Method] = if flags & 16 == 16 { &Method::ALL } else { &[] };
    let Ok(opened) = envelope.open(frame.into(), methods, 64 << 10) else { return };
    assert!(envelope.holds(&opened));
    let read = match envelope.read(opened.clone(), &Limits::default()) {
        Ok(message) => message,
        Err(error) => {
            let _ = (error.is_malformed(), error.to_string());
            return;
        }
    };
    if read.header().kind != kind::BROADCAST {
        assert!(!read.is_sealed());
        assert_eq!(Message::read(opened, &Limits::default()), Ok(read));
        return;
    }
    assert!(read.is_sealed() && !(altered && flags & 2 == 2));
    let (packed, seal) = opened.split_last_chunk::<SEAL_LEN>().unwrap();
    let (digest, packed) = packed.split_first_chunk::<32>().unwrap();
    assert_eq!(*digest, body::digest(packed));
    let (key, signature) = seal.split_first_chunk::<32>().unwrap();
    let (key, signature) = (PublicKey::from_bytes(*key), signature.try_into().unwrap());
    assert_eq!(NodeId::of_key(&key, &protocol).as_str().as_bytes(), read.sender());
    assert!(key.verify(&[&b"peernet broadcast"[..], digest].concat(), signature));
    // What is behind the message is not in it.
    let values = read.values(&Limits::default()).expect("a message that reads unpacks");
    let bare = Message::read(opened.slice(..opened.len() - SEAL_LEN), &Limits::default()).unwrap();
    assert_eq!(
        (read.code(), read.packed(), read.only_bytes()),
        (bare.code(), bare.packed(), bare.only_bytes())
    );
    assert!(same(&values, &bare.values(&Limits::default()).unwrap()));
}

/// What is unpacked keeps to its bound, and what is packed unpacks again.
pub fn decompress(data: &[u8]) {
    let ([method, limit], bytes) = choices(data);
    let method = Method::ALL[usize::from(method) % Method::ALL.len()];
    let limit = usize::from(limit) << (limit & 15);
    match method.decompress(bytes, limit) {
        Ok(out) => assert!(out.len() <= limit && method.looks_like(bytes)),
        Err(DecompressError::TooLarge { method: tried, limit: bound }) => {
            assert!(tried == method && bound == limit);
        }
        Err(_) => {}
    }
    let body = &bytes[..bytes.len().min(COMPRESS_UP_TO)];
    let packed = method.compress(body);
    assert!(method.looks_like(&packed));
    assert_eq!(method.decompress(&packed, body.len()).as_deref(), Ok(body));
    if !body.is_empty() {
        let short = method.decompress(&packed, body.len() - 1);
        assert!(matches!(short, Err(DecompressError::TooLarge { .. })), "{short:?}");
    }
}

/// Reading, checking and skipping agree, and reading undoes writing.
pub fn value(data: &[u8]) {
    let ([count, depth, number], bytes) = choices(data);
    let count = usize::from(count % 9);
    let limits = match depth {
        0 => Limits::default(),
        _ => Limits { max_depth: usize::from(depth - 1), max_values: usize::from(number) << 2 },
    };
    let read = unpack(bytes, count, &limits);
    assert_eq!(validate(bytes, count, &limits), read.as_ref().map(|_| ()).map_err(Clone::clone));
    match skip(bytes, 0, &limits) {
        Ok(end) => assert!(end <= bytes.len() && validate(&bytes[..end], 1, &limits).is_ok()),
        Err(error) => assert!(validate(bytes, 1, &limits).is_err(), "{error}"),
    }
    let Ok(values) = read else { return };
    assert_eq!(values.len(), count);
    let mut packed = Vec::new();
    values.pack_all(&mut packed).expect("what was read can be written");
    // The shortest form but for float32, which becomes float64.
    assert!(packed.len() <= 2 * bytes.len());
    let again = unpack(&packed, count, &limits).expect("what was written can be read");
    assert!(same(&again, &values));
    let mut twice = Vec::new();
    again.pack_all(&mut twice).unwrap();
    assert_eq!(twice, packed);
}

/// Equal, not-a-numbers included.
fn same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Array(a), Value::Array(b)) => same(a, b),
        (Value::Map(a), Value::Map(b)) => {
            let pair =
                |(a, b): (&(Value, Value), &(Value, Value))| same_value(&a.0, &b.0) && same_value(&a.1, &b.1);
            a.len() == b.len() && a.iter().zip(b).all(pair)
        }
        _ => a == b,
    }
}
