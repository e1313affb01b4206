//! What any store must do.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Store, StoreError, Write};

/// Checks that a store does what [`Store`] says. `open` opens the same store with every call, an empty
/// one the first time; the last one that it opened is dropped before.
///
/// ```
/// use std::sync::Arc;
/// use peernet::store::{MemoryStore, check_store};
///
/// let kept = Arc::new(MemoryStore::default());
/// check_store(|| Ok(kept.clone()))?;
/// # Ok::<(), peernet::store::StoreError>(())
/// ```
///
/// # Errors
/// [`StoreError`] as soon as the store gives one.
///
/// # Panics
/// If the store does something else than it should.
pub fn check_store<S: Store>(mut open: impl FnMut() -> Result<S, StoreError>) -> Result<(), StoreError> {
    empty(&open()?)?;
    single_records(&open()?)?;
    batches(&open()?)?;
    prefixes(&open()?)?;
    values_of_any_size(&mut open)?;
    any_changes(&mut open)?;
    threads(&open()?)
}

fn all(store: &impl Store, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    store.scan_prefix(prefix).collect()
}

fn empty(store: &impl Store) -> Result<(), StoreError> {
    assert!(all(store, b"")?.is_empty(), "a new store is empty");
    assert_eq!(store.get(b"")?, None);
    store.apply(&[])?;
    store.apply(&[Write::delete("nothing")])?;
    store.flush()
}

fn single_records(store: &impl Store) -> Result<(), StoreError> {
    let values: [&[u8]; 3] = [b"one", b"", &[0, 255, 0]];
    for key in [&b""[..], b"k", &[0], &[255, 255], &[0, 0, 1]] {
        for value in values {
            store.apply(&[Write::put(key, Bytes::copy_from_slice(value))])?;
            assert_eq!(store.get(key)?.as_deref(), Some(value), "what was put under {key:?}");
        }
        store.apply(&[Write::delete(key)])?;
        assert_eq!(store.get(key)?, None, "{key:?} was deleted");
    }
    store.flush()
}

fn batches(store: &impl Store) -> Result<(), StoreError> {
    // In order: the last change of a key counts.
    store.apply(&[
        Write::put("a", "1"),
        Write::delete("a"),
        Write::put("a", "2"),
        Write::put("b", "1"),
        Write::delete("b"),
    ])?;
    assert_eq!((store.get(b"a")?.as_deref(), store.get(b"b")?), (Some(&b"2"[..]), None));
    let many: Vec<_> = (0..5000_u32).map(|n| Write::put(n.to_be_bytes(), format!("value {n}"))).collect();
    store.apply(&many)?;
    store.flush()?;
    assert_eq!(store.get(&4999_u32.to_be_bytes())?.as_deref(), Some(&b"value 4999"[..]));
    let none: Vec<_> = many.into_iter().map(|write| Write::delete(write.key)).collect();
    store.apply(&none)?;
    store.apply(&[Write::delete("a")])?;
    assert!(all(store, b"")?.is_empty());
    Ok(())
}

fn prefixes(store: &impl Store) -> Result<(), StoreError> {
    let keys: [&[u8]; 8] = [b"", &[0], b"a", b"a\0", b"aa", b"ab", b"b", &[255, 255]];
    // Not in their order.
    let writes: Vec<_> = keys.iter().rev().map(|key| Write::put(*key, Bytes::copy_from_slice(key))).collect();
    store.apply(&writes)?;
    for prefix in [&b""[..], b"a", b"aa", b"ab", b"abc", b"b", &[0], &[255], &[255, 255], &[255, 255, 0]] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let found = all(store, prefix)?;
        assert!(found.iter().all(|(key, value)| key == value));
        assert!(
            found.iter().map(|(key, _)| &key[..]).eq(expected.into_iter().copied()),
            "{prefix:?}: {found:?}"
        );
    }
    store.apply(&keys.map(Write::delete))
}

fn values_of_any_size<S: Store>(open: &mut impl FnMut() -> Result<S, StoreError>) -> Result<(), StoreError> {
    let value = |n: usize| -> Bytes { (0..n).map(|at| (at * 31 + n) as u8).collect() };
    let sizes = [1 << 20, 0, 4096, 4095, 4097, 8192, 100_000, 3 << 20, 1];
    let store = open()?;
    for size in sizes {
        // One after the other under one key, and all of them beside each other.
        store.apply(&[Write::put("one", value(size)), Write::put(format!("all {size}"), value(size))])?;
        assert_eq!(store.get(b"one")?, Some(value(size)), "{size} bytes");
    }
    store.flush()?;
    drop(store);
    let store = open()?;
    for size in sizes {
        let key = format!("all {size}");
        assert_eq!(store.get(key.as_bytes())?, Some(value(size)), "{size} bytes, opened again");
        assert_eq!(all(&store, key.as_bytes())?.first().map(|(_, found)| found.len()), Some(size));
    }
    assert_eq!(all(&store, b"")?.len(), sizes.len() + 1, "nothing but what was put there");
    store.apply(&[Write::delete("one")])?;
    for size in sizes {
        store.apply(&[Write::delete(format!("all {size}"))])?;
    }
    assert!(all(&store, b"")?.is_empty());
    Ok(())
}

/// Changes in a sequence that nobody thought of, beside a map.
fn any_changes<S: Store>(open: &mut impl FnMut() -> Result<S, StoreError>) -> Result<(), StoreError> {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut expected = BTreeMap::<Bytes, Bytes>::new();
    for _ in 0..8 {
        let store = open()?;
        for _ in 0..20 {
            let writes: Vec<Write> = (0..random(40))
                .map(|_| {
                    let key = format!("{}", random(200)).into_bytes();
                    let size = random(200) * if random(20) == 0 { 100 } else { 1 };
                    let value: Bytes = (0..size).map(|_| random(256) as u8).collect();
                    Write { key, value: (random(4) > 0).then_some(value) }
                })
                .collect();
            store.apply(&writes)?;
            for Write { key, value } in writes {
                match value {
                    Some(value) => expected.insert(key.into(), value),
                    None => expected.remove(&key[..]),
                };
            }
        }
        let expect = |prefix: &[u8]| {
            let there = expected.iter().filter(|(key, _)| key.starts_with(prefix));
            there.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        assert!(all(&store, b"")? == expect(b"") && all(&store, b"1")? == expect(b"1"));
        store.flush()?;
    }
    let store = open()?;
    for key in expected.keys() {
        store.apply(&[Write::delete(key.to_vec())])?;
    }
    assert!(all(&store, b"")?.is_empty());
    store.flush()
}

fn threads(store: &impl Store) -> Result<(), StoreError> {
    let write = |thread: u32| {
        (0..200_u32).try_for_each(|n| {
            let key = [thread.to_be_bytes(), n.to_be_bytes()].concat();
            store.apply(&[Write::put(key.clone(), key)])
        })
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || write(thread))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    for result in results {
        assert!(result.is_ok(), "a thread panicked");
        result.unwrap_or(Ok(()))?;
    }
    assert_eq!(all(store, b"")?.len(), 800);
    store.flush()
}
