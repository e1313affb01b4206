//! Bytes to messages and back, and ids: no socket, no thread, and usable alone.

use std::ffi::c_char;
use std::ptr;

use node::ErrorCode;
use node::identity::{KeyPair, NodeId, ProtocolId, PublicKey};
use node::wire::compression::{compress_if_smaller, must_compress};
use node::wire::{Decoder, Envelope, Form, LENGTH_LEN, Limits, MAX_FRAME, Message, Method, base58, frame};
use peernet_bindings::Error;

use crate::args;
use crate::guard::{Does, guard};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// A sender that is written as text, as js2p and peernet do.
pub const PEERNET_FORM_TEXT: u32 = 0;
/// A sender that is written as bytes, as py2p does.
pub const PEERNET_FORM_BYTES: u32 = 1;

/// A message on the wire. Begin with PEERNET_MESSAGE_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_message {
    /// The size of this struct: set by the initialiser.
    pub struct_size: usize,
    /// Its type: 0 a broadcast, 1 about the link, 2 a whisper.
    pub r#type: u64,
    /// When, by the author's clock: seconds since 1970 UTC, in tls subnets microseconds.
    pub time: i64,
    /// The author's id, text without a NUL.
    pub sender: *const u8,
    /// Bytes of `sender`.
    pub sender_len: usize,
    /// How the author's id is written: PEERNET_FORM_TEXT or PEERNET_FORM_BYTES.
    pub sender_form: u32,
    /// Whether it carries its author's seal: 1 or 0. Not looked at by peernet_encode.
    pub sealed: u32,
    /// Packed values, one after the other, of which the first is the code.
    pub payload: *const u8,
    /// Bytes of `payload`.
    pub payload_len: usize,
    /// Its id. Not looked at by peernet_encode.
    pub id: [u8; 32],
}

/// How frames are made up. Begin with PEERNET_CODEC_INIT; null where one is wanted is the same.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_codec {
    /// The size of this struct: set by the initialiser.
    pub struct_size: usize,
    /// Codes of the compression methods that both sides have (16 bz2, 17 gzip, 18 lzma, 19 zlib, 32 snappy), in
    /// order: the first is used for writing, all are tried for reading. Unknown ones are passed over.
    pub compression: *const u8,
    /// Bytes of `compression`.
    pub compression_len: usize,
    /// The largest frame, in bytes (0: 16 MiB). A compressed one may not unpack to more.
    pub max_frame: usize,
    /// For writing: the 32 bytes of the secret Ed25519 key that seals the message; null for no seal.
    pub secret_key: *const u8,
    /// For reading: the protocol id of the subnet, if its authors sign; null if not.
    pub sealed_protocol: *const c_char,
}

pub(crate) const CODEC: peernet_codec = peernet_codec {
    struct_size: size_of::<peernet_codec>(),
    compression: ptr::null(),
    compression_len: 0,
    max_frame: 0,
    secret_key: ptr::null(),
    sealed_protocol: ptr::null(),
};

pub(crate) const NO_MESSAGE: peernet_message = peernet_message {
    struct_size: size_of::<peernet_message>(),
    r#type: 0,
    time: 0,
    sender: ptr::null(),
    sender_len: 0,
    sender_form: PEERNET_FORM_TEXT,
    sealed: 0,
    payload: ptr::null(),
    payload_len: 0,
    id: [0; 32],
};

fn no_message(error: impl ToString) -> Error {
    Error::new(ErrorCode::Message, error.to_string())
}

fn no_id(error: impl ToString) -> Error {
    Error::new(ErrorCode::Id, error.to_string())
}

impl peernet_codec {
    unsafe fn methods(&self) -> Result<Vec<Method>, Error> {
        // SAFETY: null or so many bytes.
        let codes = unsafe { args::bytes(self.compression, self.compression_len, "codec.compression") }?;
        Ok(codes.iter().filter_map(|code| Method::from_code(u64::from(*code))).collect())
    }

    fn max_frame(&self) -> usize {
        if self.max_frame == 0 { MAX_FRAME } else { self.max_frame }
    }

    unsafe fn keys(&self) -> Result<Option<KeyPair>, Error> {
        if self.secret_key.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, and so 32 bytes.
        Ok(Some(KeyPair::from_secret(unsafe { self.secret_key.cast::<[u8; 32]>().read() })))
    }

    unsafe fn envelope(&self) -> Result<Envelope, Error> {
        // SAFETY: null or ends with a NUL.
        match unsafe { args::text_or_none(self.sealed_protocol, "codec.sealed_protocol") }? {
            None => Ok(Envelope::Plain),
            Some(id) => Ok(Envelope::Sealed(ProtocolId::parse(id).map_err(no_id)?)),
        }
    }
}

/// The message that a struct of a program's describes, without a seal.
unsafe fn pack(message: *const peernet_message) -> Result<Message, Error> {
    // SAFETY: null or a struct that begins with its size, and leads to what it says.
    let (message, sender, payload) = unsafe {
        args::object(message, "message")?;
        let message = args::sized(message, NO_MESSAGE, "message")?;
        let sender = args::bytes(message.sender, message.sender_len, "message.sender")?;
        (message, sender, args::payload(message.payload, message.payload_len)?)
    };
    let form = match message.sender_form {
        PEERNET_FORM_TEXT => Form::Str,
        PEERNET_FORM_BYTES => Form::Bin,
        _ => return Err(args::wrong("message.sender_form is neither of the two")),
    };
    Message::pack_raw(message.r#type, sender, form, message.time, &payload).map_err(args::no_value)
}

/// Writes the id that a message has, on every node and in every frame, into the 32 bytes of `id`.
///
/// Errors: PEERNET_ERR_VALUE if the payload is not packed values. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_message_id(message: *const peernet_message, id: *mut u8) -> peernet_status {
    guard(Does::Pure, || {
        let place = args::out(id.cast::<[u8; 32]>(), "id")?;
        // SAFETY: as of the header; the place has 32 bytes.
        unsafe { place.put(*pack(message)?.id().as_bytes()) };
        Ok(())
    })
}

/// Makes the frame of a message, length field first, and appends it to `frame`. `codec` may be null. The message's id
/// is not set; peernet_message_id tells it.
///
/// Errors, and then nothing is appended: PEERNET_ERR_VALUE if the payload is not packed values,
/// PEERNET_ERR_TOO_LARGE. Needs no node; the pure layer works in any process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_encode(
    message: *const peernet_message,
    codec: *const peernet_codec,
    frame: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or structs that begin with their size, and lead to what they say.
        let (packed, codec) = unsafe { (pack(message)?, args::sized(codec, CODEC, "codec")?) };
        // SAFETY: null or a writer that nobody else uses, and what a codec leads to.
        let (out, methods, keys) =
            unsafe { (peernet_writer::borrow(frame)?, codec.methods()?, codec.keys()?) };
        let packed = keys.map(|keys| packed.sealed(&keys)).unwrap_or(packed);
        let body = packed.body();
        if body.len() > codec.max_frame() {
            let problem =
                format!("the message takes {} bytes, over the limit of {}", body.len(), codec.max_frame());
            return Err(Error::new(ErrorCode::TooLarge, problem));
        }
        let compressed = methods.first().and_then(|method| {
            let forced = || must_compress(body, &methods).then(|| method.compress(body));
            compress_if_smaller(*method, body).or_else(forced)
        });
        let content = compressed.as_deref().unwrap_or(body);
        let too_large = || Error::new(ErrorCode::TooLarge, "longer than any frame can be");
        let length = frame::length_field(content.len()).ok_or_else(too_large)?;
        out.append(|out| {
            out.extend_from_slice(&length);
            out.extend_from_slice(content);
            Ok(())
        })
    })
}

/// Reads the message in the first frame of `len` bytes, which begin with its length field. `codec` may be null.
///
/// `body`, which is not where the frame is, is emptied and filled with the message; `message`, which begins with PEERNET_MESSAGE_INIT, leads into it
/// and is good until `body` is changed or freed. `used` may be null: then the frame must be all there is. Else it is
/// how many bytes the frame has taken, or, with PEERNET_ERR_END, how many are needed at least.
///
/// Errors: PEERNET_ERR_MESSAGE if the bytes are no frame, or it holds no message; PEERNET_ERR_END if it is not whole
/// yet and `used` is not null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_decode(
    frame: *const u8,
    len: usize,
    codec: *const peernet_codec,
    body: *mut peernet_writer,
    message: *mut peernet_message,
    used: *mut usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or what they are by the header.
        let (bytes, codec, body) = unsafe {
            args::object(message, "message")?;
            let codec = args::sized(codec, CODEC, "codec")?;
            (args::bytes(frame, len, "frame")?, codec, peernet_writer::borrow(body)?)
        };
        // SAFETY: what a codec leads to.
        let (methods, envelope) = unsafe { (codec.methods()?, codec.envelope()?) };
        // SAFETY: null or a place for a number.
        let used = unsafe { used.as_mut() };
        let first = match used {
            None => bytes,
            Some(used) => {
                let need = frame_len(bytes);
                *used = need;
                let partial = || {
                    Error::new(
                        ErrorCode::End,
                        format!("the frame has {need} bytes, of which {len} are there"),
                    )
                };
                bytes.get(..need).ok_or_else(partial)?
            }
        };
        let mut decoder = Decoder::new(codec.max_frame());
        decoder.push(first);
        let content = decoder.next_frame().map_err(no_message)?;
        decoder.finish().map_err(no_message)?;
        let content = content.ok_or_else(|| no_message("there is no frame"))?;
        let opened = envelope.open(content, &methods, codec.max_frame()).map_err(no_message)?;
        let read = envelope.read(opened, &Limits::default()).map_err(no_message)?;
        let found = peernet_message {
            r#type: read.header().kind,
            time: read.header().time,
            sender_form: match read.header().sender_form {
                Form::Str => PEERNET_FORM_TEXT,
                Form::Bin => PEERNET_FORM_BYTES,
            },
            sealed: read.is_sealed().into(),
            id: *read.id().as_bytes(),
            ..NO_MESSAGE
        };
        let (sender, payload) = (read.sender(), read.packed());
        body.keep(&[sender, payload]);
        let kept = body.bytes().as_ptr();
        let found = peernet_message {
            sender: kept,
            sender_len: sender.len(),
            payload: kept.wrapping_add(sender.len()),
            payload_len: payload.len(),
            ..found
        };
        // SAFETY: checked above.
        unsafe { args::fill(message, &found, "message") }
    })
}

/// Bytes of the first frame, as far as can be told: those of the length field while that is not whole.
fn frame_len(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<LENGTH_LEN>().map(|length| u32::from_be_bytes(*length));
    length.map_or(LENGTH_LEN, |length| LENGTH_LEN.saturating_add(length as usize))
}

/// Writes the protocol id of a subnet and an encryption, both exactly as they are hashed (a table's subnet ends with
/// 0 or 1; encryptions are Plaintext, SSL, ws, wss, tls/mesh, tls/sync), into the `size` bytes of `id`;
/// PEERNET_ID_SIZE are always enough. Errors: PEERNET_ERR_TOO_LARGE if they are not. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_protocol_id(
    subnet: *const c_char,
    encryption: *const c_char,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or texts that end with a NUL; a place of `size` bytes.
        unsafe {
            let made =
                ProtocolId::derive(args::text(subnet, "subnet")?, args::text(encryption, "encryption")?);
            args::put_text(id, size, made.as_str(), "id")
        }
    })
}

/// Writes the id of a node at `host` and `port`, by 0.7's rule: `salt` is what tells nodes of one address apart. As
/// peernet_protocol_id. Errors besides: PEERNET_ERR_ID if `protocol` is no protocol id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_node_id(
    host: *const c_char,
    port: u16,
    protocol: *const c_char,
    salt: *const c_char,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or texts that end with a NUL; a place of `size` bytes.
        unsafe {
            let protocol = ProtocolId::parse(args::text(protocol, "protocol")?).map_err(no_id)?;
            let made = NodeId::derive(args::text(host, "host")?, port, &protocol, args::text(salt, "salt")?);
            args::put_text(id, size, made.as_str(), "id")
        }
    })
}

/// Writes the id of the node that has a public Ed25519 key, of 32 bytes, in a tls subnet. As peernet_node_id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_key_id(
    public_key: *const u8,
    protocol: *const c_char,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or 32 bytes; null or a text that ends with a NUL; a place of `size` bytes.
        unsafe {
            let key = PublicKey::from_bytes(*args::object(public_key.cast::<[u8; 32]>(), "public_key")?);
            let protocol = ProtocolId::parse(args::text(protocol, "protocol")?).map_err(no_id)?;
            args::put_text(id, size, NodeId::of_key(&key, &protocol).as_str(), "id")
        }
    })
}

/// Whether a text is the id of a node: PEERNET_OK, or PEERNET_ERR_ID. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_id_check(id: *const c_char) -> peernet_status {
    // SAFETY: null or a text that ends with a NUL.
    guard(Does::Pure, || unsafe { args::peer(id) }.map(drop))
}

/// Writes the integer in `len` bytes, the greatest first, in base58, into the `size` bytes of `text`. Twice as many as
/// `len`, and two more, are always enough. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_base58_encode(
    data: *const u8,
    len: usize,
    text: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or `len` bytes; a place of `size` bytes.
        unsafe {
            let bytes = args::bytes(data, len, "data")?;
            if bytes.len() > MAX_BASE58 {
                return Err(Error::new(
                    ErrorCode::TooLarge,
                    format!("base58 is for up to {MAX_BASE58} bytes"),
                ));
            }
            args::put_text(text, size, &base58::encode_int(bytes), "text")
        }
    })
}

/// The work grows with the square of the length.
const MAX_BASE58: usize = 1024;

/// Reads an integer in base58 into the `size` bytes of `data`, the greatest first, without zeros before it; `*len` is
/// how many it takes, none for zero. Errors: PEERNET_ERR_ID if the text is none, or its integer over 1024 bytes;
/// PEERNET_ERR_TOO_LARGE if `size` is too small. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_base58_decode(
    text: *const c_char,
    data: *mut u8,
    size: usize,
    len: *mut usize,
) -> peernet_status {
    guard(Does::Pure, || {
        if data.is_null() {
            return Err(args::wrong("data is null"));
        }
        let len = args::out(len, "len")?;
        // SAFETY: null or a text that ends with a NUL.
        let text = unsafe { args::text(text, "text") }?;
        let bytes = base58::decode_int(text, MAX_BASE58).map_err(no_id)?;
        if bytes.len() > size {
            let problem = format!("data has room for {size} bytes of {}", bytes.len());
            return Err(Error::new(ErrorCode::TooLarge, problem));
        }
        // SAFETY: neither is null; there are `size` bytes, which are enough.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            len.put(bytes.len());
        }
        Ok(())
    })
}
