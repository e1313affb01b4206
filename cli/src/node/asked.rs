//! What others ask of a node that a program drives, until the program answers.

use std::collections::VecDeque;

use peernet::{Request, Row, Search};

use super::command::Problem;
use crate::json::{Json, Object, write_key};

/// Requests that wait, and searches that can be answered, at most. The oldest are let go.
const KEPT: usize = 1024;

/// Requests and searches, each under a number of this node's.
#[derive(Debug, Default)]
pub(super) struct Asked {
    requests: VecDeque<(u64, Request)>,
    searches: VecDeque<(u64, Search)>,
    last: u64,
}

impl Asked {
    /// Keeps a request, and tells of it.
    pub(super) fn request(&mut self, request: Request) -> String {
        let event = Object::new("event", "request")
            .number("number", self.next())
            .text("sender", request.sender().as_str())
            .payload("payload", &request.payload());
        keep(&mut self.requests, self.last, request);
        event.line()
    }

    /// Keeps a search, and tells of it.
    pub(super) fn search(&mut self, search: Search) -> String {
        let event = Object::new("event", "search")
            .number("number", self.next())
            .text("sender", search.sender().as_str())
            .json("verified", &Json::Bool(search.verified()))
            .raw("id", &bytes(search.id()))
            .raw("type", &bytes(search.kind()))
            .raw("data", &bytes(search.data()))
            .number("limit", search.limit())
            .number("hops", search.hops());
        keep(&mut self.searches, self.last, search);
        event.line()
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes the request with this number.
    pub(super) fn take_request(&mut self, number: u64) -> Result<Request, Problem> {
        let at = self.requests.iter().position(|(known, _)| *known == number);
        let found = at.and_then(|at| self.requests.remove(at));
        found.map(|(_, request)| request).ok_or_else(|| unknown(number))
    }

    /// The search with this number. It can be answered more than once.
    pub(super) fn find_search(&self, number: u64) -> Result<Search, Problem> {
        let found = self.searches.iter().find(|(known, _)| *known == number);
        found.map(|(_, search)| search.clone()).ok_or_else(|| unknown(number))
    }
}

fn keep<T>(list: &mut VecDeque<(u64, T)>, number: u64, new: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back((number, new));
}

fn unknown(number: u64) -> Problem {
    let text = format!("{number} is none of the last {KEPT} that wait; each request is answered once");
    Problem::new("unknown_number", text)
}

/// Bytes as JSON: text where they are text.
fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    write_key(bytes, &mut out);
    out
}

/// Something that was found.
pub(crate) fn row(begin: Object, row: &Row) -> Object {
    begin
        .text("sender", row.sender.as_str())
        .json("verified", &Json::Bool(row.verified))
        .raw("id", &bytes(&row.id))
        .raw("type", &bytes(&row.kind))
        .raw("data", &bytes(&row.data))
        .number("limit", row.limit)
        .number("hops", row.hops)
}
