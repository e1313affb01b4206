//! What functions return: 0, or the frozen number of an error.

use std::ffi::{CStr, c_char};

use crate::guard;

/// What a function returns: `PEERNET_OK`, or one of the negative `PEERNET_ERR_...`. Values never change and are
/// never given to another error; a later library may return ones that this header does not know.
/// `peernet_error_message` has the words.
pub type peernet_status = i32;

/// It worked.
pub const PEERNET_OK: peernet_status = 0;
/// A text is no address.
pub const PEERNET_ERR_ADDRESS: peernet_status = -1;
/// An option cannot work.
pub const PEERNET_ERR_CONFIG: peernet_status = -2;
/// The data directory cannot be used.
pub const PEERNET_ERR_DATA: peernet_status = -3;
/// The store cannot be used.
pub const PEERNET_ERR_STORE: peernet_status = -4;
/// This library does not offer what was asked for.
pub const PEERNET_ERR_UNSUPPORTED: peernet_status = -5;
/// The listening socket could not be opened.
pub const PEERNET_ERR_LISTEN: peernet_status = -6;
/// No connection, or one that ended before the handshake was done.
pub const PEERNET_ERR_CONNECT: peernet_status = -7;
/// The addressee is no neighbour and could not be found.
pub const PEERNET_ERR_UNREACHABLE: peernet_status = -8;
/// The addressee is no neighbour, and anyone could answer in its name.
pub const PEERNET_ERR_UNPROVEN: peernet_status = -9;
/// The peer is not connected.
pub const PEERNET_ERR_NOT_CONNECTED: peernet_status = -10;
/// The time that was given is over.
pub const PEERNET_ERR_TIMED_OUT: peernet_status = -11;
/// A request will not be answered.
pub const PEERNET_ERR_UNANSWERED: peernet_status = -12;
/// Too much of this node's own is under way.
pub const PEERNET_ERR_TOO_MANY: peernet_status = -13;
/// Only `tls` subnets have words for it.
pub const PEERNET_ERR_NEEDS_TLS: peernet_status = -14;
/// What is found for a search goes back no more.
pub const PEERNET_ERR_SEARCH_OVER: peernet_status = -15;
/// A value has no form on the wire, or bytes are no values.
pub const PEERNET_ERR_VALUE: peernet_status = -16;
/// A message is larger than any frame may be, or a text longer than its place.
pub const PEERNET_ERR_TOO_LARGE: peernet_status = -17;
/// Links have no room, and waiting was not wanted.
pub const PEERNET_ERR_FULL: peernet_status = -18;
/// The same payload was broadcast too often within a few seconds, and waiting was not wanted.
pub const PEERNET_ERR_REPEATED: peernet_status = -19;
/// In a table, the key is another's for now.
pub const PEERNET_ERR_LEASE: peernet_status = -20;
/// In a table, a bound is reached.
pub const PEERNET_ERR_TABLE_FULL: peernet_status = -21;
/// In a table, nil is no value.
pub const PEERNET_ERR_NIL: peernet_status = -22;
/// In a table, only maps can be merged.
pub const PEERNET_ERR_NOT_A_MAP: peernet_status = -23;
/// In a table, the key is too long.
pub const PEERNET_ERR_KEY: peernet_status = -24;
/// A code that is not for users.
pub const PEERNET_ERR_CODE: peernet_status = -25;
/// Messages or changes were dropped because the program read too slowly.
pub const PEERNET_ERR_LAGGED: peernet_status = -26;
/// The handle is closed, or was never given.
pub const PEERNET_ERR_CLOSED: peernet_status = -27;
/// An argument has no meaning: null where something must be, text that is not UTF-8.
pub const PEERNET_ERR_ARGUMENT: peernet_status = -28;
/// A text is no id.
pub const PEERNET_ERR_ID: peernet_status = -29;
/// A text is no identity.
pub const PEERNET_ERR_IDENTITY: peernet_status = -30;
/// A text is no secret.
pub const PEERNET_ERR_SECRET: peernet_status = -31;
/// Bytes are no frame, or no message.
pub const PEERNET_ERR_MESSAGE: peernet_status = -32;
/// A value is of another type than the one asked for.
pub const PEERNET_ERR_TYPE: peernet_status = -33;
/// There is nothing to read: no more, or nothing of that name.
pub const PEERNET_ERR_END: peernet_status = -34;
/// The node has no table.
pub const PEERNET_ERR_NO_TABLE: peernet_status = -35;
/// Called from within a callback, where it would wait for itself.
pub const PEERNET_ERR_REENTRANT: peernet_status = -36;
/// Called in a process that was forked from the one that opened nodes.
pub const PEERNET_ERR_FORKED: peernet_status = -37;
/// A fault of the library; please report it with the message.
pub const PEERNET_ERR_INTERNAL: peernet_status = -38;
/// Someone else reads the node's events already: a callback, or another thread.
pub const PEERNET_ERR_BUSY: peernet_status = -39;

/// The words of statuses, from 0 downwards: those of all languages.
const WORDS: [&CStr; 40] = [
    c"ok",
    c"address",
    c"config",
    c"data",
    c"store",
    c"unsupported",
    c"listen",
    c"connect",
    c"unreachable",
    c"unproven",
    c"not_connected",
    c"timed_out",
    c"unanswered",
    c"too_many",
    c"needs_tls",
    c"search_over",
    c"value",
    c"too_large",
    c"full",
    c"repeated",
    c"lease",
    c"table_full",
    c"nil",
    c"not_a_map",
    c"key",
    c"code",
    c"lagged",
    c"closed",
    c"argument",
    c"id",
    c"identity",
    c"secret",
    c"message",
    c"type",
    c"end",
    c"no_table",
    c"reentrant",
    c"forked",
    c"internal",
    c"busy",
];

/// The word for a status, the same in every language: `ok`, `closed`, `timed_out`; `unknown` for a number that
/// is none. The text lives as long as the library. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_status_name(status: peernet_status) -> *const c_char {
    let word =
        usize::try_from(status.unsigned_abs()).ok().filter(|_| status <= 0).and_then(|at| WORDS.get(at));
    word.copied().unwrap_or(c"unknown").as_ptr()
}

/// What the last function that failed on the calling thread has to say: what was tried, what is wrong with it,
/// and what to do. Never null; empty if none has failed. Functions that work leave it as it is. The text belongs
/// to the library and lives until the next function fails on this thread, or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_error_message() -> *const c_char {
    guard::last_message()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use node::ErrorCode;

    use super::*;

    fn word(status: peernet_status) -> &'static str {
        // SAFETY: texts of the library end with a NUL, and live for ever.
        unsafe { CStr::from_ptr(peernet_status_name(status)) }.to_str().unwrap()
    }

    #[test]
    fn statuses_are_the_core_s() {
        assert_eq!(WORDS.len(), ErrorCode::ALL.len() + 1);
        for code in ErrorCode::ALL {
            assert_eq!(word(code.status()), code.as_str());
        }
        assert_eq!(word(PEERNET_OK), "ok");
        for none in [1, 1000, i32::MAX, i32::MIN, -1000] {
            assert_eq!(word(none), "unknown");
        }
    }

    /// The header has them as its own constants, which nothing but this compares.
    #[test]
    fn constants_are_those_of_the_vectors() {
        let vectors = include_str!("../../conformance/vectors/errors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let source = include_str!("status.rs");
        for error in vectors["errors"].as_array().unwrap() {
            let (name, status) = (error["name"].as_str().unwrap(), error["status"].as_i64().unwrap());
            let line = format!("pub const PEERNET_ERR_{}: peernet_status = {status};", name.to_uppercase());
            assert!(source.contains(&line), "{line}");
        }
    }
}
