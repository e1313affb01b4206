//! Whom simulated nodes know, and where they are.

use super::network::Network;
use super::{Error, NodeIndex};
use crate::protocol::Command;

impl Network {
    /// Lets a node's program save the address of another in its peer book.
    ///
    /// # Errors
    /// [`Error::Down`] if `node` is down.
    pub fn save(&mut self, node: NodeIndex, other: NodeIndex) -> Result<(), Error> {
        self.check_up(node)?;
        let addresses = vec![self.address(other).clone()];
        self.command(node, Command::Save(addresses));
        Ok(())
    }

    /// Lets a node's program remove the address of another from its peer book.
    ///
    /// # Errors
    /// [`Error::Down`] if `node` is down.
    pub fn remove(&mut self, node: NodeIndex, other: NodeIndex) -> Result<(), Error> {
        self.check_up(node)?;
        let addresses = vec![self.address(other).clone()];
        self.command(node, Command::Remove(addresses));
        Ok(())
    }

    /// Whether the address of another node stands in a node's peer book.
    pub fn knows(&self, node: NodeIndex, other: NodeIndex) -> bool {
        self.machine(node).is_some_and(|machine| machine.peer_stats(self.address(other)).is_some())
    }

    /// A node has another address from now on: nobody is at the old one. One that is running tells its
    /// neighbours; its connections stay.
    pub fn relocate(&mut self, node: NodeIndex) {
        let mut address = self.address(node).clone();
        self.by_address.remove(&address);
        address.port += 1;
        self.by_address.insert(address.clone(), node);
        self.hosts[node.0].identity.address = address.clone();
        if self.is_up(node) {
            self.command(node, Command::Move(address));
        }
    }
}
