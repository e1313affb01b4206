//! What programs must not do, and do: each misuse has a defined answer, and does no harm. The programs are the
//! sources in `misuse/`, one case of misuse after the other. What `nulls.c` calls is made of the header here, so
//! that no function is left out.
//!
//! `cargo xtask test` runs them under AddressSanitizer, with the library instrumented too, and under valgrind.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use support::{Language, Link, compile, library, root, run, runner, scratch};

/// Compiles and runs all cases of a source.
fn cases(source: &Path, link: Link, more: &[&str]) {
    let include = format!("-I{}", root().join("ffi-c/tests/misuse").display());
    let program = compile(source, Language::C99, link, &[&[include.as_str()], more].concat());
    // Some have nodes with data.
    let name = source.file_stem().unwrap().to_string_lossy();
    let folder = scratch(&format!("misuse-{name}-{link:?}"));
    let _ = std::fs::remove_dir_all(folder.join("data"));
    let mut command = runner(&program);
    run(command.current_dir(folder).env("PEERNET_LIBRARY", library().join("libpeernet.so")));
}

fn source(name: &str) -> PathBuf {
    root().join("ffi-c/tests/misuse").join(name)
}

macro_rules! sources {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn shared() {
                cases(&source(concat!(stringify!($name), ".c")), Link::Shared, &[]);
            }

            #[test]
            fn linked_statically() {
                cases(&source(concat!(stringify!($name), ".c")), Link::Static, &[]);
            }
        }
    )*};
}

sources! { handles threads events options processes callbacks }

#[test]
fn loaded_while_the_program_runs() {
    // It calls nothing of the static library, and so has nothing of it.
    cases(&source("load.c"), Link::Static, &[]);
}

fn null_everywhere(link: Link) {
    let calls = format!("-I{}", nulls(link).display());
    cases(&source("nulls.c"), link, &[&calls]);
}

#[test]
fn null_everywhere_shared() {
    null_everywhere(Link::Shared);
}

#[test]
fn null_everywhere_linked_statically() {
    null_everywhere(Link::Static);
}

/// Parameters that may be null, as their functions say. All others give PEERNET_ERR_ARGUMENT.
const OPTIONAL: [(&str, &str); 19] = [
    ("peernet_mesh_open", "options"),
    ("peernet_mesh_connect", "id"),
    ("peernet_mesh_broadcast", "report"),
    ("peernet_mesh_broadcast_as", "report"),
    ("peernet_mesh_send", "report"),
    ("peernet_mesh_send_as", "report"),
    ("peernet_mesh_reply", "report"),
    ("peernet_mesh_on_code", "hook"),
    ("peernet_mesh_on_code", "user"),
    ("peernet_mesh_on_code", "drop"),
    ("peernet_mesh_book", "options"),
    ("peernet_table_book", "options"),
    ("peernet_table_open", "options"),
    ("peernet_table_set", "report"),
    ("peernet_table_delta", "report"),
    ("peernet_table_delete", "report"),
    ("peernet_encode", "codec"),
    ("peernet_decode", "codec"),
    ("peernet_decode", "used"),
];

#[derive(Debug)]
struct Function {
    result: String,
    name: String,
    parameters: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    kind: String,
    name: String,
}

impl Parameter {
    fn is_pointer(&self) -> bool {
        self.kind.ends_with('*') || self.is_callback()
    }

    fn is_callback(&self) -> bool {
        ["peernet_callback", "peernet_hook", "peernet_drop"].contains(&self.kind.as_str())
    }

    fn is_handle(&self) -> bool {
        ["peernet_mesh", "peernet_table", "peernet_book", "peernet_search"].contains(&self.kind.as_str())
    }

    /// What a program would give, so far as can be told by the type. Where it cannot, null has to do.
    fn example(&self) -> &'static str {
        match self.kind.as_str() {
            "const char *" if self.name == "identity" => "identity",
            "const char *" => "\"abc\"",
            "const uint8_t *" | "const void *" => "bytes",
            "char *" | "uint8_t *" => "room",
            "const char **" | "const uint8_t **" => "place",
            "int32_t *" | "uint32_t *" | "int64_t *" | "uint64_t *" | "size_t *" | "double *" => "place",
            "peernet_batch **" => "&batch",
            "peernet_mesh *" | "peernet_table *" => "&opened",
            "peernet_writer *" | "const peernet_writer *" => "writer",
            "peernet_reader *" | "const peernet_reader *" => "reader()",
            "const peernet_options *" => "&options",
            "peernet_report *" => "&report",
            "peernet_message *" | "const peernet_message *" => "&message",
            "const peernet_codec *" => "&codec",
            "size_t" => "SIZE",
            "peernet_book *" | "peernet_search *" => "place",
            "const peernet_query *" => "&query",
            "peernet_mesh" => "mesh",
            "peernet_table" => "table",
            "uint64_t" => "0x31",
            _ if self.is_pointer() => "NULL",
            _ => "0",
        }
    }
}

/// The functions that the header declares.
fn functions() -> Vec<Function> {
    let header = std::fs::read_to_string(root().join("ffi-c/include/peernet.h")).unwrap();
    let declarations = header.lines().skip_while(|line| *line != "extern \"C\" {").skip(1);
    let declarations = declarations.take_while(|line| !line.starts_with('}'));
    let declarations = declarations.filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let declarations = declarations.collect::<Vec<_>>().join(" ");
    let declarations = declarations.split(';').map(str::trim).filter(|text| !text.is_empty());
    declarations.map(function).collect()
}

fn function(declaration: &str) -> Function {
    let (before, parameters) = declaration.split_once('(').unwrap();
    let (result, name) = before.split_at(before.rfind("peernet_").unwrap());
    let parameters = parameters.strip_suffix(')').unwrap().split(',').map(str::trim).filter_map(parameter);
    Function { result: result.trim().to_owned(), name: name.to_owned(), parameters: parameters.collect() }
}

fn parameter(text: &str) -> Option<Parameter> {
    if text == "void" {
        return None;
    }
    let at = text.rfind([' ', '*']).unwrap() + 1;
    let (kind, name) = text.split_at(at);
    Some(Parameter { kind: kind.trim().to_owned(), name: name.to_owned() })
}

/// Writes calls of every function, with null for each pointer and for all of them, and with handles of nothing,
/// for `nulls.c`. Returns the folder where they are.
fn nulls(link: Link) -> PathBuf {
    let mut calls = String::new();
    for function in functions() {
        let name = function.name.as_str();
        let pointers = || function.parameters.iter().filter(|parameter| parameter.is_pointer());
        // Of books and searches there is none here that could be asked.
        let wrong = if function.parameters.iter().any(|given| given.is_handle() && given.example() == "0") {
            "ERROR"
        } else {
            "ARGUMENT"
        };
        let is_optional = |null: &Parameter| OPTIONAL.contains(&(name, null.name.as_str()));
        for null in pointers() {
            let answer = if is_optional(null) { "ANYTHING" } else { wrong };
            calls += &function.call(answer, |given| (given.name == null.name).then_some("NULL"));
        }
        if pointers().next().is_some() {
            let answer = if pointers().all(is_optional) { "ANYTHING" } else { wrong };
            calls += &function.call(answer, |given| given.is_pointer().then_some("NULL"));
        }
        if function.parameters.iter().any(Parameter::is_handle) {
            for dead in ["0", "closed", "UINT64_MAX"] {
                calls += &function.call("ERROR", |given| given.is_handle().then_some(dead));
            }
        }
    }
    let folder = scratch(&format!("nulls-{link:?}"));
    std::fs::write(folder.join("calls.h"), calls).unwrap();
    folder
}

impl Function {
    /// A line of C that calls it, with an example where nothing is given, and what it is to answer.
    fn call<'a>(&self, answer: &str, given: impl Fn(&Parameter) -> Option<&'a str>) -> String {
        let arguments = self.parameters.iter().map(|each| given(each).unwrap_or(each.example()));
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        let answer = if self.result == "peernet_status" { answer } else { "RETURNS" };
        format!("{answer}({}({arguments}))\n", self.name)
    }
}
