//! Searches: questions for everyone, what is found for them, and answers to those of others.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use node::{ErrorCode, Query, Row};
use peernet_bindings::{Error, Rows};

use crate::args;
use crate::guard::{Does, c_text, guard, guard_or};
use crate::handle;
use crate::mesh::{find, peernet_mesh};
use crate::status::peernet_status;

/// A search of this node's own, that is under way. A handle like that of a node, to be ended with
/// peernet_search_end, also when its node is closed.
pub type peernet_search = u64;

/// A question for everyone. Begin with PEERNET_QUERY_INIT. What it points to is only read during the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_query {
    /// The size of this struct: set by the initialiser.
    pub struct_size: usize,
    /// The question's type, up to 64 bytes: by it others know whether they have an answer.
    pub kind: *const c_void,
    /// Bytes of `kind`.
    pub kind_len: usize,
    /// The question, up to 1,024 bytes.
    pub data: *const c_void,
    /// Bytes of `data`.
    pub data_len: usize,
    /// Its id, up to 64 bytes, which means nothing to nodes; null for a random one.
    pub id: *const c_void,
    /// Bytes of `id`.
    pub id_len: usize,
    /// Over how many links it may go, 1 to 15: with 1 only neighbours are asked. 0 for 15.
    pub limit: u32,
    /// As if it had gone over so many links already (0).
    pub hops: u32,
}

/// Something that was found. It belongs to the program, which frees it with peernet_row_free, and all that it points
/// to lives as long.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_row {
    /// The size of this struct, as the library has it: fields beyond are not there.
    pub struct_size: usize,
    /// What was found.
    pub data: *const u8,
    /// Bytes of `data`.
    pub data_len: usize,
    /// Its type: mostly that of the question.
    pub kind: *const u8,
    /// Bytes of `kind`.
    pub kind_len: usize,
    /// Its id, which whoever found it made.
    pub id: *const u8,
    /// Bytes of `id`.
    pub id_len: usize,
    /// The id of the node that found it.
    pub peer: *const c_char,
    /// The links that the question might go over.
    pub limit: u64,
    /// The links that it came over before the last one: 0 from a neighbour. Nobody can prove that.
    pub hops: u64,
    /// Whether it is proven that the peer found it, and what: 1 or 0. If not, any node on the way may have altered
    /// it or made it up.
    pub verified: u32,
    /// 0.
    pub reserved: u32,
}

/// A row with what it points to. Programs have a pointer to the row at its beginning.
#[repr(C)]
struct Given {
    row: peernet_row,
    _kept: (Row, CString),
}

impl Given {
    fn give(row: Row) -> *const peernet_row {
        let peer = c_text(row.sender.as_str());
        let view = peernet_row {
            struct_size: size_of::<peernet_row>(),
            data: row.data.as_ptr(),
            data_len: row.data.len(),
            kind: row.kind.as_ptr(),
            kind_len: row.kind.len(),
            id: row.id.as_ptr(),
            id_len: row.id.len(),
            peer: peer.as_ptr(),
            limit: row.limit,
            hops: row.hops,
            verified: row.verified.into(),
            reserved: 0,
        };
        Box::into_raw(Box::new(Self { row: view, _kept: (row, peer) })).cast_const().cast()
    }
}

impl peernet_query {
    const NOTHING: Self = Self {
        struct_size: size_of::<Self>(),
        kind: ptr::null(),
        kind_len: 0,
        data: ptr::null(),
        data_len: 0,
        id: ptr::null(),
        id_len: 0,
        limit: 0,
        hops: 0,
    };

    unsafe fn query(&self) -> Result<Query, Error> {
        // SAFETY: null or so many bytes each.
        let (kind, data, id) = unsafe {
            (
                args::bytes(self.kind.cast(), self.kind_len, "query.kind")?,
                args::bytes(self.data.cast(), self.data_len, "query.data")?,
                args::bytes(self.id.cast(), self.id_len, "query.id")?,
            )
        };
        // Beyond what it can be anyway.
        let links = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        let mut query = Query::new(kind, data).hops(links(self.hops));
        if !self.id.is_null() {
            query = query.id(id);
        }
        if self.limit > 0 {
            query = query.limit(links(self.limit));
        }
        Ok(query)
    }
}

unsafe fn ask(mesh: peernet_mesh, query: peernet_query, search: *mut peernet_search) -> Result<(), Error> {
    let place = args::out(search, "search")?;
    // SAFETY: null or so many bytes each.
    let query = unsafe { query.query() }?;
    let rows = find(mesh)?.node.mesh().announce(query)?;
    let handle = handle::open(Arc::new(Rows::new(rows)))?;
    // SAFETY: checked above.
    unsafe { place.put(handle) };
    Ok(())
}

/// Asks everyone something: a question of this type, up to 64 bytes, with this data, up to 1,024. On success
/// `*search` is its handle, from which peernet_search_next gives what is found for it, for as long as the node's
/// bound for searches goes on (10 s); to be ended with peernet_search_end. Otherwise it is 0.
///
/// It goes from neighbour to neighbour, and what is found comes back the same way. A link that breaks loses what is
/// on the way, and nobody is told: whoever needs to be sure asks again.
///
/// Errors: PEERNET_ERR_NEEDS_TLS where 0.7 is spoken, PEERNET_ERR_CONFIG if a part of it is too long,
/// PEERNET_ERR_TOO_MANY if there were too many within a second, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_search(
    mesh: peernet_mesh,
    kind: *const c_void,
    kind_len: usize,
    data: *const c_void,
    data_len: usize,
    search: *mut peernet_search,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(search, 0) };
    let query = peernet_query { kind, kind_len, data, data_len, ..peernet_query::NOTHING };
    // SAFETY: as of this function.
    guard(Does::Use, || unsafe { ask(mesh, query, search) })
}

/// As peernet_mesh_search, with everything that can be said about a question.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_announce(
    mesh: peernet_mesh,
    query: *const peernet_query,
    search: *mut peernet_search,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(search, 0) };
    guard(Does::Use, || {
        // SAFETY: null or a query.
        unsafe { args::object(query, "query") }?;
        // SAFETY: not null, and so begins with its size.
        let query = unsafe { args::sized(query, peernet_query::NOTHING, "query") }?;
        // SAFETY: as of this function.
        unsafe { ask(mesh, query, search) }
    })
}

/// Gives the next row that is found, for which it waits up to `timeout_ms` milliseconds, negative until the search
/// is over, 0 not at all. On success `*row` is to be freed with peernet_row_free; otherwise it is null. Any number
/// of threads may wait; each row goes to one of them.
///
/// Errors: PEERNET_ERR_TIMED_OUT if nothing was found in time, PEERNET_ERR_END when the search is over or its node
/// closed, PEERNET_ERR_CLOSED once it was ended, by whichever thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_search_next(
    search: peernet_search,
    timeout_ms: i32,
    row: *mut *const peernet_row,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    // SAFETY: null or a place for a pointer.
    unsafe { args::clear(row, ptr::null()) };
    guard(Does::Wait(wait), || {
        let place = args::out(row, "row")?;
        let found = handle::get::<Rows>(search)?.next(wait)?;
        // SAFETY: checked above.
        unsafe { place.put(Given::give(found)) };
        Ok(())
    })
}

/// Frees a row, with all that it points to. Null does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_row_free(row: *const peernet_row) {
    guard_or((), Does::Pure, || {
        if !row.is_null() {
            // SAFETY: not null, and so the beginning of one that peernet_search_next gave and that was not freed.
            drop(unsafe { Box::from_raw(row.cast_mut().cast::<Given>()) });
        }
        Ok(())
    });
}

/// Ends a search, and closes its handle. Whoever waits with it on another thread is released with
/// PEERNET_ERR_CLOSED. Of several calls with one handle, one succeeds; the others give PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_search_end(search: peernet_search) -> peernet_status {
    guard(Does::Use, || {
        handle::close::<Rows>(search)?.end();
        Ok(())
    })
}

fn found(mesh: peernet_mesh, token: u64) -> Result<node::Search, Error> {
    let over =
        || Error::new(ErrorCode::SearchOver, "no search with this token is open: it came too long ago");
    find(mesh)?.node.asked().search(token).ok_or_else(over)
}

/// Sends something that was found, up to 1,024 bytes, back to whoever asked: `token` is that of a
/// PEERNET_EVENT_SEARCH, also when the batch is long freed. Up to eight times for one question. Whether it arrives is
/// not known: a link on the way may break.
///
/// Errors: PEERNET_ERR_SEARCH_OVER if it is too late, PEERNET_ERR_NOT_CONNECTED if the neighbour that brought the
/// question is gone, PEERNET_ERR_TOO_MANY if more was found than may be, PEERNET_ERR_CONFIG if it is too long,
/// PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_found(
    mesh: peernet_mesh,
    token: u64,
    data: *const c_void,
    len: usize,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or `len` bytes.
        let data = unsafe { args::bytes(data.cast(), len, "data") }?;
        Ok(found(mesh, token)?.reply(data)?)
    })
}

/// As peernet_mesh_found, with an id and a type of its own, up to 64 bytes each, in place of a random id and the
/// question's type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_found_as(
    mesh: peernet_mesh,
    token: u64,
    id: *const c_void,
    id_len: usize,
    kind: *const c_void,
    kind_len: usize,
    data: *const c_void,
    len: usize,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or so many bytes each.
        let (id, kind, data) = unsafe {
            (
                args::bytes(id.cast(), id_len, "id")?,
                args::bytes(kind.cast(), kind_len, "kind")?,
                args::bytes(data.cast(), len, "data")?,
            )
        };
        Ok(found(mesh, token)?.reply_as(id, kind, data)?)
    })
}
