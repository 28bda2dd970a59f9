// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels for the files that no commit labels.
//!
//! No policy is loaded in the initramfs, so the kernel gives a new file no label, and under the node image's policy it
//! would be `unlabeled_t`. On a running system it has the label of its directory, or what a tool has chosen by the
//! policy; this module makes up for that: in the new deployment's `/etc`, where libostree's merge writes; on the boot
//! partition; and in what libostree keeps on the physical root. A file that has a label keeps it.
//!
//! Tested by `src/slipstream/tests/label/`.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use contract::places::PhysicalRoot;
use ostree::SePolicy;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;

use crate::boot_partition::labels;

/// Where the kernel keeps a label.
const XATTR: &str = "security.selinux";
/// The longest label: the kernel's own limit is a page (`selinux_transaction_write` and its like).
const MAX_LABEL: usize = 4096;
/// What of the repository we and libostree write to.
const OF_REPOSITORY: [&str; 4] = ["objects", "refs", "tmp", ".lock"];
/// What an overlay has in its upper directory, `deploy/STATEROOT/backing/DEPLOYMENT/root-transient/upper`, is below this.
const BACKING_DEPTH: usize = 6;
/// The image that libostree makes of a deployment that is mounted with composefs.
const COMPOSEFS: &str = ".ostree.cfs";

/// Gives labels by the policy of one deployment.
#[derive(Debug)]
pub struct Labeller {
    /// Its root.
    deployment: PathBuf,
    /// Loading it takes a while, and mostly a directory's label is all that is needed.
    policy: OnceCell<Option<SePolicy>>,
}

/// A directory to look into.
struct Visited {
    path: PathBuf,
    /// Its name for the policy.
    name: String,
    label: Option<Vec<u8>>,
}

/// Where the label of an unlabelled file is taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Policy,
    /// As the kernel does it for a file that is made when a policy is loaded.
    Directory,
}

impl Labeller {
    /// By the policy of the deployment with this root.
    pub fn new(deployment: &Path) -> Self {
        Self { deployment: deployment.to_owned(), policy: OnceCell::new() }
    }

    /// Label the deployment's `/etc`. Returns how many files had no label.
    pub fn etc(&self) -> Result<usize> {
        self.tree(&self.deployment.join("etc"), "/etc", Rule::Policy, &|_| true)
    }

    /// Label what libostree has written on the boot partition: kernels and boot loader entries.
    pub fn boot(&self, root: &PhysicalRoot) -> Result<usize> {
        self.tree(&root.boot(), "/boot", Rule::Directory, &labels::is_libostrees)
    }

    /// Label what an import and a deployment have written on the physical root: origins, refs, metadata. It looks at all
    /// metadata of the repository.
    pub fn ostree(&self, root: &PhysicalRoot) -> Result<usize> {
        self.tree(&root.ostree(), "/ostree", Rule::Directory, &|path| is_of_deployments(path) || is_of_repository(path))
    }

    /// Label the boot links.
    pub fn links(&self, root: &PhysicalRoot) -> Result<usize> {
        self.tree(&root.ostree(), "/ostree", Rule::Directory, &is_of_links)
    }

    fn policy(&self) -> Result<Option<&SePolicy>> {
        if self.policy.get().is_none() {
            let root = &self.deployment;
            let loaded =
                SePolicy::at(root).with_context(|| format!("loading the SELinux policy of {}", root.display()))?;
            return Ok(self.policy.get_or_init(|| loaded).as_ref());
        }
        Ok(self.policy.get().and_then(Option::as_ref))
    }

    /// Label `top` and what is below it on the same file system, as far as it is `wanted`: asked with a path relative
    /// to `top`.
    fn tree(&self, top: &Path, name: &str, rule: Rule, wanted: &dyn Fn(&Path) -> bool) -> Result<usize> {
        let device = top.symlink_metadata().with_context(|| format!("reading {}", top.display()))?.dev();
        let mut count = 0;
        let first = Visited { path: top.to_owned(), name: name.to_owned(), label: None };
        let mut waiting = vec![self.visit(first, rule, &mut count)?];
        while let Some(place) = waiting.pop() {
            let reading = || format!("reading {}", place.path.display());
            for entry in fs::read_dir(&place.path).with_context(reading)? {
                let entry = entry.with_context(reading)?;
                let path = entry.path();
                if !wanted(path.strip_prefix(top).unwrap_or(&path)) {
                    continue;
                }
                let name = format!("{}/{}", place.name, entry.file_name().to_string_lossy());
                let is_dir = entry.file_type().with_context(reading)?.is_dir();
                let inside = is_dir && entry.metadata().with_context(reading)?.dev() == device;
                let found = self.visit(Visited { path, name, label: place.label.clone() }, rule, &mut count)?;
                waiting.extend(inside.then_some(found));
            }
        }
        Ok(count)
    }

    /// Label one file. `place` comes with the label of its directory, and goes with its own.
    fn visit(&self, mut place: Visited, rule: Rule, count: &mut usize) -> Result<Visited> {
        place.label = match label_of(&place.path)? {
            Some(label) => Some(label),
            None => {
                let given = self.give(&place, rule).with_context(|| format!("labelling {}", place.path.display()))?;
                *count += usize::from(given.is_some());
                given
            }
        };
        Ok(place)
    }

    /// The label that a file has been given.
    fn give(&self, place: &Visited, rule: Rule) -> Result<Option<Vec<u8>>> {
        let metadata = place.path.symlink_metadata()?;
        // Maybe an object of the repository: its attributes are in its checksum.
        if !metadata.is_dir() && metadata.nlink() > 1 {
            return Ok(None);
        }
        let label = match (&place.label, rule) {
            (Some(label), Rule::Directory) => Some(label.clone()),
            (of_directory, _) => self.by_policy(place, metadata.mode())?.or_else(|| of_directory.clone()),
        };
        let Some(label) = label else { return Ok(None) };
        match lsetxattr(&place.path, XATTR, &label, XattrFlags::CREATE) {
            Ok(()) => Ok(Some(label)),
            // A file system without attributes has its label from its mount. A deployment's root is immutable.
            Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn by_policy(&self, place: &Visited, mode: u32) -> Result<Option<Vec<u8>>> {
        let Some(policy) = self.policy()? else { return Ok(None) };
        let label = policy.label(&place.name, mode)?;
        // On disk the value ends with a NUL.
        Ok(label.map(|label| [label.as_bytes(), &[0]].concat()))
    }
}

/// Logs the result of labelling. A failure is only a warning: the deployment is bootable either way.
pub fn labelled_or_warn(place: &str, result: Result<usize>) {
    match result {
        Ok(labelled) => log::debug!("labelled {labelled} files in /{place}"),
        Err(error) => log::warn!("{error:#}"),
    }
}

/// Whether a path below `/ostree` is a deployment, its origin, a directory above, or one of those that libostree makes for
/// overlays: what is in a deployment is labelled by its commit, and `/var` is the machine's.
fn is_of_deployments(path: &Path) -> bool {
    let names: Vec<_> = path.components().map(Component::as_os_str).collect();
    let is = |n: usize, name: &str| names.get(n).is_some_and(|found| *found == name);
    let deployment = is(2, "deploy") && (names.len() <= 4 || names.len() == 5 && is(4, COMPOSEFS));
    let backing = is(2, "backing") && names.len() <= BACKING_DEPTH;
    is(0, "deploy") && (names.len() <= 2 || deployment || backing)
}

/// Whether a path below `/ostree` is of the repository, and no content object: those have their attributes from their
/// commit. Other programs have stores of their own beside the repository and in it.
fn is_of_repository(path: &Path) -> bool {
    let mut names = path.components().map(Component::as_os_str);
    if names.next().is_none_or(|name| name != "repo") {
        return false;
    }
    let Some(place) = names.next() else { return true };
    let content = place == "objects" && path.extension().is_some_and(|kind| kind == "file");
    OF_REPOSITORY.iter().any(|name| place == *name) && !content
}

/// Whether a path below `/ostree` is a boot link, or leads to one.
fn is_of_links(path: &Path) -> bool {
    path.components().next().is_some_and(|top| top.as_os_str().to_string_lossy().starts_with("boot."))
}

/// The label that is on the disk. A file system that has none is not told from a file that has none.
fn label_of(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut value = [0; MAX_LABEL];
    match lgetxattr(path, XATTR, &mut value[..]) {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading the SELinux label of {}", path.display())),
    }
}
