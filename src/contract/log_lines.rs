// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One line per event on standard error, with the level as `<N>`: journald strips it.
//!
//! Tested by `src/slipstream/tests/boot/endings.rs`, `src/contract/handoff/text.rs`.

use std::io::{IsTerminal, Write};
use std::process::{ExitCode, Termination};

use anyhow::Result;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::handoff::shorten;
use crate::report::is_shown;

struct Lines {
    /// A terminal does not strip `<N>`.
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
        // There is no other place to report to when standard error is gone.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// Runs a program as every main does: starts the log, calls, and prints an error once, as one line with the root cause last.
pub fn run<T: Termination>(command: impl FnOnce() -> Result<T>) -> ExitCode {
    let lines = Lines { prefix: !std::io::stderr().is_terminal() };
    if log::set_boxed_logger(Box::new(lines)).is_ok() {
        set_debug(false);
    }
    match command() {
        Ok(value) => value.report(),
        Err(error) => {
            if !is_shown() {
                log::error!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Has the log say more, or not.
pub fn set_debug(debug: bool) {
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}
