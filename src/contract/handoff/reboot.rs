// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reboot from the bootimage into the node image: whether it was avoided, and if not, why.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use serde::{Deserialize, Serialize};

use super::{Outcome, shorten};

words! {
    /// Says what OpenShift's MCO will find when the node image is booted.
    Mco {
        /// There is no MachineConfig, or it was not asked for.
        Unknown = "unknown",
        /// It has reasons to reboot.
        Reboots = "reboots",
        /// It has no reason to reboot.
        NothingToDo = "nothing-to-do",
    }
}

/// Describes what was foreseen of OpenShift's MCO before anything was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The answer.
    pub mco: Mco,
    /// Each thing that it would reboot for.
    pub reasons: Vec<String>,
    /// Kernel arguments of the MachineConfig that the boot loader entry gets, and that take effect with the next boot.
    pub deferred_kargs: Vec<String>,
}

impl Default for Foreseen {
    fn default() -> Self {
        Self { mco: Mco::Unknown, reasons: Vec::new(), deferred_kargs: Vec::new() }
    }
}

/// Describes the reboot from the bootimage into the node image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// True if this boot has made it unnecessary.
    pub avoided: bool,
    /// Why not, when it was not avoided.
    pub reasons: Vec<String>,
    /// The finding of OpenShift's MCO when the node image is booted.
    pub mco: Mco,
    /// Kernel arguments that are in the node image's boot loader entry and take effect with the next boot.
    pub deferred_kargs: Vec<String>,
}

impl Reboot {
    /// Says what follows from how the run ended. `reason` is the run's own, `deployed` says whether the node image has a boot
    /// loader entry that arguments could be in.
    pub(super) fn of(outcome: Outcome, reason: Option<&str>, deployed: bool, foreseen: Foreseen) -> Self {
        // A policy that follows from the reasons would only repeat them.
        let own = reason.filter(|_| outcome != Outcome::Skipped || foreseen.reasons.is_empty());
        let all = own.into_iter().chain(foreseen.reasons.iter().map(String::as_str));
        Self {
            avoided: outcome == Outcome::Swapped && foreseen.mco != Mco::Reboots,
            reasons: all.map(|reason| shorten(reason).into_owned()).collect(),
            mco: foreseen.mco,
            deferred_kargs: if deployed { foreseen.deferred_kargs } else { Vec::new() },
        }
    }

    /// Returns what was foreseen, when `reason` was the run's own.
    pub(super) fn into_foreseen(mut self, reason: Option<&str>) -> Foreseen {
        self.reasons.retain(|one| Some(one.as_str()) != reason);
        Foreseen { mco: self.mco, reasons: self.reasons, deferred_kargs: self.deferred_kargs }
    }
}
