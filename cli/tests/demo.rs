//! `peernet demo` ends well and says what it measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::run;

#[test]
fn the_demo_ends_well() {
    let output = run(&["demo"], "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    for part in [
        "TLS 1.3",
        "A ─── B ─── C ─── D ─── E",
        "E heard it after",
        "over 4 hops",
        "% saved",
        "A ─── B   ╳   C ─── D",
        "everyone has  colour = green, shape = round",
        "A and B have    colour = blue, left = only here, shape = round",
        "C and D have    colour = red\n",
        "everyone has  colour = red, left = only here\n",
        "In all",
        "Done in",
    ] {
        assert!(said.contains(part), "{part:?} is missing from:\n{said}");
    }
    assert!(!said.contains('\x1b'), "colour where there is no terminal");
}
