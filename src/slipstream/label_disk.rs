// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels for the files that no commit labels.
//!
//! No policy is loaded in the initramfs, so the kernel gives a new file no label, and under the node image's policy it
//! would be `unlabeled_t`. On a running system it has the label of its directory, or what a tool has chosen by the
//! policy; this module makes up for that: in the new deployment's `/etc`, where libostree's merge writes; on the boot
//! partition; and in what libostree keeps on the physical root. A file that has a label keeps it.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use ostree::SePolicy;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;

/// Where the kernel keeps a label.
const XATTR: &str = "security.selinux";
/// The longest label: the kernel's own limit is a page (`selinux_transaction_write` and its like).
const MAX_LABEL: usize = 4096;
/// What of the boot partition is libostree's: `loader`, the directories it leads to, and the kernels.
const OF_BOOT: [&str; 2] = ["loader", "ostree"];

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
struct Place {
    path: PathBuf,
    /// Its name for the policy.
    name: String,
    label: Option<Vec<u8>>,
}

/// Whose label a file without one gets first.
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
    pub fn boot(&self, physical_root: &Path) -> Result<usize> {
        self.tree(&physical_root.join("boot"), "/boot", Rule::Directory, &is_of_boot)
    }

    /// Label what an import and a deployment have written on the physical root: origins, refs, metadata. It looks at all
    /// metadata of the repository.
    pub fn ostree(&self, physical_root: &Path) -> Result<usize> {
        self.tree(&physical_root.join("ostree"), "/ostree", Rule::Directory, &|path| {
            is_of_deployments(path) || is_of_repository(path)
        })
    }

    /// Label the boot links.
    pub fn links(&self, physical_root: &Path) -> Result<usize> {
        self.tree(&physical_root.join("ostree"), "/ostree", Rule::Directory, &is_of_links)
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
        let first = Place { path: top.to_owned(), name: name.to_owned(), label: None };
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
                let found = self.visit(Place { path, name, label: place.label.clone() }, rule, &mut count)?;
                waiting.extend(inside.then_some(found));
            }
        }
        Ok(count)
    }

    /// Label one file. `place` comes with the label of its directory, and goes with its own.
    fn visit(&self, mut place: Place, rule: Rule, count: &mut usize) -> Result<Place> {
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
    fn give(&self, place: &Place, rule: Rule) -> Result<Option<Vec<u8>>> {
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

    fn by_policy(&self, place: &Place, mode: u32) -> Result<Option<Vec<u8>>> {
        let Some(policy) = self.policy()? else { return Ok(None) };
        let label = policy.label(&place.name, mode)?;
        // On disk the value ends with a NUL.
        Ok(label.map(|label| [label.as_bytes(), &[0]].concat()))
    }
}

/// Say what labelling has come to. The deployment is bootable, whatever that was.
pub fn labelled_or_warn(place: &str, result: Result<usize>) {
    match result {
        Ok(labelled) => log::debug!("labelled {labelled} files in /{place}"),
        Err(error) => log::warn!("{error:#}"),
    }
}

/// Whether a path below `/boot` is libostree's.
fn is_of_boot(path: &Path) -> bool {
    let Some(top) = path.components().next() else { return false };
    let top = top.as_os_str().to_string_lossy();
    OF_BOOT.iter().any(|name| top == *name) || top.starts_with("loader.")
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const POLICY: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/etc/selinux(/.*)?\tsystem_u:object_r:selinux_config_t:s0
/boot(/.*)?\tsystem_u:object_r:boot_t:s0
/ostree(/.*)?\tsystem_u:object_r:usr_t:s0
";

    /// A physical root with one deployment, which has a policy.
    fn root() -> Option<(tempfile::TempDir, PathBuf)> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: labels: setting them needs root");
            return None;
        }
        // Not /tmp: a tmpfs may have no such attributes.
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let deployment = root.path().join("ostree/deploy/os/deploy/a.0");
        let at = |path: &str| root.path().join(path);
        for directory in [
            "boot/loader.1/entries",
            "boot/grub2",
            "boot/ostree/os-a",
            "ostree/repo/objects/00",
            "ostree/repo/extensions/theirs",
            "ostree/bootc/storage",
            "ostree/boot.1.1/os/a",
            "ostree/deploy/os/backing/a.0/root-transient/upper/etc",
            "ostree/deploy/os/var/lib",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        let contexts = deployment.join("etc/selinux/test/contexts/files");
        fs::create_dir_all(&contexts).unwrap();
        fs::create_dir_all(deployment.join("usr")).unwrap();
        fs::write(deployment.join("etc/selinux/config"), "SELINUX=enforcing\nSELINUXTYPE=test\n").unwrap();
        fs::write(contexts.join("file_contexts"), POLICY).unwrap();
        // libostree wants to know the checksum of the loaded form.
        fs::create_dir_all(deployment.join("etc/selinux/test/policy")).unwrap();
        fs::write(deployment.join("etc/selinux/test/policy/policy.33"), "").unwrap();
        for file in [
            "boot/loader.1/entries/a.conf",
            "boot/ostree/os-a/vmlinuz",
            "ostree/deploy/os/deploy/a.0.origin",
            "ostree/repo/objects/00/a.dirtree",
            "ostree/repo/objects/00/a.file",
            "ostree/repo/extensions/theirs/x",
            "ostree/bootc/storage/x",
            "ostree/deploy/os/var/lib/x",
        ] {
            fs::write(at(file), "").unwrap();
        }
        symlink("loader.1", at("boot/loader")).unwrap();
        symlink("boot.1.1", at("ostree/boot.1")).unwrap();
        symlink("../../../deploy/os/deploy/a.0", at("ostree/boot.1.1/os/a/0")).unwrap();
        Some((root, deployment))
    }

    fn set(path: &Path, label: &str) {
        lsetxattr(path, XATTR, &[label.as_bytes(), &[0]].concat(), XattrFlags::empty()).unwrap();
    }

    fn read(path: &Path) -> Option<String> {
        let label = label_of(path).unwrap()?;
        Some(String::from_utf8(label).unwrap().trim_end_matches('\0').to_owned())
    }

    #[test]
    fn only_what_has_no_label_gets_one() {
        let Some((root, deployment)) = root() else { return };
        let at = |path: &str| root.path().join(path);
        set(&at("boot"), "system_u:object_r:boot_t:s0");
        // As the image builder wants it, and nothing that the policy would say.
        set(&at("ostree"), "system_u:object_r:root_t:s0");
        set(&at("ostree/repo"), "system_u:object_r:usr_t:s0");
        set(&deployment.join("etc"), "system_u:object_r:odd_t:s0");
        fs::hard_link(at("ostree/repo/objects/00/a.file"), at("boot/ostree/os-a/initrd")).unwrap();

        let labeller = Labeller::new(&deployment);
        assert_eq!((labeller.boot(root.path()).unwrap(), labeller.ostree(root.path()).unwrap()), (7, 12));
        assert_eq!(labeller.links(root.path()).unwrap(), 5);
        assert!(labeller.policy.get().is_none(), "the policy is not needed where directories have labels");
        assert_eq!(labeller.etc().unwrap(), 8);
        let (boot, usr, root_t) =
            ("system_u:object_r:boot_t:s0", "system_u:object_r:usr_t:s0", "system_u:object_r:root_t:s0");
        let a = "ostree/deploy/os/deploy/a.0";
        for (path, label) in [
            ("boot/loader", Some(boot)),
            ("boot/loader.1/entries/a.conf", Some(boot)),
            ("boot/ostree/os-a/vmlinuz", Some(boot)),
            ("boot/ostree/os-a/initrd", None),
            ("boot/grub2", None),
            ("ostree/deploy/os/deploy", Some(root_t)),
            ("ostree/deploy/os/deploy/a.0.origin", Some(root_t)),
            ("ostree/boot.1", Some(root_t)),
            ("ostree/boot.1.1/os/a/0", Some(root_t)),
            ("ostree/bootc", None),
            ("ostree/bootc/storage/x", None),
            ("ostree/repo/extensions", None),
            ("ostree/repo/extensions/theirs/x", None),
            ("ostree/deploy/os/backing/a.0/root-transient/upper", Some(root_t)),
            ("ostree/deploy/os/backing/a.0/root-transient/upper/etc", None),
            ("ostree/deploy/os/var", None),
            ("ostree/deploy/os/var/lib/x", None),
            ("ostree/repo/objects/00", Some(usr)),
            ("ostree/repo/objects/00/a.dirtree", Some(usr)),
            ("ostree/repo/objects/00/a.file", None),
            (a, Some(root_t)),
            (&format!("{a}/usr"), None),
            (&format!("{a}/etc"), Some("system_u:object_r:odd_t:s0")),
            (&format!("{a}/etc/selinux/config"), Some("system_u:object_r:selinux_config_t:s0")),
        ] {
            assert_eq!(read(&at(path)).as_deref(), label, "{path}");
        }
        let again =
            (labeller.boot(root.path()).unwrap(), labeller.ostree(root.path()).unwrap(), labeller.etc().unwrap());
        assert_eq!(again, (0, 0, 0), "a second time");
    }

    #[test]
    fn without_any_label_the_policy_decides() {
        let Some((root, deployment)) = root() else { return };
        Labeller::new(&deployment).boot(root.path()).unwrap();
        let entry = root.path().join("boot/loader.1/entries/a.conf");
        assert_eq!(read(&entry).as_deref(), Some("system_u:object_r:boot_t:s0"));
    }

    #[test]
    fn without_a_policy_nothing_is_labelled() {
        let Some((root, deployment)) = root() else { return };
        fs::remove_dir_all(deployment.join("etc/selinux")).unwrap();
        let labeller = Labeller::new(&deployment);
        let found =
            (labeller.boot(root.path()).unwrap(), labeller.ostree(root.path()).unwrap(), labeller.etc().unwrap());
        assert_eq!(found, (0, 0, 0));
    }
}
