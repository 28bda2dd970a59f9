// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which files of the boot partition are libostree's, and get their SELinux labels from slipstream.
//!
//! Tested by `src/slipstream/tests/label/`.

use std::path::Path;

use super::loader_link;

/// The names at the top that libostree writes, besides the directories `loader.N`: the link to the entries, the kernels.
const LIBOSTREE_BOOT_FILES: [&str; 2] = [loader_link::NAME, "ostree"];

/// Returns whether a path below `/boot` is libostree's.
pub(crate) fn is_libostrees(path: &Path) -> bool {
    let Some(top) = path.components().next() else { return false };
    let top = top.as_os_str().to_string_lossy();
    LIBOSTREE_BOOT_FILES.iter().any(|name| top == *name) || loader_link::is_directory(&top)
}
