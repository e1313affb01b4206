//! What a node holds: the kept version of every key, deleted ones included, and its bounds.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::version::Version;
use crate::identity::NodeId;

/// Where a key stands among all others, which is the same on every node and for nobody to choose: the
/// first bytes of its digest.
pub(super) fn place(key: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(key).into();
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The kept version of one key.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) version: Version,
    /// The broadcast that carried it, as its author made it.
    pub(super) body: Bytes,
    /// Since when anyone has had it, as far as is known: milliseconds of our own time, before zero
    /// where that is before we began.
    pub(super) heard: i64,
    /// Where the packed value stands in the body; empty if the key is deleted.
    pub(super) value_at: u32,
    pub(super) value_len: u32,
}

impl Stored {
    pub(super) fn is_deleted(&self) -> bool {
        self.value_len == 0
    }

    fn span(&self) -> std::ops::Range<usize> {
        self.value_at as usize..self.value_at as usize + self.value_len as usize
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.body.get(self.span()).filter(|value| !value.is_empty())
    }

    /// As [`Stored::value`], sharing the body's memory.
    pub(super) fn value_bytes(&self) -> Option<Bytes> {
        self.value().map(|value| self.body.slice_ref(value))
    }
}

/// What a table holds at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Keys, deleted ones included.
    pub(super) keys: usize,
    /// Bytes of their bodies and their names.
    pub(super) bytes: usize,
}

/// What became of a version.
#[derive(Debug)]
pub(super) enum Put {
    /// The kept one is the same, or outranks it.
    Outranked,
    /// It is kept, and the key was not known.
    New,
    /// It is kept, in place of this one.
    Replaced(Stored),
}

/// Which bound a version would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full(pub(super) &'static str);

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    keys: usize,
    bytes: usize,
}

impl Share {
    fn with(self, keys: usize, bytes: usize) -> Self {
        Self { keys: self.keys + keys, bytes: self.bytes + bytes }
    }

    fn without(self, keys: usize, bytes: usize) -> Self {
        Self { keys: self.keys.saturating_sub(keys), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// Who takes up how much.
#[derive(Debug, Default)]
struct Usage {
    all: Share,
    owners: BTreeMap<NodeId, Share>,
}

impl Usage {
    /// One owner's version takes the place of another's, or of nothing; it is refused if it made more of
    /// what is too much already.
    fn replace(
        &mut self,
        old: Option<(&NodeId, usize)>,
        (owner, size): (&NodeId, usize),
        bounds: Option<Bounds>,
    ) -> Result<(), Full> {
        let (freed_keys, freed) = old.map_or((0, 0), |(_, size)| (1, size));
        let all = self.all.without(freed_keys, freed).with(1, size);
        let before = self.owners.get(owner).copied().unwrap_or_default();
        let rest = match old {
            Some((old, size)) if old == owner => before.without(1, size),
            _ => before,
        };
        let share = rest.with(1, size);
        if let Some(Bounds { keys, bytes }) = bounds {
            let over = |after, before, most| after > most && after > before;
            for (is_over, bound) in [
                (over(all.keys, self.all.keys, keys), "it has no room for more keys (table_keys)"),
                (over(all.bytes, self.all.bytes, bytes), "it has no room for more bytes (table_bytes)"),
                (over(share.keys, before.keys, keys / 2), "no node may own more than half of table_keys"),
                (over(share.bytes, before.bytes, bytes / 2), "no node may own more than half of table_bytes"),
            ] {
                if is_over {
                    return Err(Full(bound));
                }
            }
        }
        if let Some((old, size)) = old.filter(|(old, _)| *old != owner) {
            self.leave(old, size);
        }
        self.all = all;
        match self.owners.get_mut(owner) {
            Some(place) => *place = share,
            None => {
                self.owners.insert(owner.clone(), share);
            }
        }
        Ok(())
    }

    fn remove(&mut self, owner: &NodeId, size: usize) {
        self.all = self.all.without(1, size);
        self.leave(owner, size);
    }

    fn leave(&mut self, owner: &NodeId, size: usize) {
        if let Some(share) = self.owners.get_mut(owner) {
            *share = share.without(1, size);
            if share.keys == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// All versions that a node keeps, in the order of their places.
#[derive(Debug)]
pub(super) struct Entries {
    leases: bool,
    map: BTreeMap<(u64, Bytes), Stored>,
    live: usize,
    usage: Usage,
    /// When deleted keys are forgotten, in milliseconds of our own time, and their places.
    tombstones: BTreeSet<(i64, u64)>,
    /// How long they are kept, in milliseconds.
    keep: i64,
}

impl Entries {
    /// None yet. Deleted keys are remembered for `keep`, in milliseconds.
    pub(super) fn new(leases: bool, keep: i64) -> Self {
        Self {
            leases,
            map: BTreeMap::new(),
            live: 0,
            usage: Usage::default(),
            tombstones: BTreeSet::new(),
            keep,
        }
    }

    pub(super) fn has_leases(&self) -> bool {
        self.leases
    }

    /// Keys, deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Keys that have a value.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<(&Bytes, &Stored)> {
        let place = place(key);
        // Keys that share a place are as good as none, so that this takes one step.
        let there = self.map.range((place, Bytes::new())..).take_while(|((other, _), _)| *other == place);
        there.map(|((_, key), stored)| (key, stored)).find(|(other, _)| *other == key)
    }

    /// All of them whose places lie from `start` to `end`, both included.
    pub(super) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Bytes, &Stored)> {
        let from = self.map.range((start, Bytes::new())..);
        let within = from.take_while(move |((place, _), _)| *place <= end);
        within.map(|((place, key), stored)| (*place, key, stored))
    }

    /// The id with this text, shared with the entries that are its own.
    pub(super) fn owner(&self, text: &[u8]) -> Option<NodeId> {
        let text = std::str::from_utf8(text).ok()?;
        let known = self.usage.owners.get_key_value(text);
        known.map(|(id, _)| id.clone()).or_else(|| NodeId::parse(text).ok())
    }

    /// Whether a version that somebody hands on would be kept, bounds aside. A deletion whose time is over
    /// would not, so that it does not go round for ever.
    pub(super) fn wants(&self, now: i64, key: &[u8], stored: &Stored) -> bool {
        match self.get(key) {
            Some((_, held)) => stored.version.rank(&held.version, self.leases).is_gt(),
            None => !stored.is_deleted() || stored.heard.saturating_add(self.keep) > now,
        }
    }

    /// Keeps a version, unless the kept one of its key outranks it. A deletion of a known key always has
    /// room.
    pub(super) fn put(&mut self, key: &[u8], stored: Stored, bounds: Bounds) -> Result<Put, Full> {
        let size = |stored: &Stored| stored.body.len() + key.len();
        let place = place(key);
        let expiry = |stored: &Stored| (stored.heard.saturating_add(self.keep), place);
        let new = (&stored.version.owner, size(&stored));
        // The key is copied, because a slice would pin the frame that brought it.
        match self.map.entry((place, Bytes::copy_from_slice(key))) {
            btree_map::Entry::Vacant(slot) => {
                self.usage.replace(None, new, Some(bounds))?;
                if stored.is_deleted() {
                    self.tombstones.insert(expiry(&stored));
                } else {
                    self.live += 1;
                }
                slot.insert(stored);
                Ok(Put::New)
            }
            btree_map::Entry::Occupied(mut slot) => {
                let old = slot.get();
                if stored.version.rank(&old.version, self.leases).is_le() {
                    return Ok(Put::Outranked);
                }
                let bounds = (!stored.is_deleted()).then_some(bounds);
                self.usage.replace(Some((&old.version.owner, size(old))), new, bounds)?;
                if old.is_deleted() {
                    self.tombstones.remove(&expiry(old));
                } else {
                    self.live -= 1;
                }
                if stored.is_deleted() {
                    self.tombstones.insert(expiry(&stored));
                } else {
                    self.live += 1;
                }
                Ok(Put::Replaced(slot.insert(stored)))
            }
        }
    }

    /// When the next deleted key is to be forgotten.
    pub(super) fn next_expiry(&self) -> Option<i64> {
        self.tombstones.first().map(|(at, _)| *at)
    }

    /// Forgets one deleted key whose time is over, and names it.
    pub(super) fn expire(&mut self, now: i64) -> Option<Bytes> {
        while let Some((at, place)) = self.tombstones.first().copied().filter(|(at, _)| *at <= now) {
            self.tombstones.remove(&(at, place));
            let is_due =
                |stored: &Stored| stored.is_deleted() && stored.heard.saturating_add(self.keep) == at;
            let due = self.range(place, place).find(|(_, _, stored)| is_due(stored));
            if let Some(key) = due.map(|(_, key, _)| key.clone()) {
                let key = (place, key);
                if let Some(gone) = self.map.remove(&key) {
                    self.usage.remove(&gone.version.owner, gone.body.len() + key.1.len());
                }
                return Some(key.1);
            }
        }
        None
    }
}
