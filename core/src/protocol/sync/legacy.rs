//! The table by the rules of 0.7 (`spec/10-sync.md`, S-1 to S-39), and what keeps py2p and js2p from
//! ending their links over it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::convergent::MAX_KEY;
use super::{Change, Entry, LEASE, NIL, Rules, Table, TableError, Until, merge};
use crate::config::Config;
use crate::identity::{MessageId, NodeId};
use crate::protocol::handshake::Dialect;
use crate::protocol::node::{Node, Timer};
use crate::protocol::outbox::{Class, Event, LinkId, Now, Outbox, Output};
use crate::protocol::records::{self, RecordError};
use crate::wire::codes::{code, kind};
use crate::wire::value::{self, Limits, Pack, Payload, Value, ValueError};
use crate::wire::{Form, Message};

/// How many seconds an own write may be stamped ahead of the clock: to be another message than one
/// before, or newer than another's. As for broadcasts (M-15).
const MAX_AHEAD: i64 = 5;
/// Bytes of pairs that a new neighbour is told at once. It is told more when those are written, which is as
/// fast as it reads.
const PAIRS_AT_ONCE: usize = 64 << 10;
/// How long after those a py2p is told more. It reads 1,024 bytes at once, and hangs up when those end right
/// behind a length field, which is the likelier the more there is to read.
const PAIRS_PAUSE: Duration = Duration::from_millis(10);
/// The form of the records that are kept.
const RECORD: u8 = 1;

/// What a node of a 0.7 subnet holds.
#[derive(Debug)]
pub(super) struct Legacy {
    leases: bool,
    held: BTreeMap<Bytes, Held>,
    /// Bytes of keys and values.
    bytes: usize,
    deleted: Deleted,
    /// New neighbours that have not been told everything, and the key at which to go on.
    joining: BTreeMap<LinkId, Bytes>,
}

/// One key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    value: Bytes,
    owner: NodeId,
    /// The form in which the owner came. py2p takes the same id in another form for another owner.
    form: Form,
    /// Seconds by the owner's clock.
    time: i64,
}

/// Keys that were deleted: nobody who has not heard of that may bring them back when it joins. js2p never
/// hears of it.
#[derive(Debug, Default)]
struct Deleted {
    /// The stamp of the delete, and when it was heard.
    keys: BTreeMap<Bytes, (i64, Duration)>,
    order: VecDeque<(Duration, Bytes)>,
}

impl Deleted {
    fn insert(&mut self, now: Now, key: Bytes, time: i64, config: &Config) {
        self.keys.insert(key.clone(), (time, now.mono));
        self.order.push_back((now.mono, key));
        let is_over = |at: Duration| now.mono.saturating_sub(at) >= config.tombstone_keep;
        while self.order.len() > config.table_keys || self.order.front().is_some_and(|(at, _)| is_over(*at)) {
            let Some((at, key)) = self.order.pop_front() else { break };
            if self.keys.get(&key).is_some_and(|(_, heard)| *heard == at) {
                self.keys.remove(&key);
            }
        }
    }

    /// Whether a pair with this stamp is what was deleted.
    fn outlasts(&self, key: &[u8], time: i64) -> bool {
        self.keys.get(key).is_some_and(|(deleted, _)| time <= *deleted)
    }
}

impl Legacy {
    pub(super) fn new(leases: bool) -> Self {
        let (held, deleted, joining) = (BTreeMap::new(), Deleted::default(), BTreeMap::new());
        Self { leases, held, bytes: 0, deleted, joining }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        self.held.get_key_value(key).map(|(key, held)| self.entry(key, held))
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.held.iter().map(|(key, held)| self.entry(key, held))
    }

    fn entry<'a>(&self, key: &'a Bytes, held: &'a Held) -> Entry<'a> {
        let Held { value, owner, time, .. } = held;
        let until = if self.leases { Until::Wall(lease_end(*time)) } else { Until::Never };
        Entry { key, value, owner, time: *time, until }
    }

    /// Whether what is held of a key gives way to a write by `owner` at `time` that knew of it.
    fn yields(&self, held: &Held, now: Now, owner: &NodeId, time: i64, is_delta: bool) -> bool {
        held.owner == *owner
            || now.wall >= lease_end(held.time)
            || (!self.leases && (is_delta || held.time < time))
    }

    /// Whether a write of another's is taken. Of two in the same second, that of the smaller owner is.
    fn takes(&self, key: &[u8], now: Now, owner: &NodeId, time: i64, is_delta: bool) -> bool {
        let tie = |held: &Held| held.time == time && held.owner > *owner;
        let held = self.held.get(key);
        held.is_none_or(|held| self.yields(held, now, owner, time, is_delta) || tie(held))
    }

    /// Which bound this value of this key would break.
    fn breaks(&self, key: &[u8], value: &[u8], config: &Config) -> Option<&'static str> {
        let old = self.held.get(key);
        let freed = old.map_or(0, |old| key.len() + old.value.len());
        let bytes = self.bytes - freed + key.len() + value.len();
        if old.is_none() && self.held.len() >= config.table_keys {
            return Some("it has no room for more keys (table_keys)");
        }
        (bytes > config.table_bytes && bytes > self.bytes)
            .then_some("it has no room for more bytes (table_bytes)")
    }

    fn insert(&mut self, key: Bytes, held: Held) -> Option<Held> {
        let len = key.len();
        self.bytes += len + held.value.len();
        let old = self.held.insert(key, held);
        self.bytes -= old.as_ref().map_or(0, |old| len + old.value.len());
        old
    }

    fn remove(&mut self, key: &[u8]) -> Option<Held> {
        let old = self.held.remove(key)?;
        self.bytes -= key.len() + old.value.len();
        Some(old)
    }
}

/// The second from which on a lease is over.
fn lease_end(time: i64) -> i64 {
    time.saturating_add_unsigned(LEASE.as_secs()).saturating_add(1)
}

/// A value that is packed already.
#[derive(Clone, Copy)]
struct Packed<'a>(&'a [u8]);

impl Pack for Packed<'_> {
    fn pack(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        out.extend_from_slice(self.0);
        Ok(())
    }

    fn size_hint(&self) -> usize {
        self.0.len()
    }
}

/// What stands behind the code of one of the table's messages.
enum Said<'a> {
    Store { key: Vec<u8>, value: &'a [u8] },
    Delete { key: Vec<u8> },
    Delta { key: Vec<u8>, map: &'a [u8] },
    Pair { key: Vec<u8>, held: Held },
}

impl<'a> Said<'a> {
    /// `None` if it does not say what its code demands.
    fn read(message: &'a Message) -> Option<Self> {
        let is_broadcast = message.header().kind == kind::BROADCAST;
        match (message.code()?, is_broadcast, elements(message)?.as_slice()) {
            (code::STORE, true, [key, value]) => {
                let (_, key) = text(key)?;
                Some(if *value == [NIL] { Self::Delete { key } } else { Self::Store { key, value } })
            }
            (code::DELTA, true, [key, map]) => Some(Self::Delta { key: text(key)?.1, map }),
            (code::STORE, false, [key, value, owner, time]) if *value != [NIL] => {
                let (_, key) = text(key)?;
                let (form, owner) = text(owner)?;
                let owner = NodeId::from_bytes(&owner).ok()?;
                let time = one(time)?.as_i64()?;
                let value = Bytes::copy_from_slice(value);
                Some(Self::Pair { key, held: Held { value, owner, form, time } })
            }
            _ => None,
        }
    }
}

/// The packed values behind the code.
fn elements(message: &Message) -> Option<Vec<&[u8]>> {
    let mut rest = message.after_code();
    let mut elements = Vec::new();
    while !rest.is_empty() {
        // No message of the table has more.
        if elements.len() == 4 {
            return None;
        }
        let (element, behind) = rest.split_at_checked(value::skip(rest, 0, &Limits::default()).ok()?)?;
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}

fn one(packed: &[u8]) -> Option<Value> {
    value::unpack(packed, 1, &Limits::default()).ok()?.pop()
}

/// Keys and owners come as str from one 0.7 implementation and as bin from the other.
fn text(packed: &[u8]) -> Option<(Form, Vec<u8>)> {
    match one(packed)? {
        Value::Str(text) => Some((Form::Str, text.into_bytes())),
        Value::Bin(bytes) => Some((Form::Bin, bytes)),
        _ => None,
    }
}

fn is_map(packed: &[u8]) -> bool {
    matches!(packed.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

/// js2p asks every value for its text, by a function that these names hide.
fn hides_its_text(packed: &[u8]) -> bool {
    let hides = |key: &Value| matches!(key.as_text(), Some("toString" | "__proto__"));
    is_map(packed)
        && one(packed)
            .is_some_and(|map| map.as_map().is_some_and(|map| map.iter().any(|(key, _)| hides(key))))
}

/// The 0.7 peers that a broadcast of the table is kept from, because it would end their links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Spare {
    py2p: bool,
    js2p: bool,
}

impl Spare {
    const BOTH: Self = Self { py2p: true, js2p: true };

    /// Whether anyone is spared.
    pub(in crate::protocol) fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether peers of this kind are.
    pub(in crate::protocol) fn spares(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Py2p => self.py2p,
            Dialect::Js2p => self.js2p,
            Dialect::Peernet => false,
        }
    }
}

impl Node {
    fn legacy(&self) -> Option<&Legacy> {
        match self.sync.as_deref() {
            Some(Table { rules: Rules::Legacy(table), .. }) => Some(table),
            _ => None,
        }
    }

    fn legacy_mut(&mut self) -> Option<&mut Legacy> {
        match self.sync.as_deref_mut() {
            Some(Table { rules: Rules::Legacy(table), .. }) => Some(table),
            _ => None,
        }
    }

    pub(super) fn legacy_set(
        &mut self,
        now: Now,
        key: Bytes,
        value: Bytes,
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        let payload = (key.as_ref(), Packed(&value));
        let message = self.legacy_write(now, &key, Some(&value), code::STORE, &payload)?;
        Ok(self.legacy_own(now, key, Some(value), message, out))
    }

    pub(super) fn legacy_delete(
        &mut self,
        now: Now,
        key: &[u8],
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        let message = self.legacy_write(now, key, None, code::STORE, &(key, Packed(&[NIL])))?;
        Ok(self.legacy_own(now, Bytes::copy_from_slice(key), None, message, out))
    }

    pub(super) fn legacy_delta(
        &mut self,
        now: Now,
        key: &[u8],
        delta: &[u8],
        out: &mut Outbox,
    ) -> Result<MessageId, TableError> {
        let merged = merge(self.legacy_value(key).as_deref(), delta)?;
        let message = self.legacy_write(now, key, Some(&merged), code::DELTA, &(key, Packed(delta)))?;
        Ok(self.legacy_own(now, Bytes::copy_from_slice(key), Some(merged.into()), message, out))
    }

    fn legacy_value(&self, key: &[u8]) -> Option<Bytes> {
        self.legacy()?.held.get(key).map(|held| held.value.clone())
    }

    /// Packs a write of our own under the first stamp with which it is taken, and is another message than
    /// those before.
    fn legacy_write(
        &self,
        now: Now,
        key: &[u8],
        value: Option<&[u8]>,
        code: u64,
        payload: &impl Payload,
    ) -> Result<Message, TableError> {
        let table = self.legacy().ok_or(TableError::NoTable)?;
        let (us, is_delta) = (&self.identity.id, code == code::DELTA);
        if key.len() > MAX_KEY {
            return Err(TableError::Key { len: key.len(), max: MAX_KEY });
        }
        let held = table.held.get(key);
        // One's own writes to a key do not run back.
        let first = match held {
            Some(held) if held.owner == *us && held.time <= now.wall + MAX_AHEAD => now.wall.max(held.time),
            _ => now.wall,
        };
        let mut refusal = None;
        for time in first..=now.wall + MAX_AHEAD {
            if let Some(held) = held.filter(|held| !table.yields(held, now, us, time, is_delta)) {
                refusal.get_or_insert_with(|| self.legacy_leased(now, held));
                continue;
            }
            // py2p orders owners by `>`, bytes against text never.
            let message = Message::pack(kind::BROADCAST, us.as_str(), Form::Bin, time, code, payload)?;
            let (size, max) = (message.body().len(), self.config.max_frame);
            if size > max {
                return Err(TableError::TooLarge { size, max });
            }
            if let Some(bound) = value.and_then(|value| table.breaks(key, value, &self.config)) {
                return Err(TableError::Full { bound });
            }
            if !self.would_repeat(&message) {
                return Ok(message);
            }
            refusal = Some(TableError::Repeated);
        }
        Err(refusal.unwrap_or(TableError::Repeated))
    }

    fn legacy_leased(&self, now: Now, held: &Held) -> TableError {
        let leases = self.legacy().is_some_and(|table| table.leases);
        // Without leases, it is in the way only while its stamp is that far ahead.
        let until = if leases { lease_end(held.time) } else { held.time + 1 - MAX_AHEAD };
        let remaining = u64::try_from(until.saturating_sub(now.wall)).unwrap_or_default();
        TableError::Leased { owner: held.owner.clone(), remaining: Duration::from_secs(remaining) }
    }

    /// A write of our own that is allowed: made here, told to everyone.
    fn legacy_own(
        &mut self,
        now: Now,
        key: Bytes,
        value: Option<Bytes>,
        message: Message,
        out: &mut Outbox,
    ) -> MessageId {
        let (id, time) = (message.id(), message.header().time);
        // Whom it would harm depends on what was held before.
        self.originate(message, out);
        let owner = self.identity.id.clone();
        self.legacy_apply(now, key, value, (owner, Form::Bin, time), out);
        id
    }

    /// Gives a key a value, or takes it away.
    fn legacy_apply(
        &mut self,
        now: Now,
        key: Bytes,
        value: Option<Bytes>,
        (owner, form, time): (NodeId, Form, i64),
        out: &mut Outbox,
    ) {
        let us = self.identity.id.clone();
        let Some(table) = self.sync.as_deref_mut() else { return };
        let kept = table.kept;
        let Rules::Legacy(table) = &mut table.rules else { return };
        let old = match &value {
            Some(value) => {
                let held = Held { value: value.clone(), owner: owner.clone(), form, time };
                if kept {
                    out.keep(record_key(&key), Some(record(&held)));
                }
                table.insert(key.clone(), held)
            }
            None => {
                if kept {
                    out.keep(record_key(&key), None);
                }
                table.deleted.insert(now, key.clone(), time, &self.config);
                table.remove(&key)
            }
        };
        if let Some(ours) = old.as_ref().filter(|old| old.owner == us && owner != us) {
            let value = Some(ours.value.clone());
            out.event(Event::Superseded { key: key.clone(), value, by: owner.clone() });
        }
        self.changed(Change { key, value, old: old.map(|old| old.value), owner, time }, out);
    }

    /// Which 0.7 neighbours a broadcast must not reach.
    pub(in crate::protocol) fn spare(&self, message: &Message) -> Spare {
        let Some(table) = self.legacy() else { return Spare::default() };
        if !matches!(message.code(), Some(code::STORE | code::DELTA)) {
            return Spare::default();
        }
        let Some(said) = Said::read(message) else { return Spare::BOTH };
        let header = message.header();
        // py2p cannot order two owners of which one is text and the other bytes, and tries to where both
        // wrote in the same second.
        let is_mixed = |held: &Held| {
            held.time == header.time
                && held.form != header.sender_form
                && held.owner.as_str().as_bytes() != message.sender()
        };
        let (held, spare) = match &said {
            Said::Store { key, value } => {
                (table.held.get(&key[..]), Spare { py2p: false, js2p: hides_its_text(value) })
            }
            Said::Delete { key } => {
                let held = table.held.get(&key[..]);
                (held, Spare { py2p: held.is_none(), js2p: true })
            }
            Said::Delta { key, map } => {
                let held = table.held.get(&key[..]);
                let fits = is_map(map) && held.is_none_or(|held| is_map(&held.value));
                (held, if fits { Spare::default() } else { Spare::BOTH })
            }
            Said::Pair { .. } => (None, Spare::BOTH),
        };
        Spare { py2p: spare.py2p || held.is_some_and(is_mixed), ..spare }
    }

    /// Another's write.
    pub(super) fn on_legacy_broadcast(
        &mut self,
        now: Now,
        author: NodeId,
        message: &Message,
        out: &mut Outbox,
    ) {
        let Some(said) = Said::read(message) else {
            self.counters.malformed += 1;
            return;
        };
        let (form, time) = (message.header().sender_form, message.header().time);
        let merged = match &said {
            Said::Delta { key, map } => merge(self.legacy_value(key).as_deref(), map).ok(),
            _ => None,
        };
        let Some(table) = self.legacy() else { return };
        let (key, value, is_delta) = match said {
            Said::Store { key, value } => (key, Some(Bytes::copy_from_slice(value)), false),
            Said::Delete { key } => (key, None, false),
            Said::Delta { key, .. } => (key, merged.map(Bytes::from), true),
            Said::Pair { .. } => return,
        };
        let is_due = match &value {
            Some(value) => table.breaks(&key, value, &self.config).is_none(),
            // A delta that fits nothing, or a delete of what is not there.
            None => !is_delta && table.held.contains_key(&key[..]),
        };
        if is_due && table.takes(&key, now, &author, time, is_delta) {
            self.legacy_apply(now, key.into(), value, (author, form, time), out);
        } else {
            self.counters.table_refused += 1;
        }
    }

    /// What a neighbour holds: taken where there is nothing, and handed on to the other neighbours, because
    /// whoever said it may never meet them.
    pub(super) fn on_legacy_whisper(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Some(Said::Pair { key, held }) = Said::read(message) else {
            self.counters.malformed += 1;
            return;
        };
        let Some(table) = self.legacy() else { return };
        if table.held.contains_key(&key[..]) || table.deleted.outlasts(&key, held.time) {
            return;
        }
        if held.time > now.wall.saturating_add(self.config.fresh_seconds.into()) {
            self.counters.table_ahead += 1;
            return;
        }
        if table.breaks(&key, &held.value, &self.config).is_some() {
            self.counters.table_refused += 1;
            return;
        }
        let others: Vec<LinkId> = self.table.values().copied().filter(|link| *link != from).collect();
        for link in others {
            self.send_pair(now, link, &key, &held, Class::Relay, out);
        }
        let Held { value, owner, form, time } = held;
        self.legacy_apply(now, key.into(), Some(value), (owner, form, time), out);
    }

    /// The peer on a link has become a neighbour, and has been told ours.
    pub(super) fn legacy_meets(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        if let Some(table) = self.legacy_mut() {
            table.joining.insert(link, Bytes::new());
            self.tell_pairs(now, link, out);
        }
    }

    /// A link ended: nobody there is to be told anything any more.
    pub(super) fn legacy_parts(&mut self, link: LinkId) {
        if let Some(table) = self.legacy_mut() {
            table.joining.remove(&link);
        }
    }

    /// Tells a new neighbour the next pairs of the table.
    pub(in crate::protocol) fn tell_pairs(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        let Some(table) = self.legacy_mut() else { return };
        let Some(from) = table.joining.remove(&link) else { return };
        let mut bytes = 0;
        let mut pairs = Vec::new();
        let mut rest = table.held.range(from..);
        let next = loop {
            let Some((key, held)) = rest.next() else { break None };
            if bytes >= PAIRS_AT_ONCE {
                break Some(key.clone());
            }
            bytes += key.len() + held.value.len();
            pairs.push((key.clone(), held.clone()));
        };
        if self.links.get(&link).is_none_or(|link| link.peer.is_none()) {
            return;
        }
        for (key, held) in pairs {
            // Of the user's own, because none of it may be dropped.
            self.send_pair(now, link, &key, &held, Class::Own, out);
        }
        let peer = self.links.get(&link).and_then(|link| link.peer.as_ref());
        let is_py2p = peer.is_some_and(|peer| peer.dialect == Dialect::Py2p);
        if let (Some(next), Some(table)) = (next, self.legacy_mut()) {
            table.joining.insert(link, next);
            match is_py2p {
                true => self.set_timer(now.mono + PAIRS_PAUSE, Timer::Pairs(link)),
                false => out.outputs.push(Output::TellWritten { link }),
            }
        }
    }

    fn send_pair(&mut self, now: Now, to: LinkId, key: &[u8], held: &Held, class: Class, out: &mut Outbox) {
        let peer = self.links.get(&to).and_then(|link| link.peer.as_ref());
        if peer.is_some_and(|peer| peer.dialect == Dialect::Js2p) && hides_its_text(&held.value) {
            return;
        }
        let owner = match held.form {
            Form::Str => Value::Str(held.owner.as_str().to_owned()),
            Form::Bin => Value::Bin(held.owner.as_str().as_bytes().to_vec()),
        };
        let payload = (key, Packed(&held.value), owner, held.time);
        let us = self.identity.id.as_str();
        if let Ok(message) = Message::pack(kind::WHISPER, us, Form::Bin, now.wall, code::STORE, &payload) {
            self.send_body(to, class, message.into_body(), out);
        }
    }

    /// Takes back a record of the table.
    pub(super) fn restore_legacy(&mut self, key: &[u8], record: &[u8]) -> Result<(), RecordError> {
        let held = read_record(record).ok_or(RecordError("it is no entry of a table"))?;
        let config = self.config.clone();
        let table = self.legacy_mut().ok_or(RecordError("the node has no table"))?;
        if let Some(bound) = table.breaks(key, &held.value, &config) {
            return Err(RecordError(bound));
        }
        table.insert(Bytes::copy_from_slice(key), held);
        Ok(())
    }
}

/// The name of a key's record.
fn record_key(key: &[u8]) -> Vec<u8> {
    [&[records::TABLE], key].concat()
}

/// The record of an entry: time, owner in its form, value.
fn record(held: &Held) -> Bytes {
    let owner = held.owner.as_str().as_bytes();
    let mut record = vec![RECORD];
    record.extend_from_slice(&held.time.to_be_bytes());
    record.push(u8::from(held.form == Form::Bin));
    // Node ids are far shorter than that.
    record.push(u8::try_from(owner.len()).unwrap_or(u8::MAX));
    record.extend_from_slice(owner);
    record.extend_from_slice(&held.value);
    record.into()
}

fn read_record(record: &[u8]) -> Option<Held> {
    let (&[RECORD], rest) = record.split_first_chunk::<1>()? else { return None };
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (&[form, len], rest) = rest.split_first_chunk::<2>()?;
    let (owner, value) = rest.split_at_checked(len.into())?;
    value::validate(value, 1, &Limits::default()).ok()?;
    let form = match form {
        0 => Form::Str,
        1 => Form::Bin,
        _ => return None,
    };
    let owner = NodeId::from_bytes(owner).ok()?;
    Some(Held { value: Bytes::copy_from_slice(value), owner, form, time: i64::from_be_bytes(*time) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::identity::ProtocolId;
    use crate::protocol::handshake::Handshake;
    use crate::protocol::{Address, CloseReason, Identity, Input, Origin, Remote, TableOptions, Trust};

    const WALL: i64 = 1_700_000_000;

    fn at(millis: u64) -> Now {
        let mono = Duration::from_millis(millis);
        Now { mono, wall: WALL + i64::try_from(mono.as_secs()).unwrap() }
    }

    fn node(config: Config) -> Node {
        let protocol = ProtocolId::derive("sync1", "Plaintext");
        let id = NodeId::parse("5Node").unwrap();
        let identity =
            Identity { id, protocol, address: Address::new("127.0.0.1", 4001), trust: Trust::Claimed };
        Node::new(identity, config, 1).with_table(TableOptions { leases: true })
    }

    fn packed(value: &impl Pack) -> Bytes {
        let mut packed = Vec::new();
        value.pack(&mut packed).unwrap();
        packed.into()
    }

    /// Someone connects and shakes hands.
    fn meet(node: &mut Node, link: LinkId, id: &str, out: &mut Outbox) {
        let Identity { protocol, .. } = node.identity().clone();
        let address = Address::new("127.0.0.2", 4002);
        let payload = Handshake::payload(&NodeId::parse(id).unwrap(), &protocol, &address, &[]);
        let message = Message::pack(kind::WHISPER, id, Form::Str, WALL, code::HANDSHAKE, &payload).unwrap();
        let up = Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() };
        node.handle(at(0), up, out);
        node.handle(at(0), Input::Message { link, message }, out);
    }

    fn hear(node: &mut Node, kind: u64, payload: &impl Payload, out: &mut Outbox) {
        let message = Message::pack(kind, "4Anna", Form::Bin, WALL, code::STORE, payload).unwrap();
        node.handle(at(0), Input::Message { link: LinkId(1), message }, out);
    }

    /// S-20: and all of it arrives.
    #[test]
    fn a_large_table_is_told_bit_by_bit() {
        let (mut node, mut out) = (node(Config::default()), Outbox::new());
        let value = packed(&vec![7_u8; 1000]);
        for number in 0..1000_u32 {
            let key = Bytes::copy_from_slice(&number.to_be_bytes());
            node.table_set(at(0), WALL, key, value.clone(), &mut out).unwrap();
        }
        out.clear();
        meet(&mut node, LinkId(1), "4Anna", &mut out);
        let (mut keys, mut most, mut turns) = (Vec::new(), 0, 0);
        loop {
            let (mut bytes, mut asked) = (0, 0);
            for output in &out.outputs {
                if let Output::TellWritten { link } = output {
                    assert_eq!(*link, LinkId(1));
                    asked += 1;
                }
                let Output::Send { body, .. } = output else { continue };
                let message = Message::read(body.clone(), &Limits::default()).unwrap();
                if message.code() == Some(code::STORE) {
                    assert_eq!(asked, 0, "it is told when the last of them is written");
                    let Some(Said::Pair { key, held }) = Said::read(&message) else { panic!("{message:?}") };
                    bytes += key.len() + held.value.len();
                    keys.push(key);
                }
            }
            most = most.max(bytes);
            out.clear();
            if asked == 0 {
                break;
            }
            turns += 1;
            node.handle(at(0), Input::Written { link: LinkId(1) }, &mut out);
        }
        assert!(keys.len() == 1000 && keys.is_sorted(), "{} keys", keys.len());
        assert!((PAIRS_AT_ONCE..PAIRS_AT_ONCE + 2000).contains(&most) && turns > 10, "{most} bytes at once");
        node.handle(at(0), Input::Written { link: LinkId(1) }, &mut out);
        assert!(out.outputs.is_empty());
        // A py2p is told by the clock.
        meet(&mut node, LinkId(3), "4Pyth", &mut out);
        node.links.get_mut(&LinkId(3)).unwrap().peer.as_mut().unwrap().dialect = Dialect::Py2p;
        out.clear();
        node.handle(at(0), Input::Written { link: LinkId(3) }, &mut out);
        let told = |out: &Outbox| out.outputs.iter().any(|output| matches!(output, Output::Send { .. }));
        assert!(told(&out) && !out.outputs.iter().any(|output| matches!(output, Output::TellWritten { .. })));
        assert_eq!(node.next_timer(), Some(PAIRS_PAUSE));
        out.clear();
        node.handle(at(10), Input::Tick, &mut out);
        assert!(told(&out));
        // Whoever leaves before that is told no more, and forgotten.
        meet(&mut node, LinkId(2), "4Berta", &mut out);
        assert!(node.legacy().unwrap().joining.contains_key(&LinkId(2)));
        node.handle(at(0), Input::LinkDown { link: LinkId(2), reason: CloseReason::Remote }, &mut out);
        assert!(!node.legacy().unwrap().joining.contains_key(&LinkId(2)));
        out.clear();
        node.handle(at(0), Input::Written { link: LinkId(2) }, &mut out);
        assert!(out.outputs.is_empty());
    }

    /// S-13
    #[test]
    fn at_a_bound_nothing_is_taken_and_nothing_goes() {
        for config in [
            Config { table_keys: 2, ..Config::default() },
            Config { table_bytes: 2 * 1004, ..Config::default() },
        ] {
            let (mut node, mut out) = (node(config), Outbox::new());
            meet(&mut node, LinkId(1), "4Anna", &mut out);
            let value = packed(&vec![7_u8; 1000]);
            for key in [&b"a"[..], b"b", b"c"] {
                hear(&mut node, kind::BROADCAST, &(key, Packed(&value)), &mut out);
            }
            let owner = "4Anna".to_owned();
            hear(&mut node, kind::WHISPER, &(&b"d"[..], Packed(&value), owner, WALL), &mut out);
            let keys: Vec<_> = node.table().unwrap().iter().map(|entry| entry.key.to_vec()).collect();
            assert_eq!(keys, [b"a", b"b"]);
            assert_eq!(node.counters().table_refused, 2);
            let full = node.table_set(at(0), WALL, Bytes::from_static(b"e"), value.clone(), &mut out);
            assert!(matches!(full, Err(TableError::Full { .. })));
            // What takes no more room than before has it.
            hear(&mut node, kind::BROADCAST, &(&b"a"[..], 5), &mut out);
            assert_eq!(node.table().unwrap().get(b"a").unwrap().value, [5]);
            hear(&mut node, kind::BROADCAST, &(&b"a"[..], Packed(&[NIL])), &mut out);
            node.table_set(at(0), WALL, Bytes::from_static(b"e"), value.clone(), &mut out).unwrap();
        }
    }

    /// S-19
    #[test]
    fn deletes_are_forgotten_in_time() {
        let keep = Duration::from_secs(10);
        let config = Config { table_keys: 2, tombstone_keep: keep, ..Config::default() };
        let mut deleted = Deleted::default();
        let key = |name: &str| Bytes::copy_from_slice(name.as_bytes());
        deleted.insert(at(0), key("a"), 5, &config);
        deleted.insert(at(1_000), key("a"), 7, &config);
        assert!(deleted.outlasts(b"a", 7) && !deleted.outlasts(b"a", 8) && !deleted.outlasts(b"b", 0));
        deleted.insert(at(2_000), key("b"), 5, &config);
        deleted.insert(at(3_000), key("c"), 5, &config);
        assert!(!deleted.outlasts(b"a", 0) && deleted.outlasts(b"b", 5) && deleted.outlasts(b"c", 5));
        deleted.insert(at(12_500), key("d"), 5, &config);
        assert!(!deleted.outlasts(b"b", 0) && deleted.outlasts(b"c", 5));
        assert!(deleted.keys.len() <= 2 && deleted.order.len() <= 2);
    }

    /// What keeps a py2p or js2p of 0.7 on its link, as those two are written.
    /// It judges leases as we do, so that it has our values of the keys that it was told of.
    #[derive(Default)]
    struct Theirs(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Theirs {
        fn take(&mut self, dialect: Dialect, message: &Message, held: &BTreeMap<Bytes, Held>) {
            let parts = elements(message).unwrap();
            let [key, value, ..] = parts.as_slice() else { panic!("{dialect:?} has no value to read") };
            let (_, key) = text(key).expect("a key that every language can have");
            let old = self.0.get(&key);
            match message.code() {
                Some(code::DELTA) => {
                    let fits = is_map(value) && old.is_none_or(|old| is_map(old));
                    // js2p merges maps into anything, and leaves what is none alone.
                    assert!(fits || dialect == Dialect::Js2p, "{dialect:?} merges {value:?} into {old:?}");
                }
                _ if *value == [NIL] => {
                    assert!(dialect == Dialect::Py2p, "js2p asks nil for its text");
                    assert!(old.is_some(), "py2p has no such key");
                }
                _ => assert!(dialect == Dialect::Py2p || !hides_its_text(value), "js2p gets no text"),
            }
            match (held.get(&key[..]), dialect) {
                (Some(held), _) => drop(self.0.insert(key, held.value.to_vec())),
                (None, Dialect::Py2p) => drop(self.0.remove(&key)),
                // It hears of no delete.
                (None, _) => {}
            }
        }
    }

    /// S-7, S-13, S-21, S-22, S-23: whatever anyone says, in whatever order.
    #[test]
    fn nothing_ends_links_of_0_7_and_the_books_are_right() {
        use rand::rngs::SmallRng;
        use rand::{RngExt, SeedableRng};

        let values: Vec<Bytes> = vec![
            packed(&Value::Nil),
            packed(&5),
            packed(&"text"),
            packed(&Value::Array(vec![Value::Nil])),
            packed(&Value::Map(vec![("a".into(), 1.into())])),
            packed(&Value::Map(vec![("toString".into(), 1.into())])),
            packed(&Value::Map(vec![(Value::Nil, Value::Map(Vec::new()))])),
        ];
        let keys: Vec<Bytes> = vec![
            packed(&b"k"[..].to_vec()),
            packed(&"k"),
            packed(&b"l"[..].to_vec()),
            packed(&b"\xff"[..].to_vec()),
            packed(&5),
            packed(&Value::Array(Vec::new())),
        ];
        for seed in 0..400 {
            let mut rng = SmallRng::seed_from_u64(seed);
            // Of what a bound keeps out here, nobody here knows what it is elsewhere.
            let (table_keys, table_bytes) = if seed % 2 == 0 { (2, 16) } else { (100, 1 << 20) };
            let config = Config { table_keys, table_bytes, ..Config::default() };
            let (mut node, mut out) = (node(config), Outbox::new());
            meet(&mut node, LinkId(1), "4Anna", &mut out);
            for (link, id, dialect) in [(2, "4Pyth", Dialect::Py2p), (3, "4Jscr", Dialect::Js2p)] {
                meet(&mut node, LinkId(link), id, &mut out);
                let peer = node.links.get_mut(&LinkId(link)).unwrap().peer.as_mut().unwrap();
                peer.dialect = dialect;
            }
            out.clear();
            let mut theirs = [(2, Dialect::Py2p), (3, Dialect::Js2p)].map(|at| (at, Theirs::default()));
            for step in 0..60_u64 {
                let now = at(step * 200);
                let pick = |all: &[Bytes], rng: &mut SmallRng| all[rng.random_range(0..all.len())].clone();
                let (key, value) = (pick(&keys, &mut rng), pick(&values, &mut rng));
                let own = Bytes::from_static([&b"k"[..], b"l", b"m"][rng.random_range(0..3)]);
                let author = ["4Anna", "6Zoe", "6Yann", "6Xena"][rng.random_range(0..4)];
                // Nor what a py2p has that was spared an owner in another form (S-24).
                let form = if seed % 2 == 0 && rng.random() { Form::Str } else { Form::Bin };
                let time = now.wall + rng.random_range(-2..3);
                let say = |kind, code, payload: &dyn Fn(&mut Vec<u8>), count| {
                    let mut bytes = Vec::new();
                    payload(&mut bytes);
                    let values = value::unpack(&bytes, count, &Limits::default()).unwrap();
                    Message::pack(kind, author, form, time, code, &values).unwrap()
                };
                let pair = |out: &mut Vec<u8>| {
                    out.extend_from_slice(&key);
                    out.extend_from_slice(&value);
                };
                let message = match rng.random_range(0..8) {
                    0 => {
                        let _ = node.table_set(now, now.wall, own, value, &mut out);
                        None
                    }
                    1 => {
                        let _ = node.table_delta(now, now.wall, &own, value, &mut out);
                        None
                    }
                    2 => {
                        let _ = node.table_delete(now, now.wall, &own, &mut out);
                        None
                    }
                    3 | 4 => Some(say(kind::BROADCAST, code::STORE, &pair, 2)),
                    5 => Some(say(kind::BROADCAST, code::DELTA, &pair, 2)),
                    6 => Some(say(kind::BROADCAST, code::STORE, &|out| out.extend_from_slice(&key), 1)),
                    _ => {
                        let told = |out: &mut Vec<u8>| {
                            pair(out);
                            author.pack(out).unwrap();
                            time.pack(out).unwrap();
                        };
                        Some(say(kind::WHISPER, code::STORE, &told, 4))
                    }
                };
                if let Some(message) = message {
                    node.handle(now, Input::Message { link: LinkId(1), message }, &mut out);
                }
                for output in out.outputs.iter().filter(|_| seed % 2 == 1) {
                    let Output::Send { links, body, .. } = output else { continue };
                    let message = Message::read(body.clone(), &Limits::default()).unwrap();
                    for ((link, dialect), theirs) in &mut theirs {
                        let is_tables = matches!(message.code(), Some(code::STORE | code::DELTA));
                        if is_tables && out.links(links).contains(&LinkId(*link)) {
                            theirs.take(*dialect, &message, &node.legacy().unwrap().held);
                        }
                    }
                }
                out.clear();
                let table = node.legacy().unwrap();
                let bytes: usize = table.held.iter().map(|(key, held)| key.len() + held.value.len()).sum();
                assert!(table.bytes == bytes && bytes <= table_bytes && table.held.len() <= table_keys);
            }
        }
    }

    /// S-27
    #[test]
    fn what_is_kept_comes_back() {
        let (mut first, mut out) = (node(Config::default()), Outbox::new());
        meet(&mut first, LinkId(1), "4Anna", &mut out);
        hear(&mut first, kind::BROADCAST, &(&b"theirs"[..], "é"), &mut out);
        for key in ["ours", "gone"] {
            first.table_set(at(0), WALL, Bytes::from_static(key.as_bytes()), packed(&5), &mut out).unwrap();
        }
        first.table_delete(at(0), WALL, b"gone", &mut out).unwrap();
        let mut records = BTreeMap::new();
        for output in &out.outputs {
            if let Output::Keep { key, value } = output {
                match value {
                    Some(value) => records.insert(key.clone(), value.clone()),
                    None => records.remove(key),
                };
            }
        }
        assert_eq!(records.len(), 2);
        let mut second = node(Config::default());
        for (key, value) in &records {
            second.restore(at(0), key, value).unwrap();
            for end in 0..value.len() {
                assert!(node(Config::default()).restore(at(0), key, &value[..end]).is_err());
            }
        }
        let held = |node: &Node| node.legacy().unwrap().held.clone();
        assert_eq!(held(&first), held(&second));
        assert_eq!(first.legacy().unwrap().bytes, second.legacy().unwrap().bytes);
    }
}
