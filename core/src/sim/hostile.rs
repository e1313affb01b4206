//! Nodes that do not keep to the rules.

use std::fmt;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::NodeIndex;
use crate::identity::{KeyPair, PUBLIC_KEY_LEN};
use crate::protocol::Class;
use crate::wire::codes::kind;
use crate::wire::{DIGEST_LEN, Header, Limits, Message, SEAL_LEN, Value};

/// What a node is about to put on a link.
#[derive(Debug)]
pub struct Sending<'a> {
    /// To whom.
    pub to: NodeIndex,
    /// What kind of message it is. What is lost of [`Class::Control`] mostly costs a node its links.
    pub class: Class,
    /// The body, as an honest node sends it.
    pub body: &'a Bytes,
}

/// Decides what a node really sends: from [`Network::turn_hostile`](super::Network::turn_hostile).
pub trait Hostile: fmt::Debug + Send {
    /// What is put on the link instead, in this order. It need be no message, nor even a body.
    fn send(&mut self, sending: &Sending<'_>) -> Vec<Bytes>;
}

/// How a [`Meddler`] meddles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It also alters broadcasts, forges them in others' names, and takes, swaps and spoils their seals.
    /// Its neighbours find out, and get rid of it.
    Forges,
    /// It only drops, holds back, repeats and replays them, which nobody can tell from bad luck.
    Replays,
}

/// A node that meddles with the broadcasts that pass through it, in every way there is.
#[derive(Debug)]
pub struct Meddler {
    manner: Manner,
    rng: SmallRng,
    keys: KeyPair,
    /// Some of what passed through it, old and new.
    passed: Vec<Bytes>,
    held_back: Option<Bytes>,
}

/// Bodies that a meddler remembers.
const REMEMBERED: usize = 32;

impl Meddler {
    /// One whose whims are decided by `seed`.
    pub fn new(manner: Manner, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let keys = KeyPair::from_secret(rng.random());
        Self { manner, rng, keys, passed: Vec::new(), held_back: None }
    }

    fn remember(&mut self, body: &Bytes) {
        if self.passed.len() < REMEMBERED {
            self.passed.push(body.clone());
        } else {
            let at = self.rng.random_range(0..REMEMBERED);
            self.passed[at] = body.clone();
        }
    }

    fn replay(&mut self) -> Option<Bytes> {
        let at = self.rng.random_range(0..self.passed.len().max(1));
        self.passed.get(at).cloned()
    }

    /// `body` with one bit changed, somewhere from `start` on.
    fn spoil(&mut self, body: &Bytes, start: usize) -> Bytes {
        let mut spoilt = body.to_vec();
        let at = self.rng.random_range(start..body.len());
        spoilt[at] ^= 1 << self.rng.random_range(0..8);
        spoilt.into()
    }

    /// Something like `body` that its author did not write.
    fn forge(&mut self, body: &Bytes) -> Option<Bytes> {
        let (rest, seal) = body.split_last_chunk::<SEAL_LEN>()?;
        let message = Message::read(body.slice(..rest.len()), &Limits::default()).ok()?;
        let Header { kind, sender_form, time, .. } = *message.header();
        let mut values = message.values(&Limits::default()).ok()?;
        values.push(Value::from("forged"));
        let altered = Message::pack_raw(kind, message.sender(), sender_form, time + 1, &values).ok()?;
        let behind = |message: &Message, seal: &[u8]| Some([message.body(), seal].concat().into());
        match self.rng.random_range(0..8) {
            // Another message under the old seal, with a digest that is right, or not.
            0 => behind(&altered, seal),
            1 => {
                let packed = altered.body().get(DIGEST_LEN..)?;
                Some([&rest[..DIGEST_LEN], packed, seal].concat().into())
            }
            // In the author's name, under its own seal, or half of it.
            2 => Some(altered.sealed(&self.keys).body().clone()),
            3 => {
                let own = altered.sealed(&self.keys);
                let (_, signature) = own.body().split_at(own.body().len() - SEAL_LEN + PUBLIC_KEY_LEN);
                behind(&altered, &[&seal[..PUBLIC_KEY_LEN], signature].concat())
            }
            // The same message, under no seal, another's, or a spoilt one.
            4 => Some(body.slice(..rest.len())),
            5 => {
                let other = self.replay()?;
                behind(&message, other.last_chunk::<SEAL_LEN>()?)
            }
            // Some bit of it.
            6 => Some(self.spoil(body, rest.len())),
            _ => Some(self.spoil(body, 0)),
        }
    }
}

impl Hostile for Meddler {
    fn send(&mut self, Sending { class, body, .. }: &Sending<'_>) -> Vec<Bytes> {
        let body = *body;
        let broadcast = Header::read(body).is_ok_and(|header| header.kind == kind::BROADCAST);
        if *class == Class::Control || !broadcast {
            // It keeps its links.
            return match self.rng.random_range(0..4) {
                0 => std::iter::once(body.clone()).chain(self.replay()).collect(),
                _ => vec![body.clone()],
            };
        }
        self.remember(body);
        match self.rng.random_range(0..8) {
            0 => Vec::new(),
            1 => vec![body.clone(); 5],
            2 => self.held_back.replace(body.clone()).into_iter().collect(),
            3 => [self.replay(), Some(body.clone()), self.replay()].into_iter().flatten().collect(),
            4 | 5 if self.manner == Manner::Forges => self.forge(body).into_iter().collect(),
            _ => vec![body.clone()],
        }
    }
}
