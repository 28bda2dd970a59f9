// SPDX-License-Identifier: Apache-2.0 OR MIT
//! slipstream boots a CoreOS bootimage straight into the node image.
//!
//! [`boot`] is the story. It looks at a [`machine`], has an image imported ([`import`]) and deployed ([`deploy`]), and takes a
//! [`way`] into it; a [`stop`] is why it may not. [`check`] is its first half. `docs/boot-flow.md` explains when it runs.

pub mod boot;
pub mod boot_partition;
pub mod check;
pub mod cli;
pub mod deploy;
mod free_space;
mod image_settings;
pub mod import;
pub mod label_disk;
mod listing;
pub mod machine;
pub mod origin;
mod os_release;
pub mod pull;
mod rehearsal;
mod secure_boot;
pub mod stop;
mod trust;
pub mod way;
