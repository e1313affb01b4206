//! Messages: `msgpack([type, sender, time, *payload])` behind their digest (`spec/02-wire.md`, W-13
//! to W-22).

use std::cell::RefCell;

use bytes::Bytes;
use rmp::Marker;

use super::body;
use super::codes::{code, kind};
use super::frame::DIGEST_LEN;
use super::seal::{self, Envelope, Purpose, SEAL_LEN, SealError};
use super::value::{self, Limits, Pack, Payload, Value, ValueError};
use crate::identity::{KeyPair, MessageId};

/// Which msgpack type carries a text: 0.7's implementations disagree, and some of them only find a
/// node under the form in which they first saw its id.
// As wide as its neighbours in a header: headers are copied often, and a single byte among words
// makes each copy wait for the bytes around it.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A msgpack str, as js2p and peernet send it.
    Str,
    /// A msgpack bin, as py2p sends it.
    Bin,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// No msgpack at all.
    #[error("not msgpack: {0}")]
    Unreadable(&'static str),
    /// Not an array of at least three elements.
    #[error("not a message: {0}")]
    NotAMessage(&'static str),
    /// The type, sender or time has a form that peernet does not take.
    #[error("the message's {0}")]
    Header(&'static str),
    /// The payload does not read.
    #[error("payload: {0}")]
    Payload(#[from] ValueError),
    /// It is not by the author that it names.
    #[error("seal: {0}")]
    Seal(#[from] SealError),
}

impl MessageError {
    /// Whether py2p and js2p both hang up on these bytes. Such bytes end the link they came on; what
    /// one of them lets pass is dropped, because an honest neighbour may have relayed it.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Unreadable(_) => true,
            // 0.7 knows no seals.
            Self::NotAMessage(_) | Self::Header(_) | Self::Seal(_) => false,
            Self::Payload(error) => error.is_malformed(),
        }
    }
}

/// Where the parts of a message stand in its body, and its small parts themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type, element 0 ([`super::codes::kind`]).
    pub kind: u64,
    /// The form of the sender's id.
    pub sender_form: Form,
    /// The stamp, by the author's clock: seconds since 1970 UTC, in `tls` subnets microseconds.
    pub time: i64,
    /// The number of payload elements.
    pub count: u32,
    // Half as wide as places could be, because headers are copied often.
    sender_at: u32,
    sender_len: u32,
    payload_at: u32,
}

impl Header {
    /// Reads the header of an uncompressed body (digest first), without touching the payload.
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader { bytes: body, at: DIGEST_LEN };
        let elements = reader.array_len()?;
        let count = elements.checked_sub(3).ok_or(MessageError::NotAMessage("fewer than three elements"))?;
        let kind = u64::try_from(reader.integer("type is not an integer")?)
            .map_err(|_| MessageError::Header("type is negative"))?;
        let (sender_form, sender_len) = reader.text("sender is neither text nor bytes")?;
        let sender_at = reader.at;
        reader.skip(sender_len)?;
        let time = i64::try_from(reader.integer("time is not an integer")?)
            .map_err(|_| MessageError::Header("time is out of range"))?;
        let parts = [count, sender_at, sender_len, reader.at];
        Self::of(kind, sender_form, time, parts).ok_or(MessageError::Header("sender is too long"))
    }

    /// `None` if one of its parts, the count and the places, does not fit.
    fn of(kind: u64, sender_form: Form, time: i64, parts: [usize; 4]) -> Option<Self> {
        let narrow = |n: usize| u32::try_from(n).ok();
        let [count, sender_at, sender_len, payload_at] = parts.map(narrow);
        let (sender_at, sender_len, payload_at) = (sender_at?, sender_len?, payload_at?);
        Some(Self { kind, sender_form, time, count: count?, sender_at, sender_len, payload_at })
    }

    fn payload_at(&self) -> usize {
        self.payload_at as usize
    }

    /// The packed payload elements of a body with this header and without a seal.
    pub(crate) fn packed<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.payload_at()..).unwrap_or_default()
    }

    /// The first payload element of a body with this header if it is an integer: the code.
    pub(super) fn code(&self, body: &[u8]) -> Option<u64> {
        let mut reader = Reader { bytes: body, at: self.payload_at() };
        reader.integer("").ok().and_then(|code| u64::try_from(code).ok())
    }

    /// The author's id in a body with this header.
    pub(crate) fn sender<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        let start = self.sender_at as usize;
        body.get(start..start + self.sender_len as usize).unwrap_or_default()
    }
}

/// The most bytes that the array's head, type, sender's head, time and code take.
const HEADER_MAX: usize = 5 + 9 + 5 + 9 + 9;

/// Messages up to this size are packed in a buffer that their thread keeps.
const SCRATCH: usize = 4 << 10;

/// One message: its verified body, and where its parts are. The payload stays packed until asked for.
/// One that is sealed ([`Message::is_sealed`]) is by the author it names.
///
/// ```
/// use peernet::wire::{Form, Limits, Message, Value};
///
/// let message = Message::pack(0, "6URV", Form::Str, 1_479_600_000, 0, &("hello", 5))?;
/// assert_eq!(message.sender(), b"6URV");
/// assert_eq!(message.values(&Limits::default())?, [Value::Int(0), "hello".into(), 5.into()]);
/// # Ok::<(), peernet::wire::ValueError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    body: Bytes,
    header: Header,
    /// Where the payload ends, and the seal begins if there is one.
    end: usize,
}

impl Message {
    /// Packs a message whose payload is `code` followed by `payload`, and hashes it.
    /// Fails when a value has no msgpack form ([`ValueError`] says which).
    pub fn pack(
        kind: u64,
        sender: &str,
        form: Form,
        time: i64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<Self, ValueError> {
        let size = payload.size_hint();
        Self::build(kind, sender.as_bytes(), form, time, (payload.count() + 1, size), |out| {
            code.pack(out)?;
            payload.pack_all(out)
        })
    }

    /// Packs a message with exactly this payload, codes included.
    pub fn pack_raw(
        kind: u64,
        sender: &[u8],
        form: Form,
        time: i64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<Self, ValueError> {
        let (count, size) = (payload.count(), payload.size_hint());
        // Only text can be a str.
        let form = if std::str::from_utf8(sender).is_ok() { form } else { Form::Bin };
        Self::build(kind, sender, form, time, (count, size), |out| payload.pack_all(out))
    }

    /// Packs the body of a whisper that goes without a digest, as entries of tables do
    /// (`spec/10-sync.md`, S-75). Fails as [`Message::pack`].
    pub(crate) fn pack_unhashed(
        sender: &str,
        time: i64,
        code: u64,
        payload: &impl Payload,
    ) -> Result<Bytes, ValueError> {
        let sender = sender.as_bytes();
        let mut out = Vec::with_capacity(DIGEST_LEN + HEADER_MAX + sender.len() + payload.size_hint());
        let count = payload.count() + 1;
        Self::write(&mut out, kind::WHISPER, sender, Form::Str, time, count, |out| {
            code.pack(out)?;
            payload.pack_all(out)
        })?;
        Ok(out.into())
    }

    /// The same message with its author's seal behind it; only the author has the `keys` for it.
    pub fn sealed(&self, keys: &KeyPair) -> Self {
        let body = seal::seal(Purpose::Broadcast, self.unsealed(), keys);
        Self { body, header: self.header, end: self.end }
    }

    /// The same message as a note: with a seal of its author's that is good for nothing else.
    pub fn noted(&self, keys: &KeyPair) -> Self {
        let body = seal::seal(Purpose::Note, self.unsealed(), keys);
        Self { body, header: self.header, end: self.end }
    }

    /// The same message under another stamp, and so with another id, and without a seal.
    pub fn with_time(&self, time: i64) -> Result<Self, ValueError> {
        let Header { kind, sender_form, count, .. } = self.header;
        let packed = self.packed();
        Self::build(kind, self.sender(), sender_form, time, (count as usize, packed.len()), |out| {
            out.extend_from_slice(packed);
            Ok(())
        })
    }

    fn build(
        kind: u64,
        sender: &[u8],
        form: Form,
        time: i64,
        (count, size): (usize, usize),
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
    ) -> Result<Self, ValueError> {
        let need = DIGEST_LEN + HEADER_MAX + sender.len() + size;
        if need > SCRATCH {
            let mut out = Vec::with_capacity(need);
            let header = Self::write(&mut out, kind, sender, form, time, count, payload)?;
            body::put_digest(&mut out);
            return Ok(Self::whole(out.into(), header));
        }
        // Packed where there is room already, and copied once its length is known: one allocation of
        // the right size costs less than one that is too large and what `Bytes` needs to keep it.
        thread_local!(static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        OUT.with_borrow_mut(|out| {
            out.clear();
            let header = Self::write(out, kind, sender, form, time, count, payload)?;
            body::put_digest(out);
            Ok(Self::whole(Bytes::copy_from_slice(out), header))
        })
    }

    /// Without a seal.
    fn whole(body: Bytes, header: Header) -> Self {
        let end = body.len();
        Self { body, header, end }
    }

    /// Writes a whole body but for its digest, which stays zero.
    fn write(
        out: &mut Vec<u8>,
        kind: u64,
        sender: &[u8],
        form: Form,
        time: i64,
        count: usize,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
    ) -> Result<Header, ValueError> {
        out.resize(DIGEST_LEN, 0);
        let elements =
            u32::try_from(count + 3).map_err(|_| ValueError::TooMany { at: 0, max: u32::MAX as usize })?;
        // Writing into a Vec cannot fail.
        let _ = rmp::encode::write_array_len(out, elements);
        kind.pack(out)?;
        match form {
            Form::Bin => sender.pack(out)?,
            Form::Str => {
                let len = u32::try_from(sender.len())
                    .map_err(|_| ValueError::TooMany { at: 0, max: u32::MAX as usize })?;
                let _ = rmp::encode::write_str_len(out, len);
                out.extend_from_slice(sender);
            }
        }
        let sender_at = out.len() - sender.len();
        time.pack(out)?;
        let payload_at = out.len();
        payload(out)?;
        let parts = [count, sender_at, sender.len(), payload_at];
        Header::of(kind, form, time, parts).ok_or(ValueError::TooMany { at: 0, max: u32::MAX as usize })
    }

    /// As [`Envelope::read`], where there are no seals.
    pub fn read(body: Bytes, limits: &Limits) -> Result<Self, MessageError> {
        Envelope::Plain.read(body, limits)
    }

    /// Checks the sender, and the payload up to `end`, for which the header leaves room.
    fn check(header: &Header, body: &[u8], end: usize, limits: &Limits) -> Result<(), MessageError> {
        if header.sender_form == Form::Str && std::str::from_utf8(header.sender(body)).is_err() {
            return Err(ValueError::InvalidUtf8 { at: header.sender_at as usize }.into());
        }
        let packed = body.get(header.payload_at()..end).unwrap_or_default();
        Ok(value::validate(packed, header.count as usize, limits)?)
    }

    /// The uncompressed body, digest first and the seal, if any, last: the bytes that are relayed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The uncompressed body alone.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The id: the SHA-256 digest that the body carries. Entries of tables may have none, but zeros.
    pub fn id(&self) -> MessageId {
        MessageId::from_digest(self.body.first_chunk().copied().unwrap_or_default())
    }

    /// Whether it carries its author's seal. What [`Envelope::read`] gave is sealed only if the seal has
    /// been verified.
    pub fn is_sealed(&self) -> bool {
        self.end < self.body.len()
    }

    /// The body without the seal.
    fn unsealed(&self) -> &[u8] {
        self.body.get(..self.end).unwrap_or_default()
    }

    /// The author's node id as bytes, whatever the form.
    pub fn sender(&self) -> &[u8] {
        self.header.sender(&self.body)
    }

    /// The packed payload elements, one after the other, without an array header.
    pub fn packed(&self) -> &[u8] {
        self.header.packed(self.unsealed())
    }

    /// The first payload element if it is an integer: the code.
    pub fn code(&self) -> Option<u64> {
        self.header.code(self.unsealed())
    }

    /// Whether it brings entries of a table, or acknowledges some.
    pub(crate) fn is_entries(&self) -> bool {
        self.header.kind == kind::WHISPER && self.code() == Some(code::ENTRIES)
    }

    /// Where the second payload element begins: the user's part, behind the code.
    pub fn after_code(&self) -> &[u8] {
        let mut reader = Reader { bytes: self.unsealed(), at: self.header.payload_at() };
        match reader.integer("") {
            Ok(_) => self.unsealed().get(reader.at..).unwrap_or_default(),
            Err(_) => &[],
        }
    }

    /// The bytes of the one payload element behind the code, if there is just one and it is text or
    /// bytes. Copies nothing.
    pub fn only_bytes(&self) -> Option<&[u8]> {
        let mut reader = Reader { bytes: self.unsealed(), at: self.header.payload_at() };
        reader.integer("").ok()?;
        let (_, len) = reader.text("").ok()?;
        let only = reader.at + len == self.end;
        self.unsealed().get(reader.at..).filter(|_| only)
    }

    /// The first elements of the payload, if there are as many and all are integers that are not negative.
    pub fn integers<const N: usize>(&self) -> Option<[u64; N]> {
        let mut reader = Reader { bytes: self.unsealed(), at: self.header.payload_at() };
        let mut integers = [0; N];
        for integer in &mut integers {
            *integer = u64::try_from(reader.integer("").ok()?).ok()?;
        }
        (self.header.count as usize >= N).then_some(integers)
    }

    /// Unpacks the payload, code included.
    pub fn values(&self, limits: &Limits) -> Result<Vec<Value>, ValueError> {
        value::unpack(self.packed(), self.header.count as usize, limits)
    }
}

impl Envelope {
    /// Reads a message from a body whose digest has been verified ([`Envelope::open`]): the header,
    /// that the whole payload is well-formed and within `limits`, and last, because it costs most, the
    /// seal of a broadcast.
    pub fn read(&self, body: Bytes, limits: &Limits) -> Result<Message, MessageError> {
        let header = Header::read(&body)?;
        let end = self.check(&header, &body, limits)?;
        Ok(Message { body, header, end })
    }

    /// As [`Envelope::read`], where the header has been read from the same bytes already. The message
    /// is made where it is to stay: copied while it is still being written, it would cost more.
    #[cfg(feature = "net")]
    pub(crate) fn read_behind(
        &self,
        header: &Header,
        body: Bytes,
        limits: &Limits,
        messages: &mut Vec<Message>,
    ) -> Result<(), MessageError> {
        let end = self.check(header, &body, limits)?;
        messages.push(Message { body, header: *header, end });
        Ok(())
    }

    /// Reads a note: a message that is no broadcast and travels inside another, with the seal of its author
    /// behind it where authors sign. The digest is checked too.
    pub fn read_note(&self, body: Bytes, limits: &Limits) -> Result<Message, MessageError> {
        let end = match self {
            Self::Plain | Self::Unsigned => body.len(),
            Self::Sealed(_) => body.len().checked_sub(SEAL_LEN).ok_or(SHORT)?,
        };
        if !body::is_plain(body.get(..end).unwrap_or_default()) {
            return Err(MessageError::Unreadable("the checksum does not match"));
        }
        let header = Header::read(&body)?;
        if header.kind != kind::WHISPER || header.payload_at() > end {
            return Err(MessageError::NotAMessage("a note is a whisper"));
        }
        Message::check(&header, &body, end, limits)?;
        if let Self::Sealed(protocol) = self {
            seal::check(Purpose::Note, &body, header.sender(&body), protocol)?;
        }
        Ok(Message { body, header, end })
    }

    /// Whether a broadcast that another message brought is what its author made: its digest, and its seal
    /// where there is to be one. `header` is that of `body`.
    pub(crate) fn verify(&self, header: &Header, body: &[u8]) -> Result<(), MessageError> {
        if !self.without_seal(body).is_some_and(body::is_plain) {
            return Err(MessageError::Unreadable("the checksum does not match"));
        }
        match self {
            Self::Plain | Self::Unsigned => Ok(()),
            Self::Sealed(protocol) => {
                Ok(seal::check(Purpose::Broadcast, body, header.sender(body), protocol)?)
            }
        }
    }

    /// Whether a whole body is a broadcast as its author made it: its digest, and its seal where there is to
    /// be one.
    pub fn is_genuine(&self, body: &[u8]) -> bool {
        let is_broadcast = |header: &Header| header.kind == kind::BROADCAST;
        let header = Header::read(body).ok().filter(is_broadcast);
        header.is_some_and(|header| self.verify(&header, body).is_ok())
    }

    /// Where the payload ends.
    fn check(&self, header: &Header, body: &[u8], limits: &Limits) -> Result<usize, MessageError> {
        match self {
            Self::Sealed(protocol) if header.kind == kind::BROADCAST => {
                let end = body.len().checked_sub(SEAL_LEN).filter(|end| header.payload_at() <= *end);
                let end = end.ok_or(SHORT)?;
                Message::check(header, body, end, limits)?;
                seal::check(Purpose::Broadcast, body, header.sender(body), protocol)?;
                Ok(end)
            }
            _ => Message::check(header, body, body.len(), limits).map(|()| body.len()),
        }
    }
}

/// Reads the few msgpack forms a header has. By hand, because it runs for every frame, duplicates
/// included, and must neither allocate nor copy.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

const SHORT: MessageError = MessageError::Unreadable("it ends inside its header");

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(SHORT)?;
        self.at += N;
        Ok(*taken)
    }

    fn skip(&mut self, n: usize) -> Result<(), MessageError> {
        self.at = self.at.checked_add(n).filter(|at| *at <= self.bytes.len()).ok_or(SHORT)?;
        Ok(())
    }

    fn marker(&mut self) -> Result<Marker, MessageError> {
        self.take::<1>().map(|[byte]| Marker::from_u8(byte))
    }

    fn sized<const N: usize>(&mut self) -> Result<usize, MessageError> {
        let bytes = self.take::<N>()?;
        let wide = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(wide).map_err(|_| SHORT)
    }

    fn array_len(&mut self) -> Result<usize, MessageError> {
        match self.marker()? {
            Marker::FixArray(n) => Ok(n.into()),
            Marker::Array16 => self.sized::<2>(),
            Marker::Array32 => self.sized::<4>(),
            Marker::Reserved => Err(MessageError::Unreadable("the reserved byte 0xc1")),
            _ => Err(MessageError::NotAMessage("not an array")),
        }
    }

    fn integer(&mut self, otherwise: &'static str) -> Result<i128, MessageError> {
        Ok(match self.marker()? {
            Marker::FixPos(n) => n.into(),
            Marker::FixNeg(n) => n.into(),
            Marker::U8 => u8::from_be_bytes(self.take()?).into(),
            Marker::U16 => u16::from_be_bytes(self.take()?).into(),
            Marker::U32 => u32::from_be_bytes(self.take()?).into(),
            Marker::U64 => u64::from_be_bytes(self.take()?).into(),
            Marker::I8 => i8::from_be_bytes(self.take()?).into(),
            Marker::I16 => i16::from_be_bytes(self.take()?).into(),
            Marker::I32 => i32::from_be_bytes(self.take()?).into(),
            Marker::I64 => i64::from_be_bytes(self.take()?).into(),
            Marker::Reserved => return Err(MessageError::Unreadable("the reserved byte 0xc1")),
            _ => return Err(MessageError::Header(otherwise)),
        })
    }

    fn text(&mut self, otherwise: &'static str) -> Result<(Form, usize), MessageError> {
        Ok(match self.marker()? {
            Marker::FixStr(n) => (Form::Str, n.into()),
            Marker::Str8 => (Form::Str, self.sized::<1>()?),
            Marker::Str16 => (Form::Str, self.sized::<2>()?),
            Marker::Str32 => (Form::Str, self.sized::<4>()?),
            Marker::Bin8 => (Form::Bin, self.sized::<1>()?),
            Marker::Bin16 => (Form::Bin, self.sized::<2>()?),
            Marker::Bin32 => (Form::Bin, self.sized::<4>()?),
            Marker::Reserved => return Err(MessageError::Unreadable("the reserved byte 0xc1")),
            _ => return Err(MessageError::Header(otherwise)),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{body::digest, open};

    /// Reads `packed` as a frame would bring it.
    fn read(packed: &[u8]) -> Result<Message, MessageError> {
        let body = [&digest(packed)[..], packed].concat();
        Message::read(open(body.into(), &[], 1 << 20).unwrap(), &Limits::default())
    }

    /// W-20
    #[test]
    fn what_nobody_can_read_is_malformed() {
        for packed in [
            &b""[..],
            b"\xdc\x00",
            b"\x93",
            b"\x93\x00",
            b"\x93\x00\xa1a",
            b"\x93\x00\xa2a\x05",
            b"\x94\x00\xa1a\x05",
            b"\x94\x00\xa1a\x05\xa2a",
            b"\x94\x00\xa1a\x05\xc1",
            b"\xc1",
            b"\x93\xc1\xa1a\x05",
            b"\x93\x00\xc1\x05",
            b"\x93\x00\xa1a\xc1",
            b"\xdd\xff\xff\xff\xff\x00\xa1a\x05",
        ] {
            let error = read(packed).unwrap_err();
            assert!(error.is_malformed(), "{packed:02x?}: {error}");
        }
    }

    /// W-13, W-17, W-18, W-19, W-21
    #[test]
    fn what_someone_lets_pass_is_not_malformed() {
        for packed in [
            &b"\xc0"[..],
            b"\xa3abc",
            b"\x83\x00\x01\x02\x03\x04\x05",
            b"\x90",
            b"\x92\x00\xa1a",
            b"\x93\xff\xa1a\x05",
            b"\x93\xca\x00\x00\x00\x00\xa1a\x05",
            b"\x93\xc0\xa1a\x05",
            b"\x93\x00\xc0\x05",
            b"\x93\x00\x05\x05",
            b"\x93\x00\xa1a\xc0",
            b"\x93\x00\xa1a\xcb\x41\xd6\x0c\x39\xe0\x00\x00\x00",
            b"\x93\x00\xa1a\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
            b"\x93\x00\xa1\xff\x05",
            b"\x93\x00\xa1a\x05\x00",
            b"\x94\x00\xa1a\x05\xa1\xff",
            b"\x94\x00\xa1a\x05\xd4\x01\x00",
            // What stands behind such a fault is not looked at.
            b"\xa3\xc1",
            b"\x92\xc1",
            b"\x93\xc0\xc1",
            b"\x93\x00\xc0",
            b"\x93\x00\xa1\xff\xc0",
        ] {
            let error = read(packed).unwrap_err();
            assert!(!error.is_malformed(), "{packed:02x?}: {error}");
        }
    }

    /// W-14, W-15, W-17, W-18, W-22
    #[test]
    fn headers_in_any_form_are_read() {
        for (packed, kind, sender_form, time, code) in [
            (&b"\x93\x00\xa1a\x05"[..], 0, Form::Str, 5, None),
            (b"\x94\x02\xc4\x01a\xff\x07", 2, Form::Bin, -1, Some(7)),
            (b"\xdc\x00\x04\xcc\x01\xd9\x01a\xd3\x00\x00\x00\x00\x00\x00\x00\x05\xcd\x00\x31", 1, Form::Str, 5, Some(0x31)),
            (b"\xdd\x00\x00\x00\x04\xd0\x09\xda\x00\x01a\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 9, Form::Str, i64::MAX, None),
            (b"\x94\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc6\x00\x00\x00\x01a\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xa0", u64::MAX, Form::Bin, i64::MIN, None),
        ] {
            let message = read(packed).unwrap();
            let header = *message.header();
            assert_eq!((header.kind, header.sender_form, header.time), (kind, sender_form, time));
            assert_eq!((message.code(), message.sender()), (code, &b"a"[..]), "{packed:02x?}");
            assert_eq!(message.body()[DIGEST_LEN..], *packed);
        }
    }
}
