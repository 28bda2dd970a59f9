// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the boot partition has room for another kernel.
//!
//! Tested by `src/slipstream/tests/boot/room.rs`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::boot_partition::kernels::Kernel;
use crate::free_space::ensure_fits;

/// What a deployment takes on the boot partition besides kernel and initramfs, in bytes: entries, directories, the rest of a
/// block.
const BOOT_ENTRIES: u64 = 256 << 10;

/// Refuses to deploy when the boot partition at `path` has no room for the kernel of the node image. A kernel that the
/// bootimage has too is there already. Other deployments and their kernels stay: slipstream does not remove them.
pub(crate) fn ensure_boot_room(path: &Path, bootimage: &[Kernel], node: &[Kernel]) -> Result<()> {
    let new = node.iter().filter(|kernel| !bootimage.iter().any(|there| there.files == kernel.files));
    // libostree takes one kernel of a deployment; there is no more than one in an image that boots.
    let needed = new.map(|kernel| kernel.bytes).max().unwrap_or_default().saturating_add(BOOT_ENTRIES);
    let stat = rustix::fs::statvfs(path).with_context(|| format!("reading the free space of {}", path.display()))?;
    ensure_fits("the boot partition", needed, stat.f_bavail.saturating_mul(stat.f_frsize), 0)
}
