//! The C programs beside the conformance suite, compiled with the library's header and linked with it alone.

#![allow(dead_code)] // not every test uses both

#[allow(unreachable_pub)]
#[path = "../../../ffi-c/tests/support/mod.rs"]
mod library;

use std::path::PathBuf;

pub(crate) use library::Language;
use library::{Link, compile, root};

fn program(name: &str, language: Language, parts: &[&str]) -> PathBuf {
    let folder = root().join("conformance/testees/c");
    let parts: Vec<String> =
        parts.iter().map(|part| folder.join(part).to_str().unwrap().to_owned()).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    compile(&folder.join(name), language, Link::Shared, &parts)
}

/// The testee.
pub(crate) fn testee() -> PathBuf {
    program("testee.c", Language::C99, &["json.c"])
}

/// The node that speaks as `peernet node --json` does.
pub(crate) fn node(language: Language) -> PathBuf {
    let source = if language == Language::C99 { "node.c" } else { "node.cpp" };
    program(source, language, &["forms.c", "json.c"])
}
