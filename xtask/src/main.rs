//! The project's own commands, without any dependency: `cargo xtask test` is every test, and sets up
//! what it needs itself.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod install;
mod misuse;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What holds dependencies to `deny.toml`.
const DENY: &str = "cargo-deny@0.20.2";
/// The linter of the Python scripts.
const RUFF: &str = "ruff==0.17.5";
/// What formats C and C++.
const CLANG_FORMAT: &str = "clang-format==23.1.5";

const HELP: &str = "cargo xtask COMMAND

  test     every test of the quick set, real peers and a browser included (they are installed first)
  lint     formatting, clippy, documentation, dependencies (`deny.toml`), and what scripts and C want
  long     the long set: simulated days, thousands of seeds, ten minutes of each fuzz target
  misuse   what C programs must not do, under AddressSanitizer and valgrind
  fuzz N   each fuzz target for N seconds (600)
  install-c --prefix DIR [--libdir lib] [--debug]
           the library for C and C++ with what pkg-config and CMake find it by, in folders of DIR";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["test"] => test(),
        ["lint"] => lint(),
        ["long"] => long(),
        ["misuse"] => misuse::watched(),
        ["fuzz"] => fuzz("600"),
        ["fuzz", seconds] => fuzz(seconds),
        ["install-c", request @ ..] => install::install_c(request),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("xtask: {what}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), String>;

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where the real peers' environments are, outside of the sources.
fn real_peers() -> PathBuf {
    env::var_os("PEERNET_REAL_PEERS").map_or_else(|| root().join("target/real-peers"), PathBuf::from)
}

/// Runs one step in the workspace's folder, saying which.
fn step(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let line = format!("{name} {}", args.join(" "));
    println!("\n== {line}");
    let status = command.current_dir(root()).env("PEERNET_REAL_PEERS", real_peers()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed: {status}")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

fn set_up_real_peers() -> Outcome {
    let setup = root().join("conformance/real-peers/setup");
    step(Command::new(setup).arg(real_peers()))
}

/// The browser that the example is tested in.
fn set_up_browser() -> Outcome {
    step(&mut Command::new(root().join("examples/browser/chromium")))
}

/// What the tests of the C library are built and run with.
fn set_up_c() -> Outcome {
    let needed = [
        ("cc", "gcc"),
        ("c++", "g++"),
        ("pkg-config", "pkg-config"),
        ("cmake", "cmake"),
        ("valgrind", "valgrind"),
    ];
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let missing: Vec<&str> =
        needed.iter().filter(|(tool, _)| !there(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    step(Command::new("apt-get").args(["update", "-qq"]))?;
    step(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(missing))
}

fn test() -> Outcome {
    set_up_real_peers()?;
    set_up_browser()?;
    set_up_c()?;
    // The pure part alone first: it must build without tokio.
    step(&mut cargo(&["check", "--package", "libpeernet", "--no-default-features"]))?;
    // One profile for tests, the command and the conformance suite, so that nothing is built twice.
    step(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    misuse::watched()?;
    step(&mut cargo(&["run", "--bin", "peernet", "--", "conformance"]))?;
    let testee = format!(
        "{} {}",
        real_peers().join("py/bin/python").display(),
        root().join("conformance/real-peers/py2p_testee.py").display()
    );
    step(&mut cargo(&["run", "--bin", "peernet", "--", "conformance", "--against", &testee]))
}

/// Licences, repeated crates and sources of all dependencies, and what is known against them, where that
/// can be asked for.
fn deny() -> Outcome {
    let tools = root().join("target/tools");
    let tool = tools.join("bin/cargo-deny");
    if !tool.exists() {
        // Only what these checks need, which compiles in a few minutes, once.
        let install = ["install", DENY, "--locked", "--quiet", "--no-default-features", "--root"];
        step(cargo(&install).arg(&tools))?;
    }
    step(Command::new(&tool).args(["check", "licenses", "bans", "sources"]))?;
    match step(Command::new(&tool).args(["fetch", "db"])) {
        Ok(()) => step(Command::new(&tool).args(["--offline", "check", "advisories"])),
        Err(_) => {
            println!("The database of advisories cannot be reached from here: NOT checked.");
            Ok(())
        }
    }
}

/// What is written in C and C++ in a folder, at any depth.
fn c_sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        if path.is_dir() {
            found.extend(c_sources(&path)?);
        } else if matches!(extension, Some("c" | "h" | "cpp" | "hpp")) && !path.ends_with("include/peernet.h")
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn check_c_formatting() -> Outcome {
    let mut check = Command::new(real_peers().join("py/bin/clang-format"));
    check.args(["--dry-run", "-Werror"]);
    let examples = c_sources(&root().join("examples")).map_err(|error| format!("examples: {error}"))?;
    step(check.args(examples))
}

fn lint() -> Outcome {
    step(&mut cargo(&["fmt", "--all", "--check"]))?;
    step(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // No member of the workspace, as the fuzzer sets flags of its own.
    let fuzz = ["check", "--manifest-path", "fuzz/Cargo.toml", "--bins"];
    step(cargo(&fuzz).env("CARGO_TARGET_DIR", target()))?;
    step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    deny()?;
    set_up_real_peers()?;
    let python = real_peers().join("py/bin/python");
    step(Command::new(&python).args(["-m", "pip", "install", "--quiet", RUFF, CLANG_FORMAT]))?;
    let scripts = "conformance/real-peers";
    step(Command::new(&python).args(["-m", "ruff", "check", "--line-length", "110", scripts]))?;
    step(Command::new(&python).args(["-m", "ruff", "format", "--check", "--line-length", "110", scripts]))?;
    check_c_formatting()?;
    step(Command::new("node").args(["--check", "conformance/real-peers/js2p_node.js"]))
}

fn long() -> Outcome {
    set_up_real_peers()?;
    set_up_browser()?;
    set_up_c()?;
    step(cargo(&["test", "--release", "--workspace"]).env("PEERNET_LONG", "1"))?;
    fuzz("600")
}

/// Needs `cargo install cargo-fuzz`. The fuzzer's flags are unstable ones of the compiler, which the
/// stable one takes when told to.
fn fuzz(seconds: &str) -> Outcome {
    for target in
        ["frame", "message", "decompress", "value", "seal", "node", "sync", "asking", "websocket", "tls"]
    {
        let time = format!("-max_total_time={seconds}");
        // What it finds goes into the first folder; the saved corpus stays as it is.
        let (found, saved) = (format!("fuzz/scratch/{target}"), format!("fuzz/corpus/{target}"));
        fs::create_dir_all(root().join(&found)).map_err(|error| format!("{found}: {error}"))?;
        let run = ["fuzz", "run", "--fuzz-dir", "fuzz", target, &found, &saved, "--", &time];
        step(cargo(&run).env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
}
