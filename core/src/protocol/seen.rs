//! Which broadcasts are known: the memory behind "none relays twice" (`spec/04-mesh.md`).
//!
//! Ids are kept in one table per second of their stamp, so that forgetting is dropping a table and
//! everything that a forgotten table might have held is refused by its stamp alone. Forgetting early
//! therefore never lets a message in twice; it only narrows how late one may come. Nor does a clock
//! that is set back: the seconds that were forgotten stay forgotten, also where they lie ahead again.

use crate::wire::DIGEST_LEN;

/// What the stamp and id of a broadcast say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not known, and fresh.
    New,
    /// Known.
    Known,
    /// Stamped too long ago, or as old as something already forgotten.
    Stale,
    /// Stamped too far in the future.
    Future,
    /// By one author more than can be remembered.
    Crowded,
}

/// Questions asked of memory at the same time.
pub(super) const PROBES: usize = 64;

/// Spans of forgotten seconds that are kept apart, at most.
const MAX_SPANS: usize = 8;

/// The memory of one node.
#[derive(Debug)]
pub struct Seen {
    /// Tables by second, ascending; few, and mostly only the last two or three are used.
    seconds: Vec<(i64, Table)>,
    /// Spans of seconds that were forgotten, ascending, with their ends. What is stamped in one of
    /// them is stale, whatever the clock says. One is enough unless the clock jumps.
    forgotten: Vec<(i64, i64)>,
    /// Seconds of lateness and of earliness that are accepted.
    window: i64,
    least_window: i64,
    capacity: usize,
    len: usize,
    secret: Secret,
    last_wall: i64,
}

impl Seen {
    /// An empty memory that accepts stamps up to `window` seconds off, remembers `capacity` ids, and
    /// keeps `least_window` seconds whatever comes. The `secret` makes table places unforeseeable.
    pub fn new(window: u32, least_window: u32, capacity: usize, secret: [u64; 2]) -> Self {
        Self {
            seconds: Vec::new(),
            forgotten: Vec::new(),
            window: window.into(),
            least_window: least_window.into(),
            capacity,
            len: 0,
            secret: Secret::new(secret),
            last_wall: i64::MIN,
        }
    }

    /// Whether a broadcast with this stamp and digest should be handled, without remembering it.
    pub fn check(&self, wall: i64, stamp: i64, digest: &[u8; DIGEST_LEN]) -> Verdict {
        if let Some(verdict) = self.out_of_window(wall, stamp) {
            return verdict;
        }
        // The newest second is the likeliest.
        match self.seconds.iter().rev().find(|(second, _)| *second == stamp) {
            Some((_, table)) if table.contains(self.secret.key(digest)) => Verdict::Known,
            _ if self.is_too_far_ahead(wall, stamp) => Verdict::Future,
            _ => Verdict::New,
        }
    }

    /// Whether no more ids with this stamp are taken in. Ids of the future cannot be forgotten before it
    /// has passed, so they get half of the memory at most: a neighbour that fills it with them would
    /// stop all readers.
    fn is_too_far_ahead(&self, wall: i64, stamp: i64) -> bool {
        let near = wall.saturating_add(self.least_window);
        if stamp <= near || self.len <= self.capacity / 2 {
            return false;
        }
        let ahead = self.seconds.iter().rev().take_while(|(second, _)| *second > near);
        ahead.map(|(_, table)| table.len).sum::<usize>() > self.capacity / 2
    }

    /// For each stamp and digest, whether it is known. Asking for many at once lets the waits for
    /// memory overlap, for these questions and for remembering the new ones afterwards.
    pub fn are_known(&self, wall: i64, claims: &[(i64, [u8; DIGEST_LEN])], known: &mut Vec<bool>) {
        let mut probes = [(0_u64, 0_u64); PROBES];
        known.clear();
        for claims in claims.chunks(PROBES) {
            for ((stamp, digest), probe) in claims.iter().zip(&mut probes) {
                let table = self.seconds.iter().rev().find(|(second, _)| second == stamp);
                let key = self.secret.key(digest);
                *probe = (key, table.map_or(0, |(_, table)| table.first_at(key)));
            }
            let is_known = |((stamp, digest), (key, found)): (&(i64, [u8; DIGEST_LEN]), &(u64, u64))| {
                // Mostly the first place that is looked at decides.
                *found == *key || *found != 0 && self.check(wall, *stamp, digest) == Verdict::Known
            };
            known.extend(claims.iter().zip(&probes).map(is_known));
        }
    }

    /// Checks, and remembers what is new. Call this only for verified messages.
    pub fn insert(&mut self, wall: i64, stamp: i64, digest: &[u8; DIGEST_LEN]) -> Verdict {
        self.advance(wall);
        if let Some(verdict) = self.out_of_window(wall, stamp) {
            return verdict;
        }
        if self.is_too_far_ahead(wall, stamp) {
            return self.check(wall, stamp, digest);
        }
        let key = self.secret.key(digest);
        let at = match self.seconds.iter().rposition(|(second, _)| *second <= stamp) {
            Some(at) if self.seconds.get(at).is_some_and(|(second, _)| *second == stamp) => at,
            before => {
                let at = before.map_or(0, |at| at + 1);
                // There will be about as many as in the second before, and growing is dear.
                let like = before.and_then(|at| self.seconds.get(at)).map_or(0, |(_, table)| table.len);
                self.seconds.insert(at, (stamp, Table::with_room_for(like)));
                at
            }
        };
        let is_new = self.seconds.get_mut(at).is_some_and(|(_, table)| table.insert(key));
        self.len += usize::from(is_new);
        if is_new { Verdict::New } else { Verdict::Known }
    }

    /// What the stamp alone says against a broadcast.
    fn out_of_window(&self, wall: i64, stamp: i64) -> Option<Verdict> {
        let forgotten = |(first, last): &(i64, i64)| (*first..=*last).contains(&stamp);
        if stamp < wall.saturating_sub(self.window) || self.forgotten.iter().any(forgotten) {
            return Some(Verdict::Stale);
        }
        (stamp > wall.saturating_add(self.window)).then_some(Verdict::Future)
    }

    /// Whether readers should wait before more broadcasts are taken in: the bound is reached and the
    /// accepted window is already as narrow as allowed. Forgets what the bound demands.
    pub fn is_full(&mut self, wall: i64) -> bool {
        self.advance(wall);
        while self.len > self.capacity {
            let oldest = self.seconds.first().map_or(i64::MAX, |(second, _)| *second);
            if oldest > wall.saturating_sub(self.least_window) {
                return true;
            }
            self.forget_oldest();
        }
        false
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn advance(&mut self, wall: i64) {
        if wall == self.last_wall {
            return;
        }
        self.last_wall = wall;
        let stale = wall.saturating_sub(self.window);
        while self.seconds.first().is_some_and(|(second, _)| *second < stale) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let (second, table) = self.seconds.remove(0);
        self.len -= table.len;
        // Everything older that could still have been accepted is refused with it.
        self.refuse(second.saturating_sub(self.window * 2), second);
    }

    /// Adds a span to the forgotten ones.
    fn refuse(&mut self, first: i64, last: i64) {
        let at = self.forgotten.partition_point(|(_, before)| *before < first.saturating_sub(1));
        let (mut first, mut last) = (first, last);
        while let Some((other_first, other_last)) = self.forgotten.get(at).copied() {
            if other_first > last.saturating_add(1) {
                break;
            }
            (first, last) = (first.min(other_first), last.max(other_last));
            self.forgotten.remove(at);
        }
        self.forgotten.insert(at, (first, last));
        if self.forgotten.len() > MAX_SPANS {
            self.close_narrowest_gap();
        }
    }

    /// Too many spans: refuses what lies between the two that are nearest to each other.
    fn close_narrowest_gap(&mut self) {
        let gaps = self.forgotten.windows(2).map(|pair| match pair {
            [(_, before), (after, _)] => after.saturating_sub(*before),
            _ => i64::MAX,
        });
        if let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) {
            let (_, last) = self.forgotten.remove(at + 1);
            if let Some(span) = self.forgotten.get_mut(at) {
                span.1 = last;
            }
        }
    }
}

/// What makes the places of ids in tables unforeseeable.
#[derive(Debug)]
pub(super) struct Secret([u64; 2]);

impl Secret {
    pub(super) fn new([factor, mask]: [u64; 2]) -> Self {
        Self([factor | 1, mask])
    }

    /// 64 bits of the digest under a secret, so that nobody can look for two ids that share them.
    pub(super) fn key(&self, digest: &[u8; DIGEST_LEN]) -> u64 {
        let lane = |at: usize| {
            digest.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |lane| u64::from_le_bytes(*lane))
        };
        let mixed = lane(0) ^ self.0[1] ^ (lane(8).wrapping_mul(self.0[0])).rotate_left(29);
        // 0 marks an empty place.
        mixed.max(1)
    }
}

/// Own broadcasts of which it is certain that the next is told apart from them: as many as can be
/// remembered without waiting for memory. Only as many others within one second, between two that are
/// the same, could hide the repetition.
const OWN_REMEMBERED: usize = 8192;

/// The ids of a node's own latest broadcasts. Two broadcasts of the same payload and stamp have the
/// same id, and everyone would take the second for a copy of the first.
#[derive(Debug, Default)]
pub(super) struct OwnIds {
    latest: Table,
    before: Table,
}

impl OwnIds {
    pub(super) fn contains(&self, digest: &[u8; DIGEST_LEN]) -> bool {
        let key = plain_key(digest);
        self.latest.contains(key) || self.before.contains(key)
    }

    pub(super) fn insert(&mut self, digest: &[u8; DIGEST_LEN]) {
        if self.latest.len >= OWN_REMEMBERED {
            std::mem::swap(&mut self.latest, &mut self.before);
            self.latest.clear();
        }
        self.latest.insert(plain_key(digest));
    }
}

/// 64 bits of an own id. Nobody else chooses these, so they need no secret.
fn plain_key(digest: &[u8; DIGEST_LEN]) -> u64 {
    digest.first_chunk().map_or(1, |lane| u64::from_le_bytes(*lane)).max(1)
}

/// Open-addressed set of non-zero keys that are uniformly distributed by themselves.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<u64>,
    len: usize,
}

/// First number of places; doubled when three quarters are taken.
const FIRST_PLACES: usize = 16;

impl Table {
    /// One that takes in `len` keys before it grows. Places take no memory before they are used, but
    /// for the pages they share.
    fn with_room_for(len: usize) -> Self {
        let places = match len {
            0..FIRST_PLACES => Vec::new(),
            _ => vec![0; (len + len / 2).next_power_of_two()],
        };
        Self { places, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(0);
        self.len = 0;
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        !self.places.is_empty() && self.places.get(self.place_of(key)).is_some_and(|found| *found == key)
    }

    /// What stands where `key` would stand if nothing else were in its way.
    pub(super) fn first_at(&self, key: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation)]
        let at = key as usize & self.places.len().wrapping_sub(1);
        self.places.get(at).copied().unwrap_or(0)
    }

    /// The place of `key`, or the empty one where it belongs. There is always an empty one.
    fn place_of(&self, key: u64) -> usize {
        let mask = self.places.len() - 1;
        // The length is a power of two, so truncation of the key is what is wanted.
        #[allow(clippy::cast_possible_truncation)]
        let mut at = key as usize & mask;
        while let Some(found) = self.places.get(at) {
            if *found == 0 || *found == key {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    /// Adds a key; `false` if it is there already.
    pub(super) fn insert(&mut self, key: u64) -> bool {
        if self.len * 4 >= self.places.len() * 3 {
            let size = (self.places.len() * 2).max(FIRST_PLACES);
            let old = std::mem::replace(&mut self.places, vec![0; size]);
            for key in old.into_iter().filter(|key| *key != 0) {
                let at = self.place_of(key);
                if let Some(place) = self.places.get_mut(at) {
                    *place = key;
                }
            }
        }
        let at = self.place_of(key);
        match self.places.get_mut(at) {
            Some(place) if *place == 0 => {
                *place = key;
                self.len += 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::body::digest;
    use proptest::prelude::*;

    fn seen(capacity: usize) -> Seen {
        Seen::new(60, 3, capacity, [7, 9])
    }

    /// M-3, M-6, M-7, L-40
    #[test]
    fn known_stale_and_future_are_told_apart() {
        let mut seen = seen(1 << 20);
        let id = digest(b"a");
        assert_eq!(seen.insert(1000, 1000, &id), Verdict::New);
        assert_eq!(seen.insert(1000, 1000, &id), Verdict::Known);
        assert_eq!(seen.insert(1000, 1001, &id), Verdict::New, "another stamp is another message");
        assert_eq!(seen.check(1000, 939, &digest(b"b")), Verdict::Stale);
        assert_eq!(seen.check(1000, 940, &digest(b"b")), Verdict::New);
        assert_eq!(seen.check(1000, 1060, &digest(b"b")), Verdict::New);
        assert_eq!(seen.check(1000, 1061, &digest(b"b")), Verdict::Future);
    }

    proptest! {
        /// M-5: whatever the order, the bound and the clock, nothing is new twice.
        #[test]
        fn nothing_is_new_twice(
            steps in prop::collection::vec(
                (prop_oneof![9 => 0i64..20, 1 => -500i64..500], -70i64..70, 0u8..40),
                1..600,
            ),
            capacity in 4usize..64,
        ) {
            let mut seen = seen(capacity);
            let mut new = std::collections::HashSet::new();
            let mut wall = 1_000_000;
            for (pass, offset, name) in steps {
                wall += pass;
                let stamp = (wall + offset) / 8 * 8;
                let full = seen.is_full(wall);
                prop_assert!(full || seen.len() <= capacity);
                if !full && seen.insert(wall, stamp, &digest(&[name])) == Verdict::New {
                    prop_assert!(new.insert((stamp, name)), "{stamp} {name} twice");
                }
            }
        }
    }

    /// M-5, M-8
    #[test]
    fn a_clock_that_was_ahead_lets_nothing_in_again_and_keeps_nothing_new_out() {
        let mut seen = seen(1 << 20);
        assert_eq!(seen.insert(1000, 1020, &digest(b"a")), Verdict::New);
        assert_eq!(seen.insert(9000, 9000, &digest(b"b")), Verdict::New);
        assert_eq!(seen.insert(9100, 9100, &digest(b"c")), Verdict::New);
        assert_eq!(seen.insert(1010, 1020, &digest(b"a")), Verdict::Stale);
        assert_eq!(seen.insert(1010, 1021, &digest(b"d")), Verdict::New);
        assert_eq!(seen.insert(9005, 9000, &digest(b"b")), Verdict::Stale);
    }

    /// M-8
    #[test]
    fn spans_of_forgotten_seconds_stay_few() {
        let mut seen = seen(1 << 20);
        for jump in 0..100 {
            let wall = jump * 10_000 + if jump == 50 { 9_000 } else { 0 };
            seen.insert(wall, wall, &digest(b"a"));
        }
        assert!(seen.forgotten.len() <= MAX_SPANS);
        assert!(seen.forgotten.is_sorted());
        for jump in 0..99 {
            let wall = jump * 10_000 + if jump == 50 { 9_000 } else { 0 };
            assert_eq!(seen.check(wall, wall, &digest(b"a")), Verdict::Stale);
        }
    }

    /// M-8, L-41, L-42
    #[test]
    fn at_the_bound_the_window_narrows_and_then_readers_wait() {
        let mut seen = seen(100);
        for second in 1000..1010 {
            for n in 0..40u32 {
                if !seen.is_full(second) {
                    seen.insert(second, second, &digest(&n.to_be_bytes()));
                }
            }
        }
        assert!(seen.len() <= 200);
        assert!(seen.is_full(1009), "three seconds of 40 are over 100");
        assert_eq!(seen.check(1009, 1003, &digest(b"late")), Verdict::Stale);
        assert!(!seen.is_full(1020));
    }

    /// M-17
    #[test]
    fn the_future_does_not_fill_the_memory() {
        let mut seen = seen(100);
        for n in 0..1000u32 {
            seen.insert(1000, 1040 + i64::from(n % 20), &digest(&n.to_be_bytes()));
        }
        assert!(seen.len() <= 51);
        assert_eq!(seen.check(1000, 1040, &digest(b"new")), Verdict::Future);
        assert_eq!(seen.check(1000, 1040, &digest(&0u32.to_be_bytes())), Verdict::Known);
        for second in 1000..1030 {
            for n in 0..10u32 {
                assert!(!seen.is_full(second));
                assert_eq!(seen.insert(second, second, &digest(&n.to_be_bytes())), Verdict::New);
            }
        }
    }

    /// M-17
    #[test]
    fn what_the_present_brings_keeps_no_future_out() {
        let mut seen = seen(100);
        for n in 0..90u32 {
            seen.insert(1000, 1003, &digest(&n.to_be_bytes()));
        }
        assert_eq!(seen.insert(1000, 1040, &digest(b"new")), Verdict::New);
    }
}
