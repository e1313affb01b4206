//! The golden vectors through the built command: one process takes many lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use support::{Talk, peernet, run};

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../conformance/vectors/p2p-today-0.7.json")).unwrap()
}

fn cases(of: &str) -> Vec<Json> {
    let cases = vectors()[of].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// A value of the vectors (an object with one key, its msgpack type) in the command's form.
fn form(value: &Json) -> Json {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "nil" | "bool" | "str" => value.clone(),
        "int" => match value.as_str().unwrap().parse::<i64>() {
            Ok(number) if number.unsigned_abs() <= 1 << 53 => json!(number),
            _ => json!({"$int": value}),
        },
        "float64" => {
            let float = f64::from_bits(u64::from_str_radix(value.as_str().unwrap(), 16).unwrap());
            if float.is_finite() { json!(float) } else { json!({"$float64": value}) }
        }
        "bin" => json!({"$bin": value}),
        "array" => value.as_array().unwrap().iter().map(form).collect(),
        "map" => {
            let pairs = value.as_array().unwrap();
            let key = |pair: &Json| pair[0].get("str").map(|key| key.as_str().unwrap().to_owned());
            match pairs.iter().map(|pair| Some((key(pair)?, form(&pair[1])))).collect::<Option<Map<_, _>>>() {
                Some(map) => Json::Object(map),
                None => {
                    json!({"$map": pairs.iter().map(|p| json!([form(&p[0]), form(&p[1])])).collect::<Json>()})
                }
            }
        }
        other => panic!("unknown kind {other}"),
    }
}

fn sender(value: &Json) -> Json {
    match value.get("str") {
        Some(text) => json!({"$str": text}),
        None => {
            let hex = value["bin"].as_str().unwrap();
            let bytes: Vec<u8> = hex
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            json!(String::from_utf8(bytes).unwrap())
        }
    }
}

/// The line that decoding a case gives. Compared as text, because serde_json's own reader rounds some
/// floats wrongly, and because the order of keys counts.
fn message(case: &Json) -> String {
    json!({
        "type": case["type"]["int"].as_str().unwrap().parse::<u64>().unwrap(),
        "sender": sender(&case["sender"]),
        "time": case["time"],
        "payload": case["payload"].as_array().unwrap().iter().map(form).collect::<Json>(),
        "id": case["id"],
    })
    .to_string()
}

/// The cases of `of`, as the lines that decoding them gives.
fn messages(of: &str) -> Vec<String> {
    cases(of).iter().map(message).collect()
}

fn frames(cases: &[Json]) -> Vec<String> {
    cases.iter().map(|case| case["frame"].as_str().unwrap().to_owned()).collect()
}

fn is_error(line: &str) -> bool {
    let json: Json = serde_json::from_str(line).unwrap();
    json.as_object().unwrap().len() == 1 && json["error"].as_str().is_some_and(|error| !error.is_empty())
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn split(output: &[u8]) -> Vec<String> {
    std::str::from_utf8(output).unwrap().lines().map(str::to_owned).collect()
}

/// As `assert_eq!`, but shows the first difference only.
fn assert_same(found: &[String], expected: &[String], what: &str) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(found == expected, "{what}, line {at}:\n{found}\ninstead of\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{what}: lines");
}

#[test]
fn encode() {
    let cases = cases("encode");
    let output = run(&["encode"], joined(&messages("encode")));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(&split(&output.stdout), &frames(&cases), "encode");
}

#[test]
fn decode() {
    // Uncompressed ones are as good to decode as to encode, and the same whatever is tried first.
    let mut groups: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for case in cases("decode") {
        let codes: Vec<String> =
            case["compression"].as_array().unwrap().iter().map(ToString::to_string).collect();
        groups.entry(codes.join(",")).or_default().push(case);
    }
    for codes in ["", "32,19,17,16,18"] {
        groups.entry(codes.to_owned()).or_default().extend(cases("encode"));
    }
    assert!(groups.len() > 5);
    for (codes, cases) in groups {
        let args: &[&str] = if codes.is_empty() { &["decode"] } else { &["decode", "--compression", &codes] };
        let output = run(args, joined(&frames(&cases)));
        assert_eq!(output.status.code(), Some(0), "{codes}");
        let expected: Vec<String> = cases.iter().map(message).collect();
        assert_same(&split(&output.stdout), &expected, &codes);

        // What decode writes, encode reads: the same message again, now uncompressed.
        let again = run(&["encode"], output.stdout);
        assert_eq!(again.status.code(), Some(0));
        for (case, frame) in cases.iter().zip(split(&again.stdout)) {
            assert_eq!(frame.get(8..72), case["id"].as_str(), "{}", case["name"]);
        }
    }
}

#[test]
fn compressed_frames_read_back() {
    let messages = messages("encode");
    for (name, code) in [("zlib", "19"), ("gzip", "17"), ("bz2", "16"), ("lzma", "18"), ("snappy", "32")] {
        let packed = run(&["encode", "--compress", name], joined(&messages));
        assert_eq!(packed.status.code(), Some(0), "{name}");
        let bare = run(&["decode"], packed.stdout.clone());
        assert_eq!(bare.status.code(), Some(1), "{name} reads without being tried");
        let decoded = run(&["decode", "--compression", code], packed.stdout);
        assert_eq!(decoded.status.code(), Some(0), "{name}");
        assert_same(&split(&decoded.stdout), &messages, name);
    }
}

#[test]
fn refused_frames_give_errors_and_disturb_nobody() {
    let good = &cases("encode")[1];
    let input: Vec<String> = frames(&cases("reject"))
        .into_iter()
        .flat_map(|frame| [frame, frames(std::slice::from_ref(good))[0].clone()])
        .collect();
    for args in [&["decode"][..], &["decode", "--compression", "32,19,17,16,18"]] {
        let output = run(args, joined(&input));
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let decoded = split(&output.stdout);
        assert_eq!(decoded.len(), input.len());
        for (at, pair) in decoded.chunks(2).enumerate() {
            assert!(is_error(&pair[0]), "case {at}: {}", pair[0]);
            assert_eq!(pair[1], message(good));
        }
    }
}

#[test]
fn lines_that_are_no_frames_give_errors() {
    let output = run(&["decode"], "zz\n\n0\n00\n000000\nffffffff\n 00000000 \n\u{e9}\n");
    assert_eq!(output.status.code(), Some(1));
    let decoded = split(&output.stdout);
    assert_eq!(decoded.len(), 8);
    assert!(decoded.iter().all(|line| is_error(line)), "{decoded:?}");
}

#[test]
fn lines_that_are_no_messages_give_errors() {
    let bad = [
        "",
        "[]",
        "{",
        r#"{"type":0,"sender":"a","time":1}"#,
        r#"{"type":-1,"sender":"a","time":1,"payload":[]}"#,
        r#"{"type":0,"sender":"a","time":1.0,"payload":[]}"#,
        r#"{"type":0,"sender":{"$int":"1"},"time":1,"payload":[]}"#,
        r#"{"type":0,"sender":"a","time":1,"payload":{}}"#,
        r#"{"type":0,"sender":"a","time":1,"payload":[18446744073709551616]}"#,
        r#"{"type":0,"sender":"a","time":1,"payload":[1e999]}"#,
    ];
    let output = run(&["encode"], bad.join("\n") + "\n");
    assert_eq!(output.status.code(), Some(1));
    let written = split(&output.stdout);
    assert_eq!(written.len(), bad.len());
    assert!(written.iter().all(|line| is_error(line)), "{written:?}");
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap().as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn raw_reads_a_stream_and_stops_where_it_must() {
    let all = cases("encode");
    let stream: Vec<u8> = all.iter().flat_map(|case| bytes(&case["frame"])).collect();
    let expected = messages("encode");
    let output = run(&["decode", "--raw"], stream.clone());
    assert_eq!(output.status.code(), Some(0));
    assert_same(&split(&output.stdout), &expected, "raw");

    // A bad frame whose end is known does not end the stream.
    let reject = cases("reject");
    let flipped = reject.iter().find(|case| case["name"] == "flipped payload bit").unwrap();
    let output = run(&["decode", "--raw"], [bytes(&flipped["frame"]), stream.clone()].concat());
    assert_eq!(output.status.code(), Some(1));
    let decoded = split(&output.stdout);
    assert!(is_error(&decoded[0]), "{}", decoded[0]);
    assert_same(&decoded[1..], &expected, "behind a bad one");

    // One whose end cannot be known does.
    for tail in [vec![0xff; 4], vec![0xff; 100], vec![0, 0, 1], vec![0, 0, 0, 9, 1]] {
        let output = run(&["decode", "--raw"], [stream.clone(), tail.clone()].concat());
        assert_eq!(output.status.code(), Some(1), "{tail:?}");
        let decoded = split(&output.stdout);
        assert_same(&decoded[..expected.len()], &expected, "before the end");
        assert_eq!(decoded.len(), expected.len() + 1);
        assert!(is_error(&decoded[expected.len()]), "{tail:?}");
    }
}

#[test]
fn each_line_is_answered_before_the_next_is_needed() {
    let case = &cases("encode")[0];
    for (command, input) in
        [("decode", frames(std::slice::from_ref(case))[0].clone()), ("encode", message(case))]
    {
        let mut filter = Talk::start(peernet().arg(command));
        for _ in 0..3 {
            filter.write_line(&input);
            let line = filter.line("the answer", |_| true);
            assert!(line.len() > 50, "{line}");
        }
        filter.close_stdin();
        assert!(filter.finish().success());
    }
}

#[test]
fn ids() {
    let ids = &vectors()["ids"];
    let one = |args: &[&str], id: &Json| {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", id.as_str().unwrap()));
    };
    for case in ids["protocol"].as_array().unwrap() {
        assert_eq!(case["version"], "0.7");
        let text = |key: &str| case[key].as_str().unwrap();
        one(&["id", "protocol", text("subnet"), text("encryption")], &case["id"]);
    }
    for case in ids["node"].as_array().unwrap() {
        let address = format!("{}:{}", case["address"][0].as_str().unwrap(), case["address"][1]);
        let text = |key: &str| case[key].as_str().unwrap();
        one(&["id", "node", &address, text("protocol"), text("salt")], &case["id"]);
    }
}

#[test]
fn wrong_usage_exits_2() {
    for args in [
        &["decode", "--compression", "20"][..],
        &["decode", "--compression", "zip"],
        &["encode", "--compress", "zip"],
        &["id", "node", "host", "abc", "salt"],
        &["id", "node", "host:1", "0", "salt"],
        &["id"],
        &["nothing"],
        &[],
    ] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}
