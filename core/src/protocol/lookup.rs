//! Reaching a node that is no neighbour: ask everyone for its address, dial it, whisper
//! (`spec/03-conversation.md`, C-40 to C-47).

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;

use super::address::{Address, Target};
use super::dialler::Purpose;
use super::node::{Node, Timer, Trust};
use super::offence::Offence;
use super::outbox::{Class, CommandError, LinkId, Now, Outbox, Token};
use super::sync::Spare;
use crate::identity::NodeId;
use crate::wire::codes::{code, kind};
use crate::wire::{Form, Limits, Message, Value, base58};

/// Nodes looked for at the same time, at most; a further one is an error.
const MAX_LOOKUPS: usize = 256;
/// Whispers waiting for one node, at most; a further one is an error.
const MAX_WAITING: usize = 64;
/// Addresses dialled for one lookup, at most: anyone may answer, with anything.
const MAX_DIALS: usize = 3;
/// Longest request id that is answered, in bytes; it goes into the answer. Those of 0.7 have 44.
const MAX_REQUEST: usize = 128;

#[derive(Debug)]
struct Lookup {
    request: String,
    waiting: Vec<(Token, Message)>,
    /// Addresses that were told. Several neighbours of one node tell the same.
    dialled: Vec<Address>,
    deadline: Duration,
}

/// What is being looked for.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    wanted: BTreeMap<NodeId, Lookup>,
}

impl Lookups {
    pub(super) fn clear(&mut self) -> Vec<Token> {
        let all = std::mem::take(&mut self.wanted).into_values();
        all.flat_map(|lookup| lookup.waiting).map(|(token, _)| token).collect()
    }

    /// A message need not be sent any more.
    pub(super) fn forget(&mut self, token: Token) {
        for lookup in self.wanted.values_mut() {
            lookup.waiting.retain(|(waiting, _)| *waiting != token);
        }
    }
}

impl Node {
    /// Sends a whisper to a neighbour, or finds its addressee first.
    pub(super) fn whisper(&mut self, now: Now, token: Token, to: NodeId, message: Message, out: &mut Outbox) {
        if let Some(link) = self.link_to(&to) {
            self.counters.whispers += 1;
            self.send_body(link, Class::Own, message.body().clone(), out);
            return self.done(token, Ok(to), out);
        }
        if self.identity.trust == Trust::Claimed && !self.config.trust_lookups && to != self.identity.id {
            return self.done(token, Err(CommandError::Unproven { peer: to }), out);
        }
        let problem = if to == self.identity.id {
            Some("it is this node itself")
        } else if self.table.is_empty() {
            Some("this node has no peers to ask for it")
        } else if self.lookups.wanted.len() >= MAX_LOOKUPS {
            Some("too many other nodes are being looked for")
        } else if self.lookups.wanted.get(&to).is_some_and(|l| l.waiting.len() >= MAX_WAITING) {
            Some("too many messages wait for it already")
        } else {
            None
        };
        if let Some(problem) = problem {
            return self.done(token, Err(CommandError::Unreachable { peer: to, problem }), out);
        }
        if let Some(lookup) = self.lookups.wanted.get_mut(&to) {
            return lookup.waiting.push((token, message));
        }
        let deadline = now.mono + self.config.lookup_timeout;
        let mut random = [0; 32];
        self.rng.fill_bytes(&mut random);
        let request = base58::encode_int(&random);
        // 0.7 nodes know a node under one form of its id only, str or bin, and which is theirs to
        // know: both are asked for.
        for form in [Form::Str, Form::Bin] {
            let payload = [request.as_str().into(), id_value(&to, form)];
            if let Some(message) = self.pack(now, kind::BROADCAST, code::REQUEST, &payload) {
                self.send_flood(None, Spare::default(), Class::Own, message.into_body(), out);
            }
        }
        let waiting = vec![(token, message)];
        self.lookups.wanted.insert(to, Lookup { request, waiting, dialled: Vec::new(), deadline });
        self.set_timer(deadline, Timer::Lookup);
    }

    /// Someone asks for a node's address: tell it if it is ours or a neighbour's.
    pub(super) fn on_lookup_request(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Ok(values) = message.values(&Limits::default()) else { return };
        let [_, request, wanted] = values.as_slice() else {
            return self.malformed(now, from, message, out);
        };
        let short = request.as_text().is_some_and(|request| request.len() <= MAX_REQUEST);
        let Some(id) = wanted.as_text().and_then(|id| NodeId::parse(id).ok()).filter(|_| short) else {
            return self.malformed(now, from, message, out);
        };
        let address = if id == self.identity.id {
            Some(self.identity.address.clone())
        } else {
            // py2p sends ids as bin; it cannot join a js2p.
            let asker_joins = |dialect: super::Dialect| {
                message.header().sender_form == Form::Str || dialect != super::Dialect::Js2p
            };
            self.link_to(&id)
                .and_then(|link| self.links.get(&link)?.peer.as_ref())
                .filter(|peer| asker_joins(peer.dialect))
                .and_then(|peer| peer.address.clone())
        };
        let Some(address) = address else { return };
        let answer = [request.clone(), Value::Array(vec![address.to_value(), wanted.clone()])];
        self.send_control(now, from, kind::BROADCAST, code::RESPONSE, &answer, out);
    }

    /// A control message that does not say what its code demands. It is laid to the neighbour that
    /// brought it unless others may have sent it.
    pub(super) fn malformed(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        self.counters.malformed += 1;
        if message.header().kind != kind::BROADCAST {
            self.blame(now, from, Offence::Malformed, out);
        }
    }

    /// Someone tells an address: dial it if we asked. Who knows where it comes from; it is judged by
    /// the neighbour that brought it.
    pub(super) fn on_lookup_response(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Ok(values) = message.values(&Limits::default()) else { return };
        let [_, request, found] = values.as_slice() else {
            return self.malformed(now, from, message, out);
        };
        let Some([address, id]) = found.as_array() else { return };
        let (Some(address), Some(id)) =
            (Address::from_value(address), id.as_text().and_then(|id| NodeId::parse(id).ok()))
        else {
            return;
        };
        let Some(lookup) = self.lookups.wanted.get_mut(&id) else { return };
        let ours = request.as_text() == Some(lookup.request.as_str());
        if !ours || lookup.dialled.len() >= MAX_DIALS || now.mono >= lookup.deadline {
            return;
        }
        if lookup.dialled.contains(&address) {
            return;
        }
        let Some(reach) = self.links.get(&from).map(super::link::Link::reach) else { return };
        if !address.is_within(reach) {
            self.counters.addresses_refused += 1;
            return;
        }
        lookup.dialled.push(address.clone());
        let target = Target { id: Some(id), address };
        let dial = self.dialler.add(target, Purpose::Lookup, None, reach);
        out.outputs.extend(self.dialler.start(dial, now.mono));
    }

    /// A neighbour is new: sends it what waited for it.
    pub(super) fn flush_lookup(&mut self, peer: &NodeId, link: LinkId, out: &mut Outbox) {
        for (token, message) in self.lookups.wanted.remove(peer).map_or(Vec::new(), |found| found.waiting) {
            self.counters.whispers += 1;
            self.send_body(link, Class::Own, message.body().clone(), out);
            self.done(token, Ok(peer.clone()), out);
        }
    }

    pub(super) fn expire_lookups(&mut self, now: Now, out: &mut Outbox) {
        let expired: Vec<NodeId> = (self.lookups.wanted.iter())
            .filter(|(_, lookup)| lookup.deadline <= now.mono)
            .map(|(id, _)| id.clone())
            .collect();
        for peer in expired {
            for (token, _) in self.lookups.wanted.remove(&peer).map_or(Vec::new(), |lost| lost.waiting) {
                let problem = "it is no neighbour, and nobody told its address in time";
                self.done(token, Err(CommandError::Unreachable { peer: peer.clone(), problem }), out);
            }
        }
    }
}

pub(super) fn id_value(id: &NodeId, form: Form) -> Value {
    match form {
        Form::Str => id.as_str().into(),
        Form::Bin => id.as_str().as_bytes().into(),
    }
}
