//! The peer book: which addresses are known, and what came of them (`spec/11-state.md`, K-30 to K-37).
//!
//! It decides nothing about when to dial; `bootstrap` does, and asks here for what is worth it. Most of
//! what stands in it was said by strangers. So nobody gets more than a share of it, and what has proven
//! itself never makes room for what was only named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::address::Address;
use super::offence::Culprit;
use super::outbox::{Now, Outbox};
use super::reach::Reach;
use super::records::{self, RecordError};
use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::wire::value::{self, Limits, Pack, Value};

/// The form of its records, their first byte.
const VERSION: u8 = 1;
/// What one peer may name, and what one range of addresses may have: this part of the book.
const SHARE: usize = 16;
/// How long a removed address is not taken from others, in seconds.
const REMOVED_FOR: i64 = 24 * 3600;
/// Removed addresses that are remembered, at most. Beyond, whichever would be taken again first is.
const MAX_REMOVED: usize = 1024;
/// A named address that failed so often, and never did anything else, is dropped by [`Book::purge`].
const FAILURES: u32 = 3;
/// Addresses that [`Book::purge`] leaves, whatever they are.
const LAST_RESORT: usize = 16;
/// How often an address is kept anew at most, while its numbers change.
const KEEP_PAUSE: Duration = Duration::from_secs(60);
/// For so long after it was tried last, others can put off the turn of an address by naming it.
const DEFER: Duration = Duration::from_secs(600);

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// The address.
    pub address: Address,
    /// Who is there: proven by a connection, or what others say.
    pub id: Option<NodeId>,
    /// Connections to it that came as far as a handshake.
    pub connections_ok: u64,
    /// Connections to it that did not.
    pub connections_failed: u64,
    /// Addresses that this peer has named to us.
    pub addresses_received: u64,
    /// Addresses that were named to this peer.
    pub addresses_sent: u64,
    /// When it was last a neighbour, in seconds since 1970 UTC by the local clock.
    pub last_seen: Option<i64>,
    /// How long it took from the last dial to the end of its handshake.
    pub latency: Option<Duration>,
    /// Whether the program saved it.
    pub saved: bool,
    /// Who named it first, if a peer did and no connection has proven it since.
    pub named_by: Option<NodeId>,
}

/// How good an address is, from worst to best: a better one never makes room for a worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Somebody named it.
    Named,
    /// A neighbour said that it is its own.
    Met,
    /// A connection to it came as far as a handshake.
    Proven,
    /// The program saved it.
    Saved,
}

/// An address that a peer named, or said to be its own.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) address: Address,
    pub(super) id: Option<NodeId>,
    /// Which addresses may be dialled for whoever named it.
    pub(super) reach: Reach,
    pub(super) by: Option<(Culprit, NodeId)>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: Option<NodeId>,
    reach: Reach,
    /// Whose share it counts for.
    by: Option<Culprit>,
    named_by: Option<NodeId>,
    saved: bool,
    met: bool,
    /// Whether it waits to be dialled because it was named (C-35).
    fresh: bool,
    /// Whether the program has disconnected whoever is there: then it is not dialled.
    shunned: bool,
    ok: u64,
    failed: u64,
    /// Failures since it last stood.
    row: u32,
    received: u64,
    sent: u64,
    seen: Option<i64>,
    latency: Option<Duration>,
    /// Whoever is there has left us with a goodbye: not to be dialled before that, whatever the need.
    away: Duration,
    /// Not to be dialled before that.
    next: Duration,
    tried: Option<Duration>,
    /// When somebody said that it is there, or it was a neighbour.
    heard: Option<Duration>,
    kept: Option<Duration>,
}

impl Entry {
    fn new(reach: Reach) -> Self {
        Self {
            id: None,
            reach,
            by: None,
            named_by: None,
            saved: false,
            met: false,
            fresh: false,
            shunned: false,
            ok: 0,
            failed: 0,
            row: 0,
            received: 0,
            sent: 0,
            seen: None,
            latency: None,
            away: Duration::ZERO,
            next: Duration::ZERO,
            tried: None,
            heard: None,
            kept: None,
        }
    }

    fn standing(&self) -> Standing {
        match self {
            Self { saved: true, .. } => Standing::Saved,
            Self { ok: 1.., .. } => Standing::Proven,
            Self { met: true, .. } => Standing::Met,
            _ => Standing::Named,
        }
    }

    /// Whether it is dialled at a walk only (L-50): what only strangers vouch for, and what failed last
    /// time, unless those that are tried are few anyway.
    fn is_doubtful(&self, want: Want) -> bool {
        let few = matches!(want, Want::Oldest { .. });
        self.standing() < Standing::Proven || (self.row > 0 && !few)
    }

    /// Since when nothing was heard of it. Being named puts that off for so long only: a peer that
    /// names an address all the time does not keep it from ever being tried.
    fn quiet_since(&self) -> Option<Duration> {
        let deferred = self.tried.unwrap_or_default() + DEFER;
        self.tried.max(self.heard.map(|heard| heard.min(deferred)))
    }
}

/// Addresses that are likely in the same hands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Range {
    /// A /16 of IPv4, or a /32 of IPv6.
    Ip(IpAddr),
    /// Host names: whoever has one has any number of them.
    Names,
}

impl Range {
    /// `None` for what is on this machine or network, which nobody else can have in numbers.
    pub(super) fn of(address: &Address) -> Option<Self> {
        match address.host.parse() {
            Ok(ip) => Self::of_ip(ip),
            Err(_) => Some(Self::Names),
        }
    }

    pub(super) fn of_ip(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        let start: IpAddr = match ip {
            IpAddr::V4(ip) => std::net::Ipv4Addr::from_bits(ip.to_bits() >> 16 << 16).into(),
            IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() >> 96 << 96).into(),
        };
        (Reach::of(Some(ip)) == Reach::Global).then_some(Self::Ip(start))
    }
}

/// Which of the addresses that can be dialled is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// One that was named and has not been dialled since, whichever (C-35).
    Fresh,
    /// The best whose pause is over (K-42).
    Best,
    /// The one that was tried least lately, if that was not after this time, whatever its pause
    /// (K-43).
    Oldest { not_after: Duration },
    /// The one of which nothing was heard for longest (K-44).
    Quiet,
}

/// What of the known addresses can be dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pick {
    Nothing,
    Now(Address, Reach),
    /// Not before then.
    Later(Duration),
}

/// What must be known to pick an address.
pub(super) struct Choice<'a> {
    pub(super) now: Duration,
    pub(super) want: Want,
    /// Doubtful addresses that are dialled in a minute.
    pub(super) per_minute: u32,
    /// Ranges that there are links to.
    pub(super) ranges: &'a BTreeSet<Range>,
    /// Whether an address is being dialled, or leads to a neighbour.
    pub(super) in_use: &'a dyn Fn(&Address, Option<&NodeId>) -> bool,
}

/// What decides which address is picked, least first: whether there are links to its range, what is held
/// against it, when something was heard of it, and chance.
type Rank = (bool, u32, Option<Duration>, u32);

/// The peer book.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<Address, Entry>,
    capacity: usize,
    /// Named addresses of each peer, those that nothing has proven.
    shares: BTreeMap<Culprit, usize>,
    ranges: BTreeMap<Range, usize>,
    /// Removed addresses, and up to which second they are not taken from others.
    removed: BTreeMap<Address, i64>,
    /// Addresses whose records may have to be written.
    changed: BTreeSet<Address>,
    /// How many doubtful addresses may be dialled yet.
    pace: Bucket,
}

impl Book {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            capacity,
            shares: BTreeMap::new(),
            ranges: BTreeMap::new(),
            removed: BTreeMap::new(),
            changed: BTreeSet::new(),
            pace: Bucket::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn share(&self) -> usize {
        (self.capacity / SHARE).max(1)
    }

    // ---- what others say

    /// A peer names an address. Returns whether it stands in the book now. `busy` is whether it is being
    /// dialled; `ask_interval` how long after a try its word is believed that the address is there.
    pub(super) fn learn(&mut self, now: Now, named: Named, busy: bool, ask_interval: Duration) -> bool {
        if let Some(entry) = self.entries.get_mut(&named.address) {
            entry.reach = entry.reach.max(named.reach);
            entry.fresh |= !busy;
            entry.heard = Some(now.mono);
            if let Some(tried) = entry.tried {
                entry.next = entry.next.min(tried + ask_interval);
            }
            // Of two that are said to be there, neither is believed.
            if entry.ok == 0 && named.id.is_some() && entry.id != named.id {
                entry.id = None;
            }
            return true;
        }
        let Named { address, id, reach, by } = named;
        let (by, named_by) = by.unzip();
        let mut entry = Entry { id, named_by, fresh: !busy, heard: Some(now.mono), ..Entry::new(reach) };
        entry.by = by;
        self.take_in(now, address, entry)
    }

    /// A neighbour that dialled us says that an address is its own. Returns whether it stands in the book
    /// now.
    pub(super) fn meet(&mut self, now: Now, named: Named) -> bool {
        if let Some(entry) = self.entries.get_mut(&named.address) {
            entry.met = true;
            entry.shunned = false;
            entry.away = Duration::ZERO;
            entry.heard = Some(now.mono);
            if entry.ok == 0 {
                entry.id = named.id;
            }
        } else {
            let Named { address, id, reach, by } = named.clone();
            let mut entry = Entry { id, met: true, heard: Some(now.mono), ..Entry::new(reach) };
            entry.by = by.map(|(by, _)| by);
            if !self.take_in(now, address, entry) {
                return false;
            }
        }
        self.see(now, &named.address);
        true
    }

    /// Enters what others say, if there is room for it.
    fn take_in(&mut self, now: Now, address: Address, entry: Entry) -> bool {
        let removed = self.removed.get(&address).is_some_and(|until| now.wall < *until);
        let by_share = entry.by.as_ref().is_some_and(|by| self.shares.get(by) >= Some(&self.share()));
        if removed || by_share || !self.make_room(&address, &entry) {
            return false;
        }
        self.removed.remove(&address);
        self.enter(address, entry);
        true
    }

    // ---- what the program says

    /// The program saves an address: it stays until the program removes it.
    pub(super) fn save(&mut self, address: Address) {
        self.removed.remove(&address);
        let mut entry = self.take_out(&address).unwrap_or_else(|| Entry::new(Reach::Any));
        entry.saved = true;
        entry.shunned = false;
        entry.away = Duration::ZERO;
        entry.by = None;
        entry.reach = Reach::Any;
        entry.next = Duration::ZERO;
        entry.kept = None;
        if self.make_room(&address, &entry) {
            self.enter(address, entry);
        }
    }

    /// The program removes an address: for a day it is not taken from others.
    pub(super) fn remove(&mut self, now: Now, address: &Address) {
        self.take_out(address);
        self.removed.retain(|_, until| now.wall < *until);
        if self.removed.len() >= MAX_REMOVED {
            let first =
                self.removed.iter().min_by_key(|(_, until)| **until).map(|(address, _)| address.clone());
            if let Some(first) = first {
                self.changed.insert(first.clone());
                self.removed.remove(&first);
            }
        }
        self.removed.insert(address.clone(), now.wall.saturating_add(REMOVED_FOR));
        self.changed.insert(address.clone());
    }

    /// The program disconnects `peer`, which is at these addresses: none of them is dialled until the program
    /// asks for it, or the peer comes by itself.
    pub(super) fn shun(&mut self, peer: &NodeId, addresses: &[Address]) {
        for (address, entry) in &mut self.entries {
            entry.shunned |= entry.id.as_ref() == Some(peer) || addresses.contains(address);
        }
    }

    // ---- what came of it

    /// It is being dialled.
    pub(super) fn dialled(&mut self, now: Duration, address: &Address) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.fresh = false;
            entry.tried = Some(now);
        }
    }

    /// A dial came as far as a handshake with `peer`, that long after it began.
    pub(super) fn stood(
        &mut self,
        now: Now,
        address: &Address,
        peer: &NodeId,
        reach: Reach,
        latency: Duration,
    ) {
        let mut entry = self.take_out(address).unwrap_or_else(|| Entry::new(reach));
        if entry.ok == 0 {
            entry.kept = None;
        }
        entry.id = Some(peer.clone());
        entry.shunned = false;
        entry.reach = entry.reach.max(reach);
        entry.by = None;
        entry.named_by = None;
        entry.ok += 1;
        entry.row = 0;
        entry.next = Duration::ZERO;
        entry.latency = Some(latency);
        entry.seen = Some(now.wall);
        entry.heard = Some(now.mono);
        if self.make_room(address, &entry) {
            self.removed.remove(address);
            self.enter(address.clone(), entry);
        }
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, address: &Address) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.failed += 1;
            entry.row = entry.row.saturating_add(1);
            self.changed.insert(address.clone());
        }
    }

    /// The link that came of a dial ended. One that did not stand for long counts as a failure for when
    /// it is dialled again.
    pub(super) fn ended(&mut self, now: Now, address: &Address, long: bool) {
        self.see(now, address);
        if let Some(entry) = self.entries.get_mut(address).filter(|_| !long) {
            entry.row = entry.row.saturating_add(1);
        }
    }

    /// Whoever is there has left us, and is left alone until then.
    pub(super) fn leave_alone(&mut self, address: &Address, until: Duration) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.away = until;
        }
    }

    /// It is not to be dialled before then.
    pub(super) fn pause(&mut self, address: &Address, until: Duration) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.next = until;
        }
    }

    /// Failures since it last stood.
    pub(super) fn failures(&self, address: &Address) -> u32 {
        self.entries.get(address).map_or(0, |entry| entry.row)
    }

    /// Whoever is there is a neighbour, or was until now.
    pub(super) fn see(&mut self, now: Now, address: &Address) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.seen = Some(now.wall);
            entry.heard = Some(now.mono);
            self.changed.insert(address.clone());
        }
    }

    /// Counts addresses that were named to whoever is there, and that were received from it.
    pub(super) fn count(&mut self, address: &Address, sent: usize, received: usize) {
        if let Some(entry) = self.entries.get_mut(address) {
            entry.sent += sent as u64;
            entry.received += received as u64;
            self.changed.insert(address.clone());
        }
    }

    // ---- what is worth a dial

    /// Picks an address that can be dialled, if there is one.
    pub(super) fn pick(&mut self, choice: &Choice<'_>, rng: &mut SmallRng) -> Pick {
        let rate = Rate::per_minute(choice.per_minute.into());
        let now = choice.now;
        let has_pace = self.pace.has_one(now, rate);
        let mut best: Option<(Rank, &Address, &Entry)> = None;
        let mut later = None;
        for (address, entry) in &self.entries {
            let wanted = match choice.want {
                Want::Fresh => entry.fresh,
                Want::Best | Want::Quiet => true,
                Want::Oldest { not_after } => entry.tried <= Some(not_after),
            };
            if !wanted || entry.shunned || (choice.in_use)(address, entry.id.as_ref()) {
                continue;
            }
            let free_at = match choice.want {
                Want::Oldest { .. } => entry.away,
                _ => entry.next.max(entry.away),
            };
            let free_at = match entry.is_doubtful(choice.want) && !has_pace {
                true => free_at.max(self.pace.free_at(rate)),
                false => free_at,
            };
            if free_at > now {
                later = Some(later.map_or(free_at, |later: Duration| later.min(free_at)));
                continue;
            }
            let taken = Range::of(address).is_some_and(|range| choice.ranges.contains(&range));
            let rank: Rank = match choice.want {
                Want::Fresh => (taken, 0, None, rng.random::<u32>()),
                Want::Best => {
                    let worse = entry.row.min(3) * 2 + u32::from(entry.standing() < Standing::Proven);
                    (taken, worse, None, rng.random())
                }
                Want::Oldest { .. } => (false, 0, entry.tried, rng.random()),
                Want::Quiet => (false, 0, entry.quiet_since(), rng.random()),
            };
            if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                best = Some((rank, address, entry));
            }
        }
        match (best, later) {
            (Some((_, address, entry)), _) => {
                if entry.is_doubtful(choice.want) {
                    self.pace.try_take(now, rate);
                }
                Pick::Now(address.clone(), entry.reach)
            }
            (None, Some(later)) => Pick::Later(later),
            (None, None) => Pick::Nothing,
        }
    }

    /// Drops what was named and only ever fails; some always stay.
    pub(super) fn purge(&mut self) {
        let hopeless = |entry: &Entry| entry.standing() <= Standing::Met && entry.row >= FAILURES;
        let mut bad: Vec<(u32, Address)> = (self.entries.iter())
            .filter(|(_, entry)| hopeless(entry))
            .map(|(address, entry)| (entry.row, address.clone()))
            .collect();
        bad.sort_unstable_by(|a, b| b.cmp(a));
        bad.truncate(self.entries.len().saturating_sub(LAST_RESORT));
        for (_, address) in bad {
            self.take_out(&address);
        }
    }

    // ---- room

    /// Makes room for an address that is not in the book. Returns whether there is any.
    fn make_room(&mut self, address: &Address, newcomer: &Entry) -> bool {
        let standing = newcomer.standing();
        if let Some(range) = Range::of(address)
            && standing < Standing::Saved
            && self.ranges.get(&range) >= Some(&self.share())
        {
            let in_range = |other: &Address, _: &Entry| Range::of(other).as_ref() == Some(&range);
            if !self.evict(standing, in_range) {
                return false;
            }
        }
        if self.entries.len() < self.capacity {
            return true;
        }
        // Of what was only named, whoever has named most loses one, unless that is the newcomer's.
        let own = newcomer.by.as_ref().and_then(|by| self.shares.get(by)).copied().unwrap_or(0);
        let greediest = self.shares.iter().max_by_key(|(_, count)| **count);
        let greediest = greediest.filter(|(_, count)| standing > Standing::Named || **count > own + 1);
        let greediest = greediest.map(|(by, _)| by.clone());
        let is_theirs =
            |_: &Address, entry: &Entry| entry.by == greediest && entry.standing() == Standing::Named;
        if greediest.is_some() && self.evict(Standing::Met, is_theirs) {
            return true;
        }
        self.evict(standing, |_, _| true)
    }

    /// Drops the least useful of the addresses that are worse than `standing`. Of those that are as
    /// good, only proven and saved ones make room: what was named may be made up by the thousand.
    fn evict(&mut self, standing: Standing, of: impl Fn(&Address, &Entry) -> bool) -> bool {
        let may_go = |entry: &Entry| {
            entry.standing() < standing || (standing >= Standing::Proven && entry.standing() == standing)
        };
        let least = (self.entries.iter())
            .filter(|(address, entry)| may_go(entry) && of(address, entry))
            .min_by_key(|(_, entry)| (entry.standing(), std::cmp::Reverse(entry.row), entry.seen))
            .map(|(address, _)| address.clone());
        least.is_some_and(|least| self.take_out(&least).is_some())
    }

    fn enter(&mut self, address: Address, entry: Entry) {
        if entry.standing() < Standing::Proven
            && let Some(by) = &entry.by
        {
            *self.shares.entry(by.clone()).or_default() += 1;
        }
        if let Some(range) = Range::of(&address) {
            *self.ranges.entry(range).or_default() += 1;
        }
        self.changed.insert(address.clone());
        self.entries.insert(address, entry);
    }

    fn take_out(&mut self, address: &Address) -> Option<Entry> {
        let entry = self.entries.remove(address)?;
        if entry.standing() < Standing::Proven
            && let Some(by) = &entry.by
        {
            leave(&mut self.shares, by);
        }
        if let Some(range) = Range::of(address) {
            leave(&mut self.ranges, &range);
        }
        if entry.kept.is_some() {
            self.changed.insert(address.clone());
        }
        Some(entry)
    }

    // ---- what is told

    pub(super) fn known(&self) -> impl Iterator<Item = PeerStats> + '_ {
        self.entries.iter().map(|(address, entry)| stats(address, entry))
    }

    pub(super) fn stats(&self, address: &Address) -> Option<PeerStats> {
        self.entries.get(address).map(|entry| stats(address, entry))
    }

    // ---- what is kept

    /// Has the records written that have changed: at once if they are new, and otherwise not too often.
    /// Of addresses that were only named there are none.
    pub(super) fn keep(&mut self, now: Now, out: &mut Outbox) {
        for address in std::mem::take(&mut self.changed) {
            let key = || [&[records::BOOK][..], address.to_string().as_bytes()].concat();
            match self.entries.get_mut(&address) {
                None => {
                    let until = self.removed.get(&address).filter(|until| now.wall < **until);
                    let record = until.map(|until| pack(&[Value::from(*until)]));
                    out.keep(key(), record);
                }
                Some(entry) if entry.standing() == Standing::Named => {}
                Some(entry) if entry.kept.is_none_or(|kept| now.mono >= kept + KEEP_PAUSE) => {
                    entry.kept = Some(now.mono);
                    out.keep(key(), Some(record(entry)));
                }
                Some(_) => {
                    self.changed.insert(address);
                }
            }
        }
    }

    /// Takes a record back.
    pub(super) fn restore(&mut self, now: Now, name: &[u8], record: &[u8]) -> Result<(), RecordError> {
        let address = std::str::from_utf8(name).ok().and_then(|text| text.parse::<Address>().ok());
        let address = address.ok_or(RecordError("a known peer's address does not read"))?;
        let Some((&VERSION, packed)) = record.split_first() else {
            return Err(RecordError("a known peer's record is of another version"));
        };
        let values = value::unpack(packed, 1, &Limits::default()).unwrap_or_default();
        let damaged = RecordError("a known peer's record is damaged");
        let Some(fields) = values.first().and_then(Value::as_array) else { return Err(damaged) };
        if let [until] = fields {
            let until = until.as_i64().ok_or(damaged)?;
            if now.wall < until && self.removed.len() < MAX_REMOVED {
                self.removed.insert(address, until);
            }
            return Ok(());
        }
        let mut entry = read_entry(fields).ok_or(damaged)?;
        entry.kept = Some(now.mono);
        if !self.entries.contains_key(&address) && self.make_room(&address, &entry) {
            self.enter(address.clone(), entry);
            self.changed.remove(&address);
        }
        Ok(())
    }
}

fn leave<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn stats(address: &Address, entry: &Entry) -> PeerStats {
    PeerStats {
        address: address.clone(),
        id: entry.id.clone(),
        connections_ok: entry.ok,
        connections_failed: entry.failed,
        addresses_received: entry.received,
        addresses_sent: entry.sent,
        last_seen: entry.seen,
        latency: entry.latency,
        saved: entry.saved,
        named_by: entry.named_by.clone(),
    }
}

fn pack(fields: &[Value]) -> Bytes {
    let mut bytes = vec![VERSION];
    // Our own numbers and texts always have a form.
    let _ = Value::Array(fields.to_vec()).pack(&mut bytes);
    bytes.into()
}

fn record(entry: &Entry) -> Bytes {
    let text = |id: &Option<NodeId>| id.as_ref().map_or(Value::Nil, |id| id.as_str().into());
    let latency = entry.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    pack(&[
        text(&entry.id),
        u64::from(entry.reach.number()).into(),
        Value::Bool(entry.saved),
        Value::Bool(entry.met),
        entry.ok.into(),
        entry.failed.into(),
        u64::from(entry.row).into(),
        entry.received.into(),
        entry.sent.into(),
        entry.seen.map_or(Value::Nil, Value::from),
        latency.map_or(Value::Nil, Value::from),
    ])
}

fn read_entry(fields: &[Value]) -> Option<Entry> {
    let [id, reach, saved, met, ok, failed, row, received, sent, seen, latency] = fields else { return None };
    let id = match id {
        Value::Nil => None,
        id => Some(NodeId::parse(id.as_str()?).ok()?),
    };
    let optional = |value: &Value| match value {
        Value::Nil => Some(None),
        value => value.as_i64().map(Some),
    };
    let latency = match latency {
        Value::Nil => None,
        value => Some(Duration::from_micros(value.as_u64()?)),
    };
    let mut entry = Entry::new(Reach::from_number(reach.as_u64()?)?);
    entry.id = id;
    entry.saved = saved.as_bool()?;
    entry.met = met.as_bool()?;
    entry.ok = ok.as_u64()?;
    entry.failed = failed.as_u64()?;
    entry.row = u32::try_from(row.as_u64()?).ok()?;
    entry.received = received.as_u64()?;
    entry.sent = sent.as_u64()?;
    entry.seen = optional(seen)?;
    entry.latency = latency;
    Some(entry)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::protocol::{LinkId, Output};

    const ASK: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: 1_000_000_i64.saturating_add_unsigned(seconds) }
    }

    fn address(n: u32) -> Address {
        let [_, b, c, d] = n.to_be_bytes();
        Address::new(format!("10.{b}.{c}.{d}"), 4444)
    }

    fn id(n: u64) -> NodeId {
        NodeId::parse(&format!("4Node{n}").replace('0', "A")).unwrap()
    }

    /// What the peer on the `peer`th link names.
    fn named(address: Address, peer: u64) -> Named {
        Named { address, id: None, reach: Reach::Any, by: Some((Culprit::Link(LinkId(peer)), id(peer))) }
    }

    fn learn(book: &mut Book, address: Address, peer: u64) -> bool {
        book.learn(at(1), named(address, peer), false, ASK)
    }

    fn prove(book: &mut Book, address: &Address) {
        book.stood(at(1), address, &id(7), Reach::Any, Duration::from_millis(3));
    }

    fn pick(book: &mut Book, seconds: u64, want: Want) -> Pick {
        let choice = Choice {
            now: at(seconds).mono,
            want,
            per_minute: 60,
            ranges: &BTreeSet::from([Range::of(&Address::new("1.2.3.4", 1)).unwrap()]),
            in_use: &|_, _| false,
        };
        book.pick(&choice, &mut SmallRng::seed_from_u64(seconds))
    }

    /// K-31: nobody gets more than a share by naming, and more peers only share what is there.
    #[test]
    fn one_peer_fills_a_sixteenth() {
        let mut book = Book::new(160);
        let taken = (0..100_000).filter(|n| learn(&mut book, address(*n), 1)).count();
        assert_eq!((taken, book.entries.len()), (10, 10));
        assert!(learn(&mut book, address(200_000), 2), "others have theirs");
        for peer in 3..50 {
            (0..100)
                .for_each(|n| _ = learn(&mut book, address(u32::try_from(peer).unwrap() << 16 | n), peer));
        }
        assert_eq!(book.entries.len(), 160);
        let least = book.shares.values().min().unwrap();
        assert!(book.shares.len() >= 48 && *least >= 1, "{:?}", book.shares);
    }

    /// K-31
    #[test]
    fn one_range_fills_a_sixteenth() {
        let mut book = Book::new(160);
        (0..100).for_each(|n| prove(&mut book, &Address::new(format!("1.2.3.{n}"), 1)));
        let taken = (0..100).filter(|n| learn(&mut book, Address::new(format!("1.2.4.{n}"), 1), *n));
        assert_eq!(taken.count(), 0, "what was only named is no reason to forget what is proven");
        assert_eq!(book.entries.len(), 10);
        for n in 0..100 {
            learn(&mut book, Address::new(format!("{n}.example.org"), 1), n);
            learn(&mut book, Address::new(format!("2600:1::{n:x}"), 1), n);
        }
        assert_eq!(book.entries.len(), 30);
        assert_eq!(Range::of(&Address::new("2600:1:2::1", 1)), Range::of(&Address::new("2600:1:3::1", 1)));
        assert_ne!(Range::of(&Address::new("1.2.3.4", 1)), Range::of(&Address::new("1.3.3.4", 1)));
        assert_eq!(Range::of(&address(1)), None, "a private network is one by itself");
    }

    /// K-32
    #[test]
    fn what_proved_itself_makes_no_room_for_what_was_named() {
        let mut book = Book::new(64);
        for n in 0..40 {
            prove(&mut book, &address(n));
        }
        (40..50).for_each(|n| book.save(address(n)));
        for n in 100..10_000 {
            learn(&mut book, address(n), n.into());
            book.meet(at(2), named(address(n + 1_000_000), n.into()));
        }
        assert_eq!(book.entries.len(), 64);
        assert!((0..50).all(|n| book.stats(&address(n)).is_some()));
        // A saved one makes room for nothing but others that are saved.
        for n in 100..200 {
            prove(&mut book, &address(n));
        }
        assert!((40..50).all(|n| book.stats(&address(n)).is_some()));
        assert!(book.stats(&address(199)).is_some(), "what was proven lately is known");
        (200..300).for_each(|n| book.save(address(n)));
        assert_eq!(book.entries.len(), 64);
        assert!(book.stats(&address(299)).is_some());
    }

    /// K-33
    #[test]
    fn a_removed_address_is_not_taken_from_others_for_a_day() {
        let mut book = Book::new(64);
        let gone = address(1);
        prove(&mut book, &gone);
        book.remove(at(10), &gone);
        assert_eq!(book.stats(&gone), None);
        let later = |seconds| Now { mono: at(10).mono, wall: at(10).wall + seconds };
        for seconds in [0, 86_399] {
            assert!(!book.learn(later(seconds), named(gone.clone(), 1), false, ASK));
            assert!(!book.meet(later(seconds), named(gone.clone(), 1)));
        }
        assert!(book.learn(later(86_400), named(gone.clone(), 1), false, ASK));
        book.remove(at(10), &gone);
        book.save(gone.clone());
        assert!(book.stats(&gone).unwrap().saved, "the program may change its mind");
        for n in 0..5_000 {
            book.remove(at(n.into()), &address(n));
        }
        assert_eq!(book.removed.len(), MAX_REMOVED);
    }

    /// K-30
    #[test]
    fn numbers_are_counted_for_each_address() {
        let mut book = Book::new(64);
        assert!(learn(&mut book, address(1), 5));
        assert_eq!(book.stats(&address(1)).unwrap().named_by, Some(id(5)));
        book.failed(&address(1));
        prove(&mut book, &address(1));
        book.count(&address(1), 3, 0);
        book.count(&address(1), 0, 9);
        book.ended(at(100), &address(1), true);
        let stats = book.stats(&address(1)).unwrap();
        assert_eq!((stats.connections_ok, stats.connections_failed), (1, 1));
        assert_eq!((stats.addresses_sent, stats.addresses_received), (3, 9));
        assert_eq!((stats.id, stats.named_by), (Some(id(7)), None));
        assert_eq!((stats.last_seen, stats.latency), (Some(at(100).wall), Some(Duration::from_millis(3))));
        assert_eq!(book.known().count(), 1);
    }

    /// K-34
    #[test]
    fn what_only_fails_is_dropped_but_not_all_of_it() {
        let mut book = Book::new(4096);
        (0..50).for_each(|n| assert!(learn(&mut book, address(n), 1)));
        (50..60).for_each(|n| prove(&mut book, &address(n)));
        (60..70).for_each(|n| book.save(address(n)));
        for _ in 0..2 {
            (0..70).for_each(|n| book.failed(&address(n)));
            book.purge();
            assert_eq!(book.entries.len(), 70);
        }
        (0..70).for_each(|n| book.failed(&address(n)));
        book.purge();
        assert!((0..70).all(|n| book.stats(&address(n)).is_some() == (n >= 50)));
        let mut book = Book::new(4096);
        (0..50).for_each(|n| assert!(learn(&mut book, address(n), 1)));
        (0..3).for_each(|_| (0..50).for_each(|n| book.failed(&address(n))));
        book.purge();
        assert_eq!(book.entries.len(), LAST_RESORT);
    }

    /// K-42
    #[test]
    fn the_best_is_picked_and_of_another_range() {
        let mut book = Book::new(4096);
        let (bad, good, near) = (address(1), address(2), Address::new("1.2.9.9", 1));
        (0..20).for_each(|n| assert!(learn(&mut book, address(100 + n), 1)));
        for proven in [&bad, &good, &near] {
            prove(&mut book, proven);
        }
        book.failed(&bad);
        for seconds in 1..50 {
            assert_eq!(pick(&mut book, seconds, Want::Best), Pick::Now(good.clone(), Reach::Any));
        }
        book.pause(&good, Duration::from_secs(100));
        assert!(
            !matches!(pick(&mut book, 99, Want::Best), Pick::Now(address, _) if address == near || address == bad)
        );
        assert_eq!(pick(&mut book, 100, Want::Best), Pick::Now(good, Reach::Any));
    }

    /// K-42, L-50
    #[test]
    fn what_is_doubtful_is_dialled_at_a_walk() {
        let mut book = Book::new(4096);
        (0..100).for_each(|n| assert!(learn(&mut book, address(n), 1)));
        let picked = (0..100).filter(|_| matches!(pick(&mut book, 1, Want::Best), Pick::Now(..)));
        assert_eq!(picked.count(), 60);
        assert_eq!(pick(&mut book, 1, Want::Best), Pick::Later(at(2).mono));
        prove(&mut book, &address(500));
        assert_eq!(pick(&mut book, 1, Want::Best), Pick::Now(address(500), Reach::Any));
        book.failed(&address(500));
        assert_eq!(pick(&mut book, 1, Want::Best), Pick::Later(at(2).mono));
        // Those whose turn it is are few.
        let oldest = Want::Oldest { not_after: at(1).mono };
        assert_eq!(pick(&mut book, 1, oldest), Pick::Now(address(500), Reach::Any));
    }

    /// K-44: whoever names an address all the time does not keep it from its turn for ever.
    #[test]
    fn the_one_not_heard_of_for_longest_is_next() {
        let mut book = Book::new(4096);
        for n in 0..3 {
            prove(&mut book, &address(n));
            book.dialled(at(10 + u64::from(n)).mono, &address(n));
        }
        assert_eq!(pick(&mut book, 20, Want::Quiet), Pick::Now(address(0), Reach::Any));
        book.learn(at(30), named(address(0), 1), false, ASK);
        assert_eq!(pick(&mut book, 31, Want::Quiet), Pick::Now(address(1), Reach::Any));
        let deferred = 10 + DEFER.as_secs();
        for n in 1..3 {
            book.dialled(at(deferred + u64::from(n)).mono, &address(n));
        }
        book.learn(at(deferred + 50), named(address(0), 1), false, ASK);
        assert_eq!(pick(&mut book, deferred + 51, Want::Quiet), Pick::Now(address(0), Reach::Any));
    }

    fn kept(book: &mut Book, now: Now) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let mut out = Outbox::new();
        book.keep(now, &mut out);
        let record = |output| match output {
            Output::Keep { key, value } => (key, value),
            other => unreachable!("{other:?}"),
        };
        out.outputs.into_iter().map(record).collect()
    }

    /// K-36
    #[test]
    fn what_is_kept_comes_back() {
        let mut book = Book::new(64);
        learn(&mut book, address(1), 1);
        assert_eq!(kept(&mut book, at(1)), [], "anyone could name anything");
        prove(&mut book, &address(2));
        book.count(&address(2), 3, 4);
        book.save(Address::new("::1", 5));
        book.meet(at(1), named(address(3), 1));
        book.remove(at(1), &address(4));
        let records = kept(&mut book, at(1));
        assert_eq!(records.len(), 4);
        let mut again = Book::new(64);
        for (key, value) in &records {
            assert_eq!(key[0], records::BOOK);
            again.restore(at(1), &key[1..], value.as_ref().unwrap()).unwrap();
        }
        let all = |book: &Book| book.known().filter(|known| known.address != address(1)).collect::<Vec<_>>();
        let mut before = all(&book);
        before.iter_mut().for_each(|known| known.named_by = None);
        assert_eq!(all(&again), before);
        assert!(!again.learn(at(2), named(address(4), 1), false, ASK));
        assert_eq!(kept(&mut again, at(2)), [], "nothing has changed");
    }

    /// K-36
    #[test]
    fn records_are_written_once_a_minute() {
        let mut book = Book::new(64);
        prove(&mut book, &address(1));
        assert_eq!(kept(&mut book, at(1)).len(), 1);
        book.see(at(2), &address(1));
        assert_eq!(kept(&mut book, at(60)), []);
        assert_eq!(kept(&mut book, at(61)).len(), 1);
        assert_eq!(kept(&mut book, at(200)), []);
        book.remove(at(200), &address(1));
        let records = kept(&mut book, at(200));
        assert!(records[0].1.is_some(), "that it was removed is kept too");
    }

    /// K-37
    #[test]
    fn damaged_records_are_told() {
        let mut book = Book::new(64);
        prove(&mut book, &address(1));
        let (key, value) = kept(&mut book, at(1)).remove(0);
        let value = value.unwrap();
        let restore = |key: &[u8], value: &[u8]| Book::new(64).restore(at(1), key, value).is_err();
        assert!(!restore(&key[1..], &value));
        assert!(restore(b"no address", &value) && restore(&[0xff], &value));
        for length in 0..value.len() {
            assert!(restore(&key[1..], &value[..length]), "{length}");
        }
        let mut other = value.to_vec();
        other[0] = 2;
        assert!(restore(&key[1..], &other));
    }
}
