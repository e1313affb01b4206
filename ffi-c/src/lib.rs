//! libpeernet: peernet for C and whatever speaks C. What programs see is `include/peernet.h`, which is made of
//! this crate's public items and their documentation.
//!
//! # Adding a function
//! - `#[unsafe(no_mangle)] pub unsafe extern "C" fn peernet_...`, with documentation for C programmers: what it
//!   does, who owns what, which threads, which errors, which units. Plain sentences, no Rust names: they are
//!   copied into the header. `UPDATE_HEADER=1 cargo test -p libpeernet-c --test header` writes that anew.
//! - The body is one [`guard::guard`] that says what the function [`guard::Does`]: only touches what it is given,
//!   uses nodes, waits, or receives. Everything else, and every panic, is a `Result` inside.
//! - Arguments come in through [`args`], which checks them: `args::text`, `args::bytes`, `args::payload`,
//!   `args::peer`. Null is an error wherever something must be.
//! - An object comes from its handle: `handle::get::<T>(handle)?` gives an `Arc` that lives while it is used;
//!   `handle::open` and `handle::close` begin and end a handle. For nodes there is [`mesh::find`]. A new kind of
//!   long-lived object is a type of its own behind a handle; nothing is given out as a pointer but what its
//!   caller owns and frees (a batch, a writer).
//! - Results go to out-pointers, which come last and are checked *before* anything happens
//!   (`let place = args::out(place, "name")?;` and at the end `place.put(value)`); where a null place means
//!   "not wanted", say so. Texts go to places of the caller's (`args::put_text`). Values go to a writer of the
//!   caller's as packed msgpack (`value::writer`): there are no trees of C structs.
//! - An out-pointer is written on success only, but for handles and pointers to what the caller is to free, which
//!   are set to 0 or null first, before the guard (`args::clear`).
//! - It has its place in `include/peernet.hpp` too: the test `cpp` names what is missing there.
//!
//! # Structs that grow
//! Every struct begins with `size_t struct_size`, set by whoever makes it: by the program in those that it gives
//! or has filled, by the library in those that it owns. New fields go to the end, with 0 for "as before", and
//! as a multiple of eight bytes: an old header's size must not end within a new field, nor a new field lie in
//! an old one's padding. Options are read by `args::sized`, filled structs written by `args::fill`. A field of
//! options has its zero in the initialiser macro (`PEERNET_OPTIONS_INIT`, in `cbindgen.toml`).
//!
//! # A kind of event
//! A constant `PEERNET_EVENT_...` and an arm in `events::view`, which says which of the fields of `peernet_event`
//! it has. Numbers are never given to another kind. A program passes over kinds that it does not know.
//!
//! # Callbacks
//! They run inside of [`guard::in_callback`], so that whatever would wait for them is refused in them. What goes with
//! one is a `callback::User`, made before the guard: it is let go of exactly once, also if registering fails.
#![allow(non_camel_case_types)]

mod args;
#[cfg(unix)]
pub mod attach;
pub mod book;
pub mod callback;
pub mod events;
mod guard;
mod handle;
pub mod mesh;
pub mod options;
pub mod request;
pub mod search;
pub mod status;
pub mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
pub mod trust;
pub mod value;
pub mod wire;

use std::ffi::c_char;

/// The version of this header. Libraries with the same one, and any number of functions more, work with
/// programs that were compiled with it.
pub const PEERNET_ABI_VERSION: u32 = 1;

/// The version of the ABI that the library has: `PEERNET_ABI_VERSION` of its own header. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_abi_version() -> u32 {
    PEERNET_ABI_VERSION
}

/// The library's version, as `1.2.3`. The text lives as long as the library. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
