//! Compressed bodies: W-7 to W-12.

use peernet::Value;
use peernet::wire::Method;
use peernet::wire::body::digest;
use peernet_conformance::json::unhex;
use serde_json::{Value as Json, json};

use crate::pack::*;
use crate::streams::{Blocks, Check, deflate, gzip, gzip_with, snappy, snappy_run, xz, zlib};

const BZ2: u8 = 0x10;
const GZIP: u8 = 0x11;
const LZMA: u8 = 0x12;
const ZLIB: u8 = 0x13;
const SNAPPY: u8 = 0x20;
const ALL: [u8; 5] = [SNAPPY, ZLIB, GZIP, BZ2, LZMA];

pub(crate) fn file() -> String {
    vector_file(
        "compressed bodies: every method read, cut short, with something behind it, by another method, too large; \
         and bodies that only look compressed",
        json!({ "decode": decoded(), "compress": compressed(), "reject": refused() }),
    )
}

fn name(code: u8) -> &'static str {
    Method::from_code(code.into()).unwrap().name()
}

/// A stream of each method. Those of bz2 are made by the library, the others here.
fn stream(code: u8, body: &[u8]) -> Vec<u8> {
    match code {
        BZ2 => Method::Bz2.compress(body),
        GZIP => gzip(body, Blocks::Fixed),
        LZMA => xz(body, Check::Crc64, 0),
        ZLIB => zlib(body, 0x78, Blocks::Fixed),
        _ => snappy(body, 60),
    }
}

fn sample() -> Parts {
    let words = (0..60).map(|n| format!("word {n} and ")).collect::<String>();
    Parts::new(vec![words.into(), Value::Bin(vec![0; 300])])
}

/// A body that is 100,000 bytes larger than its streams would let one think.
fn zeros(len: usize) -> Parts {
    Parts::new(vec![Value::Bin(vec![0; len])])
}

/// The first of many numbered messages whose digest `looks` holds for.
fn disguised(looks: impl Fn(&[u8; 32], usize) -> bool) -> Parts {
    let numbered = |n: u32| Parts::new(vec!["this body only looks compressed".into(), n.into()]);
    // From here on the number is the packed message's last four bytes.
    const FIRST: u32 = 1 << 16;
    let mut packed = numbered(FIRST).packed();
    let number = packed.len() - 4;
    let found = (FIRST..).find(|n| {
        packed[number..].copy_from_slice(&n.to_be_bytes());
        looks(&digest(&packed), packed.len() + 32)
    });
    numbered(found.unwrap())
}

fn looks_like_zlib(digest: &[u8; 32], _size: usize) -> bool {
    digest[0] & 15 == 8 && u16::from_be_bytes([digest[0], digest[1]]).is_multiple_of(31)
}

fn reads(what: &str, rules: &[&str], codes: &[u8], content: &[u8], parts: &Parts) -> Json {
    let vector = Vector::new(what, rules).methods(codes).parts(parts).id(&parts.packed());
    vector.frame(&frame(content)).done()
}

fn decoded() -> Vec<Json> {
    let mut all = Vec::new();
    let sample = sample();
    let body = sample.body();
    let mut add = |what: &str, rules: &[&str], codes: &[u8], content: &[u8]| {
        all.push(reads(what, rules, codes, content, &sample));
    };
    for code in ALL {
        let (name, stream) = (name(code), stream(code, &body));
        add(&format!("{name}, the only method"), &["W-7", "W-10"], &[code], &stream);
        let behind: Vec<u8> = ALL.into_iter().filter(|other| *other != code).chain([code]).collect();
        add(&format!("{name}, the last of all methods"), &["W-9"], &behind, &stream);
        add(&format!("not compressed, with {name} agreed"), &["W-7", "W-9"], &[code], &body);
    }
    let reserved = [0x14, 0x15, 0x1f, 0x30, ZLIB];
    add("zlib, behind codes that nobody can read", &["W-9", "C-9"], &reserved, &stream(ZLIB, &body));
    add("not compressed, with all methods agreed", &["W-7", "W-9"], &ALL, &body);
    for bits in 8..=15_u8 {
        if body.len() >> bits == 0 || bits == 15 {
            let stream = zlib(&body, (bits - 8) << 4 | 8, Blocks::Fixed);
            add(&format!("zlib with a window of 2^{bits} bytes"), &["W-10"], &[ZLIB], &stream);
        }
    }
    add("zlib in one stored block", &["W-10"], &[ZLIB], &zlib(&body, 0x78, Blocks::Stored(65535)));
    add("zlib in stored blocks of 100 bytes", &["W-10"], &[ZLIB], &zlib(&body, 0x78, Blocks::Stored(100)));
    add("gzip in stored blocks", &["W-10"], &[GZIP], &gzip(&body, Blocks::Stored(500)));
    for (what, flags, fields) in [
        ("a name", 0x08, &b"name\0"[..]),
        ("a comment", 0x10, b"comment\0"),
        ("extra bytes", 0x04, b"\x05\0extra"),
        ("a checked head", 0x02, b""),
        ("the mark of text", 0x01, b""),
        ("all of them", 0x1f, b"\x01\0xname\0comment\0"),
    ] {
        let stream = gzip_with(&body, flags, fields, Blocks::Fixed);
        add(&format!("gzip with {what}"), &["W-10"], &[GZIP], &stream);
    }
    for (what, check) in [("no check", Check::None), ("CRC32", Check::Crc32), ("CRC64", Check::Crc64)] {
        add(&format!("xz with {what}"), &["W-10"], &[LZMA], &xz(&body, check, 0));
    }
    for (what, dict) in [("1 MiB", 16), ("8 MiB", 22), ("64 MiB", 28)] {
        let stream = xz(&body, Check::Crc64, dict);
        add(&format!("xz that asks for a dictionary of {what}"), &["W-10", "L-5"], &[LZMA], &stream);
    }
    for size in [3, 17, 60] {
        let stream = snappy(&body, size);
        add(&format!("snappy in literals of {size} bytes"), &["W-10"], &[SNAPPY], &stream);
    }

    for (what, codes, looks) in [
        ("zlib", &[ZLIB][..], &looks_like_zlib as &dyn Fn(&[u8; 32], usize) -> bool),
        ("zlib, as most write it", &[ZLIB], &|digest, _| digest.starts_with(&[0x78, 0x9c])),
        ("zlib, to a reader of all methods", &ALL, &|digest, _| digest.starts_with(&[0x78, 0x01])),
        ("gzip", &[GZIP], &|digest, _| digest.starts_with(&[0x1f, 0x8b])),
        ("bz2", &[BZ2], &|digest, _| digest.starts_with(b"BZ")),
        ("xz", &[LZMA], &|digest, _| digest.starts_with(&[0xfd, 0x37])),
        ("snappy", &[SNAPPY], &|digest, size| usize::from(digest[0]) == size),
    ] {
        let parts = disguised(looks);
        let what = format!("not compressed, and looks like {what}");
        all.push(reads(&what, &["W-9", "W-12"], codes, &parts.body(), &parts));
    }

    for code in ALL {
        let parts = zeros(100_000);
        let body = parts.body();
        let content = match code {
            LZMA => Method::Lzma.compress(&body),
            SNAPPY => Method::Snappy.compress(&body),
            _ => stream(code, &body),
        };
        let what = format!("{} that unpacks to the largest size exactly", name(code));
        let mut vector = reads(&what, &["W-11", "L-1"], &[code], &content, &parts);
        vector["max_frame"] = body.len().into();
        all.push(vector);
    }
    all
}

fn compressed() -> Vec<Json> {
    let long = sample();
    let short = Parts::new(vec!["short".into()]);
    let random: Vec<u8> = (0..40_u8).flat_map(|n| digest(&[n])).collect();
    let random = Parts::new(vec![random.into()]);
    let large = zeros(100_000);
    let like_zlib = disguised(looks_like_zlib);
    let like_gzip = disguised(|digest, _| digest.starts_with(&[0x1f, 0x8b]));
    let mut all = Vec::new();
    let mut add = |what: String, rules: &[&str], codes: &[u8], parts: &Parts| {
        let vector = Vector::new(&what, rules).methods(codes).parts(parts);
        all.push(vector.id(&parts.packed()).done());
    };
    for code in ALL {
        for (what, parts) in
            [("text", &long), ("a short body", &short), ("random bytes", &random), ("100,000 zeros", &large)]
        {
            add(format!("{what}, with {} agreed", name(code)), &["W-7", "W-10"], &[code], parts);
        }
    }
    add("text, with all methods agreed".to_owned(), &["W-8"], &ALL, &long);
    for (what, parts) in [("zlib", &like_zlib), ("gzip", &like_gzip)] {
        for codes in [&[ZLIB][..], &[GZIP], &[ZLIB, GZIP], &ALL] {
            let shared = codes.iter().map(|code| name(*code)).collect::<Vec<_>>().join(", ");
            add(format!("a body that looks like {what}, with {shared} agreed"), &["W-12"], codes, parts);
        }
    }
    all
}

fn refused() -> Vec<Json> {
    let body = sample().body();
    let mut all = Vec::new();
    let mut add = |what: String, rules: &[&str], by: &str, codes: &[u8], content: &[u8]| {
        let vector = Vector::new(&what, rules).with("refused_by", by).methods(codes);
        all.push(vector.frame(&frame(content)).done());
    };
    for code in ALL {
        let (called, stream) = (name(code), stream(code, &body));
        let w10 = &["W-10", "W-6"];
        add(format!("{called} without its last byte"), w10, "0.7", &[code], &stream[..stream.len() - 1]);
        add(format!("{called} cut in the middle"), w10, "0.7", &[code], &stream[..stream.len() / 2]);
        add(format!("{called} cut behind its first 12 bytes"), w10, "0.7", &[code], &stream[..12]);
        // Some of 0.7's readers look no further than the stream's end.
        add(format!("{called} and a byte behind it"), w10, "peernet", &[code], &[&stream[..], &[0]].concat());
        add(
            format!("{called} and a second stream"),
            w10,
            "peernet",
            &[code],
            &[&stream[..], &stream].concat(),
        );
        let mut flipped = stream.clone();
        flipped[stream.len() / 2] ^= 4;
        add(format!("{called} with a bit wrong"), w10, "0.7", &[code], &flipped);
        let others: Vec<u8> = ALL.into_iter().filter(|other| *other != code).collect();
        let w9 = &["W-9", "W-6"];
        // py2p reads both of these two under either code.
        let by = if matches!(code, ZLIB | GZIP) { "peernet" } else { "0.7" };
        add(format!("{called}, when all others are agreed"), w9, by, &others, &stream);
        add(format!("{called}, when nothing is agreed"), w9, "0.7", &[], &stream);
        let mut lie = body.clone();
        lie[0] ^= 1;
        let w6 = &["W-6", "W-7"];
        add(
            format!("{called} of a body whose digest is wrong"),
            w6,
            "0.7",
            &[code],
            &self::stream(code, &lie),
        );
        add(
            format!("{called} of nothing"),
            w6,
            "0.7",
            &[code],
            &match code {
                SNAPPY => vec![0],
                LZMA => Method::Lzma.compress(&[]),
                _ => self::stream(code, &[]),
            },
        );
        add(format!("{called} of 31 bytes"), w6, "0.7", &[code], &self::stream(code, &body[..31]));
        let twice = self::stream(code, &stream);
        add(format!("{called} of {called}"), w9, "0.7", &[code], &twice);
        let framed = self::stream(code, &frame(&body));
        add(format!("{called} of a whole frame"), &["W-7"], "0.7", &[code], &framed);
    }
    add(
        "deflate without a container".into(),
        &["W-10"],
        "0.7",
        &[ZLIB, GZIP],
        &deflate(&body, Blocks::Fixed),
    );
    let mut preset = zlib(&body, 0x78, Blocks::Fixed);
    preset[1] = 0x20 | ((31 - (0x7820 % 31) as u8) % 31);
    add("zlib that asks for a preset dictionary".into(), &["W-10"], "0.7", &[ZLIB], &preset);
    let mut adler = zlib(&body, 0x78, Blocks::Fixed);
    *adler.last_mut().unwrap() ^= 1;
    add("zlib with a wrong checksum".into(), &["W-10"], "0.7", &[ZLIB], &adler);
    let mut crc = gzip(&body, Blocks::Fixed);
    let at = crc.len() - 8;
    crc[at] ^= 1;
    add("gzip with a wrong checksum".into(), &["W-10"], "0.7", &[GZIP], &crc);
    let mut size = gzip(&body, Blocks::Fixed);
    *size.last_mut().unwrap() ^= 1;
    add("gzip with a wrong size".into(), &["W-10"], "0.7", &[GZIP], &size);
    for (what, dict) in [("96 MiB", 29), ("4 GiB", 40)] {
        let stream = xz(&body, Check::Crc64, dict);
        let what = format!("xz that asks for a dictionary of {what}");
        add(what, &["W-10", "L-5"], "peernet", &[LZMA], &stream);
    }
    add("bare LZMA".into(), &["W-10"], "peernet", &[LZMA], &unhex(BARE_LZMA).unwrap());
    let framing = [
        &b"\xff\x06\0\0sNaPpY\x01"[..],
        &[(body.len() + 4) as u8, ((body.len() + 4) >> 8) as u8, 0, 0, 0, 0, 0],
        &body,
    ]
    .concat();
    add("snappy's framing format".into(), &["W-10"], "0.7", &[SNAPPY], &framing);
    let wasteful = snappy(&body, 1);
    add("snappy of twice the length that it unpacks to".into(), &["W-10"], "peernet", &[SNAPPY], &wasteful);
    add("snappy that claims 4 GiB".into(), &["W-10", "W-11"], "0.7", &[SNAPPY], &{
        [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &snappy(&body, 60)].concat()
    });

    let mut bomb = |what: &str, limit: usize, code: u8, content: &[u8]| {
        let vector =
            Vector::new(&format!("{} {what}", name(code)), &["W-11", "L-1"]).with("refused_by", "peernet");
        all.push(vector.with("max_frame", limit).methods(&[code]).frame(&frame(content)).done());
    };
    let large = zeros(100_000).body();
    for code in ALL {
        let content = match code {
            LZMA => Method::Lzma.compress(&large),
            SNAPPY => Method::Snappy.compress(&large),
            _ => stream(code, &large),
        };
        bomb("that unpacks to one byte over the largest size", large.len() - 1, code, &content);
    }
    bomb("that unpacks to 1 MiB, at most 64 KiB accepted", 1 << 16, SNAPPY, &snappy_run(0, 16383));
    bomb(
        "that unpacks to 1 MiB, at most 64 KiB accepted",
        1 << 16,
        BZ2,
        &Method::Bz2.compress(&vec![0; 1 << 20]),
    );
    bomb(
        "that unpacks to 1 MiB, at most 64 KiB accepted",
        1 << 16,
        LZMA,
        &Method::Lzma.compress(&vec![0; 1 << 20]),
    );
    let mut vector = Vector::new("zlib that unpacks to 20 MiB", &["W-11", "L-1"]).with("refused_by", "0.7");
    vector = vector.methods(&[ZLIB]);
    let frame = frame(&zlib(&vec![0; 20 << 20], 0x78, Blocks::Fixed));
    all.push(vector.frame(&frame).done());
    all
}

/// A body in the format that came before xz, made by Python's `lzma.compress(body, FORMAT_ALONE)`.
const BARE_LZMA: &str = "5d00000400ffffffffffffffff002f87c64ccbd0581ecc41ab576b8e7b4c30ef63d34aa8d19c8b49704a7366e574b1e9\
    53392ff2cec10a09a20ecfd78bfd1389d31e152b2b9b542c4543ea36feaec5b92668c8031ea5f34372e5d384883d1a49\
    4ae704a65f81a58c6865f74b83508e35734c475c849efa64734c439fc7b2133103947a5507e8aba7f01a63e1ad9a1714\
    4059925420981c109a8c51dcc2829fafdb82db820434dbae33af0c878cf18d5fff79580000";
