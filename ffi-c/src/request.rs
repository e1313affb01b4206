//! Requests of this node, and answers to those of others.

use std::ffi::c_char;
use std::time::Duration;

use node::ErrorCode;
use peernet_bindings::{Error, Wait};

use crate::args;
use crate::guard::{Does, guard};
use crate::mesh::{find, peernet_mesh};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// Asks one node something, waits for its answer, and appends that to `answer`: packed values, one after the other.
/// A node that is no neighbour is found first, as peernet_mesh_send does. The answer is that node's.
///
/// `payload` is `len` bytes of packed values, and so is the answer. `timeout_ms` in milliseconds, negative waits as
/// long as it takes, 0 is too short for any answer. The request is sent once: when this fails, its addressee may
/// have read it.
///
/// Errors: PEERNET_ERR_TIMED_OUT; PEERNET_ERR_UNANSWERED as soon as it is known that no answer will come, as when
/// the addressee's program takes no requests, let this one go, or left; PEERNET_ERR_UNREACHABLE if it is not found;
/// PEERNET_ERR_TOO_MANY if too many are under way; PEERNET_ERR_NEEDS_TLS in other subnets; PEERNET_ERR_ID,
/// PEERNET_ERR_VALUE, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_request(
    mesh: peernet_mesh,
    peer: *const c_char,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    answer: *mut peernet_writer,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null, or a text that ends with a NUL, `len` bytes, and a writer that nobody else uses.
        let (peer, payload, answer) =
            unsafe { (args::peer(peer)?, args::payload(payload, len)?, peernet_writer::borrow(answer)?) };
        let open = find(mesh)?;
        let timeout = match wait {
            // It would be sent for nothing.
            Wait::Never => return Err(Error::timed_out()),
            Wait::AtMost(time) => time,
            Wait::Forever => Duration::MAX,
        };
        // The node has its own clock for it, and tells more when the time is over.
        let asked = open.node.mesh().request(&peer, &payload, timeout);
        let found = open.node.block_on(Wait::Forever, asked)?;
        answer.append(|out| {
            out.extend_from_slice(found.packed());
            Ok(())
        })
    })
}

fn no_such() -> Error {
    Error::new(
        ErrorCode::Unanswered,
        "no request with this token waits: it was answered, or let go, or never came",
    )
}

/// Answers a request of another node: `token` is that of its PEERNET_EVENT_REQUEST, and good until it is used, or
/// the node is closed, also when the batch is long freed. `payload` is `len` bytes of packed values. While a
/// neighbour's queue is full this waits up to `timeout_ms` milliseconds.
///
/// Errors: PEERNET_ERR_UNANSWERED if there is no such request any more, and PEERNET_ERR_VALUE, after which it still
/// waits. After all others it is used up, and its asker is told that no answer will come: PEERNET_ERR_NOT_CONNECTED
/// if that is no neighbour any more, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_TIMED_OUT. PEERNET_ERR_CLOSED. Whether the
/// asker still waits is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_respond(
    mesh: peernet_mesh,
    token: u64,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or `len` bytes.
        let payload = unsafe { args::payload(payload, len) }?;
        let open = find(mesh)?;
        let request = open.node.asked().take_request(token).ok_or_else(no_such)?;
        open.node.block_on(wait, request.respond(&payload))
    })
}

/// Lets a request of another node go, which tells its asker at once that no answer will come. Errors:
/// PEERNET_ERR_UNANSWERED if there is no such request any more, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_mesh_refuse(mesh: peernet_mesh, token: u64) -> peernet_status {
    guard(Does::Use, || find(mesh)?.node.asked().take_request(token).map(drop).ok_or_else(no_such))
}
