//! Compares what was expected with what came, and remembers what was left free.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// Values that a transcript leaves free, by the name under which they first came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bindings(BTreeMap<String, Json>);

impl Bindings {
    /// Puts bound values in the places of their names.
    pub(crate) fn fill(&self, json: &Json) -> Json {
        match json {
            Json::String(text) => self.0.get(text).unwrap_or(json).clone(),
            Json::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Json::Object(fields) => {
                let filled = fields.iter().map(|(key, value)| (key.clone(), self.fill(value)));
                Json::Object(filled.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// Whether `actual` is what `expected` asks for. Names that are met first are bound to what
    /// stands in their place.
    pub(crate) fn matches(&mut self, expected: &Json, actual: &Json) -> bool {
        match (expected, actual) {
            (Json::String(name), _) if name.starts_with('$') => match self.0.get(name) {
                Some(bound) => bound == actual,
                None => {
                    self.0.insert(name.clone(), actual.clone());
                    true
                }
            },
            (Json::Object(fields), _) => match only(fields) {
                Some(("one_of", Json::Array(choices))) => {
                    choices.iter().any(|choice| self.attempt(choice, actual))
                }
                Some(("between", Json::Array(ends))) => {
                    let inside = |least: &Json, most: &Json| {
                        let actual = actual.as_i64()?;
                        Some((least.as_i64()?..=most.as_i64()?).contains(&actual))
                    };
                    matches!(ends.as_slice(), [least, most] if inside(least, most) == Some(true))
                }
                Some(("unordered", Json::Array(items))) => {
                    actual.as_array().is_some_and(|actual| self.matches_in_any_order(items, actual))
                }
                _ => self.fields_match(fields, actual),
            },
            (Json::Array(expected), Json::Array(actual)) => {
                expected.len() == actual.len()
                    && expected.iter().zip(actual).all(|(expected, actual)| self.matches(expected, actual))
            }
            (expected, actual) => expected == actual,
        }
    }

    /// Whether the outputs of a step are the expected ones, in their order but for those inside
    /// `unordered`.
    pub(crate) fn outputs_match(&mut self, expected: &[Json], actual: &[Json]) -> bool {
        let mut rest = actual;
        for one in expected {
            let group = one.get("unordered").and_then(Json::as_array);
            let (count, any_order) = group.map_or((1, false), |group| (group.len(), true));
            let Some((these, later)) = rest.split_at_checked(count) else { return false };
            let matched = match group {
                Some(group) if any_order => self.matches_in_any_order(group, these),
                _ => these.first().is_some_and(|actual| self.matches(one, actual)),
            };
            if !matched {
                return false;
            }
            rest = later;
        }
        rest.is_empty()
    }

    /// Every key that is expected must be there and match. What else is there is free. A `class` is
    /// compared only if it is told.
    fn fields_match(&mut self, expected: &Map<String, Json>, actual: &Json) -> bool {
        let Some(actual) = actual.as_object() else { return false };
        expected.iter().all(|(key, expected)| match actual.get(key) {
            Some(actual) => self.matches(expected, actual),
            None => key == "class",
        })
    }

    fn matches_in_any_order(&mut self, expected: &[Json], actual: &[Json]) -> bool {
        let mut left: Vec<&Json> = actual.iter().collect();
        let all = expected.iter().all(|expected| {
            let found = left.iter().position(|actual| self.attempt(expected, actual));
            found.map(|at| left.remove(at)).is_some()
        });
        all && left.is_empty()
    }

    /// As [`Bindings::matches`], binding nothing when it fails.
    fn attempt(&mut self, expected: &Json, actual: &Json) -> bool {
        let mut trial = self.clone();
        let matched = trial.matches(expected, actual);
        if matched {
            *self = trial;
        }
        matched
    }
}

/// The only field of an object that has one.
fn only(fields: &Map<String, Json>) -> Option<(&str, &Json)> {
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some((key, value)), None) => Some((key, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outputs(expected: &Json, actual: &Json) -> bool {
        let list = |json: &Json| json.as_array().cloned().unwrap_or_default();
        Bindings::default().outputs_match(&list(expected), &list(actual))
    }

    #[test]
    fn order_and_number_count() {
        assert!(outputs(&json!([{ "a": 1 }, { "b": 2 }]), &json!([{ "a": 1 }, { "b": 2 }])));
        assert!(!outputs(&json!([{ "a": 1 }, { "b": 2 }]), &json!([{ "b": 2 }, { "a": 1 }])));
        assert!(!outputs(&json!([{ "a": 1 }]), &json!([{ "a": 1 }, { "b": 2 }])));
        assert!(!outputs(&json!([{ "a": 1 }]), &json!([])));
        let free = json!([{ "unordered": [{ "a": 1 }, { "b": 2 }] }, 3]);
        assert!(outputs(&free, &json!([{ "b": 2 }, { "a": 1 }, 3])));
        assert!(!outputs(&free, &json!([{ "b": 2 }, { "b": 2 }, 3])));
        assert!(!outputs(&free, &json!([{ "b": 2 }, 3, { "a": 1 }])));
    }

    #[test]
    fn keys_not_named_are_free_and_named_ones_are_not() {
        assert!(outputs(&json!([{ "a": { "x": 1 } }]), &json!([{ "a": { "x": 1, "y": 2 } }])));
        assert!(!outputs(&json!([{ "a": { "x": 1, "y": 2 } }]), &json!([{ "a": { "x": 1 } }])));
        assert!(outputs(&json!([{ "x": 1, "class": "own" }]), &json!([{ "x": 1 }])));
        assert!(!outputs(&json!([{ "x": 1, "class": "own" }]), &json!([{ "x": 1, "class": "relay" }])));
    }

    #[test]
    fn free_values_are_bound_once() {
        let mut bindings = Bindings::default();
        assert!(bindings.matches(&json!(["$x", "$y", "$x"]), &json!([1, "two", 1])));
        assert!(!bindings.matches(&json!("$x"), &json!(2)));
        assert_eq!(bindings.fill(&json!({ "k": ["$x", "$z"] })), json!({ "k": [1, "$z"] }));
        // A failed attempt binds nothing.
        let either = json!({ "one_of": [["$a", 1], ["$b", 2]] });
        assert!(bindings.matches(&either, &json!([5, 2])));
        assert_eq!(bindings.fill(&json!(["$a", "$b"])), json!(["$a", 5]));
    }

    #[test]
    fn ranges() {
        let mut bindings = Bindings::default();
        let range = json!({ "between": [250, 500] });
        assert!(bindings.matches(&range, &json!(250)) && bindings.matches(&range, &json!(500)));
        assert!(!bindings.matches(&range, &json!(249)) && !bindings.matches(&range, &json!("300")));
    }
}
