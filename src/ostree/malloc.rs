// SPDX-License-Identifier: Apache-2.0 OR MIT
//! glibc's allocator, which the C libraries below us use as well.
//!
//! Tested by `test-vm/src/bench/hostile.rs`.

use nix::libc::{M_MMAP_THRESHOLD, c_int, mallopt};

/// Blocks of this size get a mapping of their own, in bytes. A layer's blocks are smaller, the window of a zstd frame is
/// larger.
const OWN_MAPPING: c_int = 1 << 20;

/// Let large blocks go back to the system when they are freed.
///
/// By itself glibc raises the threshold to the largest block that was ever freed: the windows of zstd decoders then lie in
/// the arenas of threads that are gone, 8 MiB each, and stay. An import with zstd layers takes half of the memory so.
pub fn give_back_large_blocks() {
    // SAFETY: it takes two numbers. That a threshold cannot be set changes nothing but memory use.
    if unsafe { mallopt(M_MMAP_THRESHOLD, OWN_MAPPING) } == 0 {
        log::debug!("the allocator keeps its threshold");
    }
}
