// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Refusals: why a request comes to nothing although nothing has failed.
//!
//! A refusal is a value that a stage returns in place of its result. A reboot would not change it, so that it is never treated
//! by `on-failure`; in the account it is `skipped` or `already-booted`.
//!
//! Tested by `src/slipstream/tests/boot/agreement.rs`.

use std::fmt;

use contract::handoff::Ending;
use contract::request::mco::Decision;

use crate::import::OtherKernel;

/// Why a boot stops to work on the node image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The booted deployment is the node image.
    AlreadyBooted,
    /// The node image is deployed, and this boot was told to use another deployment.
    OtherDeployment,
    /// OpenShift's MCO would reboot the node anyway, and the request leaves the image to it.
    Mco(Decision),
    /// policy.json refuses the image.
    Policy(String),
    /// registries.conf blocks the registry, and there is no other source.
    Blocked(String),
    /// The way into the node image does not work with this boot loader.
    BootLoader(String),
    /// Bootimage and node image are too far apart.
    Skew(String),
    /// The image is for another architecture.
    Architecture(String),
    /// The request requires the running kernel, and the image does not have it alone.
    Kernel(OtherKernel),
    /// The bootimage's programs, which the first boot needs, do not work on the node image's root.
    Programs(String),
    /// The kernel arguments that the node image sets are not on this boot's command line, or cannot be read.
    Kargs(String),
    /// The node image would not boot by itself.
    Unbootable(String),
}

impl Stop {
    /// Returns how the run ends.
    pub fn ending(&self) -> Ending {
        match self {
            Self::AlreadyBooted => Ending::AlreadyBooted(self.to_string()),
            _ => Ending::Skipped(self.to_string()),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyBooted => f.write_str("the booted deployment is the node image"),
            Self::OtherDeployment => {
                f.write_str("the node image is deployed, but this boot was told to use another deployment")
            }
            Self::Mco(decision) => f.write_str(&mco_reboots(decision)),
            Self::Policy(reason)
            | Self::Blocked(reason)
            | Self::BootLoader(reason)
            | Self::Skew(reason)
            | Self::Architecture(reason)
            | Self::Programs(reason)
            | Self::Kargs(reason)
            | Self::Unbootable(reason) => f.write_str(reason),
            Self::Kernel(other) => other.fmt(f),
        }
    }
}

/// Returns in one line why the MCO's reboot is not saved.
pub(crate) fn mco_reboots(decision: &Decision) -> String {
    format!("the MCO would reboot the node anyway: {}", decision.reasons.join("; "))
}
