//! The five compressions of the protocol, bounded while they unpack, and the policy when to use one.
//!
//! A frame does not say how it was compressed: the receiver tries what both sides know, and takes
//! the bytes as they are if nothing fits. So a sender is free to compress only where it pays, with
//! one exception ([`must_compress`]), and a receiver can skip what a body cannot be
//! ([`Method::looks_like`]).
//!
//! ```
//! use peernet::wire::Method;
//!
//! let body = b"again and again and again and again and again".repeat(10);
//! for method in Method::PREFERENCE {
//!     let small = method.compress(&body);
//!     assert!(small.len() < body.len() && method.looks_like(&small));
//!     assert_eq!(method.decompress(&small, 1 << 20)?, body);
//!     assert!(method.decompress(&small, 100).is_err());
//! }
//! # Ok::<(), peernet::wire::DecompressError>(())
//! ```

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use lzma_rust2::{XzOptions, XzReader, XzWriter};

/// A way to compress a body. The number is its code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Method {
    /// bzip2.
    Bz2 = 0x10,
    /// RFC 1952.
    Gzip = 0x11,
    /// The `.xz` container, not bare LZMA.
    Lzma = 0x12,
    /// RFC 1950.
    Zlib = 0x13,
    /// Snappy's raw block format.
    Snappy = 0x20,
}

/// The window of deflate in the exponent of 2: all of its 32 KiB.
const DEFLATE_WINDOW: u8 = 15;

/// Compression level of zlib and gzip: the fastest. Most of what the others gain is already there.
const DEFLATE_LEVEL: u32 = 1;

/// Block size of bzip2 in units of 100 kB. Memory and set-up time follow it, ratio hardly does
/// within the sizes of messages.
const BZ2_LEVEL: u32 = 1;

/// Preset of xz: the fastest.
const XZ_PRESET: u32 = 0;

/// Least and greatest dictionary that we make xz use, in bytes: both sides allocate by it.
const XZ_DICT: (u32, u32) = (4 << 10, 1 << 20);

/// The most that an xz stream from a peer may have its reader use, in KiB: the largest preset's
/// dictionary of 64 MiB, and what the reader counts beside it. py2p's default asks for 8 MiB. The
/// dictionary grows with what is unpacked, up to what the header asks for.
const XZ_MEMORY_KIB: u32 = (64 << 10) + 256;

/// Bytes by which an output grows at least, and the room for reading xz.
const CHUNK: usize = 4 << 10;

/// Bytes reserved at first for each byte that came in.
const FIRST_GUESS: usize = 4;

/// Snappy turns a byte into less than this many: its best element makes 64 out of 3.
const SNAPPY_MAX_RATIO: u64 = 22;

impl Method {
    /// All methods, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Bz2, Self::Gzip, Self::Lzma, Self::Zlib, Self::Snappy];

    /// All methods, in the order in which we like to send them: by what a byte saved costs in time.
    pub const PREFERENCE: [Self; 5] = [Self::Snappy, Self::Zlib, Self::Gzip, Self::Bz2, Self::Lzma];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The method of a code. The protocol reserves many codes that no released peer can read, so
    /// `None` is nothing unusual in a peer's list.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|method| u64::from(method.code()) == code)
    }

    /// The name, as the implementations write it: `snappy`, `zlib`, `gzip`, `bz2` or `lzma`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bz2 => "bz2",
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Zlib => "zlib",
            Self::Snappy => "snappy",
        }
    }

    /// Compresses `body`. The result may well be longer: see [`compress_if_smaller`].
    ///
    /// Every method takes every body a frame can carry. Beyond 2^32 - 1 bytes snappy has no form;
    /// what comes back then is empty, which no method ever yields otherwise.
    #[must_use]
    pub fn compress(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Zlib => deflate(Compress::new(Compression::new(DEFLATE_LEVEL), true), body),
            Self::Gzip => deflate(Compress::new_gzip(Compression::new(DEFLATE_LEVEL), DEFLATE_WINDOW), body),
            Self::Bz2 => bzip2(body),
            Self::Lzma => {
                let mut options = XzOptions::with_preset(XZ_PRESET);
                let dict = u32::try_from(body.len()).unwrap_or(u32::MAX);
                // A dictionary larger than the body would only cost memory, on both sides.
                options.lzma_options.dict_size = dict.clamp(XZ_DICT.0, XZ_DICT.1).next_power_of_two();
                XzWriter::new(Vec::with_capacity(body.len() / 2), options)
                    .and_then(|mut writer| writer.write_all(body).and_then(|()| writer.finish()))
                    .unwrap_or_default()
            }
            Self::Snappy => snap::raw::Encoder::new().compress_vec(body).unwrap_or_default(),
        }
    }

    /// Whether `bytes` may be a stream of this method, judged by its first bytes: false is certain,
    /// true is not. It keeps a receiver from setting up decompressors for bytes that are plain.
    #[must_use]
    pub fn looks_like(self, bytes: &[u8]) -> bool {
        match self {
            // Beside the header's own check, RFC 1950 bounds the window to 32 KiB.
            Self::Zlib => begins_like_zlib(bytes) && matches!(bytes, [first, ..] if first >> 4 <= 7),
            Self::Gzip => bytes.starts_with(&[0x1f, 0x8b, 8]),
            Self::Bz2 => {
                // Block size, then the mark of a block or, in an empty stream, of the end.
                let [b'B', b'Z', b'h', b'1'..=b'9', mark @ ..] = bytes else {
                    return false;
                };
                mark.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
                    || mark.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
            }
            Self::Lzma => bytes.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]),
            Self::Snappy => snappy_len(bytes).is_some_and(|len| {
                let given = bytes.len() as u64;
                // Encoders promise at most 32 + 7/6 of the input; a generous reading of that.
                len <= given * SNAPPY_MAX_RATIO && given <= len + len / 2 + 64
            }),
        }
    }

    /// Unpacks `bytes`, which must be one whole stream and nothing after it.
    ///
    /// The result is never longer than `limit` bytes, and no more than that and a few KiB is held
    /// for it at any time; what a header claims reserves nothing. The memory of the methods
    /// themselves is bounded apart from that: under 64 KiB for zlib and gzip, 4 MiB for bz2; xz has
    /// a dictionary that grows with the result, up to 64 MiB.
    ///
    /// # Errors
    /// [`DecompressError::Malformed`] for anything but such a stream (or one of xz that asks for a
    /// larger dictionary), [`DecompressError::TooLarge`] for one that unpacks to more than `limit`.
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
        // Turns most foreign bytes away before anything is set up for them, and snappy blocks that
        // claim more than their bytes could unpack to.
        if !self.looks_like(bytes) {
            return Err(DecompressError::Malformed { method: self });
        }
        match self {
            Self::Zlib => inflate(self, Decompress::new(true), bytes, limit),
            Self::Gzip => inflate(self, Decompress::new_gzip(DEFLATE_WINDOW), bytes, limit),
            Self::Bz2 => unbzip2(bytes, limit),
            Self::Lzma => unxz(bytes, limit),
            Self::Snappy => unsnappy(bytes, limit),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of [`Method::name`].
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
#[error("unknown compression {name:?}; there are snappy, zlib, gzip, bz2 and lzma")]
pub struct UnknownMethod {
    /// What was given.
    pub name: String,
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| UnknownMethod { name: name.to_owned() })
    }
}

/// Why bytes could not be unpacked.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecompressError {
    /// Not one whole stream of the method.
    #[error("the bytes are no {method} stream")]
    Malformed {
        /// The method that was tried.
        method: Method,
    },
    /// A stream that unpacks to more than the bound.
    #[error("the {method} stream unpacks to more than {limit} bytes")]
    TooLarge {
        /// The method that was tried.
        method: Method,
        /// The bound, in bytes.
        limit: usize,
    },
}

/// The output of a decompressor: grows as bytes arrive, and to no more than one byte over the limit,
/// by which a stream that is too long shows.
struct Output {
    bytes: Vec<u8>,
    method: Method,
    limit: usize,
}

impl Output {
    fn new(method: Method, given: usize, limit: usize) -> Self {
        let first = given.saturating_mul(FIRST_GUESS).saturating_add(CHUNK);
        Self { bytes: Vec::with_capacity(first.min(limit.saturating_add(1))), method, limit }
    }

    fn malformed(&self) -> DecompressError {
        DecompressError::Malformed { method: self.method }
    }

    /// Fails once there are more bytes than the limit; otherwise makes room for more.
    fn check_and_grow(&mut self) -> Result<(), DecompressError> {
        let len = self.bytes.len();
        if len > self.limit {
            return Err(DecompressError::TooLarge { method: self.method, limit: self.limit });
        }
        if len == self.bytes.capacity() {
            let room = self.limit.saturating_add(1) - len;
            self.bytes.reserve_exact(len.max(CHUNK).min(room));
        }
        Ok(())
    }

    /// Runs a decompressor to the end of its stream: `step` gets what input is left and the output,
    /// and tells how much input it took and whether the stream is at its end.
    fn run(
        mut self,
        mut input: &[u8],
        mut step: impl FnMut(&[u8], &mut Vec<u8>) -> Option<(usize, bool)>,
    ) -> Result<Vec<u8>, DecompressError> {
        loop {
            let before = self.bytes.len();
            let Some((taken, end)) = step(input, &mut self.bytes) else {
                return Err(self.malformed());
            };
            let full = self.bytes.len() == self.bytes.capacity();
            self.check_and_grow()?;
            let Some((_, rest)) = input.split_at_checked(taken) else {
                return Err(self.malformed());
            };
            input = rest;
            if end {
                return if input.is_empty() { Ok(self.bytes) } else { Err(self.malformed()) };
            }
            // Neither input taken nor output made, although there was room: it is cut short.
            if taken == 0 && self.bytes.len() == before && !full {
                return Err(self.malformed());
            }
        }
    }
}

/// Both deflate containers, written in one step into room for the worst case.
fn deflate(mut deflater: Compress, body: &[u8]) -> Vec<u8> {
    // Stored blocks cost 5 bytes for each 16 KiB or more, the containers up to 18.
    let mut out = Vec::with_capacity(body.len() + body.len() / 1000 + 64);
    let mut rest = body;
    loop {
        let before = deflater.total_in();
        let status = deflater.compress_vec(rest, &mut out, FlushCompress::Finish);
        let taken = usize::try_from(deflater.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        match status {
            Ok(Status::StreamEnd) => return out,
            Ok(_) => out.reserve(CHUNK),
            // Only a misuse of the state could lead here.
            Err(_) => return Vec::new(),
        }
    }
}

fn bzip2(body: &[u8]) -> Vec<u8> {
    // Work factor 0 is bzip2's own choice.
    let mut compress = bzip2::Compress::new(bzip2::Compression::new(BZ2_LEVEL), 0);
    // The worst case that bzip2 documents, so that one step does.
    let mut out = Vec::with_capacity(body.len() + body.len() / 100 + 600);
    let mut rest = body;
    loop {
        let before = compress.total_in();
        let status = compress.compress_vec(rest, &mut out, bzip2::Action::Finish);
        let taken = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        match status {
            Ok(bzip2::Status::StreamEnd) => return out,
            Ok(_) => out.reserve(CHUNK),
            // Only a misuse of the state could lead here.
            Err(_) => return Vec::new(),
        }
    }
}

fn inflate(
    method: Method,
    mut inflater: Decompress,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    Output::new(method, bytes.len(), limit).run(bytes, |input, out| {
        let before = inflater.total_in();
        // `Finish` spares the window where all of the output has room.
        let status = inflater.decompress_vec(input, out, FlushDecompress::Finish).ok()?;
        let taken = usize::try_from(inflater.total_in() - before).ok()?;
        Some((taken, status == Status::StreamEnd))
    })
}

fn unbzip2(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decompress = bzip2::Decompress::new(false);
    Output::new(Method::Bz2, bytes.len(), limit).run(bytes, |input, out| {
        let before = decompress.total_in();
        let status = decompress.decompress_vec(input, out).ok()?;
        let taken = usize::try_from(decompress.total_in() - before).ok()?;
        Some((taken, status == bzip2::Status::StreamEnd))
    })
}

fn unxz(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut reader = XzReader::new_mem_limit(bytes, false, XZ_MEMORY_KIB);
    let mut output = Output::new(Method::Lzma, bytes.len(), limit);
    let mut chunk = [0u8; CHUNK];
    loop {
        let room = CHUNK.min(output.limit.saturating_add(1) - output.bytes.len());
        let Some(chunk) = chunk.get_mut(..room) else {
            return Err(output.malformed());
        };
        match reader.read(chunk) {
            Ok(0) => break,
            Ok(read) => {
                let mut got = chunk.get(..read).unwrap_or_default();
                while !got.is_empty() {
                    output.check_and_grow()?;
                    let free = output.bytes.capacity() - output.bytes.len();
                    let (now, later) = got.split_at(free.min(got.len()));
                    output.bytes.extend_from_slice(now);
                    got = later;
                }
                output.check_and_grow()?;
            }
            Err(_) => return Err(output.malformed()),
        }
    }
    if reader.inner().is_empty() { Ok(output.bytes) } else { Err(output.malformed()) }
}

fn unsnappy(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let malformed = DecompressError::Malformed { method: Method::Snappy };
    // In proportion to what arrived, as `looks_like` saw to.
    let len = snappy_len(bytes).and_then(|len| usize::try_from(len).ok()).ok_or(malformed)?;
    if len > limit {
        return Err(DecompressError::TooLarge { method: Method::Snappy, limit });
    }
    let mut out = vec![0; len];
    match snap::raw::Decoder::new().decompress(bytes, &mut out) {
        Ok(written) if written == len => Ok(out),
        _ => Err(malformed),
    }
}

/// The length that a snappy block claims to unpack to: a little-endian varint of up to 32 bits.
fn snappy_len(bytes: &[u8]) -> Option<u64> {
    let mut len = 0u64;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (len <= u64::from(u32::MAX)).then_some(len);
        }
    }
    None
}

/// The check of a zlib header that every reader makes, the lenient ones no other.
fn begins_like_zlib(bytes: &[u8]) -> bool {
    matches!(*bytes, [first, second, ..]
        if first & 15 == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31))
}

/// Whether `body`, uncompressed, would be taken for a compressed stream by a peer that shares the
/// methods `shared` with us, and therefore must go out compressed.
///
/// js2p tries zlib and gzip on whatever comes, and has misread, and stalled on, bodies that begin
/// like one. One body in some 500 does: it begins with a digest.
///
/// ```
/// use peernet::wire::compression::{Method, must_compress};
///
/// assert!(must_compress(b"\x78\x9c...", &[Method::Zlib]));
/// assert!(must_compress(b"\x1f\x8b...", &[Method::Snappy, Method::Gzip]));
/// assert!(!must_compress(b"\x78\x9c...", &[Method::Snappy]));
/// assert!(!must_compress(b"anything", &Method::PREFERENCE));
/// ```
#[must_use]
pub fn must_compress(body: &[u8], shared: &[Method]) -> bool {
    // Wider than `looks_like`: what a lenient reader checks less, it mistakes more.
    (begins_like_zlib(body) && shared.contains(&Method::Zlib))
        || (body.starts_with(&[0x1f, 0x8b]) && shared.contains(&Method::Gzip))
}

/// Compresses `body`, if that makes it smaller.
#[must_use]
pub fn compress_if_smaller(method: Method, body: &[u8]) -> Option<Vec<u8>> {
    let small = method.compress(body);
    (!small.is_empty() && small.len() < body.len()).then_some(small)
}

/// Bodies shorter than this many bytes are not worth the attempt: a third of one is digest and
/// sender, which do not compress, and the frame fits a packet anyway.
pub const MIN_SIZE: usize = 200;

/// Bytes at the beginning of a body that are a digest, and say nothing about the rest.
pub const DIGEST_SIZE: usize = 32;

/// Bytes of a body that are looked at, evenly spread.
pub const SAMPLE_SIZE: usize = 64;

/// From this many different bytes in a sample on, a body counts as incompressible. Random bytes
/// have 57 on average and hardly ever fewer than 48; text, base58 and base64 included, has 40.
pub const DISTINCT_MIN: usize = 48;

/// The most bodies that are skipped after one whose compressed form was not smaller.
pub const MAX_BACKOFF: u8 = 64;

/// A body this many times as long as any that failed is not skipped because of them.
pub const LARGER: usize = 4;

/// Guesses, per link and in some dozens of nanoseconds, whether compressing a body pays.
///
/// A body is worth trying unless it is shorter than [`MIN_SIZE`], its sample looks random
/// ([`DISTINCT_MIN`]), or attempts on the bodies before it failed: after a failure the next body is
/// skipped, after another one the next 2, and so on up to [`MAX_BACKOFF`]; a success forgets them. A
/// body over [`LARGER`] times as long as the longest that failed is tried all the same: small ones
/// say little about it.
///
/// ```
/// use peernet::wire::compression::{Method, Opportunist, compress_if_smaller};
///
/// let mut link = Opportunist::default();
/// let body = [b'x'; 1000];
/// if link.worth_trying(&body) {
///     let small = compress_if_smaller(Method::Snappy, &body);
///     link.outcome(body.len(), small.is_some());
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opportunist {
    /// Bodies still to skip.
    skip: u8,
    /// How many the last failure made us skip.
    backoff: u8,
    /// The longest body that failed since the last success.
    failed: usize,
}

impl Opportunist {
    /// Whether to compress `body`, which begins with its digest. If so, tell [`Self::outcome`].
    pub fn worth_trying(&mut self, body: &[u8]) -> bool {
        if body.len() < MIN_SIZE {
            return false;
        }
        if self.skip > 0 && body.len() <= self.failed.saturating_mul(LARGER) {
            self.skip -= 1;
            return false;
        }
        distinct_in_sample(body) < DISTINCT_MIN
    }

    /// Notes whether the compressed form of a body of `len` bytes was smaller, and so was kept.
    pub fn outcome(&mut self, len: usize, kept: bool) {
        if kept {
            *self = Self::default();
        } else {
            self.backoff = self.backoff.saturating_mul(2).clamp(1, MAX_BACKOFF);
            self.skip = self.backoff;
            self.failed = self.failed.max(len);
        }
    }
}

/// How many different bytes a sample of `body` has, its digest left out.
fn distinct_in_sample(body: &[u8]) -> usize {
    let content = body.get(DIGEST_SIZE..).unwrap_or_default();
    let stride = (content.len() / SAMPLE_SIZE).max(1);
    // A byte for each value, not a bit: stores that do not wait for each other.
    let mut seen = [0u8; 256];
    for part in content.chunks(stride).take(SAMPLE_SIZE) {
        if let [byte, ..] = part {
            seen[usize::from(*byte)] = 1;
        }
    }
    // At most 64, so a byte holds the sum, and the compiler can add many at once.
    usize::from(seen.iter().fold(0u8, |sum, &one| sum.wrapping_add(one)))
}

/// What became of the bodies that could have been compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressionCounters {
    /// Bodies that were compressed to see.
    pub tried: u64,
    /// Those of them that became smaller and were sent compressed.
    pub kept: u64,
    /// Bodies that were sent as they are without an attempt.
    pub skipped: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/p2p-today-0.7.json"));

    const LIMIT: usize = 1 << 20;

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// Bytes that no method makes smaller, the same ones in every run.
    fn noise(len: usize) -> Vec<u8> {
        (0u64..).flat_map(|n| Sha256::digest(n.to_be_bytes())).take(len).collect()
    }

    fn malformed(method: Method) -> Result<Vec<u8>, DecompressError> {
        Err(DecompressError::Malformed { method })
    }

    fn too_large(method: Method, limit: usize) -> Result<Vec<u8>, DecompressError> {
        Err(DecompressError::TooLarge { method, limit })
    }

    /// W-7, W-10, W-11
    #[test]
    fn vectors_decode() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for case in vectors["decode"].as_array().unwrap() {
            let frame = unhex(case["frame"].as_str().unwrap());
            let id = unhex(case["id"].as_str().unwrap());
            let body = match case["compression"][0].as_u64() {
                Some(code) => {
                    let method = Method::from_code(code).unwrap();
                    seen.insert((case["producer"].to_string(), method));
                    assert!(method.looks_like(&frame[4..]), "{}", case["name"]);
                    let body = method.decompress(&frame[4..], LIMIT).unwrap();
                    // To the byte: the limit is the length.
                    assert_eq!(method.decompress(&frame[4..], body.len()).as_ref(), Ok(&body));
                    let less = body.len() - 1;
                    assert_eq!(method.decompress(&frame[4..], less), too_large(method, less));
                    body
                }
                None => frame[4..].to_vec(),
            };
            assert_eq!(Sha256::digest(&body[32..])[..], id, "{}", case["name"]);
            assert_eq!(body[..32], id, "{}", case["name"]);
        }
        assert_eq!(seen.len(), 7, "five methods by py2p, two by js2p: {seen:?}");
    }

    /// W-10, W-30
    #[test]
    fn names_and_codes() {
        for method in Method::PREFERENCE {
            assert_eq!(method.to_string().parse(), Ok(method));
            assert_eq!(Method::from_code(method.code().into()), Some(method));
        }
        assert_eq!(Method::from_code(0x14), None);
        assert_eq!(Method::from_code(0x110), None);
        assert_eq!("lz4".parse::<Method>(), Err(UnknownMethod { name: "lz4".into() }));
        assert_eq!(Method::ALL.map(Method::code), [0x10, 0x11, 0x12, 0x13, 0x20]);
        assert_eq!(Method::PREFERENCE.map(Method::code), [0x20, 0x13, 0x11, 0x10, 0x12]);
    }

    /// W-11
    #[test]
    fn sizes_around_the_limits() {
        for method in Method::PREFERENCE {
            for len in [0, 1, 31, CHUNK - 1, CHUNK, CHUNK + 1, 70_000, 300_000] {
                for body in [vec![0; len], noise(len)] {
                    let small = method.compress(&body);
                    assert!(method.looks_like(&small), "{method} {len}");
                    assert_eq!(method.decompress(&small, len).as_ref(), Ok(&body), "{method} {len}");
                    assert_eq!(method.decompress(&small, usize::MAX), Ok(body), "{method} {len}");
                    if len > 0 {
                        assert_eq!(method.decompress(&small, len - 1), too_large(method, len - 1));
                        assert_eq!(method.decompress(&small, 0), too_large(method, 0));
                    }
                }
            }
        }
    }

    /// W-11
    #[test]
    fn bombs_stop_at_the_limit() {
        for method in [Method::Zlib, Method::Gzip, Method::Bz2, Method::Lzma] {
            let bomb = method.compress(&vec![0; 8 << 20]);
            assert!(bomb.len() < 1 << 20);
            assert_eq!(method.decompress(&bomb, LIMIT), too_large(method, LIMIT));
        }
        // Snappy says beforehand: over the limit, over its ratio, over 32 bits.
        let big = Method::Snappy.compress(&vec![0; 2 << 20]);
        assert_eq!(Method::Snappy.decompress(&big, LIMIT), too_large(Method::Snappy, LIMIT));
        let claim = [&b"\xff\xff\xff\xff\x0f"[..], &[0; 100]].concat();
        assert_eq!(Method::Snappy.decompress(&claim, usize::MAX), malformed(Method::Snappy));
        assert!(!Method::Snappy.looks_like(b"\xff\xff\xff\xff\x1f"));
        assert!(!Method::Snappy.looks_like(b"\x80\x80\x80\x80\x80\x00"));
    }

    /// W-10, L-5
    #[test]
    fn xz_with_a_huge_dictionary_is_refused() {
        let mut xz = Method::Lzma.compress(&[0; 1000]);
        // Stream header 12 bytes; block header: size, flags, filter id 0x21, 1 byte of properties.
        assert_eq!(xz[14..16], [0x21, 1]);
        let header = 12..12 + 4 * usize::from(xz[12]);
        let mut with = |dict: u8| {
            xz[16] = dict;
            let crc = crc32(&xz[header.clone()]).to_le_bytes();
            xz[header.end..header.end + 4].copy_from_slice(&crc);
            Method::Lzma.decompress(&xz, LIMIT)
        };
        // 8 MiB (what py2p asks for), 64 MiB, 96 MiB, 4 GiB.
        assert_eq!(with(22), Ok(vec![0; 1000]));
        assert_eq!(with(28), Ok(vec![0; 1000]));
        assert_eq!(with(29), malformed(Method::Lzma));
        assert_eq!(with(40), malformed(Method::Lzma));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
        })
    }

    /// W-10
    #[test]
    fn only_one_whole_stream() {
        let body = b"some text, some more text, and some text".repeat(20);
        for method in Method::PREFERENCE {
            let small = method.compress(&body);
            for end in 0..small.len() {
                assert_eq!(method.decompress(&small[..end], LIMIT), malformed(method), "{method} {end}");
            }
            for tail in [&b"\0"[..], b"x", &small] {
                let long = [&small[..], tail].concat();
                assert_eq!(method.decompress(&long, LIMIT), malformed(method), "{method}");
            }
            let plain = [&Sha256::digest(&body)[..], &body].concat();
            assert_eq!(method.decompress(&plain, LIMIT), malformed(method));
        }
    }

    /// W-12
    #[test]
    fn first_bytes() {
        assert!(Method::Zlib.looks_like(b"\x78\x9c"));
        assert!(!Method::Zlib.looks_like(b"\x78\x9d"));
        assert!(!Method::Zlib.looks_like(b"\x78"));
        // A window of 64 KiB: no reader of ours, but a lenient one may take it.
        assert!(!Method::Zlib.looks_like(b"\x88\x1c") && must_compress(b"\x88\x1c", &[Method::Zlib]));
        assert!(!Method::Gzip.looks_like(b"\x1f\x8b\x00") && must_compress(b"\x1f\x8b\x00", &[Method::Gzip]));
        assert!(!Method::Bz2.looks_like(b"BZh0\x31\x41\x59\x26\x53\x59"));
        assert!(!Method::Bz2.looks_like(b"BZh91AY"));
        for method in Method::PREFERENCE {
            assert!(!method.looks_like(b""), "{method}");
        }
        assert!(!must_compress(b"\x78\x9c", &[Method::Gzip]));
        assert!(!must_compress(b"\x1f\x8b", &[Method::Zlib]));
        assert!(!must_compress(b"", &Method::PREFERENCE));
    }

    /// W-23, W-24
    #[test]
    fn opportunist_judges_the_sample() {
        let mut link = Opportunist::default();
        let text = b"The quick brown fox jumps over the lazy dog. ".repeat(30);
        assert!(link.worth_trying(&text));
        assert!(!link.worth_trying(&text[..MIN_SIZE - 1]));
        assert!(link.worth_trying(&text[..MIN_SIZE]));
        for len in [MIN_SIZE, 500, 1024, 5000, 100_000] {
            let noise = noise(len);
            assert!(!link.worth_trying(&noise), "{len}: {}", distinct_in_sample(&noise));
            // The digest does not count.
            let body = [&noise[..DIGEST_SIZE], &text[..]].concat();
            assert!(link.worth_trying(&body));
        }
        assert_eq!(link, Opportunist::default());
    }

    /// W-25
    #[test]
    fn opportunist_backs_off() {
        let mut link = Opportunist::default();
        let body = [b'x'; 1000];
        for skipped in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert!(link.worth_trying(&body));
            link.outcome(body.len(), false);
            for _ in 0..skipped {
                // Short bodies are skipped anyway, and do not count.
                assert!(!link.worth_trying(&body[..10]));
                assert!(!link.worth_trying(&body));
            }
        }
        link.outcome(body.len(), false);
        assert!(link.worth_trying(&[b'x'; 4001]), "small failures say little about it");
        link = Opportunist::default();
        assert!(link.worth_trying(&body));
        link.outcome(body.len(), true);
        assert!(link.worth_trying(&body));
        link.outcome(body.len(), false);
        assert!(!link.worth_trying(&body));
        assert!(link.worth_trying(&body));
    }

    /// W-26
    #[test]
    fn kept_only_if_smaller() {
        for method in Method::PREFERENCE {
            assert_eq!(compress_if_smaller(method, &noise(1000)), None, "{method}");
            assert!(compress_if_smaller(method, &[7; 1000]).is_some_and(|small| small.len() < 1000));
        }
    }

    fn any_method() -> impl Strategy<Value = Method> {
        proptest::sample::select(&Method::PREFERENCE[..])
    }

    proptest! {
        #[test]
        fn round_trip(
            method in any_method(),
            part in proptest::collection::vec(any::<u8>(), 0..600),
            times in 1usize..12,
        ) {
            let body = part.repeat(times);
            let small = method.compress(&body);
            prop_assert_eq!(method.decompress(&small, body.len()).unwrap(), body.clone());
            if let Some(kept) = compress_if_smaller(method, &body) {
                prop_assert!(kept.len() < body.len());
            }
        }

        #[test]
        fn damage_never_panics_or_exceeds(
            method in any_method(),
            part in proptest::collection::vec(any::<u8>(), 1..300),
            times in 1usize..20,
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            limit in 0usize..8000,
        ) {
            let mut bytes = method.compress(&part.repeat(times));
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(body) = method.decompress(&bytes, limit) {
                prop_assert!(body.len() <= limit);
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), zlib: bool) {
            for method in Method::PREFERENCE {
                let _ = method.decompress(&bytes, 4096);
            }
            // Past the header checks, into the decoders.
            let head = if zlib { &b"\x78\x9c"[..] } else { b"\x1f\x8b\x08\x1f" };
            let method = if zlib { Method::Zlib } else { Method::Gzip };
            let _ = method.decompress(&[head, &bytes].concat(), 4096);
            let _ = Method::Bz2.decompress(&[b"BZh11AY&SY", &bytes[..]].concat(), 4096);
        }
    }
}
