//! Bytes on the wire, and nothing else: frames, messages, values, compression and command codes.
//!
//! The layers, from the outside in:
//!
//! | layer | module | what it knows |
//! |---|---|---|
//! | frame | [`frame`] | `u32` length, then that many bytes |
//! | body | [`body`] | `SHA-256(P) \| P`, possibly compressed |
//! | seal | [`seal`] | what stands behind `P` where authors sign |
//! | message | [`message`] | `P = msgpack([type, sender, time, *payload])` |
//! | value | [`value`] | one element of the payload |
//!
//! Beside them stands [`websocket`], which carries a stream of frames where a subnet asks for it.
//!
//! Nothing here opens a socket or reads a clock. The rules are `spec/02-wire.md` and `spec/08-transports.md`.

pub mod base58;
pub mod body;
pub mod codes;
pub mod compression;
pub mod frame;
pub mod message;
pub mod seal;
pub mod value;
pub mod websocket;

pub use body::{BodyError, open, unverified};
pub use compression::{CompressionCounters, DecompressError, Method};
pub use frame::{DIGEST_LEN, Decoder, FrameError, LENGTH_LEN, MAX_FRAME};
pub use message::{Form, Header, Message, MessageError};
pub use seal::{Envelope, SEAL_LEN, SealError};
pub use value::{Limits, Pack, Packed, Payload, Value, ValueError};
