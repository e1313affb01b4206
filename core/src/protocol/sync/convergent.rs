//! Writes, and what others wrote, in subnets that prove ids: all nodes end with the same table,
//! whatever the network does (`spec/10-sync.md`, S-40 to S-59).

use bytes::Bytes;
use rmp::decode;

use super::entries::{Bounds, Entries, Full, Put, Span, Stored};
use super::exchange::Exchange;
use super::{Change, Entry, LEASE, NIL, Rules, Table, TableError, Until, Version, millis};
use crate::config::Config;
use crate::identity::{MessageId, NodeId};
use crate::protocol::node::{Identity, Node, Trust};
use crate::protocol::outbox::{Event, Now, Outbox};
use crate::protocol::records::{self, RecordError};
use crate::wire::codes::{code, kind};
use crate::wire::value::{self, Limits, Pack, Payload, ValueError};
use crate::wire::{Envelope, Header, Message, MessageError, SEAL_LEN};

/// The longest key, in bytes. Keys are names: they stand in memory twice, and in every record.
pub(super) const MAX_KEY: usize = 4 << 10;
/// What a frame holds besides an entry's body, at most.
pub(super) const ENTRY_ROOM: usize = 512;
/// Bodies from this size on are kept where they were received. Frames are read into buffers of up to four
/// times this.
const PIN_FROM: usize = 64 << 10;
/// How far ahead of our clock a version may be stamped, in microseconds: ten years. Clocks are wrong by any
/// amount, and this only keeps the numbers from running out.
const MAX_AHEAD: i64 = 10 * 365 * 24 * 3600 * Trust::MICROSECONDS;
/// The start of 2026 in seconds since 1970. A clock that says less does not know the time.
const LEAST_WALL: i64 = 1_767_225_600;
/// How long a deleted key is remembered after a start, at least, in seconds.
const LEAST_MEMORY: i64 = 3600;
/// The form of the records that are kept.
const RECORD: u8 = 1;

/// What a node of a subnet with proven ids holds.
#[derive(Debug)]
pub(super) struct Convergent {
    pub(super) entries: Entries,
    pub(super) exchange: Exchange,
}

impl Convergent {
    pub(super) fn new(leases: bool, config: &Config) -> Self {
        let keep = i64::try_from(config.tombstone_keep.as_millis()).unwrap_or(i64::MAX);
        Self { entries: Entries::new(leases, keep), exchange: Exchange::default() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        self.entry(self.entries.get(key)?)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.live()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.range(0, u64::MAX).filter_map(|(_, stored)| self.entry(stored))
    }

    pub(super) fn version(&self, key: &[u8]) -> Option<&Version> {
        self.entries.get(key).map(|stored| &stored.version)
    }

    fn entry<'a>(&self, stored: &'a Stored) -> Option<Entry<'a>> {
        let until = match self.entries.has_leases() {
            true => Until::Mono(stored.heard.saturating_add(LEASE_MILLIS)),
            false => Until::Never,
        };
        let Version { owner, stamp, .. } = &stored.version;
        let time = stamp.div_euclid(Trust::MICROSECONDS);
        Some(Entry { key: stored.key(), value: stored.value()?, owner, time, until })
    }
}

const LEASE_MILLIS: i64 = LEASE.as_millis() as i64;

/// The payload of a write, behind its code.
struct Write<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    term: u64,
    claimed: i64,
    stamp: i64,
}

impl Payload for Write<'_> {
    fn count(&self) -> usize {
        3
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.key.pack(out)?;
        out.extend_from_slice(self.value.unwrap_or(&[NIL]));
        // An array of three.
        out.push(0x93);
        self.term.pack(out)?;
        self.claimed.pack(out)?;
        self.stamp.pack(out)
    }

    fn size_hint(&self) -> usize {
        self.key.size_hint() + self.value.map_or(1, <[u8]>::len) + 28
    }
}

impl<'a> Write<'a> {
    /// Reads a write from the header of a message and its payload, of which nothing need have been checked;
    /// `None` if it does not say what a write says.
    fn read(header: &Header, packed: &'a [u8], leases: bool) -> Option<Self> {
        if header.kind != kind::BROADCAST || header.count != 4 {
            return None;
        }
        let mut rest = packed;
        if decode::read_int::<u64, _>(&mut rest).ok()? != code::STORE {
            return None;
        }
        let len = decode::read_bin_len(&mut rest).ok()?;
        let (key, rest) = rest.split_at_checked(len as usize)?;
        let end = value::skip(rest, 0, &Limits::default()).ok()?;
        let (value, mut rest) = rest.split_at_checked(end)?;
        if decode::read_array_len(&mut rest).ok()? != 3 {
            return None;
        }
        let term = decode::read_int(&mut rest).ok()?;
        let claimed = decode::read_int(&mut rest).ok()?;
        let stamp = decode::read_int(&mut rest).ok()?;
        let value = (value != [NIL]).then_some(value);
        let is_whole = rest.is_empty() && key.len() <= MAX_KEY;
        let is_due = match leases {
            true => claimed <= stamp,
            false => term == 0 && claimed == 0,
        };
        (is_whole && is_due).then_some(Self { key, value, term, claimed, stamp })
    }

    /// The version that it makes, in a message with this body.
    fn version(&self, owner: NodeId, body: &[u8]) -> Version {
        let Self { term, claimed, stamp, .. } = *self;
        let mark = body.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Version { term, claimed, owner, stamp, mark }
    }

    /// If it deletes its key, since when that is known.
    fn deleted_since(&self, since: i64) -> Option<i64> {
        self.value.is_none().then_some(since)
    }

    /// What is kept of it: `kept`, which holds the same bytes as the `body` that it was read from.
    fn stored(&self, version: Version, body: &[u8], kept: Bytes, heard: i64) -> Stored {
        let (key, value) = (Span::of(self.key, body), Span::of(self.value.unwrap_or_default(), body));
        Stored { version, body: kept, heard, key, value }
    }
}

/// Whether it is known that a body is what its author made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Given,
    Missing,
}

/// An entry as a peer has handed it on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed<'a> {
    /// The body of the broadcast that made it.
    pub(super) body: &'a [u8],
    /// What it was received in.
    pub(super) within: &'a Bytes,
    /// Since when somebody has had it, in milliseconds of our own time.
    pub(super) since: i64,
    pub(super) proof: Proof,
}

impl<'a> Handed<'a> {
    /// What it says, if it may say anything: of all this nothing has been checked.
    fn read(&self, seal_len: usize) -> Result<Heard<'a>, Refusal> {
        let Self { body, within, since, proof } = *self;
        let end = body.len().checked_sub(seal_len).ok_or(Refusal::Malformed)?;
        let plain = body.get(..end).unwrap_or_default();
        let header = Header::read(plain).map_err(|_| Refusal::Malformed)?;
        Ok(Heard { packed: header.packed(plain), header, body, within, since, proof })
    }
}

/// What somebody is heard to have said: a broadcast in its parts.
struct Heard<'a> {
    header: Header,
    packed: &'a [u8],
    /// All of it, with its seal.
    body: &'a [u8],
    within: &'a Bytes,
    since: i64,
    proof: Proof,
}

impl Heard<'_> {
    /// The body to keep: a copy of its own, unless it is so large that what it was received in is little
    /// beside it.
    fn unpinned(&self) -> Bytes {
        if self.body.len() < PIN_FROM {
            Bytes::copy_from_slice(self.body)
        } else {
            self.within.slice_ref(self.body)
        }
    }
}

/// Why a version of another's was not even compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no write.
    Malformed,
    /// Its author did not write it.
    Forged,
    /// It is stamped too far ahead.
    Ahead,
    /// A bound is reached.
    Full(Full),
    /// Its author may not join.
    Author,
}

impl Node {
    fn convergent(&self) -> Option<&Convergent> {
        match self.sync.as_deref() {
            Some(Table { rules: Rules::Convergent(table), .. }) => Some(table),
            _ => None,
        }
    }

    fn convergent_mut(&mut self) -> Option<&mut Convergent> {
        match self.sync.as_deref_mut() {
            Some(Table { rules: Rules::Convergent(table), .. }) => Some(table),
            _ => None,
        }
    }

    /// A write of our own: kept here, told to everyone.
    pub(super) fn write(
        &mut self,
        now: Now,
        stamp: i64,
        key: &[u8],
        value: Option<&[u8]>,
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        let table = self.convergent().ok_or(TableError::NoTable)?;
        if key.len() > MAX_KEY {
            return Err(TableError::Key { len: key.len(), max: MAX_KEY });
        }
        let leases = table.entries.has_leases();
        let held = table.entries.get(key);
        let (term, claimed, next) = self.next_version(now, stamp, held, leases)?;
        let write = Write { key, value, term, claimed, stamp: next };
        let message = self.identity.pack(kind::BROADCAST, stamp, code::STORE, &write)?;
        let (size, max) = (message.body().len(), self.config.max_frame.saturating_sub(ENTRY_ROOM));
        if size > max {
            return Err(TableError::TooLarge { size, max });
        }
        // Read back, to know where the value stands.
        let body = message.body();
        let write = Write::read(message.header(), message.packed(), leases).ok_or(TableError::NoTable)?;
        let version = write.version(self.identity.id.clone(), body);
        let stored = write.stored(version, body, body.clone(), millis(now));
        self.keep_version(now, key, stored, false, out).map_err(|Full(bound)| TableError::Full { bound })?;
        let id = message.id();
        self.originate(message, out);
        Ok(id)
    }

    /// The term, claim and stamp of a write of our own, made over what is held now.
    fn next_version(
        &self,
        now: Now,
        stamp: i64,
        held: Option<&Stored>,
        leases: bool,
    ) -> Result<(u64, i64, i64), TableError> {
        // Higher than all that we know of, whatever our clock says.
        let stamp = held.map_or(stamp, |held| stamp.max(held.version.stamp.saturating_add(1)));
        let Some(held) = held.filter(|_| leases) else {
            return Ok((0, if leases { stamp } else { 0 }, stamp));
        };
        let Version { term, claimed, owner, .. } = &held.version;
        if held.is_deleted() {
            return Ok((term.saturating_add(1), stamp, stamp));
        }
        if *owner == self.identity.id {
            return Ok((*term, *claimed, stamp));
        }
        let left = held.heard.saturating_add(LEASE_MILLIS).saturating_sub(millis(now));
        match u64::try_from(left) {
            Ok(left) if left > 0 => {
                let remaining = std::time::Duration::from_millis(left);
                Err(TableError::Leased { owner: owner.clone(), remaining })
            }
            _ => Ok((term.saturating_add(1), stamp, stamp)),
        }
    }

    /// Another's write, as a broadcast.
    pub(super) fn on_write(&mut self, now: Now, code: u64, message: &Message, out: &mut Outbox) {
        if code != code::STORE {
            self.counters.unknown += 1;
            return;
        }
        let body = message.body();
        let heard = Heard {
            header: *message.header(),
            packed: message.packed(),
            body,
            within: body,
            since: millis(now),
            proof: Proof::Given,
        };
        if let Err(refusal) = self.take(now, &heard, &mut None, out) {
            self.count_refusal(refusal);
        }
    }

    pub(super) fn count_refusal(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Malformed | Refusal::Forged => self.counters.malformed += 1,
            Refusal::Ahead => self.counters.table_ahead += 1,
            Refusal::Full(_) => self.counters.table_refused += 1,
            Refusal::Author => self.counters.authors_refused += 1,
        }
    }

    /// Keeps an entry that a peer has handed on, as [`Node::take`]. It is its author's word that counts, not
    /// the peer's.
    pub(super) fn take_entry(
        &mut self,
        now: Now,
        entry: &Handed<'_>,
        author: &mut Option<NodeId>,
        out: &mut Outbox,
    ) -> Result<bool, Refusal> {
        let heard = entry.read(seal_len(&self.identity))?;
        self.take(now, &heard, author, out)
    }

    /// Whether an entry that a peer has handed on would be kept, bounds aside, if it is its author's.
    pub(super) fn wants_entry(&self, now: Now, entry: &Handed<'_>, author: &mut Option<NodeId>) -> bool {
        let Ok(heard) = entry.read(seal_len(&self.identity)) else { return false };
        let Some(table) = self.convergent() else { return false };
        self.judge(now, &heard, author).is_ok_and(|(write, version)| {
            table.entries.wants(millis(now), write.key, &version, write.deleted_since(heard.since))
        })
    }

    /// What somebody has heard said, unless nobody may say it. `author` is that of what was heard before.
    fn judge<'a>(
        &self,
        now: Now,
        heard: &Heard<'a>,
        author: &mut Option<NodeId>,
    ) -> Result<(Write<'a>, Version), Refusal> {
        let table = self.convergent().ok_or(Refusal::Malformed)?;
        let write = Write::read(&heard.header, heard.packed, table.entries.has_leases());
        let write = write.ok_or(Refusal::Malformed)?;
        let sender = heard.header.sender(heard.body);
        let owner = match author {
            Some(author) if author.as_str().as_bytes() == sender => author.clone(),
            _ => {
                let owner = table.entries.owner(sender).ok_or(Refusal::Malformed)?;
                if self.admission.refusal(now.wall, &owner).is_some() {
                    return Err(Refusal::Author);
                }
                author.insert(owner).clone()
            }
        };
        let latest = now.wall.max(LEAST_WALL).saturating_mul(Trust::MICROSECONDS).saturating_add(MAX_AHEAD);
        // Terms are far below stamps, and must run out no sooner.
        if write.stamp > latest || i64::try_from(write.term).map_or(true, |term| term > latest) {
            return Err(Refusal::Ahead);
        }
        if heard.body.len() > self.config.max_frame.saturating_sub(ENTRY_ROOM) {
            return Err(Refusal::Full(Full("it is too large to be handed on")));
        }
        let version = write.version(owner, heard.body);
        Ok((write, version))
    }

    /// Keeps what was heard, if it outranks what is held. Returns whether it did.
    fn take(
        &mut self,
        now: Now,
        heard: &Heard<'_>,
        author: &mut Option<NodeId>,
        out: &mut Outbox,
    ) -> Result<bool, Refusal> {
        let (write, version) = self.judge(now, heard, author)?;
        let (envelope, deleted) = (self.identity.envelope(), write.deleted_since(heard.since));
        // A look at what is there saves a signature, but costs more than a digest.
        let is_dear = heard.proof == Proof::Missing && matches!(envelope, Envelope::Sealed(_));
        let wants = |table: &Convergent| table.entries.wants(millis(now), write.key, &version, deleted);
        if (deleted.is_some() || is_dear) && !self.convergent().is_some_and(wants) {
            return Ok(false);
        }
        if heard.proof == Proof::Missing {
            envelope.verify(&heard.header, heard.body).map_err(|error| match error {
                MessageError::Seal(_) => Refusal::Forged,
                _ => Refusal::Malformed,
            })?;
        }
        let stored = write.stored(version, heard.body, heard.unpinned(), heard.since);
        self.keep_version(now, write.key, stored, true, out).map_err(Refusal::Full)
    }

    /// Keeps a version if it outranks the kept one of its key, and tells whoever is to know. Returns
    /// whether it did.
    fn keep_version(
        &mut self,
        now: Now,
        key: &[u8],
        stored: Stored,
        by_others: bool,
        out: &mut Outbox,
    ) -> Result<bool, Full> {
        let bounds = bounds(&self.config);
        let Some(table) = self.sync.as_deref_mut() else { return Ok(false) };
        let (watched, kept) = (table.watched, table.kept);
        let Rules::Convergent(table) = &mut table.rules else { return Ok(false) };
        let told = (watched || kept || stored.is_deleted()).then(|| stored.clone());
        let old = match table.entries.put(stored, bounds)? {
            Put::Outranked => return Ok(false),
            Put::New => None,
            Put::Replaced(old) => Some(old),
        };
        let lost = old.as_ref().filter(|old| by_others && old.version.owner == self.identity.id);
        if let Some(lost) = lost
            && let Some(new) = table.version(key)
        {
            let (key, by) = (Bytes::copy_from_slice(key), new.owner.clone());
            out.event(Event::Superseded { key, value: lost.value_bytes(), by });
        }
        let Some(stored) = told else { return Ok(true) };
        if stored.is_deleted() {
            self.arm_table(now);
        }
        if kept {
            out.keep(record_key(key), Some(record(now, &stored)));
        }
        let (value, old) = (stored.value_bytes(), old.and_then(|old| old.value_bytes()));
        if value.is_some() || old.is_some() {
            let Version { owner, stamp, .. } = stored.version;
            let time = stamp.div_euclid(Trust::MICROSECONDS);
            self.changed(Change { key: Bytes::copy_from_slice(key), value, old, owner, time }, out);
        }
        Ok(true)
    }

    /// Takes back a version that an earlier run of this node kept.
    pub(super) fn restore_version(&mut self, now: Now, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let Some(([RECORD], rest)) = value.split_first_chunk::<1>() else {
            return Err(RecordError("it is of another version"));
        };
        let (heard, body) = rest.split_first_chunk::<8>().ok_or(RecordError("it is cut short"))?;
        let envelope = self.identity.envelope();
        if !envelope.holds(body) {
            return Err(RecordError("its checksum does not match"));
        }
        // Its seal was verified before it was kept.
        let body = Bytes::copy_from_slice(body);
        let plain = body.get(..body.len().saturating_sub(seal_len(&self.identity))).unwrap_or_default();
        let header = Header::read(plain).map_err(|_| RecordError("it is no message"))?;
        // Our clock may have been set meanwhile: a deleted key is remembered long enough to be told.
        let most = i64::try_from(self.config.tombstone_keep.as_secs()).unwrap_or(i64::MAX);
        let most = most.saturating_sub(LEAST_MEMORY).max(0);
        let age = now.wall.saturating_sub(i64::from_be_bytes(*heard)).clamp(0, most);
        let bounds = bounds(&self.config);
        let Some(table) = self.convergent_mut() else { return Err(RecordError("the node has no table")) };
        let write = Write::read(&header, header.packed(plain), table.entries.has_leases());
        let write = write.filter(|write| write.key == key).ok_or(RecordError("it is no write of its key"))?;
        let owner = table.entries.owner(header.sender(plain)).ok_or(RecordError("it has no owner"))?;
        let heard = millis(now).saturating_sub(age.saturating_mul(1000));
        let stored = write.stored(write.version(owner, plain), plain, body.clone(), heard);
        table.entries.put(stored, bounds).map_err(|Full(bound)| RecordError(bound))?;
        self.arm_table(now);
        Ok(())
    }
}

/// Bytes of a seal behind the broadcasts of a subnet.
fn seal_len(identity: &Identity) -> usize {
    match identity.envelope() {
        Envelope::Plain | Envelope::Unsigned => 0,
        Envelope::Sealed(_) => SEAL_LEN,
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds { keys: config.table_keys, bytes: config.table_bytes }
}

/// The name of a key's record.
pub(super) fn record_key(key: &[u8]) -> Vec<u8> {
    [&[records::TABLE], key].concat()
}

/// The record of a version: when it was heard by our clock, and the body.
fn record(now: Now, stored: &Stored) -> Bytes {
    let age = millis(now).saturating_sub(stored.heard).max(0) / 1000;
    let heard = now.wall.saturating_sub(age);
    let mut record = Vec::with_capacity(1 + 8 + stored.body.len());
    record.push(RECORD);
    record.extend_from_slice(&heard.to_be_bytes());
    record.extend_from_slice(&stored.body);
    record.into()
}
