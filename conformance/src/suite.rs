//! All cases, and running them on a testee.

use serde_json::{Value as Json, json};

use crate::report::Outcome;
use crate::transcript::Transcript;
use crate::vector::Vector;
use crate::{FormError, Lost, Report, Testee, json};

macro_rules! embedded {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../", $file)))),*]
    };
}

/// The files that come with this crate.
const FILES: [(&str, &str); 23] = embedded![
    "vectors/p2p-today-0.7.json",
    "vectors/values.json",
    "vectors/messages.json",
    "vectors/frames.json",
    "vectors/compression.json",
    "vectors/ids.json",
    "vectors/trust.json",
    "vectors/seals.json",
    "vectors/errors.json",
    "transcripts/handshake.json",
    "transcripts/double.json",
    "transcripts/peers.json",
    "transcripts/link.json",
    "transcripts/broadcast.json",
    "transcripts/lookup.json",
    "transcripts/dialling.json",
    "transcripts/trust.json",
    "transcripts/signed.json",
    "transcripts/joining.json",
    "transcripts/table.json",
    "transcripts/sync.json",
    "transcripts/requests.json",
    "transcripts/book.json",
];

/// Vectors and transcripts to run.
#[derive(Debug, Default)]
pub struct Suite {
    vectors: Vec<Vector>,
    transcripts: Vec<Transcript>,
}

impl Suite {
    /// Adds the cases of a file of vectors or of transcripts.
    ///
    /// # Errors
    /// [`FormError`] if the text is neither.
    pub fn add(&mut self, text: &str) -> Result<(), FormError> {
        let file = json::expand(&json::parse(text)?)?;
        match file.get("transcripts").and_then(Json::as_array) {
            Some(transcripts) => {
                for transcript in transcripts {
                    self.transcripts.push(Transcript::read(transcript)?);
                }
            }
            None => self.vectors.extend(Vector::read_all(&file)?),
        }
        Ok(())
    }

    /// The number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len() + self.transcripts.len()
    }

    /// Whether there are no cases.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The suite that comes with this crate.
///
/// # Panics
/// Never: that its own files read is tested.
#[must_use]
pub fn built_in() -> Suite {
    let mut suite = Suite::default();
    for (name, text) in FILES {
        suite.add(text).unwrap_or_else(|error| unreachable!("{name}: {error}"));
    }
    suite
}

/// What a testee says about itself.
pub(crate) struct Hello {
    name: String,
    /// It is held only to what 0.7 demands.
    pub(crate) only_0_7: bool,
}

impl Hello {
    fn read(answer: &Json) -> Self {
        let text = |key| answer.get(key).and_then(Json::as_str);
        let name = [text("name").unwrap_or("a testee without a name"), text("version").unwrap_or_default()];
        Self { name: name.join(" ").trim().to_owned(), only_0_7: text("profile") == Some("0.7") }
    }
}

/// Asks `testee` about every case.
pub fn run(testee: &mut dyn Testee, suite: &Suite) -> Report {
    let hello = match testee.ask(&json!({ "op": "hello" })) {
        Ok(answer) => Hello::read(&answer),
        Err(Lost { problem }) => {
            let mut report = Report::new("a testee that gave no answer".to_owned());
            report.lost = Some(problem);
            return report;
        }
    };
    let mut report = Report::new(hello.name.clone());
    let vectors =
        suite.vectors.iter().map(|case| (case.group(), case.name(), case.rules(), Case::Vector(case)));
    let transcripts = (suite.transcripts.iter())
        .map(|case| ("transcripts", case.name.as_str(), case.rules.as_slice(), Case::Transcript(case)));
    for (group, name, rules, case) in vectors.chain(transcripts) {
        let outcome = if report.lost.is_some() {
            Ok(Outcome::Skipped)
        } else {
            match case {
                Case::Vector(vector) => vector.run(testee, &hello),
                Case::Transcript(transcript) => transcript.run(testee),
            }
        };
        let outcome = outcome.unwrap_or_else(|lost| {
            let got = lost.to_string();
            report.lost = Some(lost.problem);
            Outcome::Failed { expected: "an answer".to_owned(), got }
        });
        report.add(group, name, rules, outcome);
    }
    report
}

enum Case<'a> {
    Vector(&'a Vector),
    Transcript(&'a Transcript),
}
