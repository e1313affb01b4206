//! How a node's records lie in a store, and how what older versions kept is taken over.
//!
//! | key | value |
//! |---|---|
//! | `s` | the number of the layout, 4 bytes |
//! | `n`, the first 8 bytes of the digest of the protocol id, the record's name | the record |
//!
//! A directory can so serve one node after the other in several subnets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::data_dir::{DataDir, DataError};
use super::{SledStore, Store, StoreError, Write};
use crate::identity::ProtocolId;
use crate::protocol::records;
use crate::wire::body::digest;

/// Under this key stands the number of the layout.
const LAYOUT_KEY: &[u8] = b"s";
/// The number of this layout. Before the first there were no stores, only a file of bans.
const LAYOUT: u32 = 1;
/// What the keys of records begin with.
const RECORD: u8 = b'n';
/// Damaged stores that are set aside beside each other, at most. Beyond, the last is replaced.
const MAX_ASIDE: u32 = 100;

/// A record's name and the record.
pub(crate) type Record = (Bytes, Bytes);

/// A damaged store that an empty one replaced, but for what could still be read.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Where the damaged one is now.
    pub(crate) path: PathBuf,
    pub(crate) problem: String,
}

/// What was found when a node's records were opened.
pub(crate) struct Opened {
    pub(crate) kept: Kept,
    pub(crate) records: Vec<Record>,
    pub(crate) replaced: Option<Replaced>,
}

/// The records of one node, and the directory that they may be in.
pub(crate) struct Kept {
    store: Arc<dyn Store>,
    scope: Vec<u8>,
    /// In use as long as the store is, and so dropped behind it.
    _data: Option<DataDir>,
}

impl Kept {
    /// Opens the records of a node of `protocol`: in the store that is given, or else in the directory. What
    /// an older version kept there is taken over in any case. `None` if neither is given.
    pub(crate) fn open(
        data: Option<DataDir>,
        store: Option<Arc<dyn Store>>,
        protocol: &ProtocolId,
    ) -> Result<Option<Opened>, OpenError> {
        let mut scope = vec![RECORD];
        scope.extend(digest(protocol.as_str().as_bytes()).iter().take(8));
        let mut records = Vec::new();
        let mut replaced = None;
        let store = match (store, &data) {
            (Some(store), _) => {
                read_all(&*store, &scope, &mut records)?;
                store
            }
            (None, Some(data)) => Arc::new(open_in(&data.store(), &scope, &mut records, &mut replaced)?),
            (None, None) => return Ok(None),
        };
        let kept = Self { store, scope, _data: None };
        if let Some(data) = &data {
            kept.take_over(data, &mut records)?;
        }
        Ok(Some(Opened { kept: Self { _data: data, ..kept }, records, replaced }))
    }

    /// The bans that 0.1 kept in a file. If the process ends in between, this is done once more.
    fn take_over(&self, data: &DataDir, records: &mut Vec<Record>) -> Result<(), OpenError> {
        let bans = data.old_bans()?;
        if !bans.is_empty() {
            let bans = bans.iter().map(|(peer, until)| records::ban(peer, *until));
            let bans: Vec<_> = bans.map(|(key, value)| Write::put(key, value)).collect();
            records.extend(bans.iter().filter_map(|ban| Some((ban.key.clone().into(), ban.value.clone()?))));
            self.apply(bans)?;
            self.flush()?;
        }
        Ok(data.remove_old_bans()?)
    }

    /// Changes records, all or none.
    pub(crate) fn apply(&self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        for write in &mut writes {
            write.key.splice(..0, self.scope.iter().copied());
        }
        self.store.apply(&writes)
    }

    /// Returns when all that was applied is on the disk.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }
}

/// Why records cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the layout of a store and reads the records in it. What was read before an error stays.
fn read_all(store: &dyn Store, scope: &[u8], records: &mut Vec<Record>) -> Result<(), StoreError> {
    match store.get(LAYOUT_KEY)?.map(|layout| <[u8; 4]>::try_from(&layout[..]).map(u32::from_be_bytes)) {
        None => {
            store.apply(&[Write::put(LAYOUT_KEY, LAYOUT.to_be_bytes().to_vec())])?;
            store.flush()?;
        }
        Some(Ok(LAYOUT)) => {}
        Some(Ok(later)) if later > LAYOUT => return Err(StoreError::Newer),
        Some(_) => return Err(StoreError::Damaged("its layout is none that ever was".to_owned())),
    }
    for record in store.scan_prefix(scope) {
        let (key, value) = record?;
        records.push((key.slice(scope.len().min(key.len())..), value));
    }
    Ok(())
}

/// Opens the store in a directory. A damaged one is set aside, and a new one holds what could still be read
/// of it.
fn open_in(
    path: &Path,
    scope: &[u8],
    records: &mut Vec<Record>,
    replaced: &mut Option<Replaced>,
) -> Result<SledStore, DataError> {
    let failed = |source: StoreError| match source {
        StoreError::Newer => DataError::Newer { path: path.to_owned() },
        StoreError::Io(source) => DataError::Io { path: path.to_owned(), source },
        source => DataError::Io { path: path.to_owned(), source: io::Error::other(source) },
    };
    let io_failed = |source| failed(StoreError::Io(source));
    if path.try_exists().map_err(io_failed)? {
        match open_made(path, scope, records) {
            Ok(store) => return Ok(store),
            Err(error) if !is_damage(&error) => return Err(failed(error)),
            Err(error) => {
                let aside = set_aside(path).map_err(io_failed)?;
                *replaced = Some(Replaced { path: aside, problem: error.to_string() });
            }
        }
    }
    let store = make(path).map_err(failed)?;
    let found = records.iter().map(|(key, value)| Write::put([scope, key].concat(), value.clone()));
    store.apply(&found.collect::<Vec<_>>()).and_then(|()| store.flush()).map_err(failed)?;
    Ok(store)
}

fn open_made(path: &Path, scope: &[u8], records: &mut Vec<Record>) -> Result<SledStore, StoreError> {
    let store = SledStore::open(path)?;
    if store.get(LAYOUT_KEY)?.is_none() {
        // A store gets its name when it has a layout, so this one has lost what was in it.
        return Err(StoreError::Damaged("nothing is left in it".to_owned()));
    }
    read_all(&store, scope, records)?;
    Ok(store)
}

/// Makes an empty store. It gets its name only when it can be told from one that has lost everything.
fn make(path: &Path) -> Result<SledStore, StoreError> {
    let new = path.with_extension("new");
    if new.try_exists()? {
        fs::remove_dir_all(&new)?;
    }
    let store = SledStore::open(&new)?;
    store.apply(&[Write::put(LAYOUT_KEY, LAYOUT.to_be_bytes().to_vec())])?;
    store.flush()?;
    drop(store);
    // Some systems do not rename what is open.
    SledStore::wait_until_free(&new)?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    SledStore::open(path)
}

/// Whether an empty store would do better, and the old one would only fail again.
fn is_damage(error: &StoreError) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull};
    match error {
        StoreError::Newer => false,
        StoreError::Io(error) => {
            let not_its_fault =
                [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull];
            !not_its_fault.contains(&error.kind())
        }
        _ => true,
    }
}

/// Gives a damaged store another name, and returns that.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    let free = (1..=MAX_ASIDE).map(name).find(|name| !name.exists());
    let aside = match free {
        Some(aside) => aside,
        None => {
            let last = name(MAX_ASIDE);
            let removed = if last.is_dir() { fs::remove_dir_all(&last) } else { fs::remove_file(&last) };
            removed?;
            last
        }
    };
    fs::rename(path, &aside)?;
    Ok(aside)
}
