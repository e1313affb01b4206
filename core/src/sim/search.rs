//! Searches of simulated users.

use super::network::Network;
use super::{Error, NodeIndex};
use crate::identity::MessageId;
use crate::protocol::{Command, Note, Token};
use crate::wire::Message;
use crate::wire::codes::code;

impl Network {
    /// Lets a node ask everyone a question, whose own `question` must be none. Only where
    /// [`Options::signed`](super::Options::signed) is set; elsewhere [`Network::result`] says that it failed.
    ///
    /// # Errors
    /// [`Error::Down`] if `from` is down; [`Error::Value`] never.
    pub fn search(&mut self, from: NodeIndex, question: &Note) -> Result<(MessageId, Token), Error> {
        let note = self.pack_note(from, code::SEARCH, question)?;
        let (id, token) = (note.id(), self.token());
        self.command(from, Command::Search { token, note, hops: 0 });
        Ok((id, token))
    }

    /// Lets a node find something for a question that it was asked. Whether there is a way back for it.
    ///
    /// # Errors
    /// As of [`Network::search`].
    pub fn find(&mut self, node: NodeIndex, found: &Note) -> Result<bool, Error> {
        let note = self.pack_note(node, code::FOUND, found)?;
        let machine = self.hosts[node.0].machine.as_mut();
        let possible = machine
            .zip(found.question)
            .is_some_and(|(machine, question)| machine.may_find(&question).is_ok());
        self.command(node, Command::Find { note });
        Ok(possible)
    }

    fn pack_note(&mut self, node: NodeIndex, code: u64, note: &Note) -> Result<Message, Error> {
        self.check_up(node)?;
        let stamp = self.stamp(node);
        Ok(self.hosts[node.0].identity.pack_note(stamp, code, note)?)
    }
}
