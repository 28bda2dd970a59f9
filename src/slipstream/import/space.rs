// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether there is room, asked before the first byte is written.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::oci::{Compression, Layer};
use repo::config::RepoConfig;

use crate::import::kernel::Kernel;

/// What a compressed layer unpacks to, in tenths of its size. A manifest does not say; node images measured 22 and 23.
const UNPACKED_TENTHS: u64 = 25;
/// What libostree keeps free when its configuration does not say: 3 %, but no more than 500 MB.
const DEFAULT_FREE_PERCENT: u64 = 3;
const DEFAULT_FREE_SIZE: u64 = 500_000_000;
/// What a deployment takes on the boot partition besides kernel and initramfs, in bytes: entries, directories, the rest of a
/// block.
const BOOT_ENTRIES: u64 = 256 << 10;

/// Bytes that missing layers will take.
pub(crate) fn needed<'a>(missing: impl Iterator<Item = &'a Layer>) -> Result<u64> {
    let mut sum: u64 = 0;
    for layer in missing {
        let size = match layer.descriptor.compression()? {
            Compression::None => layer.descriptor.size,
            Compression::Gzip | Compression::Zstd => layer.descriptor.size.saturating_mul(UNPACKED_TENTHS) / 10,
        };
        sum = sum.saturating_add(size);
    }
    Ok(sum)
}

/// Refuse what would not fit on the file system of `path` next to what libostree keeps free there. Returns how many
/// bytes may be written: what is needed is an estimate, and an image may unpack to anything.
pub(crate) fn ensure_room(path: &Path, config: &RepoConfig, needed: u64) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).with_context(|| format!("reading the free space of {}", path.display()))?;
    let (total, free) = (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize));
    let kept = match (config.min_free_size, config.min_free_percent) {
        (Some(size), _) => size,
        (None, Some(percent)) => total / 100 * percent,
        (None, None) => (total / 100 * DEFAULT_FREE_PERCENT).min(DEFAULT_FREE_SIZE),
    };
    check("the root file system", needed, free, kept)?;
    Ok(free.saturating_sub(kept))
}

/// Refuse to deploy when the boot partition at `path` has no room for the kernel of the node image. A kernel that the
/// bootimage has too is there already. What others have put there stays: an older deployment is not ours to remove.
pub fn ensure_boot_room(path: &Path, bootimage: &[Kernel], node: &[Kernel]) -> Result<()> {
    let new = node.iter().filter(|kernel| !bootimage.iter().any(|there| there.files == kernel.files));
    // libostree takes one kernel of a deployment; there is no more than one in an image that boots.
    let needed = new.map(|kernel| kernel.bytes).max().unwrap_or_default().saturating_add(BOOT_ENTRIES);
    let stat = rustix::fs::statvfs(path).with_context(|| format!("reading the free space of {}", path.display()))?;
    check("the boot partition", needed, stat.f_bavail.saturating_mul(stat.f_frsize), 0)
}

/// As [`ensure_room`], on the numbers alone.
fn check(place: &str, needed: u64, free: u64, kept: u64) -> Result<()> {
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
        check("x", 80 << 20, 100 << 20, 20 << 20).unwrap();
        let error = check("the root file system", 81 << 20, 100 << 20, 20 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not enough space on the root file system: about 81 MiB are needed, 100 MiB are free, of which 20 MiB \
             have to stay free"
        );
        assert!(check("x", u64::MAX, u64::MAX, u64::MAX - 1).is_ok(), "no overflow");
    }
}
