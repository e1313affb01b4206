//! JSON text as a tree that keeps everything: numbers as they are written, repeated keys, order.
//!
//! `serde_json::Value` would not do: integers over 64 bits turn into floats in it, a repeated key
//! loses its first value, and nesting ends before that of our values does. Its readers of strings
//! serve here too.

use peernet::wire::value::MAX_DEPTH;

/// How deep JSON may nest here. A value's map takes up to three levels (`{"$map":[[k,v]]}`), and a
/// few stand around it; the reader recurses, so there must be a bound.
const MAX_NESTING: usize = 3 * MAX_DEPTH + 16;

/// Any JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As written; valid JSON.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    /// In order, repeated keys included.
    Object(Vec<(String, Json)>),
}

/// A text that is no JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonError {
    at: usize,
    problem: String,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not JSON at byte {}: {}", self.at, self.problem)
    }
}

impl Json {
    /// Reads one JSON text, with nothing but white space around it.
    pub(crate) fn parse(text: &str) -> Result<Self, JsonError> {
        let mut reader = Reader { text, at: 0 };
        let json = reader.value(0)?;
        match reader.peek() {
            None => Ok(json),
            Some(_) => Err(reader.wrong("more follows the end")),
        }
    }

    /// As [`Json::parse`], from bytes that may not even be text.
    pub(crate) fn parse_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| JsonError { at: error.valid_up_to(), problem: "not UTF-8".to_owned() })?;
        Self::parse(text)
    }

    /// What stands under `key` in an object; the last one if it is there more than once.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(pairs) => pairs.iter().rev().find(|(name, _)| name == key).map(|(_, json)| json),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is a number written as one.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Appends it as text, without white space.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(pairs) => {
                out.push('{');
                for (index, (key, item)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    item.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Text always has a JSON form.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, problem: impl Into<String>) -> JsonError {
        JsonError { at: self.at, problem: problem.into() }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space, without taking it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, wanted: u8, otherwise: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong(otherwise))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > MAX_NESTING {
            return Err(self.wrong(format!("nested deeper than {MAX_NESTING} levels")));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(_) => Err(self.wrong("this begins no value")),
            None => Err(self.wrong("it ends where a value should be")),
        }
    }

    fn word(&mut self, word: &str, json: Json) -> Result<Json, JsonError> {
        if self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            Ok(json)
        } else {
            Err(self.wrong("this begins no value"))
        }
    }

    /// Whether the list goes on behind an item; takes the comma or the end.
    fn goes_on(&mut self, end: u8, otherwise: &'static str) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wrong(otherwise)),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.goes_on(b']', "an array goes on with , or ends with ]")? {
                return Ok(Json::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut pairs = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(pairs));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key is a string"));
            }
            let key = self.string()?;
            self.expect(b':', "a key is followed by :")?;
            pairs.push((key, self.value(depth + 1)?));
            if !self.goes_on(b'}', "an object goes on with , or ends with }")? {
                return Ok(Json::Object(pairs));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start + 1..).unwrap_or_default();
        let (mut escaped, mut plain) = (false, true);
        let closing = rest.iter().position(|byte| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            plain &= closes || (*byte >= 0x20 && *byte != b'\\');
            closes
        });
        let Some(len) = closing else { return Err(self.wrong("a string that does not end")) };
        let end = start + 1 + len;
        self.at = end + 1;
        if plain {
            return Ok(self.text.get(start + 1..end).unwrap_or_default().to_owned());
        }
        serde_json::from_str(self.text.get(start..=end).unwrap_or_default()).map_err(|error| {
            let problem = error.to_string();
            // Its position is that inside the string.
            let problem = problem.split(" at line ").next().unwrap_or_default();
            JsonError { at: start, problem: format!("bad string: {problem}") }
        })
    }

    fn digits(&mut self) -> usize {
        let before = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - before
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.byte() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.wrong("a number needs digits, and none of them a leading zero"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.wrong("digits follow a point"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.wrong("digits follow an exponent"));
            }
        }
        Ok(Json::Number(self.text.get(start..self.at).unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn round(text: &str) -> String {
        let mut out = String::new();
        Json::parse(text).unwrap().write(&mut out);
        out
    }

    #[test]
    fn everything_is_kept() {
        for text in [
            r#"{"b":1,"a":2,"b":3}"#,
            r#"[1e400,123456789012345678901234567890,-0,1.00,1E+2]"#,
            r#"[[],{},"",null,true,false]"#,
            r#""\u0000\"\\é🙂""#,
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round(" [ 1 , {\"k\" :\t\"\\ud83d\\ude42\\/\" } ]\r\n"), r#"[1,{"k":"🙂/"}]"#);
    }

    #[test]
    fn what_serde_json_refuses_is_refused() {
        for text in [
            "",
            "nul",
            "nulls",
            "tru",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-",
            "--1",
            "[1,]",
            "[1 2]",
            "[",
            "]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\t\"",
            "\"\\ud800\"",
            "\"\\u12\"",
            "'a'",
            "1 1",
            "NaN",
            "\u{feff}1",
        ] {
            assert!(Json::parse(text).is_err(), "{text:?}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}");
        }
        assert!(Json::parse_bytes(b"\"\xff\"").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAX_NESTING)).is_ok());
        assert!(Json::parse(&nested(1_000_000)).is_err());
        assert!(Json::parse(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn strings_read_as_serde_json_reads_them(text: String) {
            let mut written = String::new();
            write_text(&text, &mut written);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text.clone());
            proptest::prop_assert_eq!(Json::parse(&written), Ok(Json::Text(text)));
        }

        #[test]
        fn any_text_gives_the_verdict_of_serde_json(text in r#"[\[\]{}:,"\\0-9.eE+\- untrueflas]{0,24}"#) {
            let ours = Json::parse(&text);
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(_) => proptest::prop_assert!(ours.is_ok(), "{:?}", ours),
                // It refuses numbers that overflow a float; here the text is kept.
                Err(error) if error.to_string().contains("out of range") => {}
                Err(_) => proptest::prop_assert!(ours.is_err(), "{:?}", ours),
            }
        }
    }
}
