//! Which broadcasts are known where ids are proven: a memory that needs no right clock
//! (`spec/07-trust.md`, T-40 to T-46).
//!
//! The stamps of one author only ever grow, whatever its clock says. So a broadcast is told from a
//! replayed one by its author's other stamps and by how long ago, by our own steady time, those came:
//! ids are kept in generations of a minute, and of an author whose ids were forgotten with a generation
//! the newest stamp is kept, below which nothing is new. Clocks that are wrong keep nothing out.

use std::collections::HashMap;
use std::time::Duration;

use super::seen::{PROBES, Secret, Table, Verdict};
use crate::identity::NodeId;
use crate::wire::DIGEST_LEN;

/// Generations kept. With two, what comes while the second has just begun would be known for one only.
const GENERATIONS: usize = 3;
/// The stamp under which everything is new.
const NEVER: i64 = i64::MIN;

/// The memory of one node for ids and authors.
#[derive(Debug)]
pub struct Heard {
    /// The newest first.
    generations: [Table; GENERATIONS],
    /// The number of the newest, counted from the first.
    number: u64,
    /// When the newest began.
    since: Duration,
    /// How long a generation lasts: mostly, and at least.
    span: Duration,
    least_span: Duration,
    /// Ids in one generation.
    capacity: usize,
    authors: HashMap<NodeId, Author>,
    max_authors: usize,
    /// Below this stamp nothing is new by an author that is not remembered.
    floor: i64,
    /// The generation in which all remembered authors turned out to be live.
    crowded: Option<u64>,
    /// What is to be kept, where anything is.
    changes: Option<Changes>,
    secret: Secret,
}

/// What has changed since it was kept last.
#[derive(Debug, Default)]
struct Changes {
    /// Who was heard, each once.
    heard: Vec<NodeId>,
    /// Who was forgotten.
    forgotten: Vec<NodeId>,
}

/// What is to be kept of authors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// The newest stamp of one; none if it is forgotten.
    Author { author: NodeId, floor: Option<i64> },
    /// The floor of those that are forgotten.
    Forgotten { floor: i64 },
}

/// What is remembered of an author.
#[derive(Debug, Clone, Copy)]
struct Author {
    /// The newest stamp of each generation, as of generation `number`.
    marks: [i64; GENERATIONS],
    /// The newest stamp of all generations that were forgotten.
    floor: i64,
    /// When it was last heard, as the number of the generation.
    number: u64,
    /// It was heard since it was kept last.
    changed: bool,
}

impl Author {
    /// The newest stamp that was forgotten, now that the newest generation is `number`.
    fn floor_at(&self, number: u64) -> i64 {
        let past = usize::try_from(number - self.number).unwrap_or(GENERATIONS).min(GENERATIONS);
        let forgotten = self.marks.iter().rev().take(past);
        forgotten.fold(self.floor, |floor, mark| floor.max(*mark))
    }

    /// The newest stamp of all.
    fn newest(&self) -> i64 {
        self.marks.iter().fold(self.floor, |newest, mark| newest.max(*mark))
    }

    fn is_live(&self, number: u64) -> bool {
        number - self.number < GENERATIONS as u64
    }

    /// Takes in a stamp that is new.
    fn hear(&mut self, number: u64, stamp: i64) {
        let past = usize::try_from(number - self.number).unwrap_or(GENERATIONS).min(GENERATIONS);
        self.floor = self.floor_at(number);
        self.marks.rotate_right(past);
        self.marks.iter_mut().take(past).for_each(|mark| *mark = NEVER);
        self.number = number;
        let [newest, ..] = &mut self.marks;
        *newest = stamp.max(*newest);
    }
}

impl Heard {
    /// An empty memory whose generations last `span`, or when there is more to remember, no less than
    /// `least_span`; for `capacity` ids and `max_authors` authors. The `secret` makes table places
    /// unforeseeable.
    pub fn new(
        span: Duration,
        least_span: Duration,
        capacity: usize,
        max_authors: usize,
        secret: [u64; 2],
    ) -> Self {
        Self {
            generations: Default::default(),
            // Whoever was restored has been silent for all generations that are kept.
            number: GENERATIONS as u64,
            since: Duration::ZERO,
            span,
            least_span,
            capacity: capacity / GENERATIONS,
            authors: HashMap::new(),
            max_authors,
            floor: NEVER,
            crowded: None,
            changes: None,
            secret: Secret::new(secret),
        }
    }

    /// For each digest, whether it is known. As [`super::Seen::are_known`], with the same reasons.
    pub fn are_known(&self, claims: &[(i64, [u8; DIGEST_LEN])], known: &mut Vec<bool>) {
        known.clear();
        let mut keys = [0_u64; PROBES];
        let mut found = [0_u64; PROBES];
        for claims in claims.chunks(PROBES) {
            for ((_, digest), key) in claims.iter().zip(&mut keys) {
                *key = self.secret.key(digest);
            }
            let start = known.len();
            known.resize(start + claims.len(), false);
            for table in &self.generations {
                for (key, found) in keys.iter().zip(&mut found) {
                    *found = table.first_at(*key);
                }
                let places = known.iter_mut().skip(start).zip(keys.iter().zip(&found));
                for (known, (key, found)) in places {
                    *known |= *found == *key || *found != 0 && table.contains(*key);
                }
            }
        }
    }

    /// Whether a broadcast of this author is new, and if so, remembers it. Call this only for what is
    /// proven to be the author's. `wall` is our own clock in the unit of the stamps; it decides nothing
    /// but how much of the authors that are forgotten at the bound stays refused.
    pub fn insert(
        &mut self,
        mono: Duration,
        wall: i64,
        author: &NodeId,
        stamp: i64,
        digest: &[u8; DIGEST_LEN],
    ) -> Verdict {
        self.advance(mono);
        let key = self.secret.key(digest);
        if self.generations.iter().any(|table| table.contains(key)) {
            return Verdict::Known;
        }
        let number = self.number;
        if let Some(remembered) = self.authors.get_mut(author) {
            if stamp <= remembered.floor_at(number) {
                return Verdict::Stale;
            }
            remembered.hear(number, stamp);
            if !remembered.changed
                && let Some(changes) = &mut self.changes
            {
                remembered.changed = true;
                changes.heard.push(author.clone());
            }
        } else {
            if stamp <= self.floor {
                return Verdict::Stale;
            }
            if !self.has_room(wall) {
                return Verdict::Crowded;
            }
            let changed = self.changes.is_some();
            let mut new = Author { marks: [NEVER; GENERATIONS], floor: self.floor, number, changed };
            new.hear(number, stamp);
            self.authors.insert(author.clone(), new);
            if let Some(changes) = &mut self.changes {
                changes.heard.push(author.clone());
            }
        }
        let [newest, ..] = &mut self.generations;
        newest.insert(key);
        Verdict::New
    }

    /// Whether readers should wait before more broadcasts are taken in: the newest generation is full
    /// and too young to be succeeded.
    pub fn is_full(&mut self, mono: Duration) -> bool {
        self.advance(mono);
        let full = self.newest().len() > self.capacity;
        if full && mono.saturating_sub(self.since) >= self.least_span {
            self.succeed(mono);
            return false;
        }
        full
    }

    /// Notes from now on what is to be kept.
    pub(super) fn note_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Whether there is anything to be kept.
    pub(super) fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.heard.is_empty())
    }

    /// What is to be kept since this was asked last.
    pub(super) fn take_changes(&mut self) -> Vec<Mark> {
        let Some(changes) = &mut self.changes else { return Vec::new() };
        let Changes { heard, mut forgotten } = std::mem::take(changes);
        let mut marks = Vec::with_capacity(heard.len() + forgotten.len() + 1);
        if !forgotten.is_empty() {
            marks.push(Mark::Forgotten { floor: self.floor });
        }
        // The map gave them in no order.
        forgotten.sort();
        marks.extend(forgotten.into_iter().map(|author| Mark::Author { author, floor: None }));
        for author in heard {
            if let Some(remembered) = self.authors.get_mut(&author) {
                remembered.changed = false;
                marks.push(Mark::Author { author, floor: Some(remembered.newest()) });
            }
        }
        marks
    }

    /// What an earlier run has heard of an author: of that nothing is new.
    pub(super) fn restore(&mut self, wall: i64, author: NodeId, floor: i64) {
        if self.authors.len() < self.max_authors {
            let marks = [NEVER; GENERATIONS];
            self.authors.insert(author, Author { marks, floor, number: 0, changed: false });
        } else {
            // There was room for more of them in that run.
            self.floor = floor.min(wall).max(self.floor);
        }
    }

    /// Up to where an earlier run has forgotten authors.
    pub(super) fn restore_floor(&mut self, floor: i64) {
        self.floor = floor.max(self.floor);
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.generations.iter().map(Table::len).sum()
    }

    /// Whether no ids are remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn newest(&self) -> &Table {
        let [newest, ..] = &self.generations;
        newest
    }

    fn advance(&mut self, mono: Duration) {
        for _ in 0..GENERATIONS {
            if mono.saturating_sub(self.since) < self.span {
                return;
            }
            self.succeed(self.since + self.span);
        }
        // It was quiet for longer than anything is remembered.
        if mono.saturating_sub(self.since) >= self.span {
            self.since = mono;
        }
    }

    /// A new generation begins, and the oldest is forgotten.
    fn succeed(&mut self, since: Duration) {
        self.generations.rotate_right(1);
        let [newest, ..] = &mut self.generations;
        // Not cleared: a busy minute must not keep its memory for good.
        *newest = Table::default();
        self.number += 1;
        self.since = since;
    }

    /// Whether another author can be remembered. At the bound those that have been silent for longest
    /// are forgotten, a part of them at once, so that looking for them costs little; never one with
    /// ids in a generation.
    fn has_room(&mut self, wall: i64) -> bool {
        if self.authors.len() < self.max_authors {
            return true;
        }
        let number = self.number;
        if self.crowded == Some(number) {
            return false;
        }
        // Those whose stamps are ahead of our clock last: what they said could be let in again.
        let order = |author: &Author| (author.floor_at(number) > wall, author.number);
        let silent = self.authors.values().filter(|author| !author.is_live(number));
        let mut silent: Vec<(bool, u64)> = silent.map(order).collect();
        let part = (self.max_authors / FORGOTTEN_PART).min(silent.len().saturating_sub(1));
        if silent.is_empty() {
            self.crowded = Some(number);
            return false;
        }
        let (_, last, _) = silent.select_nth_unstable(part);
        let (last, floor, changes) = (*last, &mut self.floor, &mut self.changes);
        self.authors.retain(|id, author| {
            let stays = author.is_live(number) || order(author) > last;
            if !stays {
                *floor = author.floor_at(number).min(wall).max(*floor);
                if let Some(changes) = changes {
                    changes.forgotten.push(id.clone());
                }
            }
            stays
        });
        true
    }
}

/// This part of the authors is forgotten at once at the bound.
const FORGOTTEN_PART: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::wire::body::digest;

    const SECOND: i64 = 1_000_000;
    /// What every right clock says in the beginning.
    const EPOCH: i64 = 1_700_000_000 * SECOND;

    fn heard(capacity: usize, max_authors: usize) -> Heard {
        Heard::new(Duration::from_secs(60), Duration::from_secs(3), capacity, max_authors, [7, 9])
    }

    fn author(n: u8) -> NodeId {
        NodeId::from_digest(&[n.max(1); 48])
    }

    fn id(author: u8, stamp: i64) -> [u8; DIGEST_LEN] {
        digest(&[&[author][..], &stamp.to_be_bytes()].concat())
    }

    /// A memory with the clocks of its node, to which authors speak.
    struct Scene {
        heard: Heard,
        mono: Duration,
        wall: i64,
    }

    impl Scene {
        fn new(heard: Heard) -> Self {
            Self { heard, mono: Duration::ZERO, wall: EPOCH }
        }

        fn pass(&mut self, seconds: u64) {
            self.mono += Duration::from_secs(seconds);
            self.wall += SECOND * i64::try_from(seconds).unwrap();
        }

        fn hear(&mut self, n: u8, stamp: i64) -> Verdict {
            let id = id(n, stamp);
            let mut known = Vec::new();
            self.heard.are_known(&[(0, [0; 32]), (stamp, id)], &mut known);
            let verdict = self.heard.insert(self.mono, self.wall, &author(n), stamp, &id);
            // What is asked first never says that something is known which is new.
            assert!(known == [false, true] || known == [false, false] && verdict != Verdict::Known);
            verdict
        }
    }

    /// T-42, T-43
    #[test]
    fn known_and_older_than_what_was_forgotten() {
        let mut scene = Scene::new(heard(1 << 20, 100));
        assert_eq!(scene.hear(1, 1000), Verdict::New);
        assert_eq!(scene.hear(1, 1000), Verdict::Known);
        assert_eq!(scene.hear(1, 900), Verdict::New, "late");
        assert_eq!(scene.hear(2, 1000), Verdict::New, "another's");
        scene.pass(121);
        assert_eq!(scene.hear(1, 950), Verdict::New, "later by far");
        assert_eq!(scene.hear(1, 1000), Verdict::Known);
        scene.pass(60);
        assert_eq!(scene.hear(1, 1000), Verdict::Stale);
        assert_eq!(scene.hear(1, 999), Verdict::Stale);
        assert_eq!(scene.hear(1, 1001), Verdict::New);
        scene.pass(100_000);
        assert_eq!(scene.hear(1, 1001), Verdict::Stale);
        assert_eq!(scene.hear(1, 1002), Verdict::New);
        assert_eq!(scene.heard.len(), 1, "nothing is kept for longer than three generations");
    }

    /// T-43: whoever's clock is wrong by whatever, before or in between, is heard.
    #[test]
    fn no_clock_keeps_anything_out() {
        let (hour, year) = (3600 * SECOND, 365 * 24 * 3600 * SECOND);
        for (author_off, wall_off) in [
            (0, 0),
            (-hour, 0),
            (hour, 0),
            (-year, 0),
            (year, 0),
            (0, hour),
            (0, -hour),
            (-year, year),
            (0, -EPOCH),
        ] {
            let mut scene = Scene::new(heard(1 << 20, 100));
            scene.wall += wall_off;
            // From time to time it jumps ahead.
            for (n, jump) in (0..2000).map(|n| (n, n / 500 * hour)) {
                let stamp = EPOCH + n * SECOND + author_off + jump;
                assert_eq!(scene.hear(1, stamp), Verdict::New, "{author_off} {wall_off} {n}");
                scene.pass(u64::from(n % 7 == 0) * 5);
            }
        }
    }

    /// T-44: at the bound a generation is as short as is allowed, and then readers wait.
    #[test]
    fn at_the_bound_of_ids_readers_wait() {
        let mut scene = Scene::new(heard(300, 100));
        let mut waited = 0;
        for second in 0..60 {
            for n in 0..40 {
                if scene.heard.is_full(scene.mono) {
                    waited += 1;
                } else {
                    assert_eq!(scene.hear(1, EPOCH + second * SECOND + n), Verdict::New);
                }
                assert!(scene.heard.len() <= 303);
            }
            scene.pass(1);
        }
        assert!(waited > 0);
        assert!(!scene.heard.is_full(scene.mono + Duration::from_secs(3)));
        assert_eq!(scene.hear(1, EPOCH + 40 * SECOND), Verdict::Stale);
    }

    /// T-45, L-46: at the bound those who have been silent make room, and are heard when they speak again.
    #[test]
    fn at_the_bound_of_authors_the_silent_are_forgotten() {
        let mut scene = Scene::new(heard(1 << 20, 32));
        for n in 1..=32 {
            assert_eq!(scene.hear(n, scene.wall), Verdict::New);
            scene.pass(1);
        }
        for n in 33..64 {
            assert_eq!(scene.hear(n, scene.wall), Verdict::Crowded, "all have just spoken");
        }
        scene.pass(181);
        // The second half goes on speaking.
        for n in 17..=32 {
            assert_eq!(scene.hear(n, scene.wall), Verdict::New);
        }
        let first = EPOCH;
        for n in 33..=48 {
            assert_eq!(scene.hear(n, scene.wall), Verdict::New);
            assert!(scene.heard.authors.len() <= 32);
        }
        assert_eq!(scene.hear(49, scene.wall), Verdict::Crowded);
        assert_eq!(scene.hear(1, first), Verdict::Stale, "a replay by one who was forgotten");
        assert!((17..=48).all(|n| scene.heard.authors.contains_key(&author(n))));
        scene.pass(181);
        assert_eq!(scene.hear(1, scene.wall), Verdict::New);
    }

    /// T-45: an author far ahead of our clock does not keep out those who are not.
    #[test]
    fn nobody_s_stamps_keep_others_out() {
        let mut scene = Scene::new(heard(1 << 20, 4));
        assert_eq!(scene.hear(1, i64::MAX), Verdict::New);
        for n in 2..40 {
            scene.pass(181);
            assert_eq!(scene.hear(n, scene.wall), Verdict::New, "{n}");
        }
        assert_eq!(scene.hear(1, i64::MAX), Verdict::Stale, "those ahead are the last to be forgotten");
    }

    /// T-46
    #[test]
    fn an_author_never_heard_has_no_floor() {
        let mut scene = Scene::new(heard(1 << 20, 100));
        for old in 0..100 {
            assert_eq!(scene.hear(1, old), Verdict::New);
            scene.pass(1);
        }
        assert_eq!(scene.hear(1, scene.wall), Verdict::New, "what it says now");
        scene.pass(181);
        assert_eq!(scene.hear(1, 1000), Verdict::Stale);
        // Its clock was set back while it was away.
        assert_eq!(scene.hear(1, EPOCH - SECOND), Verdict::Stale);
        assert_eq!(scene.hear(1, EPOCH + 101 * SECOND), Verdict::New);
    }

    /// K-22: the marks that are kept make a memory that forgets as much as the first did.
    #[test]
    fn marks_follow_what_is_remembered() {
        let mut scene = Scene::new(heard(1 << 20, 16));
        scene.heard.note_changes();
        let mut kept = BTreeMap::new();
        let mut floor = None;
        let mut keep = |heard: &mut Heard| {
            for mark in heard.take_changes() {
                match mark {
                    Mark::Author { author, floor: Some(floor) } => {
                        kept.insert(author, floor);
                    }
                    Mark::Author { author, floor: None } => {
                        kept.remove(&author);
                    }
                    Mark::Forgotten { floor: new } => floor = Some(new),
                }
            }
            (kept.clone(), floor)
        };
        for n in 1..=40 {
            for again in 0..3 {
                scene.hear(n, scene.wall + again);
            }
            scene.pass(90);
            let (kept, _) = keep(&mut scene.heard);
            assert!(kept.keys().eq(scene.heard.authors.keys().collect::<BTreeSet<_>>()), "{n}");
        }
        assert!(!scene.heard.has_changes() && scene.heard.take_changes().is_empty());
        let (kept, floor) = keep(&mut scene.heard);
        for max_authors in [16, 4] {
            let mut again = Scene { heard: heard(1 << 20, max_authors), mono: Duration::ZERO, ..scene };
            again.heard.restore_floor(floor.unwrap());
            for (author, floor) in &kept {
                again.heard.restore(again.wall, author.clone(), *floor);
            }
            assert!(again.heard.authors.len() <= max_authors);
            for n in 1..=40 {
                let stamp = EPOCH + (i64::from(n) - 1) * 90 * SECOND;
                assert_eq!(again.hear(n, stamp), Verdict::Stale, "{n}");
            }
            // And whoever speaks now is heard.
            assert!(
                (1..=40).filter(|n| again.hear(*n, again.wall + 1) == Verdict::New).count() >= max_authors
            );
        }
    }

    /// What a network does to one node: time passes, and broadcasts come in any order.
    fn steps() -> impl Strategy<Value = Vec<(u64, u8, i64)>> {
        let pass = prop_oneof![6 => Just(0_u64), 3 => 0_u64..5, 1 => 0_u64..200];
        prop::collection::vec((pass, 1_u8..12, -300_i64..300), 1..500)
    }

    proptest! {
        /// T-41, T-42, T-44: whatever the order, the bound of ids, and all the clocks.
        #[test]
        fn nothing_is_new_twice(steps in steps(), capacity in 4_usize..200, walls: [i32; 4]) {
            let mut scene = Scene::new(heard(capacity, 100));
            let mut new = HashSet::new();
            for (at, (pass, n, offset)) in steps.into_iter().enumerate() {
                scene.pass(pass);
                scene.wall = i64::from(walls[at / 10 % walls.len()]) * SECOND;
                // Each author's clock is off by something else.
                let stamp = i64::try_from(scene.mono.as_secs()).unwrap() + offset / 8 + i64::from(n) * 1_000_000;
                let full = scene.heard.is_full(scene.mono);
                if !full && scene.hear(n, stamp) == Verdict::New {
                    prop_assert!(new.insert((n, stamp)), "{n} {stamp} twice");
                }
            }
        }

        /// T-45: nor at the bound of authors, if clocks are right to three generations.
        #[test]
        fn nothing_is_new_twice_by_forgotten_authors(steps in steps(), max_authors in 1_usize..8) {
            let mut scene = Scene::new(heard(1 << 20, max_authors));
            let mut new = HashSet::new();
            for (pass, n, offset) in steps {
                scene.pass(pass);
                let stamp = scene.wall + offset / 4 * SECOND;
                if scene.hear(n, stamp) == Verdict::New {
                    prop_assert!(new.insert((n, stamp)), "{n} {stamp} twice");
                }
                prop_assert!(scene.heard.authors.len() <= max_authors);
            }
        }

        /// T-43: what comes within two generations of being sent, each for the first time, is new; whatever
        /// an author's clock says, as long as it does not run back.
        #[test]
        fn nothing_is_lost(
            clocks in prop::collection::vec(any::<i32>(), 12),
            steps in prop::collection::vec((0_u64..20, 1_u8..12, 0_u64..60, 0_i64..100_000), 1..200),
        ) {
            let mut scene = Scene::new(heard(1 << 20, 100));
            let mut clocks: Vec<i64> = clocks.into_iter().map(|off| i64::from(off) * SECOND).collect();
            let mut under_way: Vec<(Duration, u8, i64)> = Vec::new();
            for (pass, n, delay, jump) in steps {
                scene.pass(pass);
                let clock = &mut clocks[usize::from(n)];
                *clock += 1 + jump * SECOND;
                under_way.push((scene.mono + Duration::from_secs(delay), n, *clock));
                let now = scene.mono;
                // The latest first.
                for (_, n, stamp) in under_way.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>().into_iter().rev() {
                    prop_assert_eq!(scene.hear(n, stamp), Verdict::New);
                }
            }
        }
    }
}
