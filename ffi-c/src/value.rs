//! Values: written one after the other, and read the same way. No node is needed for it.

use std::ffi::{CStr, c_char};
use std::ptr;

use node::ErrorCode;
use node::wire::value::{Token, ValueError, pack_array_head, pack_map_head, skip, token};
use node::wire::{Limits, Pack, Packed};
use peernet_bindings::Error;

use crate::args;
use crate::guard::{Does, guard, guard_or};
use crate::status::peernet_status;

/// Packed values: msgpack, one value after the other. Payloads are written with it, and functions that give
/// values append them to one. It belongs to the program, which frees it with peernet_writer_free. One thread at
/// a time may use it. What is appended is never a part of what is in it already: that would move meanwhile.
pub struct peernet_writer {
    bytes: Vec<u8>,
}

/// Nothing is left to read.
pub const PEERNET_TYPE_END: i32 = 0;
/// Nil.
pub const PEERNET_TYPE_NIL: i32 = 1;
/// A boolean.
pub const PEERNET_TYPE_BOOL: i32 = 2;
/// An integer, -2^63 to 2^64-1.
pub const PEERNET_TYPE_INT: i32 = 3;
/// A number with a fraction.
pub const PEERNET_TYPE_FLOAT: i32 = 4;
/// Text, in UTF-8.
pub const PEERNET_TYPE_TEXT: i32 = 5;
/// Bytes.
pub const PEERNET_TYPE_BYTES: i32 = 6;
/// A list: its length, and so many values behind it.
pub const PEERNET_TYPE_ARRAY: i32 = 7;
/// A map: its length, and so many pairs of a key and a value behind it.
pub const PEERNET_TYPE_MAP: i32 = 8;

/// A place in packed values. It is a plain struct of the program's, made by peernet_reader_init and copied at
/// will; it owns nothing, and is good for as long as the bytes are. Its size never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_reader {
    /// The values.
    pub data: *const u8,
    /// Bytes of `data`.
    pub len: usize,
    /// Where the next value begins.
    pub at: usize,
}

impl peernet_writer {
    /// The writer of a caller.
    pub(crate) unsafe fn borrow<'a>(writer: *mut Self) -> Result<&'a mut Self, Error> {
        // SAFETY: null or a writer that nobody else uses, by the header.
        unsafe { args::object_mut(writer, "writer") }
    }

    /// Appends a value, or nothing if that fails.
    pub(crate) fn append(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
    ) -> Result<(), Error> {
        let before = self.bytes.len();
        write(&mut self.bytes).map_err(|error| {
            self.bytes.truncate(before);
            args::no_value(error)
        })
    }

    /// Has these bytes in place of what there was.
    pub(crate) fn keep(&mut self, parts: &[&[u8]]) {
        self.bytes.clear();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A new writer, with nothing in it. Never null.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_writer_new() -> *mut peernet_writer {
    Box::into_raw(Box::new(peernet_writer { bytes: Vec::new() }))
}

/// Frees a writer and the bytes in it. Null does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_free(writer: *mut peernet_writer) {
    guard_or((), Does::Pure, || {
        if !writer.is_null() {
            // SAFETY: not null, and so one that peernet_writer_new gave and that was not freed.
            drop(unsafe { Box::from_raw(writer) });
        }
        Ok(())
    });
}

/// Empties a writer, whose memory it keeps for what comes next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_clear(writer: *mut peernet_writer) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: as of the header.
        unsafe { peernet_writer::borrow(writer) }?.bytes.clear();
        Ok(())
    })
}

/// The bytes that were written, good until the writer is written to, cleared or freed. Null for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_data(writer: *const peernet_writer) -> *const u8 {
    // SAFETY: null or a writer that was not freed.
    guard_or(ptr::null(), Does::Pure, || Ok(unsafe { args::object(writer, "writer") }?.bytes.as_ptr()))
}

/// How many bytes were written; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_len(writer: *const peernet_writer) -> usize {
    // SAFETY: null or a writer that was not freed.
    guard_or(0, Does::Pure, || Ok(unsafe { args::object(writer, "writer") }?.bytes.len()))
}

unsafe fn write(
    writer: *mut peernet_writer,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
) -> peernet_status {
    // SAFETY: as of the callers.
    guard(Does::Pure, || unsafe { peernet_writer::borrow(writer) }?.append(write))
}

/// Appends nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_nil(writer: *mut peernet_writer) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { write(writer, |out| None::<bool>.pack(out)) }
}

/// Appends a boolean: false for 0, and true for all else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_bool(writer: *mut peernet_writer, value: i32) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { write(writer, |out| (value != 0).pack(out)) }
}

/// Appends an integer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_int(writer: *mut peernet_writer, value: i64) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { write(writer, |out| value.pack(out)) }
}

/// Appends an integer that is not negative.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_uint(writer: *mut peernet_writer, value: u64) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { write(writer, |out| value.pack(out)) }
}

/// Appends a number with a fraction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_float(writer: *mut peernet_writer, value: f64) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { write(writer, |out| value.pack(out)) }
}

/// Appends a text that ends with a NUL. PEERNET_ERR_ARGUMENT if it is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_text(
    writer: *mut peernet_writer,
    text: *const c_char,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or ends with a NUL.
        let text = unsafe { args::text(text, "text") }?;
        // SAFETY: as of the header.
        unsafe { peernet_writer::borrow(writer) }?.append(|out| text.pack(out))
    })
}

/// Appends a text of `len` bytes, which may have NULs in it. PEERNET_ERR_ARGUMENT if it is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_text_len(
    writer: *mut peernet_writer,
    text: *const c_char,
    len: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or `len` bytes.
        let text = unsafe { args::bytes(text.cast(), len, "text") }?;
        let text = std::str::from_utf8(text).map_err(|_| args::wrong("text is not UTF-8"))?;
        // SAFETY: as of the header.
        unsafe { peernet_writer::borrow(writer) }?.append(|out| text.pack(out))
    })
}

/// Appends `len` bytes as one value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_bytes(
    writer: *mut peernet_writer,
    data: *const u8,
    len: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or `len` bytes.
        let bytes = unsafe { args::bytes(data, len, "data") }?;
        // SAFETY: as of the header.
        unsafe { peernet_writer::borrow(writer) }?.append(|out| bytes.pack(out))
    })
}

/// Begins an array: the next `count` values are in it. Whoever sends too few of them gets PEERNET_ERR_VALUE then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_array(writer: *mut peernet_writer, count: u32) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        write(writer, |out| {
            pack_array_head(count, out);
            Ok(())
        })
    }
}

/// Begins a map: the next `count` pairs of values, key and value in turn, are in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_map(writer: *mut peernet_writer, count: u32) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        write(writer, |out| {
            pack_map_head(count, out);
            Ok(())
        })
    }
}

/// Appends values that are packed already, such as a payload that was received. PEERNET_ERR_VALUE if the `len`
/// bytes are anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_writer_packed(
    writer: *mut peernet_writer,
    data: *const u8,
    len: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or `len` bytes.
        let packed = unsafe { args::payload(data, len) }?;
        // SAFETY: as of the header.
        unsafe { peernet_writer::borrow(writer) }?.bytes.extend_from_slice(packed.as_bytes());
        Ok(())
    })
}

/// Makes a reader of `len` bytes of packed values, such as the payload of a message or what is in a writer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_init(
    reader: *mut peernet_reader,
    data: *const u8,
    len: usize,
) -> peernet_status {
    guard(Does::Pure, || {
        let place = args::out(reader, "reader")?;
        // SAFETY: null or `len` bytes, of which none is looked at.
        unsafe {
            args::bytes(data, len, "data")?;
            place.put(peernet_reader { data, len, at: 0 });
        }
        Ok(())
    })
}

/// Checks all that is left to read: PEERNET_ERR_VALUE unless it is whole values. Payloads of messages and what
/// functions of this library wrote always are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_check(reader: *const peernet_reader) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or a reader.
        let reader = unsafe { args::object(reader, "reader") }?;
        // SAFETY: a reader's bytes live as long as it is used.
        let bytes = unsafe { reader.bytes() }?;
        let rest = bytes.get(reader.at..).ok_or_else(past_the_end)?;
        Packed::new(rest, &Limits::default()).map(drop).map_err(args::no_value)
    })
}

fn past_the_end() -> Error {
    args::wrong("the reader is behind the end of its bytes; make it with peernet_reader_init")
}

impl peernet_reader {
    unsafe fn bytes<'a>(&self) -> Result<&'a [u8], Error> {
        // SAFETY: as of the caller.
        unsafe { args::bytes(self.data, self.len, "reader.data") }
    }

    /// The next token, and the offset behind it.
    unsafe fn token<'a>(&self) -> Result<(Token<'a>, usize), Error> {
        // SAFETY: as of the caller.
        let bytes = unsafe { self.bytes() }?;
        if self.at == bytes.len() {
            return Err(Error::new(ErrorCode::End, "nothing is left to read"));
        }
        token(bytes, self.at).map_err(args::no_value)
    }
}

/// Reads one value into a place. Where that fails, the reader stays where it is.
unsafe fn read<'a, T>(
    reader: *mut peernet_reader,
    places: Result<T, Error>,
    wanted: &'static str,
    take: impl FnOnce(Token<'a>, T) -> Option<()>,
) -> peernet_status {
    guard(Does::Pure, || {
        let places = places?;
        // SAFETY: null or a reader that nobody else uses.
        let reader = unsafe { args::object_mut(reader, "reader") }?;
        // SAFETY: a reader's bytes live as long as it is used.
        let (token, next) = unsafe { reader.token() }?;
        let other = || Error::new(ErrorCode::Type, format!("the next value is not {wanted}"));
        take(token, places).ok_or_else(other)?;
        reader.at = next;
        Ok(())
    })
}

/// The type of the next value, PEERNET_TYPE_..., without reading it; PEERNET_TYPE_END if there is none, or a
/// negative status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_type(reader: *const peernet_reader) -> i32 {
    let mut found = PEERNET_TYPE_END;
    let status = guard(Does::Pure, || {
        // SAFETY: null or a reader.
        let reader = unsafe { args::object(reader, "reader") }?;
        if reader.at == reader.len {
            return Ok(());
        }
        // SAFETY: a reader's bytes live as long as it is used.
        found = match unsafe { reader.token() }?.0 {
            Token::Nil => PEERNET_TYPE_NIL,
            Token::Bool(_) => PEERNET_TYPE_BOOL,
            Token::Int(_) => PEERNET_TYPE_INT,
            Token::Float(_) => PEERNET_TYPE_FLOAT,
            Token::Str(_) => PEERNET_TYPE_TEXT,
            Token::Bin(_) => PEERNET_TYPE_BYTES,
            Token::Array(_) => PEERNET_TYPE_ARRAY,
            Token::Map(_) => PEERNET_TYPE_MAP,
        };
        Ok(())
    });
    if status < 0 { status } else { found }
}

/// Reads a nil. PEERNET_ERR_TYPE if the next value is something else, and then the reader stays where it is;
/// PEERNET_ERR_END if there is none. So in the following.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_nil(reader: *mut peernet_reader) -> peernet_status {
    // SAFETY: as of the header.
    unsafe { read(reader, Ok(()), "nil", |token, ()| (token == Token::Nil).then_some(())) }
}

/// Reads a boolean, as 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_bool(reader: *mut peernet_reader, value: *mut i32) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(value, "value"), "a boolean", |token, place| {
            let Token::Bool(truth) = token else { return None };
            place.put(truth.into());
            Some(())
        })
    }
}

/// Reads an integer. PEERNET_ERR_TYPE also for one over 2^63-1: read that with peernet_reader_uint.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_int(reader: *mut peernet_reader, value: *mut i64) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(value, "value"), "an integer of this size", |token, place| {
            let Token::Int(integer) = token else { return None };
            place.put(integer.try_into().ok()?);
            Some(())
        })
    }
}

/// Reads an integer that is not negative. PEERNET_ERR_TYPE also for one that is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_uint(reader: *mut peernet_reader, value: *mut u64) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(value, "value"), "an integer of this size", |token, place| {
            let Token::Int(integer) = token else { return None };
            place.put(integer.try_into().ok()?);
            Some(())
        })
    }
}

/// Reads a number: one with a fraction, or the nearest to an integer, as which some peers send 5.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_float(
    reader: *mut peernet_reader,
    value: *mut f64,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(value, "value"), "a number", |token, place| {
            place.put(match token {
                Token::Float(number) => number,
                Token::Int(number) => number as f64,
                _ => return None,
            });
            Some(())
        })
    }
}

/// Reads a text, or bytes that are UTF-8, as which some peers send theirs. `*text` leads to its `*len` bytes in
/// what is read, without a NUL behind them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_text(
    reader: *mut peernet_reader,
    text: *mut *const c_char,
    len: *mut usize,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        let places = args::out(text, "text").and_then(|text| Ok((text, args::out(len, "len")?)));
        read(reader, places, "text", |token, (text, len)| {
            let found = match token {
                Token::Str(found) => found,
                Token::Bin(found) => std::str::from_utf8(found).ok()?,
                _ => return None,
            };
            text.put(found.as_ptr().cast());
            len.put(found.len());
            Some(())
        })
    }
}

/// Reads bytes, or a text as its bytes. `*data` leads to them, `*len` of them, in what is read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_bytes(
    reader: *mut peernet_reader,
    data: *mut *const u8,
    len: *mut usize,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        let places = args::out(data, "data").and_then(|data| Ok((data, args::out(len, "len")?)));
        read(reader, places, "bytes", |token, (data, len)| {
            let found = match token {
                Token::Str(found) => found.as_bytes(),
                Token::Bin(found) => found,
                _ => return None,
            };
            data.put(found.as_ptr());
            len.put(found.len());
            Some(())
        })
    }
}

/// Reads the beginning of an array. The next `*count` values are in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_array(
    reader: *mut peernet_reader,
    count: *mut usize,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(count, "count"), "an array", |token, place| {
            let Token::Array(count) = token else { return None };
            place.put(count);
            Some(())
        })
    }
}

/// Reads the beginning of a map. The next `*count` pairs of values, key and value in turn, are in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_map(
    reader: *mut peernet_reader,
    count: *mut usize,
) -> peernet_status {
    // SAFETY: as of the header.
    unsafe {
        read(reader, args::out(count, "count"), "a map", |token, place| {
            let Token::Map(count) = token else { return None };
            place.put(count);
            Some(())
        })
    }
}

/// Passes over the next value, with all that is in it. PEERNET_ERR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_skip(reader: *mut peernet_reader) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or a reader that nobody else uses.
        let reader = unsafe { args::object_mut(reader, "reader") }?;
        // SAFETY: a reader's bytes live as long as it is used.
        let bytes = unsafe {
            reader.token()?;
            reader.bytes()
        }?;
        reader.at = skip(bytes, reader.at, &Limits::default()).map_err(args::no_value)?;
        Ok(())
    })
}

/// Looks up a key, a text, in the map that is the next value of `map`, which stays where it is. On success `value`
/// stands before the value of the key. PEERNET_ERR_END if the map has no such key, PEERNET_ERR_TYPE if there is no
/// map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_reader_find(
    map: *const peernet_reader,
    key: *const c_char,
    value: *mut peernet_reader,
) -> peernet_status {
    guard(Does::Pure, || {
        let place = args::out(value, "value")?;
        if key.is_null() {
            return Err(args::wrong("key is null"));
        }
        // SAFETY: not null, and so ends with a NUL.
        let key = unsafe { CStr::from_ptr(key) }.to_bytes();
        // SAFETY: null or a reader.
        let map = *unsafe { args::object(map, "map") }?;
        // SAFETY: a reader's bytes live as long as it is used.
        let (head, mut at) = unsafe { map.token() }?;
        let Token::Map(count) = head else {
            return Err(Error::new(ErrorCode::Type, "the next value is not a map"));
        };
        // SAFETY: as before.
        let bytes = unsafe { map.bytes() }?;
        let limits = Limits::default();
        for _ in 0..count {
            let (name, _) = token(bytes, at).map_err(args::no_value)?;
            at = skip(bytes, at, &limits).map_err(args::no_value)?;
            if matches!(name, Token::Str(text) if text.as_bytes() == key)
                || matches!(name, Token::Bin(text) if text == key)
            {
                // SAFETY: checked above.
                unsafe { place.put(peernet_reader { at, ..map }) };
                return Ok(());
            }
            at = skip(bytes, at, &limits).map_err(args::no_value)?;
        }
        Err(Error::new(ErrorCode::End, format!("the map has no key {}", String::from_utf8_lossy(key))))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::{
        PEERNET_ERR_ARGUMENT, PEERNET_ERR_END, PEERNET_ERR_TYPE, PEERNET_ERR_VALUE, PEERNET_OK,
    };

    /// A writer that is freed at the end.
    struct Writer(*mut peernet_writer);

    impl Writer {
        fn new() -> Self {
            Self(peernet_writer_new())
        }

        fn bytes(&self) -> Vec<u8> {
            // SAFETY: it was not freed.
            unsafe { (*self.0).bytes().to_vec() }
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            // SAFETY: once.
            unsafe { peernet_writer_free(self.0) };
        }
    }

    fn reader(bytes: &[u8]) -> peernet_reader {
        peernet_reader { data: bytes.as_ptr(), len: bytes.len(), at: 0 }
    }

    #[test]
    fn what_is_written_is_read() {
        let writer = Writer::new();
        let w = writer.0;
        // SAFETY: the writer lives, texts end with a NUL, and lengths are those of their bytes.
        unsafe {
            assert_eq!(peernet_writer_map(w, 2), PEERNET_OK);
            assert_eq!(peernet_writer_text(w, c"numbers".as_ptr()), PEERNET_OK);
            assert_eq!(peernet_writer_array(w, 3), PEERNET_OK);
            assert_eq!(peernet_writer_int(w, i64::MIN), PEERNET_OK);
            assert_eq!(peernet_writer_uint(w, u64::MAX), PEERNET_OK);
            assert_eq!(peernet_writer_float(w, 1.5), PEERNET_OK);
            assert_eq!(peernet_writer_bytes(w, b"rest".as_ptr(), 4), PEERNET_OK);
            assert_eq!(peernet_writer_array(w, 2), PEERNET_OK);
            assert_eq!(peernet_writer_nil(w), PEERNET_OK);
            assert_eq!(peernet_writer_bool(w, 7), PEERNET_OK);
            assert_eq!(peernet_writer_text_len(w, b"a\0b".as_ptr().cast(), 3), PEERNET_OK);
            assert_eq!(peernet_writer_text_len(w, c"\xff".as_ptr(), 1), PEERNET_ERR_ARGUMENT);
            assert_eq!(peernet_writer_packed(w, b"\xa1".as_ptr(), 1), PEERNET_ERR_VALUE);
        }
        let bytes = writer.bytes();
        assert_eq!(
            bytes,
            b"\x82\xa7numbers\x93\xd3\x80\0\0\0\0\0\0\0\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\x3f\xf8\0\0\0\0\0\0\
              \xc4\x04rest\x92\xc0\xc3\xa3a\0b"
        );
        let mut r = reader(&bytes);
        let (mut found, mut count, mut int, mut uint, mut float, mut truth) = (r, 0, 0, 0, 0.0, 0);
        let (mut text, mut len) = (ptr::null(), 0);
        // SAFETY: readers and places live, and the bytes with them.
        unsafe {
            assert_eq!(peernet_reader_check(&r), PEERNET_OK);
            assert_eq!(peernet_reader_type(&r), PEERNET_TYPE_MAP);
            assert_eq!(peernet_reader_find(&r, c"other".as_ptr(), &mut found), PEERNET_ERR_END);
            assert_eq!(peernet_reader_find(&r, c"rest".as_ptr(), &mut found), PEERNET_OK);
            assert_eq!(peernet_reader_array(&mut found, &mut count), PEERNET_OK);
            assert_eq!((count, peernet_reader_nil(&mut found)), (2, PEERNET_OK));
            assert_eq!((peernet_reader_bool(&mut found, &mut truth), truth), (PEERNET_OK, 1));
            assert_eq!(peernet_reader_text(&mut found, &mut text, &mut len), PEERNET_OK);
            assert_eq!(std::slice::from_raw_parts(text.cast::<u8>(), len), b"a\0b");
            assert_eq!(peernet_reader_type(&found), PEERNET_TYPE_END);
            assert_eq!(peernet_reader_skip(&mut found), PEERNET_ERR_END);

            assert_eq!(peernet_reader_find(&r, c"numbers".as_ptr(), &mut found), PEERNET_OK);
            assert_eq!(peernet_reader_find(&found, c"numbers".as_ptr(), &mut found), PEERNET_ERR_TYPE);
            assert_eq!(peernet_reader_array(&mut found, &mut count), PEERNET_OK);
            assert_eq!(peernet_reader_uint(&mut found, &mut uint), PEERNET_ERR_TYPE);
            assert_eq!((peernet_reader_int(&mut found, &mut int), int), (PEERNET_OK, i64::MIN));
            assert_eq!(peernet_reader_int(&mut found, &mut int), PEERNET_ERR_TYPE);
            assert_eq!((peernet_reader_uint(&mut found, &mut uint), uint), (PEERNET_OK, u64::MAX));
            assert_eq!(peernet_reader_uint(&mut found, &mut uint), PEERNET_ERR_TYPE);
            assert_eq!((peernet_reader_float(&mut found, &mut float), float), (PEERNET_OK, 1.5));

            assert_eq!(peernet_reader_skip(&mut r), PEERNET_OK);
            assert_eq!(peernet_reader_type(&r), PEERNET_TYPE_TEXT);
        }
    }

    #[test]
    fn bytes_that_are_no_values_move_no_reader() {
        for bytes in [&b"\xc1"[..], b"\xa5hi", b"\x92\x01", b"\xd4\x00\x00"] {
            let mut r = reader(bytes);
            let mut count = 0;
            // SAFETY: the reader and its bytes live.
            unsafe {
                assert_eq!(peernet_reader_check(&r), PEERNET_ERR_VALUE);
                assert_eq!(peernet_reader_skip(&mut r), PEERNET_ERR_VALUE);
                assert!(peernet_reader_array(&mut r, &mut count) < 0);
            }
            assert_eq!(r.at, 0);
        }
        let mut past = peernet_reader { at: 2, ..reader(b"\x05") };
        // SAFETY: the reader and its bytes live.
        unsafe {
            assert!(peernet_reader_type(&past) < 0);
            assert_eq!(peernet_reader_check(&past), PEERNET_ERR_ARGUMENT);
            assert_eq!(peernet_reader_skip(&mut past), PEERNET_ERR_VALUE);
        }
    }
}
