//! What a run found.

use std::fmt;

use serde_json::{Value as Json, json};

/// Characters of an expectation or an answer that are shown.
const SHOWN: usize = 600;

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The testee does not offer what the case needs, or the case is not for its profile.
    Skipped,
    Failed {
        expected: String,
        got: String,
    },
}

/// One failed case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The case's name.
    pub name: String,
    /// The rules of the specification that it covers.
    pub rules: Vec<String>,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// The cases of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What kind.
    pub name: String,
    /// Cases that passed.
    pub passed: usize,
    /// Cases that the testee does not offer an answer to, or that are not for its profile.
    pub skipped: usize,
    /// Cases that failed.
    pub failures: Vec<Failure>,
}

/// What a run found: a table for people by its `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name and version of the testee.
    pub testee: String,
    /// The cases by kind.
    pub groups: Vec<Group>,
    /// Why the run ended early, if it did. The cases that were not run count as skipped.
    pub lost: Option<String>,
}

impl Report {
    pub(crate) fn new(testee: String) -> Self {
        Self { testee, groups: Vec::new(), lost: None }
    }

    pub(crate) fn add(&mut self, group: &str, name: &str, rules: &[String], outcome: Outcome) {
        let at = self.groups.iter().position(|known| known.name == group).unwrap_or_else(|| {
            let name = group.to_owned();
            self.groups.push(Group { name, passed: 0, skipped: 0, failures: Vec::new() });
            self.groups.len() - 1
        });
        let Some(group) = self.groups.get_mut(at) else { return };
        match outcome {
            Outcome::Passed => group.passed += 1,
            Outcome::Skipped => group.skipped += 1,
            Outcome::Failed { expected, got } => {
                group.failures.push(Failure { name: name.to_owned(), rules: rules.to_vec(), expected, got });
            }
        }
    }

    /// Cases that passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.groups.iter().map(|group| group.passed).sum()
    }

    /// Cases that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.groups.iter().map(|group| group.failures.len()).sum()
    }

    /// Cases that were skipped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.groups.iter().map(|group| group.skipped).sum()
    }

    /// Whether nothing failed, and the testee answered to the end.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed() == 0 && self.lost.is_none()
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let failure = |failure: &Failure| {
            json!({ "name": failure.name, "rules": failure.rules,
                "expected": failure.expected, "got": failure.got })
        };
        let group = |group: &Group| {
            json!({ "name": group.name, "passed": group.passed, "failed": group.failures.len(),
                "skipped": group.skipped,
                "failures": group.failures.iter().map(failure).collect::<Vec<_>>() })
        };
        json!({ "testee": self.testee, "passed": self.passed(), "failed": self.failed(),
            "skipped": self.skipped(), "lost": self.lost,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, passed, failed, skipped| {
            writeln!(f, "{name:<28} {passed:>7} {failed:>7} {skipped:>8}")
        };
        writeln!(f, "conformance of {}", self.testee)?;
        writeln!(f, "{:<28} {:>7} {:>7} {:>8}", "", "passed", "failed", "skipped")?;
        for group in &self.groups {
            row(f, &group.name, group.passed, group.failures.len(), group.skipped)?;
        }
        row(f, "all", self.passed(), self.failed(), self.skipped())?;
        for group in &self.groups {
            for failure in &group.failures {
                let rules = failure.rules.join(" ");
                writeln!(f, "\nFAILED {}: {} [{rules}]", group.name, failure.name)?;
                writeln!(f, "  expected {}", shorten(&failure.expected))?;
                writeln!(f, "  got      {}", shorten(&failure.got))?;
            }
        }
        match &self.lost {
            Some(problem) => writeln!(f, "\nthe testee is lost, what is left was not run: {problem}"),
            None => Ok(()),
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}
