//! `peernet conformance`, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/c.rs"]
mod c;

use std::path::Path;
use std::process::{Command, Output};

const PEERNET: &str = env!("CARGO_BIN_EXE_peernet");

fn conformance(args: &[&str]) -> Output {
    Command::new(PEERNET).arg("conformance").args(args).output().unwrap()
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn this_build_as_another_program() {
    let serving = format!("'{PEERNET}' conformance --serve");
    let output = conformance(&["--against", &serving, "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["failed"], &report["skipped"]), (&0.into(), &0.into()));
    assert!(report["passed"].as_u64().unwrap() > 1000);
    assert!(report["testee"].as_str().unwrap().starts_with("libpeernet"));
}

#[test]
fn files_instead_of_the_built_in_ones() {
    let output = conformance(&[&file("vectors/ids.json"), &file("transcripts/double.json")]);
    assert!(output.status.success(), "{}", shown(&output));
    let shown = shown(&output);
    assert!(
        shown.contains("base58") && shown.contains("transcripts") && !shown.contains("decode"),
        "{shown}"
    );
}

#[cfg(unix)]
#[test]
fn a_failure_is_shown_and_exits_1() {
    let deaf = "while read line; do echo '{\"name\":\"deaf\",\"id\":\"x\"}'; done";
    let output = conformance(&["--against", deaf, &file("vectors/ids.json")]);
    assert_eq!(output.status.code(), Some(1));
    let text = shown(&output);
    assert!(
        text.contains("FAILED protocol ids") && text.contains("expected") && text.contains("deaf"),
        "{text}"
    );
    let dead = conformance(&["--against", "exit 0", &file("vectors/ids.json")]);
    assert_eq!(dead.status.code(), Some(1));
    assert!(shown(&dead).contains("lost"), "{}", shown(&dead));
}

#[test]
fn wrong_usage() {
    assert_eq!(conformance(&["--serve", "--against", "x"]).status.code(), Some(2));
    let missing = conformance(&["no/such/file.json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(shown(&missing).contains("no/such/file.json"));
    let wrong = conformance(&[&file("README.md")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(shown(&wrong).contains("README.md"));
}

/// The library as C programs have it: all that is about bytes, of what it offers nothing is wrong.
#[test]
fn c_programs() {
    let testee = c::testee();
    let output = conformance(&["--against", &format!("'{}'", testee.display()), "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for group in report["groups"].as_array().unwrap() {
        let transcripts = group["name"] == "transcripts";
        assert_eq!(group["skipped"] == 0, !transcripts, "{group}");
        assert_eq!(group["passed"] == 0, transcripts, "{group}");
    }
}
