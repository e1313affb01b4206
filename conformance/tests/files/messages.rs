//! Messages: W-13 to W-22, and codes.

use peernet::Value;
use serde_json::{Value as Json, json};

use crate::pack::*;

pub(crate) fn file() -> String {
    vector_file(
        "types, senders, times, codes and numbers of elements",
        json!({ "encode": encoded(), "decode": decoded(), "reject": refused() }),
    )
}

fn base() -> Parts {
    Parts::new(vec!["x".into()])
}

fn encoded() -> Vec<Json> {
    let mut all = Vec::new();
    for (kind, name) in [
        (0, "broadcast"),
        (1, "renegotiate"),
        (2, "whisper"),
        (3, "ping"),
        (4, "pong"),
        (5, "5, which has no name"),
        (127, "127"),
        (128, "128"),
        (255, "255"),
        (65536, "65536"),
        (u64::MAX, "2^64 - 1"),
    ] {
        all.push(encode(&format!("type {name}"), &["W-17", "W-30"], &Parts { kind: kind.into(), ..base() }));
    }
    let id = "6URVRn7K9y99YWzWFjaxEUSTwtCR1XnLyCjEzEtn7gXvvHW5nRcrzTf2BQeq63mZqy";
    for (name, sender) in [
        ("text", Value::from(id)),
        ("bytes", Value::from(id.as_bytes())),
        ("one character", "2".into()),
        ("text of 31 characters", "2".repeat(31).into()),
        ("text of 32 characters", "2".repeat(32).into()),
        ("text of 128 characters", "2".repeat(128).into()),
        ("bytes of 128 characters", "2".repeat(128).into_bytes().into()),
        ("text of 300 characters", "2".repeat(300).into()),
        ("bytes of 300 characters", "2".repeat(300).into_bytes().into()),
        ("empty text", "".into()),
        ("no bytes", Value::Bin(vec![])),
        ("bytes that are no text", Value::from(b"\xff\x00")),
    ] {
        all.push(encode(&format!("sender: {name}"), &["W-18"], &Parts { sender, ..base() }));
    }
    for time in [
        1,
        127,
        128,
        i64::from(i32::MAX),
        1 << 31,
        i64::from(u32::MAX),
        1 << 32,
        i64::MAX,
        -1,
        -32,
        -33,
        -(1 << 31),
        i64::MIN,
    ] {
        all.push(encode(&format!("time {time}"), &["W-19"], &Parts { time, ..base() }));
    }
    for count in [0, 1, 12, 13, 300, 65532, 65533] {
        let payload = vec![Value::Int(0); count];
        all.push(encode(
            &format!("payload of {count} elements"),
            &["W-13", "W-14"],
            &Parts { payload, ..base() },
        ));
    }
    for (name, first) in [
        ("nil", Value::Nil),
        ("text", "0".into()),
        ("bytes", Value::from(b"\x00")),
        ("a negative integer", Value::Int(-1)),
        ("a float", Value::Float(0.0)),
        ("an array", Value::Array(vec![Value::Int(0)])),
    ] {
        let parts = Parts { payload: vec![first, "x".into()], ..base() };
        all.push(encode(&format!("no code, but {name}"), &["W-22"], &parts));
    }
    let codes = [
        ("broadcast", 0x00),
        ("compression", 0x01),
        ("whisper", 0x02),
        ("ping", 0x03),
        ("pong", 0x04),
        ("handshake", 0x05),
        ("notify", 0x06),
        ("peers", 0x07),
        ("request", 0x08),
        ("resend", 0x09),
        ("response", 0x0a),
        ("store", 0x0b),
        ("retrieve", 0x0c),
        ("retrieved", 0x0d),
        ("forward", 0x0e),
        ("new_paths", 0x0f),
        ("revoke_paths", 0x10),
        ("delta", 0x11),
        ("0x30, reserved", 0x30),
        ("0x31, the program's first", 0x31),
        ("0xffff, the program's", 0xffff),
    ];
    for (name, code) in codes {
        let parts = Parts { payload: vec![Value::Int(code), "x".into()], ..base() };
        all.push(encode(&format!("code {name}"), &["W-30", "W-31"], &parts));
    }
    all
}

fn decoded() -> Vec<Json> {
    let time = (TIME as u32).to_be_bytes();
    let mut all = Vec::new();
    let mut reads = |name: &str, rules: &[&str], parts: [&[u8]; 5], expected: &Parts| {
        all.push(decode(name, rules, &parts.concat(), expected));
    };
    let array = b"\x95";
    let kind = b"\x00";
    let sender = b"\xc4\x03abc";
    let seconds = &[&[0xce], &time[..]].concat()[..];
    let payload = b"\x00\xa1x";
    let base = base();
    reads(
        "head with a length of 16 bits",
        &["W-13", "W-15"],
        [b"\xdc\0\x05", kind, sender, seconds, payload],
        &base,
    );
    reads(
        "head with a length of 32 bits",
        &["W-13", "W-15"],
        [b"\xdd\0\0\0\x05", kind, sender, seconds, payload],
        &base,
    );
    reads(
        "type as uint64",
        &["W-15", "W-17"],
        [array, b"\xcf\0\0\0\0\0\0\0\0", sender, seconds, payload],
        &base,
    );
    reads("type as int8", &["W-15", "W-17"], [array, b"\xd0\0", sender, seconds, payload], &base);
    reads("sender as bin16", &["W-15", "W-18"], [array, kind, b"\xc5\0\x03abc", seconds, payload], &base);
    reads("sender as bin32", &["W-15", "W-18"], [array, kind, b"\xc6\0\0\0\x03abc", seconds, payload], &base);
    let str = Parts { sender: "abc".into(), ..base.clone() };
    for (name, head) in [("str8", &b"\xd9\x03"[..]), ("str16", b"\xda\0\x03"), ("str32", b"\xdb\0\0\0\x03")] {
        let sender = [head, b"abc"].concat();
        reads(
            &format!("sender as {name}"),
            &["W-15", "W-18"],
            [array, kind, &sender, seconds, payload],
            &str,
        );
    }
    let wide = TIME.to_be_bytes();
    for (name, marker) in [("uint64", 0xcf), ("int64", 0xd3)] {
        let seconds = [&[marker], &wide[..]].concat();
        reads(&format!("time as {name}"), &["W-15", "W-19"], [array, kind, sender, &seconds, payload], &base);
    }
    let seconds32 = [&[0xd2], &time[..]].concat();
    reads("time as int32", &["W-15", "W-19"], [array, kind, sender, &seconds32, payload], &base);
    reads("code as uint16", &["W-15", "W-22"], [array, kind, sender, seconds, b"\xcd\0\0\xa1x"], &base);
    reads(
        "code as int64",
        &["W-15", "W-22"],
        [array, kind, sender, seconds, b"\xd3\0\0\0\0\0\0\0\0\xa1x"],
        &base,
    );
    all
}

fn refused() -> Vec<Json> {
    let time = [&[0xce], &(TIME as u32).to_be_bytes()[..]].concat();
    let mut all = Vec::new();
    let mut refuses = |name: &str, rule: &str, by: &str, bytes: &[&[u8]]| {
        all.push(refuse(name, &[rule], by, &bytes.concat()));
    };
    for (name, bytes) in [
        ("nil", &b"\xc0"[..]),
        ("an integer", b"\x05"),
        ("text", b"\xa3abc"),
        ("bytes", b"\xc4\x03abc"),
        ("a map", b"\x83\x00\x00\x01\x01\x02\x02"),
        ("an extension", b"\xc7\x03\x05abc"),
        ("an empty array", b"\x90"),
        ("an array of one", b"\x91\x00"),
        ("an array of two", b"\x92\x00\xc4\x03abc"),
        ("an array of two with a length of 32 bits", b"\xdd\0\0\0\x02\x00\xc4\x03abc"),
    ] {
        // py2p takes letters for elements, js2p relays anything.
        refuses(&format!("no message, but {name}"), "W-13", "peernet", &[bytes]);
    }
    for (name, bytes) in [
        ("nil", &b"\xc0"[..]),
        ("a truth", b"\xc2"),
        ("text", b"\xa10"),
        ("bytes", b"\xc4\x010"),
        ("a float", b"\xcb\0\0\0\0\0\0\0\0"),
        ("an array", b"\x90"),
        ("a negative integer", b"\xff"),
        ("-2^63", b"\xd3\x80\0\0\0\0\0\0\0"),
    ] {
        refuses(
            &format!("type: {name}"),
            "W-21",
            "peernet",
            &[b"\x95", bytes, b"\xc4\x03abc", &time, b"\0\xa1x"],
        );
    }
    for (name, bytes) in [
        ("nil", &b"\xc0"[..]),
        ("an integer", b"\x05"),
        ("a float", b"\xcb\0\0\0\0\0\0\0\0"),
        ("an array", b"\x91\xa1a"),
        ("a map", b"\x80"),
    ] {
        refuses(&format!("sender: {name}"), "W-21", "peernet", &[b"\x95\0", bytes, &time, b"\0\xa1x"]);
    }
    for (name, bytes) in [
        ("nil", &b"\xc0"[..]),
        ("text", b"\xa11"),
        ("a float", b"\xcb\x41\xd6\x0c\x39\xe0\0\0\0"),
        ("2^63", b"\xcf\x80\0\0\0\0\0\0\0"),
        ("2^64 - 1", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("an array", b"\x91\x01"),
    ] {
        refuses(&format!("time: {name}"), "W-21", "peernet", &[b"\x95\0\xc4\x03abc", bytes, b"\0\xa1x"]);
    }
    refuses("sender: text that is not UTF-8", "W-20", "peernet", &[b"\x95\0\xa2\xff\xfe", &time, b"\0\xa1x"]);
    refuses("type: the byte c1", "W-20", "0.7", &[b"\x95\xc1\xc4\x03abc", &time, b"\0\xa1x"]);
    refuses("sender: it claims 4 GiB", "W-20", "0.7", &[b"\x95\0\xc6\xff\xff\xff\xffabc", &time, b"\0\xa1x"]);
    let head = [b"\x95\0\xc4\x03abc", &time[..], b"\0\xa1x"].concat();
    for len in [1, 2, 4, 6, 8, 11, 12, 13] {
        refuses(&format!("cut short after {len} bytes"), "W-20", "0.7", &[&head[..len]]);
    }
    refuses("more elements announced than there are", "W-20", "0.7", &[b"\x96", &head[1..]]);
    refuses("fewer elements announced than there are", "W-20", "peernet", &[b"\x94", &head[1..]]);
    refuses("65,535 elements announced", "W-20", "0.7", &[b"\xdc\xff\xff", &head[1..]]);
    all
}
