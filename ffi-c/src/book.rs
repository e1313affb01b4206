//! Peer books: whom a node knows, while it runs and while it does not.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use node::protocol::PeerStats;
use node::wire::Pack;
use node::wire::value::{ValueError, pack_array_head, pack_map_head};
use node::{ErrorCode, Mesh, PeerBook};
use peernet_bindings::Error;

use crate::args;
use crate::guard::{Does, guard};
use crate::handle;
use crate::mesh::{find, peernet_mesh};
use crate::options::peernet_options;
use crate::status::peernet_status;
use crate::table;
use crate::value::peernet_writer;

/// The peer book in the data directory of a node that is not running. A handle like that of a node, to be closed
/// with peernet_book_close: until then the node cannot be opened.
pub type peernet_book = u64;

struct Book(Mutex<PeerBook>);

impl Book {
    fn open(book: PeerBook, place: args::Out<peernet_book>) -> Result<(), Error> {
        let handle = handle::open(Arc::new(Self(Mutex::new(book))))?;
        // SAFETY: a place that is there, by its type.
        unsafe { place.put(handle) };
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, PeerBook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown() -> Error {
    Error::new(ErrorCode::End, "the address is not known")
}

fn pack(stats: &PeerStats, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let millis = stats.latency.map(|latency| latency.as_secs_f64() * 1000.0);
    pack_map_head(10, out);
    "address".pack(out)?;
    stats.address.to_string().pack(out)?;
    "id".pack(out)?;
    stats.id.as_ref().map(|id| id.as_str()).pack(out)?;
    "connections_ok".pack(out)?;
    stats.connections_ok.pack(out)?;
    "connections_failed".pack(out)?;
    stats.connections_failed.pack(out)?;
    "addresses_received".pack(out)?;
    stats.addresses_received.pack(out)?;
    "addresses_sent".pack(out)?;
    stats.addresses_sent.pack(out)?;
    "last_seen".pack(out)?;
    stats.last_seen.pack(out)?;
    "latency_ms".pack(out)?;
    millis.pack(out)?;
    "saved".pack(out)?;
    stats.saved.pack(out)?;
    "named_by".pack(out)?;
    stats.named_by.as_ref().map(|id| id.as_str()).pack(out)
}

/// Appends an array.
fn append_all<T>(
    writer: &mut peernet_writer,
    items: &[T],
    pack: impl Fn(&T, &mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), Error> {
    writer.append(|out| {
        pack_array_head(u32::try_from(items.len()).unwrap_or(u32::MAX), out);
        items.iter().try_for_each(|item| pack(item, out))
    })
}

/// Saves the address of a node of the subnet, host:port: it is dialled when links are wanted, and known until it is
/// removed. With `options.data_dir` it is known after a restart too, as are all that the node had a link to.
///
/// When there is no more room for addresses, it takes the place of another, at worst of one that was saved before.
/// Errors: PEERNET_ERR_ADDRESS if it is none, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_save(mesh: peernet_mesh, address: *const c_char) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or ends with a NUL.
        let address = unsafe { args::text(address, "address") }?;
        Ok(find(mesh)?.node.mesh().save(address)?)
    })
}

/// Removes an address: it is not dialled any more unless the program asks for it, and for a day it is not taken
/// from peers either. A link that there is stays. Errors as of peernet_mesh_save.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_remove(mesh: peernet_mesh, address: *const c_char) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or ends with a NUL.
        let address = unsafe { args::text(address, "address") }?;
        Ok(find(mesh)?.node.mesh().remove(address)?)
    })
}

/// Appends all known addresses with what came of them, in order, to `known`: an array of maps with `address`
/// (text); `id` (text: who is there, proven or by what others say); the integers `connections_ok` and
/// `connections_failed` (those that came as far as a handshake, and those that did not), `addresses_received` and
/// `addresses_sent` (that this peer named to us, and we to it), `last_seen` (when it was a neighbour last, in
/// seconds since 1970 UTC); `latency_ms` (a float: from the last dial to the end of its handshake); `saved` (a
/// boolean: by the program); `named_by` (text: who named it first). What is not known is nil.
///
/// Errors: PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_known(
    mesh: peernet_mesh,
    known: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or a writer that nobody else uses.
        let writer = unsafe { peernet_writer::borrow(known) }?;
        append_all(writer, &find(mesh)?.node.mesh().known(), pack)
    })
}

/// Appends what is known of an address to `stats`: a map as of peernet_mesh_known. Errors: PEERNET_ERR_END if
/// nothing is known, PEERNET_ERR_ADDRESS if it is none, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_peer_stats(
    mesh: peernet_mesh,
    address: *const c_char,
    stats: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null, or a text that ends with a NUL, and a writer that nobody else uses.
        let (address, writer) = unsafe { (args::text(address, "address")?, peernet_writer::borrow(stats)?) };
        let found = find(mesh)?.node.mesh().peer_stats(address)?.ok_or_else(unknown)?;
        writer.append(|out| pack(&found, out))
    })
}

/// Appends the neighbours as peernet_mesh_connect takes them to `connections`: an array of texts id@host:port, or
/// the id alone of one that has no address. peernet_mesh_peers says more. Errors: PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_connections(
    mesh: peernet_mesh,
    connections: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or a writer that nobody else uses.
        let writer = unsafe { peernet_writer::borrow(connections) }?;
        append_all(writer, &find(mesh)?.node.mesh().connections(), |text, out| text.pack(out))
    })
}

/// Opens the peer book in the data directory of the node of a mesh that these options describe, while it is not
/// running, and without starting it. Besides `data_dir`, the subnet and the encryption say which node's it is. On
/// success `*book` is its handle, otherwise 0.
///
/// Errors: PEERNET_ERR_CONFIG without a data directory, PEERNET_ERR_DATA and PEERNET_ERR_STORE if it cannot be used,
/// as while the node is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_book(
    options: *const peernet_options,
    book: *mut peernet_book,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(book, 0) };
    guard(Does::Use, || {
        let place = args::out(book, "book")?;
        // SAFETY: null, or options that begin with their size, whose texts are null or end with a NUL.
        let builder = unsafe { peernet_options::read(options)?.apply(Mesh::builder()) }?;
        Book::open(builder.peer_book()?, place)
    })
}

/// As peernet_mesh_book, of the node of a table. Whether it has leases also says which node's it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_book(
    options: *const peernet_options,
    book: *mut peernet_book,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(book, 0) };
    guard(Does::Use, || {
        let place = args::out(book, "book")?;
        // SAFETY: null or options.
        let builder = unsafe { table::builder(options) }?;
        Book::open(builder.peer_book()?, place)
    })
}

/// Saves an address, as peernet_mesh_save; it is on the disk when this returns. Errors: PEERNET_ERR_ADDRESS if it is
/// none, PEERNET_ERR_STORE if it cannot be written, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_book_save(book: peernet_book, address: *const c_char) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or ends with a NUL.
        let address = unsafe { args::text(address, "address") }?;
        Ok(handle::get::<Book>(book)?.book().save(address)?)
    })
}

/// Removes an address, as peernet_mesh_remove; that is on the disk when this returns. Errors as of
/// peernet_book_save.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_book_remove(book: peernet_book, address: *const c_char) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or ends with a NUL.
        let address = unsafe { args::text(address, "address") }?;
        Ok(handle::get::<Book>(book)?.book().remove(address)?)
    })
}

/// Appends all known addresses, as peernet_mesh_known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_book_known(
    book: peernet_book,
    known: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or a writer that nobody else uses.
        let writer = unsafe { peernet_writer::borrow(known) }?;
        let known = handle::get::<Book>(book)?.book().known();
        append_all(writer, &known, pack)
    })
}

/// Appends what is known of an address, as peernet_mesh_peer_stats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_book_peer_stats(
    book: peernet_book,
    address: *const c_char,
    stats: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null, or a text that ends with a NUL, and a writer that nobody else uses.
        let (address, writer) = unsafe { (args::text(address, "address")?, peernet_writer::borrow(stats)?) };
        let found = handle::get::<Book>(book)?.book().peer_stats(address)?.ok_or_else(unknown)?;
        writer.append(|out| pack(&found, out))
    })
}

/// Closes a peer book, whose node can be opened from now on. Of several calls with one handle, one succeeds; the
/// others, and all later ones, give PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_book_close(book: peernet_book) -> peernet_status {
    guard(Does::Use, || handle::close::<Book>(book).map(drop))
}
