// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One line per event on standard error, with the level as `<N>`: journald strips it.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::{ExitCode, Termination};

use anyhow::Result;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Longest text of a line or a reason, in bytes. An error names what it is about, and an image may have named that.
const MAX_TEXT: usize = 2000;

/// A text, cut in the middle if it is long: the start says where, the end says why.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let (mut head, mut tail) = (MAX_TEXT / 2, text.len() - MAX_TEXT / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    Cow::Owned(format!("{} … {}", &text[..head], &text[tail..]))
}

struct Lines {
    /// On a terminal there is nobody to strip `<N>`.
    prefix: bool,
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        // Names from an image may hold anything; a line feed would start a line of its own.
        let text = shorten(&record.args().to_string()).replace(|c: char| c.is_control(), "?");
        let line = if self.prefix { format!("<{level}>{text}\n") } else { format!("{text}\n") };
        // Nobody is left to tell when standard error is gone.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// What every main does: start the log, call, and print an error once, as one line with the root cause last.
pub fn run<T: Termination>(command: impl FnOnce() -> Result<T>) -> ExitCode {
    let lines = Lines { prefix: !std::io::stderr().is_terminal() };
    if log::set_boxed_logger(Box::new(lines)).is_ok() {
        set_debug(false);
    }
    match command() {
        Ok(value) => value.report(),
        Err(error) => {
            log::error!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Say more, or not.
pub fn set_debug(debug: bool) {
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        assert_eq!(shorten("short"), "short");
        let long = format!("start {} end", "é".repeat(10_000));
        let cut = shorten(&long);
        assert!(cut.len() < 2010 && cut.starts_with("start é") && cut.ends_with("é end"), "{cut}");
    }
}
