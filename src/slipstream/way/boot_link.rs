// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Into the node image by the boot link that this boot follows: it is made again, and names the new deployment.
//!
//! When the new deployment was written, no boot loader entry names the link any more. Making it again changes no entry, needs
//! no bind mount over `/proc/cmdline`, and works for every version of ostree-prepare-root and for Ignition's units, which
//! read the same argument.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::boot_link::BootLink;
use contract::failpoint;
use contract::handoff::{self, Leftover, LeftoverKind, Until};
use contract::places::{DeploymentPath, PhysicalRoot};

use super::interface::Way;
use crate::boot_partition::loader_link;
use crate::deploy::Deployed;
use crate::label_disk::{Labeller, labelled_or_warn};
use crate::machine::Machine;
use crate::stop::Stop;

/// Enters by the boot link.
#[derive(Debug)]
pub(super) struct ViaBootLink;

impl Way for ViaBootLink {
    fn name(&self) -> handoff::Way {
        handoff::Way::BootLink
    }

    fn check(&self, machine: &Machine) -> Result<Option<Stop>> {
        let known = loader_link::version(&machine.root)?.is_some();
        let reason = "the boot loader entries are not libostree's: /boot/loader does not lead to loader.N";
        Ok((!known).then(|| Stop::BootLoader(reason.to_owned())))
    }

    fn leftovers(&self, machine: &Machine) -> Vec<Leftover> {
        // It belongs to no boot loader entry, but this boot follows it until its end.
        let path = Path::new("/sysroot").join(machine.booted.link.path()).display().to_string();
        vec![Leftover { kind: LeftoverKind::Link, path, until: Until::OstreeCleanup }]
    }

    fn enter(&self, machine: &Machine, deployed: &Deployed) -> Result<()> {
        let root = &machine.root;
        point(&machine.booted.link, root, &deployed.path).context("pointing the boot link at the node image")?;
        failpoint::reached("swap");
        // What is left to do may take longer than there is time, and no longer decides anything.
        labelled_or_warn("ostree", Labeller::new(&root.at(&deployed.path)).links(root));
        Ok(())
    }

    fn undo(&self, machine: &Machine) -> Result<()> {
        point(&machine.booted.link, &machine.root, &machine.booted.deployment)
            .context("pointing the boot link back at the bootimage")
    }
}

/// Returns whether a boot link is one of those that the boot loader entries name.
pub(crate) fn is_current(link: &BootLink, root: &PhysicalRoot) -> Result<bool> {
    Ok(loader_link::version(root)? == Some(link.version()))
}

/// Makes a link name `deployment`.
fn point(boot_link: &BootLink, root: &PhysicalRoot, deployment: &DeploymentPath) -> Result<()> {
    if boot_link.resolve(root).is_ok_and(|found| found == *deployment) {
        return Ok(());
    }
    let shown = boot_link.path().display();
    ensure!(!is_current(boot_link, root)?, "boot link {shown} belongs to a boot loader entry that is in use");
    ensure_version_link(boot_link, root)?;
    let link = root.path().join(boot_link.path());
    let parent = link.parent().context("boot link without a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let relative = deployment.relative();
    let target =
        Path::new("../../..").join(relative.strip_prefix("ostree").context("deployment is not below /ostree")?);
    let temporary = parent.join(".slipstream-link");
    remove_if_there(&temporary)?;
    symlink(&target, &temporary).with_context(|| format!("creating {}", temporary.display()))?;
    fs::rename(&temporary, &link).with_context(|| format!("renaming to {}", link.display()))?;
    let found = boot_link.resolve(root)?;
    ensure!(found == *deployment, "boot link names {found}, not {deployment}");
    Ok(())
}

/// Makes `boot.N` a link to a directory `boot.N.M`, from whose name libostree reads M.
fn ensure_version_link(boot_link: &BootLink, root: &PhysicalRoot) -> Result<()> {
    let name = format!("boot.{}", boot_link.version());
    let link = root.ostree().join(&name);
    match link.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let directory = format!("{name}.0");
            fs::create_dir_all(root.ostree().join(&directory)).context("creating a boot directory")?;
            symlink(&directory, &link).with_context(|| format!("creating {}", link.display()))
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", link.display())),
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(name: &str) -> DeploymentPath {
        DeploymentPath::parse(&Path::new("ostree/deploy/os/deploy").join(name)).unwrap()
    }

    /// A physical root with the bootimage's link at boot.1 and loader.`loader` current.
    fn root(loader: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for deployment in ["a.0", "b.0"] {
            fs::create_dir_all(at("ostree/deploy/os/deploy").join(deployment)).unwrap();
        }
        fs::create_dir_all(at("boot")).unwrap();
        symlink(format!("loader.{loader}"), at("boot/loader")).unwrap();
        fs::create_dir_all(at("ostree/boot.1.1/os/csum")).unwrap();
        symlink("boot.1.1", at("ostree/boot.1")).unwrap();
        symlink("../../../deploy/os/deploy/a.0", at("ostree/boot.1.1/os/csum/0")).unwrap();
        root
    }

    #[test]
    fn makes_the_link_again_in_the_shape_that_libostree_gives_it() {
        let root = root(0);
        let link = BootLink::parse("/ostree/boot.1/os/csum/0").unwrap();
        let (physical, target) = (PhysicalRoot::new(root.path()), deployment("b.0"));
        assert_eq!(link.resolve(&physical).unwrap(), deployment("a.0"));
        point(&link, &physical, &target).unwrap();
        let read = |path: &str| fs::read_link(root.path().join(path)).unwrap();
        assert_eq!(read("ostree/boot.1"), Path::new("boot.1.1"));
        assert_eq!(read("ostree/boot.1.1/os/csum/0"), Path::new("../../../deploy/os/deploy/b.0"));
        point(&link, &physical, &target).unwrap();
        // As after a cleanup by libostree: the directory is gone.
        fs::remove_dir_all(root.path().join("ostree/boot.1.1")).unwrap();
        fs::remove_file(root.path().join("ostree/boot.1")).unwrap();
        point(&link, &physical, &target).unwrap();
        assert_eq!(read("ostree/boot.1"), Path::new("boot.1.0"));
        // As after a failure behind it.
        point(&link, &physical, &deployment("a.0")).unwrap();
        assert_eq!(link.resolve(&physical).unwrap(), deployment("a.0"));
    }

    #[test]
    fn keeps_a_link_of_an_entry_in_use() {
        let root = root(1);
        let link = BootLink::parse("/ostree/boot.1/os/csum/0").unwrap();
        let physical = PhysicalRoot::new(root.path());
        let error = point(&link, &physical, &deployment("b.0")).unwrap_err();
        assert!(error.to_string().ends_with("belongs to a boot loader entry that is in use"), "{error}");
        assert_eq!(link.resolve(&physical).unwrap(), deployment("a.0"));
    }
}
