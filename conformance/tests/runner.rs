//! The runner itself: that it passes what is right, and sees what is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use peernet_conformance::{Lost, Program, Reference, Suite, Testee, built_in, run, serve};
use serde_json::{Value as Json, json};

/// One transcript file is enough where the number of cases does not matter.
const TRANSCRIPTS: &str = include_str!("../transcripts/dialling.json");
const IDS: &str = include_str!("../vectors/ids.json");

fn suite(files: &[&str]) -> Suite {
    let mut suite = Suite::default();
    for file in files {
        suite.add(file).unwrap();
    }
    suite
}

#[test]
fn this_build_conforms() {
    let suite = built_in();
    assert!(suite.len() > 1000);
    let report = run(&mut Reference::default(), &suite);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.passed(), suite.len());
    assert_eq!(report.skipped(), 0);
}

/// A testee that is this build, but for what `f` makes of its answers.
struct Altered<F: FnMut(&Json, Json) -> Json>(Reference, F);

impl<F: FnMut(&Json, Json) -> Json> Testee for Altered<F> {
    fn ask(&mut self, request: &Json) -> Result<Json, Lost> {
        let answer = self.0.answer(request);
        Ok((self.1)(request, answer))
    }
}

fn altered(suite: &Suite, f: impl FnMut(&Json, Json) -> Json) -> peernet_conformance::Report {
    run(&mut Altered(Reference::default(), f), suite)
}

#[test]
fn a_testee_that_says_nothing_fails_every_case() {
    let suite = built_in();
    let report = altered(&suite, |request, answer| if request["op"] == "hello" { answer } else { json!({}) });
    assert_eq!(report.failed(), suite.len(), "{report}");
    assert!(!report.is_clean());
}

/// Every case sees its answer turned into something else: nothing passes by not looking.
#[test]
fn every_case_sees_a_wrong_answer() {
    let suite = built_in();
    let report = altered(&suite, |request, answer| match request["op"].as_str().unwrap() {
        "hello" | "transcript_start" => answer,
        // Something more than was expected, or nothing where there should be something.
        "transcript_step" => json!({ "outputs": [{ "close": { "link": 99, "reason": "none" } }] }),
        _ if answer.get("error").is_some() => json!({ "frame": "", "text": "", "hex": "", "id": "" }),
        _ => json!({ "error": "refused" }),
    });
    assert_eq!(report.failed(), suite.len(), "{report}");
}

#[test]
fn transcripts_see_order_number_and_content_of_outputs() {
    let suite = suite(&[TRANSCRIPTS]);
    let outputs = |answer: &mut Json, f: fn(&mut Vec<Json>)| {
        if let Some(outputs) = answer.get_mut("outputs").and_then(Json::as_array_mut) {
            f(outputs);
        }
    };
    let changes: [fn(&mut Vec<Json>); 3] = [
        |outputs| outputs.reverse(),
        |outputs| {
            outputs.pop();
        },
        |outputs| outputs.extend(outputs.last().cloned()),
    ];
    for change in changes {
        let report = altered(&suite, |_, mut answer| {
            outputs(&mut answer, change);
            answer
        });
        assert!(report.failed() > suite.len() / 2, "{report}");
    }
    let report = altered(&suite, |_, answer| {
        json::parse(&answer.to_string().replace("\"connected\"", "\"disconnected\""))
    });
    assert!(report.failed() > 0, "{report}");
}

mod json {
    use serde_json::Value as Json;

    pub(crate) fn parse(text: &str) -> Json {
        peernet_conformance::json::parse(text).unwrap()
    }
}

#[test]
fn what_a_testee_does_not_offer_is_skipped_and_not_passed() {
    let suite = suite(&[TRANSCRIPTS, IDS]);
    let report = altered(&suite, |request, answer| match request["op"].as_str() {
        Some("transcript_start" | "protocol_id") => json!({ "unsupported": true }),
        _ => answer,
    });
    assert!(report.is_clean(), "{report}");
    let group = |name: &str| report.groups.iter().find(|group| group.name == name).unwrap();
    assert_eq!((group("transcripts").passed, group("protocol ids").passed), (0, 0));
    assert!(group("transcripts").skipped > 10 && group("protocol ids").skipped == 3);
    assert!(group("base58").passed > 10);
}

/// A peer of 0.7 is not asked to refuse what only peernet refuses.
#[test]
fn a_testee_of_0_7_is_held_to_0_7() {
    let suite = suite(&[include_str!("../vectors/values.json")]);
    let lenient = |profile: &'static str| {
        altered(&suite, move |request, answer| match request["op"].as_str() {
            Some("hello") => json!({ "name": "lenient", "profile": profile, "ops": [] }),
            // Lets an extension pass, as 0.7 does.
            _ if answer["error"].as_str().is_some_and(|error| error.contains("extension")) => json!({}),
            _ => answer,
        })
    };
    assert!(lenient("0.7").is_clean());
    assert!(lenient("0.7").skipped() > 12);
    assert!(lenient("peernet").failed() >= 12);
}

#[test]
fn requests_that_are_none_are_unsupported() {
    let requests = "\n{\"op\":\"hello\"}\nnonsense\n{\"op\":\"dance\"}\n{\"op\":\"decode\"}\n\
        {\"op\":\"transcript_step\",\"at\":0,\"input\":{\"tick\":{}}}\n{\"op\":\"decode\",\"frame\":\"00\"}\n";
    let mut answers = Vec::new();
    serve(requests.as_bytes(), &mut answers).unwrap();
    let answers: Vec<Json> = String::from_utf8(answers).unwrap().lines().map(json::parse).collect();
    assert_eq!(answers.len(), 6);
    assert_eq!(answers[0]["name"], "libpeernet");
    for answer in &answers[1..4] {
        assert_eq!(*answer, json!({ "unsupported": true }));
    }
    assert!(answers[4].get("error").is_some() && answers[5].get("error").is_some());
}

#[test]
fn files_that_are_none_are_errors() {
    for text in ["", "[]", "{}", "{\"transcripts\":[{}]}", "{\"encode\":[{\"repeat\":[1]}]}"] {
        assert!(Suite::default().add(text).is_err(), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_program_that_dies_or_babbles_is_reported() {
    let suite = suite(&[IDS]);
    for (command, what) in [
        ("exit 0", "closed its stdout"),
        ("read line; echo '{\"name\":\"x\"}'; read line; exit 1", "closed its stdout"),
        ("read line; echo '{\"name\":\"x\"}'; read line; echo nonsense; read line", "no JSON"),
        ("read line; echo '{\"name\":\"x\"}'; read line; printf '{}'", "newline"),
        ("no-such-command-anywhere 2>/dev/null", "closed its stdout"),
    ] {
        let report = run(&mut Program::start(command).unwrap(), &suite);
        // Writing to a program that is gone may fail before reading from it does.
        let lost = report.lost.clone().unwrap();
        assert!(lost.contains(what) || lost.contains("pipe"), "{command}: {lost}");
        assert!(!report.is_clean() && report.passed() == 0);
    }
}

#[cfg(unix)]
#[test]
fn a_program_that_does_not_answer_is_not_waited_for() {
    let mut program =
        Program::start("read line; echo '{\"name\":\"x\"}'; read line; exec sleep 600").unwrap();
    program = program.with_patience(Duration::from_millis(200));
    let report = run(&mut program, &suite(&[IDS]));
    assert!(report.lost.clone().unwrap().contains("no answer"), "{report}");
    assert_eq!(report.failed(), 1);
}

#[test]
fn a_report_shows_what_was_expected_and_what_came() {
    let suite = suite(&[IDS]);
    let report = altered(&suite, |request, answer| match request["op"].as_str() {
        Some("protocol_id") => json!({ "id": "wrong" }),
        _ => answer,
    });
    assert_eq!(report.failed(), 3);
    let text = report.to_string();
    assert!(
        text.contains("EpAmyZWv9rZUKmjQgU3FTUD4GrJHvVEXizmghVBc8eGD") && text.contains("\"wrong\""),
        "{text}"
    );
    assert_eq!(report.to_json()["failed"], 3);
    assert_eq!(report.to_json()["groups"][0]["failures"][0]["rules"][0], "I-5");
}
