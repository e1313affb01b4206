//! The node in the foreground, of whichever kind of network.

use std::ops::Deref;

use peernet::{Changes, Mesh, SyncTable};
use tokio::sync::Mutex;

/// A node, with what can only be done with some kinds of it.
pub(super) enum Member {
    Mesh(Mesh),
    /// A table, and its changes from the beginning.
    Table(SyncTable, Mutex<Changes>),
}

impl Member {
    pub(super) fn of_mesh(mesh: Mesh) -> Self {
        Self::Mesh(mesh)
    }

    pub(super) fn of_table(table: SyncTable) -> Self {
        let changes = Mutex::new(table.watch());
        Self::Table(table, changes)
    }

    /// The table, if it is a node of one.
    pub(super) fn table(&self) -> Option<&SyncTable> {
        match self {
            Self::Mesh(_) => None,
            Self::Table(table, _) => Some(table),
        }
    }

    /// What happens to its table; nothing if it has none.
    pub(super) fn changes(&self) -> Option<&Mutex<Changes>> {
        match self {
            Self::Mesh(_) => None,
            Self::Table(_, changes) => Some(changes),
        }
    }
}

impl Deref for Member {
    type Target = Mesh;

    fn deref(&self) -> &Mesh {
        match self {
            Self::Mesh(mesh) => mesh,
            Self::Table(table, _) => table,
        }
    }
}
