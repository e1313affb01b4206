//! What a node holds: the kept version of every key, deleted ones included, and its bounds.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::version::Version;
use crate::identity::NodeId;
use crate::wire::body::digest;

/// Where a key stands among all others, which is the same on every node and for nobody to choose: the
/// first bytes of its digest.
pub(super) fn place(key: &[u8]) -> u64 {
    digest(key).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
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
    /// Where the key stands in the body.
    pub(super) key: Span,
    /// Where the packed value stands in the body; empty if the key is deleted.
    pub(super) value: Span,
}

/// Where a part of a body stands. Frames are shorter than 2^32 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// That of `part`, which is a slice of `body`.
    pub(super) fn of(part: &[u8], body: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(start), Ok(len)) if len > 0 => Self { start, len },
            _ => Self::default(),
        }
    }

    fn in_body(self, body: &[u8]) -> &[u8] {
        let start = self.start as usize;
        body.get(start..start + self.len as usize).unwrap_or_default()
    }
}

impl Stored {
    pub(super) fn is_deleted(&self) -> bool {
        self.value.len == 0
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.in_body(&self.body)
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        Some(self.value.in_body(&self.body)).filter(|value| !value.is_empty())
    }

    /// What it counts against the bound of bytes (S-54).
    fn size(&self) -> usize {
        self.body.len() + self.key.len as usize
    }

    /// As [`Stored::value`], sharing the body's memory.
    pub(super) fn value_bytes(&self) -> Option<Bytes> {
        self.value().map(|value| self.body.slice_ref(value))
    }
}

/// The versions of all keys of one place. There is hardly ever more than one, and then the map stays
/// small, and looking something up compares numbers only.
#[derive(Debug)]
struct Slot {
    stored: Stored,
    next: Option<Box<Slot>>,
}

impl Slot {
    fn iter(&self) -> impl Iterator<Item = &Stored> {
        std::iter::successors(Some(self), |slot| slot.next.as_deref()).map(|slot| &slot.stored)
    }

    fn find_mut(&mut self, key: &[u8]) -> Option<&mut Stored> {
        if self.stored.key() == key {
            return Some(&mut self.stored);
        }
        self.next.as_mut()?.find_mut(key)
    }

    fn push(&mut self, stored: Stored) {
        let next = self.next.take();
        self.next = Some(Box::new(Self { stored, next }));
    }

    /// Without that key; nothing if there was no other.
    fn without(self, key: &[u8]) -> Option<Self> {
        let rest = self.next.and_then(|next| next.without(key));
        match self.stored.key() == key {
            true => rest,
            false => Some(Self { stored: self.stored, next: rest.map(Box::new) }),
        }
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
        let place = self.owners.get_mut(owner);
        let before = place.as_deref().copied().unwrap_or_default();
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
        match place {
            Some(place) => *place = share,
            None => {
                self.owners.insert(owner.clone(), share);
            }
        }
        self.all = all;
        if let Some((old, size)) = old.filter(|(old, _)| *old != owner) {
            self.leave(old, size);
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
    map: BTreeMap<u64, Slot>,
    /// Keys, deleted ones included.
    len: usize,
    /// Those that have a value.
    live: usize,
    usage: Usage,
    /// When deleted keys are forgotten, in milliseconds of our own time, with their places and marks.
    tombstones: BTreeSet<(i64, u64, u64)>,
    /// How long they are kept, in milliseconds.
    keep: i64,
}

impl Entries {
    /// None yet. Deleted keys are remembered for `keep`, in milliseconds.
    pub(super) fn new(leases: bool, keep: i64) -> Self {
        Self {
            leases,
            map: BTreeMap::new(),
            len: 0,
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
        self.len
    }

    /// Keys that have a value.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.map.get(&place(key))?.iter().find(|stored| stored.key() == key)
    }

    /// All of them whose places lie from `start` to `end`, both included.
    pub(super) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Stored)> {
        // A map has no range that ends before it begins.
        let slots = (start <= end).then(|| self.map.range(start..=end)).into_iter().flatten();
        slots.flat_map(|(place, slot)| slot.iter().map(|stored| (*place, stored)))
    }

    /// The id with this text, shared with the entries that are its own.
    pub(super) fn owner(&self, text: &[u8]) -> Option<NodeId> {
        let text = std::str::from_utf8(text).ok()?;
        let known = self.usage.owners.get_key_value(text);
        known.map(|(id, _)| id.clone()).or_else(|| NodeId::parse(text).ok())
    }

    /// Whether a version that somebody hands on would be kept, bounds aside. A deletion, which somebody has
    /// known of since then, would not if its time is over, so that it does not go round for ever.
    pub(super) fn wants(&self, now: i64, key: &[u8], version: &Version, deleted: Option<i64>) -> bool {
        match self.get(key) {
            Some(held) => version.rank(&held.version, self.leases).is_gt(),
            None => deleted.is_none_or(|since| since.saturating_add(self.keep) > now),
        }
    }

    /// Keeps a version, unless the kept one of its key outranks it. A deletion of a known key always has
    /// room.
    pub(super) fn put(&mut self, stored: Stored, bounds: Bounds) -> Result<Put, Full> {
        let place = place(stored.key());
        self.put_at(place, stored, bounds)
    }

    fn put_at(&mut self, place: u64, stored: Stored, bounds: Bounds) -> Result<Put, Full> {
        let expiry = |stored: &Stored| (stored.heard.saturating_add(self.keep), place, stored.version.mark);
        let new = (&stored.version.owner, stored.size());
        let is_deleted = stored.is_deleted();
        let put = match self.map.entry(place) {
            btree_map::Entry::Vacant(slot) => {
                self.usage.replace(None, new, Some(bounds))?;
                if is_deleted {
                    self.tombstones.insert(expiry(&stored));
                }
                slot.insert(Slot { stored, next: None });
                Put::New
            }
            btree_map::Entry::Occupied(slot) => {
                let slot = slot.into_mut();
                match slot.find_mut(stored.key()) {
                    None => {
                        self.usage.replace(None, new, Some(bounds))?;
                        if is_deleted {
                            self.tombstones.insert(expiry(&stored));
                        }
                        slot.push(stored);
                        Put::New
                    }
                    Some(old) => {
                        if stored.version.rank(&old.version, self.leases).is_le() {
                            return Ok(Put::Outranked);
                        }
                        let bounds = (!is_deleted).then_some(bounds);
                        self.usage.replace(Some((&old.version.owner, old.size())), new, bounds)?;
                        if old.is_deleted() {
                            self.tombstones.remove(&expiry(old));
                        }
                        if is_deleted {
                            self.tombstones.insert(expiry(&stored));
                        }
                        Put::Replaced(std::mem::replace(old, stored))
                    }
                }
            }
        };
        match &put {
            Put::Replaced(old) => self.live -= usize::from(!old.is_deleted()),
            _ => self.len += 1,
        }
        self.live += usize::from(!is_deleted);
        Ok(put)
    }

    /// When the next deleted key is to be forgotten.
    pub(super) fn next_expiry(&self) -> Option<i64> {
        self.tombstones.first().map(|(at, ..)| *at)
    }

    /// Forgets one deleted key whose time is over, and names it.
    pub(super) fn expire(&mut self, now: i64) -> Option<Bytes> {
        while let Some(first) = self.tombstones.first().copied().filter(|(at, ..)| *at <= now) {
            self.tombstones.remove(&first);
            let (_, place, mark) = first;
            let due = self.range(place, place).find(|(_, stored)| stored.version.mark == mark);
            let Some(gone) = due.map(|(_, stored)| stored.clone()) else { continue };
            let slot = self.map.remove(&place).and_then(|slot| slot.without(gone.key()));
            if let Some(slot) = slot {
                self.map.insert(place, slot);
            }
            self.len -= 1;
            self.usage.remove(&gone.version.owner, gone.size());
            return Some(Bytes::copy_from_slice(gone.key()));
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALL: Bounds = Bounds { keys: 1 << 10, bytes: 1 << 20 };

    fn stored(key: &str, value: &str, stamp: i64) -> Stored {
        let owner = NodeId::parse("abc").unwrap();
        let mark = u64::from(key.as_bytes()[0]) << 8 | stamp as u64;
        let version = Version { term: 0, claimed: 0, owner, stamp, mark };
        let body = Bytes::from([key, value].concat());
        let (key, value) = body.split_at(key.len());
        let (key, value) = (Span::of(key, &body), Span::of(value, &body));
        Stored { version, body, heard: 0, key, value }
    }

    fn held(entries: &Entries) -> Vec<(u64, &str, Option<&str>)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let all = entries.range(0, u64::MAX);
        all.map(|(place, stored)| (place, text(stored.key()), stored.value().map(text))).collect()
    }

    /// S-60
    #[test]
    fn keys_that_share_a_place_stay_apart() {
        let mut entries = Entries::new(false, 10);
        for (key, value, stamp) in [("a", "1", 1), ("b", "2", 1), ("c", "3", 1), ("b", "4", 2), ("a", "0", 0)]
        {
            entries.put_at(7, stored(key, value, stamp), ALL).unwrap();
        }
        assert_eq!(held(&entries), [(7, "a", Some("1")), (7, "c", Some("3")), (7, "b", Some("4"))]);
        assert_eq!((entries.len(), entries.live()), (3, 3));
        for key in ["c", "a"] {
            entries.put_at(7, stored(key, "", 5), ALL).unwrap();
        }
        assert_eq!((entries.len(), entries.live()), (3, 1));
        entries.put_at(7, stored("a", "again", 6), ALL).unwrap();
        assert_eq!(entries.expire(9), None);
        assert_eq!(entries.expire(10), Some(Bytes::from("c")));
        assert_eq!(entries.expire(10), None);
        assert_eq!(held(&entries), [(7, "a", Some("again")), (7, "b", Some("4"))]);
        assert_eq!((entries.len(), entries.live()), (2, 2));
    }
}
