// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A deployment becomes the root: what is done around ostree-prepare-root.
//!
//! [`enter`] runs the importer in the bootimage's own deployment, [`swap`] points the boot link that this boot follows
//! at the new deployment, [`settle`] (after ostree-prepare-root) brings the running kernel's modules along. [`tries`] counts the
//! boots of `on-failure=reboot`.

pub mod bls;
pub mod enter;
pub mod mount;
pub mod settle;
pub mod swap;
pub mod tries;
pub mod writable;
