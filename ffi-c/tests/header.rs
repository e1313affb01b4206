//! The header is what the sources say. `UPDATE_HEADER=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_header_is_what_the_sources_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let place = root.join("include/peernet.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        return std::fs::write(place, made).unwrap();
    }
    let header = std::fs::read_to_string(place).unwrap_or_default();
    let differs = header.lines().zip(made.lines()).position(|(is, should)| is != should);
    assert!(
        header == made,
        "include/peernet.h is stale from line {} on: UPDATE_HEADER=1 cargo test -p libpeernet-c --test header",
        differs.unwrap_or(header.lines().count().min(made.lines().count())) + 1
    );
}

/// Whatever is public has its prefix.
#[test]
fn every_name_is_ours() {
    let header =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/peernet.h")).unwrap();
    let code = header.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code.map(str::trim_end) {
        if let Some(name) = line.strip_prefix("#define ") {
            assert!(name.starts_with("PEERNET_"), "{line}");
        }
        let declares = line.ends_with(';') && !line.starts_with([' ', '}']) && line.contains('(');
        let is_function = declares && !line.starts_with("typedef");
        assert!(!is_function || line.contains(" peernet_") || line.contains("*peernet_"), "{line}");
    }
}
