//! Writes one JSON object, the shape of every line that programs read.

use peernet::Value;

use super::forms::write_payload;
use super::tree::{Json, write_text};

/// An object under construction. Keys come out in the order in which they were given.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    /// An object that begins with a text.
    pub(crate) fn new(key: &str, text: &str) -> Self {
        Self::empty().text(key, text)
    }

    /// An object without keys.
    pub(crate) fn empty() -> Self {
        Self(String::from("{"))
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        write_text(key, &mut self.0);
        self.0.push(':');
    }

    pub(crate) fn text(mut self, key: &str, text: &str) -> Self {
        self.key(key);
        write_text(text, &mut self.0);
        self
    }

    pub(crate) fn number(mut self, key: &str, number: impl Into<i128>) -> Self {
        self.key(key);
        self.0.push_str(&number.into().to_string());
        self
    }

    pub(crate) fn json(mut self, key: &str, json: &Json) -> Self {
        self.key(key);
        json.write(&mut self.0);
        self
    }

    pub(crate) fn payload(mut self, key: &str, values: &[Value]) -> Self {
        self.key(key);
        write_payload(values, &mut self.0);
        self
    }

    /// `json` is JSON already.
    pub(crate) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.0.push_str(json);
        self
    }

    /// The object as it stands in other JSON.
    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// The object as a line.
    pub(crate) fn line(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}
