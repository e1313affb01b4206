//! Seals: T-30 to T-33.

use peernet::Value;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use serde_json::{Value as Json, json};

use crate::pack::*;

/// Secret keys of RFC 8032, 7.1.
pub(crate) const SECRETS: [&str; 3] = [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
];
/// Microseconds.
pub(crate) const STAMP: i64 = TIME * 1_000_000;

pub(crate) fn protocol() -> ProtocolId {
    ProtocolId::derive("mesh", "tls/mesh")
}

pub(crate) fn keys(n: usize) -> KeyPair {
    KeyPair::from_secret(peernet_conformance::json::unhex(SECRETS[n]).unwrap().try_into().unwrap())
}

pub(crate) fn id(n: usize) -> String {
    NodeId::of_key(&keys(n).public(), &protocol()).to_string()
}

/// A message of the node with these keys.
pub(crate) fn parts(n: usize, kind: u64, stamp: i64, payload: Vec<Value>) -> Parts {
    Parts { kind: kind.into(), sender: id(n).as_str().into(), time: stamp, payload }
}

/// The seal of a packed message, by the rules and not by the code that is tested.
pub(crate) fn seal(n: usize, packed: &[u8]) -> Vec<u8> {
    let signed = [&b"peernet broadcast"[..], &peernet::wire::body::digest(packed)].concat();
    [&keys(n).public().as_bytes()[..], &keys(n).sign(&signed)].concat()
}

pub(crate) fn sealed(n: usize, parts: &Parts) -> Vec<u8> {
    [parts.body(), seal(n, &parts.packed())].concat()
}

pub(crate) fn file() -> String {
    vector_file(
        "signed broadcasts of the subnet mesh; the keys are those of RFC 8032, 7.1",
        json!({ "encode": written(), "decode": read(), "reject": refused() }),
    )
}

fn hello() -> Vec<Value> {
    vec![Value::Int(0), "hello".into(), 5.into()]
}

fn written() -> Vec<Json> {
    let at = |name: &str, n: usize, parts: Parts| {
        let vector =
            Vector::new(name, &["T-30", "T-32"]).with("accepted_by", "peernet").with("secret", SECRETS[n]);
        let vector = vector.with("sealed", protocol().as_str()).parts(&parts).id(&parts.packed());
        vector.frame(&frame(&sealed(n, &parts))).done()
    };
    vec![
        at("a signed broadcast", 0, parts(0, 0, STAMP, hello())),
        at("the same by another", 1, parts(1, 0, STAMP, hello())),
        at("the same a microsecond later", 0, parts(0, 0, STAMP + 1, hello())),
        at("without content", 0, parts(0, 0, STAMP, vec![Value::Int(0)])),
        at(
            "a request for a node",
            2,
            parts(2, 0, STAMP, vec![Value::Int(8), "request".into(), id(0).as_str().into()]),
        ),
        at("long content", 0, parts(0, 0, STAMP, vec![Value::Int(0), Value::Bin(vec![0x55; 3000])])),
    ]
}

fn read() -> Vec<Json> {
    let whisper = parts(0, 2, STAMP, vec![Value::Int(2), "hello".into()]);
    let vector = Vector::new("a whisper has no seal", &["T-31"]).with("accepted_by", "peernet").methods(&[]);
    vec![
        vector
            .with("sealed", protocol().as_str())
            .parts(&whisper)
            .id(&whisper.packed())
            .frame(&frame(&whisper.body()))
            .done(),
    ]
}

fn refused() -> Vec<Json> {
    let genuine = parts(0, 0, STAMP, hello());
    let other = parts(0, 0, STAMP, vec![Value::Int(0), "hullo".into(), 5.into()]);
    let behind = |parts: &Parts, seal: &[u8]| [&parts.body(), seal].concat();
    let own = seal(0, &genuine.packed());
    let mut spoilt_key = sealed(0, &genuine);
    let mut spoilt = spoilt_key.clone();
    *spoilt.last_mut().unwrap() ^= 0x10;
    let key_at = spoilt_key.len() - 96;
    spoilt_key[key_at] ^= 1;
    // S plus the order of the group is the same S to whoever does not look.
    let mut greater = sealed(0, &genuine);
    let s_at = greater.len() - 32;
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = peernet_conformance::json::unhex(order).unwrap();
    let mut carry = 0;
    for (byte, more) in greater[s_at..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    let other_purpose =
        [&keys(0).public().as_bytes()[..], &keys(0).sign(&peernet::wire::body::digest(&genuine.packed()))]
            .concat();
    let elsewhere = ProtocolId::derive("mesh", "tls/mesh/unsigned");
    let elsewhere = NodeId::of_key(&keys(0).public(), &elsewhere);
    let foreign = Parts { sender: elsewhere.as_str().into(), ..genuine.clone() };
    let whisper = parts(0, 2, STAMP, vec![Value::Int(2), "hello".into()]);
    let refuses = |name: &str, rules: &[&str], content: Vec<u8>| {
        let vector =
            Vector::new(name, rules).with("refused_by", "peernet").with("sealed", protocol().as_str());
        vector.frame(&frame(&content)).done()
    };
    let swapped = [&keys(0).public().as_bytes()[..], &seal(1, &genuine.packed())[32..]].concat();
    vec![
        refuses("another message under the seal of one that is genuine", &["T-32"], behind(&other, &own)),
        refuses("in another's name under one's own seal", &["T-32"], sealed(1, &genuine)),
        refuses("the author's key before another's signature", &["T-32"], behind(&genuine, &swapped)),
        refuses("another key", &["T-32"], spoilt_key),
        refuses("another signature", &["T-32"], spoilt),
        refuses("an S that is not below the order of the group", &["T-33"], greater),
        refuses("a signature of the digest alone", &["T-32"], behind(&genuine, &other_purpose)),
        refuses("the id of the key in another subnet", &["T-32"], sealed(0, &foreign)),
        refuses("no seal", &["T-30", "T-31"], genuine.body()),
        refuses(
            "no seal behind a long message",
            &["T-30", "T-31"],
            parts(0, 0, STAMP, vec![Value::Int(0), Value::Bin(vec![0x55; 200])]).body(),
        ),
        refuses("a part of a seal", &["T-30", "T-31"], behind(&genuine, &own[..95])),
        refuses("more than a seal", &["T-30", "T-31"], behind(&genuine, &[&own[..], &[0]].concat())),
        refuses("a whisper with a seal", &["T-31"], sealed(0, &whisper)),
        refuses("zeros for a seal", &["T-33"], behind(&genuine, &[0; 96])),
    ]
}
