// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two places that everything on a disk is named from: the physical root, and a deployment on it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, mount_remount};

/// The root of the file system that holds the ostree repository and all deployments: `/sysroot` in the initramfs before
/// ostree-prepare-root has run, `/sysroot/sysroot` after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalRoot(PathBuf);

impl PhysicalRoot {
    /// Names the physical root at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns its path in this mount namespace.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the repository.
    pub fn repo(&self) -> PathBuf {
        self.ostree().join("repo")
    }

    /// Returns the path of ostree's directory.
    pub fn ostree(&self) -> PathBuf {
        self.0.join("ostree")
    }

    /// Returns the path at which the boot partition is mounted.
    pub fn boot(&self) -> PathBuf {
        self.0.join("boot")
    }

    /// Returns the path of a deployment's root.
    pub fn at(&self, deployment: &DeploymentPath) -> PathBuf {
        self.0.join(deployment.relative())
    }

    /// Makes the physical root writable, in the mount namespace of this process, until the guard is dropped.
    pub fn writable(&self) -> Result<Writable> {
        let stat = rustix::fs::statvfs(&self.0).with_context(|| format!("reading {self}"))?;
        if !stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(Writable(None));
        }
        mount_remount(&self.0, MountFlags::empty(), c"").with_context(|| format!("remounting {self}"))?;
        Ok(Writable(Some(self.clone())))
    }
}

impl fmt::Display for PhysicalRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Makes a physical root read-only again when it is dropped, if it was read-only before.
#[derive(Debug)]
#[must_use = "the physical root is writable for as long as this lives"]
pub struct Writable(Option<PhysicalRoot>);

impl Drop for Writable {
    fn drop(&mut self) {
        let Some(root) = &self.0 else { return };
        if let Err(error) = mount_remount(root.path(), MountFlags::RDONLY, c"") {
            log::warn!("remounting {root} read-only: {error}");
        }
    }
}

/// Where a deployment is below the physical root: `ostree/deploy/STATEROOT/deploy/CHECKSUM.SERIAL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeploymentPath {
    stateroot: String,
    checksum: String,
    serial: u32,
}

impl DeploymentPath {
    /// Parses a path that is relative to the physical root.
    pub fn parse(path: &Path) -> Result<Self> {
        let not_one =
            || format!("{} is not a deployment: ostree/deploy/STATEROOT/deploy/CHECKSUM.SERIAL", path.display());
        let mut names = Vec::new();
        for part in path.components() {
            let Component::Normal(name) = part else { bail!(not_one()) };
            names.push(name.to_str().with_context(not_one)?);
        }
        let ["ostree", "deploy", stateroot, "deploy", name] = names.as_slice() else { bail!(not_one()) };
        let (checksum, serial) = name.split_once('.').with_context(not_one)?;
        let is_hex = !checksum.is_empty() && checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A sign is part of a number for `parse`, and of no deployment's name.
        let digits = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit());
        if !is_hex || !digits {
            bail!(not_one());
        }
        let serial = serial.parse().with_context(not_one)?;
        Ok(Self { stateroot: (*stateroot).to_owned(), checksum: checksum.to_owned(), serial })
    }

    /// Returns the stateroot: the group of deployments that share `/var`.
    pub fn stateroot(&self) -> &str {
        &self.stateroot
    }

    /// Returns the commit that is checked out, as hexadecimal digits.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Returns the path, relative to the physical root.
    pub fn relative(&self) -> PathBuf {
        self.to_string().into()
    }

    /// Returns the path of the origin beside it, relative to the physical root.
    pub fn origin(&self) -> PathBuf {
        format!("{self}.origin").into()
    }
}

impl fmt::Display for DeploymentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ostree/deploy/{}/deploy/{}.{}", self.stateroot, self.checksum, self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_paths_of_deployments_only() {
        for (path, ok) in [
            ("ostree/deploy/os/deploy/ab12.0", true),
            ("ostree/deploy/os/deploy/ab12.17", true),
            ("ostree/deploy/os/deploy/ab12", false),
            ("ostree/deploy/os/deploy/.0", false),
            ("ostree/deploy/os/deploy/ab12.+1", false),
            ("ostree/deploy/os/deploy/ab12.0.1", false),
            ("ostree/deploy/os/deploy/xy.0", false),
            ("ostree/deploy/os/deploy/ab12.99999999999", false),
            ("ostree/deploy/os/deploy/ab12.0/usr", false),
            ("ostree/deploy/os/backing/ab12.0", false),
            ("ostree/deploy/../deploy/ab12.0", false),
            ("/ostree/deploy/os/deploy/ab12.0", false),
            ("", false),
        ] {
            let parsed = DeploymentPath::parse(Path::new(path));
            assert_eq!(parsed.is_ok(), ok, "{path}: {parsed:?}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.to_string(), path);
            }
        }
    }
}
