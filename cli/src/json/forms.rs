//! Values to JSON and back.

use std::collections::HashSet;
use std::fmt;

use peernet::Value;

use super::tree::{Json, write_text};
use crate::hex;

/// Integers beyond this are written as text: JavaScript and others read numbers as float64.
const MAX_PLAIN: u128 = 1 << 53;
/// The range of integers on the wire.
const INTEGERS: std::ops::RangeInclusive<i128> = -(1 << 63)..=(1 << 64) - 1;

/// JSON that names no value, and where in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FormError {
    place: String,
    problem: String,
}

impl FormError {
    fn new(problem: impl Into<String>) -> Self {
        Self { place: String::new(), problem: problem.into() }
    }

    pub(crate) fn inside(mut self, part: impl fmt::Display) -> Self {
        self.place = format!("{part}{}", self.place);
        self
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "value" } else { &self.place };
        write!(f, "{place}: {}", self.problem)
    }
}

/// Appends a value in its JSON form.
pub(crate) fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) if value.unsigned_abs() <= MAX_PLAIN => out.push_str(&value.to_string()),
        Value::Int(value) => write_form("$int", &value.to_string(), out),
        // The shortest digits that read as the same float, always with a point or an exponent.
        Value::Float(value) if value.is_finite() => out.push_str(&format!("{value:?}")),
        Value::Float(value) => write_form("$float64", &format!("{:016x}", value.to_bits()), out),
        Value::Str(text) => write_text(text, out),
        Value::Bin(bytes) => {
            out.push_str("{\"$bin\":\"");
            hex::write(bytes, out);
            out.push_str("\"}");
        }
        Value::Array(items) => write_payload(items, out),
        Value::Map(pairs) => match plain_keys(pairs) {
            Some(pairs) => write_object(&pairs, out),
            None => write_pairs(pairs, out),
        },
    }
}

/// Writes the key of a table: text where it is UTF-8, else bytes.
pub(crate) fn write_key(key: &[u8], out: &mut String) {
    match std::str::from_utf8(key) {
        Ok(text) => write_text(text, out),
        Err(_) => write_value(&Value::Bin(key.to_vec()), out),
    }
}

/// The key of a table that JSON names: text or bytes.
pub(crate) fn read_key(json: &Json) -> Option<Vec<u8>> {
    match read_value(json) {
        Ok(Value::Str(key)) => Some(key.into_bytes()),
        Ok(Value::Bin(key)) => Some(key),
        _ => None,
    }
}

/// Appends values as a JSON array.
pub(crate) fn write_payload(values: &[Value], out: &mut String) {
    out.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_value(value, out);
    }
    out.push(']');
}

fn write_form(name: &str, text: &str, out: &mut String) {
    out.push('{');
    write_text(name, out);
    out.push(':');
    write_text(text, out);
    out.push('}');
}

/// The pairs with their keys as text, if a JSON object can show them.
fn plain_keys(pairs: &[(Value, Value)]) -> Option<Vec<(&str, &Value)>> {
    let mut seen = HashSet::with_capacity(pairs.len());
    let plain: Vec<(&str, &Value)> = pairs
        .iter()
        .map(|(key, value)| Some((key.as_str()?, value)).filter(|(key, _)| seen.insert(*key)))
        .collect::<Option<_>>()?;
    let like_a_form = matches!(plain.as_slice(), [(key, _)] if key.starts_with('$'));
    (!like_a_form).then_some(plain)
}

fn write_object(pairs: &[(&str, &Value)], out: &mut String) {
    out.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_pairs(pairs: &[(Value, Value)], out: &mut String) {
    out.push_str("{\"$map\":[");
    for (index, (key, value)) in pairs.iter().enumerate() {
        out.push_str(if index > 0 { ",[" } else { "[" });
        write_value(key, out);
        out.push(',');
        write_value(value, out);
        out.push(']');
    }
    out.push_str("]}");
}

/// The values that a JSON array names.
pub(crate) fn read_payload(json: &Json) -> Result<Vec<Value>, FormError> {
    match json {
        Json::Array(items) => read_items(items),
        _ => Err(FormError::new("must be an array of values")),
    }
    .map_err(|error| error.inside("payload"))
}

fn read_items(items: &[Json]) -> Result<Vec<Value>, FormError> {
    let read =
        |(index, item)| read_value(item).map_err(|error: FormError| error.inside(format_args!("[{index}]")));
    items.iter().enumerate().map(read).collect()
}

/// The value that JSON names, in any form.
pub(crate) fn read_value(json: &Json) -> Result<Value, FormError> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(text) => read_number(text)?,
        Json::Text(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::Array(read_items(items)?),
        Json::Object(pairs) => match pairs.as_slice() {
            [(name, json)] if name.starts_with('$') => read_form(name, json)?,
            _ => Value::Map(
                pairs
                    .iter()
                    .map(|(key, json)| match read_value(json) {
                        Ok(value) => Ok((Value::Str(key.clone()), value)),
                        Err(error) => Err(error.inside(format_args!("[{key:?}]"))),
                    })
                    .collect::<Result<_, _>>()?,
            ),
        },
    })
}

fn read_number(text: &str) -> Result<Value, FormError> {
    if !text.contains(['.', 'e', 'E']) {
        return read_integer(text);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Value::Float(value)),
        _ => Err(FormError::new(format!("{text} is beyond every float64; write {{\"$float64\":\"<hex>\"}}"))),
    }
}

fn read_integer(text: &str) -> Result<Value, FormError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FormError::new(format!("{text:?} is no integer in decimal")));
    }
    match text.parse() {
        Ok(value) if INTEGERS.contains(&value) => Ok(Value::Int(value)),
        _ => Err(FormError::new(format!("integer {text} is outside -2^63 to 2^64 - 1"))),
    }
}

fn read_form(name: &str, json: &Json) -> Result<Value, FormError> {
    let wrong = |shape: &str| Err(FormError::new(format!("{{{name:?}:…}} takes {shape}")));
    match (name, json) {
        ("$bin", Json::Text(text)) => match hex::read(text.as_bytes()) {
            Some(bytes) => Ok(Value::Bin(bytes)),
            None => wrong("an even number of hexadecimal digits"),
        },
        ("$bin", _) => wrong("a text of hexadecimal digits"),
        ("$int", Json::Text(text)) => read_integer(text),
        ("$int", _) => wrong("a text of decimal digits"),
        ("$float64", Json::Text(text)) => match hex::read(text.as_bytes()).map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => Ok(Value::Float(f64::from_bits(u64::from_be_bytes(bytes)))),
            _ => wrong("16 hexadecimal digits"),
        },
        ("$float64", _) => wrong("a text of 16 hexadecimal digits"),
        ("$map", Json::Array(pairs)) => {
            let read = |(index, pair): (usize, &Json)| {
                let Json::Array(pair) = pair else {
                    return Err(FormError::new("a pair is an array of key and value"));
                };
                let [key, value] = pair.as_slice() else {
                    return Err(FormError::new("a pair is an array of key and value"));
                };
                Ok((read_value(key)?, read_value(value)?))
                    .map_err(|error: FormError| error.inside(format_args!("[pair {index}]")))
            };
            pairs.iter().enumerate().map(read).collect::<Result<_, _>>().map(Value::Map)
        }
        ("$map", _) => wrong("an array of pairs"),
        _ => Err(FormError::new(format!(
            "there is no form {name:?}; a map with this one key is {{\"$map\":[[{name:?},…]]}}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn written(value: &Value) -> String {
        let mut out = String::new();
        write_value(value, &mut out);
        out
    }

    fn read(text: &str) -> Result<Value, FormError> {
        read_value(&Json::parse(text).unwrap())
    }

    /// Equal to the bit: `==` takes -0.0 for 0.0 and no NaN for itself.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
            }
            _ => a == b,
        }
    }

    #[test]
    fn written_forms() {
        let map = |pairs: &[(Value, Value)]| Value::Map(pairs.to_vec());
        for (value, text) in [
            (Value::Nil, "null"),
            (Value::Bool(true), "true"),
            (Value::Int(1), "1"),
            (Value::Float(1.0), "1.0"),
            (Value::Float(-0.0), "-0.0"),
            (Value::Float(1e16), "1e16"),
            (Value::Float(5e-324), "5e-324"),
            (Value::Float(f64::MAX), "1.7976931348623157e308"),
            (Value::Float(f64::INFINITY), r#"{"$float64":"7ff0000000000000"}"#),
            (Value::Float(f64::from_bits(0xfff8_0000_0000_0001)), r#"{"$float64":"fff8000000000001"}"#),
            (Value::Int(1 << 53), "9007199254740992"),
            (Value::Int(-(1 << 53)), "-9007199254740992"),
            (Value::Int((1 << 53) + 1), r#"{"$int":"9007199254740993"}"#),
            (Value::Int(-(1 << 63)), r#"{"$int":"-9223372036854775808"}"#),
            (Value::Int((1 << 64) - 1), r#"{"$int":"18446744073709551615"}"#),
            (Value::Bin(vec![0, 255]), r#"{"$bin":"00ff"}"#),
            (Value::from("a\"\n"), r#""a\"\n""#),
            (map(&[]), "{}"),
            (map(&[("b".into(), 1.into()), ("a".into(), 2.into())]), r#"{"b":1,"a":2}"#),
            (map(&[("$bin".into(), 1.into())]), r#"{"$map":[["$bin",1]]}"#),
            (map(&[("$a".into(), 1.into()), ("$b".into(), 2.into())]), r#"{"$a":1,"$b":2}"#),
            (map(&[(1.into(), Value::Nil)]), r#"{"$map":[[1,null]]}"#),
            (map(&[("a".into(), 1.into()), ("a".into(), 2.into())]), r#"{"$map":[["a",1],["a",2]]}"#),
        ] {
            assert_eq!(written(&value), text);
            assert!(same(&read(text).unwrap(), &value), "{text}");
        }
    }

    #[test]
    fn any_form_that_names_the_value_is_read() {
        for (text, value) in [
            ("18446744073709551615", Value::Int((1 << 64) - 1)),
            (r#"{"$int":"5"}"#, Value::Int(5)),
            (r#"{"$int":"-0"}"#, Value::Int(0)),
            ("-0", Value::Int(0)),
            ("1E2", Value::Float(100.0)),
            ("0.1e1", Value::Float(1.0)),
            ("1e-400", Value::Float(0.0)),
            (r#"{"$float64":"3FF0000000000000"}"#, Value::Float(1.0)),
            (r#"{"$bin":"AB"}"#, Value::Bin(vec![0xab])),
            (r#"{"$map":[["a",1]]}"#, Value::Map(vec![("a".into(), 1.into())])),
            (r#"{"$map":[]}"#, Value::Map(vec![])),
        ] {
            assert!(same(&read(text).unwrap(), &value), "{text}");
        }
    }

    #[test]
    fn what_names_no_value_is_refused_with_its_place() {
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e400",
            r#"{"$int":"1.0"}"#,
            r#"{"$int":"+1"}"#,
            r#"{"$int":""}"#,
            r#"{"$int":5}"#,
            r#"{"$bin":"0"}"#,
            r#"{"$bin":"zz"}"#,
            r#"{"$bin":1}"#,
            r#"{"$float64":"00"}"#,
            r#"{"$float64":1.0}"#,
            r#"{"$map":{}}"#,
            r#"{"$map":[[1]]}"#,
            r#"{"$map":[1]}"#,
            r#"{"$other":1}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let error = read_payload(&Json::parse(r#"[0,{"k":[1e999]}]"#).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(r#"payload[1]["k"][0]: 1e999"#), "{error}");
    }

    /// A value of the golden vectors: an object with one key, its msgpack type.
    fn golden(json: &serde_json::Value) -> Value {
        let (kind, json) = json.as_object().unwrap().iter().next().unwrap();
        let text = || json.as_str().unwrap();
        match kind.as_str() {
            "nil" => Value::Nil,
            "bool" => Value::Bool(json.as_bool().unwrap()),
            "int" => Value::Int(text().parse().unwrap()),
            "float64" => Value::Float(f64::from_bits(u64::from_str_radix(text(), 16).unwrap())),
            "str" => Value::Str(text().to_owned()),
            "bin" => Value::Bin(hex::read(text().as_bytes()).unwrap()),
            "array" => Value::Array(json.as_array().unwrap().iter().map(golden).collect()),
            "map" => Value::Map(
                json.as_array().unwrap().iter().map(|pair| (golden(&pair[0]), golden(&pair[1]))).collect(),
            ),
            other => panic!("unknown kind {other}"),
        }
    }

    #[test]
    fn every_golden_value_survives() {
        let vectors = include_str!("../../../conformance/vectors/p2p-today-0.7.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let mut count = 0;
        for case in ["encode", "decode"].iter().flat_map(|part| vectors[part].as_array().unwrap()) {
            for value in case["payload"].as_array().unwrap() {
                let value = golden(value);
                let text = written(&value);
                assert!(same(&read(&text).unwrap(), &value), "{text}");
                assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
                count += 1;
            }
        }
        assert!(count > 200, "{count}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let key = prop_oneof!["[a-c$]{0,3}", any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-3i128..=3).prop_map(|n| Value::Int((1 << 53) + n)),
            (-100i64..100).prop_map(Value::from),
            any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
            (-100i32..100).prop_map(|n| Value::Float(n.into())),
            any::<String>().prop_map(Value::Str),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bin),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let text_keys = prop::collection::vec((key.clone().prop_map(Value::Str), inner.clone()), 0..5);
            let any_keys = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(Value::Array),
                text_keys.prop_map(Value::Map),
                any_keys.prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn round_trip(value in any_value()) {
            let text = written(&value);
            prop_assert!(same(&read(&text).unwrap(), &value), "{}", text);
            prop_assert!(!text.contains('\n'));
            // Other readers of JSON take it too.
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn the_deepest_value_survives() {
        let mut value = Value::Nil;
        for _ in 0..peernet::wire::value::MAX_DEPTH {
            value = Value::Map(vec![(Value::Nil, value)]);
        }
        assert!(same(&read(&written(&value)).unwrap(), &value));
    }
}
