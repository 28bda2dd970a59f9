// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Things of ours that are still there when the system is up.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use serde::{Deserialize, Serialize};

words! {
    /// Names the kind of a leftover.
    LeftoverKind {
        /// A mount.
        Mount = "mount",
        /// A file or directory.
        File = "file",
        /// A symbolic link.
        Link = "link",
    }
}

words! {
    /// Says when a leftover goes.
    Until {
        /// With the next reboot.
        Reboot = "reboot",
        /// With the next cleanup of libostree, which every later deployment does.
        OstreeCleanup = "ostree-cleanup",
        /// With the next boot on which slipstream runs.
        NextRequest = "next-request",
    }
}

/// Describes something of ours that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Its kind.
    pub kind: LeftoverKind,
    /// Where it is in the booted system.
    pub path: String,
    /// When it goes.
    pub until: Until,
}

impl Leftover {
    /// Describes a file or directory that is gone with the next reboot.
    pub fn file(path: impl Into<String>) -> Self {
        Self { kind: LeftoverKind::File, path: path.into(), until: Until::Reboot }
    }

    /// Describes a mount, which is gone with the next reboot.
    pub fn mount(path: impl Into<String>) -> Self {
        Self { kind: LeftoverKind::Mount, path: path.into(), until: Until::Reboot }
    }
}
