// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When to try again: a pure decision, so that a fleet can be simulated.
//!
//! The delay doubles from try to try up to a cap, and is spread over half to one and a half of itself: machines that
//! were started together must not come back together. A server that says when to come back is believed; the spread
//! comes on top. One that is merely busy is not given up before the deadline, a broken one is.

use std::time::Duration;

/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The numbers of the policy.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Delay after the first failure, before it is spread.
    pub first: Duration,
    /// Largest delay, before it is spread.
    pub cap: Duration,
    /// Failures in a row, without progress, after which it has failed. Being told that a server is busy is none.
    pub tries: u32,
}

impl Default for RetryPolicy {
    /// With these, a dead server is given up after about a minute of waiting, and what its timeouts take.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), cap: Duration::from_secs(30), tries: 8 }
    }
}

/// What one client does about its failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    /// State of a random number generator; its quality does not matter, that machines differ does.
    random: u64,
    /// Failures in a row, of any kind.
    delays: u32,
    /// Those of them that are the server's fault.
    failures: u32,
}

/// A failure, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Something broke.
    Broken,
    /// The server has too much to do. It may have said when to come back.
    Busy(Option<Duration>),
}

/// Why not to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// It failed too often in a row.
    Tries(u32),
    /// The server wants us to wait for longer than there is time.
    Wait(Duration),
}

impl Backoff {
    /// Nothing has failed yet. Clients differ by their seeds.
    pub fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self { policy, random: seed, delays: 0, failures: 0 }
    }

    /// Something failed, with `left` until the deadline. How long to wait before the next try?
    pub fn failed(&mut self, trouble: Trouble, left: Duration) -> Result<Duration, GiveUp> {
        let delay = self.policy.first.saturating_mul(1 << self.delays.min(20)).min(self.policy.cap);
        self.delays = self.delays.saturating_add(1);
        let spread = delay.mul_f64(0.5 + self.fraction());
        let wait = match trouble {
            Trouble::Broken => {
                self.failures += 1;
                if self.failures >= self.policy.tries {
                    return Err(GiveUp::Tries(self.failures));
                }
                spread
            }
            Trouble::Busy(None) => spread,
            // It says the same to everybody. Spread over as long again, or all would come back together.
            Trouble::Busy(Some(after)) => after.min(FOREVER).mul_f64(1.0 + self.fraction()) + spread,
        };
        if wait >= left { Err(GiveUp::Wait(wait)) } else { Ok(wait) }
    }

    /// Something came through: what was, is forgotten.
    pub fn progress(&mut self) {
        (self.delays, self.failures) = (0, 0);
    }

    /// A number from 0 to 1 (splitmix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A seed that no other process has.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The keys of a hash map are random; that saves a dependency.
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
