// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the disk would boot: its BLS entries, read without mounting the boot partition.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cmd;
use super::places::Lab;

/// Where disk.sh puts the boot partition.
pub const BOOT_OFFSET: u64 = 64 << 20;
/// The word that GRUB expands.
const IGNITION_FIRSTBOOT: &str = "$ignition_firstboot";

/// A Boot Loader Specification entry, <https://uapi-group.org/specifications/specs/boot_loader_specification/>.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The higher, the earlier it is tried.
    pub version: u64,
    /// The kernel's path on the boot partition.
    pub linux: String,
    /// The initramfs' path on the boot partition.
    pub initrd: String,
    /// Kernel arguments.
    pub options: String,
}

impl Entry {
    /// Parses the text of its file.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entry = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let value = value.trim().to_owned();
            match key {
                "version" => entry.version = value.parse().with_context(|| format!("parsing version {value}"))?,
                "linux" => entry.linux = value,
                "initrd" => entry.initrd = value,
                "options" => entry.options = value,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Returns the kernel's arguments, as GRUB would hand them over.
    pub fn cmdline(&self, firstboot: &str) -> String {
        self.options.replace(IGNITION_FIRSTBOOT, firstboot)
    }
}

/// The boot partition of a disk image.
pub struct BootPartition<'a> {
    lab: &'a Lab,
    disk: &'a Path,
}

impl<'a> BootPartition<'a> {
    /// Returns that of this disk.
    pub fn of(lab: &'a Lab, disk: &'a Path) -> Self {
        Self { lab, disk }
    }

    /// Returns a command that reads as a boot loader does: it looks at no bitmap and at no checksum, which may be wrong
    /// before the journal is replayed.
    fn debugfs(&self, request: &str) -> Command {
        self.lab.tool(["debugfs", "-c", "-n", "-R", request, &self.image()])
    }

    fn image(&self) -> String {
        format!("{}?offset={BOOT_OFFSET}", self.disk.display())
    }

    /// Returns all entries as text, by name.
    pub fn entries(&self) -> Result<Vec<(String, String)>> {
        let listing = cmd::stdout(&mut self.debugfs("ls -p /loader/entries")).context("listing the BLS entries")?;
        let mut entries = Vec::new();
        // "/inode/mode/uid/gid/name/size/"
        for name in listing.lines().filter_map(|line| line.split('/').nth(5)) {
            if name.ends_with(".conf") {
                let text = cmd::stdout(&mut self.debugfs(&format!("cat /loader/entries/{name}")))?;
                entries.push((name.to_owned(), text));
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Returns the entry that a boot loader would choose.
    pub fn default_entry(&self) -> Result<Entry> {
        let mut entries = Vec::new();
        for (name, text) in self.entries()? {
            entries.push(Entry::parse(&text).with_context(|| format!("parsing BLS entry {name}"))?);
        }
        entries.into_iter().max_by_key(|entry| entry.version).context("finding a BLS entry on the disk")
    }

    /// Copies a file out.
    pub fn dump(&self, path: &str, to: &Path) -> Result<PathBuf> {
        cmd::run(&mut self.debugfs(&format!("dump {path} {}", to.display())))
            .with_context(|| format!("reading {path} from the boot partition"))?;
        // debugfs reports a missing file on stderr only.
        let size = to.metadata().with_context(|| format!("reading {path} from the boot partition"))?.len();
        anyhow::ensure!(size > 0, "reading {path} from the boot partition: it is empty or not there");
        Ok(to.to_path_buf())
    }

    /// Copies a file in.
    pub fn write(&self, from: &Path, path: &str) -> Result<()> {
        let request = format!("write {} {path}", from.display());
        cmd::run(&mut self.lab.tool(["debugfs", "-w", "-R", &request, &self.image()]))
            .with_context(|| format!("writing {path} on the boot partition"))
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn an_entry_is_parsed_and_expanded() {
        let text = "title Test OS\nversion 2\noptions rw $ignition_firstboot quiet\nlinux /ostree/a/vmlinuz\n\
                    initrd /ostree/a/initramfs.img\n";
        let entry = Entry::parse(text).expect("a good entry");
        let expected = Entry {
            version: 2,
            linux: "/ostree/a/vmlinuz".to_owned(),
            initrd: "/ostree/a/initramfs.img".to_owned(),
            options: "rw $ignition_firstboot quiet".to_owned(),
        };
        assert_eq!(entry, expected);
        assert_eq!(entry.cmdline("ignition.firstboot"), "rw ignition.firstboot quiet");
        assert_eq!(entry.cmdline(""), "rw  quiet");
    }

    #[test]
    fn a_bad_version_is_an_error() {
        let error = Entry::parse("version x\n").expect_err("not a number");
        assert!(format!("{error:#}").starts_with("parsing version x"), "{error:#}");
    }
}
