//! Tables: keys and values that every node of a subnet holds.

use std::ffi::{c_char, c_void};
use std::ptr;

use bytes::Bytes;
use node::wire::value::{Token, skip, token};
use node::wire::{Limits, Packed};
use node::{Builder, ErrorCode, SyncTable};
use peernet_bindings::{Error, Node};

use crate::args;
use crate::guard::{Does, guard, guard_or};
use crate::mesh::{self, find, peernet_mesh, peernet_report};
use crate::options::{self, choice, peernet_options};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// The node of a table: keys and values that every node of a subnet holds. Reading is local: it tells what this
/// node has heard so far. A change is made here at once, and goes to everyone else. Whoever joins is given what
/// the others have. With leases, a key is its owner's for an hour from when it was last set.
///
/// It is a mesh too: wherever a peernet_mesh is asked for, it can be given, also to be closed. Changes by anyone
/// come as events, once asked for with peernet_mesh_want(table, PEERNET_WANT_CHANGES).
///
/// Keys are bytes, and so is text; values are one packed value each, as a peernet_writer makes them.
pub type peernet_table = peernet_mesh;

/// A key and its value. It belongs to its list, and all that it points to lives as long.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_item {
    /// The size of this struct, as the library has it: fields beyond are not there.
    pub struct_size: usize,
    /// The key. No NUL stands behind it.
    pub key: *const c_char,
    /// Bytes of `key`.
    pub key_len: usize,
    /// The value, packed: read it with a peernet_reader.
    pub value: *const u8,
    /// Bytes of `value`.
    pub value_len: usize,
}

/// Keys with their values, as they were at one moment. The list belongs to the program, which frees it with
/// peernet_items_free, and nothing that happens to the table changes it. Any number of threads may read it.
pub struct peernet_items {
    views: Vec<peernet_item>,
    /// What the views point into.
    _kept: Vec<(Bytes, Vec<u8>)>,
}

impl peernet_items {
    fn give(kept: Vec<(Bytes, Vec<u8>)>) -> *mut Self {
        let view = |(key, value): &(Bytes, Vec<u8>)| peernet_item {
            struct_size: size_of::<peernet_item>(),
            key: key.as_ptr().cast(),
            key_len: key.len(),
            value: value.as_ptr(),
            value_len: value.len(),
        };
        Box::into_raw(Box::new(Self { views: kept.iter().map(view).collect(), _kept: kept }))
    }
}

/// Options for the node of a table.
pub(crate) unsafe fn builder(options: *const peernet_options) -> Result<Builder<SyncTable>, Error> {
    // SAFETY: null, or options that begin with their size, whose texts are null or end with a NUL.
    let (options, builder) = unsafe {
        let options = peernet_options::read(options)?;
        (options, options.apply(SyncTable::builder())?)
    };
    Ok(match choice(options.leases, "options.leases")? {
        Some(leases) => builder.leases(leases),
        None => builder,
    })
}

unsafe fn key<'a>(key: *const c_void, len: usize) -> Result<&'a [u8], Error> {
    // SAFETY: null or `len` bytes.
    unsafe { args::bytes(key.cast(), len, "key") }
}

/// One packed value.
unsafe fn value<'a>(value: *const u8, len: usize, name: &str) -> Result<Packed<'a>, Error> {
    // SAFETY: null or `len` bytes.
    let bytes = unsafe { args::bytes(value, len, name) }?;
    Packed::one(bytes, &Limits::default()).map_err(args::no_value)
}

fn nothing() -> Error {
    Error::new(ErrorCode::End, "the key has no value")
}

fn append(writer: &mut peernet_writer, packed: &[u8]) -> Result<(), Error> {
    writer.append(|out| {
        out.extend_from_slice(packed);
        Ok(())
    })
}

/// Opens the node of a table, as peernet_mesh_open that of a mesh. Nodes with and without leases never meet
/// (`options.leases`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_open(
    options: *const peernet_options,
    table: *mut peernet_table,
) -> peernet_status {
    // SAFETY: null or a place for a handle.
    unsafe { args::clear(table, 0) };
    // SAFETY: null or options.
    let admit = unsafe { options::admit(options) };
    guard(Does::Receive, || {
        let place = args::out(table, "table")?;
        // SAFETY: null or options.
        let builder = unsafe { builder(options) }?;
        let node = Node::open_table(options::ask(builder, admit.as_ref()))?;
        let handle = mesh::open(node, admit)?;
        // SAFETY: checked above.
        unsafe { place.put(handle) };
        Ok(())
    })
}

/// Looks a key up, and gives what `look` makes of it to a place, unless that is nothing.
unsafe fn read<T>(
    table: peernet_table,
    (name, len): (*const c_void, usize),
    (place, what): (*mut T, &str),
    look: impl FnOnce(&SyncTable, &[u8]) -> Option<T>,
) -> peernet_status {
    guard(Does::Use, || {
        let place = args::out(place, what)?;
        // SAFETY: null or `len` bytes.
        let key = unsafe { key(name, len) }?;
        let found = look(find(table)?.node.table()?, key).ok_or_else(nothing)?;
        // SAFETY: checked above.
        unsafe { place.put(found) };
        Ok(())
    })
}

/// Appends the value of a key, packed, to `value`. The key is `key_len` bytes; of a text, without its NUL.
///
/// Errors: PEERNET_ERR_END if the key has no value, PEERNET_ERR_NO_TABLE for a mesh without a table,
/// PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_get(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    value: *mut peernet_writer,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null, or a writer that nobody else uses, and `key_len` bytes.
        let (value, key) = unsafe { (peernet_writer::borrow(value)?, self::key(key, key_len)?) };
        let open = find(table)?;
        append(value, &open.node.table()?.get_packed(key).ok_or_else(nothing)?)
    })
}

/// Whether a key has a value: 1 or 0. Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_contains(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    contains: *mut i32,
) -> peernet_status {
    let look = |table: &SyncTable, key: &[u8]| Some(table.contains(key).into());
    // SAFETY: as of this function.
    unsafe { read(table, (key, key_len), (contains, "contains"), look) }
}

/// Writes the id of who set a key last, with a NUL, into the `size` bytes of `peer`; PEERNET_ID_SIZE are always
/// enough. Errors: PEERNET_ERR_TOO_LARGE if they are not; as of peernet_table_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_owner(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    peer: *mut c_char,
    size: usize,
) -> peernet_status {
    guard(Does::Use, || {
        // SAFETY: null or `key_len` bytes.
        let key = unsafe { self::key(key, key_len) }?;
        let owner = find(table)?.node.table()?.owner(key).ok_or_else(nothing)?;
        // SAFETY: `peer` is null or has `size` bytes.
        unsafe { args::put_text(peer, size, owner.as_str(), "peer") }
    })
}

/// When a key was set last, in seconds since 1970 UTC by its owner's clock. Errors as of peernet_table_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_time(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    time: *mut i64,
) -> peernet_status {
    let look = |table: &SyncTable, key: &[u8]| table.time(key);
    // SAFETY: as of this function.
    unsafe { read(table, (key, key_len), (time, "time"), look) }
}

/// For how many milliseconds nobody but its owner can change a key; 0 if anyone can. Errors as of
/// peernet_table_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_lease(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    left_ms: *mut u64,
) -> peernet_status {
    let look = |table: &SyncTable, key: &[u8]| match table.lease(key) {
        // What is left is never told as nothing.
        Some(left) => Some(u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)),
        None => table.contains(key).then_some(0),
    };
    // SAFETY: as of this function.
    unsafe { read(table, (key, key_len), (left_ms, "left_ms"), look) }
}

/// The number of keys that have a value. Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_len(table: peernet_table, len: *mut usize) -> peernet_status {
    let look = |table: &SyncTable, _: &[u8]| Some(table.len());
    // SAFETY: as of this function.
    unsafe { read(table, (ptr::null(), 0), (len, "len"), look) }
}

/// Gives all keys with their values, as they are at one moment and in no particular order. On success `*items` is
/// to be freed with peernet_items_free; otherwise it is null.
///
///     peernet_items *items;
///     if (peernet_table_items(table, &items) == PEERNET_OK)
///       for (size_t i = 0; i < peernet_items_len(items); i++) {
///         const peernet_item *item = peernet_items_at(items, i);
///         printf("%.*s\n", (int)item->key_len, item->key);
///       }
///     peernet_items_free(items);
///
/// Errors: PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_items(
    table: peernet_table,
    items: *mut *mut peernet_items,
) -> peernet_status {
    // SAFETY: null or a place for a pointer.
    unsafe { args::clear(items, ptr::null_mut()) };
    guard(Does::Use, || {
        let place = args::out(items, "items")?;
        let all = find(table)?.node.table()?.items_packed();
        // SAFETY: checked above.
        unsafe { place.put(peernet_items::give(all)) };
        Ok(())
    })
}

/// The number of keys in a list; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_items_len(items: *const peernet_items) -> usize {
    // SAFETY: null or a list that was not freed.
    guard_or(0, Does::Pure, || Ok(unsafe { items.as_ref() }.map_or(0, |items| items.views.len())))
}

/// A key of a list with its value, from 0; null behind the last one. It lives until the list is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_items_at(items: *const peernet_items, at: usize) -> *const peernet_item {
    guard_or(ptr::null(), Does::Pure, || {
        // SAFETY: null or a list that was not freed.
        let view = unsafe { items.as_ref() }.and_then(|items| items.views.get(at));
        Ok(view.map_or(ptr::null(), ptr::from_ref))
    })
}

/// Frees a list, with all that its items point to. Null does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_items_free(items: *mut peernet_items) {
    guard_or((), Does::Pure, || {
        if !items.is_null() {
            // SAFETY: not null, and so one that a function gave and that was not freed.
            drop(unsafe { Box::from_raw(items) });
        }
        Ok(())
    });
}

/// Gives a key a value, for all nodes.
///
/// `value` is `value_len` bytes, one packed value. `timeout_ms` in milliseconds: while a neighbour's queue is full
/// this waits so long; negative as long as it takes, 0 not at all. With `options.durable` it also waits until the
/// change is on the disk. `report` may be null.
///
/// Errors, and then nothing has changed: PEERNET_ERR_LEASE while the key is another's, PEERNET_ERR_TABLE_FULL at a
/// bound of the table, PEERNET_ERR_NIL for nil, PEERNET_ERR_KEY for a key that is too long, PEERNET_ERR_TOO_LARGE,
/// PEERNET_ERR_VALUE if the bytes are not one value, PEERNET_ERR_NO_TABLE, PEERNET_ERR_CLOSED. After
/// PEERNET_ERR_TIMED_OUT nothing has changed either, but with `options.durable` it may have, and not be on the disk
/// yet; and so after PEERNET_ERR_STORE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_set(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or so many bytes each.
        let (key, value) = unsafe { (self::key(key, key_len)?, self::value(value, value_len, "value")?) };
        let open = find(table)?;
        let sent = open.node.block_on(wait, open.node.table()?.set(key, value))?;
        // SAFETY: null or a report.
        unsafe { mesh::report(report, sent) }
    })
}

/// Sets many keys: `map` is `len` bytes, one packed map, whose keys are texts or bytes. They are set in its order,
/// up to the first error, of which peernet_error_message tells more. Time-out and errors as of peernet_table_set,
/// for all of them together; PEERNET_ERR_TYPE if it is no such map, and then none is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_update(
    table: peernet_table,
    map: *const u8,
    len: usize,
    timeout_ms: i32,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or `len` bytes.
        let items = pairs(unsafe { value(map, len, "map") }?.as_bytes())?;
        let open = find(table)?;
        open.node.block_on(wait, open.node.table()?.update(items))
    })
}

/// The keys of a packed map, with their values.
fn pairs(map: &[u8]) -> Result<Vec<(&[u8], Packed<'_>)>, Error> {
    let limits = Limits::default();
    let no_map = || Error::new(ErrorCode::Type, "it is not a map whose keys are texts or bytes");
    let (Token::Map(count), mut at) = token(map, 0).map_err(args::no_value)? else { return Err(no_map()) };
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key = match token(map, at).map_err(args::no_value)? {
            (Token::Str(text), _) => text.as_bytes(),
            (Token::Bin(bytes), _) => bytes,
            _ => return Err(no_map()),
        };
        let from = skip(map, at, &limits).map_err(args::no_value)?;
        at = skip(map, from, &limits).map_err(args::no_value)?;
        let value = map.get(from..at).unwrap_or_default();
        pairs.push((key, Packed::one(value, &limits).map_err(args::no_value)?));
    }
    Ok(pairs)
}

/// Merges the entries of a packed map into the map that is the key's value, one level deep; a key without a value
/// gets the map. Everything as of peernet_table_set, and PEERNET_ERR_NOT_A_MAP if either of the two is no map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_delta(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    map: *const u8,
    map_len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or so many bytes each.
        let (key, map) = unsafe { (self::key(key, key_len)?, value(map, map_len, "map")?) };
        let open = find(table)?;
        let sent = open.node.block_on(wait, open.node.table()?.delta(key, map))?;
        // SAFETY: null or a report.
        unsafe { mesh::report(report, sent) }
    })
}

/// Takes a key's value away, for all nodes. PEERNET_ERR_END if it has none. Everything else as of
/// peernet_table_set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_delete(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    timeout_ms: i32,
    report: *mut peernet_report,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null or `key_len` bytes.
        let key = unsafe { self::key(key, key_len) }?;
        let open = find(table)?;
        let sent = open.node.block_on(wait, open.node.table()?.delete(key))?.ok_or_else(nothing)?;
        // SAFETY: null or a report.
        unsafe { mesh::report(report, sent) }
    })
}

/// Takes a key's value away, and appends it, packed, to `value`. Everything as of peernet_table_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_pop(
    table: peernet_table,
    key: *const c_void,
    key_len: usize,
    timeout_ms: i32,
    value: *mut peernet_writer,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    guard(Does::Wait(wait), || {
        // SAFETY: null, or a writer that nobody else uses, and `key_len` bytes.
        let (value, key) = unsafe { (peernet_writer::borrow(value)?, self::key(key, key_len)?) };
        let open = find(table)?;
        let popped = open.node.block_on(wait, open.node.table()?.pop_packed(key))?;
        append(value, &popped.ok_or_else(nothing)?)
    })
}

/// Takes the value of some key away that this node may change, and gives both: on success `*item` is a list of one,
/// to be freed with peernet_items_free; otherwise it is null. PEERNET_ERR_END if there is no such key. Everything
/// else as of peernet_table_set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_table_popitem(
    table: peernet_table,
    timeout_ms: i32,
    item: *mut *mut peernet_items,
) -> peernet_status {
    let wait = args::wait(timeout_ms);
    // SAFETY: null or a place for a pointer.
    unsafe { args::clear(item, ptr::null_mut()) };
    guard(Does::Wait(wait), || {
        let place = args::out(item, "item")?;
        let open = find(table)?;
        let popped = open.node.block_on(wait, open.node.table()?.popitem_packed())?;
        let none = || Error::new(ErrorCode::End, "there is no key that this node may change");
        // SAFETY: checked above.
        unsafe { place.put(peernet_items::give(vec![popped.ok_or_else(none)?])) };
        Ok(())
    })
}
