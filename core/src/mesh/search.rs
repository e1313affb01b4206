//! Searches as the program sees them, and what they find.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Mesh;
use crate::config::ConfigError;
use crate::error::Error;
use crate::identity::NodeId;
use crate::protocol::{CommandError, MAX_HOPS, Note, Received, Token, Trust};
use crate::runtime::{FoundRows, Runtime};
use crate::wire::Message;
use crate::wire::codes::code;

/// Bytes of an id that is made here.
const ID_LEN: usize = 16;
const OUT_OF_BOUNDS: ConfigError = ConfigError {
    option: "search",
    problem: "give an id and a type of up to 64 bytes each, data of up to 1,024, a limit of 1 to 15, and fewer hops",
};

/// A question for everyone, for [`Mesh::announce`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    note: Note,
    hops: u64,
}

impl Query {
    /// A question of this type (up to 64 bytes) with this data (up to 1,024), under a random id, which goes
    /// as far as questions go: over 15 links.
    pub fn new(kind: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        let id = rand::random::<[u8; ID_LEN]>().to_vec();
        let (kind, data) = (kind.into(), data.into());
        Self { note: Note { question: None, id, kind, data, limit: MAX_HOPS }, hops: 0 }
    }

    /// Under this id, of up to 64 bytes. It means nothing to nodes.
    #[must_use]
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.note.id = id.into();
        self
    }

    /// Over so many links at most, 1 to 15: with 1 only neighbours are asked.
    #[must_use]
    pub fn limit(mut self, links: u8) -> Self {
        self.note.limit = links.into();
        self
    }

    /// As if it had gone over so many links already (0).
    #[must_use]
    pub fn hops(mut self, links: u8) -> Self {
        self.hops = links.into();
        self
    }
}

/// A question of another node, from [`Mesh::on_search`] or [`Event::Search`](super::Event::Search). Whoever has nothing to
/// say to it drops it.
#[derive(Clone)]
pub struct Search(Arc<Asked>);

/// Apart, so that events stay small.
struct Asked {
    received: Received,
    note: Note,
    hops: u64,
    runtime: Weak<Runtime>,
}

impl Search {
    pub(crate) fn new(runtime: &Arc<Runtime>, hops: u64, received: Received) -> Option<Self> {
        let note = Note::read(&received.message, code::SEARCH)?;
        Some(Self(Arc::new(Asked { received, note, hops, runtime: Arc::downgrade(runtime) })))
    }

    /// Its id.
    pub fn id(&self) -> &[u8] {
        &self.0.note.id
    }

    /// Its type.
    pub fn kind(&self) -> &[u8] {
        &self.0.note.kind
    }

    /// Its data.
    pub fn data(&self) -> &[u8] {
        &self.0.note.data
    }

    /// The links that it may go over.
    pub fn limit(&self) -> u64 {
        self.0.note.limit
    }

    /// The links that it went over before the last one. Nobody can prove that.
    pub fn hops(&self) -> u64 {
        self.0.hops
    }

    /// Who asks.
    pub fn sender(&self) -> &NodeId {
        &self.0.received.sender
    }

    /// Whether it is proven who asks, and what: where authors sign.
    pub fn verified(&self) -> bool {
        self.0.received.verified()
    }

    /// Sends something that was found, up to 1,024 bytes, back to whoever asked: with the question's type, and
    /// an id of its own. Up to eight times for one question.
    ///
    /// Fails with [`Error::SearchOver`] once [`Config::search_time`](crate::Config::search_time) is over,
    /// [`Error::NotConnected`] if the neighbour that brought the question is gone, [`Error::TooMany`] if more
    /// was found than may be. Whether it arrives is not known: a link on the way may break.
    pub fn reply(&self, data: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.reply_as(rand::random::<[u8; ID_LEN]>(), self.kind(), data)
    }

    /// As [`Search::reply`], with this id and type, up to 64 bytes each.
    pub fn reply_as(
        &self,
        id: impl Into<Vec<u8>>,
        kind: impl Into<Vec<u8>>,
        data: impl Into<Vec<u8>>,
    ) -> Result<(), Error> {
        let runtime = self.0.runtime.upgrade().filter(|runtime| !runtime.is_closed()).ok_or(Error::Closed)?;
        let question = *self.0.received.message.id().as_bytes();
        let (id, kind, data) = (id.into(), kind.into(), data.into());
        let found = Note { question: Some(question), id, kind, data, limit: self.0.note.limit };
        let message = runtime.pack_note(code::FOUND, &found)?;
        Ok(runtime.find(&question, message)?)
    }

    /// Bytes it keeps in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        2 * self.0.received.message.body().len()
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("sender", self.sender())
            .field("id", &self.id())
            .field("kind", &self.kind())
            .field("data", &self.data())
            .field("hops", &self.0.hops)
            .finish_non_exhaustive()
    }
}

/// Something that was found, from [`Rows`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Its id, which whoever found it made.
    pub id: Vec<u8>,
    /// Its type.
    pub kind: Vec<u8>,
    /// What was found.
    pub data: Vec<u8>,
    /// The links that the question might go over.
    pub limit: u64,
    /// The links that it came over before the last one: 0 from a neighbour. Nobody can prove that.
    pub hops: u64,
    /// Who found it.
    pub sender: NodeId,
    /// Whether it is proven that the sender found it, and what: where authors sign. Elsewhere any node on the
    /// way may have altered it or made it up.
    pub verified: bool,
}

/// What a search finds, as it comes: a stream that ends with the search. Dropped, it ends the search here.
#[must_use = "dropped, it ends the search"]
pub struct Rows {
    found: FoundRows,
    token: Token,
    runtime: Weak<Runtime>,
}

impl Rows {
    /// The next thing that is found; `None` when the search is over, or the node is closed. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<Row> {
        loop {
            let (hops, received) = self.found.recv().await?.ok()?;
            if let Some(row) = row(hops, &received) {
                return Some(row);
            }
        }
    }
}

fn row(hops: u64, received: &Received) -> Option<Row> {
    let Note { id, kind, data, limit, .. } = Note::read(&received.message, code::FOUND)?;
    let (sender, verified) = (received.sender.clone(), received.verified());
    Some(Row { id, kind, data, limit, hops, sender, verified })
}

impl Stream for Rows {
    type Item = Row;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Row>> {
        loop {
            let Poll::Ready(found) = self.found.poll_recv(cx) else { return Poll::Pending };
            let Some(Ok((hops, received))) = found else { return Poll::Ready(None) };
            if let Some(row) = row(hops, &received) {
                return Poll::Ready(Some(row));
            }
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.upgrade() {
            runtime.end_search(self.token);
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl Mesh {
    /// Asks everyone something, and gives what is found as it comes. As [`Mesh::announce`] with
    /// [`Query::new`].
    ///
    /// ```
    /// use peernet::Mesh;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let a = Mesh::builder().open().await?;
    /// let b = Mesh::builder().open().await?;
    /// a.on_search(|search| {
    ///     if search.kind() == b"colour" {
    ///         // It may be too late, and that does no harm.
    ///         let _ = search.reply("blue");
    ///     }
    /// });
    /// b.connect(&a.address().to_string()).await?;
    /// let mut rows = b.search("colour", "of the sky")?;
    /// let row = rows.next().await.expect("a knows it");
    /// assert_eq!((&row.data[..], row.hops, row.verified), (&b"blue"[..], 0, true));
    /// assert_eq!(row.sender, *a.id());
    /// # Ok::<(), peernet::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn search(&self, kind: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Result<Rows, Error> {
        self.announce(Query::new(kind, data))
    }

    /// Sends a question from neighbour to neighbour, up to its limit of links, and gives what is found for
    /// it, which comes back the same way, as long as [`Config::search_time`](crate::Config::search_time) (10 s)
    /// goes on. A link that breaks loses what is on the way, and nobody is told: whoever needs to be sure
    /// asks again.
    ///
    /// Fails with [`Error::NeedsTls`] where 0.7 is spoken, [`Error::Config`] if a part of the question is too
    /// long, [`Error::TooMany`] if there were too many within a second
    /// ([`Config::searches_per_author`](crate::Config::searches_per_author)).
    pub fn announce(&self, query: Query) -> Result<Rows, Error> {
        let runtime = &self.runtime.0;
        if runtime.is_closed() {
            return Err(Error::Closed);
        }
        if self.identity.trust == Trust::Claimed {
            return Err(CommandError::NeedsTls { what: "searches" }.into());
        }
        if query.hops >= query.note.limit {
            return Err(OUT_OF_BOUNDS.into());
        }
        let message = runtime.pack_note(code::SEARCH, &query.note)?;
        let (token, found) = runtime.search(message, query.hops)?;
        Ok(Rows { found, token, runtime: Arc::downgrade(runtime) })
    }

    /// Hears the searches of others from now on: `handler` gets each once. A new handler replaces the old.
    /// Without one they go to [`Mesh::next_event`], once that has been called for the first time. They are
    /// passed on whether anyone hears them or not.
    ///
    /// It runs where messages are read: it must be quick, and may use [`Search::reply`].
    pub fn on_search(&self, handler: impl Fn(Search) + Send + Sync + 'static) {
        self.runtime.0.on_search(Arc::new(handler));
    }
}

impl Runtime {
    fn pack_note(&self, code: u64, note: &Note) -> Result<Message, Error> {
        if !note.is_within_bounds() {
            return Err(OUT_OF_BOUNDS.into());
        }
        Ok(self.identity.pack_note(self.stamp(self.now()), code, note)?)
    }
}
