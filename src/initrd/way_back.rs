// SPDX-License-Identifier: Apache-2.0 OR MIT
//! After CoreOS's boot-edit: what that has added to the node image's boot loader entry goes into the bootimage's as well.
//!
//! Where Ignition has put the root on LUKS, RAID or multipath, `rdcore rootmap` and `rdcore bind-boot` write into the newest
//! entry what it takes to find it (`root=`, `rd.luks.name=`, `rd.md.uuid=`, `boot=`). Without a swap every later deployment
//! inherits that. After one the bootimage's entry would be without it, and the way back would not boot where it is hardest to
//! reach the machine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::boot_device::boot_device;
use contract::boot_link::BootLink;
use contract::disk_file::sync_parent;
use contract::entries::{Entry, entries};
use contract::handoff::{Outcome, Status};
use contract::places::{DeploymentPath, PhysicalRoot};
use contract::report::Record;
use contract::request::kargs;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::MountFlags;

use crate::mount;

/// The attribute that is the label of a file.
const LABEL: &str = "security.selinux";
/// Longest label, in bytes.
const MAX_LABEL: usize = 4096;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct WayBack {
    /// The physical root, as ostree-prepare-root has left it.
    pub root: PhysicalRoot,
    /// The run directory, with the account.
    pub run_dir: PathBuf,
    /// The kernel command line: which device the boot partition is. `None`: it is mounted.
    pub cmdline: Option<PathBuf>,
}

impl Default for WayBack {
    fn default() -> Self {
        let root = PhysicalRoot::new("/sysroot/sysroot");
        Self { root, run_dir: contract::RUN_DIR.into(), cmdline: Some("/proc/cmdline".into()) }
    }
}

/// Brings the bootimage's entry up to date, if this boot was swapped.
pub fn keep_way_back(place: &WayBack) -> Result<()> {
    let Some(status) = Record::new(&place.run_dir).read()?.filter(|status| status.outcome() == Outcome::Swapped) else {
        return Ok(());
    };
    if let Some(path) = &place.cmdline {
        mount_boot(&place.root, path)?;
    }
    let added = edit(&place.root, &status).context("bringing the bootimage's boot loader entry up to date")?;
    if !added.is_empty() {
        log::info!("the bootimage's boot loader entry has got {} too", added.join(" "));
    }
    Ok(())
}

/// Mounts the boot partition for this process alone.
fn mount_boot(root: &PhysicalRoot, cmdline: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("creating a mount namespace")?;
    mount::make_private(Path::new("/"))?;
    let cmdline = fs::read_to_string(cmdline).with_context(|| format!("reading {}", cmdline.display()))?;
    let device = boot_device(&cmdline)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = ["ext4", "xfs"].into_iter().any(|fstype| {
        rustix::mount::mount(device.node(), root.boot(), fstype, flags, None::<&std::ffi::CStr>)
            .inspect_err(|error| log::debug!("mounting {device} as {fstype}: {error}"))
            .is_ok()
    });
    anyhow::ensure!(mounted, "mounting {device} at {} has failed", root.boot().display());
    Ok(())
}

/// Adds to the bootimage's entry what was added to the node image's since it was written. Returns that.
fn edit(root: &PhysicalRoot, status: &Status) -> Result<Vec<String>> {
    let node = status.node_image().context("the status has no node image")?;
    let bootimage = status.bootimage().context("the status has no bootimage")?;
    let known = entries(root)?;
    let find = |deployment: &str| -> Result<Option<&Entry>> {
        let wanted = DeploymentPath::parse(Path::new(deployment))?;
        let leads_there = |entry: &&Entry| {
            let link = BootLink::of_cmdline(&entry.options).and_then(|link| link.resolve(root));
            link.is_ok_and(|path| path == wanted)
        };
        Ok(known.iter().find(leads_there))
    };
    let deployment = node.deployment.as_deref().context("the status names no deployment of the node image")?;
    let newest = find(deployment)?.with_context(|| format!("{deployment} is in no boot loader entry"))?;
    // The bootimage may have been removed: then there is no way back.
    let Some(old) = find(&bootimage.deployment)? else { return Ok(Vec::new()) };
    let had = |karg: &str, list: &str| kargs::split(list).any(|there| there == karg);
    let added: Vec<String> = kargs::split(&newest.options)
        .filter(|karg| !node.kargs.iter().any(|written| written == karg))
        .filter(|karg| !karg.starts_with("ostree=") && !had(karg, &old.options))
        .map(str::to_owned)
        .collect();
    if !added.is_empty() {
        append(&root.path().join(&old.path[1..]), &added)?;
    }
    Ok(added)
}

/// Appends arguments to the options of an entry: the file is replaced as a whole, with its label.
fn append(path: &Path, added: &[String]) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    // The last line counts.
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.starts_with("options ")).context("the entry has no options")?;
    let changed = lines.iter().enumerate().fold(String::new(), |out, (n, line)| {
        let more = if n == last { format!(" {}", added.join(" ")) } else { String::new() };
        out + line + &more + "\n"
    });
    // No name of an entry's: a boot loader reads those that end in .conf.
    let temporary = path.with_extension("slipstream");
    let writing = || format!("writing {}", temporary.display());
    let mut file = File::create(&temporary).with_context(writing)?;
    file.write_all(changed.as_bytes()).with_context(writing)?;
    let mode = fs::metadata(path).with_context(writing)?.permissions();
    file.set_permissions(mode).with_context(writing)?;
    let mut label = vec![0; MAX_LABEL];
    if let Ok(length) = rustix::fs::getxattr(path, LABEL, &mut label) {
        rustix::fs::fsetxattr(&file, LABEL, &label[..length], rustix::fs::XattrFlags::empty()).with_context(writing)?;
    }
    file.sync_all().with_context(writing)?;
    fs::rename(&temporary, path).with_context(|| format!("renaming to {}", path.display()))?;
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use contract::handoff::{Bootimage, Ending, Facts, NodeImage, Way};

    use super::*;

    const LUKS: &str = "rd.luks.name=1234=root root=UUID=9 rw rootflags=prjquota boot=UUID=7";

    /// A disk after a swap; the node image's entry has `added` behind what was written.
    fn disk(added: &str) -> (tempfile::TempDir, WayBack) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("boot/loader.1/entries")).unwrap();
        symlink("loader.1", at("boot/loader")).unwrap();
        for (name, serial) in [("a.0", 1), ("b.0", 0)] {
            fs::create_dir_all(at("ostree/deploy/os/deploy").join(name)).unwrap();
            fs::create_dir_all(at("ostree/boot.1.1/os/c")).unwrap();
            symlink(format!("../../../deploy/os/deploy/{name}"), at(&format!("ostree/boot.1.1/os/c/{serial}")))
                .unwrap();
        }
        symlink("boot.1.1", at("ostree/boot.1")).unwrap();
        let entry = |version: u64, options: &str| {
            let text = format!("title Test\nversion {version}\noptions {options}\nlinux /vmlinuz\n");
            fs::write(at(&format!("boot/loader.1/entries/ostree-{version}.conf")), text).unwrap();
        };
        entry(1, "quiet $ignition_firstboot ostree=/ostree/boot.1/os/c/1");
        entry(2, &format!("quiet $ignition_firstboot psi=1 ostree=/ostree/boot.1/os/c/0 {added}"));
        let facts = Facts {
            bootimage: Some(Bootimage { deployment: "ostree/deploy/os/deploy/a.0".to_owned(), ..Bootimage::default() }),
            node_image: Some(NodeImage {
                deployment: Some("ostree/deploy/os/deploy/b.0".to_owned()),
                kargs: ["quiet", "$ignition_firstboot", "psi=1"].map(str::to_owned).to_vec(),
                ..NodeImage::default()
            }),
            ..Facts::default()
        };
        fs::create_dir(at("run")).unwrap();
        Record::new(&at("run")).write(&Status::new(facts, Ending::Swapped(Way::BootLink))).unwrap();
        let place = WayBack { root: PhysicalRoot::new(directory.path()), run_dir: at("run"), cmdline: None };
        (directory, place)
    }

    fn options(directory: &tempfile::TempDir, version: u64) -> String {
        let path = directory.path().join(format!("boot/loader/entries/ostree-{version}.conf"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with("linux /vmlinuz\n") && text.starts_with("title Test\n"), "{text}");
        text.lines().find_map(|line| line.strip_prefix("options ")).unwrap().to_owned()
    }

    #[test]
    fn the_bootimage_gets_what_boot_edit_has_added() {
        let (directory, place) = disk(LUKS);
        let before = options(&directory, 2);
        for _ in 0..2 {
            keep_way_back(&place).unwrap();
            // What is the node image's own, psi=1, stays its own.
            assert_eq!(
                options(&directory, 1),
                format!("quiet $ignition_firstboot ostree=/ostree/boot.1/os/c/1 {LUKS}")
            );
        }
        assert_eq!(options(&directory, 2), before);
        assert_eq!(fs::read_dir(directory.path().join("boot/loader/entries")).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_written_for_nothing() {
        let (directory, place) = disk("");
        let path = directory.path().join("boot/loader.1/entries/ostree-1.conf");
        let id = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let before = id(&path);
        keep_way_back(&place).unwrap();
        assert_eq!(id(&path), before);
        fs::remove_file(directory.path().join("run/status.json")).unwrap();
        keep_way_back(&place).unwrap();
        let (directory, place) = disk(LUKS);
        fs::remove_file(directory.path().join("boot/loader/entries/ostree-1.conf")).unwrap();
        keep_way_back(&place).unwrap();
    }
}
