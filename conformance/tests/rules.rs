//! Every rule of the specification is checked by something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A rule's number at the beginning of `text`, as `W-7`.
fn rule(text: &str) -> Option<&str> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let rest = text.get(letters..)?.strip_prefix('-')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (letters == 1 && digits > 0).then(|| &text[..letters + 1 + digits])
}

/// All rule numbers in a text. `W-1 to W-4` names two.
fn rules_in(text: &str) -> BTreeSet<String> {
    let starts = text.char_indices().filter(|(at, c)| {
        let before = text[..*at].chars().next_back();
        c.is_ascii_uppercase() && !before.is_some_and(|c| c.is_alphanumeric() || c == '-')
    });
    starts.filter_map(|(at, _)| rule(&text[at..])).map(str::to_owned).collect()
}

/// The rules that files of the specification define: paragraphs that begin with a number in bold.
fn defined() -> Option<BTreeSet<String>> {
    let folder = std::fs::read_dir(root().join("spec")).ok()?;
    let mut all = BTreeSet::new();
    let mut files = 0;
    for file in folder {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "md") {
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let bold = line.strip_prefix("**").and_then(rule);
                if let Some(rule) = bold.filter(|rule| line[2 + rule.len()..].starts_with("**")) {
                    assert!(all.insert(rule.to_owned()), "{rule} is defined twice");
                }
            }
        }
    }
    (files > 0).then_some(all)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "node_modules" {
                files_below(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// What of a file checks something: of vectors and transcripts the rules they name, of code its
/// tests.
fn checking(path: &Path) -> String {
    let text = || std::fs::read_to_string(path).unwrap();
    let inside = |folder: &str| path.components().any(|part| part.as_os_str() == folder);
    match path.extension().and_then(|ext| ext.to_str()) {
        Some("json") if inside("vectors") || inside("transcripts") => {
            let text = text();
            let lists = text.match_indices("\"rules\":");
            lists.filter_map(|(at, _)| text[at..].split(']').next()).collect::<Vec<_>>().join("\n")
        }
        Some("rs") if path == Path::new(file!()) || path.ends_with("conformance/tests/rules.rs") => {
            String::new()
        }
        Some("rs") if inside("tests") => text(),
        Some("rs") => {
            text().split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[test]
fn every_rule_is_named_by_a_vector_a_transcript_or_a_test() {
    let Some(defined) = defined() else { return };
    assert!(defined.len() > 50, "the specification has lost its rules: {defined:?}");
    let mut files = Vec::new();
    for folder in ["conformance", "core", "cli"] {
        files_below(&root().join(folder), &mut files);
    }
    let checked: BTreeSet<String> = files.iter().flat_map(|path| rules_in(&checking(path))).collect();
    let unchecked: Vec<&String> = defined.difference(&checked).collect();
    assert!(unchecked.is_empty(), "no vector, transcript or test names these rules: {unchecked:?}");
}

/// Vectors and transcripts name only rules that there are.
#[test]
fn no_vector_names_a_rule_that_is_none() {
    let Some(defined) = defined() else { return };
    let mut files = Vec::new();
    files_below(&root().join("conformance"), &mut files);
    files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    let named: BTreeSet<String> = files.iter().flat_map(|path| rules_in(&checking(path))).collect();
    let unknown: Vec<&String> = named.difference(&defined).collect();
    assert!(named.len() > 50 && unknown.is_empty(), "rules that are not in spec/: {unknown:?}");
}

#[test]
fn numbers_are_found_where_they_stand() {
    let found = rules_in("W-1 to W-4 (C-26), not SHA-256, XW-7 or a-W-9; \"M-5\"");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["C-26", "M-5", "W-1", "W-4"]);
}
