//! Requests and searches that the program answers later, by number.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peernet::{Request, Search};

/// Requests that wait for an answer, at most, as [`peernet::Config::max_requests`] has it for those that are
/// under way: the oldest beyond are those of askers that have gone, and are let go.
const MAX_REQUESTS: usize = 4096;
/// Bytes of such requests, at most, as the core has it for those that are under way.
const MAX_BYTES: usize = 16 << 20;
/// Searches that can be answered, at most, as [`peernet::Config::search_routes`] has it: beyond, the oldest
/// cannot any more.
const MAX_SEARCHES: usize = 4096;

#[derive(Debug, Default)]
struct State {
    last: u64,
    requests: BTreeMap<u64, Request>,
    /// Of the requests.
    bytes: usize,
    searches: BTreeMap<u64, Search>,
    closed: bool,
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn remove_request(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.bytes -= request.packed().len();
        Some(request)
    }
}

/// What others have asked a node and the program has not answered yet. Numbers are never used again.
#[derive(Debug, Default)]
pub struct Asked(Mutex<State>);

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request until it is taken, under the number returned. Its asker waits meanwhile.
    pub fn keep_request(&self, request: Request) -> u64 {
        let mut gone = Vec::new();
        let mut state = self.state();
        let number = state.number();
        state.bytes += request.packed().len();
        match state.closed {
            true => gone.push(request),
            false => drop(state.requests.insert(number, request)),
        }
        while state.requests.len() > MAX_REQUESTS || state.bytes > MAX_BYTES {
            let Some(oldest) = state.requests.keys().next().copied() else { break };
            gone.extend(state.remove_request(oldest));
        }
        // They tell their askers, for which nobody need wait.
        drop(state);
        drop(gone);
        number
    }

    /// The request with this number, once: to be answered, or dropped, which tells its asker so.
    pub fn take_request(&self, number: u64) -> Option<Request> {
        self.state().remove_request(number)
    }

    /// Keeps a search, so that it can be answered under the number returned.
    pub fn keep_search(&self, search: Search) -> u64 {
        let mut state = self.state();
        let number = state.number();
        if !state.closed {
            state.searches.insert(number, search);
        }
        if state.searches.len() > MAX_SEARCHES {
            state.searches.pop_first();
        }
        number
    }

    /// The search with this number, which can be answered more than once.
    pub fn search(&self, number: u64) -> Option<Search> {
        self.state().searches.get(&number).cloned()
    }

    /// Lets go of all, and of all that still come.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.bytes = 0;
        let (requests, searches) = (std::mem::take(&mut state.requests), std::mem::take(&mut state.searches));
        drop(state);
        drop((requests, searches));
    }
}
