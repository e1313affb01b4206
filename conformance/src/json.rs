//! The forms that values, bytes and repetitions take in the suite's JSON.

use peernet::Value;
use serde_json::{Map, Value as Json, json};

/// Levels of JSON at most. A value at the protocol's deepest nesting takes three levels for each of
/// its 64.
const MAX_LEVELS: usize = 512;
/// Elements and characters that repetitions may expand to, in one file.
const MAX_EXPANDED: usize = 64 << 20;

/// JSON that does not have the form it should have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(pub(crate) String);

impl FormError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Reads JSON of up to 512 levels; `serde_json` alone stops at 128.
///
/// # Errors
/// [`FormError`] if it is no JSON or nests deeper.
pub fn parse(text: &str) -> Result<Json, FormError> {
    if levels(text) > MAX_LEVELS {
        return Err(FormError(format!("the JSON nests deeper than {MAX_LEVELS} levels")));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let mut values = reader.into_iter::<Json>();
    match (values.next(), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (Some(Err(error)), _) => Err(FormError(format!("no JSON: {error}"))),
        (None, _) => Err(FormError::new("no JSON: nothing there")),
        (_, Some(_)) => Err(FormError::new("more than one JSON value")),
    }
}

/// How deep brackets nest in a JSON text, those inside strings not counted.
fn levels(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Writes out the repetitions in a vector file: `{"repeat": [X, n]}` in a list stands for X n times,
/// and a list where text belongs (`str`, `bin`, `hex`, `frame`) is joined.
///
/// # Errors
/// [`FormError`] for a repetition of another form, or that gets too long.
pub fn expand(json: &Json) -> Result<Json, FormError> {
    expand_within(json, &mut { MAX_EXPANDED })
}

fn expand_within(json: &Json, room: &mut usize) -> Result<Json, FormError> {
    match json {
        Json::Array(items) => {
            let mut all = Vec::with_capacity(items.len());
            for item in items {
                match item.get("repeat") {
                    None => all.push(expand_within(item, room)?),
                    Some(repeat) => {
                        let (what, times) = repetition(repeat)?;
                        let what = expand_within(what, room)?;
                        spend(room, times.saturating_mul(what.as_str().map_or(1, str::len)))?;
                        all.extend(std::iter::repeat_n(what, times));
                    }
                }
            }
            Ok(Json::Array(all))
        }
        Json::Object(fields) => {
            let mut all = Map::new();
            for (key, value) in fields {
                let mut value = expand_within(value, room)?;
                if matches!(key.as_str(), "str" | "bin" | "hex" | "frame")
                    && let Json::Array(parts) = &value
                {
                    let joined: Option<String> = parts.iter().map(Json::as_str).collect();
                    value = joined.ok_or_else(|| FormError(format!("{key} is no list of texts")))?.into();
                }
                all.insert(key.clone(), value);
            }
            Ok(Json::Object(all))
        }
        other => Ok(other.clone()),
    }
}

fn repetition(repeat: &Json) -> Result<(&Json, usize), FormError> {
    let parts = repeat.as_array().map(Vec::as_slice);
    let Some([what, times]) = parts else { return Err(FormError::new("repeat is not [what, times]")) };
    let times = times.as_u64().and_then(|times| usize::try_from(times).ok());
    times.map(|times| (what, times)).ok_or_else(|| FormError::new("repeat has no number of times"))
}

fn spend(room: &mut usize, amount: usize) -> Result<(), FormError> {
    *room = room.checked_sub(amount).ok_or_else(|| FormError::new("repetitions get too long"))?;
    Ok(())
}

/// Writes a value as an object with one key, its msgpack type.
#[must_use]
pub fn from_value(value: &Value) -> Json {
    match value {
        Value::Nil => json!({ "nil": null }),
        Value::Bool(value) => json!({ "bool": value }),
        Value::Int(value) => json!({ "int": value.to_string() }),
        Value::Float(value) => json!({ "float64": format!("{:016x}", value.to_bits()) }),
        Value::Str(text) => json!({ "str": text }),
        Value::Bin(bytes) => json!({ "bin": hex(bytes) }),
        Value::Array(items) => json!({ "array": from_values(items) }),
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| json!([from_value(key), from_value(value)]);
            json!({ "map": pairs.iter().map(pair).collect::<Vec<_>>() })
        }
    }
}

/// Writes the values of a payload.
#[must_use]
pub fn from_values(values: &[Value]) -> Json {
    values.iter().map(from_value).collect()
}

/// Reads what [`from_value`] writes.
///
/// # Errors
/// [`FormError`] that says what has another form.
pub fn to_value(json: &Json) -> Result<Value, FormError> {
    let wrong = || {
        let shown: String = json.to_string().chars().take(60).collect();
        FormError(format!("not a value: {shown}"))
    };
    let fields = json.as_object().ok_or_else(wrong)?;
    let mut fields = fields.iter();
    let (Some((kind, inner)), None) = (fields.next(), fields.next()) else { return Err(wrong()) };
    let value = match (kind.as_str(), inner) {
        ("nil", _) => Value::Nil,
        ("bool", Json::Bool(value)) => Value::Bool(*value),
        ("int", Json::String(digits)) => Value::Int(digits.parse().map_err(|_| wrong())?),
        ("float64", Json::String(digits)) if digits.len() == 16 => {
            Value::Float(f64::from_bits(u64::from_str_radix(digits, 16).map_err(|_| wrong())?))
        }
        ("str", Json::String(text)) => Value::Str(text.clone()),
        ("bin", Json::String(digits)) => Value::Bin(unhex(digits)?),
        ("array", Json::Array(items)) => Value::Array(to_values(items)?),
        ("map", Json::Array(pairs)) => {
            let pair = |pair: &Json| match pair.as_array().map(Vec::as_slice) {
                Some([key, value]) => Ok((to_value(key)?, to_value(value)?)),
                _ => Err(wrong()),
            };
            Value::Map(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        _ => return Err(wrong()),
    };
    Ok(value)
}

/// Reads the values of a payload.
///
/// # Errors
/// As of [`to_value`].
pub fn to_values(items: &[Json]) -> Result<Vec<Value>, FormError> {
    items.iter().map(to_value).collect()
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Reads hexadecimal digits; an odd number of them is taken as an integer's (`abc` is `0abc`).
///
/// # Errors
/// [`FormError`] for any other character.
pub fn unhex(text: &str) -> Result<Vec<u8>, FormError> {
    let digit = |byte: u8| {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| FormError(format!("{:?} is no hexadecimal digit", char::from(byte))))
    };
    let (head, rest) = text.as_bytes().split_at(text.len() % 2);
    let mut bytes = Vec::with_capacity(text.len().div_ceil(2));
    for byte in head {
        bytes.push(digit(*byte)?);
    }
    for pair in rest.as_chunks::<2>().0 {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_written_out_and_bounded() {
        let short = json!({ "a": [1, { "repeat": [2, 3] }], "bin": ["00", { "repeat": ["ff", 2] }] });
        assert_eq!(expand(&short).unwrap(), json!({ "a": [1, 2, 2, 2], "bin": "00ffff" }));
        let nested = json!([{ "repeat": [[{ "repeat": ["x", 1_000_000_000] }], 1_000_000_000] }]);
        assert!(expand(&nested).is_err());
        assert!(expand(&json!([{ "repeat": ["x"] }])).is_err());
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_text_do_not_count() {
        assert!(parse(&format!("{}{}", "[".repeat(512), "]".repeat(512))).is_ok());
        assert!(parse(&format!("{}{}", "[".repeat(513), "]".repeat(513))).is_err());
        assert_eq!(levels(r#"["[[[\"[[", {"]": "{"}]"#), 2);
        assert!(parse("1 2").is_err());
    }

    #[test]
    fn values_come_back_bit_for_bit() {
        let value = Value::Map(vec![
            (Value::Int(-(1 << 63)), Value::Array(vec![Value::Nil, Value::Bool(true)])),
            (Value::Bin(vec![0, 255]), Value::Str("é\n".to_owned())),
        ]);
        assert_eq!(to_value(&from_value(&value)).unwrap(), value);
        let nan = json!({ "float64": "7ff8000000000001" });
        assert_eq!(from_value(&to_value(&nan).unwrap()), nan);
        for bad in
            [json!(1), json!({}), json!({ "int": 1 }), json!({ "bin": "x" }), json!({ "float64": "0" })]
        {
            assert!(to_value(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits() {
        assert_eq!(unhex("abc").unwrap(), [0x0a, 0xbc]);
        assert_eq!(hex(&[0x0a, 0xbc]), "0abc");
        assert!(unhex("+1").is_err());
    }
}
