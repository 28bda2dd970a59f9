// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must be true of a disk after every power cut.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::system::{Bootable, System, seen_by_loader};
use super::whole::Tree;
use crate::lab::cmd;

/// A deployment as it should be.
pub struct Side {
    /// What we call it.
    name: &'static str,
    commit: String,
    tree: Tree,
    origin: String,
    /// sha256 of the kernel and of the initramfs.
    sums: [String; 2],
    /// Files of `/etc` that are not those of `/usr/etc`, there for a reason.
    changed: BTreeSet<String>,
}

/// Both deployments as they should be.
pub struct Expected {
    bootimage: Side,
    node: Side,
    /// The boot link of the recorded boot, below the root.
    link: PathBuf,
    /// The refs in the end.
    refs: String,
    /// Whether the recorded boot has kept a record of its request.
    once: bool,
}

/// How far the machine was when the power went. Each step needs those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing of ours is there.
    Untouched,
    /// Objects are staged.
    Staged,
    /// Refs of layers.
    Layers,
    /// The merge commit.
    MergeCommit,
    /// The image's ref.
    ImageRef,
    /// The deployment's directory.
    Deployment,
    /// Its origin.
    Origin,
    /// The node image's kernel in `/boot`.
    Kernel,
    /// A boot loader entry, not in use yet.
    Entry,
    /// The loader link is swapped.
    LoaderLink,
    /// The boot link of the running boot names the node image.
    Swapped,
    /// systemd of the node image runs.
    RealRoot,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Untouched,
        Self::Staged,
        Self::Layers,
        Self::MergeCommit,
        Self::ImageRef,
        Self::Deployment,
        Self::Origin,
        Self::Kernel,
        Self::Entry,
        Self::LoaderLink,
        Self::Swapped,
        Self::RealRoot,
    ];

    /// As the table of results has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Staged => "objects staged",
            Self::Layers => "layer refs",
            Self::MergeCommit => "merge commit",
            Self::ImageRef => "image ref",
            Self::Deployment => "deployment directory",
            Self::Origin => "origin",
            Self::Kernel => "kernel in /boot",
            Self::Entry => "boot loader entry",
            Self::LoaderLink => "loader link",
            Self::Swapped => "swap",
            Self::RealRoot => "real root",
        }
    }
}

impl Side {
    fn of(system: &System, name: &'static str, bootable: &Bootable) -> Result<Self> {
        let path = system.deployment(&bootable.entry)?;
        let commit = commit_of(&path)?;
        let tree = Tree::of_commit(&system.repo(), &commit)?;
        let place = system.root.join(&path);
        tree.ensure_checked_out(&place, &system.repo()).with_context(|| format!("reading the {name}"))?;
        let changed = tree.changed_in_etc(&place)?;
        Ok(Self { name, commit, tree, origin: origin(&place)?, sums: bootable.sums.clone(), changed })
    }

    fn describe(&self) -> String {
        format!("{} {} ({} files, {} changed in /etc)", self.name, self.commit, self.tree.len(), self.changed.len())
    }
}

impl Expected {
    /// From the disk before the recorded boot, and from the one after it; `once`: a record of the request must be there.
    pub fn from(before: &System, after: &System, once: bool) -> Result<Self> {
        let first = |system: &System, name| -> Result<(Side, PathBuf)> {
            let all = system.bootable()?;
            let default = all.first().context("no boot loader entry")?;
            let karg = default.entry.options.split_whitespace().find_map(|karg| karg.strip_prefix("ostree=/"));
            Ok((Side::of(system, name, default)?, karg.context("no ostree=")?.into()))
        };
        let (bootimage, link) = first(before, "bootimage")?;
        let (node, _) = first(after, "node image")?;
        ensure!(bootimage.commit != node.commit, "reading the disk: nothing was deployed in the recorded boot");
        let ended = of_request(&after.root)?.is_some_and(|request| request.ended);
        ensure!(ended == once, "reading the disk: when=once is {once}, and that a request has ended, {ended}");
        Ok(Self { bootimage, node, link, refs: refs(&after.repo())?, once })
    }

    /// What was found.
    pub fn describe(&self) -> String {
        format!("{}; {}", self.bootimage.describe(), self.node.describe())
    }

    fn side(&self, commit: &str) -> Result<&Side> {
        let side = [&self.bootimage, &self.node].into_iter().find(|side| side.commit == commit);
        side.with_context(|| format!("{commit} is no commit of the bootimage or of the node image"))
    }

    /// What the boot loader would see on a disk that is not mounted yet. It is to be checked again with
    /// [`Self::check_bootable`] on the mounted one, as the initramfs that it loads does mount it.
    pub fn check_loader(&self, disk: &Path, at: &Path) -> Result<Vec<Bootable>> {
        let sums = [&self.bootimage.sums, &self.node.sums];
        let seen = seen_by_loader(disk, at)?;
        for bootable in &seen {
            ensure!(
                sums.contains(&&bootable.sums),
                "{} or {} is neither the bootimage's nor the node image's",
                bootable.entry.linux,
                bootable.entry.initrd
            );
        }
        Ok(seen)
    }

    /// All that must be true of a mounted disk. The deployment that boots by default, below the root.
    pub fn check(&self, system: &System) -> Result<PathBuf> {
        let all = system.bootable()?;
        for bootable in &all {
            self.check_bootable(system, bootable)?;
        }
        let mut fsck = cmd::words("ostree", ["fsck", "--quiet", "--repo"]);
        cmd::run(fsck.arg(system.repo())).context("checking the repository")?;
        let default = all.first().context("no boot loader entry")?;
        system.deployment(&default.entry)
    }

    /// An entry leads to a whole deployment that its kernel and initramfs belong to.
    pub fn check_bootable(&self, system: &System, bootable: &Bootable) -> Result<()> {
        self.check_deployment(system, bootable).with_context(|| format!("checking {}", bootable.entry.options))
    }

    fn check_deployment(&self, system: &System, bootable: &Bootable) -> Result<()> {
        let path = system.deployment(&bootable.entry)?;
        let side = self.side(&commit_of(&path)?)?;
        ensure!(bootable.sums == side.sums, "kernel or initramfs is not the {}'s", side.name);
        let place = system.root.join(&path);
        ensure!(origin(&place)? == side.origin, "the {}'s origin is {}", side.name, origin(&place)?);
        side.tree
            .ensure_checked_out(&place, &system.repo())
            .with_context(|| format!("the {} is not whole", side.name))?;
        let changed = side.tree.changed_in_etc(&place)?;
        let more: Vec<_> = changed.difference(&side.changed).collect();
        ensure!(more.is_empty(), "/etc of the {} is not whole: {more:?}", side.name);
        Ok(())
    }

    /// Whether a deployment is the node image's.
    pub fn is_node(&self, deployment: &Path) -> Result<bool> {
        Ok(commit_of(deployment)? == self.node.commit)
    }

    /// What must be true after a further run with the same request.
    pub fn check_finished(&self, system: &System) -> Result<()> {
        let default = self.check(system)?;
        ensure!(self.is_node(&default)?, "the default is {}", default.display());
        // The link of the recorded boot may be gone after a cleanup; while it is there it has to lead somewhere.
        let link = system.root.join(&self.link);
        if link.symlink_metadata().is_ok() {
            self.side(&commit_of(&system.follow(&link)?)?)?;
        }
        let refs = refs(&system.repo())?;
        ensure!(refs == self.refs, "other refs than those of an undisturbed run: {refs}");
        let left = staged(&system.repo())?;
        ensure!(!left, "staged objects are left in the repository");
        Ok(())
    }

    /// With `when=once`: nothing of the work is there without its record, and a request that has ended has led to the node
    /// image, or it would never get there.
    pub fn check_request(&self, system: &System, step: Step) -> Result<()> {
        ensure_recorded(self.once, of_request(&system.root)?, step)
    }

    /// How far a disk is on which `default` boots.
    pub fn step(&self, system: &System, default: &Path) -> Result<Step> {
        let node = &self.node.commit;
        let deploy = system.root.join(default.parent().context("a deployment without a directory")?);
        let boot = system.root.join("boot");
        let object = format!("ostree/repo/objects/{}/{}.commit", &node[..2], &node[2..]);
        let there = |path: &Path| path.symlink_metadata().is_ok();
        let link = system.follow(&system.root.join(&self.link));
        let machine_id = deploy.join(format!("{node}.0/etc/machine-id"));
        let steps = [
            (Step::RealRoot, self.is_node(default)? && machine_id.metadata().is_ok_and(|stat| stat.len() > 1)),
            (Step::Swapped, link.is_ok_and(|path| commit_of(&path).is_ok_and(|commit| commit == *node))),
            (Step::LoaderLink, self.is_node(default)?),
            (Step::Entry, count(&boot, |name| name.starts_with("loader."))? > 1 && self.new_entry(&boot)?),
            (Step::Kernel, count(&boot.join("ostree"), |_| true)? > 1),
            (Step::Origin, there(&deploy.join(format!("{node}.0.origin")))),
            (Step::Deployment, there(&deploy.join(format!("{node}.0")))),
            (Step::ImageRef, there(&system.repo().join("refs/heads/ostree/container/image"))),
            (Step::MergeCommit, there(&system.root.join(object))),
            (Step::Layers, there(&system.repo().join("refs/heads/ostree/container/blob"))),
            (Step::Staged, staged(&system.repo())?),
        ];
        Ok(steps.iter().find(|(_, reached)| *reached).map_or(Step::Untouched, |(step, _)| *step))
    }

    /// Whether there is an entry for the node image, in whichever directory.
    fn new_entry(&self, boot: &Path) -> Result<bool> {
        for directory in ["loader.0", "loader.1"] {
            let entries = boot.join(directory).join("entries");
            if entries.is_dir() && count(&entries, |name| name == "ostree-2.conf")? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What the disk says of the one request that it had with `when=once`.
struct OfRequest {
    boots: u64,
    ended: bool,
}

fn ensure_recorded(once: bool, request: Option<OfRequest>, step: Step) -> Result<()> {
    let Some(OfRequest { boots, ended }) = request else {
        ensure!(!once || step == Step::Untouched, "after {step:?} there is no record of the request");
        return Ok(());
    };
    ensure!(once, "there is a record of a request that does not count once");
    ensure!(boots == 1, "the request has begun {boots} times");
    ensure!(!ended || step >= Step::LoaderLink, "after {step:?} the request has ended");
    Ok(())
}

fn of_request(root: &Path) -> Result<Option<OfRequest>> {
    let path = root.join("ostree/slipstream-once");
    let reading = || format!("reading {}", path.display());
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let value: Value = serde_json::from_slice(&text).with_context(reading)?;
    let requests = value["requests"].as_array().context("no requests").with_context(reading)?;
    let [request] = requests.as_slice() else { bail!("{} has {} requests", path.display(), requests.len()) };
    let boots = request["boots"].as_u64().context("no number of boots").with_context(reading)?;
    let ended = request["ended"].as_bool().context("no word on its end").with_context(reading)?;
    Ok(Some(OfRequest { boots, ended }))
}

fn count(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry.with_context(|| format!("listing {}", dir.display()))?;
        found += usize::from(wanted(&entry.file_name().to_string_lossy()));
    }
    Ok(found)
}

fn staged(repo: &Path) -> Result<bool> {
    Ok(count(&repo.join("tmp"), |name| name.starts_with("slipstream-"))? > 0)
}

fn refs(repo: &Path) -> Result<String> {
    let mut command = cmd::words("ostree", ["refs", "--revision", "--repo"]);
    let listing = cmd::stdout(command.arg(repo))?;
    let mut lines: Vec<_> = listing.lines().collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

fn origin(deployment: &Path) -> Result<String> {
    let mut path = deployment.as_os_str().to_owned();
    path.push(".origin");
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// A deployment's name is its commit and a serial.
fn commit_of(deployment: &Path) -> Result<String> {
    let name = deployment.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.split_once('.') {
        Some((commit, _)) if commit.len() == 64 => Ok(commit.to_owned()),
        _ => bail!("{} is no deployment", deployment.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_counts_once_is_recorded_before_its_work() {
        let begun = || Some(OfRequest { boots: 1, ended: false });
        let ended = || Some(OfRequest { boots: 1, ended: true });
        for (label, once, request, step, expected) in [
            ("not yet", true, None, Step::Untouched, true),
            ("too late", true, None, Step::Staged, false),
            ("begun", true, begun(), Step::Untouched, true),
            ("cut after the swap", true, begun(), Step::RealRoot, true),
            ("ended too early", true, ended(), Step::Entry, false),
            ("ended", true, ended(), Step::Swapped, true),
            ("begun twice", true, Some(OfRequest { boots: 2, ended: false }), Step::Staged, false),
            ("a first boot", false, None, Step::RealRoot, true),
            ("a record of a first boot", false, begun(), Step::Staged, false),
        ] {
            assert_eq!(ensure_recorded(once, request, step).is_ok(), expected, "{label}");
        }
    }
}
