// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two trees and their commits, from Debian roots and kernels.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::lab::cache::Inputs;
use crate::lab::cmd;
use crate::lab::kernels::{self, SUITE};

/// The suite of the userspaces with composefs: the first whose libostree is built with it.
const COMPOSEFS_SUITE: &str = "forky";
/// The suite of an older bootimage. What matters of it is as old as RHEL 9's: systemd 252, dracut 059, ostree 2022.7.
const OLDER_SUITE: &str = "bookworm";
/// A package that has another name there, from before its ABI changed.
const RENAMED: (&str, &str) = ("libcurl4t64", "libcurl4");

/// What dracut puts into the initramfs beside its default.
const DRACUT_MODULES: &str = "ostree systemd slipstream";

/// What a tree is made by and made of. The checks are not: they come on a disk of their own.
const TREE_FILES: &[&str] = &[
    "guest/vm-test-agent",
    "guest/vm-test.conf",
    "guest/vm-test.preset",
    "guest/vm-test.service",
    "scripts/commit.sh",
    "scripts/enter.sh",
    "scripts/tree.sh",
];

/// What ostree-prepare-root reads in the images with composefs, and in their initramfs.
const PREPARE_ROOT: &str = "guest/prepare-root.conf";

/// Which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Those of nearly all tests.
    Plain,
    /// Both with `composefs.enabled=yes`, of a newer suite. They have the same packages, and less is staged of them.
    Composefs,
    /// Both with Debian's SELinux policy, and every file labelled. Less is staged of them, too.
    Selinux,
    /// A bootimage of an older suite. Its node image is the plain one.
    Older,
}

impl Flavour {
    fn suite(self, role: Role) -> &'static str {
        match (self, role) {
            (Self::Older, Role::Bootimage) => OLDER_SUITE,
            (Self::Plain | Self::Selinux | Self::Older, _) => SUITE,
            (Self::Composefs, _) => COMPOSEFS_SUITE,
        }
    }

    /// Returns its name for a kind of artefact.
    pub fn kind(self, kind: &str) -> String {
        match self {
            Self::Plain => kind.to_owned(),
            Self::Composefs => format!("composefs-{kind}"),
            Self::Selinux => format!("selinux-{kind}"),
            Self::Older => format!("older-{kind}"),
        }
    }
}

/// Which of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is deployed on the disk.
    Bootimage,
    /// What the node image carries.
    Node,
}

impl Role {
    /// Returns its name in files and refs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bootimage => "bootimage",
            Self::Node => "node",
        }
    }

    /// Returns its version, as os-release has it.
    pub fn version(self) -> &'static str {
        match self {
            Self::Bootimage => "41.20260101.0",
            Self::Node => "41.20260201.0",
        }
    }

    fn kernel_dir(self) -> &'static str {
        match self {
            Self::Bootimage => "boot",
            Self::Node => "node",
        }
    }
}

/// A tree committed to a repository.
pub struct Tree {
    /// Which images it belongs to.
    pub flavour: Flavour,
    /// The artefact: `repo`, `initramfs.img`.
    pub dir: PathBuf,
    /// The Debian root it was made from, with dpkg's database.
    pub root: PathBuf,
    /// The branch in `repo`.
    pub branch: String,
    /// `uname -r` of its kernel.
    pub kernel: String,
}

impl Tree {
    /// Returns the repository.
    pub fn repo(&self) -> PathBuf {
        self.dir.join("repo")
    }
}

/// Returns the Debian root of a role of the plain images.
pub fn root(lab: &Lab, role: Role) -> Result<PathBuf> {
    root_of(lab, Flavour::Plain, role)
}

/// Returns the Debian root of a role: the node's is the bootimage's with more packages, or with the same.
pub fn root_of(lab: &Lab, flavour: Flavour, role: Role) -> Result<PathBuf> {
    if flavour == Flavour::Selinux {
        return policy_root(lab, role);
    }
    let mut packages = lab.packages("base")?;
    if flavour == Flavour::Composefs {
        packages.extend(lab.packages("node")?);
    }
    let suite = flavour.suite(role);
    if suite == OLDER_SUITE {
        packages.iter_mut().filter(|name| *name == RENAMED.0).for_each(|name| RENAMED.1.clone_into(name));
    }
    let base = lab.debian_root(&flavour.kind("base"), suite, &packages)?;
    match (flavour, role) {
        (Flavour::Plain, Role::Node) => extended_root(lab, "node-root", &base, &lab.packages("node")?),
        _ => Ok(base),
    }
}

/// Returns the Debian root of a role with a policy.
fn policy_root(lab: &Lab, role: Role) -> Result<PathBuf> {
    let plain = root(lab, role)?;
    let kind = format!("selinux-{}-packages", role.name());
    let packages = extended_root(lab, &kind, &plain, &lab.packages("selinux")?)?;
    let (script, module) = (lab.own("scripts/policy.sh"), lab.own("guest/selinux-ostree.cil"));
    let inputs = Inputs::default().text(packages.to_string_lossy()).file(&script)?.file(&module)?;
    let dir = lab.cache.artefact(&format!("selinux-{}-root", role.name()), inputs, |dir| {
        let root = dir.join("root");
        cmd::run(cmd::words("cp", ["-a"]).args([&packages, &root]))?;
        cmd::run(&mut cmd::words("bash", [&script, &root, &module]))
    })?;
    Ok(dir.join("root"))
}

/// Returns a copy of a root with more packages in it.
pub fn extended_root(lab: &Lab, kind: &str, base: &Path, packages: &[String]) -> Result<PathBuf> {
    let inputs = Inputs::default().text(base.to_string_lossy()).text(packages.join(" "));
    let dir = lab.cache.artefact(kind, inputs, |dir| {
        let root = dir.join("root");
        cmd::run(cmd::words("cp", ["-a"]).args([base, &root]))?;
        let enter = |words: &[&str]| {
            let mut command = cmd::words("bash", [lab.own("scripts/enter.sh"), root.clone()]);
            command.arg("--").args(words);
            command
        };
        cmd::run(&mut enter(&["apt-get", "-q", "update"]))?;
        cmd::run(
            enter(&["env", "DEBIAN_FRONTEND=noninteractive"])
                .args(["apt-get", "-q", "-y", "--no-install-recommends", "install"])
                .args(packages),
        )?;
        cmd::run(&mut enter(&["sh", "-c", "rm -rf /var/lib/apt/lists/* /var/cache/apt/*"]))
    })?;
    Ok(dir.join("root"))
}

/// Returns a directory with what `make install` puts into an image.
pub fn slipstream(lab: &Lab) -> Result<PathBuf> {
    installed(lab, &lab.source.join("target"))
}

/// Returns whether the programs of [`slipstream`] run in a root: whether its C library has what they need.
pub fn runs_in(root: &Path, slipstream: &Path) -> Result<bool> {
    let script =
        "mount -t tmpfs tmpfs \"$1/mnt\" && cp \"$2\" \"$1/mnt/\" && exec chroot \"$1\" /mnt/slipstream --help";
    let mut command = cmd::words("unshare", ["--mount", "--", "sh", "-c", script, "sh"]);
    command.arg(root).arg(slipstream.join("usr/bin/slipstream"));
    Ok(command.output().context("running slipstream in a root")?.status.success())
}

/// Returns the same with named steps that are marked on the disk (`src/contract/failpoint.rs`).
pub fn slipstream_with_failpoints(lab: &Lab) -> Result<PathBuf> {
    let target = lab.source.join("target/failpoints");
    let mut cargo = cmd::words(
        "cargo",
        ["build", "--release", "--locked", "--package", "slipstream", "--package", "slipstream-initrd"],
    );
    cargo
        .args(["--features", "slipstream/failpoints,slipstream-initrd/failpoints", "--target-dir"])
        .arg(&target)
        .current_dir(&lab.source);
    cmd::run(&mut cargo).context("building slipstream with failpoints")?;
    installed(lab, &target)
}

fn installed(lab: &Lab, target: &Path) -> Result<PathBuf> {
    let staging = tempfile::tempdir_in(lab.cache.dir()).context("creating a staging directory")?;
    let mut destdir = OsString::from("DESTDIR=");
    destdir.push(staging.path());
    let mut target_dir = OsString::from("TARGET_DIR=");
    target_dir.push(target);
    cmd::run(cmd::words("make", ["-C"]).arg(&lab.source).arg("install").args([destdir, target_dir]))
        .context("installing slipstream (`make all` builds it)")?;
    // A change in a manual page changes no boot.
    let share = staging.path().join("usr/share");
    if share.exists() {
        fs::remove_dir_all(&share).with_context(|| format!("removing {}", share.display()))?;
    }
    let inputs = Inputs::default().tree(staging.path())?;
    lab.cache.artefact("slipstream", inputs, |dir| {
        cmd::run(cmd::words("cp", ["-a"]).args([staging.path().join("."), dir.to_path_buf()]))
    })
}

/// Returns the commit of a role of the plain images, with what [`slipstream`] gave.
pub fn tree(lab: &Lab, role: Role, slipstream: &Path) -> Result<Tree> {
    tree_of(lab, Flavour::Plain, role, slipstream)
}

/// Returns the commit of a role, with what [`slipstream`] gave.
pub fn tree_of(lab: &Lab, flavour: Flavour, role: Role, slipstream: &Path) -> Result<Tree> {
    let root = root_of(lab, flavour, role)?;
    let kernels = kernels::both(lab)?.join(role.kernel_dir());
    let branch = format!("testos/{}", role.name());
    let mut inputs = Inputs::default()
        .text(root.to_string_lossy())
        .text(kernels.to_string_lossy())
        .text(role.version())
        .text(DRACUT_MODULES)
        .text(slipstream.to_string_lossy())
        .text(&branch);
    for name in TREE_FILES {
        inputs = inputs.file(&lab.own(name))?;
    }
    if flavour == Flavour::Composefs {
        inputs = inputs.file(&lab.own(PREPARE_ROOT))?;
    }
    let kernel = kernels::version_of(&kernels)?;
    let dir = lab.cache.artefact(&flavour.kind(&format!("tree-{}", role.name())), inputs, |dir| {
        let tree = dir.join("tree");
        cmd::run(cmd::words("cp", ["-a"]).args([&root, &tree]))?;
        for part in [kernels.as_path(), slipstream] {
            cmd::run(cmd::words("cp", ["-a"]).args([part.join("."), tree.clone()]))?;
        }
        if flavour == Flavour::Composefs {
            fs::copy(lab.own(PREPARE_ROOT), tree.join("usr/lib/ostree/prepare-root.conf"))
                .context("writing prepare-root.conf")?;
        }
        let arguments = [tree.as_os_str(), role.name().as_ref(), role.version().as_ref(), DRACUT_MODULES.as_ref()];
        cmd::run(cmd::words("bash", [lab.own("scripts/tree.sh")]).args(arguments))?;
        let image = tree.join("usr/lib/modules").join(&kernel).join("initramfs.img");
        fs::copy(&image, dir.join("initramfs.img")).with_context(|| format!("copying {}", image.display()))?;
        let repo = dir.join("repo");
        let arguments = [tree.as_os_str(), repo.as_os_str(), branch.as_ref(), role.version().as_ref()];
        cmd::run(&mut lab.script("commit.sh", arguments))
    })?;
    Ok(Tree { flavour, dir, root, branch, kernel })
}
