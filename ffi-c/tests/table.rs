//! Tables, peer books, searches and requests as C programs use them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::{Language, Link, compile, root, run, scratch};

fn program(name: &str, link: Link) -> PathBuf {
    compile(&root().join("ffi-c/tests/c").join(name), Language::C99, link, &[])
}

/// A folder with nothing in it.
fn empty(name: &str) -> PathBuf {
    let folder = scratch(name);
    std::fs::remove_dir_all(&folder).unwrap();
    scratch(name)
}

#[test]
fn tables() {
    run(Command::new(program("table.c", Link::Shared)).arg(empty("table")));
}

#[test]
fn tables_linked_statically() {
    run(Command::new(program("table.c", Link::Static)).arg(empty("table-static")));
}

#[test]
fn peer_books() {
    run(Command::new(program("book.c", Link::Shared)).arg(empty("book")));
}

#[test]
fn searches() {
    run(&mut Command::new(program("search.c", Link::Shared)));
}

/// A program that ends with the test at the latest.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok)
    }

    fn hear(&mut self, text: &str) {
        self.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends its input, and waits until it ends.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// The next line, which is this.
fn says(lines: &mut impl Iterator<Item = String>, line: &str) {
    assert_eq!(lines.next().as_deref(), Some(line));
}

/// The table of the examples: what one sets, all see, and none takes from another.
fn settings_that_programs_share(example: &str, language: Language) {
    let program = compile(&root().join(example), language, Link::Shared, &[]);
    let mut first = Running::start(&mut Command::new(&program));
    let mut first_says = first.lines();
    let address = first_says.next().unwrap();
    let address = address.strip_prefix("at ").unwrap();
    let mut second = Running::start(Command::new(&program).arg(address));
    let mut second_says = second.lines();
    assert!(second_says.next().unwrap().starts_with("at "));

    // Two lines at once: neither waits for a third.
    first.hear("colour =  light green \nshape=round\n");
    for lines in [&mut first_says as &mut dyn Iterator<Item = String>, &mut second_says] {
        let mut lines = lines;
        says(&mut lines, "colour = light green");
        says(&mut lines, "shape = round");
    }
    second.hear("colour = red\n");
    let refused = second_says.next().unwrap();
    assert!(refused.starts_with("not done: "), "{refused}");
    first.hear("shape =\n");
    says(&mut first_says, "shape is gone");
    says(&mut second_says, "shape is gone");
    first.hear("?\n");
    second.hear("?\n");
    says(&mut first_says, "colour = light green");
    says(&mut second_says, "colour = light green");
    first.end();
    second.end();
}

#[test]
fn settings_that_c_programs_share() {
    settings_that_programs_share("examples/c/table.c", Language::C99);
}

#[test]
fn settings_that_cpp_programs_share() {
    settings_that_programs_share("examples/cpp/table.cpp", Language::Cpp17);
}

#[test]
fn requests() {
    let program = program("request.c", Link::Shared);
    let mut answering = Running::start(&mut Command::new(&program));
    let place = answering.lines().next().unwrap();
    run(Command::new(&program).args(place.split(' ')));
    answering.end();
}
