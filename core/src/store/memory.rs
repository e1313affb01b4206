//! A store that outlives a node, but not the process.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::{Records, Store, StoreError, Write};

/// Records in memory: for tests, and for nodes that are opened again within one process.
///
/// Share it with `Arc` to keep it when its node is closed.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.records.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for Write { key, value } in writes {
            match value {
                Some(value) => records.insert(Bytes::copy_from_slice(key), value.clone()),
                None => records.remove(&key[..]),
            };
        }
        Ok(())
    }

    fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let from = records.range(Bytes::copy_from_slice(prefix)..);
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        // They share their bytes with the store, which so can be written to meanwhile.
        let found: Vec<_> = found.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Box::new(found.into_iter())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::check_store;

    /// K-1
    #[test]
    fn it_is_a_store() -> Result<(), StoreError> {
        let store = Arc::new(MemoryStore::default());
        check_store(|| Ok(store.clone()))
    }
}
