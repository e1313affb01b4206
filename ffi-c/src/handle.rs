//! Handles: numbers that stand for long-lived objects. One that was closed, or never given, is an error.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock};

use node::ErrorCode;
use peernet_bindings::Error;

type Object = Arc<dyn Any + Send + Sync>;

struct Slot {
    /// Of the object in it, or the next one. From 1, so that no handle is 0.
    generation: u32,
    object: Option<Object>,
}

struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Generation of new slots.
    first: u32,
}

static TABLE: RwLock<Table> = RwLock::new(Table { slots: Vec::new(), free: Vec::new(), first: 1 });

fn split(handle: u64) -> (usize, u32) {
    // The low half fits everywhere.
    ((handle & u64::from(u32::MAX)) as usize, (handle >> 32) as u32)
}

fn no_such() -> Error {
    Error::new(ErrorCode::Closed, "the handle is closed, or was never given, or is that of something else")
}

impl Table {
    fn find(&self, handle: u64) -> Result<&Object, Error> {
        let (at, generation) = split(handle);
        let slot = self.slots.get(at).filter(|slot| slot.generation == generation);
        slot.and_then(|slot| slot.object.as_ref()).ok_or_else(no_such)
    }
}

impl Table {
    /// Keeps no memory while there are no objects: the library may be unloaded then.
    fn give_back(&mut self) {
        if self.free.len() == self.slots.len() {
            let generations = self.slots.iter().map(|slot| slot.generation);
            self.first = generations.max().unwrap_or(self.first);
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}

/// Gives an object a handle.
pub(crate) fn open<T: Send + Sync + 'static>(object: Arc<T>) -> Result<u64, Error> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let at = match table.free.pop() {
        Some(at) => at,
        None => {
            let full = |_| Error::new(ErrorCode::TooMany, "there are too many handles; close some");
            let at = u32::try_from(table.slots.len()).map_err(full)?;
            let generation = table.first;
            table.slots.push(Slot { generation, object: None });
            at
        }
    };
    let slot = table.slots.get_mut(at as usize).ok_or_else(no_such)?;
    slot.object = Some(object);
    Ok(u64::from(slot.generation) << 32 | u64::from(at))
}

/// The object of a handle. It lives while it is used, even if another thread closes the handle meanwhile.
pub(crate) fn get<T: Send + Sync + 'static>(handle: u64) -> Result<Arc<T>, Error> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let object = table.find(handle)?.clone();
    drop(table);
    object.downcast().map_err(|_| no_such())
}

/// Takes the object of a handle, which is closed from now on: of several threads that try, one succeeds.
pub(crate) fn close<T: Send + Sync + 'static>(handle: u64) -> Result<Arc<T>, Error> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let object = table.find(handle)?.clone().downcast().map_err(|_| no_such())?;
    let (at, _) = split(handle);
    let slot = table.slots.get_mut(at).ok_or_else(no_such)?;
    slot.object = None;
    // A place whose generations are used up stays empty.
    if let Some(next) = slot.generation.checked_add(1) {
        slot.generation = next;
        table.free.extend(u32::try_from(at));
    }
    table.give_back();
    Ok(object)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Error>) -> ErrorCode {
        result.err().unwrap().code()
    }

    #[test]
    fn a_closed_handle_stays_closed() {
        let first = open(Arc::new("first")).unwrap();
        let held = get::<&str>(first).unwrap();
        assert_eq!(*close::<&str>(first).unwrap(), "first");
        assert_eq!(code(close::<&str>(first)), ErrorCode::Closed);
        assert_eq!(code(get::<&str>(first)), ErrorCode::Closed);
        assert_eq!(*held, "first");
        // Whatever stands in its place now is not found by it.
        let others: Vec<_> = (0..10).map(|_| open(Arc::new("other")).unwrap()).collect();
        assert!(!others.contains(&first));
        assert_eq!(code(get::<&str>(first)), ErrorCode::Closed);
        for other in others {
            close::<&str>(other).unwrap();
        }
    }

    #[test]
    fn an_empty_table_keeps_nothing_but_its_generation() {
        let mut table = Table { slots: Vec::new(), free: Vec::new(), first: 5 };
        table.give_back();
        assert_eq!(table.first, 5);
        let slot = |generation| Slot { generation, object: None };
        table.slots = vec![slot(7), slot(9)];
        table.free = vec![1];
        table.give_back();
        assert_eq!((table.slots.len(), table.first), (2, 5));
        table.free = vec![1, 0];
        table.give_back();
        assert_eq!((table.slots.capacity(), table.free.capacity(), table.first), (0, 0, 9));
    }

    #[test]
    fn a_handle_is_of_one_kind() {
        let handle = open(Arc::new(5_u8)).unwrap();
        assert_eq!(code(get::<&str>(handle)), ErrorCode::Closed);
        assert_eq!(code(close::<&str>(handle)), ErrorCode::Closed);
        assert_eq!(*close::<u8>(handle).unwrap(), 5);
        for none in [0, 1, u64::MAX, handle ^ 1 << 40] {
            assert_eq!(code(get::<u8>(none)), ErrorCode::Closed);
        }
    }
}
