//! What outlives a node: its data directory, and the store in it or one of the user's own.
//!
//! | file | decides |
//! |---|---|
//! | `data_dir` | which files there are, and who may read them |
//! | `layout` | what the keys in a store are, and how older layouts are taken over |
//! | `memory`, `sled` | two stores |
//! | `suite` | what any store must do |

mod data_dir;
mod layout;
mod memory;
mod sled;
mod suite;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use data_dir::{DataDir, DataError, read_owners_text, write_owners_text};
pub(crate) use layout::{Kept, OpenError, Opened, Replaced};
pub use memory::MemoryStore;
pub use sled::SledStore;
pub use suite::check_store;

/// One change of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Of which key.
    pub key: Vec<u8>,
    /// What it holds from then on; `None` for nothing.
    pub value: Option<Bytes>,
}

impl Write {
    /// `key` holds `value` from then on.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }

    /// `key` holds nothing from then on.
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// Records in the order of their keys, as a store gives them out.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), StoreError>> + 'a>;

/// A place for records that outlive the node: values under keys, both bytes, sorted by key.
///
/// A node reads all its records once, when it is opened, and from then on only writes, from one thread
/// of its own. So calls may block. A store of your own is given with [`Builder::store`](crate::Builder::store), and should pass
/// [`check_store`].
///
/// ```
/// use peernet::store::{MemoryStore, Store, Write};
///
/// let store = MemoryStore::default();
/// store.apply(&[Write::put("a/1", "one"), Write::put("a/2", "two"), Write::delete("a/1")])?;
/// store.flush()?;
/// let all = store.scan_prefix(b"a/").collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(all, [("a/2".into(), "two".into())]);
/// # Ok::<(), peernet::store::StoreError>(())
/// ```
pub trait Store: Send + Sync {
    /// What a key holds.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Changes all these keys, in order, or if the process ends meanwhile, all or none of them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be written; some may have been.
    fn apply(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// All records whose keys begin with `prefix`, in the order of their keys. Ends after an error.
    fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a>;

    /// Returns when everything applied before will be there after a power failure.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be reached.
    fn flush(&self) -> Result<(), StoreError>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        (**self).get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        (**self).apply(writes)
    }

    fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a> {
        (**self).scan_prefix(prefix)
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }
}

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file of it cannot be read or written.
    #[error("a file of the store cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// What is in it is not what was put there.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A later version of peernet wrote what is in it.
    #[error("a later version of peernet wrote what is in the store")]
    Newer,
    /// It failed by itself: for stores of one's own.
    #[error("the store failed: {0}")]
    Failed(String),
}
