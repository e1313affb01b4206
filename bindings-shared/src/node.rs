//! A node of either kind, for programs that wait instead of awaiting.

use std::sync::Arc;

use peernet::identity::NodeId;
use peernet::wire::Packed;
use peernet::{Builder, ErrorCode, Mesh, SendReport, SyncTable};

use crate::asked::Asked;
use crate::error::Error;
use crate::events::Events;
use crate::runtime::{Runtime, check_process};
use crate::wait::Wait;

/// The kinds of network. Each is a mesh too.
#[derive(Debug)]
pub enum Network {
    /// Messages alone.
    Mesh(Mesh),
    /// A table that everyone holds.
    Table(SyncTable),
}

impl Network {
    /// What all kinds can do.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        match self {
            Self::Mesh(mesh) => mesh,
            Self::Table(table) => table,
        }
    }

    /// The table.
    ///
    /// # Errors
    /// [`ErrorCode::NoTable`] in a mesh without one.
    pub fn table(&self) -> Result<&SyncTable, Error> {
        match self {
            Self::Table(table) => Ok(table),
            Self::Mesh(_) => {
                Err(Error::told(ErrorCode::NoTable, "this node has no table; open one as a table"))
            }
        }
    }
}

/// One node. Dropping it stops it at once, as dropping a [`Mesh`] does.
///
/// ```
/// use peernet::Mesh;
/// use peernet::wire::{Limits, Packed};
/// use peernet_bindings::{Event, Node, Wait};
///
/// let (a, b) = (Node::open_mesh(Mesh::builder())?, Node::open_mesh(Mesh::builder())?);
/// b.connect(&a.mesh().address().to_string(), Wait::Forever)?;
/// b.broadcast(None, &Packed::new(b"\xa5hello\x05", &Limits::default())?, Wait::Forever)?;
///
/// let mut events = Vec::new();
/// while !matches!(events.last(), Some(Event::Node(peernet::Event::Message(_)))) {
///     a.events().drain(64, Wait::Forever, &mut events)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Node {
    network: Arc<Network>,
    events: Events,
    asked: Asked,
    /// Last, because it may end with this node.
    runtime: Arc<Runtime>,
}

impl Node {
    /// Opens a node of a mesh.
    ///
    /// # Errors
    /// Those of [`Builder::open`] and [`Runtime::get`].
    pub fn open_mesh(builder: Builder<Mesh>) -> Result<Self, Error> {
        let runtime = Runtime::get()?;
        let mesh = runtime.block_on(Wait::Forever, builder.open())?;
        Ok(Self::new(Network::Mesh(mesh), runtime))
    }

    /// Opens a node of a table.
    ///
    /// # Errors
    /// As of [`Node::open_mesh`].
    pub fn open_table(builder: Builder<SyncTable>) -> Result<Self, Error> {
        let runtime = Runtime::get()?;
        let table = runtime.block_on(Wait::Forever, builder.open())?;
        Ok(Self::new(Network::Table(table), runtime))
    }

    fn new(network: Network, runtime: Arc<Runtime>) -> Self {
        let network = Arc::new(network);
        Self { events: Events::new(network.clone()), network, asked: Asked::default(), runtime }
    }

    /// What every node can do.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        self.network.mesh()
    }

    /// What the node of a table can do.
    ///
    /// # Errors
    /// [`ErrorCode::NoTable`].
    pub fn table(&self) -> Result<&SyncTable, Error> {
        self.network.table()
    }

    /// What the program is told.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What others have asked, and the program will answer.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Waits for what the node does ([`Runtime::block_on`]).
    ///
    /// # Errors
    /// As of [`Runtime::block_on`].
    pub fn block_on<T: Send, E: Into<Error> + Send>(
        &self,
        wait: Wait,
        future: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, Error> {
        self.runtime.block_on(wait, future)
    }

    /// As [`Mesh::connect`]. If it takes too long, the attempt goes on, and an event tells of a link that comes
    /// of it.
    ///
    /// # Errors
    /// Those of [`Mesh::connect`]; [`ErrorCode::TimedOut`].
    pub fn connect(&self, address: &str, wait: Wait) -> Result<NodeId, Error> {
        self.block_on(wait, self.mesh().connect(address))
    }

    /// As [`Mesh::broadcast`] or, under a code of the user's own, [`Mesh::broadcast_as`]; without waiting as
    /// [`Mesh::try_broadcast`].
    ///
    /// # Errors
    /// Those of these; [`ErrorCode::TimedOut`], and then nothing was sent.
    pub fn broadcast(
        &self,
        code: Option<u64>,
        payload: &Packed<'_>,
        wait: Wait,
    ) -> Result<SendReport, Error> {
        let mesh = self.mesh();
        // At once if there is room, which spares the way through the runtime.
        let at_once = match code {
            None => mesh.try_broadcast(payload),
            Some(code) => mesh.try_broadcast_as(code, payload),
        };
        match at_once {
            Err(peernet::Error::Full { .. } | peernet::Error::Repeated) if wait != Wait::Never => {}
            done => return Ok(done?),
        }
        self.block_on(wait, async {
            match code {
                None => mesh.broadcast(payload).await,
                Some(code) => mesh.broadcast_as(code, payload).await,
            }
        })
    }

    /// As [`Mesh::send`] or [`Mesh::send_as`]; without waiting as [`Mesh::try_send`].
    ///
    /// # Errors
    /// Those of these; [`ErrorCode::TimedOut`], and then it may still be sent once its addressee is found.
    pub fn send(
        &self,
        peer: &NodeId,
        code: Option<u64>,
        payload: &Packed<'_>,
        wait: Wait,
    ) -> Result<SendReport, Error> {
        let mesh = self.mesh();
        let at_once = match code {
            None => mesh.try_send(peer, payload),
            Some(code) => mesh.try_send_as(peer, code, payload),
        };
        match at_once {
            Err(peernet::Error::Full { .. } | peernet::Error::NotConnected(_)) if wait != Wait::Never => {}
            done => return Ok(done?),
        }
        self.block_on(wait, async {
            match code {
                None => mesh.send(peer, payload).await,
                Some(code) => mesh.send_as(peer, code, payload).await,
            }
        })
    }

    /// As [`Mesh::close`], which is bounded by itself. Whoever waits for events is released once all is read.
    ///
    /// # Errors
    /// [`ErrorCode::Reentrant`].
    pub fn close(&self) -> Result<(), Error> {
        let closed = async {
            self.mesh().close().await;
            Ok::<_, Error>(())
        };
        self.block_on(Wait::Forever, closed)?;
        self.asked.close();
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if check_process().is_err() {
            // What there is of it here belongs to another process's threads.
            std::mem::forget((self.network.clone(), self.runtime.clone()));
        }
    }
}
