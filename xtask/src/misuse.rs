//! The misuse suite of the C ABI under what sees every wrong access and every leak.

use std::process::Command;

use super::{Outcome, cargo, set_up_c, step, target};

/// Fails on what is lost for certain, and on every access that is wrong.
const VALGRIND: &str =
    "valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9";

/// AddressSanitizer in the programs and in the library, then valgrind over both as they are.
pub(super) fn watched() -> Outcome {
    set_up_c()?;
    let host = host()?;
    let sanitized = target().join("sanitized");
    // The flag is an unstable one of the compiler, which the stable one takes when told to. Only with a target
    // that is named do build scripts and macros stay without it.
    let build = ["build", "--package", "libpeernet-c", "--lib", "--target", &host, "--target-dir"];
    step(cargo(&build).arg(&sanitized).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address"))?;
    let suite = ["test", "--package", "libpeernet-c", "--test", "misuse"];
    let library = sanitized.join(host).join("debug");
    step(cargo(&suite).env("PEERNET_C_LIBRARY", library).env("PEERNET_C_FLAGS", "-fsanitize=address"))?;
    step(cargo(&suite).env("PEERNET_C_RUNNER", VALGRIND))
}

/// The machine that the compiler runs on, in its words.
fn host() -> Result<String, String> {
    let said = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not tell its host".to_owned())
}
