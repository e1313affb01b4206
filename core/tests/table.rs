//! What a program sees of [`SyncTable`], by the rules of both generations.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use peernet::{Config, Encryption, Error, Mesh, SyncTable, Value};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(encryption: Encryption, leases: bool) -> SyncTable {
    SyncTable::builder().encryption(encryption).leases(leases).open().await.unwrap()
}

/// Two that know each other.
async fn pair(encryption: Encryption, leases: bool) -> (SyncTable, SyncTable) {
    let (a, b) = (open(encryption, leases).await, open(encryption, leases).await);
    b.connect(&a.address().to_string()).await.unwrap();
    (a, b)
}

fn map(pairs: &[(&str, i32)]) -> Value {
    Value::Map(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
}

/// Waits until a key has this value.
async fn until(table: &SyncTable, key: &str, value: Option<Value>) {
    let mut changes = table.watch();
    timeout(PATIENCE, async {
        while table.get(key) != value {
            changes.recv().await.unwrap();
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{key} is {:?}, not {value:?}", table.get(key)));
}

/// S-4, S-5
async fn what_one_sets_all_have(encryption: Encryption) {
    let (a, b) = pair(encryption, true).await;
    assert!(a.is_empty());
    let report = a.set("text", "é").await.unwrap();
    assert_eq!(report.links, 1);
    a.set(b"\xff", &[Value::Int(1), Value::Nil][..]).await.unwrap();
    a.update([("one", 1), ("two", 2)]).await.unwrap();
    until(&b, "two", Some(2.into())).await;
    for table in [&a, &b] {
        let mut items = table.items();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        let keys: Vec<_> = items.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(keys, [&b"one"[..], b"text", b"two", b"\xff"]);
        assert_eq!((table.len(), table.keys().len(), table.values().len()), (4, 4, 4));
        assert_eq!(table.get(b"\xff"), Some(Value::Array(vec![1.into(), Value::Nil])));
        assert!(table.contains("one") && !table.contains("three"));
        assert_eq!(table.owner("text").as_ref(), Some(a.id()));
        let left = table.lease("text").unwrap();
        assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3601), "{left:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(table.time("text").unwrap().abs_diff(i64::try_from(now).unwrap()) < 3600);
        assert_eq!((table.owner("x"), table.time("x"), table.lease("x")), (None, None, None));
    }
    // It is a mesh too.
    b.broadcast(&("hello",)).await.unwrap();
    assert_eq!(timeout(PATIENCE, a.recv()).await.unwrap().unwrap().bytes(), Some(&b"hello"[..]));
}

/// S-8, S-10, S-11
async fn a_lease_is_its_owners(encryption: Encryption) {
    let (a, b) = pair(encryption, true).await;
    a.set("k", 1).await.unwrap();
    until(&b, "k", Some(1.into())).await;
    for error in
        [b.set("k", 2).await.unwrap_err(), b.delete("k").await.unwrap_err(), b.pop("k").await.unwrap_err()]
    {
        assert_eq!(error.code(), "lease");
        assert!(matches!(error, Error::Lease { owner, .. } if owner == *a.id()));
    }
    assert_eq!(b.popitem().await.unwrap(), None);
    a.set("k", 3).await.unwrap();
    until(&b, "k", Some(3.into())).await;
    // A key without a value is anyone's.
    assert_eq!(a.pop("k").await.unwrap(), Some(3.into()));
    until(&b, "k", None).await;
    b.set("k", 4).await.unwrap();
    until(&a, "k", Some(4.into())).await;
    assert_eq!(a.owner("k").as_ref(), Some(b.id()));
}

/// S-8, S-12
async fn without_leases_the_later_change_wins(encryption: Encryption) {
    let (a, b) = pair(encryption, false).await;
    for number in 0..4 {
        let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
        from.set("k", number).await.unwrap();
        until(to, "k", Some(number.into())).await;
        assert_eq!(to.owner("k").as_ref(), Some(from.id()));
        assert_eq!(to.lease("k"), None);
    }
    assert!(b.delete("k").await.unwrap().is_some());
    until(&a, "k", None).await;
    assert!(a.delete("k").await.unwrap().is_none());
}

/// S-9
async fn deltas_merge_maps(encryption: Encryption) {
    let (a, b) = pair(encryption, false).await;
    a.delta("m", map(&[("x", 1), ("y", 2)])).await.unwrap();
    until(&b, "m", Some(map(&[("x", 1), ("y", 2)]))).await;
    b.delta("m", map(&[("y", 3), ("z", 4)])).await.unwrap();
    until(&a, "m", Some(map(&[("x", 1), ("y", 3), ("z", 4)]))).await;
    a.set("n", 1).await.unwrap();
    for error in [a.delta("n", map(&[])).await, a.delta("m", 5).await] {
        assert_eq!(error.unwrap_err().code(), "not_a_map");
    }
    assert_eq!(a.get("n"), Some(1.into()));
}

/// Everyone who watches sees each change with what was before.
async fn watchers_see_every_change(encryption: Encryption) {
    let (a, b) = pair(encryption, true).await;
    let (mut at_a, mut at_b) = (a.watch(), b.watch());
    a.set("k", 1).await.unwrap();
    a.set("k", 2).await.unwrap();
    a.delete("k").await.unwrap();
    for changes in [&mut at_a, &mut at_b] {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let change = timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
            assert_eq!((&change.key[..], &change.owner), (&b"k"[..], a.id()));
            seen.push((change.old, change.value));
        }
        let value = |number: i32| Some(Value::from(number));
        assert_eq!(seen, [(None, value(1)), (value(1), value(2)), (value(2), None)]);
    }
    a.close().await;
    assert!(matches!(at_a.recv().await, Err(Error::Closed)));
    assert!(matches!(a.set("k", 1).await, Err(Error::Closed)));
}

/// Whoever joins has what the other had, both ways.
/// S-15, S-16
async fn tables_meet(encryption: Encryption) {
    let (a, b) = (open(encryption, true).await, open(encryption, true).await);
    a.set("a", 1).await.unwrap();
    b.set("b", 2).await.unwrap();
    b.connect(&a.address().to_string()).await.unwrap();
    until(&a, "b", Some(2.into())).await;
    until(&b, "a", Some(1.into())).await;
    assert_eq!(b.owner("a").as_ref(), Some(a.id()));
}

/// However many there are.
/// S-15, S-20, S-66, S-68
async fn large_tables_meet(encryption: Encryption) {
    const KEYS: usize = 2000;
    let (a, b) = (open(encryption, true).await, open(encryption, true).await);
    for number in 0..KEYS {
        a.set(format!("key {number}"), number).await.unwrap();
    }
    b.connect(&a.address().to_string()).await.unwrap();
    let told = timeout(PATIENCE, async {
        while b.len() < KEYS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    told.await.unwrap();
    assert!((0..KEYS).all(|number| b.get(format!("key {number}")) == Some(number.into())));
}

/// S-11, S-13
async fn bounds_are_told(encryption: Encryption) {
    let config = Config { table_keys: 4, table_bytes: 4096, max_frame: 2048, ..Config::default() };
    let builder = SyncTable::builder().encryption(encryption).config(config);
    let table = builder.open().await.unwrap();
    let mut accepted = 0;
    let full = loop {
        match table.set(format!("key {accepted}"), accepted).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((full.code(), table.len()), ("table_full", accepted));
    assert!(accepted == 4 || accepted == 2, "all of it, or half where owners are known: {accepted}");
    table.set("key 0", "again").await.unwrap();
    assert_eq!(table.set("key 0", Value::Nil).await.unwrap_err().code(), "nil");
    assert_eq!(table.set("key 0", "x".repeat(4096)).await.unwrap_err().code(), "too_large".to_owned());
    assert_eq!(table.set("k".repeat(5000), 1).await.unwrap_err().code(), "key");
    assert_eq!(table.set("key 0", Value::Int(1 << 64)).await.unwrap_err().code(), "value");
    assert_eq!(table.get("key 0"), Some("again".into()), "what failed has changed nothing");
}

/// The same value again and again is taken by everyone, though 0.7 tells messages apart by what they say.
/// S-12
async fn the_last_of_many_writes_stays(encryption: Encryption) {
    let (a, b) = pair(encryption, true).await;
    for number in [1, 2, 1, 2, 1, 2, 1] {
        a.set("k", number).await.unwrap();
    }
    a.set("end", true).await.unwrap();
    until(&b, "end", Some(true.into())).await;
    assert_eq!(b.get("k"), Some(1.into()));
}

macro_rules! over {
    ($($encryption:ident $module:ident: $($name:ident)*;)*) => {$(
        mod $module {
            use super::Encryption;
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(Encryption::$encryption).await;
                }
            )*
        }
    )*};
}

over! {
    Tls tls: what_one_sets_all_have a_lease_is_its_owners without_leases_the_later_change_wins deltas_merge_maps
        watchers_see_every_change large_tables_meet bounds_are_told the_last_of_many_writes_stays;
    Plaintext plaintext: what_one_sets_all_have a_lease_is_its_owners without_leases_the_later_change_wins
        deltas_merge_maps watchers_see_every_change tables_meet large_tables_meet bounds_are_told
        the_last_of_many_writes_stays;
}

/// S-2, S-3: other kinds of network, and tables of other options, are other subnets.
#[tokio::test]
async fn only_tables_of_the_same_options_meet() {
    for encryption in [Encryption::Tls, Encryption::Plaintext] {
        let leased = open(encryption, true).await;
        let free = open(encryption, false).await;
        let mesh = Mesh::builder().subnet("sync1").encryption(encryption).open().await.unwrap();
        let address = leased.address().to_string();
        assert_eq!(free.connect(&address).await.unwrap_err().code(), "connect");
        let joins = mesh.connect(&address).await.is_ok();
        assert_eq!(joins, encryption == Encryption::Plaintext, "0.7 names no kinds of network");
    }
}
