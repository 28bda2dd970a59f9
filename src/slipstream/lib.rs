// SPDX-License-Identifier: Apache-2.0 OR MIT
//! slipstream boots a CoreOS bootimage straight into the node image.
//!
//! [`boot`] is the story: it calls [`import`], [`deploy`] and [`label_disk`] in turn. [`check`] is its first half.
//! `docs/boot-flow.md` explains when they run.

pub mod boot;
pub mod boot_partition;
pub mod check;
pub mod cli;
pub mod deploy;
pub mod import;
pub mod label_disk;
mod listing;
