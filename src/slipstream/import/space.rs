// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether there is room, asked before the first byte is written.
//!
//! Tested by `src/slipstream/tests/hostile/places.rs`, `src/slipstream/free_space.rs`.

use std::path::Path;

use anyhow::{Context, Result};
use image::oci::{Compression, Layer};
use repo::config::RepoConfig;

use crate::free_space::ensure_fits;

/// What a compressed layer unpacks to, in tenths of its size. A manifest does not say; node images measured 22 and 23.
const UNPACKED_TENTHS: u64 = 25;
/// What libostree keeps free when its configuration does not say: 3 %, but no more than 500 MB.
const DEFAULT_FREE_PERCENT: u64 = 3;
const DEFAULT_FREE_SIZE: u64 = 500_000_000;

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
    ensure_fits("the root file system", needed, free, kept)?;
    Ok(free.saturating_sub(kept))
}
