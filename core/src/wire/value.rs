//! Values as they travel: a msgpack reader and writer that trusts nobody.
//!
//! [`Value`] is any msgpack value but extensions. [`Pack`] writes one value, [`Payload`] the several
//! of a message, both in the one form that the released peers use (the shortest for every integer
//! and length, floats as float64), because a message's id is a digest of its bytes. [`unpack`] reads
//! values in any form that msgpack allows, and [`validate`] gives the same verdict without building
//! anything.
//!
//! ```
//! use peernet::wire::value::{self, Limits, Payload, Value};
//!
//! let mut bytes = Vec::new();
//! ("hello", 5).pack_all(&mut bytes)?;
//! assert_eq!(bytes, b"\xa5hello\x05");
//!
//! value::validate(&bytes, 2, &Limits::default())?;
//! let values = value::unpack(&bytes, 2, &Limits::default())?;
//! assert_eq!(values, [Value::from("hello"), Value::from(5)]);
//! # Ok::<(), peernet::wire::ValueError>(())
//! ```

use std::fmt;

use rmp::encode;

/// How deep arrays and maps may nest, in a payload that is written or read: a payload element that
/// is no container has depth 0, an array of numbers depth 1.
///
/// Reading and writing recurse, and 64 levels fit any thread's stack; the deepest message of the
/// protocol itself (the list of peers) has depth 3.
pub const MAX_DEPTH: usize = 64;

/// How many values one message may hold, containers, keys and elements counted each.
///
/// A nil is one byte on the wire and 32 in memory: without a bound of its own, a message that its
/// size lets through could take 32 times that size. This bound keeps unpacked values at 32 MiB plus
/// their text and bytes.
pub const MAX_VALUES: usize = 1 << 20;

/// A value of a message.
///
/// Peers disagree whether text travels as str or bin, so [`Value::as_text`] takes both. A map keeps
/// its pairs in the order in which they arrived, repeated keys included.
///
/// ```
/// use peernet::wire::Value;
///
/// let peer = Value::from(vec![Value::from("127.0.0.1"), Value::from(4444u16)]);
/// let [host, port] = peer.as_array().unwrap_or_default() else { unreachable!() };
/// assert_eq!(host.as_text(), Some("127.0.0.1"));
/// assert_eq!(port.as_u64(), Some(4444));
/// assert_eq!(port.as_str(), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// Truth.
    Bool(bool),
    /// An integer. Only -2^63 ..= 2^64 - 1 can be written.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Bin(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// Pairs of key and value, in order.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Whether this is [`Value::Nil`].
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The truth value, of a bool only.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The number: of a float, or the nearest to an integer, since JavaScript peers send `5.0` as 5.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    /// The text, of a str only. See [`Value::as_text`].
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, of a bin only.
    #[must_use]
    pub fn as_bin(&self) -> Option<&[u8]> {
        match self {
            Self::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements, of an array only.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs, of a map only.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Value, Value)]> {
        match self {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The text of a str, or of a bin that is UTF-8: for every field that is text by meaning (ids,
    /// keys, host names), of which one peer sends the one and another peer the other.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Bin(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Writes the value found at nesting depth `depth`.
    fn pack_at(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), ValueError> {
        match self {
            Self::Nil => written(encode::write_nil(out)),
            Self::Bool(value) => written(encode::write_bool(out, *value)),
            Self::Int(value) => {
                if let Ok(value) = u64::try_from(*value) {
                    pack_uint(value, out);
                } else if let Ok(value) = i64::try_from(*value) {
                    pack_sint(value, out);
                } else {
                    return Err(ValueError::IntRange { place: String::new(), value: *value });
                }
            }
            Self::Float(value) => written(encode::write_f64(out, *value)),
            Self::Str(text) => pack_str(text, out)?,
            Self::Bin(bytes) => pack_bin(bytes, out)?,
            Self::Array(items) => pack_array(items, out, depth)?,
            Self::Map(pairs) => pack_map(pairs, out, depth)?,
        }
        Ok(())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::Float(value.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bin(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bin(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bin(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bin(bytes)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(items)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// Something that one msgpack value can be written from.
///
/// Text becomes str, bytes become bin, integers take their shortest form (unsigned if not negative),
/// floats are float64 always, and `None` is nil.
///
/// ```
/// use peernet::wire::Pack;
///
/// let mut out = Vec::new();
/// "hi".pack(&mut out)?;
/// 300u16.pack(&mut out)?;
/// b"\x00\xff".pack(&mut out)?;
/// assert_eq!(out, b"\xa2hi\xcd\x01\x2c\xc4\x02\x00\xff");
/// # Ok::<(), peernet::wire::ValueError>(())
/// ```
pub trait Pack {
    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`ValueError`] that names the place inside this value, when an integer is out of the range
    /// -2^63 ..= 2^64 - 1, arrays and maps nest deeper than [`MAX_DEPTH`], or a length does not fit
    /// 32 bits. `out` may then end with a part of the value: throw it away, or cut it back.
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError>;

    /// About how many bytes it takes, so that they can be reserved at once. Any number will do.
    fn size_hint(&self) -> usize {
        9
    }
}

impl Pack for Value {
    fn size_hint(&self) -> usize {
        match self {
            Self::Str(text) => text.size_hint(),
            Self::Bin(bytes) => bytes.size_hint(),
            _ => 9,
        }
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.pack_at(out, 0)
    }
}

impl Pack for bool {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        written(encode::write_bool(out, *self));
        Ok(())
    }
}

impl Pack for f64 {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        written(encode::write_f64(out, *self));
        Ok(())
    }
}

impl Pack for f32 {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        f64::from(*self).pack(out)
    }
}

impl Pack for str {
    fn size_hint(&self) -> usize {
        self.len() + 5
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_str(self, out)
    }
}

impl Pack for String {
    fn size_hint(&self) -> usize {
        self.len() + 5
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_str(self, out)
    }
}

impl Pack for [u8] {
    fn size_hint(&self) -> usize {
        self.len() + 5
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_bin(self, out)
    }
}

impl Pack for Vec<u8> {
    fn size_hint(&self) -> usize {
        self.len() + 5
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_bin(self, out)
    }
}

impl<const N: usize> Pack for [u8; N] {
    fn size_hint(&self) -> usize {
        N + 5
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_bin(self, out)
    }
}

impl Pack for [Value] {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_array(self, out, 0)
    }
}

impl Pack for Vec<Value> {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_array(self, out, 0)
    }
}

impl<const N: usize> Pack for [Value; N] {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        pack_array(self, out, 0)
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self {
            Some(value) => value.pack(out),
            None => {
                written(encode::write_nil(out));
                Ok(())
            }
        }
    }
}

impl<T: Pack + ?Sized> Pack for &T {
    fn size_hint(&self) -> usize {
        (**self).size_hint()
    }

    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        (**self).pack(out)
    }
}

macro_rules! integers {
    ($($int:ty => $pack:ident as $wide:ty),*) => {$(
        impl From<$int> for Value {
            fn from(value: $int) -> Self {
                Self::Int(value as i128)
            }
        }

        impl Pack for $int {
            fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
                // Never narrows: no Rust target has integers of these types over 64 bits.
                $pack(*self as $wide, out);
                Ok(())
            }
        }
    )*};
}
integers!(
    u8 => pack_uint as u64, u16 => pack_uint as u64, u32 => pack_uint as u64,
    u64 => pack_uint as u64, usize => pack_uint as u64,
    i8 => pack_sint as i64, i16 => pack_sint as i64, i32 => pack_sint as i64,
    i64 => pack_sint as i64, isize => pack_sint as i64
);

/// The values of one message: what follows the head of its array.
///
/// Tuples take anything that is [`Pack`]: `("store", 7, b"bytes")`.
///
/// ```
/// use peernet::wire::{Payload, Value, ValueError};
///
/// let mut out = Vec::new();
/// assert_eq!(("a", None::<u8>, 1.5).count(), 3);
/// let error = ("a", Value::Int(1 << 64)).pack_all(&mut out);
/// assert!(matches!(error, Err(ValueError::IntRange { place, .. }) if place == "payload[1]"));
/// ```
pub trait Payload {
    /// How many values there are.
    fn count(&self) -> usize;

    /// Appends all values to `out`, one after the other.
    ///
    /// # Errors
    /// As of [`Pack::pack`], naming the element: `payload[2]["k"]`. `out` is then as it was.
    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError>;

    /// About how many bytes all values take, so that they can be reserved at once.
    fn size_hint(&self) -> usize;
}

impl Payload for [Value] {
    fn size_hint(&self) -> usize {
        self.iter().map(Pack::size_hint).sum()
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        restoring(out, |out| {
            (self.iter().enumerate()).try_for_each(|(index, value)| pack_element(index, value, out))
        })
    }
}

impl Payload for Vec<Value> {
    fn size_hint(&self) -> usize {
        Payload::size_hint(self.as_slice())
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.as_slice().pack_all(out)
    }
}

impl<const N: usize> Payload for [Value; N] {
    fn size_hint(&self) -> usize {
        Payload::size_hint(self.as_slice())
    }

    fn count(&self) -> usize {
        N
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.as_slice().pack_all(out)
    }
}

impl<T: Payload + ?Sized> Payload for &T {
    fn size_hint(&self) -> usize {
        Payload::size_hint(*self)
    }

    fn count(&self) -> usize {
        (**self).count()
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        (**self).pack_all(out)
    }
}

impl Payload for () {
    fn size_hint(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        0
    }

    fn pack_all(&self, _out: &mut Vec<u8>) -> Result<(), ValueError> {
        Ok(())
    }
}

macro_rules! tuples {
    ($($count:literal: $($item:ident $index:tt),+;)*) => {$(
        impl<$($item: Pack),+> Payload for ($($item,)+) {
            fn count(&self) -> usize {
                $count
            }

            fn size_hint(&self) -> usize {
                0 $(+ self.$index.size_hint())+
            }

            fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
                restoring(out, |out| {
                    $(pack_element($index, &self.$index, out)?;)+
                    Ok(())
                })
            }
        }
    )*};
}
tuples!(
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
);

/// Values that are packed already: a payload, or with just one of them a value.
///
/// ```
/// use peernet::wire::{Limits, Packed, Payload, Value};
///
/// let mut bytes = Vec::new();
/// ("hello", 5).pack_all(&mut bytes)?;
/// let packed = Packed::new(&bytes, &Limits::default())?;
/// assert_eq!(packed.count(), 2);
/// assert!(Packed::new(b"\xa5hel", &Limits::default()).is_err());
/// # Ok::<(), peernet::wire::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Packed<'a> {
    /// Any number of values, one after the other. They go out as they are here, in whichever of msgpack's
    /// forms each is written.
    ///
    /// # Errors
    /// As of [`unpack`], if `bytes` are anything else.
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, ValueError> {
        let mut reader = Reader::new(bytes, 0, 0, limits)?;
        let mut count = 0;
        while !reader.rest.is_empty() {
            reader.announce(1, reader.at())?;
            reader.walk(1)?;
            count += 1;
        }
        Ok(Self { bytes, count })
    }

    /// Exactly one value.
    ///
    /// # Errors
    /// As of [`unpack`], if `bytes` are anything else.
    pub fn one(bytes: &'a [u8], limits: &Limits) -> Result<Self, ValueError> {
        validate(bytes, 1, limits)?;
        Ok(Self { bytes, count: 1 })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Payload for Packed<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        out.extend_from_slice(self.bytes);
        Ok(())
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

/// Only one value is a value.
impl Pack for Packed<'_> {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self.count {
            0 => Err(ValueError::Truncated { at: 0 }),
            1 => self.pack_all(out),
            _ => Err(ValueError::Trailing { at: skip(self.bytes, 0, &Limits::default())? }),
        }
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

/// Runs `pack`, and cuts `out` back to what it was if that fails.
fn restoring(
    out: &mut Vec<u8>,
    pack: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let before = out.len();
    let packed = pack(out);
    if packed.is_err() {
        out.truncate(before);
    }
    packed
}

fn pack_element<T: Pack + ?Sized>(index: usize, item: &T, out: &mut Vec<u8>) -> Result<(), ValueError> {
    item.pack(out).map_err(|error| error.inside(format_args!("payload[{index}]")))
}

/// `rmp` writes to anything that can be written to; a `Vec` always can.
fn written<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "writing to a Vec failed");
}

fn pack_uint(value: u64, out: &mut Vec<u8>) {
    written(encode::write_uint(out, value));
}

fn pack_sint(value: i64, out: &mut Vec<u8>) {
    match u64::try_from(value) {
        Ok(value) => pack_uint(value, out),
        Err(_) => written(encode::write_sint(out, value)),
    }
}

/// Lengths are at most 32 bits on the wire.
fn wire_len(len: usize) -> Result<u32, ValueError> {
    u32::try_from(len).map_err(|_| ValueError::TooLong { place: String::new(), len })
}

fn pack_str(text: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
    written(encode::write_str_len(out, wire_len(text.len())?));
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn pack_bin(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    written(encode::write_bin_len(out, wire_len(bytes.len())?));
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes the head of an array of `len` values, which are to follow.
///
/// ```
/// use peernet::wire::{Pack, value::pack_array_head};
///
/// let mut out = Vec::new();
/// pack_array_head(2, &mut out);
/// "hi".pack(&mut out)?;
/// 5.pack(&mut out)?;
/// assert_eq!(out, b"\x92\xa2hi\x05");
/// # Ok::<(), peernet::wire::ValueError>(())
/// ```
pub fn pack_array_head(len: u32, out: &mut Vec<u8>) {
    written(encode::write_array_len(out, len));
}

/// Writes the head of a map of `len` pairs, whose keys and values are to follow in turn.
pub fn pack_map_head(len: u32, out: &mut Vec<u8>) {
    written(encode::write_map_len(out, len));
}

fn check_pack_depth(depth: usize) -> Result<(), ValueError> {
    if depth < MAX_DEPTH {
        Ok(())
    } else {
        Err(ValueError::PackTooDeep { place: String::new(), max: MAX_DEPTH })
    }
}

fn pack_array(items: &[Value], out: &mut Vec<u8>, depth: usize) -> Result<(), ValueError> {
    check_pack_depth(depth)?;
    pack_array_head(wire_len(items.len())?, out);
    for (index, item) in items.iter().enumerate() {
        (item.pack_at(out, depth + 1)).map_err(|error| error.inside(format_args!("[{index}]")))?;
    }
    Ok(())
}

fn pack_map(pairs: &[(Value, Value)], out: &mut Vec<u8>, depth: usize) -> Result<(), ValueError> {
    check_pack_depth(depth)?;
    pack_map_head(wire_len(pairs.len())?, out);
    for (index, (key, value)) in pairs.iter().enumerate() {
        (key.pack_at(out, depth + 1)).map_err(|error| error.inside(format_args!("[key of pair {index}]")))?;
        (value.pack_at(out, depth + 1)).map_err(|error| error.inside(KeyPlace { index, key }))?;
    }
    Ok(())
}

/// How an error names the value under a key.
struct KeyPlace<'a> {
    index: usize,
    key: &'a Value,
}

impl fmt::Display for KeyPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Characters of a key that are shown.
        const SHOWN: usize = 32;
        match self.key {
            Value::Int(key) => write!(f, "[{key}]"),
            key => match key.as_text() {
                Some(text) => match text.char_indices().nth(SHOWN) {
                    Some((end, _)) => write!(f, "[{:?}…]", text.get(..end).unwrap_or(text)),
                    None => write!(f, "[{text:?}]"),
                },
                None => write!(f, "[value of pair {}]", self.index),
            },
        }
    }
}

/// What a reader takes at most. [`Limits::default`] is what the protocol uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and maps may nest; more than [`MAX_DEPTH`] counts as [`MAX_DEPTH`].
    pub max_depth: usize,
    /// How many values there may be in all, containers, keys and elements counted each.
    pub max_values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: MAX_DEPTH, max_values: MAX_VALUES }
    }
}

/// Reads exactly `count` values, which must end where `bytes` end.
///
/// Integers, lengths and floats are taken in every width; float32 is widened. What a length claims
/// is never reserved before it is certain that `bytes` could hold that many values.
///
/// # Errors
/// [`ValueError`] with the offset in `bytes` of what was refused.
///
/// ```
/// use peernet::wire::value::{Limits, Value, unpack};
///
/// let limits = Limits::default();
/// assert_eq!(unpack(b"\x92\x01\xc0", 1, &limits)?, [Value::Array(vec![Value::Int(1), Value::Nil])]);
/// assert!(unpack(b"\xcd\x02", 1, &limits).is_err_and(|e| e.is_malformed()));
/// # Ok::<(), peernet::wire::ValueError>(())
/// ```
pub fn unpack(bytes: &[u8], count: usize, limits: &Limits) -> Result<Vec<Value>, ValueError> {
    let mut reader = Reader::new(bytes, 0, count, limits)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(reader.value(0)?);
    }
    reader.end()?;
    Ok(values)
}

/// Checks what [`unpack`] checks, with the same result, and builds nothing: no allocation, and no
/// look at the contents of a bin.
///
/// # Errors
/// Exactly those of [`unpack`].
pub fn validate(bytes: &[u8], count: usize, limits: &Limits) -> Result<(), ValueError> {
    let mut reader = Reader::new(bytes, 0, count, limits)?;
    reader.walk(count)?;
    reader.end()
}

/// Checks the one value that begins at offset `at` of `bytes`, and returns the offset of its end.
/// What follows it is not looked at.
///
/// # Errors
/// [`ValueError`] as of [`unpack`], its offset counted from the beginning of `bytes`.
///
/// ```
/// use peernet::wire::value::{Limits, skip};
///
/// let bytes = b"\xa5hello\x05";
/// assert_eq!(skip(bytes, 0, &Limits::default()), Ok(6));
/// assert_eq!(skip(bytes, 6, &Limits::default()), Ok(7));
/// ```
pub fn skip(bytes: &[u8], at: usize, limits: &Limits) -> Result<usize, ValueError> {
    let mut reader = Reader::new(bytes, at, 1, limits)?;
    reader.walk(1)?;
    Ok(reader.at())
}

/// The head of a value, with the contents of those that hold no other values: what [`token`] reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// Truth.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(&'a str),
    /// Bytes.
    Bin(&'a [u8]),
    /// A list of so many values, which follow.
    Array(usize),
    /// So many pairs of a key and a value, which follow.
    Map(usize),
}

/// Reads the head at offset `at` of `bytes`, and returns it with the offset of what comes next. Copies
/// nothing, and keeps nothing: who reads values token by token bounds how deep and how many himself, or
/// has had them checked before ([`validate`]).
///
/// # Errors
/// [`ValueError`] as of [`unpack`], its offset counted from the beginning of `bytes`. A container that
/// announces more values than there are bytes left is [`ValueError::Truncated`].
///
/// ```
/// use peernet::wire::value::{Token, token};
///
/// let bytes = b"\x92\xa2hi\x05";
/// assert_eq!(token(bytes, 0), Ok((Token::Array(2), 1)));
/// assert_eq!(token(bytes, 1), Ok((Token::Str("hi"), 4)));
/// assert_eq!(token(bytes, 4), Ok((Token::Int(5), 5)));
/// assert!(token(bytes, 5).is_err());
/// ```
pub fn token(bytes: &[u8], at: usize) -> Result<(Token<'_>, usize), ValueError> {
    let mut reader = Reader::new(bytes, at, 1, &Limits::default())?;
    let token = reader.token()?;
    let values = match token {
        Token::Array(len) => len,
        Token::Map(len) => len.saturating_mul(2),
        _ => 0,
    };
    match values <= reader.rest.len() {
        true => Ok((token, reader.at())),
        false => Err(ValueError::Truncated { at }),
    }
}

/// The one reader behind [`unpack`] and [`validate`], so that their verdicts cannot differ.
struct Reader<'a> {
    /// Length of all bytes, which turns the length of `rest` into an offset.
    len: usize,
    rest: &'a [u8],
    /// Values that were announced and not read yet. Each takes a byte at least.
    pending: usize,
    /// Values that may still be announced.
    budget: usize,
    max_depth: usize,
    max_values: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], at: usize, count: usize, limits: &Limits) -> Result<Self, ValueError> {
        let Some(rest) = bytes.get(at..) else {
            return Err(ValueError::Truncated { at: bytes.len() });
        };
        let mut reader = Self {
            len: bytes.len(),
            rest,
            pending: 0,
            // What is left to read at one level is counted in 32 bits.
            budget: limits.max_values.min(u32::MAX as usize),
            max_depth: limits.max_depth.min(MAX_DEPTH),
            max_values: limits.max_values,
        };
        reader.announce(count, at)?;
        Ok(reader)
    }

    fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Takes note of `count` values to come, as announced at `at`: both what the bytes cannot hold
    /// and what would be too much is refused before anything is reserved for it.
    #[inline]
    fn announce(&mut self, count: usize, at: usize) -> Result<(), ValueError> {
        if count > self.rest.len().saturating_sub(self.pending) {
            return Err(ValueError::Truncated { at });
        }
        if count > self.budget {
            return Err(ValueError::TooMany { at, max: self.max_values });
        }
        self.budget -= count;
        self.pending += count;
        Ok(())
    }

    fn end(&self) -> Result<(), ValueError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ValueError::Trailing { at: self.at() }) }
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self, at: usize) -> Result<[u8; N], ValueError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(ValueError::Truncated { at })?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline(always)]
    fn len8(&mut self, at: usize) -> Result<usize, ValueError> {
        Ok(usize::from(u8::from_be_bytes(self.fixed(at)?)))
    }

    #[inline(always)]
    fn len16(&mut self, at: usize) -> Result<usize, ValueError> {
        Ok(usize::from(u16::from_be_bytes(self.fixed(at)?)))
    }

    #[inline(always)]
    fn len32(&mut self, at: usize) -> Result<usize, ValueError> {
        Ok(u32::from_be_bytes(self.fixed(at)?) as usize)
    }

    #[inline(always)]
    fn bin(&mut self, len: usize, at: usize) -> Result<&'a [u8], ValueError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ValueError::Truncated { at })?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline(always)]
    fn str(&mut self, len: usize, at: usize) -> Result<&'a str, ValueError> {
        let start = self.at();
        let bytes = self.bin(len, at)?;
        std::str::from_utf8(bytes)
            .map_err(|error| ValueError::InvalidUtf8 { at: start + error.valid_up_to() })
    }

    /// Reads a head, and all of a value without a container.
    ///
    /// Inlined into both readers, so that [`Reader::walk`] pays for no integer or float it ignores.
    #[inline(always)]
    fn token(&mut self) -> Result<Token<'a>, ValueError> {
        let at = self.at();
        let [marker] = self.fixed(at)?;
        self.pending = self.pending.saturating_sub(1);
        Ok(match marker {
            0x00..=0x7f => Token::Int(i128::from(marker)),
            0x80..=0x8f => Token::Map(usize::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => Token::Str(self.str(usize::from(marker & 0x1f), at)?),
            0xc0 => Token::Nil,
            0xc1 => return Err(ValueError::Reserved { at }),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => {
                let len = self.len8(at)?;
                Token::Bin(self.bin(len, at)?)
            }
            0xc5 => {
                let len = self.len16(at)?;
                Token::Bin(self.bin(len, at)?)
            }
            0xc6 => {
                let len = self.len32(at)?;
                Token::Bin(self.bin(len, at)?)
            }
            0xc7..=0xc9 | 0xd4..=0xd8 => return Err(ValueError::Ext { at }),
            0xca => Token::Float(f32::from_be_bytes(self.fixed(at)?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.fixed(at)?)),
            0xcc => Token::Int(u8::from_be_bytes(self.fixed(at)?).into()),
            0xcd => Token::Int(u16::from_be_bytes(self.fixed(at)?).into()),
            0xce => Token::Int(u32::from_be_bytes(self.fixed(at)?).into()),
            0xcf => Token::Int(u64::from_be_bytes(self.fixed(at)?).into()),
            0xd0 => Token::Int(i8::from_be_bytes(self.fixed(at)?).into()),
            0xd1 => Token::Int(i16::from_be_bytes(self.fixed(at)?).into()),
            0xd2 => Token::Int(i32::from_be_bytes(self.fixed(at)?).into()),
            0xd3 => Token::Int(i64::from_be_bytes(self.fixed(at)?).into()),
            0xd9 => {
                let len = self.len8(at)?;
                Token::Str(self.str(len, at)?)
            }
            0xda => {
                let len = self.len16(at)?;
                Token::Str(self.str(len, at)?)
            }
            0xdb => {
                let len = self.len32(at)?;
                Token::Str(self.str(len, at)?)
            }
            0xdc => Token::Array(self.len16(at)?),
            0xdd => Token::Array(self.len32(at)?),
            0xde => Token::Map(self.len16(at)?),
            0xdf => Token::Map(self.len32(at)?),
            0xe0..=0xff => Token::Int(i128::from(marker as i8)),
        })
    }

    /// Begins a container of `values` values at `depth`, whose head began at `at`.
    #[inline]
    fn open(&mut self, values: usize, depth: usize, at: usize) -> Result<(), ValueError> {
        self.announce(values, at)?;
        if depth >= self.max_depth {
            return Err(ValueError::TooDeep { at, max: self.max_depth });
        }
        Ok(())
    }

    /// Builds the value that comes next, at nesting depth `depth`, which [`Reader::open`] bounds.
    fn value(&mut self, depth: usize) -> Result<Value, ValueError> {
        let at = self.at();
        Ok(match self.token()? {
            Token::Nil => Value::Nil,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Float(value) => Value::Float(value),
            Token::Str(text) => Value::Str(text.to_owned()),
            Token::Bin(bytes) => Value::Bin(bytes.to_vec()),
            Token::Array(len) => {
                self.open(len, depth, at)?;
                let mut items = Vec::with_capacity(len);
                for _ in 0..len {
                    items.push(self.value(depth + 1)?);
                }
                Value::Array(items)
            }
            Token::Map(len) => {
                self.open(len.saturating_mul(2), depth, at)?;
                let mut pairs = Vec::with_capacity(len);
                for _ in 0..len {
                    let key = self.value(depth + 1)?;
                    pairs.push((key, self.value(depth + 1)?));
                }
                Value::Map(pairs)
            }
        })
    }

    /// Reads `count` values and whatever they hold.
    fn walk(&mut self, count: usize) -> Result<(), ValueError> {
        for _ in 0..count {
            let at = self.at();
            match self.token()? {
                Token::Array(len) => self.walk_into(len, at)?,
                Token::Map(len) => self.walk_into(len.saturating_mul(2), at)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the `count` values inside the container whose head began at `at`. Apart from
    /// [`Reader::walk`], so that flat payloads, which most are, do not pay for clearing the stack.
    #[inline(never)]
    fn walk_into(&mut self, count: usize, at: usize) -> Result<(), ValueError> {
        self.open(count, 0, at)?;
        // Values left in the containers around the one being read.
        let mut outer = [0u32; MAX_DEPTH];
        let mut depth = 0;
        // `announce` let at most 2^32 - 1 values through.
        let mut left = count as u32;
        loop {
            while left == 0 {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
                left = outer.get(depth).copied().unwrap_or(0);
            }
            left -= 1;
            let at = self.at();
            let count = match self.token()? {
                Token::Array(len) => len,
                Token::Map(len) => len.saturating_mul(2),
                _ => continue,
            };
            self.open(count, depth + 1, at)?;
            let Some(slot) = outer.get_mut(depth) else {
                return Err(ValueError::TooDeep { at, max: self.max_depth });
            };
            *slot = left;
            depth += 1;
            left = count as u32;
        }
    }
}

/// Why a value could not be read or written.
///
/// Errors of reading carry `at`, a byte offset in what was read. Errors of writing carry `place`:
/// where in the payload (`payload[2]["k"]`) or, written alone, in the value.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueError {
    /// The bytes end before the values do, or could not hold what a length announces.
    #[error("the value at byte {at} is longer than the bytes that are there")]
    Truncated {
        /// Where the value that is cut short begins.
        at: usize,
    },
    /// Bytes follow the last value.
    #[error("more bytes from byte {at} on, after the last value")]
    Trailing {
        /// Where the last value ended.
        at: usize,
    },
    /// The one byte that msgpack does not use.
    #[error("byte {at} is 0xc1, which begins no msgpack value")]
    Reserved {
        /// Where it is.
        at: usize,
    },
    /// A msgpack extension: valid msgpack, but no value of this protocol.
    #[error("the value at byte {at} is a msgpack extension, which this protocol does not have")]
    Ext {
        /// Where it begins.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// The first byte that is wrong.
        at: usize,
    },
    /// Containers nest deeper than the reader takes.
    #[error("the array or map at byte {at} is nested deeper than {max} levels")]
    TooDeep {
        /// Where the innermost one begins.
        at: usize,
        /// The bound, in levels.
        max: usize,
    },
    /// More values than the reader takes.
    #[error("with those announced at byte {at} there are more than {max} values")]
    TooMany {
        /// Where the container (or everything) begins that makes them too many.
        at: usize,
        /// The bound, in values.
        max: usize,
    },
    /// An integer that msgpack has no form for.
    #[error("{}: integer {value} is outside -2^63 to 2^64 - 1", Place(.place))]
    IntRange {
        /// Where the integer is.
        place: String,
        /// The integer.
        value: i128,
    },
    /// Containers nest deeper than other peers take.
    #[error("{}: arrays and maps are nested deeper than {max} levels", Place(.place))]
    PackTooDeep {
        /// Where the innermost one is.
        place: String,
        /// The bound, in levels.
        max: usize,
    },
    /// Text, bytes or a container longer than a length on the wire.
    #[error("{}: length {len} is over 2^32 - 1", Place(.place))]
    TooLong {
        /// Where it is.
        place: String,
        /// Its length, in bytes or elements.
        len: usize,
    },
}

impl ValueError {
    /// Whether the bytes are no msgpack that any peer could read, rather than something that py2p or
    /// js2p lets pass (bytes behind the end, bad UTF-8) or that only our own limits refuse
    /// (extensions, depth, number). False for errors of writing.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Reserved { .. })
    }

    /// The same error seen from the container that holds its place as `part`.
    fn inside(mut self, part: impl fmt::Display) -> Self {
        if let Self::IntRange { place, .. } | Self::PackTooDeep { place, .. } | Self::TooLong { place, .. } =
            &mut self
        {
            *place = format!("{part}{place}");
        }
        self
    }
}

/// A place for people: that of the value itself is empty.
struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "value" } else { self.0 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/p2p-today-0.7.json"));

    /// Bytes before the packed array in an uncompressed frame: length and digest.
    const HEAD: usize = 4 + 32;

    fn vectors() -> Json {
        serde_json::from_str(VECTORS).unwrap()
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    fn value(json: &Json) -> Value {
        let (kind, content) = json.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "nil" => Value::Nil,
            "bool" => Value::Bool(content.as_bool().unwrap()),
            "int" => Value::Int(content.as_str().unwrap().parse().unwrap()),
            "float64" => {
                let bytes = unhex(content.as_str().unwrap());
                Value::Float(f64::from_be_bytes(bytes.try_into().unwrap()))
            }
            "str" => Value::from(content.as_str().unwrap()),
            "bin" => Value::Bin(unhex(content.as_str().unwrap())),
            "array" => Value::Array(content.as_array().unwrap().iter().map(value).collect()),
            "map" => Value::Map(
                (content.as_array().unwrap().iter()).map(|pair| (value(&pair[0]), value(&pair[1]))).collect(),
            ),
            other => panic!("{other}"),
        }
    }

    fn message(case: &Json) -> Vec<Value> {
        let mut items =
            vec![value(&case["type"]), value(&case["sender"]), Value::from(case["time"].as_u64().unwrap())];
        items.extend(case["payload"].as_array().unwrap().iter().map(value));
        items
    }

    fn packed<T: Pack + ?Sized>(item: &T) -> Vec<u8> {
        let mut out = Vec::new();
        item.pack(&mut out).unwrap();
        out
    }

    #[test]
    fn packed_values_go_out_as_they_are() {
        let limits = Limits { max_values: 4, ..Limits::default() };
        for (bytes, count) in
            [(&b""[..], 0), (b"\xc0", 1), (b"\xcd\x00\x05\xa1a", 2), (b"\x93\x01\x02\x03", 1)]
        {
            let values = Packed::new(bytes, &limits).unwrap();
            let mut out = Vec::new();
            values.pack_all(&mut out).unwrap();
            assert_eq!((values.count(), &out[..]), (count, bytes));
            assert_eq!(Packed::one(bytes, &limits).is_ok(), count == 1);
            assert_eq!(values.pack(&mut Vec::new()).is_ok(), count == 1);
        }
        // One too many, whether announced or just there.
        assert!(Packed::new(b"\x94\x01\x02\x03\x04", &limits).is_err());
        assert!(Packed::new(b"\x01\x02\x03\x04\x05", &limits).is_err());
        assert!(Packed::new(b"\x01\xa2a", &limits).is_err());
    }

    /// Every token of any bytes that are values leads to the next, and no bytes mislead it.
    #[test]
    fn tokens_lead_to_the_end() {
        let bytes = b"\x82\xa1a\x93\xc0\xc2\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x01\xff\xff";
        let (mut at, mut tokens) = (0, Vec::new());
        while at < bytes.len() {
            let (token, next) = token(bytes, at).unwrap();
            assert!(next > at);
            (at, tokens) = (next, [tokens, vec![token]].concat());
        }
        use Token::{Array, Bin, Bool, Float, Int, Map, Nil, Str};
        assert_eq!(tokens, [Map(2), Str("a"), Array(3), Nil, Bool(false), Float(1.5), Bin(b"\xff"), Int(-1)]);
        for wrong in [&b""[..], b"\xc1", b"\xa2a", b"\x91", b"\xdf\xff\xff\xff\xff\x00", b"\xd4\x00\x00"] {
            assert!(token(wrong, 0).is_err(), "{wrong:02x?}");
        }
        assert!(token(b"\x00", 2).is_err());
    }

    /// The verdict of both readers, which must be the same.
    fn read(bytes: &[u8], count: usize, limits: &Limits) -> Result<Vec<Value>, ValueError> {
        let values = unpack(bytes, count, limits);
        assert_eq!(validate(bytes, count, limits), values.clone().map(|_| ()));
        if count == 1 {
            match skip(bytes, 0, limits) {
                Ok(end) if end == bytes.len() => assert!(values.is_ok()),
                Ok(at) => assert_eq!(values, Err(ValueError::Trailing { at })),
                Err(error) => assert_eq!(values, Err(error)),
            }
        }
        values
    }

    /// W-14
    #[test]
    fn vectors_encode() {
        let vectors = vectors();
        let cases = vectors["encode"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let items = message(case);
            let frame = unhex(case["frame"].as_str().unwrap());
            let bytes = packed(&items);
            assert_eq!(bytes, frame[HEAD..], "{}", case["name"]);
            assert_eq!(read(&bytes, 1, &Limits::default()), Ok(vec![Value::Array(items.clone())]));

            // The payload alone, as `Payload` writes it, follows the array's head.
            let mut alone = Vec::new();
            items.pack_all(&mut alone).unwrap();
            assert_eq!(alone, frame[HEAD + bytes.len() - alone.len()..]);
            assert_eq!(read(&alone, items.count(), &Limits::default()), Ok(items));
        }
    }

    /// W-20, W-21
    #[test]
    fn vectors_reject() {
        let vectors = vectors();
        let mut seen = 0;
        for case in vectors["reject"].as_array().unwrap() {
            let frame = unhex(case["frame"].as_str().unwrap());
            let Some(bytes) = frame.get(HEAD..) else {
                continue;
            };
            let error = read(bytes, 1, &Limits::default()).err();
            let expected = match case["name"].as_str().unwrap() {
                "truncated msgpack" => matches!(error, Some(ValueError::Truncated { .. })),
                "trailing bytes after msgpack" => {
                    matches!(error, Some(ValueError::Trailing { .. }))
                }
                "reserved msgpack byte 0xc1" => matches!(error, Some(ValueError::Reserved { .. })),
                "array claims 2^32-1 items" => error == Some(ValueError::Truncated { at: 0 }),
                "invalid utf-8 text" => matches!(error, Some(ValueError::InvalidUtf8 { .. })),
                _ => continue,
            };
            assert!(expected, "{}: {error:?}", case["name"]);
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    /// W-14, W-16
    #[test]
    fn every_form_is_the_shortest() {
        for (value, bytes) in [
            (Value::Nil, &b"\xc0"[..]),
            (Value::from(false), b"\xc2"),
            (Value::from(true), b"\xc3"),
            (Value::from(0), b"\x00"),
            (Value::from(127i64), b"\x7f"),
            (Value::from(128i16), b"\xcc\x80"),
            (Value::from(256), b"\xcd\x01\x00"),
            (Value::from(65536), b"\xce\x00\x01\x00\x00"),
            (Value::from(1u64 << 32), b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
            (Value::from(u64::MAX), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
            (Value::from(-1i8), b"\xff"),
            (Value::from(-32), b"\xe0"),
            (Value::from(-33), b"\xd0\xdf"),
            (Value::from(-129), b"\xd1\xff\x7f"),
            (Value::from(-32769), b"\xd2\xff\xff\x7f\xff"),
            (Value::from(i64::MIN), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
            (Value::from(1.0f32), b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
            (Value::from(""), b"\xa0"),
            (Value::from(b"" as &[u8]), b"\xc4\x00"),
            (Value::Array(vec![]), b"\x90"),
            (Value::Map(vec![]), b"\x80"),
        ] {
            assert_eq!(packed(&value), bytes, "{value:?}");
            assert_eq!(read(bytes, 1, &Limits::default()), Ok(vec![value]));
        }
        for (len, head) in [
            (31usize, &b"\xbf"[..]),
            (32, b"\xd9\x20"),
            (255, b"\xd9\xff"),
            (256, b"\xda\x01\x00"),
            (65535, b"\xda\xff\xff"),
            (65536, b"\xdb\x00\x01\x00\x00"),
        ] {
            assert!(packed("x".repeat(len).as_str()).starts_with(head));
        }
        for (len, head) in
            [(255usize, &b"\xc4\xff"[..]), (256, b"\xc5\x01\x00"), (65536, b"\xc6\x00\x01\x00\x00")]
        {
            assert!(packed(&vec![0u8; len]).starts_with(head));
        }
        for (len, head) in [(15usize, &b"\x9f"[..]), (16, b"\xdc\x00\x10"), (65536, b"\xdd\x00\x01\x00\x00")]
        {
            assert!(packed(&vec![Value::Nil; len]).starts_with(head));
            let pairs = packed(&Value::Map(vec![(Value::Nil, Value::Nil); len]));
            assert!(pairs.starts_with(&[if len == 15 { 0x8f } else { head[0] + 2 }]));
        }
    }

    #[test]
    fn plain_types_pack_like_values() {
        macro_rules! same {
            ($($item:expr),*) => {$( assert_eq!(packed(&$item), packed(&Value::from($item))); )*};
        }
        same!(
            true,
            5u8,
            500u16,
            70_000u32,
            u64::MAX,
            usize::MAX,
            -5i8,
            500i16,
            -70_000i32,
            i64::MIN,
            isize::MIN
        );
        same!(
            1.5f32,
            -0.0f64,
            "text",
            String::from("text"),
            vec![1u8, 2],
            [1u8, 2],
            b"x",
            None::<u8>,
            Some("x")
        );
        same!(vec![Value::Nil]);
        assert_eq!(packed(&[Value::Nil]), b"\x91\xc0");
        assert_eq!(packed(&b"x"[..]), b"\xc4\x01x");
    }

    /// W-15
    #[test]
    fn longer_forms_are_read() {
        for (bytes, value) in [
            (&b"\xcc\x05"[..], Value::Int(5)),
            (b"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", Value::Int(5)),
            (b"\xd0\x05", Value::Int(5)),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", Value::Int(-1)),
            (b"\xca\x3f\xc0\x00\x00", Value::Float(1.5)),
            (b"\xdb\x00\x00\x00\x01x", Value::from("x")),
            (b"\xc6\x00\x00\x00\x01x", Value::from(b"x")),
            (b"\xdd\x00\x00\x00\x01\xc0", Value::Array(vec![Value::Nil])),
            (b"\xdf\x00\x00\x00\x01\xc0\xc2", Value::Map(vec![(Value::Nil, Value::Bool(false))])),
        ] {
            assert_eq!(read(bytes, 1, &Limits::default()), Ok(vec![value]));
        }
    }

    /// W-16, W-20, W-21
    #[test]
    fn refused() {
        use ValueError::*;
        let limits = Limits { max_depth: 2, max_values: 8 };
        for (bytes, count, error) in [
            (&b""[..], 1, Truncated { at: 0 }),
            (b"\xc0", 2, Truncated { at: 0 }),
            (b"\xc0\xcd\x01", 2, Truncated { at: 1 }),
            (b"\xa5hell", 1, Truncated { at: 0 }),
            (b"\xd9", 1, Truncated { at: 0 }),
            (b"\xc6\xff\xff\xff\xff", 1, Truncated { at: 0 }),
            (b"\x93\x01\x02", 1, Truncated { at: 0 }),
            (b"\x82\x01\x02\x03", 1, Truncated { at: 0 }),
            // The inner array fits what is left, but not with what the outer one still needs.
            (b"\x92\x92\x01\x02", 1, Truncated { at: 1 }),
            (b"\xdf\xff\xff\xff\xff\x01", 1, Truncated { at: 0 }),
            (b"\xc0\xc0", 1, Trailing { at: 1 }),
            (b"\xc0", 0, Trailing { at: 0 }),
            (b"\x92\xc0\xc1", 1, Reserved { at: 2 }),
            (b"\xc7\x00\x01", 1, Ext { at: 0 }),
            (b"\x91\xd4\x01\x00", 1, Ext { at: 1 }),
            (b"\xa3ab\xff", 1, InvalidUtf8 { at: 3 }),
            (b"\xa1\xc3", 1, InvalidUtf8 { at: 1 }),
            (b"\x91\x91\x91\xc0", 1, TooDeep { at: 2, max: 2 }),
            (b"\x91\x91\x90", 1, TooDeep { at: 2, max: 2 }),
            (b"\x98\x01\x02\x03\x04\x05\x06\x07\x08", 1, TooMany { at: 0, max: 8 }),
            (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9, TooMany { at: 0, max: 8 }),
        ] {
            assert_eq!(read(bytes, count, &limits), Err(error.clone()), "{bytes:02x?}");
            let malformed = matches!(error, Truncated { .. } | Reserved { .. });
            assert_eq!(error.is_malformed(), malformed);
        }
        assert!(read(b"\x97\x01\x02\x03\x04\x05\x06\x07", 1, &limits).is_ok());
        assert!(read(b"\x91\x91\xc0", 1, &limits).is_ok());
        assert_eq!(skip(b"\xc0", 5, &limits), Err(Truncated { at: 1 }));
    }

    /// L-7
    #[test]
    fn depth_is_bounded_both_ways() {
        let nested = |depth| (0..depth).fold(Value::Nil, |inner, _| Value::Array(vec![inner]));
        let deepest = packed(&nested(MAX_DEPTH));
        assert_eq!(read(&deepest, 1, &Limits::default()), Ok(vec![nested(MAX_DEPTH)]));
        assert_eq!(
            nested(MAX_DEPTH + 1).pack(&mut Vec::new()),
            Err(ValueError::PackTooDeep { place: "[0]".repeat(MAX_DEPTH), max: MAX_DEPTH })
        );
        // A limit over the constant is the constant: both readers' stacks are made for that.
        let limits = Limits { max_depth: usize::MAX, max_values: usize::MAX };
        let bytes = [vec![0x91; 100_000], vec![0xc0]].concat();
        let error = ValueError::TooDeep { at: MAX_DEPTH, max: MAX_DEPTH };
        assert_eq!(read(&bytes, 1, &limits), Err(error));
        assert_eq!(read(&bytes[100_000 - MAX_DEPTH..], 1, &limits), Ok(vec![nested(MAX_DEPTH)]));
    }

    #[test]
    fn errors_name_the_place() {
        let bad = Value::Int(1 << 64);
        let map = Value::Map(vec![
            (Value::from(1), Value::Nil),
            (Value::from("k"), Value::Array(vec![Value::Nil, bad.clone()])),
        ]);
        let mut out = b"before".to_vec();
        let error = (1, "two", map).pack_all(&mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "payload[2][\"k\"][1]: integer 18446744073709551616 is outside -2^63 to 2^64 - 1"
        );
        assert!(!error.is_malformed());
        assert_eq!(out, b"before");
        let error = bad.pack(&mut out).unwrap_err();
        assert!(error.to_string().starts_with("value: integer"));
        let place = |key: Value, value: Value| {
            [Value::Map(vec![(key, value)])].pack_all(&mut Vec::new()).unwrap_err().to_string()
        };
        assert!(place(bad.clone(), Value::Nil).starts_with("payload[0][key of pair 0]: "));
        assert!(place(Value::Nil, bad.clone()).starts_with("payload[0][value of pair 0]: "));
        assert!(place(Value::from(-7), bad.clone()).starts_with("payload[0][-7]: "));
        let shown = format!("payload[0][\"{}\"…]: ", "é".repeat(32));
        assert!(place(Value::from("é".repeat(40)), bad).starts_with(&shown));
    }

    #[test]
    fn payloads_count_what_they_write() {
        fn check(payload: impl Payload, count: usize) {
            let mut out = Vec::new();
            payload.pack_all(&mut out).unwrap();
            assert_eq!(payload.count(), count);
            assert_eq!(read(&out, count, &Limits::default()).unwrap().len(), count);
        }
        check((), 0);
        check((1,), 1);
        check(("hello", 5), 2);
        check((1, 2, 3, 4, 5, 6, 7, None::<bool>), 8);
        check([Value::Nil, Value::Nil], 2);
        check(vec![Value::Nil; 3], 3);
        check(&vec![Value::Nil; 3][..], 3);
        check(<[Value; 0]>::default(), 0);
    }

    /// W-27
    #[test]
    fn accessors() {
        assert!(Value::from(None::<u8>).is_nil());
        assert_eq!(Value::from(true).as_bool(), Some(true));
        assert_eq!(Value::from(u64::MAX).as_i64(), None);
        assert_eq!(Value::from(u64::MAX).as_u64(), Some(u64::MAX));
        assert_eq!(Value::from(-1).as_u64(), None);
        assert_eq!(Value::from(2).as_f64(), Some(2.0));
        assert_eq!(Value::from(1.5).as_f64(), Some(1.5));
        assert_eq!(Value::from(1.0).as_i64(), None);
        assert_eq!(Value::from(b"key").as_text(), Some("key"));
        assert_eq!(Value::from("key").as_text(), Some("key"));
        assert_eq!(Value::from([0xff]).as_text(), None);
        assert_eq!(Value::from(b"key").as_str(), None);
        assert_eq!(Value::from("key").as_bin(), None);
        assert_eq!(Value::Map(vec![]).as_map(), Some(&[][..]));
        assert_eq!(Value::Map(vec![]).as_array(), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-200i64..70_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,40}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    /// Values in `value`, itself included.
    fn size(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Map(pairs) => pairs.iter().map(|(key, value)| size(key) + size(value)).sum(),
            _ => 0,
        }
    }

    proptest! {
        /// W-16, L-8
        #[test]
        fn round_trip(values in proptest::collection::vec(any_value(), 0..8)) {
            let mut bytes = Vec::new();
            values.pack_all(&mut bytes).unwrap();
            prop_assert_eq!(read(&bytes, values.len(), &Limits::default()).unwrap(), values.clone());
            let total: usize = values.iter().map(size).sum();
            let exact = Limits { max_values: total, ..Limits::default() };
            prop_assert!(read(&bytes, values.len(), &exact).is_ok());
            if total > 0 {
                let less = Limits { max_values: total - 1, ..Limits::default() };
                let refused = matches!(
                    read(&bytes, values.len(), &less),
                    Err(ValueError::TooMany { .. })
                );
                prop_assert!(refused);
            }
        }

        #[test]
        fn damage_is_judged_alike(
            value in any_value(),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<proptest::sample::Index>(),
            max_depth in 0usize..8,
            max_values in 0usize..200,
        ) {
            let mut bytes = packed(&value);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read(&bytes, 1, &Limits::default());
            let _ = read(&bytes, 1, &Limits { max_depth, max_values });
            bytes.truncate(cut.index(bytes.len()));
            let _ = read(&bytes, 1, &Limits::default());
        }

        #[test]
        fn noise_is_judged_alike(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..6) {
            if let Ok(values) = read(&bytes, count, &Limits::default()) {
                // What was read can be written, in a form that is no longer, floats aside.
                let mut again = Vec::new();
                values.pack_all(&mut again).unwrap();
                prop_assert!(read(&again, count, &Limits::default()).is_ok());
            }
        }
    }
}
