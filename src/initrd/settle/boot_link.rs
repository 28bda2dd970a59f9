// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A root that was entered by the boot link runs on the bootimage's kernel: its modules are brought along.
//!
//! Tested by `test-vm/src/suite/swap.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::handoff::{Leftover, Status};
use contract::places::{DeploymentPath, PhysicalRoot};

use super::modules::{MODULES, announce, bring_modules};
use super::places::SettleOptions;
use crate::operators::publish_kernel;

/// Written by ostree-prepare-root about the root that it has mounted.
const OSTREE_BOOTED: &str = "/run/ostree-booted";

/// Brings the modules along if they are needed. Returns their size, and what slipstream leaves behind.
pub(super) fn settle(options: &SettleOptions, status: &Status) -> Result<(Option<u64>, Vec<Leftover>)> {
    let root = PhysicalRoot::new(options.sysroot.join("sysroot"));
    let deployment = status.node_image().and_then(|node| node.deployment.as_deref());
    let deployment = deployment.context("the status names no deployment of the node image")?;
    ensure_root(&root.at(&DeploymentPath::parse(Path::new(deployment))?))?;
    let bootimage = status.bootimage().context("the status names no bootimage")?;
    let kernel = &bootimage.kernel;
    let source = root.at(&DeploymentPath::parse(Path::new(&bootimage.deployment))?).join(MODULES).join(kernel);
    let target = options.sysroot.join(MODULES);
    // The hand-off itself.
    let mut leftovers = vec![Leftover::file("/run/slipstream")];
    let mut brought = None;
    if target.join(kernel).is_dir() {
        log::debug!("the node image has modules for the running kernel {kernel}");
    } else {
        let bytes = bring_modules(&source, &target, kernel)?;
        log::debug!("brought {} MiB of modules of the running kernel {kernel} along", bytes >> 20);
        brought = Some(bytes);
        leftovers.extend(announce(&options.run, &target, kernel)?);
    }
    leftovers.extend(publish_kernel(&options.run, &options.run_dir(), status));
    Ok((brought, leftovers))
}

/// Checks that ostree-prepare-root has mounted `deployment`: it writes down device and inode.
fn ensure_root(deployment: &Path) -> Result<()> {
    let bytes = fs::read(OSTREE_BOOTED).with_context(|| format!("reading {OSTREE_BOOTED}"))?;
    let stat = fs::metadata(deployment).with_context(|| format!("reading {}", deployment.display()))?;
    // The variant holds the two as a tuple (tt), 16 bytes in native order.
    let wanted = [stat.dev().to_ne_bytes(), stat.ino().to_ne_bytes()].concat();
    ensure!(
        bytes.windows(wanted.len()).any(|window| window == wanted),
        "ostree-prepare-root has mounted another deployment than {}",
        deployment.display()
    );
    Ok(())
}
