// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk with a tree deployed on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::label;
use super::trees::Tree;
use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;

/// What a disk is made by, beside the tools.
const FILES: &[&str] = &["guest/grub.cfg", "scripts/disk.sh", "scripts/sysroot.sh", "src/images/label.rs"];
/// Where the deployments are, below the root.
const DEPLOYMENTS: &str = "ostree/deploy/testos/deploy";

/// Returns an artefact: a disk with the bootimage deployed, its root on this file system.
pub fn deployed(lab: &Lab, bootimage: &Tree, fstype: &str) -> Result<PathBuf> {
    let inputs = add_files(lab, Inputs::default().text(bootimage.dir.to_string_lossy()).text(fstype))?;
    let dir = lab.cache.artefact(&bootimage.flavour.kind(&format!("disk-{fstype}")), inputs, |dir| {
        write(lab, bootimage, fstype, dir)
    })?;
    Ok(dir.join("disk.raw"))
}

/// Adds to the inputs of an artefact what [`write`] makes a disk by.
pub fn add_files(lab: &Lab, inputs: Inputs) -> Result<Inputs> {
    let tools = inputs.text(lab.tools().to_string_lossy());
    FILES.iter().try_fold(tools, |inputs, name| inputs.file(&lab.own(name)))
}

/// Makes `dir/disk.raw`, with the tree deployed.
pub fn write(lab: &Lab, tree: &Tree, fstype: &str, dir: &Path) -> Result<()> {
    let repo = tree.repo();
    let arguments = [dir.as_os_str(), repo.as_os_str(), tree.branch.as_ref(), fstype.as_ref()];
    cmd::run(&mut lab.script("sysroot.sh", arguments))?;
    add_labels(&dir.join("work"))?;
    cmd::run(&mut lab.script("disk.sh", [dir.as_os_str(), fstype.as_ref()]))
}

/// Labels what the builder of a CoreOS image labels, if the deployment has a policy: this host has none, so nothing
/// that ostree wrote has a label.
fn add_labels(work: &Path) -> Result<()> {
    let (root, boot) = (work.join("root"), work.join("boot"));
    let deployment = deployment(&root.join(DEPLOYMENTS))?;
    if !deployment.join("etc/selinux/config").exists() {
        return Ok(());
    }
    let var = root.join("ostree/deploy/testos/var");
    // The innermost first: the outer ones then find them labelled.
    for (dir, kind) in [
        (&var.join("lib"), "var_lib_t"),
        (&var, "var_t"),
        (&deployment.join("etc"), "etc_t"),
        (&boot, "boot_t"),
        (&root.join("ostree"), "usr_t"),
        (&root, "root_t"),
    ] {
        label::label_tree(dir, kind)?;
    }
    Ok(())
}

/// Returns the one deployment of a directory; beside it lies its origin, `….0.origin`.
fn deployment(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "0") {
            return Ok(path);
        }
    }
    bail!("finding a deployment: {} has none", dir.display())
}
