//! The C++ wrapper, `peernet.hpp`: compiled as C++17 and as C++20, and run with nodes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Language, Link, STRICT, compile, root, run};

fn source(name: &str) -> PathBuf {
    root().join("ffi-c/tests/cpp").join(name)
}

fn passes(name: &str) {
    for (language, link) in [(Language::Cpp17, Link::Shared), (Language::Cpp20, Link::Static)] {
        run(&mut Command::new(compile(&source(name), language, link, &["-Wshadow", "-Wconversion"])));
    }
}

#[test]
fn values() {
    passes("values.cpp");
}

#[test]
fn nodes() {
    passes("nodes.cpp");
}

#[test]
fn tables() {
    passes("table.cpp");
}

#[test]
fn trust() {
    passes("trust.cpp");
}

/// Other compilers find other faults.
#[test]
fn clang_compiles_it_where_there_is_one() {
    if Command::new("clang++").arg("--version").output().is_err() {
        return;
    }
    for name in ["values.cpp", "nodes.cpp", "table.cpp", "trust.cpp"] {
        let mut check = Command::new("clang++");
        check.args(["-std=c++17", "-fsyntax-only"]).args(STRICT).arg("-I").arg(root().join("ffi-c/include"));
        run(check.arg(source(name)));
    }
}

/// Every function, event and error of C has its place in C++.
#[test]
fn covers_the_c_header() {
    let read = |name: &str| std::fs::read_to_string(root().join("ffi-c/include").join(name)).unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let cpp = read("peernet.hpp");
    let known: Vec<&str> = cpp.split(|c| !is_part(c)).collect();
    let header = read("peernet.h");
    let code = header.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names: Vec<&str> = Vec::new();
    for line in code {
        let constant = line.strip_prefix("#define ").and_then(|rest| rest.split(' ').next());
        names.extend(constant.filter(|name| name.contains("_EVENT_") || name.contains("_ERR_")));
        let called = line.split_once('(').and_then(|(before, _)| before.rsplit(|c| !is_part(c)).next());
        names.extend(called.filter(|name| name.starts_with("peernet_")));
    }
    assert!(names.len() > 100, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !known.contains(name)).collect();
    assert!(missing.is_empty(), "peernet.hpp says nothing of {missing:?}");
}
