// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file system to import to. ext4 and xfs lie in a file on the disk, tmpfs in memory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::tools::Tools;
use crate::lab::cmd;

/// Room for the image twice, and for the file of 4 GiB.
const SIZE: u64 = 7 << 30;

/// Its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    Ext4,
    Xfs,
    Tmpfs,
}

impl Filesystem {
    /// By its name.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "ext4" => Self::Ext4,
            "xfs" => Self::Xfs,
            "tmpfs" => Self::Tmpfs,
            _ => bail!("there is no file system {name:?} here: ext4, xfs, tmpfs"),
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// A mounted file system.
pub struct Place {
    /// Where.
    pub dir: PathBuf,
    image: Option<PathBuf>,
}

impl Place {
    /// Make and mount one.
    pub fn mount(tools: &Tools<'_>, filesystem: Filesystem) -> Result<Self> {
        let name = filesystem.name();
        let dir = tools.work().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        if filesystem == Filesystem::Tmpfs {
            let options = format!("size={SIZE}");
            cmd::run(cmd::words("mount", ["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir))?;
            return Ok(Self { dir, image: None });
        }
        let image = tools.work().join(format!("{name}.img"));
        let file = fs::File::create(&image).with_context(|| format!("creating {}", image.display()))?;
        file.set_len(SIZE).with_context(|| format!("sizing {}", image.display()))?;
        // Nothing of making the file system may be left for the time of the measurements.
        let make: &[&str] = match filesystem {
            Filesystem::Ext4 => &["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            _ => &["mkfs.xfs", "-q", "-f"],
        };
        cmd::run(tools.command(&dir, make).arg(&image))?;
        cmd::run(cmd::words("mount", ["-o", "loop"]).args([&image, &dir]))?;
        Ok(Self { dir, image: Some(image) })
    }

    /// Unmount and remove it.
    pub fn close(self) -> Result<()> {
        cmd::run(&mut cmd::words("umount", [&self.dir]))?;
        if let Some(image) = &self.image {
            fs::remove_file(image).with_context(|| format!("removing {}", image.display()))?;
        }
        Ok(())
    }
}

/// Remove a directory, and let the disk come to rest.
pub fn clear(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    cmd::run(&mut cmd::words("sync", [""; 0]))
}
