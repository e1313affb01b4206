//! What `spec/` says by example, number and name is what the code does: worked examples, ids, codes,
//! settings, and that every rule that is named anywhere exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peernet::identity::{NodeId, ProtocolId, PublicKey};
use peernet::protocol::{
    Address, Command, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output, Remote, Token, Trust,
};
use peernet::wire::codes::{Place, TABLE, code, kind};
use peernet::wire::{Decoder, Form, LENGTH_LEN, MAX_FRAME, Message, Method, base58, frame};
use peernet::{Config, wire};

const FILES: [&str; 11] = [
    "README.md",
    "01-identity.md",
    "02-wire.md",
    "03-conversation.md",
    "04-mesh.md",
    "05-limits.md",
    "06-interop.md",
    "07-trust.md",
    "08-transports.md",
    "11-state.md",
    "12-requests.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn spec(file: &str) -> String {
    fs::read_to_string(root().join("spec").join(file)).unwrap()
}

/// The lines of the fenced block whose opening line is "```" and `info`.
fn block(file: &str, info: &str) -> Vec<String> {
    let text = spec(file);
    let opening = format!("```{info}");
    let mut lines = text.lines().skip_while(|line| *line != opening);
    assert!(lines.next().is_some(), "{file} has no block {info}");
    lines.take_while(|line| *line != "```").map(str::to_owned).collect()
}

fn hex_block(file: &str, name: &str) -> Vec<u8> {
    let lines = block(file, &format!("hex {name}"));
    let digits = lines.iter().flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// In lines of 16, to be pasted where an example is out of date.
fn shown(bytes: &[u8]) -> String {
    let line = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

fn assert_example(file: &str, name: &str, made: &[u8]) {
    assert_eq!(hex_block(file, name), made, "{file}, {name}: the code makes\n{}", shown(made));
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&frame::length_field(body.len()).unwrap()[..], body].concat()
}

const TIME: i64 = 1_479_600_000;

/// The node of the worked examples.
fn example_node(methods: &[Method]) -> Node {
    let protocol = ProtocolId::derive("mesh", "Plaintext");
    let id = NodeId::derive("127.0.0.1", 4444, &protocol, "b622cc75-0000-4000-8000-c38e05f6a632");
    let config = Config { compression: methods.to_vec(), ..Config::default() };
    Node::new(
        Identity { id, protocol, address: Address::new("127.0.0.1", 4444), trust: Trust::Claimed },
        config,
        1,
    )
}

fn now() -> Now {
    Now { mono: Duration::ZERO, wall: TIME }
}

fn sent(out: &Outbox) -> Vec<Vec<u8>> {
    let body = |output: &Output| match output {
        Output::Send { body, .. } => Some(framed(body)),
        _ => None,
    };
    out.outputs.iter().filter_map(body).collect()
}

/// W-1, W-5, W-13, W-18, W-19, W-22
#[test]
fn the_frame_is_the_golden_one() {
    let path = root().join("conformance/vectors/p2p-today-0.7.json");
    let vectors: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = vectors["encode"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "text broadcast").unwrap();
    assert_example("02-wire.md", "frame", &unhex(case["frame"].as_str().unwrap()));

    let sender = unhex(case["sender"]["bin"].as_str().unwrap());
    let sender = std::str::from_utf8(&sender).unwrap();
    let message =
        Message::pack(kind::BROADCAST, sender, Form::Bin, TIME, code::BROADCAST, &("hello",)).unwrap();
    assert_example("02-wire.md", "frame", &framed(message.body()));
    let frame = hex_block("02-wire.md", "frame");
    assert_eq!(message.id().as_bytes()[..], frame[LENGTH_LEN..][..32]);
    let mut decoder = Decoder::new(MAX_FRAME);
    decoder.push(&frame);
    let content = decoder.next_frame().unwrap().unwrap();
    let body = wire::open(content, &Method::ALL, MAX_FRAME).unwrap();
    assert_eq!(Message::read(body, &wire::Limits::default()), Ok(message));
}

/// C-1, C-2, C-3
#[test]
fn the_handshake_is_what_a_node_says_first() {
    let (mut node, mut out) = (example_node(&[Method::Zlib, Method::Gzip]), Outbox::new());
    let target = "127.0.0.1:5555".parse().unwrap();
    let connect = Command::Connect { token: Token(1), target, persist: false };
    node.handle(now(), Input::Command(connect), &mut out);
    let Some(Output::Dial { dial, .. }) = out.outputs.first() else { panic!("{out:?}") };
    let origin = Origin::Dialled(*dial);
    out.clear();
    node.handle(now(), Input::LinkUp { link: LinkId(1), origin, remote: Remote::default() }, &mut out);
    let frames = sent(&out);
    assert_eq!(frames.len(), 1);
    assert_example("03-conversation.md", "handshake", &frames[0]);
}

/// M-14, M-15
#[test]
fn the_broadcast_is_what_a_node_sends() {
    let mut node = example_node(&[]);
    let id = node.identity().id.clone();
    let message =
        Message::pack(kind::BROADCAST, id.as_str(), Form::Str, TIME, code::BROADCAST, &("hello", 5)).unwrap();
    assert_example("04-mesh.md", "broadcast", &framed(message.body()));

    // Two neighbours get the very same bytes.
    let mut out = Outbox::new();
    for n in [1, 2] {
        let link = LinkId(n);
        node.handle(
            now(),
            Input::LinkUp { link, origin: Origin::Accepted, remote: Remote::default() },
            &mut out,
        );
        node.handle(now(), Input::Message { link, message: handshake_of(n, &node) }, &mut out);
    }
    assert_eq!(node.neighbour_count(), 2);
    out.clear();
    node.handle(now(), Input::Command(Command::Broadcast(message)), &mut out);
    let targets: Vec<LinkId> = out.targets.clone();
    assert_eq!(sent(&out), [hex_block("04-mesh.md", "broadcast")]);
    assert_eq!(targets.len(), 2);
}

fn handshake_of(n: u64, to: &Node) -> Message {
    let id = format!("peer{n}");
    let payload = (
        id.as_str(),
        to.identity().protocol.as_str().as_bytes(),
        vec![wire::Value::from("127.0.0.2"), (5000 + n).into()],
        Vec::<wire::Value>::new(),
    );
    Message::pack(kind::WHISPER, &id, Form::Str, TIME, code::HANDSHAKE, &payload).unwrap()
}

/// I-1, I-2, I-5, I-8
#[test]
fn the_ids_are_what_the_code_derives() {
    let mut kinds = BTreeSet::new();
    for line in [block("01-identity.md", "ids"), block("07-trust.md", "ids")].concat() {
        let (given, expected) = line.split_once(" = ").unwrap();
        let words: Vec<&str> = given.split(' ').collect();
        kinds.insert(words[0].to_owned());
        let made = match words.as_slice() {
            ["protocol", subnet, encryption] => ProtocolId::derive(subnet, encryption).to_string(),
            ["node", host, port, protocol, salt] => {
                let protocol = ProtocolId::parse(protocol).unwrap();
                NodeId::derive(host, port.parse().unwrap(), &protocol, salt).to_string()
            }
            ["key", key, protocol] => {
                let key = PublicKey::from_bytes(unhex(key).try_into().unwrap());
                NodeId::of_key(&key, &ProtocolId::parse(protocol).unwrap()).to_string()
            }
            ["base58", hex] => base58::encode_int(&unhex(hex)),
            other => panic!("{other:?}"),
        };
        assert_eq!(made, expected, "{given}");
    }
    assert_eq!(kinds.len(), 4);
}

/// The cells of the table rows of a file that have `columns` columns.
fn rows(file: &str, columns: usize) -> Vec<Vec<String>> {
    let text = spec(file);
    let cells = |line: &str| -> Option<Vec<String>> {
        let inner = line.strip_prefix("| ")?.strip_suffix('|')?;
        let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().to_owned()).collect();
        (cells.len() == columns).then_some(cells)
    };
    text.lines().filter_map(cells).collect()
}

/// W-30
#[test]
fn the_table_of_codes_is_that_of_the_code() {
    let place = |place: Place| match place {
        Place::Type => "type",
        Place::Code => "code",
        Place::Compression => "compression",
    };
    let ours: Vec<[String; 3]> = TABLE
        .iter()
        .map(|(at, name, number)| [place(*at).to_owned(), (*name).to_owned(), format!("0x{number:02X}")])
        .collect();
    let theirs: Vec<[String; 3]> = rows("02-wire.md", 4)
        .into_iter()
        .filter(|row| ["type", "code", "compression"].contains(&row[0].as_str()))
        .map(|row| [row[0].clone(), row[1].clone(), row[2].clone()])
        .collect();
    assert_eq!(theirs, ours);
}

/// The fields of a configuration with their values, as `Debug` shows them.
fn fields(config: &Config) -> BTreeMap<String, String> {
    let text = format!("{config:#?}").replace("[\n        ", "[").replace(",\n    ]", "]");
    let text = text.replace(",\n        ", ", ").replace("Some(\n        ", "").replace(",\n    )", "");
    let field = |line: &str| {
        let (name, value) = line.strip_prefix("    ")?.strip_suffix(',')?.split_once(": ")?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(field).collect()
}

/// Every bound of `Config` stands in the specification with its number, and no other does.
#[test]
fn the_settings_are_those_of_the_code() {
    let default = fields(&Config::default());
    let presets = [Config::wan(), Config::lan(), Config::local()].map(|preset| fields(&preset));
    assert!(default.len() > 20, "{default:?}");
    let mut expected: Vec<Vec<String>> = default
        .iter()
        .map(|(name, value)| {
            let changed = presets.iter().map(|preset| match &preset[name] == value {
                true => String::new(),
                false => preset[name].clone(),
            });
            [format!("`{name}`"), value.clone()].into_iter().chain(changed).collect()
        })
        .collect();
    let mut found = rows("05-limits.md", 6);
    found.retain(|row| row[0].starts_with('`'));
    // In the same order, also where one name begins with another.
    found.sort();
    expected.sort();
    for row in &mut found {
        let rule = row.pop().unwrap();
        let text = spec("05-limits.md");
        let (_, from_rule) = text.split_once(&format!("\n**{rule}** ")).unwrap();
        let paragraph = from_rule.split("\n\n").next().unwrap();
        assert!(paragraph.contains(&row[0]), "{rule} does not name {}", row[0]);
    }
    let lines = |rows: &[Vec<String>]| rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&found), lines(&expected), "\n{}", lines(&expected));
}

/// Every mention of a rule (`W-12`) in `text`.
fn mentions(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('-') {
        let Some(letter) = at.checked_sub(1).and_then(|before| bytes.get(before)) else { continue };
        let before = at.checked_sub(2).and_then(|before| bytes.get(before));
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let alone = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
        let after = bytes.get(at + 1 + digits.len());
        let ends = after.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        if b"IWCMLTXRK".contains(letter) && alone && ends && !digits.is_empty() {
            found.insert(format!("{}-{digits}", char::from(*letter)));
        }
    }
    found
}

fn rules() -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for file in FILES {
        for line in spec(file).lines().filter(|line| line.starts_with("**")) {
            let (rule, rest) = line[2..].split_once("**").unwrap();
            assert_eq!(mentions(rule), BTreeSet::from([rule.to_owned()]), "{file}: {line}");
            assert!(rest.starts_with(' '), "{file}: {line}");
            assert!(rules.insert(rule.to_owned()), "{rule} is there twice");
        }
    }
    rules
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_rule_that_is_named_exists() {
    let rules = rules();
    let mut files: Vec<PathBuf> = FILES.iter().map(|file| root().join("spec").join(file)).collect();
    sources(&root().join("core/src"), &mut files);
    sources(&root().join("core/tests"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let missing: Vec<String> = mentions(&text).difference(&rules).cloned().collect();
        assert!(missing.is_empty(), "{}: {missing:?}", file.display());
    }
}

/// The tests of a source file, by name, with the rules that their doc comments name.
fn tests_in(file: &Path) -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(file).unwrap();
    let (mut docs, mut is_test, mut tests) = (String::new(), false, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            // Such run over each encryption.
            is_test |= line.contains("(encryption: Encryption)") || line.contains("(way: Way)");
            if let (true, Some((name, _))) = (is_test, name.and_then(|name| name.split_once('('))) {
                tests.push((name.to_owned(), mentions(&docs)));
            }
            docs.clear();
            is_test = false;
        }
    }
    tests
}

/// Each file ends with a table that names every rule of it, and tests that really name that rule.
#[test]
fn every_rule_stands_in_its_table() {
    let mut tests = BTreeSet::new();
    for folder in ["core/src", "core/tests"] {
        let mut files = Vec::new();
        sources(&root().join(folder), &mut files);
        for file in files {
            let place = file.strip_prefix(root().join("core")).unwrap().with_extension("");
            let place =
                place.strip_prefix("src").unwrap_or(&place).to_str().unwrap().replace(['/', '\\'], "::");
            for (name, rules) in tests_in(&file) {
                tests.extend(rules.into_iter().map(|rule| (rule, format!("{place}::{name}"))));
            }
        }
    }
    let without = ["README.md", "06-interop.md", "08-transports.md"];
    for file in FILES.iter().filter(|file| !without.contains(file)) {
        let text = spec(file);
        let (rules, table) = text.split_once("\n## What checks it\n").unwrap();
        let rules: Vec<&str> = (rules.lines().filter_map(|line| line.strip_prefix("**")))
            .filter_map(|line| Some(line.split_once("**")?.0))
            .collect();
        let rows: Vec<(&str, &str)> = (table.lines().filter_map(|line| line.strip_prefix("| ")))
            .filter_map(|line| line.split_once(" |"))
            .filter(|(rule, _)| !mentions(rule).is_empty())
            .collect();
        assert_eq!(rows.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), rules, "{file}");
        for (rule, named) in rows {
            for check in named.split('`').skip(1).step_by(2) {
                let known = match check.ends_with(".json") {
                    true => fs::read_to_string(root().join("conformance").join(check))
                        .is_ok_and(|text| text.contains(&format!("\"{rule}\""))),
                    false => tests.contains(&(rule.to_owned(), check.to_owned())),
                };
                assert!(known, "{file}: {check} does not say that it checks {rule}");
            }
        }
    }
}
