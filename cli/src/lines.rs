//! Filters: something in on stdin, a line out on stdout for each.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Stdin, StdoutLock, Write};

use crate::failure::Failure;
use crate::json::Object;

/// Room for what is read at once.
const BUFFER: usize = 64 << 10;

/// Standard input and output of a filter. What is written is flushed before a read that may wait, so
/// that whoever sends a line and waits for its answer gets it.
pub(crate) struct Filter {
    input: BufReader<Stdin>,
    output: BufWriter<StdoutLock<'static>>,
    failed: bool,
}

impl Filter {
    pub(crate) fn new() -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, io::stdin()),
            output: BufWriter::with_capacity(BUFFER, io::stdout().lock()),
            failed: false,
        }
    }

    /// Reads the next line, without its end; `false` when there are no more.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        if !self.input.buffer().contains(&b'\n') {
            self.output.flush()?;
        }
        if self.input.read_until(b'\n', line)? == 0 {
            return Ok(false);
        }
        let end = line.trim_ascii_end().len();
        line.truncate(end);
        Ok(true)
    }

    /// Reads some bytes; 0 when there are no more.
    pub(crate) fn read_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.input.buffer().is_empty() {
            self.output.flush()?;
        }
        self.input.read(bytes)
    }

    /// Writes what came of one input: its line, or `{"error":…}` in its place.
    pub(crate) fn write(&mut self, result: Result<String, String>) -> io::Result<()> {
        let line = result.unwrap_or_else(|error| {
            self.failed = true;
            Object::new("error", &error).line()
        });
        self.output.write_all(line.as_bytes())
    }

    /// Ends: exit 1 if anything failed; what failed was written in its place.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.output.flush()?;
        if self.failed { Err(Failure::told()) } else { Ok(()) }
    }
}
