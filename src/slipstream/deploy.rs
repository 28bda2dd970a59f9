// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A commit becomes a deployment, and the default of the boot loader.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::entries::entries;
use contract::failpoint;
use contract::names::{Digest, ImageReference};
use contract::places::{DeploymentPath, PhysicalRoot};
use contract::prepare_root::{self, PrepareRoot};
use contract::request::kargs;
use ostree::{Deployment, Sysroot};

use crate::boot_partition::loader_link::{SecondName, foreign_entries, keep_entries};
use crate::label_disk::{Labeller, labelled_or_warn};
use crate::listing::list;
use crate::origin::origin;
use crate::rehearsal::rehearse;
use crate::stop::Stop;

/// Beside the run directory: there is a staged deployment (libostree's `otcore.h`).
const STAGED: &str = "ostree/staged-deployment";

/// The node image's deployment, which is the default of the boot loader.
#[derive(Debug)]
pub struct Deployed {
    /// Where it is.
    pub path: DeploymentPath,
    /// Whether local changes of the bootimage's `/etc` were merged into its own.
    pub etc_merged: bool,
    /// Version of the kernel that its boot loader entry starts, as libostree has written it.
    pub kernel: Option<String>,
}

/// What is to be deployed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The merge commit.
    pub commit: Digest,
    /// The image that it is of.
    pub image: &'a ImageReference,
    /// The kernel arguments of its boot loader entry.
    pub kargs: &'a [String],
    /// Whether the bootimage's programs will work on its root before it runs, and so are tried on it.
    pub rehearse: bool,
}

/// Deploys an imported image next to `bootimage`, which stays as the second choice. `this_boot` is how the initramfs that
/// runs will mount it.
pub fn deploy(
    sysroot: &Sysroot,
    root: &PhysicalRoot,
    bootimage: &Deployment,
    wanted: &Wanted<'_>,
    this_boot: &PrepareRoot,
) -> Result<ControlFlow<Stop, Deployed>> {
    // A pristine /etc is not merged: the new one is then the node image's own to the last byte, and what libostree does for
    // a merge under SELinux (semodule in a container) is not needed.
    let old = root.at(&bootimage.path);
    let pristine = is_pristine(&old.join("etc"), &old.join("usr/etc")).context("comparing /etc with /usr/etc")?;
    if !pristine {
        log::debug!("/etc of the bootimage has local changes: merging them");
    }
    let merge_deployment = (!pristine).then_some(bootimage);
    let deployment = sysroot
        .deploy(bootimage.path.stateroot(), &wanted.commit, &origin(wanted.image), wanted.kargs, merge_deployment)
        .context("deploying the node image")?;
    let new = root.at(&deployment.path);
    let labeller = Labeller::new(&new);
    let labelled = labeller.etc().context("deploying the node image")?;
    log::debug!("labelled {labelled} files in /etc");
    // What takes long comes before the point of no return. That writes it to the disk, too.
    labelled_or_warn("ostree", labeller.ostree(root));
    failpoint::reached("deployment");
    prepare_root::ensure_mountable(&new, this_boot, wanted.kargs).context("deploying the node image")?;
    if wanted.rehearse
        && let Some(why) = rehearse(&new)?
    {
        return Ok(Break(Stop::Programs(why)));
    }
    let entries = foreign_entries(root)?;
    // point of no return: from here on the node image is the default of the boot loader, and is bootable. What fails
    // later must not stop this boot either.
    let second_name = SecondName::new(root);
    sysroot.make_default(&deployment, bootimage).context("deploying the node image")?;
    drop(second_name);
    failpoint::reached("default");
    labelled_or_warn("boot", labeller.boot(root));
    if let Err(error) = keep_entries(root, &entries) {
        log::warn!("keeping the boot loader entries of others: {error:#}");
    }
    Ok(Continue(Deployed { path: deployment.path, etc_merged: !pristine, kernel: default_kernel(root) }))
}

/// Returns the version of the kernel that the default of the boot loader starts.
fn default_kernel(root: &PhysicalRoot) -> Option<String> {
    match entries(root) {
        Ok(found) => found.first()?.kernel().map(str::to_owned),
        Err(error) => {
            log::warn!("reading which kernel the node image starts: {error:#}");
            None
        }
    }
}

/// Remove the deployments that no boot loader entry names, and their kernels: a run that was cut has left them, and their
/// kernels may take the room of the new one. It is libostree's own cleanup, without its prune; where there is nothing of
/// the kind it is not asked for.
pub fn remove_unfinished(sysroot: &Sysroot, root: &PhysicalRoot, run_dir: &Path) -> Result<()> {
    // One that is staged is in no entry until the shutdown, and a libostree that is not booted does not know of it.
    if run_dir.with_file_name(STAGED).exists() {
        return Ok(());
    }
    let known: Vec<_> = sysroot.deployments()?.iter().map(|deployment| root.at(&deployment.path)).collect();
    let unfinished = deployment_directories(root)?.into_iter().find(|path| !known.contains(path));
    match unfinished {
        Some(path) => {
            log::info!("removing {}, which is in no boot loader entry", path.display());
            sysroot.remove_unfinished()
        }
        None => Ok(()),
    }
}

/// Returns the paths of all deployments that are checked out.
pub fn deployment_directories(root: &PhysicalRoot) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for stateroot in directories(&root.ostree().join("deploy"))? {
        found.extend(directories(&stateroot.join("deploy"))?);
    }
    Ok(found)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    list(path, |kind| kind.is_dir())
}

/// The kernel arguments that a new entry takes over: those of the bootimage's, literally. libostree adds its own `ostree=`; ours
/// were for this boot: in the node image's entry they would ask for this image again after the next update.
pub fn carried_kargs(options: &str) -> Vec<String> {
    kargs::split(options)
        .filter(|karg| !karg.starts_with("ostree=") && !kargs::is_ours(karg))
        .map(str::to_owned)
        .collect()
}

/// Whether two directories hold the same names, types, modes, owners and contents.
fn is_pristine(changed: &Path, default: &Path) -> Result<bool> {
    let names = |path: &Path| -> Result<BTreeSet<OsString>> {
        let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    };
    let (ours, theirs) = (names(changed)?, names(default)?);
    if ours != theirs {
        return Ok(false);
    }
    for name in ours {
        let (left, right) = (changed.join(&name), default.join(&name));
        if !same_file(&left, &right).with_context(|| format!("comparing {}", left.display()))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_file(left: &Path, right: &Path) -> Result<bool> {
    let (a, b) = (left.symlink_metadata()?, right.symlink_metadata()?);
    let key = |m: &Metadata| (m.mode(), m.uid(), m.gid());
    if key(&a) != key(&b) {
        return Ok(false);
    }
    if a.is_dir() {
        return is_pristine(left, right);
    }
    if a.is_symlink() {
        return Ok(fs::read_link(left)? == fs::read_link(right)?);
    }
    if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
        return Ok(true);
    }
    Ok(a.len() == b.len() && same_content(File::open(left)?, File::open(right)?)?)
}

fn same_content(left: File, right: File) -> Result<bool> {
    let (mut a, mut b) = ([0; 16 << 10], [0; 16 << 10]);
    loop {
        let n = (&left).read(&mut a)?;
        if n == 0 {
            return Ok((&right).read(&mut b)? == 0);
        }
        if (&right).read_exact(&mut b[..n]).is_err() || a[..n] != b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kargs_are_kept_literally() {
        let options = r#"rw $ignition_firstboot root=UUID=1 ostree=/ostree/boot.1/os/c/0 cgroup_no_v1="all" slipstream.image=x console=tty0 console=ttyS0"#;
        assert_eq!(
            carried_kargs(options),
            ["rw", "$ignition_firstboot", "root=UUID=1", "cgroup_no_v1=\"all\"", "console=tty0", "console=ttyS0"]
        );
    }

    #[test]
    fn pristine_means_the_same_to_the_last_byte() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        for path in [&a, &b] {
            fs::create_dir_all(path.join("sub")).unwrap();
            fs::write(path.join("sub/file"), "text").unwrap();
            std::os::unix::fs::symlink("target", path.join("link")).unwrap();
        }
        assert!(is_pristine(&a, &b).unwrap());
        fs::write(a.join("sub/file"), "tex!").unwrap();
        assert!(!is_pristine(&a, &b).unwrap(), "content");
        fs::write(a.join("sub/file"), "text").unwrap();
        fs::write(a.join("new"), "").unwrap();
        assert!(!is_pristine(&a, &b).unwrap(), "a name more");
        fs::remove_file(a.join("new")).unwrap();
        fs::remove_file(a.join("link")).unwrap();
        std::os::unix::fs::symlink("other", a.join("link")).unwrap();
        assert!(!is_pristine(&a, &b).unwrap(), "link");
    }
}
