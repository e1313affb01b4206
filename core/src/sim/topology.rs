//! Who is connected with whom.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// A connected random graph: pairs of places below `nodes`, the one that dials first, in which a
/// node has `degree` neighbours on average. A ring through all of them in random order, and random
/// further links. No pair stands there twice.
///
/// Fewer than a ring's links are not possible, nor more than one for every pair: a `degree` outside
/// that is brought to the nearest one inside.
pub fn random_links(nodes: usize, degree: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(&mut rng);
    let mut links = Links::default();
    for (place, node) in order.iter().enumerate() {
        links.add(*node, order[(place + 1) % nodes]);
    }
    let pairs = nodes * nodes.saturating_sub(1) / 2;
    let wanted = (nodes.saturating_mul(degree) / 2).min(pairs);
    if wanted * 2 < pairs {
        while links.list.len() < wanted {
            links.add(rng.random_range(0..nodes), rng.random_range(0..nodes));
        }
    } else {
        // Dense: chance would take long to find the last free pairs.
        let mut all: Vec<(usize, usize)> = (0..nodes).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        all.shuffle(&mut rng);
        for (a, b) in all {
            if links.list.len() >= wanted {
                break;
            }
            let (a, b) = if rng.random() { (a, b) } else { (b, a) };
            links.add(a, b);
        }
    }
    links.list
}

#[derive(Default)]
struct Links {
    list: Vec<(usize, usize)>,
    taken: BTreeSet<(usize, usize)>,
}

impl Links {
    fn add(&mut self, a: usize, b: usize) {
        if a != b && self.taken.insert((a.min(b), a.max(b))) {
            self.list.push((a, b));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_connected_simple_and_of_the_degree_asked_for() {
        for (nodes, degree) in
            [(1, 4), (2, 4), (3, 2), (10, 2), (10, 4), (10, 9), (10, 20), (500, 4), (500, 7)]
        {
            for seed in 0..5 {
                let links = random_links(nodes, degree, seed);
                let distinct: BTreeSet<_> = links.iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
                assert_eq!(distinct.len(), links.len(), "{nodes} {degree} {seed}");
                assert!(links.iter().all(|(a, b)| a != b && *a < nodes && *b < nodes));
                let ring = if nodes < 3 { nodes - 1 } else { nodes };
                let most = nodes * (nodes - 1) / 2;
                assert_eq!(links.len(), (nodes * degree / 2).clamp(ring, most), "{nodes} {degree} {seed}");
                let mut group: Vec<usize> = (0..nodes).collect();
                for (a, b) in links {
                    let (keep, gone) = (group[a], group[b]);
                    group.iter_mut().filter(|g| **g == gone).for_each(|g| *g = keep);
                }
                assert!(group.iter().all(|g| *g == group[0]), "{nodes} {degree} {seed}");
            }
        }
    }
}
