//! Text for a terminal: colour where there is one, and nothing in it that a stranger can use against
//! whoever reads it.

use std::fmt::Write;
use std::io::IsTerminal;

use peernet::Value;
use peernet::identity::NodeId;

use crate::json::write_value;

/// Foreground colours (SGR codes) that read well on light and dark, and are told apart easily.
const PALETTE: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colour if standard output is a terminal that has it, and nobody said no
    /// (<https://no-color.org>).
    pub(crate) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    fn paint(self, code: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(1, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(2, text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint(32, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(31, text)
    }

    /// The `index`th of several colours that are told apart.
    pub(crate) fn nth(self, index: usize, text: &str) -> String {
        self.paint(PALETTE.get(index % PALETTE.len()).copied().unwrap_or(39), text)
    }

    /// The beginning of a node's id in a colour of its own.
    pub(crate) fn node(self, id: &NodeId) -> String {
        let sum = id.as_str().bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        self.nth(sum, id.short())
    }
}

/// `text` with everything spelt out that a terminal would obey instead of show: control characters,
/// and those that turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if c.is_control() || turns(c) || c == '\u{2028}' || c == '\u{2029}' => {
                let _ = write!(out, "{}", c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

/// A payload for people: text plainly, everything else in its JSON form.
pub(crate) fn readable(payload: &[Value]) -> String {
    let one = |value: &Value| match value {
        Value::Str(text) => printable(text),
        value => {
            let mut text = String::new();
            write_value(value, &mut text);
            printable(&text)
        }
    };
    payload.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_command_the_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{9b}d\u{202e}e\u{7f}é🙂"),
            "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}e\\u{7f}é🙂"
        );
        let payload =
            [Value::from("hi"), Value::Int(5), Value::from([7u8]), Value::Array(vec!["\x07".into()])];
        assert_eq!(readable(&payload), r#"hi 5 {"$bin":"07"} ["\u0007"]"#);
    }
}
