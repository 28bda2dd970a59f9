// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long to wait for a server, and how often to ask it again. Fields, so that tests can be quick.
//!
//! Tested by `src/slipstream/tests/http/cases.rs`.

use std::time::Duration;

use crate::http::RetryPolicy;

/// Patience with servers. All of it ends at the deadline of the request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For name, connection and TLS handshake together.
    pub connect: Duration,
    /// A stream below this many bytes a second…
    pub low_speed: u32,
    /// …for this long has stalled. It is also the time until the first byte of an answer.
    pub low_speed_time: Duration,
    /// When to ask again.
    pub retry: RetryPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A TCP SYN is sent again after 1, 3 and 7 s: this gives it four tries.
            connect: Duration::from_secs(15),
            // A modem does 5 kB/s. Registries that fetch from elsewhere first need some time until the first byte.
            low_speed: 1000,
            low_speed_time: Duration::from_secs(30),
            retry: RetryPolicy::default(),
        }
    }
}
