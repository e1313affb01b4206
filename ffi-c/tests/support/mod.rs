//! Builds the library, and C programs with it.

#![allow(dead_code)] // not every test uses all

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every program is compiled with: as strict as C programmers are.
pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What a static library needs besides (`--print native-static-libs`).
const NATIVE: [&str; 4] = ["-lpthread", "-lm", "-ldl", "-lc"];

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder of this test's own for what is built.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The folder with the shared and the static library, built of what the sources are now. Tests have no such
/// library by themselves: nothing in Rust links with it.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        if let Some(built) = std::env::var_os("PEERNET_C_LIBRARY") {
            return built.into();
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "libpeernet-c", "--lib", "--target-dir"]).arg(target);
        run(build.current_dir(root()));
        let library = target.join("debug");
        assert!(library.join("libpeernet.so").exists() && library.join("libpeernet.a").exists());
        library
    })
}

/// A prefix in which the library is installed as users install it.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = scratch("prefix");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut install = Command::new(env!("CARGO"));
        install.args(["run", "--quiet", "--package", "xtask", "--", "install-c", "--prefix"]).arg(&prefix);
        run(install.env("CARGO_TARGET_DIR", target).current_dir(root()));
        prefix
    })
}

/// Runs a command, which must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{problem}", output.status);
    output
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Shared,
    Static,
}

/// The languages that programs are compiled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    C99,
    Cpp17,
    Cpp20,
}

/// Compiles a source, with the strict flags and `more`, and links it with the library.
pub fn compile(source: &Path, language: Language, link: Link, more: &[&str]) -> PathBuf {
    let library = library();
    // Sources of different folders may have the same name.
    let place = source.strip_prefix(root()).unwrap_or(source).with_extension("");
    let name = place.to_string_lossy().replace('/', "-");
    let program = scratch("programs").join(format!("{name}-{language:?}-{link:?}"));
    let mut compile = match language {
        Language::C99 => Command::new("cc"),
        Language::Cpp17 | Language::Cpp20 => Command::new("c++"),
    };
    match language {
        Language::C99 => compile.args(["-std=c99", "-xc"]),
        Language::Cpp17 => compile.args(["-std=c++17", "-xc++"]),
        Language::Cpp20 => compile.args(["-std=c++20", "-xc++"]),
    };
    compile.args(STRICT).args(["-g", "-O1", "-I"]).arg(root().join("ffi-c/include")).args(more);
    compile.args(std::env::var("PEERNET_C_FLAGS").iter().flat_map(|flags| flags.split_whitespace()));
    // Tests at the same time may compile the same, and run it.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let made = program.with_extension(format!("{}-{number}", std::process::id()));
    compile.arg(source).args(["-xnone", "-o"]).arg(&made);
    match link {
        Link::Shared => compile.arg("-L").arg(library).arg("-lpeernet").arg(rpath(library)),
        Link::Static => compile.arg(library.join("libpeernet.a")).args(NATIVE),
    };
    run(&mut compile);
    std::fs::rename(&made, &program).unwrap();
    program
}

/// Starts a program, under what `PEERNET_C_RUNNER` names if it does.
pub fn runner(program: &Path) -> Command {
    let runner = std::env::var("PEERNET_C_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// Has the loader find the library there.
fn rpath(library: &Path) -> String {
    format!("-Wl,-rpath,{}", library.display())
}
