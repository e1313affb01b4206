//! The saved fuzzing corpus, run through the bodies of the fuzz targets. `fuzz/README.md` tells how
//! to fuzz for real.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::path::Path;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// Runs `target` on every file of its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "the corpus of `{name}` is missing");
    for file in files {
        let input = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            panic!("`{name}` fails on {}", file.display());
        }
    }
}

#[test]
fn frame() {
    replay("frame", targets::frame);
}

#[test]
fn message() {
    replay("message", targets::message);
}

#[test]
fn decompress() {
    replay("decompress", targets::decompress);
}

#[test]
fn node() {
    replay("node", targets::node);
}

#[test]
fn asking() {
    replay("asking", targets::asking);
}

#[test]
fn seal() {
    replay("seal", targets::seal);
}

#[test]
fn sync() {
    replay("sync", targets::sync);
}

#[test]
fn value() {
    replay("value", targets::value);
}

#[test]
fn websocket() {
    replay("websocket", targets::websocket);
}

#[test]
fn tls() {
    replay("tls", targets::tls);
}
