// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The course of a run: its stages, the sources and the tries that it went through, and its end.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

words! {
    /// Describes how a run ended.
    Outcome {
        /// This boot runs the node image because of us.
        Swapped = "swapped",
        /// The node image was booted before we came.
        AlreadyBooted = "already-booted",
        /// A policy said no.
        Skipped = "skipped",
        /// We failed; the bootimage boots.
        Failed = "failed",
    }
}

words! {
    /// Describes how the node image became the root.
    Way {
        /// The boot link was pointed at its deployment, before ostree-prepare-root followed it.
        BootLink = "boot-link",
    }
}

/// Describes how a run ended, with what belongs to that end alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The node image is the root, in this way.
    Swapped(Way),
    /// The node image was booted before, for this reason.
    AlreadyBooted(String),
    /// A policy said no, for this reason.
    Skipped(String),
    /// The run failed: the chain of errors, the root cause last.
    Failed(String),
}

impl Ending {
    /// Returns the three fields that it is in the document.
    pub(super) fn into_fields(self) -> (Outcome, Option<Way>, Option<String>) {
        match self {
            Self::Swapped(way) => (Outcome::Swapped, Some(way), None),
            Self::AlreadyBooted(reason) => (Outcome::AlreadyBooted, None, Some(reason)),
            Self::Skipped(reason) => (Outcome::Skipped, None, Some(reason)),
            Self::Failed(reason) => (Outcome::Failed, None, Some(reason)),
        }
    }
}

words! {
    /// Names a stage.
    StageName {
        /// Open the source, verify manifest and config.
        Source = "source",
        /// Layers and merge commit.
        Import = "import",
        /// Checkout and boot loader entry.
        Deploy = "deploy",
        /// The boot link.
        Swap = "swap",
        /// Modules of the running kernel.
        Settle = "settle",
    }
}

/// Describes a stage that was finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Which one.
    pub name: StageName,
    /// How long it took, to the millisecond.
    pub seconds: f64,
    /// Bytes that it moved, if it moves any.
    pub bytes: Option<u64>,
}

impl Stage {
    /// Describes a stage that took `time`.
    pub fn new(name: StageName, time: Duration, bytes: Option<u64>) -> Self {
        Self { name, seconds: (time.as_secs_f64() * 1000.0).round() / 1000.0, bytes }
    }
}

/// Describes a source that was tried, or an endpoint of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The source as in its key, or the endpoint.
    pub source: String,
    /// Why it did not do; missing if it was used.
    pub error: Option<String>,
}

/// Describes a try on an earlier boot, which has ended with a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Why it failed.
    pub reason: String,
}
