//! A node's data directory. Only this module knows what files are in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::identity::{KeyPair, NodeId};

/// Held by whoever uses the directory.
const LOCK: &str = "lock";
/// The keys, as [`KeyPair::to_text`] writes them.
const IDENTITY: &str = "identity";
/// The longest file that is read as keys; they have 76 characters.
const MAX_IDENTITY: u64 = 1024;
/// The records.
const STORE: &str = "store";
/// Who may not join, as 0.1 kept it: a line each, the second since 1970 at which that ends, and the id.
const OLD_BANS: &str = "bans";
/// The longest file that is read as bans: those of 200,000 nodes.
const MAX_OLD_BANS: u64 = 16 << 20;

/// A node's data directory, in use by this process as long as this value is there:
/// [`Builder::data_dir`](crate::Builder::data_dir) opens one by itself.
///
/// ```
/// use peernet::DataDir;
///
/// # let path = std::env::temp_dir().join(format!("peernet-doc-{}", std::process::id()));
/// let data = DataDir::open(&path)?;
/// let keys = data.identity()?;
/// assert_eq!(data.identity()?, keys, "made once, and kept");
/// assert!(DataDir::open(&path).is_err(), "in use");
/// # std::fs::remove_dir_all(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl DataDir {
    /// Takes a directory into use, and makes it if there is none, for its owner alone.
    ///
    /// # Errors
    /// [`DataError`] if another node uses it, or if it cannot be made or written to.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref().to_owned();
        let failed = |source| DataError::Io { path: path.clone(), source };
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&path).map_err(failed)?;
        let lock = owners_file().create(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(DataError::Io { path, source }),
        }
    }

    /// The keys of the node; made, and kept, when there are none.
    ///
    /// # Errors
    /// [`DataError`] if the file with them can be read by others, is damaged, or cannot be read or
    /// written.
    pub fn identity(&self) -> Result<KeyPair, DataError> {
        match self.kept_identity()? {
            Some(keys) => Ok(keys),
            None => {
                let keys = KeyPair::generate(&mut rand::rng());
                self.keep(IDENTITY, &keys.to_text())?;
                Ok(keys)
            }
        }
    }

    /// Keeps these keys from now on, unless there are others.
    ///
    /// # Errors
    /// [`DataError::OtherIdentity`] if there are, and as [`DataDir::identity`].
    pub fn set_identity(&self, keys: &KeyPair) -> Result<(), DataError> {
        match self.kept_identity()? {
            Some(kept) if kept == *keys => Ok(()),
            Some(_) => Err(DataError::OtherIdentity { path: self.path.join(IDENTITY) }),
            None => self.keep(IDENTITY, &keys.to_text()),
        }
    }

    /// Where the node's records are ([`SledStore`](super::SledStore)).
    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// The bans that 0.1 kept in a file of their own: who, and up to which second since 1970 UTC.
    pub(super) fn old_bans(&self) -> Result<Vec<(NodeId, i64)>, DataError> {
        let Some(text) = self.kept(OLD_BANS, MAX_OLD_BANS)? else { return Ok(Vec::new()) };
        let ban = |line: &str| {
            let (until, peer) = line.split_once(' ')?;
            Some((NodeId::parse(peer).ok()?, until.parse().ok()?))
        };
        let bans = text.lines().filter(|line| !line.is_empty()).map(ban).collect::<Option<_>>();
        bans.ok_or_else(|| DataError::Damaged { path: self.path.join(OLD_BANS) })
    }

    /// They are kept in the store from now on.
    pub(super) fn remove_old_bans(&self) -> Result<(), DataError> {
        let path = self.path.join(OLD_BANS);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataError::Io { path, source }),
            _ => Ok(()),
        }
    }

    fn kept_identity(&self) -> Result<Option<KeyPair>, DataError> {
        let text = self.kept(IDENTITY, MAX_IDENTITY)?;
        let damaged = || DataError::Damaged { path: self.path.join(IDENTITY) };
        text.map(|text| text.parse().map_err(|_| damaged())).transpose()
    }

    /// What a file holds, if there is one.
    fn kept(&self, name: &str, max: u64) -> Result<Option<String>, DataError> {
        match read_owners_text(&self.path.join(name), max) {
            Ok(text) => Ok(Some(text)),
            Err(DataError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a file in place, whole or not at all, for its owner alone.
    fn keep(&self, name: &str, text: &str) -> Result<(), DataError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            // Left behind by a process that was killed while it held the lock.
            if new.exists() {
                fs::remove_file(&new)?;
            }
            write_owners_text(&new, text)?;
            fs::rename(&new, &path)?;
            // So that the name outlives a power failure too.
            #[cfg(unix)]
            File::open(&self.path)?.sync_all()?;
            Ok(())
        };
        write().map_err(|source| DataError::Io { path, source })
    }
}

/// For files that only their owner may read.
fn owners_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes a new file that only its owner can read: for keys and secrets.
///
/// # Errors
/// If there is a file of that name, or it cannot be written.
pub fn write_owners_text(path: &Path, text: &str) -> io::Result<()> {
    let mut file = owners_file().create_new(true).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Reads a file of `max` bytes at most that only its owner can read: for keys and secrets.
///
/// # Errors
/// [`DataError::ReadableByOthers`], and others if it cannot be read, is longer, or is no text.
pub fn read_owners_text(path: &Path, max: u64) -> Result<String, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(DataError::ReadableByOthers { path: path.to_owned() });
        }
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    let fits = bytes.len() as u64 <= max;
    let text = String::from_utf8(bytes).ok().filter(|_| fits);
    text.ok_or_else(|| DataError::Damaged { path: path.to_owned() })
}

/// Why a data directory, or a file for its owner alone, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// It cannot be read, or not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node uses the directory.
    #[error("{} is in use by another node; give each a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Others can read what must be secret.
    #[error(
        "{} can be read by others, who may have copied it; if not, `chmod 600` it, else replace it",
        path.display()
    )]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file is not what should be.
    #[error(
        "{} is damaged; put a copy of it back, or remove it (for an identity: to get another id)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A later version of peernet wrote it.
    #[error("{} was written by a later version of peernet; use that one, or another directory", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
    },
    /// The directory belongs to another identity than the one that was given.
    #[error("{} holds another identity than the one given; use one of the two", path.display())]
    OtherIdentity {
        /// The file.
        path: PathBuf,
    },
}
