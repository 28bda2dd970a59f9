// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Progress of a long transfer, for a console: at most a line every ten seconds.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);

/// Bytes done of bytes in all.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    done: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// Start to count towards `total` bytes.
    pub fn new(total: u64) -> Self {
        let now = Instant::now();
        Self { total, done: 0, started: now, said: now }
    }

    /// Count `bytes` more, and say so if it is time.
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let now = Instant::now();
        if now.duration_since(self.said) >= INTERVAL {
            self.said = now;
            log::info!("{}", self.line(now.duration_since(self.started)));
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let rate = self.done as f64 / elapsed.as_secs_f64().max(0.001);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(1.0);
        format!(
            "imported {} of {} MiB, {:.0} MiB/s, about {left:.0} s left",
            mib(self.done),
            mib(self.total),
            rate / f64::from(1 << 20)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_bytes_rate_and_what_is_left() {
        let mut progress = Progress::new(100 << 20);
        progress.add(40 << 20);
        assert_eq!(progress.line(Duration::from_secs(4)), "imported 40 of 100 MiB, 10 MiB/s, about 6 s left");
    }
}
