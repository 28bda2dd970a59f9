// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long to wait for a server, and how often to ask it again. Fields, so that tests can be quick.

use std::time::Duration;

use crate::http::RetryPolicy;

/// Patience with servers. All of it ends at the deadline of the request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For name, connection and TLS handshake together.
    pub connect: Duration,
    /// Until the first byte of an answer, where another place can be asked instead.
    pub first_byte: Duration,
    /// The same where no other place is left.
    pub first_byte_alone: Duration,
    /// A body that comes with fewer bytes a second…
    pub low_speed: u32,
    /// …for this long has stalled.
    pub low_speed_time: Duration,
    /// When to ask again.
    pub retry: RetryPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A TCP SYN is sent again after 1, 3 and 7 s: this gives it four tries.
            connect: Duration::from_secs(15),
            first_byte: Duration::from_secs(30),
            // A pull-through cache that fetches the whole of a large layer before it answers. Some of them begin anew
            // with each request, so that asking again does not help.
            first_byte_alone: Duration::from_secs(5 * 60),
            // A modem does 5 kB/s.
            low_speed: 1000,
            low_speed_time: Duration::from_secs(30),
            retry: RetryPolicy::default(),
        }
    }
}

impl Limits {
    /// Returns how long to wait for the first byte where no other place is left and `left` remains until the deadline: a
    /// third of it at most, so that a request that was lost can be sent again.
    pub(super) fn alone(&self, left: Duration) -> Duration {
        (left / 3).min(self.first_byte_alone).max(self.first_byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_first_byte_is_bounded_by_the_deadline() {
        let limits = Limits::default();
        for (left, expected) in [(3600, 300), (600, 200), (120, 40), (60, 30), (5, 30)] {
            assert_eq!(limits.alone(Duration::from_secs(left)).as_secs(), expected, "{left} s until the deadline");
        }
    }
}
