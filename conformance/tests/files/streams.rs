//! Writers of zlib, gzip, xz and snappy streams, simple and the same everywhere, which show each
//! setting that a reader must take.

/// The Adler-32 checksum (RFC 1950).
fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

/// A cyclic redundancy check, reflected, with this polynomial.
fn crc(polynomial: u64, ones: u64, bytes: &[u8]) -> u64 {
    let mut crc = ones;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
        }
    }
    crc ^ ones
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc(0xedb8_8320, 0xffff_ffff, bytes) as u32
}

fn crc64(bytes: &[u8]) -> u64 {
    crc(0xc96c_5795_d787_0f42, u64::MAX, bytes)
}

/// How a deflate stream holds its bytes.
#[derive(Clone, Copy)]
pub(crate) enum Blocks {
    /// As they are, in blocks of so many.
    Stored(usize),
    /// One block in the fixed code, repeated bytes as matches.
    Fixed,
}

/// Bits, the first one lowest (RFC 1951).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    /// A code word: the first bit is its highest.
    fn code(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.put(value >> bit, 1);
        }
    }

    /// A literal or length in the fixed code (RFC 1951, 3.2.6).
    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..=143 => self.code(0x30 + symbol, 8),
            144..=255 => self.code(0x190 + symbol - 144, 9),
            256..=279 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }
}

pub(crate) fn deflate(bytes: &[u8], blocks: Blocks) -> Vec<u8> {
    match blocks {
        Blocks::Stored(size) => {
            let chunks: Vec<&[u8]> =
                if bytes.is_empty() { vec![&[][..]] } else { bytes.chunks(size).collect() };
            let last = chunks.len() - 1;
            chunks
                .iter()
                .enumerate()
                .flat_map(|(i, chunk)| {
                    let len = (chunk.len() as u16).to_le_bytes();
                    let not = (!(chunk.len() as u16)).to_le_bytes();
                    [&[u8::from(i == last)], &len[..], &not[..], chunk].concat()
                })
                .collect()
        }
        Blocks::Fixed => {
            let mut bits = Bits::default();
            bits.put(0b011, 3);
            for run in bytes.chunk_by(|a, b| a == b) {
                bits.symbol(run[0].into());
                let mut left = run.len() - 1;
                while left > 0 {
                    // 258 bytes, from one byte back.
                    if left >= 258 {
                        bits.symbol(285);
                        bits.code(0, 5);
                        left -= 258;
                    } else {
                        bits.symbol(run[0].into());
                        left -= 1;
                    }
                }
            }
            bits.symbol(256);
            bits.bytes
        }
    }
}

/// A zlib stream whose first byte is `cmf`: its window is 2^(8 + cmf >> 4) bytes.
pub(crate) fn zlib(bytes: &[u8], cmf: u8, blocks: Blocks) -> Vec<u8> {
    let check = (31 - u16::from(cmf) * 256 % 31) as u8 % 31;
    [&[cmf, check], &deflate(bytes, blocks)[..], &adler32(bytes).to_be_bytes()].concat()
}

/// The flags and the fields behind the head of a gzip member (RFC 1952).
pub(crate) fn gzip_with(bytes: &[u8], flags: u8, fields: &[u8], blocks: Blocks) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff];
    out.extend_from_slice(fields);
    if flags & 2 != 0 {
        let check = crc32(&out) as u16;
        out.extend_from_slice(&check.to_le_bytes());
    }
    out.extend(deflate(bytes, blocks));
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

pub(crate) fn gzip(bytes: &[u8], blocks: Blocks) -> Vec<u8> {
    gzip_with(bytes, 0, &[], blocks)
}

/// The checks of an xz stream.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    None = 0,
    Crc32 = 1,
    Crc64 = 4,
}

/// An xz stream of one block, not compressed, that asks for the dictionary size `dict` stands for:
/// 2^(dict / 2 + 12) for even ones, up to 40 for 4 GiB.
pub(crate) fn xz(bytes: &[u8], check: Check, dict: u8) -> Vec<u8> {
    let flags = [0, check as u8];
    let mut out = b"\xfd7zXZ\0".to_vec();
    out.extend_from_slice(&flags);
    out.extend_from_slice(&crc32(&flags).to_le_bytes());
    let start = out.len();
    // Twelve bytes with the check: one filter, LZMA2, whose one property is the dictionary.
    let head = [2, 0, 0x21, 1, dict, 0, 0, 0];
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc32(&head).to_le_bytes());
    for (i, chunk) in bytes.chunks(1 << 16).enumerate() {
        // Stored; the first chunk begins a dictionary.
        out.push(if i == 0 { 1 } else { 2 });
        out.extend_from_slice(&((chunk.len() - 1) as u16).to_be_bytes());
        out.extend_from_slice(chunk);
    }
    out.push(0);
    let unpadded = out.len() - start;
    out.resize(start + unpadded.next_multiple_of(4), 0);
    let sum = match check {
        Check::None => Vec::new(),
        Check::Crc32 => crc32(bytes).to_le_bytes().to_vec(),
        Check::Crc64 => crc64(bytes).to_le_bytes().to_vec(),
    };
    out.extend_from_slice(&sum);
    let mut index = vec![0, 1];
    index.extend(varint(unpadded + sum.len()));
    index.extend(varint(bytes.len()));
    index.resize(index.len().next_multiple_of(4), 0);
    let size = ((index.len() + 4) / 4 - 1) as u32;
    out.extend_from_slice(&index);
    out.extend_from_slice(&crc32(&index).to_le_bytes());
    let tail = [&size.to_le_bytes()[..], &flags].concat();
    out.extend_from_slice(&crc32(&tail).to_le_bytes());
    out.extend_from_slice(&tail);
    out.extend_from_slice(b"YZ");
    out
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A snappy block of literals of `size` bytes each, up to 60.
pub(crate) fn snappy(bytes: &[u8], size: usize) -> Vec<u8> {
    let literals = bytes.chunks(size).flat_map(|chunk| [&[(chunk.len() as u8 - 1) << 2], chunk].concat());
    varint(bytes.len()).into_iter().chain(literals).collect()
}

/// A snappy block that repeats one byte by copies of 64.
pub(crate) fn snappy_run(byte: u8, copies: usize) -> Vec<u8> {
    let mut out = varint(1 + 64 * copies);
    out.extend_from_slice(&[0, byte]);
    out.extend([63 << 2 | 2, 1, 0].repeat(copies));
    out
}
