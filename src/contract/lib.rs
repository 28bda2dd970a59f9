// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The contract between the two programs of slipstream.
//!
//! `slipstream-initrd` is in the initramfs; `slipstream` is in the bootimage's deployment and has libostree and libcurl.
//! Both read the same [`request`], follow the same [`boot_link`], and hand over the same account ([`handoff`]). This crate
//! has the types and files that they share. It opens no connection, calls no C library of its own, and has no unsafe code.

pub mod base64;
pub mod boot_device;
pub mod boot_link;
pub mod disk_file;
pub mod entries;
pub mod failpoint;
pub mod files;
pub mod handoff;
pub mod log_lines;
pub mod names;
pub mod once;
pub mod place;
pub mod places;
pub mod prepare_root;
pub mod report;
pub mod request;
pub mod shape;
pub mod tries;

/// Where the hand-off is, unless an option names another directory.
pub const RUN_DIR: &str = "/run/slipstream";

/// The version of slipstream, for logs and the account.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
