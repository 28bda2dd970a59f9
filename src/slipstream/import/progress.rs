// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Progress of a long transfer: on a terminal one line that is written again and again, elsewhere at most a line every
//! ten seconds; and the status line of the unit. Threads share it.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use contract::handoff::StageName;
use contract::report::set_service_status;

/// Time between two lines of the log, in milliseconds.
const INTERVAL: u64 = 10_000;
/// Time between two versions of the line on a terminal, in milliseconds.
const TERMINAL_INTERVAL: u64 = 200;
/// Time between two versions of the status line of the unit, in milliseconds.
const STATUS_INTERVAL: u64 = 1000;

/// Bytes done of bytes in all.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    done: AtomicU64,
    started: Instant,
    lines: Clock,
    status: Clock,
    terminal: bool,
}

/// Something that is done again and again, by one of several threads.
#[derive(Debug)]
struct Clock {
    interval: u64,
    /// When it is due, in milliseconds after the start.
    due: AtomicU64,
}

impl Clock {
    fn new(interval: u64) -> Self {
        Self { interval, due: AtomicU64::new(interval) }
    }

    /// Returns whether it is due, and up to the caller.
    fn rings(&self, elapsed: Duration) -> bool {
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(self.interval);
        now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Progress {
    /// Starts to count towards `total` bytes.
    pub fn new(total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let lines = Clock::new(if terminal { TERMINAL_INTERVAL } else { INTERVAL });
        let status = Clock::new(STATUS_INTERVAL);
        Self { total, done: AtomicU64::new(0), started: Instant::now(), lines, status, terminal }
    }

    /// Counts `bytes` more, and says so if it is time.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let elapsed = self.started.elapsed();
        if self.status.rings(elapsed) {
            set_service_status(&format!("{}: {}", StageName::Import, line(done, self.total, elapsed)));
        }
        let mine = self.lines.rings(elapsed);
        if mine && self.terminal {
            eprint!("\r{}\x1b[K", line(done, self.total, elapsed));
        } else if mine {
            log::info!("{}", line(done, self.total, elapsed));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate.max(1.0);
    format!(
        "imported {} of {} MiB, {:.0} MiB/s, about {left:.0} s left",
        mib(done),
        mib(total),
        rate / f64::from(1 << 20)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_bytes_rate_and_what_is_left() {
        assert_eq!(
            line(40 << 20, 100 << 20, Duration::from_secs(4)),
            "imported 40 of 100 MiB, 10 MiB/s, about 6 s left"
        );
    }
}
