//! The sync table: a dictionary that every node of a subnet holds (`spec/10-sync.md`).
//!
//! | file | decides |
//! |---|---|
//! | `version` | which of two versions of a key stays |
//! | `entries` | what a node holds, and its bounds |
//! | `reconcile` | where two tables differ |
//! | `exchange` | who tells whom what it lacks, and when |
//! | `convergent` | writes and what others wrote, in subnets that prove ids |
//! | `legacy` | the same by the rules of 0.7, in all others |

mod convergent;
mod entries;
mod exchange;
mod legacy;
mod reconcile;
mod version;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use self::convergent::Convergent;
use self::legacy::Legacy;
use super::node::{Node, Trust};
use super::outbox::{Event, LinkId, Now, Outbox};
use super::records::RecordError;
use crate::config::Config;
use crate::identity::{MessageId, NodeId};
use crate::wire::Message;
use crate::wire::codes::code;
use crate::wire::value::{self, Limits, Pack, Value, ValueError};

pub(super) use legacy::Spare;
pub use version::Version;

/// How long a key stays its owner's after its last write.
pub const LEASE: Duration = Duration::from_secs(3600);

/// What the nodes of a table's subnet have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether a key is its owner's for [`LEASE`] after every write.
    pub leases: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { leases: true }
    }
}

/// A node's copy of the subnet's dictionary. Values stay packed, each one msgpack value.
#[derive(Debug)]
pub struct Table {
    options: TableOptions,
    /// Whether somebody wants [`Event::Changed`].
    watched: bool,
    /// Whether there is something to keep records in.
    kept: bool,
    rules: Rules,
}

/// Those of the subnet.
#[derive(Debug)]
enum Rules {
    /// Peernet's own, in subnets that prove ids.
    Convergent(Convergent),
    /// Those of 0.7.
    Legacy(Legacy),
}

/// A key that has a value.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value, packed.
    pub value: &'a [u8],
    /// Who wrote it.
    pub owner: &'a NodeId,
    /// When, in seconds since 1970 by its owner's clock.
    pub time: i64,
    until: Until,
}

/// How long a lease runs.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// There are no leases.
    Never,
    /// Up to a time of [`Now::mono`], in milliseconds. It may lie before zero.
    Mono(i64),
    /// Up to a time of [`Now::wall`].
    Wall(i64),
}

impl Entry<'_> {
    /// How long the key is still its owner's; `None` if anyone may write it.
    pub fn lease(&self, now: Now) -> Option<Duration> {
        let left = match self.until {
            Until::Never => return None,
            Until::Mono(until) => {
                Duration::from_millis(u64::try_from(until.saturating_sub(millis(now))).ok()?)
            }
            Until::Wall(until) => Duration::from_secs(u64::try_from(until.saturating_sub(now.wall)).ok()?),
        };
        (!left.is_zero()).then_some(left)
    }
}

/// A key has another value than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: Bytes,
    /// Its value, packed; `None` if it is gone.
    pub value: Option<Bytes>,
    /// What it was before.
    pub old: Option<Bytes>,
    /// Who wrote it.
    pub owner: NodeId,
    /// When, in seconds since 1970 by its owner's clock.
    pub time: i64,
}

/// Why a key was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The node has no table.
    #[error("the node has no table")]
    NoTable,
    /// It is another's.
    #[error("the key belongs to {owner} for another {} s", remaining.as_secs())]
    Leased {
        /// Whose.
        owner: NodeId,
        /// For how long.
        remaining: Duration,
    },
    /// The key has no value.
    #[error("there is no such key")]
    Absent,
    /// A bound is reached. Nothing makes room but deleting.
    #[error("the table is full: {bound}")]
    Full {
        /// Which bound of [`crate::Config`], and of whom.
        bound: &'static str,
    },
    /// The value is nil.
    #[error("nil marks deleted keys; delete the key instead")]
    Nil,
    /// The value is not one packed value.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The same was written so often within a few seconds that others would take it for a copy. Never where
    /// ids are proven.
    #[error("the same was written too often just now; wait, or write something else")]
    Repeated,
    /// Only maps can be merged.
    #[error("{0} is no map")]
    NotAMap(&'static str),
    /// The key is too long.
    #[error("a key of {len} bytes is longer than {max}")]
    Key {
        /// Its length in bytes.
        len: usize,
        /// The longest accepted.
        max: usize,
    },
    /// With its value, it is too large for a frame.
    #[error("an entry of {size} bytes is larger than {max}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest accepted.
        max: usize,
    },
}

impl Table {
    fn new(options: TableOptions, trust: &Trust, config: &Config) -> Self {
        let rules = match trust {
            Trust::Proven { .. } => Rules::Convergent(Convergent::new(options.leases, config)),
            Trust::Claimed => Rules::Legacy(Legacy::new(options.leases)),
        };
        Self { options, watched: true, kept: true, rules }
    }

    /// What its subnet has agreed on.
    pub fn options(&self) -> TableOptions {
        self.options
    }

    /// What a key stands for, if it has a value.
    pub fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        match &self.rules {
            Rules::Convergent(table) => table.get(key),
            Rules::Legacy(table) => table.get(key),
        }
    }

    /// The number of keys that have a value.
    pub fn len(&self) -> usize {
        match &self.rules {
            Rules::Convergent(table) => table.len(),
            Rules::Legacy(table) => table.len(),
        }
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys that have a value. The order is always the same and means nothing.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Entry<'_>> + '_> {
        match &self.rules {
            Rules::Convergent(table) => Box::new(table.iter()),
            Rules::Legacy(table) => Box::new(table.iter()),
        }
    }

    /// The version of a key that is kept, deleted ones included; `None` by the rules of 0.7, which have
    /// none.
    pub fn version(&self, key: &[u8]) -> Option<&Version> {
        match &self.rules {
            Rules::Convergent(table) => table.version(key),
            Rules::Legacy(_) => None,
        }
    }
}

impl Node {
    /// The same node with a table: what joins others of subnets for tables (S-1).
    #[must_use]
    pub fn with_table(mut self, options: TableOptions) -> Self {
        self.sync = Some(Box::new(Table::new(options, &self.identity.trust, &self.config)));
        self
    }

    /// Its table, if it has one.
    pub fn table(&self) -> Option<&Table> {
        self.sync.as_deref()
    }

    /// Whether anybody wants [`Event::Changed`] (at first, yes).
    pub fn watch_table(&mut self, watched: bool) {
        if let Some(table) = &mut self.sync {
            table.watched = watched;
        }
    }

    /// Whether there is something to keep records of the table in (at first, yes). Where there is not, none
    /// are made.
    pub fn keep_table(&mut self, kept: bool) {
        if let Some(table) = &mut self.sync {
            table.kept = kept;
        }
    }

    /// Gives a key a value, one packed msgpack value, and returns the id of the broadcast that says so. `stamp` is that of a message made now, in
    /// [`Trust::stamps_per_second`].
    ///
    /// # Errors
    /// [`TableError`] says why nothing was written.
    pub fn table_set(
        &mut self,
        now: Now,
        stamp: i64,
        key: Bytes,
        value: Bytes,
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        if value.as_ref() == [NIL] {
            return Err(TableError::Nil);
        }
        value::validate(&value, 1, &VALUE_LIMITS)?;
        match self.rules()? {
            Rules::Convergent(_) => self.write(now, stamp, &key, Some(&value), out),
            Rules::Legacy(_) => self.legacy_set(now, key, value, out),
        }
    }

    /// Takes a key's value away; `stamp` as in [`Node::table_set`].
    ///
    /// # Errors
    /// [`TableError::Absent`] if it has none; otherwise as in [`Node::table_set`].
    pub fn table_delete(
        &mut self,
        now: Now,
        stamp: i64,
        key: &[u8],
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        if self.sync.as_ref().is_some_and(|table| table.get(key).is_none()) {
            return Err(TableError::Absent);
        }
        match self.rules()? {
            Rules::Convergent(_) => self.write(now, stamp, key, None, out),
            Rules::Legacy(_) => self.legacy_delete(now, key, out),
        }
    }

    /// Merges one packed map into a key's value, which is a map or absent; `stamp` as in
    /// [`Node::table_set`].
    ///
    /// # Errors
    /// [`TableError::NotAMap`] if either is something else; otherwise as in [`Node::table_set`].
    pub fn table_delta(
        &mut self,
        now: Now,
        stamp: i64,
        key: &[u8],
        delta: Bytes,
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        value::validate(&delta, 1, &VALUE_LIMITS)?;
        match self.rules()? {
            Rules::Convergent(_) => {
                let old = self.sync.as_ref().and_then(|table| table.get(key)).map(|entry| entry.value);
                let merged = merge(old, &delta)?;
                self.write(now, stamp, key, Some(&merged), out)
            }
            Rules::Legacy(_) => self.legacy_delta(now, key, &delta, out),
        }
    }

    fn rules(&self) -> Result<&Rules, TableError> {
        self.sync.as_ref().map(|table| &table.rules).ok_or(TableError::NoTable)
    }

    /// A broadcast under one of the table's codes, which has been passed on already.
    pub(super) fn on_table_broadcast(
        &mut self,
        now: Now,
        code: u64,
        author: NodeId,
        message: Message,
        out: &mut Outbox,
    ) {
        match self.rules() {
            Ok(Rules::Convergent(_)) => self.on_write(now, code, &message, out),
            Ok(Rules::Legacy(_)) => self.on_legacy_broadcast(now, author, &message, out),
            Err(_) => self.counters.unknown += 1,
        }
    }

    /// A whisper under one of the table's codes.
    pub(super) fn on_table_whisper(
        &mut self,
        now: Now,
        from: LinkId,
        code: u64,
        message: Message,
        out: &mut Outbox,
    ) {
        match (self.rules(), code) {
            (Ok(Rules::Legacy(_)), code::STORE) => self.on_legacy_whisper(now, from, &message, out),
            (Ok(Rules::Convergent(_)), code::DIGEST) => self.on_digest(now, from, &message, out),
            (Ok(Rules::Convergent(_)), code::ENTRIES) => self.on_entries(now, from, &message, &[], out),
            _ => self.counters.unknown += 1,
        }
    }

    /// The peer on a link has become a neighbour, and has been told ours.
    pub(super) fn table_meets(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        match self.rules() {
            Ok(Rules::Legacy(_)) => self.legacy_meets(now, link, out),
            Ok(Rules::Convergent(_)) => self.convergent_meets(now, link, out),
            Err(_) => {}
        }
    }

    /// A link to a peer ended, not always the only one.
    pub(super) fn table_parts(&mut self, now: Now, peer: &NodeId, link: LinkId) {
        match self.rules() {
            Ok(Rules::Legacy(_)) => self.legacy_parts(link),
            Ok(Rules::Convergent(_)) => self.convergent_parts(now, peer),
            Err(_) => {}
        }
    }

    /// Takes back a record of the table: [`Node::restore`].
    pub(super) fn restore_entry(&mut self, now: Now, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        match self.rules() {
            Ok(Rules::Convergent(_)) => self.restore_version(now, key, value),
            Ok(Rules::Legacy(_)) => self.restore_legacy(key, value),
            Err(_) => Err(RecordError("the node has no table")),
        }
    }

    /// A key has another value than before.
    fn changed(&self, change: Change, out: &mut Outbox) {
        if self.sync.as_ref().is_some_and(|table| table.watched) {
            out.event(Event::Changed(change));
        }
    }
}

/// The packed nil.
const NIL: u8 = 0xc0;

/// As [`Limits::default`], with room for what stands beside the value in a message.
const VALUE_LIMITS: Limits = Limits { max_depth: value::MAX_DEPTH, max_values: value::MAX_VALUES - 16 };

/// The packed map that is `old` with the pairs of `delta` in it.
fn merge(old: Option<&[u8]>, delta: &[u8]) -> Result<Vec<u8>, TableError> {
    let map = |packed: &[u8], what| match value::unpack(packed, 1, &Limits::default())?.pop() {
        Some(Value::Map(pairs)) => Ok(pairs),
        _ => Err(TableError::NotAMap(what)),
    };
    let mut merged = match old {
        Some(old) => map(old, "the key's value")?,
        None => Vec::new(),
    };
    let name = |key: &Value| {
        let mut packed = Vec::new();
        key.pack(&mut packed).map(|()| packed)
    };
    let mut places = BTreeMap::new();
    for (at, (key, _)) in merged.iter().enumerate() {
        places.insert(name(key)?, at);
    }
    for (key, value) in map(delta, "the delta")? {
        let at = *places.entry(name(&key)?).or_insert(merged.len());
        match merged.get_mut(at) {
            Some((_, old)) => *old = value,
            None => merged.push((key, value)),
        }
    }
    let mut packed = Vec::with_capacity(old.map_or(0, <[u8]>::len) + delta.len());
    Value::Map(merged).pack(&mut packed)?;
    Ok(packed)
}

/// A time of the machine in milliseconds, signed because some things happened before it began.
fn millis(now: Now) -> i64 {
    i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX)
}
