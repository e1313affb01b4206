//! Who tells whom what it lacks, and when (`spec/10-sync.md`, S-66 to S-79).
//!
//! Whoever dials a new neighbour compares its table with it, and from time to time everyone with one at
//! random. Whoever learned something so compares with its other neighbours soon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rmp::{decode, encode};

use super::convergent::{ENTRY_ROOM, Handed, Proof, Refusal};
use super::entries::{Entries, Stored};
use super::reconcile::{self, Findings, Item, Items, PARTS, Range};
use super::{Rules, Table, millis};
use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::protocol::node::{Node, Timer};
use crate::protocol::offence::Offence;
use crate::protocol::outbox::{Class, LinkId, Now, Outbox};
use crate::wire::codes::{code, kind};
use crate::wire::{Envelope, Limits, Message, Pack, Payload, Value, ValueError};

/// Ranges in one question, at most; each is answered with up to [`PARTS`].
const MAX_ASKED: usize = 128;
/// The largest digest whisper that is read: twice what an honest one can be.
const MAX_DIGEST: usize = 256 << 10;
/// Ranges still to be asked about, and ranges of entries still to be sent, at most. What is beyond is found
/// the next time.
const MAX_OPEN: usize = 1 << 16;
/// Bytes of one entries whisper: large enough that there are few, and so small that buffers for them are
/// used again instead of being given back to the system each time.
const MAX_ENTRIES: usize = 60 << 10;
/// Entries whispers on their way to one peer, at most.
const WINDOW: usize = 8;
/// After this time, what was not acknowledged is taken for lost, and a question for unanswered.
const PATIENCE: Duration = Duration::from_secs(30);
/// A session in which nothing happened for this long makes room for another with the same peer.
const IDLE: Duration = Duration::from_secs(2);
/// Sessions that a peer may begin: more than an honest one ever does.
const SESSIONS: u64 = 60;
/// Pause before a node tells its other neighbours what one has told it, and between two of them.
const SPREAD_PAUSE: Duration = Duration::from_secs(1);
const NEXT_PAUSE: Duration = Duration::from_millis(100);
/// Pause before the timer comes again when there is more to do.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// Deleted keys that are forgotten at once, so that nothing else waits for it.
const EXPIRE_AT_ONCE: usize = 1024;
/// Items that a session may make us look at: this many times all, and some.
const LOOKS: usize = 32;
const SOME_LOOKS: usize = 1 << 16;

/// What stands before each body in an entries whisper: its age and its length.
const ENTRY_HEAD: usize = 8;
/// Entries of one whisper for which room is made at once: as many as are mostly in one.
const ENTRIES_AT_ONCE: usize = 256;

/// Elements of digests: a question, or an answer to one.
const ASK: u64 = 0;
const ANSWER: u64 = 1;

/// What a node has going with its neighbours.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    with: BTreeMap<NodeId, Dealings>,
    /// Those to compare tables with soon.
    due: BTreeSet<NodeId>,
    /// When the next of them.
    due_at: Duration,
    /// When with one at random.
    next: Option<Duration>,
    /// When the timer is set.
    armed: Option<Duration>,
}

/// What is going on with one neighbour.
#[derive(Debug, Default)]
struct Dealings {
    own: Option<Session>,
    theirs: Option<Session>,
    begun: Bucket,
    /// Ranges of places whose entries it lacks.
    offers: VecDeque<(u64, u64)>,
    /// Entries whispers that it has not acknowledged, and when they were sent.
    unacknowledged: Vec<(u64, Duration)>,
}

/// One comparison of two tables.
#[derive(Debug)]
struct Session {
    number: u64,
    /// When something last happened.
    active: Duration,
    /// What is still to be asked, the next last. Empty in those that the peer began.
    open: Vec<Range>,
    /// Whether a question is unanswered.
    waiting: bool,
    /// Items looked at.
    looked_at: usize,
}

impl Session {
    fn new(number: u64, now: Duration) -> Self {
        Self { number, active: now, open: Vec::new(), waiting: false, looked_at: 0 }
    }

    fn is_idle(&self, now: Duration) -> bool {
        let busy = self.waiting || !self.open.is_empty();
        now.saturating_sub(self.active) >= if busy { PATIENCE } else { IDLE }
    }
}

impl Dealings {
    fn is_idle(&self, now: Duration) -> bool {
        self.own.as_ref().is_none_or(|session| session.is_idle(now)) && self.has_room(now)
    }

    /// Whether another entries whisper may be sent.
    fn has_room(&self, now: Duration) -> bool {
        let fresh = |(_, sent): &&(u64, Duration)| now.saturating_sub(*sent) < PATIENCE;
        self.unacknowledged.iter().filter(fresh).count() < WINDOW
    }

    fn offer(&mut self, range: (u64, u64)) {
        if self.offers.len() < MAX_OPEN && self.offers.back() != Some(&range) {
            self.offers.push_back(range);
        }
    }

    /// The next entries to be sent, in so many bytes at most; none if there are no more.
    fn next_entries<'a>(&mut self, entries: &'a Entries, most: usize) -> Vec<&'a Stored> {
        let (mut chosen, mut bytes) = (Vec::with_capacity(ENTRIES_AT_ONCE), 0);
        'ranges: while let Some((start, end)) = self.offers.pop_front() {
            let mut last = None;
            for (place, stored) in entries.range(start, end) {
                bytes += ENTRY_HEAD + stored.body.len();
                // What shares a place is sent together, so that going on at a place misses nothing.
                if bytes > most && !chosen.is_empty() && last != Some(place) {
                    self.offers.push_front((place, end));
                    break 'ranges;
                }
                last = Some(place);
                chosen.push(stored);
            }
        }
        chosen
    }
}

/// What stands behind the code of a whisper of entries.
struct Given<'a> {
    receipt: u64,
    entries: Vec<&'a Stored>,
    /// Our own time, in milliseconds.
    now: i64,
}

impl Given<'_> {
    fn len(&self) -> usize {
        self.entries.iter().map(|stored| ENTRY_HEAD + stored.body.len()).sum()
    }
}

impl Payload for Given<'_> {
    fn count(&self) -> usize {
        2
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.receipt.pack(out)?;
        let len = self.len();
        let len = u32::try_from(len).map_err(|_| ValueError::TooMany { at: 0, max: u32::MAX as usize })?;
        // Writing into a Vec cannot fail.
        let _ = encode::write_bin_len(out, len);
        for stored in &self.entries {
            // Rounded up, so that nothing grows younger by being passed on.
            let age = self.now.saturating_sub(stored.heard).max(0).saturating_add(999) / 1000;
            let age = u32::try_from(age).unwrap_or(u32::MAX);
            let len = u32::try_from(stored.body.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&age.to_be_bytes());
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&stored.body);
        }
        Ok(())
    }

    fn size_hint(&self) -> usize {
        self.receipt.size_hint() + 5 + self.len()
    }
}

/// Reads what [`Given`] writes: what somebody gave us.
struct Taken<'a> {
    within: &'a Bytes,
    /// How many bytes of entries there are, and those that were not read yet.
    len: usize,
    rest: &'a [u8],
    now: i64,
    /// Where those begin of which it is known that they are their authors'.
    genuine: &'a [usize],
}

impl<'a> Taken<'a> {
    /// Reads the receipt, and the entries if there are any. `None` if it is neither.
    fn read(now: Now, message: &'a Message, genuine: &'a [usize]) -> Option<(u64, Option<Self>)> {
        let mut rest = message.packed();
        let _code: u64 = decode::read_int(&mut rest).ok()?;
        let receipt = decode::read_int(&mut rest).ok()?;
        if rest.is_empty() {
            return Some((receipt, None));
        }
        let len = decode::read_bin_len(&mut rest).ok()? as usize;
        let entries = Self { within: message.body(), len, rest, now: millis(now), genuine };
        (len == rest.len()).then_some((receipt, Some(entries)))
    }

    /// Where the next entry begins.
    fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next entry; `None` at the end.
    fn next(&mut self) -> Result<Option<Handed<'a>>, Refusal> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let proof = match self.genuine.binary_search(&self.at()) {
            Ok(_) => Proof::Given,
            Err(_) => Proof::Missing,
        };
        let (head, rest) = self.rest.split_first_chunk::<ENTRY_HEAD>().ok_or(Refusal::Malformed)?;
        let [a, b, c, d, e, f, g, h] = *head;
        let (age, len) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize);
        let (body, rest) = rest.split_at_checked(len).ok_or(Refusal::Malformed)?;
        self.rest = rest;
        let since = self.now.saturating_sub(i64::from(age) * 1000);
        Ok(Some(Handed { body, within: self.within, since, proof }))
    }
}

impl Items for Entries {
    fn items(&self, places: RangeInclusive<u64>) -> impl Iterator<Item = Item> {
        self.range(*places.start(), *places.end()).map(|(place, stored)| (place, stored.version.mark))
    }
}

/// A digest whisper as it was read.
struct Digest {
    number: u64,
    role: u64,
    ranges: Vec<Range>,
    wanted: Vec<u64>,
}

impl Digest {
    fn read(message: &Message) -> Option<Self> {
        if message.body().len() > MAX_DIGEST {
            return None;
        }
        let values = message.values(&Limits::default()).ok()?;
        let [_, number, role, ranges, Value::Bin(wanted)] = values.as_slice() else { return None };
        let role = role.as_u64().filter(|role| [ASK, ANSWER].contains(role))?;
        let most = if role == ASK { MAX_ASKED } else { MAX_ASKED * PARTS };
        let ranges = reconcile::from_value(ranges, most)?;
        let (places, rest) = wanted.as_chunks::<8>();
        let wanted = places.iter().map(|place| u64::from_be_bytes(*place)).collect();
        rest.is_empty().then_some(Self { number: number.as_u64()?, role, ranges, wanted })
    }
}

impl Node {
    fn dealings(&mut self, peer: &NodeId) -> Option<(&Entries, &mut Dealings)> {
        match self.sync.as_deref_mut() {
            Some(Table { rules: Rules::Convergent(table), .. }) => {
                if !table.exchange.with.contains_key(peer) {
                    table.exchange.with.insert(peer.clone(), Dealings::default());
                }
                Some((&table.entries, table.exchange.with.get_mut(peer)?))
            }
            _ => None,
        }
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        match self.sync.as_deref_mut() {
            Some(Table { rules: Rules::Convergent(table), .. }) => Some(&mut table.exchange),
            _ => None,
        }
    }

    /// A new neighbour: whoever dialled begins.
    pub(super) fn convergent_meets(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get(&link) else { return };
        let peer = link.peer.as_ref().map(|peer| peer.id.clone()).filter(|_| link.is_outgoing());
        if let Some(peer) = peer {
            self.begin_session(now, &peer, out);
        }
        self.arm_table(now);
    }

    /// A link to a peer ended. What was on its way is lost; if another link stands, it is said again there.
    pub(super) fn convergent_parts(&mut self, now: Now, peer: &NodeId) {
        let Some(exchange) = self.exchange() else { return };
        exchange.with.remove(peer);
        exchange.due.insert(peer.clone());
        self.arm_table(now);
    }

    fn begin_session(&mut self, now: Now, peer: &NodeId, out: &mut Outbox) {
        let number = self.rng.next_u64();
        let Some((entries, dealings)) = self.dealings(peer) else { return };
        let mut found = Findings::default();
        found.open(number, entries);
        let mut session = Session::new(number, now.mono);
        session.looked_at = found.looked_at;
        session.open = found.ranges;
        session.open.reverse();
        dealings.own = Some(session);
        self.ask(now, peer, &[], out);
    }

    /// The next question of our own session.
    fn ask(&mut self, now: Now, peer: &NodeId, wanted: &[u64], out: &mut Outbox) {
        let Some((_, dealings)) = self.dealings(peer) else { return };
        let Some(session) = &mut dealings.own else { return };
        if session.open.is_empty() && wanted.is_empty() {
            return;
        }
        let rest = session.open.len().saturating_sub(MAX_ASKED);
        let mut ranges = session.open.split_off(rest);
        ranges.reverse();
        session.waiting = true;
        let number = session.number;
        self.send_digest(now, peer, (number, ASK), &ranges, wanted, out);
    }

    fn send_digest(
        &mut self,
        now: Now,
        peer: &NodeId,
        (number, role): (u64, u64),
        ranges: &[Range],
        wanted: &[u64],
        out: &mut Outbox,
    ) {
        let Some(link) = self.link_to(peer) else { return };
        let wanted = wanted.iter().flat_map(|place| place.to_be_bytes()).collect();
        let payload = [number.into(), role.into(), reconcile::to_value(ranges), Value::Bin(wanted)];
        self.send_control(now, link, kind::WHISPER, code::DIGEST, &payload, out);
    }

    pub(super) fn on_digest(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Some(peer) = self.peer_on(from).cloned() else { return };
        let Some(Digest { number, role, ranges, wanted }) = Digest::read(message) else {
            return self.malformed(now, from, message, out);
        };
        let Some((entries, dealings)) = self.dealings(&peer) else { return };
        let session = match role {
            ASK => {
                if dealings.theirs.as_ref().is_none_or(|session| session.number != number) {
                    if !dealings.begun.try_take(now.mono, Rate::per_minute(SESSIONS)) {
                        self.counters.table_limited += 1;
                        return self.blame(now, from, Offence::Greedy, out);
                    }
                    dealings.theirs = Some(Session::new(number, now.mono));
                }
                dealings.theirs.as_mut()
            }
            _ => dealings.own.as_mut().filter(|session| session.number == number && session.waiting),
        };
        let Some(session) = session else {
            self.counters.table_unasked += 1;
            return;
        };
        let mut found = Findings::default();
        let budget = (entries.len() * LOOKS + SOME_LOOKS).saturating_sub(session.looked_at);
        for range in &ranges {
            if found.looked_at >= budget {
                self.counters.table_limited += 1;
                return;
            }
            found.compare(number, entries, range);
        }
        session.active = now.mono;
        session.looked_at += found.looked_at;
        let Findings { mut ranges, wanted: wanted_here, offered, .. } = found;
        if role == ANSWER {
            session.waiting = false;
            ranges.truncate(MAX_OPEN.saturating_sub(session.open.len()));
            session.open.extend(ranges.drain(..).rev());
        }
        wanted.iter().for_each(|place| dealings.offer((*place, *place)));
        offered.into_iter().for_each(|range| dealings.offer(range));
        match role {
            ASK => self.send_digest(now, &peer, (number, ANSWER), &ranges, &wanted_here, out),
            _ => self.ask(now, &peer, &wanted_here, out),
        }
        self.send_entries(now, &peer, out);
    }

    /// Sends entries that a peer lacks, as many as may be on their way.
    fn send_entries(&mut self, now: Now, peer: &NodeId, out: &mut Outbox) {
        let Some(link) = self.link_to(peer) else { return };
        // Of the queue for our own messages, it leaves some for them.
        let most =
            MAX_ENTRIES.min(self.config.own_queue / 4).min(self.config.max_frame.saturating_sub(ENTRY_ROOM));
        let us = self.identity.id.clone();
        loop {
            let receipt = self.rng.next_u64();
            let stamp = self.next_stamp(now);
            let Some((entries, dealings)) = self.dealings(peer) else { return };
            if !dealings.has_room(now.mono) {
                return;
            }
            let entries = dealings.next_entries(entries, most);
            if entries.is_empty() {
                return;
            }
            dealings.unacknowledged.retain(|(_, sent)| now.mono.saturating_sub(*sent) < PATIENCE);
            dealings.unacknowledged.push((receipt, now.mono));
            let given = Given { receipt, entries, now: millis(now) };
            // Nothing in it has no msgpack form.
            if let Ok(body) = Message::pack_unhashed(us.as_str(), stamp, code::ENTRIES, &given) {
                self.send_body(link, Class::Own, body, out);
            }
        }
    }

    /// The seals in a message that have to be verified before what is in it can be kept: where each entry
    /// begins, and its body. Verifying is dear, so a driver may do it elsewhere
    /// ([`Envelope::is_genuine`]) and hand in the message as
    /// [`Input::Entries`](crate::protocol::Input::Entries).
    pub fn seals_to_verify(&self, now: Now, link: LinkId, message: &Message) -> Vec<(usize, Bytes)> {
        let mut seals = Vec::new();
        if self.peer_on(link).is_none() || !matches!(self.identity.envelope(), Envelope::Sealed(_)) {
            return seals;
        }
        let Some((_, Some(mut entries))) = Taken::read(now, message, &[]) else { return seals };
        let mut author = None;
        while let (at, Ok(Some(entry))) = (entries.at(), entries.next()) {
            if self.wants_entry(now, &entry, &mut author) {
                seals.push((at, entry.within.slice_ref(entry.body)));
            }
        }
        seals
    }

    /// `genuine`: where those entries begin whose seals have been verified.
    pub(in crate::protocol) fn on_entries(
        &mut self,
        now: Now,
        from: LinkId,
        message: &Message,
        genuine: &[usize],
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peer_on(from).cloned() else { return };
        let (receipt, entries) = match Taken::read(now, message, genuine) {
            Some((receipt, Some(entries))) => (receipt, entries),
            Some((receipt, None)) => return self.on_receipt(now, &peer, receipt, out),
            None => return self.malformed(now, from, message, out),
        };
        if let Some((_, dealings)) = self.dealings(&peer) {
            let sessions = [&mut dealings.own, &mut dealings.theirs];
            sessions.into_iter().flatten().for_each(|session| session.active = now.mono);
        }
        match self.take_all(now, entries, out) {
            Ok(taken) => {
                if taken {
                    self.spread(now, &peer);
                }
                self.send_control(now, from, kind::WHISPER, code::ENTRIES, &[receipt.into()], out);
            }
            Err(Refusal::Forged) => self.on_forged(now, from, out),
            Err(_) => self.malformed(now, from, message, out),
        }
    }

    /// Takes entries in. Returns whether any is new; an error for what no honest peer sends.
    fn take_all(&mut self, now: Now, mut entries: Taken<'_>, out: &mut Outbox) -> Result<bool, Refusal> {
        let (mut taken, mut author) = (false, None);
        while let Some(entry) = entries.next()? {
            match self.take_entry(now, &entry, &mut author, out) {
                Ok(new) => taken |= new,
                Err(error @ (Refusal::Forged | Refusal::Malformed)) => return Err(error),
                // It had reasons to keep what we do not.
                Err(refusal) => self.count_refusal(refusal),
            }
        }
        Ok(taken)
    }

    /// A peer has read entries: there is room for more.
    fn on_receipt(&mut self, now: Now, peer: &NodeId, receipt: u64, out: &mut Outbox) {
        let Some((_, dealings)) = self.dealings(peer) else { return };
        let Some(at) = dealings.unacknowledged.iter().position(|(other, _)| *other == receipt) else {
            self.counters.table_unasked += 1;
            return;
        };
        dealings.unacknowledged.swap_remove(at);
        self.send_entries(now, peer, out);
    }

    /// One neighbour has told us something; the others may not know it.
    fn spread(&mut self, now: Now, source: &NodeId) {
        let others: Vec<NodeId> = self.table.keys().filter(|peer| *peer != source).cloned().collect();
        let Some(exchange) = self.exchange().filter(|_| !others.is_empty()) else { return };
        exchange.due_at = exchange.due_at.max(now.mono + SPREAD_PAUSE);
        exchange.due.extend(others);
        self.arm_table(now);
    }

    /// Sets the timer for whatever comes next.
    pub(super) fn arm_table(&mut self, now: Now) {
        let (alone, interval) = (self.table.is_empty(), self.config.table_interval);
        let chance = self.rng.next_u64();
        let Some(Table { rules: Rules::Convergent(table), .. }) = self.sync.as_deref_mut() else { return };
        let exchange = &mut table.exchange;
        if alone {
            exchange.next = None;
        } else if exchange.next.is_none() {
            // Half to one and a half of it, so that not all nodes do it at once.
            let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
            exchange.next = Some(now.mono + interval / 2 + Duration::from_nanos(chance % nanos));
        }
        let due = (!exchange.due.is_empty()).then_some(exchange.due_at);
        let expiry = table.entries.next_expiry();
        let expiry = expiry.map(|at| Duration::from_millis(u64::try_from(at).unwrap_or(0)));
        let Some(at) = [due, exchange.next, expiry].into_iter().flatten().min() else { return };
        // Later than now, so that others have their turn when there is much to do.
        let at = at.max(now.mono + LEAST_PAUSE);
        if exchange.armed.is_none_or(|armed| at < armed) {
            exchange.armed = Some(at);
            self.set_timer(at, Timer::Table);
        }
    }

    pub(in crate::protocol) fn on_table_timer(&mut self, now: Now, out: &mut Outbox) {
        let Some(table) = self.sync.as_deref_mut() else { return };
        let kept = table.kept;
        let Rules::Convergent(table) = &mut table.rules else { return };
        let exchange = &mut table.exchange;
        if exchange.armed.is_some_and(|armed| armed <= now.mono) {
            exchange.armed = None;
        }
        for _ in 0..EXPIRE_AT_ONCE {
            let Some(key) = table.entries.expire(millis(now)) else { break };
            if kept {
                out.keep(super::convergent::record_key(&key), None);
            }
        }
        let mut compare = None;
        if exchange.due_at <= now.mono
            && let Some(peer) = exchange.due.pop_first()
        {
            exchange.due_at = now.mono + NEXT_PAUSE;
            compare = Some((peer, true));
        } else if exchange.next.is_some_and(|next| next <= now.mono) {
            exchange.next = None;
            let at = usize::try_from(self.rng.next_u64() >> 1).unwrap_or(0) % self.table.len().max(1);
            compare = self.table.keys().nth(at).cloned().map(|peer| (peer, false));
        }
        if let Some((peer, again)) = compare.filter(|(peer, _)| self.table.contains_key(peer)) {
            let idle = self.dealings(&peer).is_some_and(|(_, dealings)| dealings.is_idle(now.mono));
            if idle {
                self.begin_session(now, &peer, out);
                self.send_entries(now, &peer, out);
            } else if again && let Some(exchange) = self.exchange() {
                exchange.due.insert(peer);
                exchange.due_at = now.mono + SPREAD_PAUSE;
            }
        }
        self.arm_table(now);
    }
}
