//! `peernet bench` measures what it says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::run;

#[test]
fn connections_are_measured() {
    let output = run(&["bench", "connect", "--rounds", "100"], "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for encryption in ["plaintext", "tls"] {
        let row = said.lines().find(|line| line.starts_with(encryption)).unwrap();
        assert_eq!(row.split_whitespace().nth(1), Some("100"), "{said}");
    }
}
