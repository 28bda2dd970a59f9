// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a body still comes.
//!
//! libcurl has such a limit, but its clock starts with the request. Ours starts with the first byte of the body, because a
//! server may take minutes until then, and it stands still while we do not take what has come.

use std::time::{Duration, Instant};

use crate::http::{Failure, Kind, Limits};

/// How fast a body comes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second, at least.
    low_speed: u32,
    /// How long it may be slower.
    time: Duration,
    /// The start of the period that is being measured, and the bytes that have come in it.
    period: Option<(Instant, u64)>,
}

impl Pace {
    /// A body of which nothing has come.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { low_speed: limits.low_speed, time: limits.low_speed_time, period: None }
    }

    /// Counts bytes that have come.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        self.period.get_or_insert((now, 0)).1 += bytes as u64;
    }

    /// Starts a new period: in the last one the reader was slow, which says nothing about the server.
    pub(super) fn resume(&mut self, now: Instant) {
        self.period = Some((now, 0));
    }

    /// Returns whether the body has stalled.
    pub(super) fn has_stalled(&mut self, now: Instant) -> bool {
        let Some((start, bytes)) = self.period else { return false };
        if now.saturating_duration_since(start) < self.time {
            return false;
        }
        self.resume(now);
        bytes < u64::from(self.low_speed) * self.time.as_secs()
    }

    /// Returns the failure of a body that has stalled.
    pub(super) fn stall(&self) -> Failure {
        let text = format!("less than {} bytes a second for {} s", self.low_speed, self.time.as_secs());
        Failure::new(Kind::Broken, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_counted_from_the_first_byte_on() {
        let (limits, start) = (Limits::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(&limits);
        assert!(!pace.has_stalled(at(1000)), "before the first byte");
        pace.came(1, at(1000));
        assert!(!pace.has_stalled(at(1029)), "not yet");
        assert!(pace.has_stalled(at(1030)), "one byte in 30 s");
        pace.came(30_000, at(1031));
        assert!(!pace.has_stalled(at(1060)), "fast enough");
        pace.resume(at(1085));
        assert!(!pace.has_stalled(at(1100)), "the reader was slow");
        assert!(pace.has_stalled(at(1115)), "and then nothing came");
    }
}
