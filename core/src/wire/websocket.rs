//! WebSocket framing (RFC 6455, section 5) as a layer over the stream of frames: `spec/08-transports.md`,
//! X-20 to X-27. Bytes in, bytes out; nothing is collected, so a message may announce what it likes.
//!
//! To keep the words apart: a *part* here is what RFC 6455 calls a frame, because a frame is already
//! `u32 length | bytes` ([`Decoder`](super::Decoder)). Each frame travels in one binary message, which
//! is one part, or several if it is large.

use super::LENGTH_LEN;

/// Most bytes of content in one part that is sent. js2p's WebSocket hangs up when more than 2 MiB
/// wait for the rest of a part.
pub const MAX_PART: usize = 1 << 20;
/// Most bytes that a ping, a pong or a close may carry (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// Longest head of a part: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// The kinds of part.
mod opcode {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

/// Set in the first byte of the last part of a message.
const FINAL: u8 = 0x80;
/// Set in the second byte of a part that is masked.
const MASKED: u8 = 0x80;

/// Codes that say why a connection is closed (RFC 6455, 7.4.1).
pub mod close_code {
    /// All that was to be said is said.
    pub const NORMAL: u16 = 1000;
    /// The other side broke the rules of RFC 6455.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of message that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// A message that is too large.
    pub const TOO_LARGE: u16 = 1009;
}

/// Which side of the connection this is. The client is the one that dialled; it masks what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Dialled.
    Client,
    /// Accepted.
    Server,
}

/// Why the other side's bytes are refused. Nothing behind one of these can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Bits or kinds of part that only an extension would give a meaning.
    #[error("a WebSocket part of unknown kind ({0:#04x}); no extension was agreed on")]
    Unknown(u8),
    /// A text message.
    #[error("a text message; frames go in binary messages")]
    Text,
    /// A client that does not mask, or a server that does.
    #[error("the dialling side must mask what it sends, and the other must not")]
    Mask,
    /// A continuation of nothing, or a new message inside another.
    #[error("the parts of a message are out of order")]
    Order,
    /// A ping, pong or close that is split or too long, or a close with half a code.
    #[error("a malformed ping, pong or close")]
    Control,
    /// A length that is not in its shortest form, or beyond 2^63.
    #[error("a malformed length")]
    Length,
    /// More than any frame may have.
    #[error("{length} bytes are announced, over the limit of {limit}")]
    TooLarge {
        /// What is announced.
        length: u64,
        /// The bound in force.
        limit: u64,
    },
}

impl Violation {
    /// The code to close with.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Text => close_code::UNSUPPORTED,
            Self::TooLarge { .. } => close_code::TOO_LARGE,
            _ => close_code::PROTOCOL,
        }
    }
}

/// How the incoming stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The other side said that it is done.
    Closed,
    /// The other side broke a rule.
    Refused(Violation),
}

/// Takes the content of binary messages out of what arrives.
///
/// ```
/// use peernet::wire::websocket::{Framer, Role, Unframer};
///
/// let frame = [0, 0, 0, 2, b'h', b'i'];
/// let mut wire = Vec::new();
/// Framer::new(Role::Client).put(&frame, &mut wire, 100);
///
/// let mut unframer = Unframer::new(Role::Server, 1024);
/// let kept = unframer.take(&mut wire);
/// assert_eq!(wire[..kept], frame);
/// ```
#[derive(Debug)]
pub struct Unframer {
    role: Role,
    limit: u64,
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The part whose content is being read.
    part: Option<Part>,
    /// A message has begun and its last part has not.
    in_message: bool,
    control: Vec<u8>,
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    opcode: u8,
    left: u64,
    mask: Option<Mask>,
}

impl Unframer {
    /// For one side of a connection. A part of more than `limit` bytes is refused when it is announced;
    /// what frames hold is bounded behind this, by the [`Decoder`](super::Decoder).
    pub fn new(role: Role, limit: usize) -> Self {
        Self {
            role,
            limit: limit.try_into().unwrap_or(u64::MAX),
            head: [0; MAX_HEAD],
            head_len: 0,
            part: None,
            in_message: false,
            control: Vec::new(),
            ping: None,
            end: None,
        }
    }

    /// Reads what arrived, moves the content of binary messages to its front, and returns how much
    /// that is. Nothing behind the [end](Unframer::end) is read.
    pub fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.end.is_none() {
            let Some(part) = &mut self.part else {
                let Some(byte) = bytes.get(at) else { break };
                at += 1;
                if let Err(violation) = self.take_head(*byte) {
                    self.end = Some(End::Refused(violation));
                }
                continue;
            };
            let there = bytes.len() - at;
            let len = usize::try_from(part.left).map_or(there, |left| left.min(there));
            let content = at..at + len;
            if let (Some(mask), Some(masked)) = (&mut part.mask, bytes.get_mut(content.clone())) {
                mask.apply(masked);
            }
            part.left -= len as u64;
            if part.opcode < opcode::CLOSE {
                bytes.copy_within(content, kept);
                kept += len;
            } else {
                self.control.extend_from_slice(bytes.get(content).unwrap_or_default());
            }
            at += len;
            self.finish_part();
        }
        kept
    }

    /// One byte of a part's head.
    fn take_head(&mut self, byte: u8) -> Result<(), Violation> {
        if let Some(slot) = self.head.get_mut(self.head_len) {
            *slot = byte;
            self.head_len += 1;
        }
        let [first, second, rest @ ..] = &self.head;
        if self.head_len == 2 {
            self.check_kind(*first, *second)?;
        }
        let extra = match second & !MASKED {
            127 => 8,
            126 => 2,
            _ => 0,
        };
        let masked = second & MASKED != 0;
        if self.head_len < 2 + extra + if masked { 4 } else { 0 } {
            return Ok(());
        }
        let length = match extra {
            0 => u64::from(second & !MASKED),
            _ => rest.iter().take(extra).fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let shortest = match extra {
            0 => 0,
            2 => 126,
            _ => 1 << 16,
        };
        if length < shortest || length >> 63 != 0 {
            return Err(Violation::Length);
        }
        if length > self.limit {
            return Err(Violation::TooLarge { length, limit: self.limit });
        }
        let mask = rest.get(extra..).and_then(|rest| rest.first_chunk()).filter(|_| masked);
        self.part = Some(Part { opcode: first & 0x0f, left: length, mask: mask.copied().map(Mask::new) });
        if first & 0x0f < opcode::CLOSE {
            self.in_message = first & FINAL == 0;
        }
        self.head_len = 0;
        self.finish_part();
        Ok(())
    }

    /// What the first two bytes of a part may be.
    fn check_kind(&self, first: u8, second: u8) -> Result<(), Violation> {
        let (kind, last) = (first & 0x0f, first & FINAL != 0);
        if first & 0x70 != 0 {
            return Err(Violation::Unknown(first));
        }
        if (second & MASKED != 0) != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        match kind {
            opcode::CONTINUATION if !self.in_message => Err(Violation::Order),
            opcode::BINARY if self.in_message => Err(Violation::Order),
            opcode::CONTINUATION | opcode::BINARY => Ok(()),
            opcode::TEXT => Err(Violation::Text),
            opcode::CLOSE | opcode::PING | opcode::PONG => {
                let length = usize::from(second & !MASKED);
                let half_a_code = kind == opcode::CLOSE && length == 1;
                if last && length <= MAX_CONTROL && !half_a_code { Ok(()) } else { Err(Violation::Control) }
            }
            _ => Err(Violation::Unknown(first)),
        }
    }

    fn finish_part(&mut self) {
        let Some(Part { opcode, left: 0, .. }) = self.part else { return };
        self.part = None;
        match opcode {
            opcode::CLOSE => self.end = Some(End::Closed),
            opcode::PING => self.ping = Some(std::mem::take(&mut self.control)),
            _ => {}
        }
        self.control.clear();
    }

    /// What the last ping carried that has not been asked for, to be sent back as a pong. Earlier ones
    /// need no answer (RFC 6455, 5.5.3).
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Whether and how the stream ended.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}

/// Puts each frame of a stream into one binary message.
///
/// The stream may come in any pieces: a message begins when a frame's length field is there.
#[derive(Debug)]
pub struct Framer {
    role: Role,
    /// What there is of a length field that is not yet whole.
    length: [u8; LENGTH_LEN],
    length_len: usize,
    /// Bytes of the frame that are not yet put into a part.
    frame_left: u64,
    /// Bytes of the part that were announced and have not come.
    part_left: usize,
    mask: Option<Mask>,
}

impl Framer {
    /// For one side of a connection.
    pub fn new(role: Role) -> Self {
        Self { role, length: [0; LENGTH_LEN], length_len: 0, frame_left: 0, part_left: 0, mask: None }
    }

    /// Appends what `input` becomes to `out`, until that has about `limit` bytes (a few more for
    /// heads); returns how much of `input` was used.
    pub fn put(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> usize {
        let mut rest = input;
        while let Some((first, behind)) = rest.split_first()
            && out.len() < limit
        {
            if self.part_left > 0 {
                let len = self.part_left.min(rest.len()).min(limit - out.len());
                let (now, later) = rest.split_at(len);
                self.content(now, out);
                self.part_left -= len;
                rest = later;
            } else if self.frame_left > 0 {
                self.begin_part(opcode::CONTINUATION, 0, out);
            } else {
                if let Some(slot) = self.length.get_mut(self.length_len) {
                    *slot = *first;
                    self.length_len += 1;
                }
                rest = behind;
                if self.length_len == LENGTH_LEN {
                    self.length_len = 0;
                    self.frame_left = u64::from(u32::from_be_bytes(self.length));
                    self.begin_part(opcode::BINARY, LENGTH_LEN, out);
                    let length = self.length;
                    self.content(&length, out);
                }
            }
        }
        input.len() - rest.len()
    }

    /// Announces the next part, of which `extra` bytes are not of what is left of the frame.
    fn begin_part(&mut self, kind: u8, extra: usize, out: &mut Vec<u8>) {
        let most = MAX_PART - extra;
        self.part_left = usize::try_from(self.frame_left).map_or(most, |left| left.min(most));
        self.frame_left -= self.part_left as u64;
        let last = if self.frame_left == 0 { FINAL } else { 0 };
        self.mask = head(self.role, last | kind, self.part_left + extra, out);
    }

    fn content(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(bytes);
        if let (Some(mask), Some(content)) = (&mut self.mask, out.get_mut(start..)) {
            mask.apply(content);
        }
    }

    /// Whether a ping, a pong or a close may be put here: not inside a part.
    pub fn is_between_parts(&self) -> bool {
        self.part_left == 0
    }

    /// Appends a pong.
    pub fn pong(&self, content: &[u8], out: &mut Vec<u8>) {
        self.control(opcode::PONG, content, out);
    }

    /// Appends a close. Nothing may follow it.
    pub fn close(&self, code: u16, reason: &str, out: &mut Vec<u8>) {
        let mut content = code.to_be_bytes().to_vec();
        content.extend_from_slice(reason.as_bytes());
        self.control(opcode::CLOSE, &content, out);
    }

    fn control(&self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let content = content.get(..MAX_CONTROL).unwrap_or(content);
        let mask = head(self.role, FINAL | kind, content.len(), out);
        let start = out.len();
        out.extend_from_slice(content);
        if let (Some(mut mask), Some(content)) = (mask, out.get_mut(start..)) {
            mask.apply(content);
        }
    }
}

/// Appends the head of a part; returns the mask for its content.
fn head(role: Role, first: u8, length: usize, out: &mut Vec<u8>) -> Option<Mask> {
    let masked = if role == Role::Client { MASKED } else { 0 };
    out.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => out.push(masked | short),
        (_, Ok(medium)) => {
            out.push(masked | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    (role == Role::Client).then(|| {
        // Not to be guessed by whoever chose the content (RFC 6455, 10.3).
        let key: [u8; 4] = rand::random();
        out.extend_from_slice(&key);
        Mask::new(key)
    })
}

/// A masking key and where in it the next byte is.
#[derive(Debug, Clone, Copy)]
struct Mask {
    key: [u8; 4],
}

impl Mask {
    fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks or unmasks the next bytes.
    fn apply(&mut self, bytes: &mut [u8]) {
        let mut words = bytes.chunks_exact_mut(4);
        for word in &mut words {
            for (byte, key) in word.iter_mut().zip(self.key) {
                *byte ^= key;
            }
        }
        let rest = words.into_remainder();
        for (byte, key) in rest.iter_mut().zip(self.key) {
            *byte ^= key;
        }
        self.key.rotate_left(rest.len());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 21;

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = u32::try_from(len).unwrap().to_be_bytes().to_vec();
        frame.extend((0..len).map(|n| n as u8));
        frame
    }

    fn other(role: Role) -> Role {
        match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }

    /// Feeds a stream in pieces of the given sizes.
    fn put_in_pieces(role: Role, stream: &[u8], pieces: &[usize], room: usize) -> Vec<u8> {
        let (mut framer, mut wire) = (Framer::new(role), Vec::new());
        let (mut rest, mut pieces) = (stream, pieces.iter().cycle());
        while !rest.is_empty() {
            let mut now = &rest[..rest.len().min(*pieces.next().unwrap())];
            rest = &rest[now.len()..];
            while !now.is_empty() {
                let mut out = Vec::new();
                let used = framer.put(now, &mut out, room);
                assert!(used > 0 && out.len() < room + MAX_HEAD + LENGTH_LEN);
                now = &now[used..];
                wire.extend(out);
            }
        }
        assert!(framer.is_between_parts());
        wire
    }

    /// The parts on the wire: first byte and length of content.
    fn parts(mut wire: &[u8]) -> Vec<(u8, usize)> {
        let mut parts = Vec::new();
        while let [first, second, rest @ ..] = wire {
            let (length, rest) = match second & 127 {
                126 => (usize::from(u16::from_be_bytes(*rest.first_chunk().unwrap())), &rest[2..]),
                127 => (u64::from_be_bytes(*rest.first_chunk().unwrap()) as usize, &rest[8..]),
                short => (usize::from(short), rest),
            };
            parts.push((*first, length));
            wire = &rest[length + if second & MASKED == 0 { 0 } else { 4 }..];
        }
        parts
    }

    proptest! {
        /// X-20, X-21, X-22
        #[test]
        fn any_split_gives_the_same_stream(
            lens in prop::collection::vec(prop_oneof![0usize..300, 65_500usize..65_600], 1..8),
            pieces in prop::collection::vec(1usize..5000, 1..20),
            cuts in prop::collection::vec(1usize..5000, 1..20),
            room in 1usize..10_000,
            client in any::<bool>(),
        ) {
            let role = if client { Role::Client } else { Role::Server };
            let frames: Vec<Vec<u8>> = lens.iter().map(|len| frame(*len)).collect();
            let stream = frames.concat();
            let wire = put_in_pieces(role, &stream, &pieces, room);
            let expected: Vec<_> = frames.iter().map(|frame| (0x82, frame.len())).collect();
            prop_assert_eq!(parts(&wire), expected);
            prop_assert!(!client || lens.iter().sum::<usize>() < 8 || !wire.ends_with(&stream[stream.len() - 8..]));

            let mut unframer = Unframer::new(other(role), LIMIT);
            let (mut rest, mut got, mut cuts) = (&wire[..], Vec::new(), cuts.iter().cycle());
            while !rest.is_empty() {
                let mut now = rest[..rest.len().min(*cuts.next().unwrap())].to_vec();
                rest = &rest[now.len()..];
                let kept = unframer.take(&mut now);
                got.extend_from_slice(&now[..kept]);
            }
            prop_assert_eq!(unframer.end(), None);
            prop_assert_eq!(got, stream);
        }
    }

    /// X-21
    #[test]
    fn large_frames_go_in_several_parts_of_one_message() {
        let frame = frame(2 * MAX_PART);
        let wire = put_in_pieces(Role::Server, &frame, &[frame.len()], 64 << 10);
        assert_eq!(parts(&wire), [(0x02, MAX_PART), (0x00, MAX_PART), (0x80, LENGTH_LEN)]);
    }

    fn refusal(wire: &[u8]) -> Violation {
        let mut unframer = Unframer::new(Role::Client, 1000);
        unframer.take(&mut wire.to_vec());
        match unframer.end() {
            Some(End::Refused(violation)) => violation.clone(),
            other => panic!("{wire:?} gives {other:?}"),
        }
    }

    /// X-23, X-24, X-25, X-26
    #[test]
    fn what_breaks_the_rules_is_refused() {
        let cases: &[(&[u8], Violation, u16)] = &[
            (&[0xc2, 0], Violation::Unknown(0xc2), 1002),
            (&[0x83, 0], Violation::Unknown(0x83), 1002),
            (&[0x8b, 0], Violation::Unknown(0x8b), 1002),
            (&[0x81, 1, b'x'], Violation::Text, 1003),
            (&[0x82, 0x80, 0, 0, 0, 0], Violation::Mask, 1002),
            (&[0x80, 0], Violation::Order, 1002),
            (&[0x02, 0, 0x82, 0], Violation::Order, 1002),
            (&[0x02, 0, 0x89, 0, 0x80, 0, 0x80, 0], Violation::Order, 1002),
            (&[0x09, 0], Violation::Control, 1002),
            (&[0x89, 126, 0, 126], Violation::Control, 1002),
            (&[0x88, 1, 3], Violation::Control, 1002),
            (&[0x82, 126, 0, 125], Violation::Length, 1002),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Violation::Length, 1002),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::Length, 1002),
            (&[0x82, 126, 3, 233], Violation::TooLarge { length: 1001, limit: 1000 }, 1009),
            (
                &[0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                Violation::TooLarge { length: u64::MAX >> 1, limit: 1000 },
                1009,
            ),
        ];
        for (wire, violation, code) in cases {
            assert_eq!(refusal(wire), *violation);
            assert_eq!(violation.close_code(), *code);
        }
        let mut server = Unframer::new(Role::Server, 1000);
        server.take(&mut [0x82, 0]);
        assert_eq!(server.end(), Some(&End::Refused(Violation::Mask)));
    }

    /// X-26
    #[test]
    fn pings_are_told_and_stand_between_parts() {
        let mut unframer = Unframer::new(Role::Client, 1000);
        let mut wire =
            [&[0x02, 2, 1, 2, 0x89, 3][..], b"one", &[0x8a, 0, 0x89, 3], b"two", &[0x80, 1, 3]].concat();
        let kept = unframer.take(&mut wire);
        assert_eq!(wire[..kept], [1, 2, 3]);
        assert_eq!(unframer.take_ping().as_deref(), Some(&b"two"[..]));
        assert_eq!(unframer.take_ping(), None);
        assert_eq!(unframer.end(), None);
    }

    /// X-27
    #[test]
    fn nothing_is_read_behind_a_close() {
        let mut wire = Vec::new();
        Framer::new(Role::Server).close(close_code::NORMAL, "", &mut wire);
        wire.extend([0x82, 1, 9]);
        let mut unframer = Unframer::new(Role::Client, 1000);
        assert_eq!(unframer.take(&mut wire), 0);
        assert_eq!(unframer.end(), Some(&End::Closed));
    }
}
