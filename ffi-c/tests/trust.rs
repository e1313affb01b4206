//! Who may join, options, callbacks, hooks, and links over descriptors, as C programs use them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::{Language, Link, compile, root, run, scratch};

fn program(path: &str, link: Link) -> PathBuf {
    compile(&root().join(path), Language::C99, link, &["-pthread"])
}

#[test]
fn trust() {
    let folder = scratch("trust");
    std::fs::remove_dir_all(&folder).unwrap();
    run(Command::new(program("ffi-c/tests/c/trust.c", Link::Shared)).arg(scratch("trust")));
}

#[test]
fn callbacks() {
    run(&mut Command::new(program("ffi-c/tests/c/callbacks.c", Link::Shared)));
}

#[test]
fn callbacks_linked_statically() {
    run(&mut Command::new(program("ffi-c/tests/c/callbacks.c", Link::Static)));
}

#[test]
fn attached() {
    run(&mut Command::new(program("ffi-c/tests/c/attach.c", Link::Shared)));
}

/// A program that ends with the test at the latest.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn the_example_of_a_loop() {
    let program = program("examples/c/epoll.c", Link::Shared);
    let mut first = Running::start(&mut Command::new(&program));
    let mut said = BufReader::new(first.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = said.next().unwrap().strip_prefix("at ").unwrap().to_owned();
    let mut second = Running::start(Command::new(&program).arg(&address));
    assert!(said.next().unwrap().ends_with(" is here"));
    assert!(said.any(|line| line.contains(": beat ")), "it hears the other's clock");
    drop(second.0.stdin.take());
    assert!(second.0.wait().unwrap().success());
    assert!(said.any(|line| line.contains(" is gone: ")));
    drop(first.0.stdin.take());
    assert!(first.0.wait().unwrap().success());
}
