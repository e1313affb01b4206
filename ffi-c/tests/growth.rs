//! Structs grow, and programs that were compiled before run on: the same program with the header of an earlier
//! version, of this one, and of a later one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;

use support::{Language, Link, compile, root, run, runner, scratch};

/// Compiles the program with a header and runs it. Returns the sizes of the structs there.
fn sizes(header: &Path, link: Link, more: &[&str]) -> Vec<usize> {
    let source = scratch(header.file_stem().unwrap().to_str().unwrap()).join(format!("growth-{link:?}.c"));
    std::fs::copy(root().join("ffi-c/tests/abi/growth.c"), &source).unwrap();
    let header = format!("-DHEADER=\"{}\"", header.display());
    let program = compile(&source, Language::C99, link, &[&[header.as_str()], more].concat());
    let said = run(&mut runner(&program)).stdout;
    String::from_utf8(said).unwrap().split_whitespace().map(|size| size.parse().unwrap()).collect()
}

/// A header of this version, with a field more at the end of each struct.
fn later() -> String {
    let mut header = std::fs::read_to_string(root().join("ffi-c/include/peernet.h")).unwrap();
    for (name, initialiser) in [("options", true), ("report", true), ("event", false)] {
        let end = format!("}} peernet_{name};");
        assert!(header.contains(&end), "{end}");
        header = header.replace(&end, &format!("  uint64_t later;\n{end}"));
        if initialiser {
            let at = header.find(&format!("#define PEERNET_{}_INIT", name.to_uppercase())).unwrap();
            let end = at + header[at..].find(" }\n").unwrap();
            header.insert_str(end, ", 0");
        }
    }
    header
}

fn grows(link: Link) {
    let earlier = sizes(&root().join("ffi-c/tests/abi/peernet-0.h"), link, &[]);
    let this = sizes(&root().join("ffi-c/include/peernet.h"), link, &[]);
    let place = scratch("later").join(format!("peernet-later-{link:?}.h"));
    std::fs::write(&place, later()).unwrap();
    let later = sizes(&place, link, &["-DLATER"]);
    let grown =
        |small: &[usize], large: &[usize]| small.iter().zip(large).all(|(small, large)| small < large);
    assert_eq!([earlier.len(), this.len(), later.len()], [3, 3, 3]);
    assert!(grown(&earlier, &this) && grown(&this, &later), "{earlier:?}, {this:?}, {later:?}");
}

#[test]
fn with_the_shared_library() {
    grows(Link::Shared);
}

#[test]
fn with_the_static_library() {
    grows(Link::Static);
}
