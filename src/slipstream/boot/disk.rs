// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk, writable for as long as it takes, and what is removed from it when a request comes to nothing.
//!
//! Tested by `src/slipstream/tests/boot/others.rs`, `src/slipstream/tests/boot/failpoints.rs`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::names::{Digest, ImageReference};
use contract::places::{PhysicalRoot, Writable};
use ostree::{Deployment, Repo, Sysroot};
use repo::config::RepoConfig;
use repo::store::Store;

use crate::deploy;
use crate::import::{Purpose, Session, collect_layers, forget_images, has_marked_refs};
use crate::label_disk::{Labeller, labelled_or_warn};
use crate::machine::Machine;
use crate::origin::is_of_image;
use crate::way;

/// Longest time for cleaning up, when the deadline may be over.
const CLEAN_UP_TIME: Duration = Duration::from_secs(2);

/// Cleans up after a request that came to nothing, unless it came so late that the node image is in the boot loader entries.
/// With `keep_layers`, the next try continues with what this one has brought. A disk that was not opened is, if earlier runs have
/// left something on it.
pub fn give_up(disk: Option<Disk>, machine: &Machine, run_dir: &Path, image: &ImageReference, keep_layers: bool) {
    let opened = disk.map_or_else(|| open_leftovers(machine, keep_layers), |disk| Ok(Some(disk)));
    match opened {
        Ok(Some(disk)) => disk.give_up(machine, run_dir, image, keep_layers),
        Ok(None) => {}
        Err(error) => log::warn!("cleaning up: {error:#}"),
    }
}

fn open_leftovers(machine: &Machine, keep_layers: bool) -> Result<Option<Disk>> {
    if keep_layers || !has_leftovers(machine)? {
        return Ok(None);
    }
    Disk::open(machine, Instant::now() + CLEAN_UP_TIME).map(Some)
}

/// Returns whether there may be something that a run which was cut, or the try before this one, has left.
fn has_leftovers(machine: &Machine) -> Result<bool> {
    let known: Vec<_> = machine.deployments.iter().map(|(path, _)| machine.root.at(path)).collect();
    if deploy::deployment_directories(&machine.root)?.iter().any(|path| !known.contains(path)) {
        return Ok(true);
    }
    has_marked_refs(&machine.root.repo())
}

/// The disk of a machine, locked and writable.
#[derive(Debug)]
pub struct Disk {
    /// libostree's view of it, locked.
    pub sysroot: Sysroot,
    /// Its repository.
    pub repo: Repo,
    /// Where it is.
    pub root: PhysicalRoot,
    // Dropped last: libostree must have let go of the files.
    _writable: Writable,
}

impl Disk {
    /// Makes the disk of a machine writable, and waits for its lock until `deadline` at most.
    pub fn open(machine: &Machine, deadline: Instant) -> Result<Self> {
        let writable = machine.root.writable()?;
        machine.boot_partition.make_writable()?;
        let sysroot = Sysroot::open(machine.root.path(), deadline)?;
        let repo = sysroot.repo()?;
        Ok(Self { sysroot, repo, root: machine.root.clone(), _writable: writable })
    }

    /// Returns the deployment that this boot runs.
    pub fn bootimage(&self, machine: &Machine) -> Result<Deployment> {
        let booted = &machine.booted.deployment;
        let found = self.sysroot.deployments()?.into_iter().find(|deployment| deployment.path == *booted);
        found.with_context(|| format!("{booted} is in no boot loader entry"))
    }

    /// Opens the repository to look at what is in it, without libostree.
    pub fn store(&self) -> Result<Store> {
        let repo = self.root.repo();
        Store::open_to_read(&repo, RepoConfig::read(&repo)?.mode)
    }

    /// Opens the repository for an import.
    pub fn session(&self, deadline: Instant) -> Result<Session<'_>> {
        Session::open(&self.repo, &self.root.repo(), Purpose::Boot, deadline)
    }

    fn give_up(&self, machine: &Machine, run_dir: &Path, image: &ImageReference, keep_layers: bool) {
        let deployed = self.sysroot.load().and_then(|()| self.sysroot.deployments());
        match deployed {
            Ok(deployments) if deployments.iter().any(|there| is_of(there, image)) => {
                log::warn!("the node image is deployed and will boot next");
            }
            Ok(_) => {
                self.remove_unfinished(machine, run_dir);
                if !keep_layers {
                    self.forget_layers();
                }
                // The bootimage boots, with the policy that it has.
                let labeller = Labeller::new(Path::new("/"));
                labelled_or_warn("boot", labeller.boot(&self.root));
                labelled_or_warn("ostree", labeller.ostree(&self.root));
            }
            Err(error) => log::warn!("reading the boot loader entries: {error:#}"),
        }
    }

    /// Removes partial deployments, which do no harm but take up space. The boot links that no entry names go as well: so
    /// nothing is removed if that of this boot is among them.
    pub fn remove_unfinished(&self, machine: &Machine, run_dir: &Path) {
        let removed = match way::is_current(&machine.booted.link, &self.root) {
            Ok(true) => deploy::remove_unfinished(&self.sysroot, &self.root, run_dir),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            log::warn!("cleaning up: {error:#}");
        }
    }

    /// Removes the refs of an unfinished import. A failure here must not mask the error of the run.
    fn forget_layers(&self) {
        let session = self.session(Instant::now() + CLEAN_UP_TIME);
        if let Err(error) = session.and_then(|session| self.collect(&session, None)) {
            log::warn!("cleaning up: {error:#}");
        }
    }

    /// Removes slipstream's refs that no image needs; those of `keep` stay.
    pub fn collect(&self, session: &Session<'_>, keep: Option<&ImageReference>) -> Result<()> {
        let deployed: Vec<Digest> = self.sysroot.deployments()?.iter().map(|deployment| deployment.commit).collect();
        forget_images(session, keep, &deployed)?;
        let removed = collect_layers(session)?;
        log::debug!("removed {removed} refs of layers");
        Ok(())
    }
}

fn is_of(deployment: &Deployment, image: &ImageReference) -> bool {
    deployment.image.as_deref().is_some_and(|origin| is_of_image(origin, image))
}
