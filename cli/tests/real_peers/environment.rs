//! Where the two real implementations are installed, and that they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the drivers are.
pub(crate) fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/real-peers")
}

/// The directory of py2p and js2p, which are installed there if they are not.
pub(crate) fn installed() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match INSTALLED.get_or_init(install) {
        Ok(dir) => dir,
        Err(problem) => panic!("the real peers cannot be set up: {problem}"),
    }
}

fn install() -> Result<PathBuf, String> {
    let dir = match std::env::var_os("PEERNET_REAL_PEERS") {
        Some(dir) => PathBuf::from(dir),
        // Cargo's own directory for tests lies in the target directory.
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("../real-peers"),
    };
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what} {}: {error}", dir.display());
    fs::create_dir_all(&dir).map_err(|error| failed("cannot make", &error))?;
    let dir = dir.canonicalize().map_err(|error| failed("cannot find", &error))?;
    // Another process may run these tests at the same time; the lock goes with the file.
    let lock = File::create(dir.join("lock")).map_err(|error| failed("cannot write in", &error))?;
    lock.lock().map_err(|error| failed("cannot lock", &error))?;
    let script = drivers().join("setup");
    let output =
        Command::new(&script).arg(&dir).output().map_err(|error| format!("{}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(dir)
}
