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

use super::boot_loader::update_on_this_boot;
use super::modules::{MODULES, announce, bring_modules};
use super::places::SettleOptions;
use crate::operators::publish_kernel;

/// Below `/run`: written by ostree-prepare-root about the root that it has mounted.
const OSTREE_BOOTED: &str = "ostree-booted";
/// Below `/run`: a directory by which the generator of newer versions of libostree knows that it has work to do. Without it the
/// stateroot's `/var` is not mounted. Older versions of ostree-prepare-root do not make it.
const OSTREE_RUN: &str = "ostree";

/// Brings the modules along if they are needed. Returns their size, and what slipstream leaves behind.
pub(super) fn settle(options: &SettleOptions, status: &Status) -> Result<(Option<u64>, Vec<Leftover>)> {
    let root = PhysicalRoot::new(options.sysroot.join("sysroot"));
    let deployment = status.node_image().and_then(|node| node.deployment.as_deref());
    let deployment = deployment.context("the status names no deployment of the node image")?;
    ensure_root(options, &root.at(&DeploymentPath::parse(Path::new(deployment))?))?;
    let run = options.run.join(OSTREE_RUN);
    fs::create_dir_all(&run).with_context(|| format!("creating {}", run.display()))?;
    let bootimage = status.bootimage().context("the status names no bootimage")?;
    let kernel = &bootimage.kernel;
    let source = root.at(&DeploymentPath::parse(Path::new(&bootimage.deployment))?).join(MODULES).join(kernel);
    let target = options.sysroot.join(MODULES);
    // The hand-off itself.
    let mut leftovers = vec![Leftover::file("/run/slipstream")];
    // First: what comes later may fail.
    if let Some(update) = status.node_image().and_then(|node| node.boot_loader_update) {
        leftovers.extend(update_on_this_boot(&options.run, update).context("having the boot loader updated")?);
    }
    let mut brought = None;
    if target.join(kernel).is_dir() {
        log::debug!("the node image has modules for the running kernel {kernel}");
    } else {
        let bytes = bring_modules(&source, &target, kernel, &options.run_dir().join("modules"))?;
        log::debug!("brought {} MiB of modules of the running kernel {kernel} along", bytes >> 20);
        brought = Some(bytes);
        leftovers.extend(announce(&options.run, &target, kernel)?);
    }
    leftovers.extend(publish_kernel(&options.run, &options.run_dir(), status));
    Ok((brought, leftovers))
}

/// Checks that ostree-prepare-root has mounted `deployment`: it writes down device and inode, from libostree 2024.2 on. What
/// is older has left an empty file, and the root is the deployment's own directory.
fn ensure_root(options: &SettleOptions, deployment: &Path) -> Result<()> {
    let path = options.run.join(OSTREE_BOOTED);
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let id = |path: &Path| -> Result<(u64, u64)> {
        let stat = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        Ok((stat.dev(), stat.ino()))
    };
    let (device, inode) = id(deployment)?;
    let mounted = if bytes.is_empty() {
        id(&options.sysroot)? == (device, inode)
    } else {
        // The variant holds the two as a tuple (tt), 16 bytes in native order.
        let wanted = [device.to_ne_bytes(), inode.to_ne_bytes()].concat();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    ensure!(mounted, "ostree-prepare-root has mounted another deployment than {}", deployment.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_known_with_every_libostree() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["run", "deployment", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        let stat = fs::metadata(at("deployment")).unwrap();
        // As ostree-prepare-root writes it: the tuple among other keys.
        let variant =
            [&b"root.device-inode\0"[..], &stat.dev().to_ne_bytes(), &stat.ino().to_ne_bytes(), b"(tt)"].concat();
        for (label, written, sysroot, expected) in [
            ("2024.2", variant.as_slice(), "other", true),
            ("2024.2, another deployment", b"composefs\0", "deployment", false),
            ("2022.7", b"", "deployment", true),
            ("2022.7, another deployment", b"", "other", false),
        ] {
            fs::write(at("run/ostree-booted"), written).unwrap();
            let options = SettleOptions { sysroot: at(sysroot), run: at("run") };
            let result = ensure_root(&options, &at("deployment"));
            assert_eq!(result.is_ok(), expected, "{label}: {result:?}");
        }
    }
}
