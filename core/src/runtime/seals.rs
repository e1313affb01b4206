//! Verifies seals on all cores before the machine is given what they stand behind: behind its lock, with
//! nothing else moving meanwhile, a table of any size would hold up everyone.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::node::Runtime;
use crate::protocol::{Input, LinkId};
use crate::wire::{DIGEST_LEN, Envelope, Message};

/// Fewer seals than this are left to the machine, and no thread gets fewer: handing them over costs about
/// as much as verifying one.
const LEAST: usize = 8;
/// Threads take this many times their share one after the other, so that none is done long before the others.
const TURNS: usize = 2;

/// The threads that verify, over all links.
#[derive(Debug)]
pub(super) struct Verifiers {
    threads: usize,
    free: Arc<Semaphore>,
}

/// A seal to be verified: of which message, where its entry begins in it, and its body.
struct Seal {
    of: usize,
    at: usize,
    body: Bytes,
}

impl Verifiers {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, free: Arc::new(Semaphore::new(threads)) }
    }

    /// Where the entries begin, in each of so many messages, whose seals are their authors'.
    async fn verify(&self, envelope: &Envelope, mut seals: Vec<Seal>, messages: usize) -> Vec<Vec<usize>> {
        let share = seals.len().div_ceil(self.threads * TURNS).max(LEAST);
        let mut parts = Vec::new();
        while !seals.is_empty() {
            let part = seals.split_off(seals.len().saturating_sub(share));
            let Ok(permit) = self.free.clone().acquire_owned().await else { break };
            let envelope = envelope.clone();
            parts.push(spawn_blocking(move || {
                let _permit = permit;
                // What stands behind one that is none is not wanted any more.
                let genuine = part.into_iter().take_while(|seal| envelope.is_genuine(&seal.body));
                genuine.map(|seal| (seal.of, seal.at)).collect::<Vec<_>>()
            }));
        }
        let mut genuine = vec![Vec::new(); messages];
        // The last were split off first.
        for part in parts.into_iter().rev() {
            for (of, at) in part.await.unwrap_or_default() {
                if let Some(places) = genuine.get_mut(of) {
                    places.push(at);
                }
            }
        }
        genuine
    }
}

/// The first of those that claim the same digest. Once that is kept, the machine wants no other; so whoever
/// says the same again and again has it verified once.
fn distinct(seals: impl Iterator<Item = Seal>) -> Vec<Seal> {
    let mut claimed = HashSet::new();
    seals.filter(|seal| claimed.insert(seal.body.first_chunk::<DIGEST_LEN>().copied())).collect()
}

/// Makes inputs of what came on a link, with the seals in it verified where there are many.
pub(super) async fn verified(runtime: &Runtime, link: LinkId, messages: &mut Vec<Message>) -> Vec<Input> {
    let now = runtime.now();
    let seals: Vec<Seal> = runtime.with_node(|node| {
        let of_message = |(of, message)| {
            let seals = node.seals_to_verify(now, link, message);
            seals.into_iter().map(move |(at, body)| Seal { of, at, body })
        };
        let entries = messages.iter().enumerate().filter(|(_, message)| message.is_entries());
        distinct(entries.flat_map(of_message))
    });
    let genuine = match seals.len() {
        0..LEAST => vec![Vec::new(); messages.len()],
        _ => runtime.verifiers.verify(&runtime.envelope, seals, messages.len()).await,
    };
    let input = |(message, genuine): (Message, Vec<usize>)| match genuine.is_empty() {
        true => Input::Message { link, message },
        false => Input::Entries { link, message: Box::new(message), genuine },
    };
    messages.drain(..).zip(genuine).map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{KeyPair, NodeId, ProtocolId};
    use crate::wire::Form;
    use crate::wire::codes::{code, kind};

    /// S-69
    #[test]
    fn the_same_is_verified_once() {
        let seal = |(at, claim): (usize, u8)| Seal { of: at, at, body: vec![claim; 40 + at].into() };
        let seals = distinct([1, 2, 1, 1, 3, 2].into_iter().enumerate().map(seal));
        assert_eq!(seals.iter().map(|seal| seal.at).collect::<Vec<_>>(), [0, 1, 4]);
    }

    /// S-68: what is found genuine is, and stands in the order in which it came.
    #[tokio::test]
    async fn only_genuine_seals_pass() {
        const MESSAGES: usize = 3;
        const SEALS: usize = 100;
        let (protocol, keys) = (ProtocolId::derive("sync1", "tls/sync"), KeyPair::from_secret([7; 32]));
        let id = NodeId::of_key(&keys.public(), &protocol);
        let message = Message::pack(kind::BROADCAST, id.as_str(), Form::Str, 1, code::STORE, &("text",));
        let body = message.map(|message| message.sealed(&keys).into_body()).unwrap_or_default();
        let mut forged = body.to_vec();
        forged.reverse();
        let (envelope, forged) = (Envelope::Sealed(protocol), Bytes::from(forged));
        assert!(envelope.is_genuine(&body) && !envelope.is_genuine(&forged));
        for threads in [1, 2, 5] {
            let verifiers = Verifiers { threads, free: Arc::new(Semaphore::new(threads)) };
            for bad in [None, Some(0), Some(57), Some(SEALS - 1)] {
                let seal = |at| {
                    let body = if bad == Some(at) { &forged } else { &body };
                    Seal { of: at * MESSAGES / SEALS, at, body: body.clone() }
                };
                let genuine = verifiers.verify(&envelope, (0..SEALS).map(seal).collect(), MESSAGES).await;
                let all: Vec<usize> = genuine.iter().flatten().copied().collect();
                assert!(all.is_sorted() && genuine.len() == MESSAGES, "{genuine:?}");
                for (of, places) in genuine.iter().enumerate() {
                    assert!(places.iter().all(|at| at * MESSAGES / SEALS == of), "{genuine:?}");
                }
                match bad {
                    None => assert_eq!(all.len(), SEALS),
                    Some(bad) => assert!(!all.contains(&bad) && all.len() >= bad && all.len() < SEALS),
                }
                assert_eq!(verifiers.free.available_permits(), threads);
            }
        }
    }
}
