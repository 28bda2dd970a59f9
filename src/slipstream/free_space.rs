// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Free space, compared with what is needed.

use anyhow::{Result, ensure};

/// Refuses what does not fit into the `free` bytes of `place` when `kept` of them have to stay free.
pub(crate) fn ensure_fits(place: &str, needed: u64, free: u64, kept: u64) -> Result<()> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    ensure!(
        needed.saturating_add(kept) <= free,
        "not enough space on {place}: about {} MiB are needed, {} MiB are free, of which {} MiB have to stay free",
        mib(needed),
        free >> 20,
        mib(kept)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_numbers() {
        ensure_fits("x", 80 << 20, 100 << 20, 20 << 20).unwrap();
        let error = ensure_fits("the root file system", 81 << 20, 100 << 20, 20 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not enough space on the root file system: about 81 MiB are needed, 100 MiB are free, of which 20 MiB \
             have to stay free"
        );
        assert!(ensure_fits("x", u64::MAX, u64::MAX, u64::MAX - 1).is_ok(), "no overflow");
    }
}
