//! Which of two versions of a key stays: the one function that decides it on every node
//! (`spec/10-sync.md`, S-43 to S-46).

use std::cmp::Ordering;

use crate::identity::NodeId;

/// What one write says of its key, its value aside. No two writes have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// How often the key has changed hands, by an expired lease or a delete. 0 without leases.
    pub term: u64,
    /// The stamp of the write with which its owner took the key, in microseconds. 0 without leases.
    pub claimed: i64,
    /// Who wrote it.
    pub owner: NodeId,
    /// Microseconds since 1970 by its owner's clock, and more than those of every version that its owner
    /// knew of.
    pub stamp: i64,
    /// The first bytes of the id of the message that carried it.
    pub mark: u64,
}

impl Version {
    /// [`Ordering::Greater`] if every node that knows both versions of a key keeps this one. `leases` is
    /// that of the subnet.
    ///
    /// This is a total order, so that keeping the greater is commutative, associative and idempotent: nodes that
    /// have heard of the same versions, however often and in whatever order, keep the same.
    #[must_use]
    pub fn rank(&self, other: &Self, leases: bool) -> Ordering {
        // Who was first has the lease; that leaves one owner.
        let claim = || match leases {
            true => other.claimed.cmp(&self.claimed).then_with(|| other.owner.cmp(&self.owner)),
            false => Ordering::Equal,
        };
        (self.term.cmp(&other.term))
            .then_with(claim)
            .then_with(|| self.stamp.cmp(&other.stamp))
            .then_with(|| other.owner.cmp(&self.owner))
            .then_with(|| self.mark.cmp(&other.mark))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version((term, claimed, owner, stamp, mark): (u64, i64, u8, i64, u64), leases: bool) -> Version {
        let owner = NodeId::from_digest(&[owner + 1; 48]);
        match leases {
            true => Version { term, claimed, owner, stamp, mark },
            false => Version { term: 0, claimed: 0, owner, stamp, mark },
        }
    }

    /// Few values, so that every part is often the same in two of them.
    fn parts() -> impl Strategy<Value = (u64, i64, u8, i64, u64)> {
        (0..3_u64, -1..2_i64, 0..3_u8, -1..3_i64, 0..3_u64)
    }

    fn join<'a>(a: &'a Version, b: &'a Version, leases: bool) -> &'a Version {
        if a.rank(b, leases) == Ordering::Less { b } else { a }
    }

    proptest! {
        /// S-43, S-44
        #[test]
        fn rank_is_a_total_order(a in parts(), b in parts(), c in parts(), leases: bool) {
            let [a, b, c] = [a, b, c].map(|parts| version(parts, leases));
            prop_assert_eq!(a.rank(&b, leases), b.rank(&a, leases).reverse());
            prop_assert_eq!(a.rank(&b, leases) == Ordering::Equal, a == b);
            if a.rank(&b, leases).is_le() && b.rank(&c, leases).is_le() {
                prop_assert!(a.rank(&c, leases).is_le());
            }
        }

        /// S-45: keeping the greater is a join.
        #[test]
        fn merge_is_a_join(a in parts(), b in parts(), c in parts(), leases: bool) {
            let [a, b, c] = [a, b, c].map(|parts| version(parts, leases));
            let join = |a, b| join(a, b, leases);
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&a, join(&b, &c)), join(join(&a, &b), &c));
            prop_assert_eq!(join(&a, &a), &a);
        }

        /// S-45: in whatever order and however often versions come, the same one stays.
        #[test]
        fn order_and_copies_change_nothing(
            versions in prop::collection::vec(parts(), 1..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
            leases: bool,
        ) {
            let versions: Vec<Version> = versions.into_iter().map(|parts| version(parts, leases)).collect();
            let all = versions.iter().reduce(|a, b| join(a, b, leases)).unwrap();
            let jumbled = order.iter().map(|index| index.get(&versions)).chain(versions.iter().rev());
            prop_assert_eq!(jumbled.reduce(|a, b| join(a, b, leases)).unwrap(), all);
        }
    }

    /// S-44: what decides, one after the other.
    #[test]
    fn the_first_difference_decides() {
        let leased = |parts| version(parts, true);
        let base = (1, 10, 1, 50, 5);
        let outranks = |a, b| leased(a).rank(&leased(b), true) == Ordering::Greater;
        assert!(outranks((2, 90, 9, 0, 0), base), "a later term");
        assert!(outranks((1, 9, 9, 0, 0), base), "an earlier claim");
        let smaller = if leased((1, 10, 0, 0, 0)).owner < leased((1, 10, 2, 0, 0)).owner { 0 } else { 2 };
        assert!(outranks((1, 10, smaller, 0, 0), (1, 10, 2 - smaller, 50, 5)), "a smaller owner");
        assert!(outranks((1, 10, 1, 51, 0), base), "a later stamp");
        assert!(outranks((1, 10, 1, 50, 6), base), "a higher mark");
        let free = |parts| version(parts, false);
        let outranks = |a, b| free(a).rank(&free(b), false) == Ordering::Greater;
        assert!(outranks((0, 0, 2 - smaller, 51, 0), (0, 0, smaller, 50, 5)), "a later stamp before owners");
        assert!(outranks((0, 0, smaller, 50, 0), (0, 0, 2 - smaller, 50, 5)), "a smaller owner");
    }
}
