//! Frames and digests: W-1 to W-6, L-1.

use peernet::Value;
use serde_json::{Value as Json, json};

use crate::pack::*;

pub(crate) fn file() -> String {
    vector_file(
        "length fields, sizes, digests; a frame over max_frame is refused, one of that size read",
        json!({ "decode": decoded(), "reject": refused() }),
    )
}

/// A message whose body has exactly `size` bytes.
fn sized(size: usize) -> Parts {
    let of = |len: usize| Parts::new(vec![Value::Bin(vec![0x55; len])]);
    let spare = of(size).body().len() - size;
    of(size - spare)
}

fn decoded() -> Vec<Json> {
    let at = |name: &str, size: usize, limit: usize| {
        let parts = sized(size);
        assert_eq!(parts.body().len(), size);
        let vector = Vector::new(name, &["W-1", "W-3", "L-1"]).methods(&[]).with("max_frame", limit);
        let packed = parts.packed();
        vector.parts(&parts).id(&packed).frame(&frame(&parts.body())).done()
    };
    vec![
        at("a frame of the largest size, 1,024 bytes", 1024, 1024),
        at("a frame one byte under the largest size", 1023, 1024),
        at("a frame of 66,000 bytes, the most that is taken", 66_000, 66_000),
        at("a frame of 70,000 bytes", 70_000, 16 << 20),
    ]
}

fn refused() -> Vec<Json> {
    let mut all = Vec::new();
    let good = frame(&Parts::new(vec!["x".into()]).body());
    let mut over = Vector::new("a frame one byte over the largest size", &["W-3", "L-1"])
        .with("refused_by", "peernet")
        .with("max_frame", 1024)
        .frame(&frame(&sized(1025).body()));
    all.push(over.done());
    over = Vector::new("a frame over 16 MiB by one byte, of which nothing has come", &["W-3", "L-1"])
        .with("refused_by", "0.7")
        .frame(&((16 << 20) + 1_u32).to_be_bytes());
    all.push(over.done());
    let refuses = |name: &str, rules: &[&str], bytes: &[u8]| refuse_frame(name, rules, "0.7", bytes);
    all.push(refuses("4 GiB announced, 10 bytes there", &["W-3"], &[&[0xff; 4][..], &[0; 10]].concat()));
    all.push(refuses("2^31 bytes announced, one there", &["W-3"], &[0x80, 0, 0, 0, 1]));
    for len in 0..4 {
        all.push(refuses(&format!("{len} bytes of a length field"), &["W-1", "W-4"], &good[..len]));
    }
    all.push(refuses("a length field and nothing else", &["W-1", "W-4"], &good[..4]));
    all.push(refuses("a frame without its last byte", &["W-4"], &good[..good.len() - 1]));
    all.push(refuses("a frame and one byte more", &["W-1"], &[&good[..], &[0]].concat()));
    let little = [&(good.len() as u32 - 4).to_le_bytes()[..], &good[4..]].concat();
    all.push(refuses("a length field with its bytes reversed", &["W-1"], &little));
    let counted = [&(good.len() as u32).to_be_bytes()[..], &good[4..]].concat();
    all.push(refuses("a length field that counts itself", &["W-1"], &counted));
    let behind = [&(good.len() as u32 - 36).to_be_bytes()[..], &good[4..]].concat();
    all.push(refuses("a length field that does not count the digest", &["W-1"], &behind));
    for len in [0, 1, 31] {
        all.push(refuses(&format!("a content of {len} bytes"), &["W-6"], &frame(&vec![0; len])));
    }
    let wrong = |name: &str, at: usize, bit: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= bit;
        refuses(name, &["W-5", "W-6"], &bytes)
    };
    all.push(wrong("the first bit of the digest wrong", 4, 0x80));
    all.push(wrong("the last bit of the digest wrong", 35, 1));
    all.push(wrong("a bit of the head wrong", 36, 1));
    all.push(wrong("a bit of the time wrong", 46, 1));
    all.push(wrong("the last bit wrong", good.len() - 1, 1));
    all.push(refuses("the digest left out", &["W-5"], &frame(&good[36..])));
    let twice = [&good[4..36], &good[4..]].concat();
    all.push(refuses("the digest twice", &["W-5"], &frame(&twice)));
    all
}
