//! Where two tables differ, found by exchanging digests of ever smaller ranges (`spec/10-sync.md`, S-60 to
//! S-65).
//!
//! A table is a set of items here: the places of its keys and the marks of their versions. A range of places
//! in which both have the same number of items and the same sum is equal. One that is not is told in parts,
//! and where there are few items, item by item. Nothing is remembered from one message to the next, so
//! that it works whatever changes meanwhile.

use std::ops::RangeInclusive;

use crate::wire::Value;

/// Items up to this number are told one by one.
const FEW: usize = 32;
/// Parts that a range is told in.
pub(super) const PARTS: usize = 16;
/// Bytes of a packed item.
const ITEM: usize = 16;

/// A key's place and its version's mark.
pub(super) type Item = (u64, u64);

/// What a table can be asked.
pub(super) trait Items {
    /// The items whose places lie in a range, in the order of their places.
    fn items(&self, places: RangeInclusive<u64>) -> impl Iterator<Item = Item>;
}

/// What one side says of a range of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    /// The last place in it.
    pub(super) end: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Sum { count: u64, sum: u64 },
    List(Vec<Item>),
}

/// What follows from what the other side said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What is to be said in answer.
    pub(super) ranges: Vec<Range>,
    /// Places of items that only the other side has.
    pub(super) wanted: Vec<u64>,
    /// Ranges of places, ascending, of items that the other side lacks.
    pub(super) offered: Vec<(u64, u64)>,
    /// Items looked at.
    pub(super) looked_at: usize,
}

/// The finisher of splitmix64: every bit of the input turns about half of those of the output.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// What an item adds to sums of a session. Its number is random, so that nobody can make items beforehand
/// whose sums are those of others.
fn weight(session: u64, (place, mark): Item) -> u64 {
    mix(mix(place ^ session).wrapping_add(mark))
}

/// Adds up what it is shown.
struct Sum {
    session: u64,
    count: u64,
    sum: u64,
}

impl Sum {
    fn new(session: u64) -> Self {
        Self { session, count: 0, sum: 0 }
    }

    fn add(&mut self, item: Item) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(weight(self.session, item));
    }

    fn content(&self) -> Content {
        Content::Sum { count: self.count, sum: self.sum }
    }
}

impl Findings {
    /// What the one who begins a session says first.
    pub(super) fn open(&mut self, session: u64, items: &impl Items) {
        let count = items.items(0..=u64::MAX).count();
        self.looked_at += count;
        self.tell(session, items, 0, u64::MAX, count);
    }

    /// Compares what the other side says of a range with what is there.
    pub(super) fn compare(&mut self, session: u64, items: &impl Items, range: &Range) {
        let Range { start, end, content } = range;
        match content {
            Content::Sum { count, sum } => self.compare_sums(session, items, (*start, *end), *count, *sum),
            Content::List(theirs) => self.compare_lists(items, (*start, *end), theirs),
        }
    }

    fn compare_sums(
        &mut self,
        session: u64,
        items: &impl Items,
        (start, end): (u64, u64),
        count: u64,
        sum: u64,
    ) {
        let mut ours = Sum::new(session);
        items.items(start..=end).for_each(|item| ours.add(item));
        let here = usize::try_from(ours.count).unwrap_or(usize::MAX);
        self.looked_at += here;
        if (ours.count, ours.sum) == (count, sum) {
            return;
        }
        if count == 0 {
            self.offered.push((start, end));
        } else if here > FEW && count <= FEW as u64 {
            // The other side answers with its few.
            self.ranges.push(Range { start, end, content: ours.content() });
        } else {
            self.tell(session, items, start, end, here);
        }
    }

    fn compare_lists(&mut self, items: &impl Items, (start, end): (u64, u64), theirs: &[Item]) {
        let mut known = vec![false; theirs.len()];
        let mut run: Option<(u64, u64)> = None;
        for item in items.items(start..=end) {
            self.looked_at += 1;
            match theirs.binary_search(&item) {
                Ok(at) => {
                    if let Some(known) = known.get_mut(at) {
                        *known = true;
                    }
                    self.offered.extend(run.take());
                }
                Err(_) => run = Some((run.map_or(item.0, |(start, _)| start), item.0)),
            }
        }
        self.offered.extend(run);
        let unknown = theirs.iter().zip(&known).filter(|(_, known)| !**known);
        self.wanted.extend(unknown.map(|((place, _), _)| *place));
    }

    /// Says what is in a range of `count` items: all, if they are few, or sums of parts with equally many.
    fn tell(&mut self, session: u64, items: &impl Items, start: u64, end: u64, count: usize) {
        if count <= FEW || start == end {
            let mut list: Vec<Item> = items.items(start..=end).collect();
            list.sort_unstable();
            self.looked_at += list.len();
            return self.ranges.push(Range { start, end, content: Content::List(list) });
        }
        let most = count.div_ceil(PARTS) as u64;
        let (mut start, mut part, mut last) = (start, Sum::new(session), start);
        for item in items.items(start..=end) {
            self.looked_at += 1;
            // Items at one place stay together.
            if part.count >= most && item.0 > last {
                self.ranges.push(Range { start, end: item.0 - 1, content: part.content() });
                (start, part) = (item.0, Sum::new(session));
            }
            part.add(item);
            last = item.0;
        }
        self.ranges.push(Range { start, end, content: part.content() });
    }
}

/// Ranges as they travel: `[start, end, count, sum]` or `[start, end, items]`, where a start of nil is the
/// place behind the range before.
pub(super) fn to_value(ranges: &[Range]) -> Value {
    let mut next = Some(0);
    let ranges = ranges.iter().map(|Range { start, end, content }| {
        let start = if next == Some(*start) { Value::Nil } else { Value::from(*start) };
        next = end.checked_add(1);
        let mut parts = vec![start, Value::from(*end)];
        match content {
            Content::Sum { count, sum } => parts.extend([Value::from(*count), Value::from(*sum)]),
            Content::List(items) => {
                let mut packed = Vec::with_capacity(items.len() * ITEM);
                for (place, mark) in items {
                    packed.extend_from_slice(&place.to_be_bytes());
                    packed.extend_from_slice(&mark.to_be_bytes());
                }
                parts.push(Value::Bin(packed));
            }
        }
        Value::Array(parts)
    });
    Value::Array(ranges.collect())
}

/// Reads ranges, `most` at most; `None` unless they ascend without overlap and their items with them.
pub(super) fn from_value(value: &Value, most: usize) -> Option<Vec<Range>> {
    let values = value.as_array().filter(|values| values.len() <= most)?;
    let mut next = Some(0_u64);
    let mut ranges = Vec::with_capacity(values.len());
    for value in values {
        let parts = value.as_array()?;
        let (first, end) = (parts.first()?, parts.get(1)?.as_u64()?);
        let start = if first.is_nil() { next? } else { first.as_u64()? };
        if start < next? || start > end {
            return None;
        }
        next = end.checked_add(1);
        let content = match parts.get(2..)? {
            [count, sum] => Content::Sum { count: count.as_u64()?, sum: sum.as_u64()? },
            [Value::Bin(packed)] => Content::List(read_items(packed, start, end)?),
            _ => return None,
        };
        ranges.push(Range { start, end, content });
    }
    Some(ranges)
}

fn read_items(packed: &[u8], start: u64, end: u64) -> Option<Vec<Item>> {
    let (words, rest) = packed.as_chunks::<8>();
    let mut items = Vec::with_capacity(words.len() / 2);
    for pair in words.chunks(2) {
        let [place, mark] = pair else { return None };
        items.push((u64::from_be_bytes(*place), u64::from_be_bytes(*mark)));
    }
    let within = items.iter().all(|(place, _)| (start..=end).contains(place));
    (rest.is_empty() && within && items.is_sorted_by(|a, b| a < b)).then_some(items)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::value::Pack;

    #[derive(Debug, Clone, Default)]
    struct Set(BTreeSet<Item>);

    impl Items for Set {
        fn items(&self, places: RangeInclusive<u64>) -> impl Iterator<Item = Item> {
            self.0.range((*places.start(), 0)..=(*places.end(), u64::MAX)).copied()
        }
    }

    impl Set {
        fn offered(&self, spans: &[(u64, u64)]) -> Vec<Item> {
            spans.iter().flat_map(|(start, end)| self.items(*start..=*end)).collect()
        }

        fn wanted(&self, places: &[u64]) -> Vec<Item> {
            places.iter().flat_map(|place| self.items(*place..=*place)).collect()
        }
    }

    /// Lets two sets tell each other everything; returns the bytes and the messages it took, items aside.
    fn reconcile(sets: &mut [Set; 2], session: u64) -> (usize, usize) {
        let mut found = Findings::default();
        found.open(session, &sets[0]);
        let (mut speaker, mut bytes, mut messages) = (0, 0, 0);
        while !found.ranges.is_empty() || !found.wanted.is_empty() {
            let mut packed = Vec::new();
            to_value(&found.ranges).pack(&mut packed).unwrap();
            bytes += packed.len() + 8 * found.wanted.len();
            messages += 1;
            assert!(messages < 40, "it does not come to an end");
            let ranges = from_value(&to_value(&found.ranges), usize::MAX).unwrap();
            assert_eq!(ranges, found.ranges);
            let (listener, wanted) = (1 - speaker, std::mem::take(&mut found.wanted));
            let mut answer = Findings::default();
            ranges.iter().for_each(|range| answer.compare(session, &sets[listener], range));
            let given: Vec<Item> = sets[listener]
                .offered(&answer.offered)
                .into_iter()
                .chain(sets[listener].wanted(&wanted))
                .collect();
            sets[speaker].0.extend(given);
            (found, speaker) = (answer, listener);
        }
        (bytes, messages)
    }

    fn random(len: u64, seed: u64) -> Set {
        Set((0..len).map(|n| (mix(n ^ seed << 32), mix(n.wrapping_mul(7) ^ seed))).collect())
    }

    proptest! {
        /// S-60, S-65: whatever two sets are, both end as what either had.
        #[test]
        fn any_two_sets_become_the_same(
            shared in 0..600_u64,
            only in [0..200_u64, 0..200_u64],
            // Some places have several items, and some items the same place on both sides.
            crowd in [prop::collection::btree_set((0..4_u64, 0..40_u64), 0..60), prop::collection::btree_set((0..4_u64, 0..40_u64), 0..60)],
            session: u64,
        ) {
            let mut sets = [random(shared, 1), random(shared, 1)];
            for (n, set) in sets.iter_mut().enumerate() {
                set.0.extend(random(only[n], 2 + n as u64).0);
                set.0.extend(&crowd[n]);
            }
            let all: BTreeSet<Item> = sets.iter().flat_map(|set| &set.0).copied().collect();
            reconcile(&mut sets, session);
            prop_assert_eq!(&sets[0].0, &all);
            prop_assert_eq!(&sets[1].0, &all);
        }

        /// S-61: no ranges but those that ascend are read, and nothing else.
        #[test]
        fn ranges_ascend(bounds in prop::collection::vec((0..20_u64, 0..20_u64), 0..5)) {
            let sum = Content::Sum { count: 1, sum: 2 };
            let ranges: Vec<Range> =
                bounds.iter().map(|(start, end)| Range { start: *start, end: *end, content: sum.clone() }).collect();
            let flat: Vec<u64> = bounds.iter().flat_map(|(start, end)| [*start * 2, *end * 2 + 1]).collect();
            let values = Value::Array(
                ranges
                    .iter()
                    .map(|range| Value::Array([range.start, range.end, 1, 2].map(Value::from).to_vec()))
                    .collect(),
            );
            prop_assert_eq!(from_value(&values, 5).is_some(), flat.is_sorted());
        }
    }

    /// S-65
    #[test]
    fn a_few_differences_among_many_cost_a_few_kibibytes() {
        for seed in 0..5 {
            let common = random(100_000, seed);
            let mut sets = [common.clone(), common];
            for n in 0..5 {
                sets[0].0.insert((mix(n ^ seed), 1));
                sets[1].0.insert((mix(n ^ seed ^ 1 << 60), 2));
            }
            let (bytes, messages) = reconcile(&mut sets, 99 ^ seed);
            assert_eq!(sets[0].0, sets[1].0);
            assert_eq!(sets[0].0.len(), 100_010);
            assert!(bytes < 16 << 10, "{bytes} bytes in {messages} messages");
        }
        let mut sets = [random(100_000, 1), random(100_000, 1)];
        assert!(reconcile(&mut sets, 1).0 < 512, "equal ones");
        let mut sets = [random(100_000, 1), Set::default()];
        assert!(reconcile(&mut sets, 1).0 < 1024, "one of which is empty");
    }

    /// S-61
    #[test]
    fn lists_ascend_within_their_range() {
        let list = |items: &[Item]| {
            let content = Content::List(items.to_vec());
            from_value(&to_value(&[Range { start: 5, end: 9, content }]), 1).is_some()
        };
        assert!(list(&[]) && list(&[(5, 0)]) && list(&[(5, 1), (5, 2), (9, 0)]));
        assert!(
            !list(&[(4, 0)]) && !list(&[(10, 0)]) && !list(&[(6, 0), (5, 0)]) && !list(&[(5, 1), (5, 1)])
        );
        let half = Value::Array(vec![Value::Array(vec![Value::Nil, 9.into(), vec![0_u8; 8].into()])]);
        assert!(from_value(&half, 1).is_none());
        assert!(from_value(&Value::Array(vec![Value::Nil]), 1).is_none());
        assert!(
            from_value(&to_value(&vec![Range { start: 0, end: 0, content: Content::List(vec![]) }; 1]), 0)
                .is_none()
        );
    }
}
