// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The type bits of a file's mode, as Linux and ostree's objects have them.

/// Type bits of a directory's mode.
pub const S_IFDIR: u32 = 0o040_000;
/// Type bits of a regular file's mode.
pub const S_IFREG: u32 = 0o100_000;
/// Type bits of a symbolic link's mode.
pub const S_IFLNK: u32 = 0o120_000;
/// Type bits.
pub const S_IFMT: u32 = 0o170_000;
