//! Vectors: bytes and what they mean.

use bytes::Bytes;
use peernet::wire::compression::must_compress;
use peernet::wire::{LENGTH_LEN, Limits, MAX_FRAME, Message, open};
use serde_json::{Map, Value as Json, json};

use crate::json::{from_values, unhex};
use crate::reference::methods;
use crate::report::Outcome;
use crate::suite::Hello;
use crate::{FormError, Lost, Testee};

/// What is asked about a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Which frame is this message?
    Encode,
    /// Which message is this frame?
    Decode,
    /// A frame of this message that peers with these methods can read?
    Compress,
    /// Is this frame refused?
    Reject,
    /// Which id does this subnet have?
    ProtocolId,
    /// Which id does this node have?
    NodeId,
    /// Which id does the node with this key have?
    KeyId,
    /// How is this integer written, and read back?
    Base58,
    /// How is this text read?
    Base58Decode,
    /// Is this text refused?
    Base58Reject,
    /// Which number does this error have?
    ErrorCode,
}

/// The sections of a vector file, and what each of their vectors is asked.
const SECTIONS: [(&str, &[Question]); 11] = [
    ("/encode", &[Question::Encode, Question::Decode]),
    ("/decode", &[Question::Decode]),
    ("/compress", &[Question::Compress]),
    ("/reject", &[Question::Reject]),
    ("/ids/protocol", &[Question::ProtocolId]),
    ("/ids/node", &[Question::NodeId]),
    ("/ids/key", &[Question::KeyId]),
    ("/ids/base58_int", &[Question::Base58]),
    ("/ids/base58_decode", &[Question::Base58Decode]),
    ("/ids/base58_reject", &[Question::Base58Reject]),
    ("/errors", &[Question::ErrorCode]),
];

#[derive(Debug)]
pub(crate) struct Vector {
    question: Question,
    name: String,
    rules: Vec<String>,
    json: Json,
}

/// The rules that a case says it covers.
pub(crate) fn rules_of(json: &Json) -> Vec<String> {
    let rules = json.get("rules").and_then(Json::as_array);
    rules.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

impl Vector {
    pub(crate) fn read_all(file: &Json) -> Result<Vec<Self>, FormError> {
        let mut all = Vec::new();
        for (section, questions) in SECTIONS {
            let vectors = file.pointer(section).and_then(Json::as_array);
            for vector in vectors.into_iter().flatten() {
                all.extend(questions.iter().map(|question| Self::new(*question, vector)));
            }
        }
        match all.is_empty() {
            true => Err(FormError::new("the file has neither vectors nor transcripts")),
            false => Ok(all),
        }
    }

    fn new(question: Question, json: &Json) -> Self {
        let text = |key| json.get(key).and_then(Json::as_str);
        let name = ["name", "text", "subnet", "id"].into_iter().find_map(text).unwrap_or_default().to_owned();
        Self { question, name, rules: rules_of(json), json: json.clone() }
    }

    pub(crate) fn group(&self) -> &'static str {
        match self.question {
            Question::Encode => "encode",
            Question::Decode => "decode",
            Question::Compress => "compress",
            Question::Reject => "refuse",
            Question::ProtocolId => "protocol ids",
            Question::NodeId | Question::KeyId => "node ids",
            Question::Base58 | Question::Base58Decode | Question::Base58Reject => "base58",
            Question::ErrorCode => "error codes",
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn rules(&self) -> &[String] {
        &self.rules
    }

    /// Whether the vector is beyond what 0.7 demands.
    fn is_peernets_own(&self) -> bool {
        let says = |key| self.json.get(key).and_then(Json::as_str) == Some("peernet");
        says("refused_by") || says("accepted_by")
    }

    pub(crate) fn run(&self, testee: &mut dyn Testee, hello: &Hello) -> Result<Outcome, Lost> {
        if hello.only_0_7 && self.is_peernets_own() {
            return Ok(Outcome::Skipped);
        }
        match self.question {
            Question::Encode => {
                let request = self.request("encode", &["type", "sender", "time", "payload", "secret"]);
                self.compare(&testee.ask(&request)?, &["frame", "id"])
            }
            Question::Decode => {
                let request = self.request("decode", &["frame", "compression", "max_frame", "sealed"]);
                self.compare(&testee.ask(&request)?, &["type", "sender", "time", "payload", "id"])
            }
            Question::Compress => {
                let request = self.request("encode", &["type", "sender", "time", "payload", "compression"]);
                let answer = testee.ask(&request)?;
                if is_unsupported(&answer) {
                    return Ok(Outcome::Skipped);
                }
                Ok(match self.read_back(&answer) {
                    Ok(()) => Outcome::Passed,
                    Err(problem) => failed(&problem, &answer),
                })
            }
            Question::Reject => {
                let request = self.request("decode", &["frame", "compression", "max_frame", "sealed"]);
                Ok(refused(&testee.ask(&request)?))
            }
            Question::ProtocolId => {
                let request = self.request("protocol_id", &["subnet", "encryption"]);
                self.compare(&testee.ask(&request)?, &["id"])
            }
            Question::NodeId => {
                let mut request = self.request("node_id", &["protocol", "salt"]);
                if let Some(fields) = request.as_object_mut() {
                    let part =
                        |at: usize| self.json.get("address").and_then(|address| address.get(at)).cloned();
                    fields.insert("host".to_owned(), part(0).unwrap_or_default());
                    fields.insert("port".to_owned(), part(1).unwrap_or_default());
                }
                self.compare(&testee.ask(&request)?, &["id"])
            }
            Question::KeyId => {
                self.compare(&testee.ask(&self.request("key_id", &["key", "protocol"]))?, &["id"])
            }
            Question::Base58 => {
                let written =
                    self.compare(&testee.ask(&self.request("base58_encode", &["hex"]))?, &["text"])?;
                match written {
                    Outcome::Passed => self.base58_decode(testee),
                    other => Ok(other),
                }
            }
            Question::Base58Decode => self.base58_decode(testee),
            Question::Base58Reject => Ok(refused(&testee.ask(&self.request("base58_decode", &["text"]))?)),
            Question::ErrorCode => {
                self.compare(&testee.ask(&self.request("error_code", &["name"]))?, &["status"])
            }
        }
    }

    /// An operation with those fields of the vector that it has.
    fn request(&self, op: &str, fields: &[&str]) -> Json {
        let mut request = Map::new();
        request.insert("op".to_owned(), op.into());
        for field in fields {
            match self.json.get(*field) {
                Some(value) => request.insert((*field).to_owned(), value.clone()),
                None if *field == "compression" => request.insert((*field).to_owned(), json!([])),
                None => None,
            };
        }
        Json::Object(request)
    }

    /// Whether the answer says what the vector says.
    fn compare(&self, answer: &Json, fields: &[&str]) -> Result<Outcome, Lost> {
        if is_unsupported(answer) {
            return Ok(Outcome::Skipped);
        }
        let wrong = fields.iter().find(|field| self.json.get(**field) != answer.get(**field));
        Ok(match wrong {
            None => Outcome::Passed,
            Some(field) => {
                let shown = self.json.get(*field).cloned().unwrap_or_default();
                let got = if answer.get("error").is_some() { answer } else { &answer[*field] };
                failed(&format!("{field} {shown}"), got)
            }
        })
    }

    fn base58_decode(&self, testee: &mut dyn Testee) -> Result<Outcome, Lost> {
        let answer = testee.ask(&self.request("base58_decode", &["text"]))?;
        if is_unsupported(&answer) {
            return Ok(Outcome::Skipped);
        }
        let integer = |json: &Json| {
            json.get("hex").and_then(Json::as_str).map(|hex| hex.trim_start_matches('0').to_ascii_lowercase())
        };
        Ok(match integer(&answer).is_some() && integer(&answer) == integer(&self.json) {
            true => Outcome::Passed,
            false => failed(&format!("hex {}", self.json["hex"]), &answer),
        })
    }

    /// Whether a frame that a testee made can be read by one that shares the vector's methods, and
    /// holds the vector's message. How well it is compressed is the testee's own business.
    fn read_back(&self, answer: &Json) -> Result<(), String> {
        let frame = answer.get("frame").and_then(Json::as_str).ok_or("a frame")?;
        let frame = unhex(frame).map_err(|error| error.to_string())?;
        let codes = self.json.get("compression").and_then(Json::as_array).ok_or("a list of methods")?;
        let methods = methods(codes);
        let (length, content) = frame.split_first_chunk::<LENGTH_LEN>().ok_or("a whole length field")?;
        if usize::try_from(u32::from_be_bytes(*length)) != Ok(content.len()) {
            return Err("a length field that is the content's length".to_owned());
        }
        let body = open(Bytes::copy_from_slice(content), &methods, MAX_FRAME)
            .map_err(|error| format!("a frame that reads, not one where {error}"))?;
        if *body == *content && must_compress(content, &methods) {
            return Err("a compressed frame: uncompressed, this one looks compressed".to_owned());
        }
        let message = Message::read(body, &Limits::default()).map_err(|error| error.to_string())?;
        let payload = message.values(&Limits::default()).map_err(|error| error.to_string())?;
        if self.json.get("payload") != Some(&from_values(&payload)) {
            return Err("a frame with the same payload".to_owned());
        }
        let id = message.id().to_string();
        if self.json.get("id").and_then(Json::as_str) != Some(&id) || answer.get("id") != self.json.get("id")
        {
            return Err(format!("the id {}", self.json["id"]));
        }
        Ok(())
    }
}

fn is_unsupported(answer: &Json) -> bool {
    answer.get("unsupported").is_some()
}

fn failed(expected: &str, got: &Json) -> Outcome {
    Outcome::Failed { expected: expected.to_owned(), got: got.to_string() }
}

fn refused(answer: &Json) -> Outcome {
    match answer {
        answer if is_unsupported(answer) => Outcome::Skipped,
        answer if answer.get("error").is_some() => Outcome::Passed,
        answer => failed("an error", answer),
    }
}
