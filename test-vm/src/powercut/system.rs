// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be booted from a mounted disk: each boot loader entry with its kernel, initramfs and deployment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::pool::Mount;
use crate::lab::bls::{BOOT_OFFSET, Entry};

/// Offset and size of the partitions, as disk.sh makes them.
const BOOT: (u64, u64) = (BOOT_OFFSET, 384 << 20);
const ROOT: (u64, u64) = (448 << 20, (6 * 1024 - 448 - 1) << 20);

/// The mounted disk.
pub struct System {
    /// The physical root, with the boot partition at `boot`.
    pub root: PathBuf,
    mounts: Vec<Mount>,
}

/// A boot loader entry and what it names.
#[derive(Debug)]
pub struct Bootable {
    /// The entry.
    pub entry: Entry,
    /// sha256 of the kernel and of the initramfs.
    pub sums: [String; 2],
}

impl System {
    /// Mount the disk below `at`, which replays the journals.
    pub fn mount(disk: &Path, fstype: &str, at: &Path) -> Result<Self> {
        let root = at.join("root");
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        // Other copies of the same file system are mounted as well.
        let options = if fstype == "xfs" { ",nouuid" } else { "" };
        let mut mounts = vec![Mount::new(disk, ROOT, fstype, options, &root).context("mounting the root")?];
        mounts.push(Mount::new(disk, BOOT, "ext4", "", &root.join("boot")).context("mounting the boot partition")?);
        Ok(Self { root, mounts })
    }

    /// Unmount it.
    pub fn end(mut self) -> Result<()> {
        while let Some(mount) = self.mounts.pop() {
            mount.end()?;
        }
        Ok(())
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.root.join("ostree/repo")
    }

    /// What the boot loader entries name, the default first.
    pub fn bootable(&self) -> Result<Vec<Bootable>> {
        bootable(&self.root.join("boot"))
    }

    /// The kernel arguments of the default.
    pub fn default_options(&self) -> Result<String> {
        let entry = entries(&self.root.join("boot"))?.into_iter().next().context("no boot loader entry")?;
        Ok(entry.options)
    }

    /// The deployment that an entry names, relative to the root.
    pub fn deployment(&self, entry: &Entry) -> Result<PathBuf> {
        let karg = entry.options.split_whitespace().find_map(|karg| karg.strip_prefix("ostree=/"));
        let link = self.root.join(karg.with_context(|| format!("finding ostree= in {}", entry.options))?);
        self.follow(&link)
    }

    /// Where a boot link leads, relative to the root.
    pub fn follow(&self, link: &Path) -> Result<PathBuf> {
        let real = fs::canonicalize(link).with_context(|| format!("resolving {}", link.display()))?;
        let root = fs::canonicalize(&self.root).context("resolving the root")?;
        Ok(real.strip_prefix(root).context("a boot link leads out of the root")?.to_path_buf())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // The last first.
        while self.mounts.pop().is_some() {}
    }
}

/// What a boot loader can boot: it reads the boot partition without replaying its journal.
pub fn seen_by_loader(disk: &Path, at: &Path) -> Result<Vec<Bootable>> {
    let boot = at.join("loader");
    fs::create_dir_all(&boot).with_context(|| format!("creating {}", boot.display()))?;
    let mount = Mount::new(disk, BOOT, "ext4", ",ro,noload", &boot).context("mounting without the journal")?;
    let found = bootable(&boot)?;
    mount.end()?;
    Ok(found)
}

fn bootable(boot: &Path) -> Result<Vec<Bootable>> {
    let sum = |path: &str| sha256(&boot.join(path.trim_start_matches('/')));
    let of_entry = |entry: Entry| Ok(Bootable { sums: [sum(&entry.linux)?, sum(&entry.initrd)?], entry });
    entries(boot)?.into_iter().map(of_entry).collect()
}

/// The boot loader entries, the default first.
fn entries(boot: &Path) -> Result<Vec<Entry>> {
    let dir = boot.join("loader/entries");
    let mut found = Vec::new();
    for file in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = file.with_context(|| format!("listing {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            found.push(Entry::parse(&text).with_context(|| format!("parsing {}", path.display()))?);
        }
    }
    ensure!(!found.is_empty(), "listing {}: there is no entry", dir.display());
    found.sort_by_key(|entry| std::cmp::Reverse(entry.version));
    Ok(found)
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
