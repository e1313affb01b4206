//! Lines of standard input, read on a thread of their own: a read of a terminal or pipe cannot be
//! called off, and the end of the program must not wait for one.

use std::io::{self, BufRead};
use std::thread;

use tokio::sync::mpsc::{Receiver, channel};

/// Lines that may wait. Whoever writes faster than they are worked off waits in its own pipe.
const WAITING: usize = 64;

/// The lines, without their ends and without blank ones; the channel ends with the input.
pub(super) fn lines() -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel(WAITING);
    thread::spawn(move || {
        let mut input = io::BufReader::with_capacity(64 << 10, io::stdin());
        let mut line = Vec::new();
        // An input that cannot be read any more has ended.
        while input.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = line.trim_ascii_end().to_vec();
            line.clear();
            if !text.is_empty() && sender.blocking_send(text).is_err() {
                break;
            }
        }
    });
    receiver
}
