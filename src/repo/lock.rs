// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting for a lock that another process has, and for no longer than there is time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Longest wait for a lock of libostree's: its own default, `core.lock-timeout-secs`.
pub const LOCK_TIME: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);

/// Call `attempt` until it gets the lock. `holder` says who has it, for the log and for the error.
pub fn wait_for_lock(holder: &str, until: Instant, mut attempt: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    let mut told = false;
    while !attempt()? {
        ensure!(
            Instant::now() < until,
            "{holder}: it has not ended in {} s, the time that there was",
            started.elapsed().as_secs()
        );
        if !told {
            log::info!("{holder}: waiting for it");
            told = true;
        }
        sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_until_it_is_had_or_there_is_no_time() {
        let mut tries = 0;
        let mut third = || {
            tries += 1;
            Ok(tries == 3)
        };
        wait_for_lock("somebody", Instant::now() + LOCK_TIME, &mut third).unwrap();
        assert_eq!(tries, 3);
        // At least once, however late it is.
        wait_for_lock("somebody", Instant::now(), || Ok(true)).unwrap();
        let error = wait_for_lock("somebody is at it", Instant::now(), || Ok(false)).unwrap_err();
        assert_eq!(error.to_string(), "somebody is at it: it has not ended in 0 s, the time that there was");
        let error =
            wait_for_lock("somebody", Instant::now() + LOCK_TIME, || anyhow::bail!("no such file")).unwrap_err();
        assert_eq!(error.to_string(), "no such file");
    }
}
