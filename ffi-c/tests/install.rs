//! The library as users install it: every example is built with nothing else, and runs with a node of another process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::{Language, Link, STRICT, prefix, root, run, scratch};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running program with its lines. Dropping it kills it.
struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { name, input: child.stdin.take(), child, lines }
    }

    /// The first line from now on for which `wanted` gives something.
    fn line<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{} tells no such line: {error}", self.name));
            if let Some(found) = wanted(&line) {
                return found;
            }
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input, and with it the program, which must have succeeded. What it said besides.
    fn end(mut self) -> Vec<String> {
        drop(self.input.take());
        let rest = self.lines.iter().collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}: {status}", self.name);
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, built with the profile of this test.
fn peernet() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bin", "peernet", "--target-dir"]).arg(target);
        run(build.current_dir(root()));
        target.join("debug/peernet")
    }))
}

/// A node that examples join.
struct Node {
    program: Program,
    id: String,
    address: String,
}

impl Node {
    fn start(options: &[&str]) -> Self {
        let program =
            Program::start(peernet().args(["node", "--json", "--listen", "127.0.0.1:0"]).args(options));
        let listening = program.line(|line| event(line, "listening"));
        let text = |key: &str| listening[key].as_str().unwrap().to_owned();
        Self { id: text("id"), address: text("address"), program }
    }

    /// The next message with these values.
    fn hears(&self, payload: &Json) {
        self.program.line(|line| event(line, "message").filter(|message| message["payload"] == *payload));
    }

    fn does(&mut self, command: &Json) {
        self.program.say(&command.to_string());
    }
}

/// The object of a line, if it tells of such an event.
fn event(line: &str, kind: &str) -> Option<Json> {
    let told: Json = serde_json::from_str(line).ok()?;
    (told["event"] == kind).then_some(told)
}

/// Every source of the examples for C and C++: none is named, so that none is forgotten.
fn examples() -> Vec<PathBuf> {
    let list = |folder: &str, extension: &str| -> Vec<PathBuf> {
        let folder = root().join("examples").join(folder);
        let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension() == Some(OsStr::new(extension))).collect()
    };
    let mut found = [list("c", "c"), list("cpp", "cpp")].concat();
    found.sort();
    found
}

fn stem(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

/// What pkg-config says of the installed library.
fn pkg_config(options: &[&str]) -> Vec<String> {
    let mut ask = Command::new("pkg-config");
    ask.env("PKG_CONFIG_LIBDIR", prefix().join("lib/pkgconfig")).args(options).arg("peernet");
    let said = String::from_utf8(run(&mut ask).stdout).unwrap();
    said.split_whitespace().map(str::to_owned).collect()
}

/// Compiles an example as its users do.
fn compile(source: &Path, language: Language, link: Link) -> PathBuf {
    let name = source.file_name().unwrap().to_string_lossy().replace('.', "-");
    let program = scratch("examples").join(format!("{name}-{language:?}-{link:?}"));
    let (compiler, options) = match language {
        Language::C99 => ("cc", ["-std=c99", "-xc"]),
        Language::Cpp17 => ("c++", ["-std=c++17", "-xc++"]),
        Language::Cpp20 => ("c++", ["-std=c++20", "-xc++"]),
    };
    let mut compile = Command::new(compiler);
    compile.args(options).args(STRICT).arg(source).args(["-xnone", "-o"]).arg(&program);
    match link {
        Link::Shared => compile.args(pkg_config(&["--cflags", "--libs"])),
        // The linker finds it odd that names are looked up in what is all static.
        Link::Static => compile.arg("-static").args(pkg_config(&["--static", "--cflags", "--libs"])),
    };
    run(&mut compile);
    program
}

/// A program that finds the shared library in the prefix.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", prefix().join("lib"));
    command
}

/// Runs an example beside a node, and sees that it does what it is for.
fn runs(example: &Path, program: Command) {
    match stem(example) {
        "chat" => chats(program),
        "epoll" => beats(program),
        "codec" => makes_what_the_command_reads(program),
        "table" => shares_settings(program),
        other => panic!("the test of the examples does not know what {other} is for: say it here"),
    }
}

fn chats(mut program: Command) {
    let mut node = Node::start(&[]);
    let mut chat = Program::start(program.arg(&node.address));
    chat.line(|line| line.strip_prefix("at ").map(drop));
    chat.say("hello");
    node.hears(&json!(["hello"]));
    node.does(&json!({"do": "broadcast", "payload": ["and to you"]}));
    let said = format!("{}: and to you", &node.id[..8]);
    chat.line(|line| (line == said).then_some(()));
    chat.end();
}

fn beats(mut program: Command) {
    let mut node = Node::start(&[]);
    let looping = Program::start(program.arg(&node.address));
    looping.line(|line| line.strip_prefix("at ").map(drop));
    node.program.line(|line| event(line, "message").filter(|message| message["payload"][0] == "beat"));
    node.does(&json!({"do": "broadcast", "payload": ["beat", 7]}));
    let said = format!("{}: beat 7", &node.id[..8]);
    looping.line(|line| (line == said).then_some(()));
    looping.end();
}

fn shares_settings(mut program: Command) {
    let node = Node::start(&["--network", "sync"]);
    let mut table = Program::start(program.arg(&node.address));
    table.line(|line| line.strip_prefix("at ").map(drop));
    table.say("colour = green");
    node.program.line(|line| {
        event(line, "update").filter(|change| change["key"] == "colour" && change["value"] == "green")
    });
    table.end();
}

fn makes_what_the_command_reads(mut program: Command) {
    let told = Program::start(program.args(["hello", "h\u{e9}"])).end();
    assert_eq!(told[1..5], ["sender: 6URV", "code: 0", "text: hello", "text: h\u{e9}"]);
    let mut decode = Program::start(peernet().args(["decode", "--compression", "zlib"]));
    decode.say(&told[0]);
    let read = decode.end();
    let read: Json = serde_json::from_str(&read[0]).unwrap();
    assert_eq!((&read["sender"], &read["time"]), (&json!({"$str": "6URV"}), &json!(1479600000)));
    assert_eq!(read["payload"], json!([0, "hello", "h\u{e9}"]));
}

/// As C99 those in C, and all as C++17; with the shared library and the static one.
#[test]
fn every_example_is_built_by_pkg_config_and_runs() {
    let examples = examples();
    assert!(!examples.is_empty());
    for example in examples {
        let languages = match example.extension() {
            Some(extension) if extension == "c" => &[Language::C99, Language::Cpp17][..],
            _ => &[Language::Cpp17],
        };
        for language in languages {
            for link in [Link::Shared, Link::Static] {
                runs(&example, command(&compile(&example, *language, link)));
            }
        }
    }
}

#[test]
fn every_example_is_built_by_cmake_and_runs() {
    let build = scratch("cmake");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(root().join("examples")).arg("-B").arg(&build);
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display()));
    let strict = STRICT.join(" ");
    configure.args([format!("-DCMAKE_C_FLAGS={strict}"), format!("-DCMAKE_CXX_FLAGS={strict}")]);
    run(&mut configure);
    run(Command::new("cmake").arg("--build").arg(&build).args(["--parallel", "2"]));
    for example in examples() {
        let name = example.file_name().unwrap().to_string_lossy().replace('.', "-");
        for program in [build.join(&name), build.join(format!("{name}-static"))] {
            runs(&example, Command::new(program));
        }
    }
}

/// CMake takes an installed library for what was asked for only if it is.
#[test]
fn cmake_is_told_the_version() {
    let version = env!("CARGO_PKG_VERSION");
    let asks = [(version, true), ("0.1", true), ("0.2", false), ("1.0", false), ("0.1.999", false)];
    for (asked, found) in asks {
        let folder = scratch(&format!("cmake-version-{asked}"));
        let lists = format!(
            "cmake_minimum_required(VERSION 3.16)\nproject(asks C)\nfind_package(peernet {asked} REQUIRED)\n"
        );
        fs::write(folder.join("CMakeLists.txt"), lists).unwrap();
        let mut ask = Command::new("cmake");
        ask.arg("-S").arg(&folder).arg("-B").arg(folder.join("build"));
        let output = ask.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display())).output().unwrap();
        assert_eq!(output.status.success(), found, "{asked}: {output:?}");
    }
    assert_eq!(pkg_config(&["--modversion"]), [version]);
}

/// Programs start with the library that has the name of its ABI.
#[test]
fn the_shared_library_has_the_name_of_its_version() {
    let lib = prefix().join("lib");
    let full = format!("libpeernet.so.{}", env!("CARGO_PKG_VERSION"));
    let abi =
        format!("libpeernet.so.{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    assert!(fs::symlink_metadata(lib.join(&full)).unwrap().is_file());
    for link in ["libpeernet.so", &abi] {
        assert_eq!(fs::read_link(lib.join(link)).unwrap(), Path::new(&full));
    }
    let dynamic = run(Command::new("readelf").arg("-d").arg(lib.join(&full)));
    let dynamic = String::from_utf8(dynamic.stdout).unwrap();
    assert!(dynamic.contains(&format!("soname: [{abi}]")), "{dynamic}");
}

/// The names of the functions that the header declares.
fn declared() -> Vec<String> {
    let header = fs::read_to_string(root().join("ffi-c/include/peernet.h")).unwrap();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let code = header.lines().filter(|line| !line.starts_with("//") && !line.starts_with([' ', '#']));
    let mut names: Vec<String> = code
        .filter_map(|line| line.split_once('('))
        .map(|(before, _)| before.rsplit(|letter| !is_name(letter)).next().unwrap().to_owned())
        .filter(|name| name.starts_with("peernet_"))
        .collect();
    names.sort();
    names
}

/// The names that a library gives to programs.
fn names(library: &str, options: &[&str]) -> Vec<String> {
    let listed = run(Command::new("nm").args(options).arg(prefix().join("lib").join(library)));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let symbols =
        listed.lines().filter(|line| line.contains(' ')).filter_map(|line| line.split(' ').next_back());
    let mut names: Vec<String> = symbols.map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_exported_but_what_the_header_declares() {
    let declared = declared();
    assert!(declared.contains(&"peernet_mesh_open".to_owned()), "{declared:?}");
    assert_eq!(names("libpeernet.so", &["-D", "--defined-only"]), declared);
    assert_eq!(names("libpeernet.a", &["--extern-only", "--defined-only"]), declared);
}

/// All that is installed, as paths and bytes.
fn installed(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let inside = entries.flat_map(|path| match path.is_dir() {
        true => installed(&path),
        false => vec![(path.clone(), fs::read(path).unwrap())],
    });
    inside.collect()
}

/// Neither where it was built nor where it was installed.
#[test]
fn no_folder_of_the_machine_stays_in_it() {
    let files = installed(prefix());
    assert!(files.len() > 8, "{files:?}");
    let home = std::env::home_dir().unwrap();
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"])).stdout;
    let folders = [
        home.join(""),
        root().join(""),
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(""),
        PathBuf::from(String::from_utf8(sysroot).unwrap().trim()),
        std::env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from),
    ];
    for (file, bytes) in files {
        for folder in folders.iter().filter(|folder| folder.parent().is_some()) {
            let folder = folder.to_str().unwrap();
            let found = bytes.windows(folder.len()).position(|window| window == folder.as_bytes());
            if let Some(at) = found {
                let around = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 200)]).into_owned();
                panic!("{} names {folder}: {around}", file.display());
            }
        }
    }
}
