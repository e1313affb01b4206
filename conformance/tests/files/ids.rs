//! Ids: I-1 to I-9.

use serde_json::{Value as Json, json};

use crate::pack::vector_file;

/// What the released implementations print for these.
const PROTOCOLS: [(&str, &str, &str); 3] = [
    ("mesh", "Plaintext", "EpAmyZWv9rZUKmjQgU3FTUD4GrJHvVEXizmghVBc8eGD"),
    ("mesh", "SSL", "EkE9cS4dwjZ8uo8H1pxYe7WrJ3wXgaHfozHQUkb99eHm"),
    ("", "Plaintext", "3soAb1XFyvZYyqgFNTxcXvzEBU6p8n821ifyVVANipvt"),
];

pub(crate) fn file() -> String {
    let protocol: Vec<Json> = PROTOCOLS
        .iter()
        .map(|(subnet, encryption, id)| {
            json!({ "rules": ["I-5", "I-6"], "subnet": subnet, "encryption": encryption, "version": "0.7", "id": id })
        })
        .collect();
    vector_file(
        "base58 integers and protocol ids",
        json!({ "ids": {
            "protocol": protocol,
            "base58_int": written(),
            "base58_decode": read(),
            "base58_reject": refused(),
        } }),
    )
}

/// Base58 by long division, digit by digit.
fn base58(hex: &str) -> String {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut number: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let mut text = Vec::new();
    while number.iter().any(|digit| *digit != 0) {
        let mut remainder = 0;
        for digit in &mut number {
            let n = remainder * 16 + *digit;
            (*digit, remainder) = (n / 58, n % 58);
        }
        text.push(DIGITS[remainder as usize]);
    }
    if text.is_empty() {
        text.push(DIGITS[0]);
    }
    text.reverse();
    String::from_utf8(text).unwrap()
}

fn written() -> Vec<Json> {
    let mut all = vec!["0".to_owned(), "00".into(), "0000".into(), "0001".into(), "39".into(), "3a".into()];
    for bytes in [1, 2, 4, 5, 8, 31, 32, 33, 48, 64] {
        all.push("ff".repeat(bytes));
        all.push(format!("01{}", "00".repeat(bytes)));
        all.push(format!("00{}", "a5".repeat(bytes)));
    }
    all.iter().map(|hex| json!({ "rules": ["I-1", "I-2"], "hex": hex, "text": base58(hex) })).collect()
}

fn read() -> Vec<Json> {
    [("1111", "0"), ("11z", "39"), ("121", "3a"), (&format!("{}21", "1".repeat(100)), "3a")]
        .iter()
        .map(|(text, hex)| json!({ "rules": ["I-3"], "hex": hex, "text": text }))
        .collect()
}

fn refused() -> Vec<Json> {
    // py2p takes no text for zero, and strips white space at the end.
    let by = |text: &str| if text.is_empty() || text.ends_with([' ', '\n']) { "peernet" } else { "0.7" };
    ["", "0", "O", "I", "l", "a0", "0a", " z", "z ", "z\n", "-z", "é", "z\u{0}", "zz+", "z/z"]
        .iter()
        .map(|text| json!({ "rules": ["I-3"], "text": text, "refused_by": by(text) }))
        .collect()
}
