//! Arguments as C gives them, checked.
//!
//! Every function here is unsafe for the same reason: it believes the header, in which callers promise that a
//! pointer which is not null leads to what it is to lead to, for as long as the call takes.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::slice;

use node::ErrorCode;
use node::identity::NodeId;
use node::wire::{Limits, Packed};
use peernet_bindings::{Error, Wait};

pub(crate) fn wrong(problem: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::Argument, problem)
}

fn null(name: &str) -> Error {
    wrong(format!("{name} is null"))
}

/// A text that may be missing.
pub(crate) unsafe fn text_or_none<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not null, and so ends with a NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| wrong(format!("{name} is not UTF-8")))
}

/// A text.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Error> {
    // SAFETY: as here.
    unsafe { text_or_none(text, name) }?.ok_or_else(|| null(name))
}

/// The id of a node.
pub(crate) unsafe fn peer(id: *const c_char) -> Result<NodeId, Error> {
    // SAFETY: as here.
    self::id(unsafe { text(id, "peer") }?)
}

/// The id that a text is.
pub(crate) fn id(text: &str) -> Result<NodeId, Error> {
    text.parse().map_err(|error: node::identity::IdError| Error::new(ErrorCode::Id, error.to_string()))
}

/// Bytes. None may be null.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize, name: &str) -> Result<&'a [u8], Error> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null(name)),
        (_, 1..=MAX_LEN) => {
            // SAFETY: it is not null, and so leads to `len` bytes, which no object exceeds.
            Ok(unsafe { slice::from_raw_parts(data, len) })
        }
        _ => Err(wrong(format!("{name} is longer than memory"))),
    }
}

/// What Rust can address.
const MAX_LEN: usize = isize::MAX as usize;

/// A payload: packed values, one after the other.
pub(crate) unsafe fn payload<'a>(data: *const u8, len: usize) -> Result<Packed<'a>, Error> {
    // SAFETY: as here.
    let bytes = unsafe { bytes(data, len, "payload") }?;
    Packed::new(bytes, &Limits::default()).map_err(no_value)
}

/// Bytes that are no values, or values without a form.
pub(crate) fn no_value(error: node::wire::ValueError) -> Error {
    Error::new(ErrorCode::Value, error.to_string())
}

/// How long a call may wait.
pub(crate) fn wait(timeout_ms: i32) -> Wait {
    Wait::from_millis(timeout_ms.into())
}

/// An object that the caller owns and lends.
pub(crate) unsafe fn object<'a, T>(object: *const T, name: &str) -> Result<&'a T, Error> {
    // SAFETY: null or a valid object, by the header.
    unsafe { object.as_ref() }.ok_or_else(|| null(name))
}

/// An object that the caller owns and lends to be changed.
pub(crate) unsafe fn object_mut<'a, T>(object: *mut T, name: &str) -> Result<&'a mut T, Error> {
    // SAFETY: null or a valid object that nobody else uses, by the header.
    unsafe { object.as_mut() }.ok_or_else(|| null(name))
}

/// A place for a result.
#[derive(Debug)]
pub(crate) struct Out<T>(*mut T);

/// A place for a result, which must be there. Nothing is read from it.
pub(crate) fn out<T>(place: *mut T, name: &str) -> Result<Out<T>, Error> {
    match place.is_null() {
        true => Err(null(name)),
        false => Ok(Out(place)),
    }
}

/// Makes a place for what the caller is to free or close say that there is nothing yet.
pub(crate) unsafe fn clear<T>(place: *mut T, nothing: T) {
    if !place.is_null() {
        // SAFETY: not null, and so a place for a T, by the header.
        unsafe { ptr::write(place, nothing) };
    }
}

impl<T> Out<T> {
    /// Puts the result in its place.
    pub(crate) unsafe fn put(self, value: T) {
        // SAFETY: not null, and so a place for a T, by the header.
        unsafe { ptr::write(self.0, value) };
    }
}

/// Writes a text and its NUL into a place of `size` bytes. If it does not fit, nothing is written but an empty
/// text, if that fits.
pub(crate) unsafe fn put_text(place: *mut c_char, size: usize, text: &str, name: &str) -> Result<(), Error> {
    if place.is_null() {
        return Err(null(name));
    }
    let fits = text.len() < size;
    let text = if fits { text } else { "" };
    if size > 0 {
        // SAFETY: the place has `size` bytes, by the header, which are more than the text has.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr().cast(), place, text.len());
            place.add(text.len()).write(0);
        }
    }
    match fits {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::TooLarge, format!("{name} has no room for the text; give more"))),
    }
}

/// A copy of a struct that begins with its size as the caller's header has it: what an older caller does not
/// have is `default`, and what a newer one has must be zero, because this library knows nothing of it.
pub(crate) unsafe fn sized<T: Copy>(given: *const T, default: T, name: &str) -> Result<T, Error> {
    // SAFETY: as here.
    let copy = unsafe { known(given, default, name) }?;
    if given.is_null() {
        return Ok(copy);
    }
    // SAFETY: it is not null, and so begins with its size, which makes sense.
    let size = unsafe { given.cast::<usize>().read() };
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's has `size` bytes.
    let unknown = unsafe { slice::from_raw_parts(given.cast::<u8>().add(known), size - known) };
    match unknown.iter().all(|byte| *byte == 0) {
        true => Ok(copy),
        false => {
            let problem = format!("{name} has options that this library does not know; use a newer one");
            Err(Error::new(ErrorCode::Unsupported, problem))
        }
    }
}

/// As [`sized`], without a look at what this library knows nothing of.
pub(crate) unsafe fn known<T: Copy>(given: *const T, default: T, name: &str) -> Result<T, Error> {
    if given.is_null() {
        return Ok(default);
    }
    // SAFETY: it is not null, and so begins with its size.
    let size = unsafe { given.cast::<usize>().read() };
    if !(size_of::<usize>()..=MAX_STRUCT).contains(&size) {
        return Err(wrong(format!("{name}.struct_size is not the size of such a struct")));
    }
    let mut copy = default;
    let known = size.min(size_of::<T>());
    // SAFETY: both have that many bytes, and a T is made of fields for which any bytes are a value.
    unsafe { ptr::copy_nonoverlapping(given.cast::<u8>(), ptr::from_mut(&mut copy).cast::<u8>(), known) };
    Ok(copy)
}

/// Larger than any struct will ever be: a size that was never set.
const MAX_STRUCT: usize = 1 << 16;

/// Fills a struct that begins with its size as the caller's header has it, as far as it goes. The size stays.
pub(crate) unsafe fn fill<T: Copy>(place: *mut T, value: &T, name: &str) -> Result<(), Error> {
    if place.is_null() {
        return Err(null(name));
    }
    // SAFETY: it is not null, and so begins with its size.
    let size = unsafe { place.cast::<usize>().read() };
    if !(size_of::<usize>()..=MAX_STRUCT).contains(&size) {
        return Err(wrong(format!("{name}.struct_size is not the size of such a struct")));
    }
    let (from, skip) = (ptr::from_ref(value).cast::<u8>(), size_of::<usize>());
    let known = size.min(size_of::<T>()) - skip;
    // SAFETY: both have that many bytes behind their size.
    unsafe { ptr::copy_nonoverlapping(from.add(skip), place.cast::<u8>().add(skip), known) };
    Ok(())
}
