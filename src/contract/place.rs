// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a boot finds everything: every global path is a field, so that the whole flow runs on a directory in a test.
//!
//! Tested by `src/slipstream/tests/boot/`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::boot_link::BootLink;
use crate::places::PhysicalRoot;
use crate::prepare_root::PrepareRoot;
use crate::request::Settings;
use crate::request::ignition::Ignition;

/// Where everything is. The defaults are those of the initramfs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The physical root.
    pub sysroot: PhysicalRoot,
    /// The kernel command line.
    pub cmdline: PathBuf,
    /// Where the status file goes.
    pub run_dir: PathBuf,
    /// The root below which keyfiles are looked for.
    pub root: PathBuf,
    /// The Ignition config.
    pub ignition: PathBuf,
}

/// Returns the boot link that this boot follows.
pub fn boot_link(place: &Place) -> Result<BootLink> {
    let cmdline = fs::read_to_string(&place.cmdline).with_context(|| format!("reading {}", place.cmdline.display()))?;
    BootLink::of_cmdline(&cmdline).context("reading the kernel command line")
}

/// Returns how the initramfs that runs will mount a deployment.
pub fn how_mounted(place: &Place) -> Result<PrepareRoot> {
    let cmdline = fs::read_to_string(&place.cmdline).context("reading the kernel command line")?;
    PrepareRoot::of_initramfs(&place.root, &cmdline)
}

/// Reads everything that is requested, understood or not.
pub fn read_request(place: &Place) -> Result<(Settings, Ignition)> {
    let ignition = Ignition::load(&place.ignition)?;
    Ok((Settings::load(&place.cmdline, &place.root, &ignition)?, ignition))
}
