//! What outlives a node: its data directory and the stores (`spec/11-state.md`).

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::store::{MemoryStore, Records, SledStore, Write, check_store};
use peernet::{Builder, Config, Encryption, Error, Event, Mesh, Store, StoreError, SyncTable, Value};
use support::{eventually, soon};

const HOUR: Duration = Duration::from_secs(3600);

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    fn open(&self) -> impl Future<Output = Result<Mesh, Error>> + use<> {
        builder(1).data_dir(&self.0).open()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn keys(n: u8) -> KeyPair {
    KeyPair::from_secret([n; 32])
}

fn builder(n: u8) -> Builder {
    Mesh::builder().identity(keys(n))
}

/// The id of a node of the default subnet with the `n`th keys.
fn id(n: u8) -> NodeId {
    NodeId::of_key(&keys(n).public(), &ProtocolId::derive("mesh", "tls/mesh"))
}

fn banned(mesh: &Mesh) -> Vec<NodeId> {
    mesh.bans().into_iter().map(|ban| ban.peer).collect()
}

fn sorted(ids: impl IntoIterator<Item = u8>) -> Vec<NodeId> {
    let mut ids: Vec<_> = ids.into_iter().map(id).collect();
    ids.sort();
    ids
}

/// The events that wait, up to what was told before anything could happen.
async fn first_event(mesh: &Mesh) -> Event {
    soon("something is told", mesh.next_event()).await.expect("the node is open")
}

/// K-1
#[test]
fn the_embedded_store_is_a_store() {
    let folder = Folder::new("suite");
    check_store(|| SledStore::open(&folder.0)).unwrap();
    assert!(SledStore::open(&folder.0).is_ok());
    let file = folder.0.join("db");
    let error = SledStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");
}

/// A store that fails when it is told to, and counts its flushes.
#[derive(Default)]
struct Moody {
    inner: MemoryStore,
    fails: AtomicBool,
    panics: AtomicBool,
    flushes: AtomicUsize,
    batches: AtomicUsize,
}

impl Store for Moody {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        assert!(!self.panics.load(Ordering::SeqCst), "it was told to");
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("out of ink".to_owned()));
        }
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.inner.apply(writes)
    }

    fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a> {
        self.inner.scan_prefix(prefix)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// K-10, K-15, K-20, L-90: what is kept comes back, after a goodbye and without one.
#[tokio::test]
async fn a_node_begins_with_what_it_kept() {
    let folder = Folder::new("begins");
    let mesh = folder.open().await.unwrap();
    for n in 2..6 {
        mesh.ban(&id(n), HOUR).unwrap();
    }
    mesh.unban(&id(4)).unwrap();
    mesh.ban(&id(5), Duration::ZERO).unwrap();
    let bans = mesh.bans();
    mesh.close().await;
    mesh.flush().await.unwrap();

    let mesh = folder.open().await.unwrap();
    assert_eq!(mesh.bans(), bans);
    assert_eq!(banned(&mesh), sorted([2, 3]));
    mesh.unban(&id(2)).unwrap();
    drop(mesh);
    assert_eq!(banned(&folder.open().await.unwrap()), [id(3)]);

    // What is kept by itself, without anybody asking.
    let mesh = builder(1).data_dir(&folder.0).open().await.unwrap();
    let before = mesh.stats().records_kept;
    mesh.ban(&id(7), HOUR).unwrap();
    eventually("the ban is kept", || (mesh.stats().records_kept > before).then_some(())).await;
}

/// K-8
#[tokio::test]
async fn every_encryption_may_have_a_data_directory() {
    for (encryption, has_identity) in [
        (Encryption::Tls, true),
        (Encryption::Plaintext, false),
        (Encryption::Ssl, false),
        (Encryption::Ws, false),
        (Encryption::Wss, false),
    ] {
        let folder = Folder::new(encryption.protocol_name());
        let open = || Mesh::builder().encryption(encryption).data_dir(&folder.0).durable(true).open();
        drop(open().await.unwrap());
        let mesh = open().await.unwrap();
        mesh.flush().await.unwrap();
        assert!(folder.store().is_dir());
        assert_eq!(folder.0.join("identity").exists(), has_identity, "{encryption:?}");
    }
}

/// K-9, K-12
#[tokio::test]
async fn without_a_place_nothing_is_kept() {
    let mesh = builder(1).open().await.unwrap();
    mesh.ban(&id(2), HOUR).unwrap();
    mesh.flush().await.unwrap();
    assert_eq!(mesh.stats().records_kept, 0);
    let error = builder(1).durable(true).open().await.unwrap_err();
    assert!(error.code() == "config" && error.to_string().contains("durable"), "{error}");
}

/// K-2: one directory serves one subnet after the other, and none sees another's records.
#[tokio::test]
async fn subnets_keep_their_records_apart() {
    let folder = Folder::new("apart");
    let open = async |subnet: &str| builder(1).subnet(subnet).data_dir(&folder.0).open().await.unwrap();
    let mesh = open("one").await;
    mesh.ban(&id(2), HOUR).unwrap();
    mesh.close().await;
    let mesh = open("two").await;
    assert!(banned(&mesh).is_empty());
    mesh.ban(&id(3), HOUR).unwrap();
    mesh.close().await;
    assert_eq!(banned(&open("one").await), [id(2)]);
    assert_eq!(banned(&open("two").await), [id(3)]);
}

/// K-3: a directory as 0.1 left it.
#[tokio::test]
async fn an_older_directory_is_taken_over() {
    let folder = Folder::new("older");
    fs::create_dir_all(&folder.0).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.0.join(name);
        let _ = fs::remove_file(&path);
        peernet::store::write_owners_text(&path, text).unwrap();
    };
    write("identity", &keys(1).to_text());
    write("bans", &format!("4102444800 {}\n12345 {}", id(2), id(3)));
    let open = async || Mesh::builder().data_dir(&folder.0).open().await;
    let mesh = open().await.unwrap();
    assert_eq!((mesh.id(), banned(&mesh)), (&id(1), vec![id(2)]));
    mesh.ban(&id(4), HOUR).unwrap();
    mesh.close().await;
    assert!(!folder.0.join("bans").exists());
    assert_eq!(banned(&open().await.unwrap()), sorted([2, 4]));

    // The process ended before the file was gone, or 0.1 ran once more: nobody is let in for that.
    write("bans", &format!("4102444800 {}", id(5)));
    assert_eq!(banned(&open().await.unwrap()), sorted([2, 4, 5]));

    // A list that does not read is nothing to start with.
    write("bans", "never 2abc");
    let error = open().await.unwrap_err();
    assert!(error.code() == "data" && error.to_string().contains("bans"), "{error}");
}

/// K-4
#[tokio::test]
async fn what_a_later_version_wrote_is_left_alone() {
    let folder = Folder::new("later");
    drop(folder.open().await.unwrap());
    let store = SledStore::open(folder.store()).unwrap();
    assert_eq!(store.get(b"s").unwrap().as_deref(), Some(&[0, 0, 0, 1][..]));
    store.apply(&[Write::put("s", vec![0, 0, 0, 2])]).unwrap();
    store.flush().unwrap();
    drop(store);
    let error = folder.open().await.unwrap_err();
    assert!(error.code() == "data" && error.to_string().contains("later version"), "{error}");
    assert!(SledStore::open(folder.store()).is_ok(), "it is where it was");

    let own = Arc::new(MemoryStore::default());
    own.apply(&[Write::put("s", vec![0, 0, 0, 2])]).unwrap();
    assert_eq!(builder(1).store(own).open().await.unwrap_err().code(), "store");
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// K-5
#[tokio::test]
async fn a_damaged_store_is_set_aside_and_told() {
    let folder = Folder::new("damaged");
    let mesh = folder.open().await.unwrap();
    mesh.ban(&id(2), HOUR).unwrap();
    mesh.close().await;
    let whole = folder.0.join("whole");
    copy(&folder.store(), &whole);

    type Damage = fn(&Path);
    let ways: [Damage; 6] = [
        |store| damage(&store.join("db"), |bytes| bytes.fill(0)),
        |store| damage(&store.join("db"), |bytes| bytes.fill(0xA5)),
        |store| damage(&store.join("db"), Vec::clear),
        |store| damage(&store.join("conf"), |bytes| bytes.reverse()),
        |store| fs::remove_dir_all(store.join("db")).or_else(|_| fs::remove_file(store.join("db"))).unwrap(),
        |store| {
            fs::remove_dir_all(store).unwrap();
            fs::write(store, "a file").unwrap();
        },
    ];
    for (number, damage) in ways.into_iter().enumerate() {
        let _ = fs::remove_dir_all(folder.store());
        copy(&whole, &folder.store());
        damage(&folder.store());
        let mesh = folder.open().await.unwrap();
        let Event::StoreReplaced { path, problem } = first_event(&mesh).await else { panic!("{number}") };
        assert_eq!(path, folder.0.join(format!("store.damaged-{}", number + 1)), "{problem}");
        assert!(path.exists() && !problem.is_empty());
        assert!(banned(&mesh).is_empty());
        assert_eq!(mesh.id(), &id(1), "the identity is not in it");
        // The new one does what the old one did.
        mesh.ban(&id(3), HOUR).unwrap();
        mesh.flush().await.unwrap();
        drop(mesh);
        assert_eq!(banned(&folder.open().await.unwrap()), [id(3)]);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// K-5: wherever a store is damaged, the node starts, and what it says is true.
#[tokio::test]
async fn no_damage_keeps_a_node_from_starting() {
    let folder = Folder::new("anywhere");
    let mesh = folder.open().await.unwrap();
    for n in 2..60 {
        mesh.ban(&id(n), HOUR).unwrap();
        if n % 9 == 0 {
            mesh.flush().await.unwrap();
        }
    }
    mesh.close().await;
    let whole = folder.0.join("whole");
    copy(&folder.store(), &whole);
    let length = fs::metadata(whole.join("db")).unwrap().len() as usize;
    let used = fs::read(whole.join("db")).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for step in 0..24 {
        let _ = fs::remove_dir_all(folder.store());
        copy(&whole, &folder.store());
        let at = used * step / 24;
        damage(&folder.store().join("db"), |bytes| match step % 3 {
            0 => bytes[at] ^= 0x10,
            1 => bytes.truncate(at),
            _ => bytes[at..(at + 100).min(length)].fill(0xFF),
        });
        let mesh = folder.open().await.unwrap();
        let all = banned(&mesh);
        assert!(all.iter().all(|peer| (2..60).any(|n| id(n) == *peer)), "made up: {all:?}");
        mesh.ban(&id(99), HOUR).unwrap();
        mesh.flush().await.unwrap();
    }
}

/// K-6, K-7
#[tokio::test]
async fn records_that_do_not_read_are_told_and_the_rest_is_used() {
    let kept = Arc::new(MemoryStore::default());
    let mesh = builder(1).store(kept.clone()).open().await.unwrap();
    mesh.ban(&id(2), HOUR).unwrap();
    mesh.ban(&id(3), HOUR).unwrap();
    mesh.ban(&id(4), HOUR).unwrap();
    mesh.close().await;
    let bans = |store: &MemoryStore| {
        let all = store.scan_prefix(b"n").map(Result::unwrap);
        all.map(|(key, _)| key).filter(|key| key[9] == b'x').collect::<Vec<_>>()
    };
    let keys = bans(&kept);
    assert_eq!(keys.len(), 3);
    let unknown = [&keys[0][..9], b"?"].concat();
    let nameless = keys[0][..9].to_vec();
    let nobody = [&keys[0][..10], b"0OIl"].concat();
    let writes = [
        Write::put(keys[0].to_vec(), "\u{1}short"),
        Write::put(keys[1].to_vec(), vec![9; 9]),
        Write::put(unknown, "?"),
        Write::put(nameless, "?"),
        Write::put(nobody, vec![1; 9]),
    ];
    kept.apply(&writes).unwrap();
    let mesh = builder(1).store(kept).open().await.unwrap();
    let Event::RecordsDamaged { count: 5, problem } = first_event(&mesh).await else { panic!() };
    assert!(problem.contains("does not read"), "{problem}");
    assert_eq!((banned(&mesh).len(), mesh.stats().records_damaged), (1, 5));
}

/// K-11
#[tokio::test]
async fn those_who_wait_for_the_disk_wait_together() {
    let store = Arc::new(Moody::default());
    let config = Config { flush_interval: HOUR, ..Config::default() };
    let mesh = Arc::new(builder(1).store(store.clone()).config(config).open().await.unwrap());
    let before = store.flushes.load(Ordering::SeqCst);
    let mut waiting = Vec::new();
    for n in 0..100 {
        mesh.ban(&id(n + 2), HOUR).unwrap();
        let mesh = mesh.clone();
        waiting.push(tokio::spawn(async move { mesh.flush().await }));
    }
    for done in waiting {
        soon("it is kept", done).await.unwrap().unwrap();
    }
    let kept = store.scan_prefix(b"n").filter(|record| record.as_ref().unwrap().0[9] == b'x').count();
    let flushes = store.flushes.load(Ordering::SeqCst) - before;
    assert!(kept == 100 && flushes <= 100, "{kept} in {flushes}");
    assert_eq!(store.batches.load(Ordering::SeqCst), store.flushes.load(Ordering::SeqCst));
}

/// K-14
#[tokio::test]
async fn a_store_that_fails_is_told_once_and_tried_again() {
    let store = Arc::new(Moody::default());
    let config = Config { flush_interval: Duration::from_millis(1), keep_queue: 500, ..Config::default() };
    let mesh = builder(1).store(store.clone()).config(config).open().await.unwrap();
    for how in [&store.fails, &store.panics] {
        how.store(true, Ordering::SeqCst);
        for n in 2..8 {
            mesh.ban(&id(n), HOUR).unwrap();
            let error = soon("it fails", mesh.flush()).await.unwrap_err();
            let text = error.to_string();
            assert!(error.code() == "store" && (text.contains("out of ink") || text.contains("panicked")));
        }
        assert!(matches!(first_event(&mesh).await, Event::StoreFailed { .. }));
        assert_eq!(banned(&mesh).len(), 6, "the node goes on");
        how.store(false, Ordering::SeqCst);
        soon("it works again", mesh.flush()).await.unwrap();
    }
    assert!(mesh.stats().records_lost > 0, "beyond the bound");
    let lost = mesh.stats().records_lost;
    store.fails.store(true, Ordering::SeqCst);
    mesh.ban(&id(50), HOUR).unwrap();
    mesh.close().await;
    assert!(mesh.stats().records_lost > lost, "the last are not kept");
}

/// K-10, K-12
#[tokio::test]
async fn a_durable_change_is_kept_when_it_is_acknowledged() {
    for encryption in [Encryption::Tls, Encryption::Plaintext] {
        let store = Arc::new(Moody::default());
        let config = Config { flush_interval: HOUR, ..Config::default() };
        let open = async |durable| {
            let builder = SyncTable::builder().encryption(encryption).leases(false);
            builder.store(store.clone()).durable(durable).config(config.clone()).open().await.unwrap()
        };
        let entries =
            || store.scan_prefix(b"n").filter(|record| record.as_ref().unwrap().0[9] == b't').count();
        let table = open(true).await;
        for n in 1..=10 {
            let before = store.flushes.load(Ordering::SeqCst);
            table.set(format!("key {n}"), n).await.unwrap();
            assert_eq!(entries(), usize::try_from(n).unwrap());
            assert!(store.flushes.load(Ordering::SeqCst) > before);
        }
        store.fails.store(true, Ordering::SeqCst);
        assert!(matches!(table.set("key 11", 11).await, Err(Error::Store(_))));
        store.fails.store(false, Ordering::SeqCst);
        table.close().await;

        let table = open(false).await;
        assert!((1..=10).all(|n| table.get(format!("key {n}")) == Some(Value::Int(n))));
        let before = entries();
        table.set("key 12", 12).await.unwrap();
        assert_eq!(entries(), before, "that may wait");
        table.flush().await.unwrap();
        assert_eq!(entries(), before + 1);
        table.set("key 13", 13).await.unwrap();
        table.close().await;
        assert_eq!(entries(), before + 2);
    }
}
