//! What the fuzz targets do; `core/tests/fuzz_corpus.rs` runs the same over the saved corpus.

pub mod targets;
