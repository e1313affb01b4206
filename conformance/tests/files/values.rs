//! Values: W-14 to W-16, and what of W-20 and W-21 is about them.

use peernet::Value;
use serde_json::{Value as Json, json};

use crate::pack::*;

pub(crate) fn file() -> String {
    vector_file(
        "values in every form that is written, read or refused",
        json!({ "encode": encoded(), "decode": decoded(), "reject": refused() }),
    )
}

fn one(name: &str, rules: &[&str], value: Value) -> Json {
    encode(name, rules, &Parts::new(vec![value]))
}

fn text(len: usize) -> Value {
    Value::Str("x".repeat(len))
}

fn nest(levels: usize, inner: Value) -> Value {
    (0..levels).fold(inner, |inner, _| Value::Array(vec![inner]))
}

/// A map with `pairs` different keys.
fn counted(pairs: usize) -> Value {
    Value::Map((0..pairs).map(|n| (n.into(), Value::Nil)).collect())
}

fn encoded() -> Vec<Json> {
    let mut all = Vec::new();
    let edges: [i128; 28] = [
        0,
        1,
        127,
        128,
        255,
        256,
        32767,
        32768,
        65535,
        65536,
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        (1 << 53) + 1,
        (1 << 63) - 1,
        1 << 63,
        (1 << 64) - 1,
        -1,
        -32,
        -33,
        -128,
        -129,
        -32768,
        -32769,
        -(1 << 31),
        -(1 << 31) - 1,
        -(1 << 63),
    ];
    for edge in edges {
        all.push(one(&format!("integer {edge}"), &["W-14", "W-16"], Value::Int(edge)));
    }
    for (name, bits) in [
        ("zero", 0),
        ("minus zero", 1 << 63),
        ("one", 0x3ff0_0000_0000_0000),
        ("a tenth", 0x3fb9_9999_9999_999a),
        ("the smallest", 1),
        ("the largest", 0x7fef_ffff_ffff_ffff),
        ("infinity", 0x7ff0_0000_0000_0000),
        ("minus infinity", 0xfff0_0000_0000_0000),
        ("not a number", 0x7ff8_0000_0000_0000),
        ("not a number, with bits of its own", 0xfff8_0000_0000_0001),
    ] {
        all.push(one(&format!("float {name}"), &["W-14"], Value::Float(f64::from_bits(bits))));
    }
    for value in [Value::Nil, Value::Bool(false), Value::Bool(true)] {
        all.push(one(&format!("{value:?}").to_lowercase(), &["W-14", "W-16"], value));
    }
    for len in [0, 1, 31, 32, 255, 256, 65535, 65536] {
        all.push(one(&format!("text of {len} bytes"), &["W-14"], text(len)));
    }
    for len in [0, 1, 255, 256, 65535, 65536] {
        all.push(one(&format!("{len} bytes"), &["W-14"], Value::Bin(vec![0xa5; len])));
    }
    for len in [0, 1, 15, 16, 65535, 65536] {
        all.push(one(&format!("array of {len}"), &["W-14"], Value::Array(vec![Value::Nil; len])));
    }
    for len in [0, 1, 15, 16, 255] {
        all.push(one(&format!("map of {len}"), &["W-14"], counted(len)));
    }
    for len in [65535, 65536] {
        let map = Value::Map(vec![("k".into(), Value::Nil); len]);
        all.push(peernet_only(one(&format!("map of {len} equal keys"), &["W-14", "W-16"], map)));
    }
    for (name, sample) in [
        ("text of two, three and four bytes a character", "é測🙂"),
        ("text with NUL and a newline", "a\0b\nc"),
        ("text with a combining accent, not composed", "e\u{301}"),
        ("text that is quoted in JSON", "\"\\/\u{7f}\u{2028}"),
    ] {
        all.push(one(name, &["W-14"], sample.into()));
    }
    let keys: [(&str, Value); 6] = [
        ("integer", Value::Int(-5)),
        ("bytes", Value::from(b"k")),
        ("nil", Value::Nil),
        ("truth", Value::Bool(true)),
        ("float", Value::Float(0.5)),
        ("array", Value::Array(vec![Value::Int(1), "a".into()])),
    ];
    for (name, key) in keys {
        let map = Value::Map(vec![(key, "v".into()), ("t".into(), Value::Int(1))]);
        all.push(one(&format!("map with a key that is {name}"), &["W-16"], map));
    }
    let odd = |pairs: Vec<(Value, Value)>| Value::Map(pairs);
    all.push(peernet_only(one(
        "map with a key that is map",
        &["W-16"],
        odd(vec![(odd(vec![("a".into(), Value::Int(1))]), Value::Nil)]),
    )));
    all.push(peernet_only(one(
        "map with a key twice",
        &["W-16"],
        odd(vec![("k".into(), Value::Int(1)), ("k".into(), Value::Int(2))]),
    )));
    all.push(one(
        "map in an order that is not sorted",
        &["W-16"],
        odd(vec![("b".into(), Value::Int(1)), ("a".into(), Value::Int(2)), ("10".into(), Value::Int(3))]),
    ));
    all.push(one(
        "text and bytes of the same letters stay apart",
        &["W-14", "W-16"],
        Value::Array(vec!["same".into(), Value::from(b"same")]),
    ));
    all.push(one("64 arrays in each other", &["W-21", "L-7"], nest(64, Value::Nil)));
    all.push(one(
        "64 containers in each other, the innermost empty",
        &["L-7"],
        nest(63, Value::Array(vec![])),
    ));
    let maps = (0..64).fold(Value::Nil, |inner, _| odd(vec![("k".into(), inner)]));
    all.push(one("64 maps in each other", &["L-7"], maps));
    all
}

/// `bytes` as the second element of the payload, read as `value`.
fn reads(name: &str, bytes: &[u8], value: Value) -> Json {
    decode(name, &["W-15"], &[&broadcast_head(5), bytes].concat(), &Parts::new(vec![value]))
}

fn decoded() -> Vec<Json> {
    let mut all = Vec::new();
    let wide = |marker: u8, width: usize, value: i64| [&[marker], &value.to_be_bytes()[8 - width..]].concat();
    let unsigned = [("uint8", 0xcc, 1), ("uint16", 0xcd, 2), ("uint32", 0xce, 4), ("uint64", 0xcf, 8)];
    let signed = [("int8", 0xd0, 1), ("int16", 0xd1, 2), ("int32", 0xd2, 4), ("int64", 0xd3, 8)];
    for (name, marker, width) in unsigned.into_iter().chain(signed) {
        for value in [0, 1, 127] {
            all.push(reads(&format!("{value} as {name}"), &wide(marker, width, value), value.into()));
        }
    }
    for (name, marker, width) in signed {
        for value in [-1, -32, -128] {
            all.push(reads(&format!("{value} as {name}"), &wide(marker, width, value), value.into()));
        }
        let most = i64::MAX >> (64 - 8 * width);
        all.push(reads(&format!("{most} as {name}"), &wide(marker, width, most), most.into()));
        let least = -most - 1;
        all.push(reads(&format!("{least} as {name}"), &wide(marker, width, least), least.into()));
    }
    for (name, value) in [
        ("zero", 0.0_f32),
        ("minus zero", -0.0),
        ("1.5", 1.5),
        ("a tenth", 0.1),
        ("the smallest", f32::from_bits(1)),
        ("the largest", f32::MAX),
        ("infinity", f32::INFINITY),
        ("not a number", f32::from_bits(0x7fc0_0000)),
    ] {
        let bytes = [&[0xca], &value.to_bits().to_be_bytes()[..]].concat();
        all.push(reads(&format!("float32 {name}"), &bytes, Value::Float(value.into())));
    }
    let (str, bin) = (Value::from("ab"), Value::from(b"ab"));
    for (name, head) in [("8", &[0xd9, 2][..]), ("16", &[0xda, 0, 2]), ("32", &[0xdb, 0, 0, 0, 2])] {
        all.push(reads(
            &format!("text of 2 with a length of {name} bits"),
            &[head, b"ab"].concat(),
            str.clone(),
        ));
    }
    for (name, head) in [("16", &[0xc5, 0, 2][..]), ("32", &[0xc6, 0, 0, 0, 2])] {
        all.push(reads(
            &format!("2 bytes with a length of {name} bits"),
            &[head, b"ab"].concat(),
            bin.clone(),
        ));
    }
    let array = Value::Array(vec![Value::Int(1), Value::Nil]);
    let map = Value::Map(vec![("k".into(), Value::Int(1))]);
    for (name, head) in [("16", &[0xdc, 0, 2][..]), ("32", &[0xdd, 0, 0, 0, 2])] {
        all.push(reads(
            &format!("array of 2 with a length of {name} bits"),
            &[head, &[1, 0xc0]].concat(),
            array.clone(),
        ));
    }
    for (name, head) in [("16", &[0xde, 0, 1][..]), ("32", &[0xdf, 0, 0, 0, 1])] {
        let bytes = [head, b"\xa1k\x01"].concat();
        all.push(reads(&format!("map of 1 with a length of {name} bits"), &bytes, map.clone()));
    }
    for (name, bytes, value) in [
        ("no text with a length of 32 bits", &[0xdb, 0, 0, 0, 0][..], Value::from("")),
        ("no bytes with a length of 32 bits", &[0xc6, 0, 0, 0, 0], Value::Bin(vec![])),
        ("an empty array with a length of 32 bits", &[0xdd, 0, 0, 0, 0], Value::Array(vec![])),
        ("an empty map with a length of 16 bits", &[0xde, 0, 0], Value::Map(vec![])),
    ] {
        all.push(reads(name, bytes, value));
    }
    all
}

/// `bytes` as the second element of the payload, refused.
fn refuses(name: &str, rule: &str, by: &str, bytes: &[u8]) -> Json {
    refuse(name, &[rule], by, &[&broadcast_head(5), bytes].concat())
}

fn refused() -> Vec<Json> {
    let mut all = Vec::new();
    for (name, bytes) in [
        ("ext8", &b"\xc7\x03\x05abc"[..]),
        ("ext16", b"\xc8\x00\x03\x05abc"),
        ("ext32", b"\xc9\x00\x00\x00\x03\x05abc"),
        ("fixext1", b"\xd4\x05a"),
        ("fixext2", b"\xd5\x05ab"),
        ("fixext4", b"\xd6\x05abcd"),
        ("fixext8", b"\xd7\x05abcdefgh"),
        ("fixext16", b"\xd8\x05abcdefghijklmnop"),
        ("ext8 of nothing", b"\xc7\x00\x05"),
        ("ext8 inside an array", b"\x91\xc7\x01\x05a"),
        ("fixext1 as the key of a map", b"\x81\xd4\x05a\x01"),
        ("fixext1 as the value of a map", b"\x81\x01\xd4\x05a"),
    ] {
        all.push(refuses(&format!("extension: {name}"), "W-21", "peernet", bytes));
    }
    all.push(refuse("65 arrays in each other", &["W-21", "L-7"], "peernet", &{
        Parts::new(vec![nest(65, Value::Nil)]).packed()
    }));
    let maps = (0..65).fold(Value::Nil, |inner, _| Value::Map(vec![("k".into(), inner)]));
    all.push(refuse("65 maps in each other", &["W-21", "L-7"], "peernet", &Parts::new(vec![maps]).packed()));
    all.push(refuse("65 arrays in each other, the innermost empty", &["W-21", "L-7"], "peernet", &{
        Parts::new(vec![nest(64, Value::Array(vec![]))]).packed()
    }));
    // Two at the top, and the array's content.
    let many =
        [&broadcast_head(5), &b"\xdd"[..], &((1_u32 << 20) - 1).to_be_bytes(), &vec![0xc0; (1 << 20) - 1]];
    all.push(refuse("1,048,577 values", &["W-21", "L-8"], "peernet", &many.concat()));
    let names = [
        ("uint8", 0xcc, 1),
        ("uint16", 0xcd, 2),
        ("uint32", 0xce, 4),
        ("uint64", 0xcf, 8),
        ("int8", 0xd0, 1),
        ("int16", 0xd1, 2),
        ("int32", 0xd2, 4),
        ("int64", 0xd3, 8),
        ("float32", 0xca, 4),
        ("float64", 0xcb, 8),
    ];
    for (name, marker, width) in names {
        let bytes = [vec![marker], vec![1; width - 1]].concat();
        all.push(refuses(&format!("{name} that ends too early"), "W-20", "0.7", &bytes));
    }
    for (name, bytes) in [
        ("text", &b"\xa3ab"[..]),
        ("text with a length of 8 bits", b"\xd9\x03ab"),
        ("a text's length", b"\xda\x00"),
        ("bytes", b"\xc4\x03ab"),
        ("the length of bytes", b"\xc6\x00\x00"),
        ("an array", b"\x92\x01"),
        ("an array's length", b"\xdc\x00"),
        ("a map after a key", b"\x81\x01"),
        ("a map's length", b"\xdf\x00\x00"),
        ("a map inside an array", b"\x91\x82\x01\x01"),
        ("the payload, by a whole value", b""),
    ] {
        all.push(refuses(&format!("cut short: {name}"), "W-20", "0.7", bytes));
    }
    for (name, bytes) in [
        ("text", &b"\xdb\xff\xff\xff\xffab"[..]),
        ("bytes", b"\xc6\xff\xff\xff\xffab"),
        ("array", b"\xdd\xff\xff\xff\xff\x01"),
        ("map", b"\xdf\xff\xff\xff\xff\x01\x01"),
        ("array in an array", b"\x91\xdd\x7f\xff\xff\xff\x01"),
    ] {
        all.push(refuses(&format!("{name} that claims 4 GiB and more"), "W-20", "0.7", bytes));
    }
    let claims = [0xdd, 0, 1, 0, 0].repeat(60);
    all.push(refuses("60 arrays in each other that claim 65,536 elements each", "W-20", "0.7", &claims));
    for (name, bytes) in [
        ("a byte that only continues", &b"\xa1\x80"[..]),
        ("a character cut short", b"\xa2\xe6\xb8"),
        ("NUL in two bytes", b"\xa2\xc0\x80"),
        ("a surrogate", b"\xa3\xed\xa0\x80"),
        ("beyond the last character", b"\xa4\xf4\x90\x80\x80"),
        ("inside an array", b"\x91\xa1\xff"),
        ("as a key", b"\x81\xa1\xff\x01"),
    ] {
        // js2p takes it.
        all.push(refuses(&format!("text that is not UTF-8: {name}"), "W-20", "peernet", bytes));
    }
    for (name, bytes) in
        [("alone", &b"\xc1"[..]), ("in an array", b"\x91\xc1"), ("as a key", b"\x81\xc1\x01")]
    {
        all.push(refuses(&format!("the byte c1 {name}"), "W-20", "0.7", bytes));
    }
    for (name, bytes) in [("nil", &b"\x01\xc0"[..]), ("a second array", b"\x01\x93\x00\x00\x00")] {
        // py2p does not look there.
        all.push(refuses(&format!("{name} after the last element"), "W-20", "peernet", bytes));
    }
    all
}
