//! Nodes: what a mesh can do, and so every other kind.

use std::ffi::c_char;
use std::sync::{Arc, OnceLock};

use node::identity::NodeId;
use node::wire::Pack;
use node::wire::value::{pack_array_head, pack_map_head};
use node::{Mesh, SendReport};
use peernet_bindings::{Error, Node};

use crate::args;
use crate::callback::{Admit, Callbacks};
use crate::events::{PEERNET_EVENT_MESSAGE, PollFd, peernet_event};
use crate::guard::{Does, guard};
use crate::handle;
use crate::options::{self, peernet_options};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// A node. Handles are numbers: 0 is none, none is ever used again, and one that was closed gives
/// PEERNET_ERR_CLOSED wherever it is used. Any thread may use any handle at any time. A forked child gets
/// PEERNET_ERR_FORKED for nodes that were open before the fork.
pub type peernet_mesh = u64;

/// Bytes that the text of any node's id takes at most, its NUL included.
pub const PEERNET_ID_SIZE: usize = 129;
/// Bytes that the text of any address takes at most, its NUL included.
pub const PEERNET_ADDRESS_SIZE: usize = 272;

/// What became of a message that was sent. Begin with PEERNET_REPORT_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_report {
    /// The size of this struct: set by the initialiser.
    pub struct_size: usize,
    /// The message's id: the same on every node.
    pub id: [u8; 32],
    /// Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
    pub links: u64,
}

/// A node that is open, with what C programs have of it.
pub(crate) struct Open {
    pub(crate) node: Node,
    /// Readable while events wait, once it was asked for.
    pub(crate) fd: OnceLock<PollFd>,
    pub(crate) callbacks: Callbacks,
}

impl Open {
    /// Closes the node, and lets go of the program's callbacks.
    fn close(&self) -> Result<(), Error> {
        self.callbacks.close();
        let closed = self.node.close();
        // Whoever polls is released by now.
        self.callbacks.end();
        closed
    }
}

/// The node of a handle.
pub(crate) fn find(handle: peernet_mesh) -> Result<Arc<Open>, Error> {
    handle::get(handle)
}

/// Gives a node a handle.
pub(crate) fn open(node: Node, admit: Option<Arc<Admit>>) -> Result<peernet_mesh, Error> {
    handle::open(Arc::new(Open { node, fd: OnceLock::new(), callbacks: Callbacks::new(admit) }))
}

/// Fills a report, if one is wanted.
pub(crate) unsafe fn report(place: *mut peernet_report, report: SendReport) -> Result<(), Error> {
    if place.is_null() {
        return Ok(());
    }
    let report = peernet_report {
        struct_size: size_of::<peernet_report>(),
        id: *report.id.as_bytes(),
        links: report.links as u64,
    };
    // SAFETY: not null, and so a report of some version's header.
    unsafe { args::fill(place, &report, "report") }
}

/// Opens a node of a mesh: it listens, and connects to those named in the options.
///
/// `options` may be null for defaults. On success `*mesh` is its handle, to be closed with peernet_mesh_close;
/// on failure it is 0. The first node starts the library's threads, the last one ends them.
///
/// Errors: PEERNET_ERR_CONFIG, PEERNET_ERR_ADDRESS, PEERNET_ERR_LISTEN, PEERNET_ERR_DATA, PEERNET_ERR_STORE,
/// PEERNET_ERR_UNSUPPORTED, PEERNET_ERR_ARGUMENT. Not within a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_open(
    options: *const peernet_options,
    mesh: *mut peernet_mesh,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(mesh, 0) };
    // SAFETY: null, or options that begin with their size.
    let admit = unsafe { options::admit(options) };
    guard(Does::Receive, || {
        let place = args::out(mesh, "mesh")?;
        // SAFETY: null, or options that begin with their size.
        let options = unsafe { peernet_options::read(options) }?;
        // SAFETY: texts in options are null or end with a NUL.
        let builder = unsafe { options.apply(Mesh::builder()) }?;
        let node = Node::open_mesh(options::ask(builder, admit.as_ref()))?;
        let handle = open(node, admit)?;
        // SAFETY: checked above.
        unsafe { place.put(handle) };
        Ok(())
    })
}

/// Writes the node's id, base58 text with a NUL behind it, into `text`, which has room for `size` bytes;
/// PEERNET_ID_SIZE are always enough. Errors: PEERNET_ERR_TOO_LARGE if they are not, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_id(
    mesh: peernet_mesh,
    text: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        // SAFETY: `text` is null or has `size` bytes.
        unsafe { args::put_text(text, size, open.node.mesh().id().as_str(), "text") }
    })
}

/// Writes the address that others are told, as host:port. As peernet_mesh_id; PEERNET_ADDRESS_SIZE bytes are
/// always enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_address(
    mesh: peernet_mesh,
    text: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        // SAFETY: `text` is null or has `size` bytes.
        unsafe { args::put_text(text, size, &open.node.mesh().address().to_string(), "text") }
    })
}

/// Writes the address that the node listens on, as host:port. As peernet_mesh_address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_listening(
    mesh: peernet_mesh,
    text: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        // SAFETY: `text` is null or has `size` bytes.
        unsafe { args::put_text(text, size, &open.node.mesh().listening().to_string(), "text") }
    })
}

/// Writes the id of the subnet, which nodes must have in common to join each other. As peernet_mesh_id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_protocol(
    mesh: peernet_mesh,
    text: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        // SAFETY: `text` is null or has `size` bytes.
        unsafe { args::put_text(text, size, open.node.mesh().protocol().as_str(), "text") }
    })
}

/// Connects to the node at `address`, host:port or id@host:port, and waits until the handshake is done. From
/// then on the link is dialled again with back-off whenever it breaks, until peernet_mesh_disconnect or
/// peernet_mesh_close.
///
/// `id` may be null; else the id of the node that is there is written into its `size` bytes, of which
/// PEERNET_ID_SIZE are always enough. `timeout_ms` in milliseconds, negative waits as long as it takes. When the
/// time is over the attempt goes on, and PEERNET_EVENT_CONNECTED tells of a link that comes of it.
///
/// Errors: PEERNET_ERR_CONNECT, PEERNET_ERR_ADDRESS, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_connect(
    mesh: peernet_mesh,
    address: *const c_char,
    timeout_ms: i32,
    id: *mut c_char,
    size: usize,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or ends with a NUL.
        let address = unsafe { args::text(address, "address") }?;
        let peer = find(mesh)?.node.connect(address, wait)?;
        match id.is_null() {
            true => Ok(()),
            // SAFETY: not null, and so has `size` bytes.
            false => unsafe { args::put_text(id, size, peer.as_str(), "id") },
        }
    })
}

/// Closes the link to a neighbour, and does not dial it again. Waits only for the node to take note, up to
/// `timeout_ms` milliseconds. Errors: PEERNET_ERR_NOT_CONNECTED, PEERNET_ERR_ID, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_disconnect(
    mesh: peernet_mesh,
    peer: *const c_char,
    timeout_ms: i32,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or ends with a NUL.
        let peer = unsafe { args::peer(peer) }?;
        let open = find(mesh)?;
        open.node.block_on(wait, open.node.mesh().disconnect(&peer))
    })
}

/// Sends to every node of the subnet.
///
/// `payload` is `len` bytes of packed values, one after the other, as a peernet_writer makes them. The bytes are
/// copied. `timeout_ms` in milliseconds: while a neighbour's queue is full this waits so long; negative as long
/// as it takes (a neighbour that takes nothing is closed in time), 0 not at all. `report` may be null.
///
/// Errors, and then nothing was sent: PEERNET_ERR_VALUE, PEERNET_ERR_TOO_LARGE, PEERNET_ERR_FULL and
/// PEERNET_ERR_REPEATED without waiting, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_broadcast(
    mesh: peernet_mesh,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    // SAFETY: as of this function.
    unsafe { broadcast(mesh, None, payload, len, timeout_ms, report) }
}

/// As peernet_mesh_broadcast, under a code of the program's own, 0x31 or more: only nodes with a hook for it see
/// it, all relay it. Errors besides: PEERNET_ERR_CODE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_broadcast_as(
    mesh: peernet_mesh,
    code: u64,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    // SAFETY: as of this function.
    unsafe { broadcast(mesh, Some(code), payload, len, timeout_ms, report) }
}

unsafe fn broadcast(
    mesh: peernet_mesh,
    code: Option<u64>,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    place: *mut peernet_report,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or `len` bytes.
        let payload = unsafe { args::payload(payload, len) }?;
        let sent = find(mesh)?.node.broadcast(code, &payload, wait)?;
        // SAFETY: null or a report.
        unsafe { report(place, sent) }
    })
}

/// Sends to one node, by its id. If it is no neighbour, the subnet is asked for its address and it is dialled,
/// which `timeout_ms` bounds besides the node's own limit; with 0 only neighbours are reached.
///
/// Payload, time-out and report as of peernet_mesh_broadcast. Errors besides: PEERNET_ERR_ID,
/// PEERNET_ERR_UNREACHABLE, PEERNET_ERR_UNPROVEN where ids are not proven, PEERNET_ERR_NOT_CONNECTED with 0.
/// After PEERNET_ERR_TIMED_OUT it may still be sent, once its addressee is found.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_send(
    mesh: peernet_mesh,
    peer: *const c_char,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    // SAFETY: as of this function.
    unsafe { send(mesh, || args::peer(peer), None, payload, len, timeout_ms, report) }
}

/// As peernet_mesh_send, under a code of the program's own, 0x31 or more. Errors besides: PEERNET_ERR_CODE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_send_as(
    mesh: peernet_mesh,
    peer: *const c_char,
    code: u64,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    // SAFETY: as of this function.
    unsafe { send(mesh, || args::peer(peer), Some(code), payload, len, timeout_ms, report) }
}

/// Answers the author of a message alone, wherever it is in the subnet. `event` is a message of a batch that was
/// not freed yet. Everything else as of peernet_mesh_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_reply(
    mesh: peernet_mesh,
    event: *const peernet_event,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    // SAFETY: null, or an event of a batch, whose texts live as long.
    let author = || unsafe {
        let event = args::object(event, "event")?;
        if event.r#type != PEERNET_EVENT_MESSAGE {
            Err(args::wrong("event is not a message"))
        } else {
            args::peer(event.peer)
        }
    };
    // SAFETY: as of this function.
    unsafe { send(mesh, author, None, payload, len, timeout_ms, report) }
}

unsafe fn send(
    mesh: peernet_mesh,
    peer: impl FnOnce() -> Result<NodeId, Error>,
    code: Option<u64>,
    payload: *const u8,
    len: usize,
    timeout_ms: i32,
    place: *mut peernet_report,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or `len` bytes.
        let payload = unsafe { args::payload(payload, len) }?;
        let sent = find(mesh)?.node.send(&peer()?, code, &payload, wait)?;
        // SAFETY: null or a report.
        unsafe { report(place, sent) }
    })
}

/// Appends the neighbours, the nodes that a link leads to directly, to `peers`: an array of maps with `id` (text),
/// `address` (text, or nil if it has none) and `outgoing` (a boolean: whether we dialled it).
/// Errors: PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_peers(
    mesh: peernet_mesh,
    peers: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        let found = find(mesh)?.node.mesh().peers();
        // SAFETY: null or a writer that nobody else uses.
        unsafe { peernet_writer::borrow(peers) }?.append(|out| {
            let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
            pack_array_head(count, out);
            for peer in found {
                pack_map_head(3, out);
                "id".pack(out)?;
                peer.id.as_str().pack(out)?;
                "address".pack(out)?;
                peer.address.map(|address| address.to_string()).pack(out)?;
                "outgoing".pack(out)?;
                peer.outgoing.pack(out)?;
            }
            Ok(())
        })
    })
}

/// Appends everything that the node counts to `stats`: a map of names and integers. Nothing is dropped without being
/// counted. Errors: PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_stats(
    mesh: peernet_mesh,
    stats: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        let entries = find(mesh)?.node.mesh().stats().entries();
        // SAFETY: null or a writer that nobody else uses.
        unsafe { peernet_writer::borrow(stats) }?.append(|out| {
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            pack_map_head(count, out);
            for (name, value) in entries {
                name.pack(out)?;
                value.pack(out)?;
            }
            Ok(())
        })
    })
}

/// One of what the node counts, by its name in peernet_mesh_stats. Errors: PEERNET_ERR_ARGUMENT if nothing of that name
/// is counted, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_stat(
    mesh: peernet_mesh,
    name: *const c_char,
    value: *mut u64,
) -> peernet_status {
    guard(Does::Use, || {
        let place = args::out(value, "value")?;
        // SAFETY: null or ends with a NUL.
        let name = unsafe { args::text(name, "name") }?;
        let entries = find(mesh)?.node.mesh().stats().entries();
        let found = entries.into_iter().find(|(known, _)| *known == name);
        let (_, count) =
            found.ok_or_else(|| args::wrong(format!("nothing of the name {name} is counted")))?;
        // SAFETY: checked above.
        unsafe { place.put(count) };
        Ok(())
    })
}

/// Waits until everything that is to outlive the node and happened before is on the disk, up to `timeout_ms`
/// milliseconds. Errors: PEERNET_ERR_STORE, PEERNET_ERR_TIMED_OUT, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_mesh_flush(mesh: peernet_mesh, timeout_ms: i32) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        let open = find(mesh)?;
        open.node.block_on(wait, open.node.mesh().flush())
    })
}

/// Leaves, and closes the handle: writes what is queued, within the node's own limit of some seconds, closes
/// every link, writes to the disk what waits for it, and stops. Whoever waits with this handle on another thread
/// is released with PEERNET_ERR_CLOSED. What was received and not read is lost. A callback that runs is waited for,
/// and none runs any more when this returns; hooks that still run end by themselves.
///
/// For every kind of node. Of several calls with one handle, one succeeds; the others, and all later ones, give
/// PEERNET_ERR_CLOSED, and do no harm. Not within a callback.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_mesh_close(mesh: peernet_mesh) -> peernet_status {
    guard(Does::Receive, || handle::close::<Open>(mesh)?.close())
}
