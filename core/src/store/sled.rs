//! The embedded store.
//!
//! sled keeps sixteen records in one page, writes pages as a whole, and puts pages over 128 KiB into files of
//! their own that it does not sync. So long values are cut into pieces, each a record of its own.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use sled::{Batch, Config, Db, Mode};

use super::{Records, Store, StoreError, Write};

/// Bytes of pages kept in memory; sled's own default is 1 GiB.
const CACHE: u64 = 16 << 20;
/// Longer values are cut into pieces of this many bytes: sixteen of them make half of what a page may be.
const PIECE: usize = 4096;

/// A store that is still in use after this time is another's.
const IN_USE: Duration = Duration::from_secs(10);
/// How often it is looked at until then.
const IN_USE_PAUSE: Duration = Duration::from_millis(2);

/// What the first byte of a key in sled says: a record begins here.
const HEAD: u8 = 0;
/// A piece of one; behind the key stands its number.
const PIECES: u8 = 1;
/// What the first byte under a head says: the value follows.
const WHOLE: u8 = 0;
/// Its length follows, and the value is in pieces.
const CUT: u8 = 1;

/// Records in a directory, kept by [sled](https://docs.rs/sled) 0.34. One process at a time can open it.
///
/// What sled panics about comes as [`StoreError::Damaged`]; the message of the panic is written to stderr
/// all the same, unless the program's panic hook keeps it back.
#[derive(Debug)]
pub struct SledStore {
    db: Db,
    /// sled has its bytes written, but leaves it to the system when the disk itself has them.
    file: File,
}

impl SledStore {
    /// Opens the store in a directory, and makes it if there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it does not read, [`StoreError::Io`] if its files cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let file = path.as_ref().join("db");
        Self::wait_until_free(&path)?;
        guarded(|| {
            let config = Config::new().path(&path).mode(Mode::LowSpace).cache_capacity(CACHE);
            let db = config.flush_every_ms(None).open()?;
            Ok(Self { db, file: File::open(&file)? })
        })
    }

    /// A store that was closed a moment ago may still be in the hands of sled's own threads.
    pub(super) fn wait_until_free(path: impl AsRef<Path>) -> io::Result<()> {
        let file = match File::open(path.as_ref().join("db")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return file.unlock(),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() > IN_USE => {
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(IN_USE_PAUSE),
            }
        }
    }

    /// Into how many pieces the value under a key is cut.
    fn pieces(&self, key: &[u8]) -> Result<u32, StoreError> {
        let head = self.db.get(with_tag(HEAD, key))?;
        Ok(match head.as_deref() {
            Some([CUT, length @ ..]) => pieces_of(read_length(length)?),
            _ => 0,
        })
    }

    /// The value that a head begins.
    fn value(&self, key: &[u8], head: &[u8]) -> Result<Bytes, StoreError> {
        let length = match head {
            [WHOLE, value @ ..] => return Ok(Bytes::copy_from_slice(value)),
            [CUT, length @ ..] => read_length(length)?,
            _ => return Err(StoreError::Damaged("a record has no head".to_owned())),
        };
        let mut value = BytesMut::new();
        for number in 0..pieces_of(length) {
            let piece = self.db.get(piece_key(key, number))?;
            value.extend_from_slice(piece.as_deref().unwrap_or_default());
        }
        match value.len() == length as usize {
            true => Ok(value.freeze()),
            false => Err(StoreError::Damaged("a piece of a value is missing".to_owned())),
        }
    }

    fn change(&self, batch: &mut Batch, key: &[u8], value: Option<&Bytes>) -> Result<(), StoreError> {
        let before = self.pieces(key)?;
        let mut after = 0;
        match value {
            None => batch.remove(with_tag(HEAD, key)),
            Some(value) if value.len() <= PIECE => batch.insert(with_tag(HEAD, key), with_tag(WHOLE, value)),
            Some(value) => {
                let length = u32::try_from(value.len());
                let length = length.map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
                batch.insert(with_tag(HEAD, key), with_tag(CUT, &length.to_be_bytes()));
                for piece in value.chunks(PIECE) {
                    batch.insert(piece_key(key, after), piece);
                    after += 1;
                }
            }
        }
        for number in after..before {
            batch.remove(piece_key(key, number));
        }
        Ok(())
    }
}

fn with_tag(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(1 + bytes.len());
    tagged.put_u8(tag);
    tagged.put_slice(bytes);
    tagged
}

fn piece_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut piece = with_tag(PIECES, key);
    piece.put_u32(number);
    piece
}

fn read_length(bytes: &[u8]) -> Result<u32, StoreError> {
    let length = bytes.try_into().map(u32::from_be_bytes);
    length.map_err(|_| StoreError::Damaged("a record has half a length".to_owned()))
}

fn pieces_of(length: u32) -> u32 {
    length.div_ceil(PIECE as u32)
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded(|| {
            let head = self.db.get(with_tag(HEAD, key))?;
            head.map(|head| self.value(key, &head)).transpose()
        })
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        // Of several changes of one key the last counts.
        let last: BTreeMap<_, _> = writes.iter().map(|write| (&write.key, write.value.as_ref())).collect();
        guarded(|| {
            let mut batch = Batch::default();
            last.into_iter().try_for_each(|(key, value)| self.change(&mut batch, key, value))?;
            Ok(self.db.apply_batch(batch)?)
        })
    }

    fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a> {
        let mut heads = self.db.scan_prefix(with_tag(HEAD, prefix));
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let next = guarded(|| {
                let Some(next) = heads.next() else { return Ok(None) };
                let (key, head) = next?;
                let key = key.get(1..).unwrap_or_default();
                Ok(Some((Bytes::copy_from_slice(key), self.value(key, &head)?)))
            });
            failed = next.is_err();
            next.transpose()
        }))
    }

    fn flush(&self) -> Result<(), StoreError> {
        guarded(|| {
            self.db.flush()?;
            Ok(self.file.sync_data()?)
        })
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// sled panics where files do not hold what it expects.
fn guarded<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let said = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
        // The rest is about sled's insides.
        StoreError::Damaged(text.lines().next().unwrap_or_default().chars().take(200).collect())
    };
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(said(panic)))
}
