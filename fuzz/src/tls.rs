//! A link under TLS between two ends in memory, and someone on the wire between them who does as any
//! bytes say.

use std::time::Duration;

use peernet::fuzzing::TlsEnd;
use peernet::identity::{KeyPair, PublicKey, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

/// Bytes under way on one wire.
const WIRE: usize = 16 << 10;
/// A wire on which nothing passes for this long is cut, as nodes do it. Time is the runtime's, and passes
/// only when nobody has anything to do.
const SILENCE: Duration = Duration::from_secs(1);
/// Whatever ends at all ends far sooner.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that someone who has proven nothing can make a node send: what a TLS server says, and an alert.
const MOST_TOLD: usize = 2 << 10;

/// What is done to the bytes from the dialling end, at some place in them.
struct Change {
    at: usize,
    how: u8,
    with: u8,
}

/// The accepting end never panics or hangs, tells strangers little, and reads what the other end wrote or
/// less, but never anything else.
pub fn tls(data: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let all = async {
        let [manner, script @ ..] = data else { return };
        match manner & 3 {
            0 => stranger(script).await,
            changes => {
                let (places, payload) = script.split_at(script.len().min(4 * usize::from(changes - 1)));
                let changes = places.as_chunks::<4>().0.iter().map(|&[high, low, how, with]| Change {
                    at: usize::from(u16::from_be_bytes([high, low])) % 2048,
                    how,
                    with,
                });
                link(changes.collect(), manner & 4 != 0, payload).await;
            }
        }
    };
    runtime.block_on(async { timeout(PATIENCE, all).await.expect("it hangs") });
}

fn keys(of: u8) -> KeyPair {
    KeyPair::from_secret([of; 32])
}

fn end(of: u8, secret: u8) -> TlsEnd {
    let secret = Secret::from_bytes(&[secret; 16]).unwrap();
    TlsEnd::new(&keys(of), &secret).unwrap()
}

/// The bytes as they are, from someone who speaks no TLS or nearly.
async fn stranger(bytes: &[u8]) {
    let (mut wire, accepted) = duplex(WIRE);
    let node = end(1, 1);
    let speak = async {
        // It may have hung up.
        let _ = wire.write_all(bytes).await;
        let _ = wire.shutdown().await;
        let mut told = Vec::new();
        let _ = wire.read_to_end(&mut told).await;
        assert!(told.len() <= MOST_TOLD, "a stranger is told {} bytes", told.len());
    };
    let (accepted, ()) = tokio::join!(node.accept(accepted), speak);
    assert!(accepted.is_err(), "nobody can prove a key without having seen ours");
}

/// Two ends, the bytes of one of which are changed on their way.
async fn link(changes: Vec<Change>, another_secret: bool, payload: &[u8]) {
    let untouched = changes.is_empty();
    let (from_dialler, dialled) = duplex(WIRE);
    let (accepted, to_acceptor) = duplex(WIRE);
    let dial = write(end(1, 1 + u8::from(another_secret)), from_dialler, payload);
    let accept = read(end(2, 1), accepted);
    let ((), heard, ()) = tokio::join!(dial, accept, carry(dialled, to_acceptor, changes));
    match heard {
        Some((key, heard, whole)) => {
            assert!(key == keys(1).public() && !another_secret);
            assert!(payload.starts_with(&heard), "it heard what was never said");
            assert!(heard.len() == payload.len() || !whole, "a part was taken for the whole");
            assert!(whole || !untouched);
        }
        None => assert!(!untouched || another_secret, "an honest node is refused"),
    }
}

async fn write(end: TlsEnd, wire: DuplexStream, payload: &[u8]) {
    let Ok((_, mut reader, mut writer)) = end.dial(wire).await else { return };
    // The other side may have hung up.
    let _ = writer.write_all(payload).await;
    let _ = writer.shutdown().await;
    let _ = reader.read_to_end(&mut Vec::new()).await;
}

/// Who was there, what it said, and whether it said goodbye.
async fn read(end: TlsEnd, wire: DuplexStream) -> Option<(PublicKey, Vec<u8>, bool)> {
    let (key, mut reader, mut writer) = end.accept(wire).await.ok()?;
    let mut heard = Vec::new();
    let whole = reader.read_to_end(&mut heard).await.is_ok();
    let _ = writer.shutdown().await;
    Some((key, heard, whole))
}

/// Carries bytes both ways until both ends have ended.
async fn carry(dialled: DuplexStream, accepted: DuplexStream, mut changes: Vec<Change>) {
    changes.sort_by_key(|change| change.at);
    let (mut from, mut back) = tokio::io::split(dialled);
    let (mut answers, mut to) = tokio::io::split(accepted);
    let there = async move {
        let (mut at, mut changes) = (0, changes.into_iter().peekable());
        let mut part = vec![0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(SILENCE, from.read(&mut part)).await {
            let mut piece = part[..count].to_vec();
            let mut cut = false;
            while let Some(change) = changes.next_if(|change| change.at < at + count) {
                let place = (change.at - at).min(piece.len().saturating_sub(1));
                match change.how & 3 {
                    0 if !piece.is_empty() => piece[place] ^= change.with,
                    1 if !piece.is_empty() => drop(piece.remove(place)),
                    2 => piece
                        .splice(place..place, vec![change.with; 1 + usize::from(change.how >> 2)])
                        .for_each(drop),
                    _ => {
                        piece.truncate(place);
                        cut = true;
                    }
                }
            }
            at += count;
            if to.write_all(&piece).await.is_err() || cut {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    let and_back = async move {
        let mut part = vec![0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(2 * SILENCE, answers.read(&mut part)).await {
            if back.write_all(&part[..count]).await.is_err() {
                break;
            }
        }
        let _ = back.shutdown().await;
    };
    tokio::join!(there, and_back);
}
