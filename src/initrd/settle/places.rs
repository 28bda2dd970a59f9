// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where settling finds everything.
//!
//! Tested by `test-vm/src/suite/swap.rs`.

use std::path::PathBuf;

/// Names the places that settling works on.
#[derive(Clone, Debug)]
pub struct SettleOptions {
    /// The deployment root, as ostree-prepare-root has mounted it.
    pub sysroot: PathBuf,
    /// `/run`.
    pub run: PathBuf,
}

impl SettleOptions {
    /// Returns the run directory, which has the account.
    pub fn run_dir(&self) -> PathBuf {
        self.run.join("slipstream")
    }
}

impl Default for SettleOptions {
    fn default() -> Self {
        Self { sysroot: "/sysroot".into(), run: "/run".into() }
    }
}
