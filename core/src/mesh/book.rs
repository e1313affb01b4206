//! Whom a node knows: its peer book, while it runs and while it does not.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_core::Stream;

use super::Mesh;
use crate::error::Error;
use crate::protocol::{Address, Command, Input, Node, Now, Outbox, Output, PeerStats};
use crate::store::{Kept, Write};

impl Mesh {
    /// Saves the address of a node of the subnet: it is dialled when links are wanted
    /// ([`Config::connections`](crate::Config::connections)), and known until it is removed. With a data
    /// directory it is known after a restart too, as are all that the node had a link to.
    ///
    /// At the bound ([`Config::book_addresses`](crate::Config::book_addresses)) it takes the place of another,
    /// at worst of one that was saved before.
    ///
    /// ```
    /// use peernet::Mesh;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (a, b) = (Mesh::builder().open().await?, Mesh::builder().open().await?);
    /// b.save(&a.address().to_string())?;
    /// while b.connections().is_empty() {
    ///     tokio::task::yield_now().await;
    /// }
    /// let stats = b.peer_stats(&a.address().to_string())?.expect("it is known");
    /// assert_eq!((stats.connections_ok, stats.id.as_ref()), (1, Some(a.id())));
    /// # a.close().await; b.close().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Address`] if it is none; [`Error::Closed`].
    pub fn save(&self, address: &str) -> Result<(), Error> {
        let address = address.parse()?;
        self.tell_book(Command::Save(vec![address]))
    }

    /// Removes an address: it is not dialled any more unless the program asks for it, and for a day it is
    /// not taken from peers either. A link that there is stays.
    ///
    /// # Errors
    /// As [`Mesh::save`].
    pub fn remove(&self, address: &str) -> Result<(), Error> {
        let address = address.parse()?;
        self.tell_book(Command::Remove(vec![address]))
    }

    fn tell_book(&self, command: Command) -> Result<(), Error> {
        if self.runtime.0.is_closed() {
            return Err(Error::Closed);
        }
        self.runtime.0.command_at_once(command);
        Ok(())
    }

    /// All known addresses, in order, with what came of them.
    pub fn known(&self) -> Vec<PeerStats> {
        self.runtime.0.with_node(|node| node.known().collect())
    }

    /// [`Mesh::known`] as a stream. It gives what is known now, and ends.
    pub fn known_stream(&self) -> Known {
        Known(self.known().into_iter())
    }

    /// What is known of an address, if anything is.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none.
    pub fn peer_stats(&self, address: &str) -> Result<Option<PeerStats>, Error> {
        let address = address.parse()?;
        Ok(self.runtime.0.with_node(|node| node.peer_stats(&address)))
    }

    /// The neighbours as [`Mesh::connect`] takes them: `id@host:port`, or the id alone of one that has no
    /// address. [`Mesh::peers`] says more.
    pub fn connections(&self) -> Vec<String> {
        let name = |peer: super::Peer| match peer.address {
            Some(address) => format!("{}@{address}", peer.id),
            None => peer.id.to_string(),
        };
        self.peers().into_iter().map(name).collect()
    }
}

/// Known addresses, from [`Mesh::known_stream`].
#[derive(Debug)]
pub struct Known(std::vec::IntoIter<PeerStats>);

impl Stream for Known {
    type Item = PeerStats;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<PeerStats>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The peer book that a node keeps in its data directory, while the node is not running; from
/// [`Builder::peer_book`](super::Builder::peer_book).
///
/// ```
/// use peernet::Mesh;
///
/// # let path = std::env::temp_dir().join(format!("peernet-doc-book-{}", std::process::id()));
/// let mut book = Mesh::builder().data_dir(&path).peer_book()?;
/// book.save("example.org:4444")?;
/// drop(book);
/// let book = Mesh::builder().data_dir(&path).peer_book()?;
/// assert!(book.known().iter().any(|known| known.address.host == "example.org" && known.saved));
/// # drop(book);
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PeerBook {
    /// Never runs: it only reads and writes its book.
    node: Node,
    kept: Kept,
}

impl PeerBook {
    pub(super) fn new(node: Node, kept: Kept) -> Self {
        Self { node, kept }
    }

    /// All known addresses, in order, with what came of them.
    pub fn known(&self) -> Vec<PeerStats> {
        self.node.known().collect()
    }

    /// What is known of an address, if anything is.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none.
    pub fn peer_stats(&self, address: &str) -> Result<Option<PeerStats>, Error> {
        Ok(self.node.peer_stats(&address.parse()?))
    }

    /// Saves an address, as [`Mesh::save`]; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none; [`Error::Store`] if it cannot be written.
    pub fn save(&mut self, address: &str) -> Result<(), Error> {
        let address = address.parse()?;
        self.change(Command::Save(vec![address]))
    }

    /// Removes an address, as [`Mesh::remove`]; that is on the disk when this returns.
    ///
    /// # Errors
    /// As [`PeerBook::save`].
    pub fn remove(&mut self, address: &str) -> Result<(), Error> {
        let address: Address = address.parse()?;
        self.change(Command::Remove(vec![address]))
    }

    fn change(&mut self, command: Command) -> Result<(), Error> {
        let mut out = Outbox::new();
        self.node.handle(now(), Input::Command(command), &mut out);
        let write = |output| match output {
            Output::Keep { key, value: Some(value) } => Some(Write::put(key, value)),
            Output::Keep { key, value: None } => Some(Write::delete(key)),
            _ => None,
        };
        self.kept.apply(out.outputs.into_iter().filter_map(write).collect())?;
        Ok(self.kept.flush()?)
    }
}

impl std::fmt::Debug for PeerBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerBook").field("known", &self.known().len()).finish_non_exhaustive()
    }
}

/// The present of a node that does not run.
pub(super) fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: std::time::Duration::ZERO, wall: i64::try_from(since.as_secs()).unwrap_or(i64::MAX) }
}
