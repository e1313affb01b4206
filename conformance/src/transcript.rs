//! Transcripts: what happens to one node, and what it does about it.

use serde_json::{Value as Json, json};

use crate::matching::Bindings;
use crate::report::Outcome;
use crate::vector::rules_of;
use crate::{FormError, Lost, Testee};

#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) name: String,
    pub(crate) rules: Vec<String>,
    node: Json,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    at: u64,
    input: Json,
    expect: Vec<Json>,
}

impl Transcript {
    pub(crate) fn read(json: &Json) -> Result<Self, FormError> {
        let name = json.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
        let missing = |what: &str| FormError(format!("transcript `{name}`: {what} is missing"));
        let node = json.get("node").cloned().ok_or_else(|| missing("node"))?;
        let steps = json.get("steps").and_then(Json::as_array).ok_or_else(|| missing("steps"))?;
        let steps = steps
            .iter()
            .map(|step| {
                let expect = step.get("expect").and_then(Json::as_array);
                Ok(Step {
                    at: step.get("at").and_then(Json::as_u64).ok_or_else(|| missing("a step's at"))?,
                    input: step.get("input").cloned().ok_or_else(|| missing("a step's input"))?,
                    expect: expect.cloned().ok_or_else(|| missing("a step's expect"))?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { rules: rules_of(json), node, steps, name })
    }

    pub(crate) fn run(&self, testee: &mut dyn Testee) -> Result<Outcome, Lost> {
        let answer = testee.ask(&json!({ "op": "transcript_start", "node": self.node }))?;
        if answer.get("unsupported").is_some() {
            return Ok(Outcome::Skipped);
        }
        if answer.get("error").is_some() {
            let expected = "a node to start with".to_owned();
            return Ok(Outcome::Failed { expected, got: answer.to_string() });
        }
        let mut bindings = Bindings::default();
        for (number, step) in (1..).zip(&self.steps) {
            let input = bindings.fill(&step.input);
            let answer = testee.ask(&json!({ "op": "transcript_step", "at": step.at, "input": input }))?;
            if answer.get("unsupported").is_some() {
                return Ok(Outcome::Skipped);
            }
            let outputs =
                answer.get("outputs").and_then(Json::as_array).map(|all| all.iter().map(sorted).collect());
            let outputs: Option<Vec<Json>> = outputs;
            let matched = outputs.as_ref().is_some_and(|got| bindings.outputs_match(&step.expect, got));
            if !matched {
                let expected = Json::Array(step.expect.iter().map(|json| bindings.fill(json)).collect());
                let what = format!("step {number}, at {} ms, {}", step.at, step.input);
                let got = outputs.map_or(answer, Json::Array);
                return Ok(Outcome::Failed {
                    expected: format!("{expected} at {what}"),
                    got: got.to_string(),
                });
            }
        }
        Ok(Outcome::Passed)
    }
}

/// A `send` may name its links in any order.
fn sorted(output: &Json) -> Json {
    let mut output = output.clone();
    if let Some(links) = output.pointer_mut("/send/links").and_then(Json::as_array_mut) {
        links.sort_by_key(Json::as_u64);
    }
    output
}
