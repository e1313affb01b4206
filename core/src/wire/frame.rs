//! Frames: `u32` big-endian length, then that many bytes (`spec/02-wire.md`, W-1 to W-4).

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length field.
pub const LENGTH_LEN: usize = 4;
/// Bytes of the SHA-256 digest that every uncompressed body begins with.
pub const DIGEST_LEN: usize = 32;
/// Largest frame accepted and sent unless configured otherwise: 16 MiB. 0.7 itself has no bound but
/// the 4 GiB of its length field, and one such header would make a node wait and reserve for ever.
pub const MAX_FRAME: usize = 16 << 20;
/// Frames from this size on are shared with the read buffer instead of copied out of it. Below it a
/// copy is as cheap as sharing, and a small message that is kept must not pin a large buffer.
const SHARE_FROM: usize = 4 << 10;
/// First size of the read buffer; an idle link keeps no more.
const MIN_READ: usize = 2 << 10;
/// Largest size the read buffer takes by itself (a single larger frame grows it further).
const MAX_READ: usize = 256 << 10;
/// After this many reads in a row that left most of the buffer unused, it shrinks.
const SHRINK_AFTER: u8 = 16;

/// Why the bytes of a stream are not frames. After one of these no later byte can be trusted: where
/// the next frame begins is unknown, so the stream must be given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field exceeds the bound.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// What the length field says.
        length: u64,
        /// The bound in force.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended in the middle of a frame: {have} of {need} bytes")]
    Truncated {
        /// Bytes there, the length field included.
        have: usize,
        /// Bytes the frame takes, the length field included (4 while even that is incomplete).
        need: usize,
    },
}

/// Cuts frames out of a stream of bytes that arrives in any split.
///
/// ```
/// use peernet::wire::Decoder;
///
/// let mut decoder = Decoder::new(1024);
/// decoder.push(&[0, 0, 0, 3, b'a', b'b']);
/// assert_eq!(decoder.next_frame()?, None); // one byte is missing
/// decoder.push(b"c");
/// assert_eq!(decoder.next_frame()?.as_deref(), Some(&b"abc"[..]));
/// # Ok::<(), peernet::wire::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Start of the next frame in `buffer`; what stands before it is consumed.
    at: usize,
    limit: usize,
    read_size: usize,
    small_reads: u8,
}

impl Decoder {
    /// A decoder that refuses frames of more than `limit` bytes (the length field not counted).
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), at: 0, limit, read_size: MIN_READ, small_reads: 0 }
    }

    /// Changes the bound, from the next frame on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read into, with room for at least one read. Call [`Decoder::filled`] after.
    pub fn room(&mut self) -> &mut BytesMut {
        self.compact();
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * self.read_size {
            self.buffer = BytesMut::new();
        }
        if self.buffer.capacity() - self.buffer.len() < self.read_size / 2 {
            // Grows with what arrived, never with what a length field claims.
            let grow = self.read_size.max(self.buffer.len());
            self.buffer.reserve(grow);
        }
        &mut self.buffer
    }

    /// Whether nothing waits and yet more memory is kept than an idle link should keep.
    pub fn has_spare(&self) -> bool {
        !self.is_partial() && self.buffer.capacity() > 4 * MIN_READ
    }

    /// Gives back memory: nothing has come for a while. Does nothing while bytes wait.
    pub fn rest(&mut self) {
        if !self.is_partial() {
            self.buffer = BytesMut::new();
            self.at = 0;
            self.read_size = MIN_READ;
            self.small_reads = 0;
        }
    }

    /// Tells how many bytes the last read brought, so that the buffer follows the traffic.
    pub fn filled(&mut self, n: usize) {
        if n * 2 >= self.read_size {
            self.read_size = (self.read_size * 2).min(MAX_READ);
            self.small_reads = 0;
        } else if n * 8 < self.read_size {
            self.small_reads += 1;
            if self.small_reads >= SHRINK_AFTER {
                self.read_size = (self.read_size / 4).max(MIN_READ);
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
    }

    /// The next whole frame's content, without consuming it; `None` when more bytes are needed.
    pub fn peek(&self) -> Result<Option<&[u8]>, FrameError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > self.limit {
            return Err(FrameError::TooLarge { length: length.into(), limit: self.limit });
        }
        Ok(rest.get(..size))
    }

    /// The whole frames that are there, in order, without consuming them; ends early at a bad one.
    pub fn whole_frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.buffer.get(self.at..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH_LEN>()?;
            let size = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (frame, behind) = behind.split_at_checked(size)?;
            rest = behind;
            Some(frame)
        })
    }

    /// Consumes the frame of `len` content bytes that [`Decoder::peek`] showed, without taking it.
    pub fn skip(&mut self, len: usize) {
        self.at = (self.at + LENGTH_LEN + len).min(self.buffer.len());
    }

    /// Consumes and returns the frame of `len` content bytes that [`Decoder::peek`] showed: a copy
    /// of a small one, a share of the read buffer for a large one.
    pub fn take(&mut self, len: usize) -> Bytes {
        let start = self.at + LENGTH_LEN;
        if len < SHARE_FROM {
            let copy = self.buffer.get(start..start + len).map(Bytes::copy_from_slice);
            self.skip(len);
            return copy.unwrap_or_default();
        }
        let end = (start + len).min(self.buffer.len());
        let mut shared = self.buffer.split_to(end);
        self.at = 0;
        shared.advance(start.min(end));
        shared.freeze()
    }

    /// A copy of the next whole frames together, length fields included: as many as fit into `limit`
    /// bytes. Nothing is consumed. Many small messages share one allocation that way, and each keeps
    /// no more than `limit` bytes alive.
    #[cfg(feature = "net")]
    pub(crate) fn copy_run(&self, limit: usize) -> Bytes {
        let mut run = 0;
        for frame in self.whole_frames() {
            let next = run + LENGTH_LEN + frame.len();
            if next > limit {
                break;
            }
            run = next;
        }
        self.buffer.get(self.at..self.at + run).map(Bytes::copy_from_slice).unwrap_or_default()
    }

    /// The next whole frame's content; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.peek()? {
            None => Ok(None),
            Some(frame) => {
                let len = frame.len();
                Ok(Some(self.take(len)))
            }
        }
    }

    /// Whether bytes of an unfinished frame are waiting.
    pub fn is_partial(&self) -> bool {
        self.buffer.len() > self.at
    }

    /// Says whether the stream may end here: an error when it would end inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let need = rest
            .first_chunk::<LENGTH_LEN>()
            .and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok())
            .map_or(LENGTH_LEN, |length| LENGTH_LEN.saturating_add(length));
        Err(FrameError::Truncated { have: rest.len(), need })
    }

    fn compact(&mut self) {
        if self.at > 0 {
            self.buffer.advance(self.at);
            self.at = 0;
        }
    }
}

/// The length field of a frame with `len` content bytes; `None` over 4 GiB.
pub fn length_field(len: usize) -> Option<[u8; LENGTH_LEN]> {
    u32::try_from(len).ok().map(u32::to_be_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// W-1, W-2
        #[test]
        fn any_split_gives_the_same_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6),
            cuts in prop::collection::vec(1usize..5000, 1..20),
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend_from_slice(&length_field(frame.len()).unwrap());
                stream.extend_from_slice(frame);
            }
            let mut decoder = Decoder::new(MAX_FRAME);
            let mut got: Vec<Vec<u8>> = Vec::new();
            let (mut rest, mut cut) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let n = rest.len().min(*cut.next().unwrap());
                decoder.room().extend_from_slice(&rest[..n]);
                decoder.filled(n);
                rest = &rest[n..];
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(!decoder.is_partial());
            prop_assert!(decoder.finish().is_ok());
        }
    }

    /// W-3
    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_reserved() {
        let mut decoder = Decoder::new(1000);
        decoder.push(&u32::MAX.to_be_bytes());
        assert_eq!(
            decoder.next_frame(),
            Err(FrameError::TooLarge { length: u64::from(u32::MAX), limit: 1000 })
        );
        assert!(decoder.buffer.capacity() < 10_000);
    }

    #[test]
    fn an_idle_buffer_shrinks_again() {
        let mut decoder = Decoder::new(MAX_FRAME);
        for _ in 0..20 {
            let n = {
                let room = decoder.room();
                let n = room.capacity() - room.len();
                let mut frame = length_field(n - 4).unwrap().to_vec();
                frame.resize(n, 0);
                room.extend_from_slice(&frame);
                n
            };
            decoder.filled(n);
            while decoder.next_frame().unwrap().is_some() {}
        }
        assert!(decoder.room().capacity() >= MAX_READ / 2);
        for _ in 0..200 {
            decoder.room().extend_from_slice(&[0, 0, 0, 0]);
            decoder.filled(4);
            assert!(decoder.next_frame().unwrap().is_some());
        }
        assert!(decoder.room().capacity() <= 4 * MIN_READ);
    }

    #[test]
    fn a_buffer_at_rest_is_given_back() {
        let mut decoder = Decoder::new(MAX_FRAME);
        decoder.push(&[0; 100_000]);
        while decoder.next_frame().unwrap().is_some() {}
        assert!(decoder.has_spare());
        decoder.push(&[0, 0, 0]);
        decoder.rest();
        assert!(decoder.is_partial(), "what waits is kept");
        decoder.push(&[0]);
        assert!(decoder.next_frame().unwrap().is_some());
        decoder.rest();
        assert!(!decoder.has_spare());
    }

    /// W-4
    #[test]
    fn the_end_inside_a_frame_is_told() {
        let mut decoder = Decoder::new(MAX_FRAME);
        decoder.push(&[0, 0, 0, 9, 1]);
        assert_eq!(decoder.finish(), Err(FrameError::Truncated { have: 5, need: 13 }));
    }
}
