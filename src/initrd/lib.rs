// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream-initrd`: the part of slipstream that is in the initramfs. It has neither libostree nor libcurl.
//!
//! Before ostree-prepare-root, [`launch`] reads the request and has the importer run in the bootimage's own deployment
//! ([`enter`]); after it, [`settle`] brings the running kernel's modules along.

pub mod cli;
pub mod enter;
pub mod forwarding;
pub mod generator;
pub mod launch;
pub mod mount;
pub mod operators;
pub mod settle;
pub mod way_back;
