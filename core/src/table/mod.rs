//! The front door to a table that every node of a subnet holds.

mod changes;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::sleep;

pub use changes::{Change, Changes};

use crate::error::Error;
use crate::identity::{MessageId, NodeId};
use crate::mesh::{Builder, Mesh, REPEAT_PAUSE, SendReport};
use crate::protocol::{Entry, Node, Now, Outbox, Table, TableError};
use crate::runtime::Stamped;
use crate::wire::value::unpack as unpack_all;
use crate::wire::{Limits, Pack, Value};

/// One node of a subnet whose nodes all hold the same table of keys and values.
///
/// Reading is local: what [`SyncTable::get`] says is what this node has heard so far. A change is made
/// here at once and goes to everyone else as a broadcast. Whoever joins is given what the others have.
/// With leases (the default) a key belongs to whoever set it for an hour from its last change, and nobody
/// else can change it; without ([`Builder::leases`]), the later change wins.
///
/// Keys are bytes, given as text or bytes. A value is anything that is one value on the wire, nil
/// excepted: that is what deleted keys have.
///
/// A table is a [`Mesh`] too: everything that one can do works on it.
///
/// ```
/// use peernet::{SyncTable, Value};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let a = SyncTable::builder().open().await?;
/// let b = SyncTable::builder().open().await?;
/// a.set("colour", "green").await?;
///
/// let mut changes = b.watch();
/// b.connect(&a.address().to_string()).await?;
/// let change = changes.recv().await?;
/// assert_eq!((&change.key[..], &change.owner), (&b"colour"[..], a.id()));
/// assert_eq!(b.get("colour"), Some(Value::from("green")));
///
/// // It is a's for an hour.
/// let error = b.set("colour", "red").await.unwrap_err();
/// assert_eq!(error.code(), "lease");
/// # a.close().await; b.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In subnets of p2p.today 0.7 (all encryptions but `tls`) its rules hold, with what they lack: nobody
/// remembers what was deleted, a js2p does not even hear of it, and clocks decide.
pub struct SyncTable {
    mesh: Mesh,
}

impl SyncTable {
    /// Options for a new node.
    pub fn builder() -> Builder<Self> {
        Builder::for_table()
    }

    pub(crate) fn new(mesh: Mesh) -> Self {
        Self { mesh }
    }

    /// The value of a key. Takes no network and does not wait.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        self.get_packed(key).map(|packed| unpack(&packed))
    }

    /// As [`SyncTable::get`], as it is packed.
    ///
    /// ```
    /// use peernet::SyncTable;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let table = SyncTable::builder().open().await?;
    /// table.set("colour", "green").await?;
    /// let packed = b"\xa5green".to_vec();
    /// assert_eq!(table.get_packed("colour"), Some(packed.clone()));
    /// let (key, value) = table.items_packed().remove(0);
    /// assert_eq!((&key[..], &value), (&b"colour"[..], &packed));
    /// assert_eq!(table.pop_packed("colour").await?, Some(packed));
    /// assert_eq!(table.popitem_packed().await?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_packed(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.entry(key, |entry, _| entry.value.to_vec())
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.entry(key, |_, _| ()).is_some()
    }

    /// Who set a key last.
    pub fn owner(&self, key: impl AsRef<[u8]>) -> Option<NodeId> {
        self.entry(key, |entry, _| entry.owner.clone())
    }

    /// When a key was set last, in seconds since 1970 UTC by its owner's clock.
    pub fn time(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        self.entry(key, |entry, _| entry.time)
    }

    /// How much longer nobody but its owner can change a key; `None` if anyone can.
    pub fn lease(&self, key: impl AsRef<[u8]>) -> Option<Duration> {
        self.entry(key, |entry, now| entry.lease(now)).flatten()
    }

    /// The number of keys that have a value.
    pub fn len(&self) -> usize {
        self.table(|table, _| table.len()).unwrap_or(0)
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys that have a value, in no particular order.
    pub fn keys(&self) -> Vec<Bytes> {
        self.each(|entry| Bytes::copy_from_slice(entry.key))
    }

    /// All values, in the order of [`SyncTable::keys`].
    pub fn values(&self) -> Vec<Value> {
        // Unpacked when nobody waits for the node any more.
        self.each(|entry| entry.value.to_vec()).iter().map(|packed| unpack(packed)).collect()
    }

    /// All keys with their values, as they are at one moment.
    pub fn items(&self) -> Vec<(Bytes, Value)> {
        let items = self.items_packed().into_iter();
        items.map(|(key, packed)| (key, unpack(&packed))).collect()
    }

    /// As [`SyncTable::items`], with the values as they are packed.
    pub fn items_packed(&self) -> Vec<(Bytes, Vec<u8>)> {
        self.each(|entry| (Bytes::copy_from_slice(entry.key), entry.value.to_vec()))
    }

    /// Gives a key a value. Waits as [`Mesh::broadcast`] does while a neighbour's queue is full, and with
    /// [`Builder::durable`] until the change is on the disk.
    ///
    /// Fails with [`Error::Lease`] while the key is another's, [`Error::TableFull`] at a bound of the table
    /// (`Config::table_keys`, `Config::table_bytes`), [`Error::Nil`] for nil, [`Error::TooLarge`] if no
    /// frame could hold it. Then nothing has changed.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Pack) -> Result<SendReport, Error> {
        let (key, value) = (Bytes::copy_from_slice(key.as_ref()), pack(&value)?);
        self.write(|node, at, out| node.table_set(at.now, at.stamp, key.clone(), value.clone(), out)).await
    }

    /// Sets one key after the other, up to the first error.
    pub async fn update(
        &self,
        items: impl IntoIterator<Item = (impl AsRef<[u8]>, impl Pack)>,
    ) -> Result<(), Error> {
        for (key, value) in items {
            self.set(key, value).await?;
        }
        Ok(())
    }

    /// Merges the entries of a map into the map that is the key's value, one level deep; a key without a
    /// value gets the map. Errors as of [`SyncTable::set`], and [`Error::NotAMap`] if either of the two is
    /// no map.
    ///
    /// ```
    /// use peernet::{SyncTable, Value};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let table = SyncTable::builder().open().await?;
    /// let entry = |name: &str, n: i32| Value::Map(vec![(name.into(), n.into())]);
    /// table.set("count", entry("apples", 2)).await?;
    /// table.delta("count", entry("pears", 3)).await?;
    /// let counts = table.get("count").unwrap();
    /// assert_eq!(counts.as_map().map(<[_]>::len), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn delta(&self, key: impl AsRef<[u8]>, map: impl Pack) -> Result<SendReport, Error> {
        let (key, map) = (key.as_ref(), pack(&map)?);
        self.write(|node, at, out| node.table_delta(at.now, at.stamp, key, map.clone(), out)).await
    }

    /// Takes a key's value away; `None` if it has none. Errors as of [`SyncTable::set`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Option<SendReport>, Error> {
        Ok(self.take(key.as_ref()).await?.map(|(report, _)| report))
    }

    /// Takes a key's value away, and returns it. Errors as of [`SyncTable::set`].
    pub async fn pop(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, Error> {
        Ok(self.pop_packed(key).await?.map(|packed| unpack(&packed)))
    }

    /// As [`SyncTable::pop`], as it was packed.
    pub async fn pop_packed(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.take(key.as_ref()).await?.map(|(_, packed)| packed))
    }

    /// Takes the value of some key away that this node may change, and returns both; `None` if there is
    /// none. Errors as of [`SyncTable::set`].
    pub async fn popitem(&self) -> Result<Option<(Bytes, Value)>, Error> {
        Ok(self.popitem_packed().await?.map(|(key, packed)| (key, unpack(&packed))))
    }

    /// As [`SyncTable::popitem`], with the value as it was packed.
    pub async fn popitem_packed(&self) -> Result<Option<(Bytes, Vec<u8>)>, Error> {
        loop {
            let id = self.mesh.id();
            let key = self.table(|table, now| {
                let mut ours = table.iter().filter(|entry| entry.lease(now).is_none() || entry.owner == id);
                ours.next().map(|entry| Bytes::copy_from_slice(entry.key))
            });
            let key = key.flatten();
            let Some(key) = key else { return Ok(None) };
            match self.pop_packed(&key).await {
                Ok(Some(packed)) => return Ok(Some((key, packed))),
                // Someone was faster.
                Ok(None) | Err(Error::Lease { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The changes from now on, by this node and all others. Up to `Config::watch_changes` of them wait to
    /// be read.
    pub fn watch(&self) -> Changes {
        Changes { watcher: self.mesh.runtime().watch() }
    }

    fn table<T>(&self, look: impl FnOnce(&Table, Now) -> T) -> Option<T> {
        let runtime = self.mesh.runtime();
        runtime.with_node(|node| Some(look(node.table()?, runtime.now())))
    }

    fn entry<T>(&self, key: impl AsRef<[u8]>, look: impl FnOnce(Entry<'_>, Now) -> T) -> Option<T> {
        self.table(|table, now| Some(look(table.get(key.as_ref())?, now))).flatten()
    }

    fn each<T>(&self, look: impl Fn(Entry<'_>) -> T) -> Vec<T> {
        self.table(|table, _| table.iter().map(look).collect()).unwrap_or_default()
    }

    /// The value that a key had until this deleted it.
    async fn take(&self, key: &[u8]) -> Result<Option<(SendReport, Vec<u8>)>, Error> {
        let mut value = None;
        let deleted = self
            .write(|node, at, out| {
                value = node.table().and_then(|table| table.get(key)).map(|entry| entry.value.to_vec());
                node.table_delete(at.now, at.stamp, key, out)
            })
            .await;
        match (deleted, value) {
            (Ok(report), Some(value)) => Ok(Some((report, value))),
            (Err(error), Some(_)) => Err(error),
            (_, None) => Ok(None),
        }
    }

    /// Changes the table, once there is room on all links.
    async fn write(
        &self,
        mut write: impl FnMut(&mut Node, Stamped, &mut Outbox) -> Result<MessageId, TableError>,
    ) -> Result<SendReport, Error> {
        let runtime = self.mesh.runtime();
        loop {
            if !runtime.has_own_room() {
                runtime.wait_for_own_room().await;
            }
            runtime.wait_to_keep().await;
            if runtime.is_due_to_yield() {
                // As in `Mesh::broadcast`.
                yield_now().await;
            }
            if runtime.is_closed() {
                return Err(Error::Closed);
            }
            match runtime.change(&mut write) {
                (Ok(id), links) => {
                    runtime.flush_if_durable().await?;
                    return Ok(SendReport { id, links });
                }
                // Others would take it for a copy of a change before.
                (Err(TableError::Repeated), _) => sleep(REPEAT_PAUSE).await,
                (Err(error), _) => return Err(error.into()),
            }
        }
    }
}

impl Deref for SyncTable {
    type Target = Mesh;

    fn deref(&self) -> &Mesh {
        &self.mesh
    }
}

impl fmt::Debug for SyncTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncTable")
            .field("id", self.id())
            .field("address", self.address())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// One packed value.
fn pack(value: &impl Pack) -> Result<Bytes, Error> {
    let mut packed = Vec::with_capacity(value.size_hint());
    value.pack(&mut packed)?;
    Ok(packed.into())
}

/// The form of what is in a table was checked when it came in.
pub(crate) fn unpack(packed: &[u8]) -> Value {
    let values = unpack_all(packed, 1, &Limits::default()).unwrap_or_default();
    values.into_iter().next().unwrap_or(Value::Nil)
}
