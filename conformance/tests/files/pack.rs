//! A msgpack writer, frames and files of the generator's own, so that the vectors do not rest on the
//! code that they test.

use peernet::Value;
use peernet::wire::body::digest;
use peernet_conformance::json::{from_value, from_values, hex};
use serde_json::{Map, Value as Json, json};

/// The stamp of all messages that do not need another.
pub(crate) const TIME: i64 = 1_479_600_000;

/// A head: the shortest of up to three widths, each with the largest length it takes.
fn head(len: usize, forms: [(u8, u8); 3], short: Option<(u8, usize)>) -> Vec<u8> {
    if let Some((marker, most)) = short
        && len <= most
    {
        return vec![marker | len as u8];
    }
    let (marker, width) = forms.into_iter().find(|(_, width)| len >> (8 * width) == 0).unwrap();
    let bytes = (len as u64).to_be_bytes();
    [&[marker], &bytes[8 - usize::from(width)..]].concat()
}

pub(crate) fn array_head(len: usize) -> Vec<u8> {
    head(len, [(0xdc, 2), (0xdd, 4), (0xdd, 4)], Some((0x90, 15)))
}

/// The one form of a value that is written (W-14).
pub(crate) fn pack(value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => vec![0xc0],
        Value::Bool(value) => vec![0xc2 + u8::from(*value)],
        Value::Int(value) => integer(*value),
        Value::Float(value) => [&[0xcb], &value.to_bits().to_be_bytes()[..]].concat(),
        Value::Str(text) => {
            let head = head(text.len(), [(0xd9, 1), (0xda, 2), (0xdb, 4)], Some((0xa0, 31)));
            [&head, text.as_bytes()].concat()
        }
        Value::Bin(bytes) => {
            [&head(bytes.len(), [(0xc4, 1), (0xc5, 2), (0xc6, 4)], None), &bytes[..]].concat()
        }
        Value::Array(items) => [array_head(items.len()), pack_all(items)].concat(),
        Value::Map(pairs) => {
            let head = head(pairs.len(), [(0xde, 2), (0xdf, 4), (0xdf, 4)], Some((0x80, 15)));
            let pairs = pairs.iter().flat_map(|(key, value)| [pack(key), pack(value)].concat());
            head.into_iter().chain(pairs).collect()
        }
    }
}

pub(crate) fn pack_all(values: &[Value]) -> Vec<u8> {
    values.iter().flat_map(pack).collect()
}

fn integer(value: i128) -> Vec<u8> {
    let wide = (value as u64).to_be_bytes();
    let with = |marker: u8, width: usize| [&[marker], &wide[8 - width..]].concat();
    match value {
        0..=0x7f => vec![value as u8],
        0x80..=0xff => with(0xcc, 1),
        0x100..=0xffff => with(0xcd, 2),
        0x1_0000..=0xffff_ffff => with(0xce, 4),
        0x1_0000_0000.. => with(0xcf, 8),
        -0x20..=-1 => vec![wide[7]],
        -0x80..=-0x21 => with(0xd0, 1),
        -0x8000..=-0x81 => with(0xd1, 2),
        -0x8000_0000..=-0x8001 => with(0xd2, 4),
        _ => with(0xd3, 8),
    }
}

/// A message before it is packed.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) kind: Value,
    pub(crate) sender: Value,
    pub(crate) time: i64,
    pub(crate) payload: Vec<Value>,
}

impl Parts {
    /// A broadcast with its code and `payload`.
    pub(crate) fn new(payload: Vec<Value>) -> Self {
        let payload = [vec![Value::Int(0)], payload].concat();
        Self { kind: Value::Int(0), sender: Value::from(b"abc"), time: TIME, payload }
    }

    pub(crate) fn packed(&self) -> Vec<u8> {
        let head = [self.kind.clone(), self.sender.clone(), self.time.into()];
        [array_head(self.payload.len() + 3), pack_all(&head), pack_all(&self.payload)].concat()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        body(&self.packed())
    }

    /// The fields of a vector, without its bytes.
    fn fields(&self) -> Map<String, Json> {
        let fields = json!({
            "type": from_value(&self.kind),
            "sender": from_value(&self.sender),
            "time": self.time,
            "payload": from_values(&self.payload),
        });
        fields.as_object().unwrap().clone()
    }
}

/// The beginning of a broadcast of `elements` elements in all, up to its code: what the payload of
/// [`Parts::new`] follows.
pub(crate) fn broadcast_head(elements: usize) -> Vec<u8> {
    [
        array_head(elements),
        vec![0, 0xc4, 3],
        b"abc".to_vec(),
        vec![0xce],
        (TIME as u32).to_be_bytes().to_vec(),
        vec![0],
    ]
    .concat()
}

pub(crate) fn body(packed: &[u8]) -> Vec<u8> {
    [&digest(packed)[..], packed].concat()
}

/// A frame with this content.
pub(crate) fn frame(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes()[..], content].concat()
}

/// A vector in the making.
pub(crate) struct Vector(Map<String, Json>);

impl Vector {
    pub(crate) fn new(name: &str, rules: &[&str]) -> Self {
        Self(Map::new()).with("name", name).with("rules", rules)
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// The message that is meant.
    pub(crate) fn parts(mut self, parts: &Parts) -> Self {
        self.0.extend(parts.fields());
        self
    }

    /// The id of the message with these bytes.
    pub(crate) fn id(self, packed: &[u8]) -> Self {
        self.with("id", hex(&digest(packed)))
    }

    pub(crate) fn frame(self, frame: &[u8]) -> Self {
        self.with("frame", hex(frame))
    }

    pub(crate) fn methods(self, codes: &[u8]) -> Self {
        self.with("compression", codes)
    }

    pub(crate) fn done(self) -> Json {
        Json::Object(self.0)
    }
}

/// A message and its frame, both ways.
pub(crate) fn encode(name: &str, rules: &[&str], parts: &Parts) -> Json {
    let packed = parts.packed();
    Vector::new(name, rules).parts(parts).id(&packed).frame(&frame(&body(&packed))).done()
}

/// Bytes of a message in a form that is not written, and what they mean.
pub(crate) fn decode(name: &str, rules: &[&str], packed: &[u8], parts: &Parts) -> Json {
    Vector::new(name, rules).methods(&[]).parts(parts).id(packed).frame(&frame(&body(packed))).done()
}

/// Bytes that are no message.
pub(crate) fn refuse(name: &str, rules: &[&str], by: &str, packed: &[u8]) -> Json {
    refuse_frame(name, rules, by, &frame(&body(packed)))
}

pub(crate) fn refuse_frame(name: &str, rules: &[&str], by: &str, frame: &[u8]) -> Json {
    Vector::new(name, rules).with("refused_by", by).frame(frame).done()
}

/// Marks a vector that a 0.7 peer need not read.
pub(crate) fn peernet_only(mut vector: Json) -> Json {
    vector["accepted_by"] = "peernet".into();
    vector
}

/// A file of vectors: what is repeated is written once.
pub(crate) fn vector_file(about: &str, sections: Json) -> String {
    let mut file = Map::new();
    file.insert("format".to_owned(), "peernet vectors 1".into());
    file.insert("about".to_owned(), about.into());
    file.insert(
        "values".to_owned(),
        "each value is an object with one key, its msgpack type; int is decimal text, float64 and bin are hex; \
         {\"repeat\":[X,n]} in a list is X n times, and a list in the place of text is joined"
            .into(),
    );
    file.extend(sections.as_object().unwrap().clone());
    let mut out = String::from("{\n");
    let last = file.len() - 1;
    for (i, (key, value)) in file.iter().enumerate() {
        out += &format!("{}: {}{}\n", json!(key), section(value), if i == last { "" } else { "," });
    }
    out + "}\n"
}

/// One vector a line.
fn section(json: &Json) -> String {
    match json {
        Json::Object(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(key, value)| format!("{}: {}", json!(key), section(value))).collect();
            format!("{{\n{}\n}}", parts.join(",\n"))
        }
        Json::Array(vectors) => {
            let lines: Vec<String> =
                vectors.iter().map(|vector| format!("  {}", squeeze(vector, ""))).collect();
            format!("[\n{}\n]", lines.join(",\n"))
        }
        other => other.to_string(),
    }
}

/// Writes what is repeated often as a repetition.
pub(crate) fn squeeze(json: &Json, key: &str) -> Json {
    match json {
        Json::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), squeeze(value, key))).collect::<Map<_, _>>().into()
        }
        Json::Array(items) => {
            let items: Vec<Json> = items.iter().map(|item| squeeze(item, "")).collect();
            runs(items, 16).into()
        }
        Json::String(text) => {
            let width = match key {
                "str" => 1,
                "bin" | "frame" | "hex" => 2,
                _ => return json.clone(),
            };
            match repeats(text, width) {
                parts if parts.iter().all(Json::is_string) => json.clone(),
                parts => parts.into(),
            }
        }
        other => other.clone(),
    }
}

/// Runs of `least` or more equal items as repetitions.
fn runs(items: Vec<Json>, least: usize) -> Vec<Json> {
    let mut out = Vec::new();
    for run in items.chunk_by(|a, b| a == b) {
        match run.len() {
            n if n >= least => out.push(json!({ "repeat": [run[0], n] })),
            _ => out.extend_from_slice(run),
        }
    }
    out
}

/// Text whose short patterns that repeat for 64 units of `width` characters or more are repetitions.
fn repeats(text: &str, width: usize) -> Vec<Json> {
    if !text.is_ascii() {
        return vec![text.into()];
    }
    let (mut parts, mut plain, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let rest = &text[at..];
        // How far the text is the same as what stands `period` before it.
        let repeated = (1..=16).map(|period| period * width).find_map(|period| {
            let behind = rest.as_bytes().get(period..)?;
            let same = behind.iter().zip(rest.as_bytes()).take_while(|(a, b)| a == b).count();
            let times = same / period + 1;
            (times >= 4 && times * period >= 64 * width).then_some((period, times))
        });
        let Some((period, times)) = repeated else {
            at += width;
            continue;
        };
        if plain < at {
            parts.push(text[plain..at].into());
        }
        parts.push(json!({ "repeat": [rest[..period], times] }));
        at += period * times;
        plain = at;
    }
    if plain < text.len() {
        parts.push(text[plain..].into());
    }
    parts
}
