//! Connections over file descriptors that the program brings.

use std::ffi::c_char;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use node::{ErrorCode, Role};
use peernet_bindings::Error;

use crate::args;
use crate::guard::{Does, guard};
use crate::mesh::{find, peernet_mesh};
use crate::status::peernet_status;

/// The side of a connection that begins, for peernet_mesh_attach_fd.
pub const PEERNET_DIALLER: i32 = 1;
/// The side of a connection that is waited for, for peernet_mesh_attach_fd.
pub const PEERNET_ACCEPTOR: i32 = 2;

/// Makes a link of what the program brings in place of a TCP connection, and waits for the handshake: `input` is read
/// from and `output` written to. They are the same number for a socket or a serial line, and different ones for two
/// pipes, such as the standard input and output of another process. A link that breaks is not made again.
///
/// Both belong to the library from now on, whatever this returns: it makes them non-blocking, and closes them at the
/// end. Give it a duplicate (dup) of what you want to keep. What cannot be waited for, such as a file, is refused.
///
/// `role`: the other end must be a node of the same subnet that attaches it too, or anything that passes the bytes on
/// to the port of one, and one of the two is the PEERNET_DIALLER, the other the PEERNET_ACCEPTOR. The whole transport of
/// the subnet runs over it, such as TLS.
///
/// `id` and `timeout_ms` as of peernet_mesh_connect, but when the time is over before the handshake of TLS or
/// WebSocket, the connection is given up. Errors: PEERNET_ERR_CONNECT, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_ARGUMENT if
/// one is no open descriptor, PEERNET_ERR_CLOSED. Not on Windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_attach_fd(
    mesh: peernet_mesh,
    input: i32,
    output: i32,
    role: i32,
    timeout_ms: i32,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    // SAFETY: the caller gives them away.
    let fds = unsafe { owned(input, output) };
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), move || {
        let role = match role {
            PEERNET_DIALLER => Role::Dialler,
            PEERNET_ACCEPTOR => Role::Acceptor,
            _ => return Err(args::wrong("role is neither PEERNET_DIALLER nor PEERNET_ACCEPTOR")),
        };
        let (input, output) = fds?;
        let peer = find(mesh)?.node.attach(input, output, role, wait)?;
        match id.is_null() {
            true => Ok(()),
            // SAFETY: not null, and so has `size` bytes.
            false => unsafe { args::put_text(id, size, peer.as_str(), "id") },
        }
    })
}

/// Takes both over, as two descriptors even if they are one.
unsafe fn owned(input: i32, output: i32) -> Result<(OwnedFd, OwnedFd), Error> {
    let take = |number: i32, name: &str| {
        if number < 0 {
            return Err(args::wrong(format!("{name} is no file descriptor")));
        }
        // SAFETY: only looked at whether there is one.
        rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })
            .map_err(|_| args::wrong(format!("{name} is no open file descriptor")))?;
        // SAFETY: it is open, and given away.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    if input != output {
        let (input, output) = (take(input, "input"), take(output, "output"));
        return Ok((input?, output?));
    }
    let both = take(input, "input")?;
    let failed =
        |error| Error::new(ErrorCode::Internal, format!("the system has no file descriptor left: {error}"));
    let twin = both.try_clone().map_err(failed)?;
    Ok((both, twin))
}
