// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot link: what the kernel argument `ostree=` names, and what ostree-prepare-root follows.
//!
//! `/ostree/boot.N -> boot.N.M`, and in it `STATEROOT/BOOTCSUM/SERIAL -> ../../../deploy/STATEROOT/deploy/CHECKSUM.S`.
//! Writing a new deployment makes the other N current; no entry names the links of the old N any more, and the next cleanup
//! removes them.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::places::{DeploymentPath, PhysicalRoot};
use crate::request::kargs;

/// A parsed boot link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootLink {
    version: u32,
    path: PathBuf,
}

impl BootLink {
    /// Reads the boot link of a kernel command line, or of a boot loader entry: libostree and ostree-prepare-root take the first
    /// `ostree=`.
    pub fn of_cmdline(cmdline: &str) -> Result<Self> {
        let karg = kargs::split(cmdline).find_map(|karg| karg.strip_prefix("ostree="));
        Self::parse(karg.context("there is no ostree=")?)
    }

    /// Parses the value of `ostree=`.
    pub fn parse(karg: &str) -> Result<Self> {
        let bad = || format!("ostree={karg} is not /ostree/boot.N/STATEROOT/BOOTCSUM/SERIAL");
        let parts: Vec<_> = Path::new(karg).components().collect();
        let [Component::RootDir, Component::Normal(top), Component::Normal(version), rest @ ..] = parts.as_slice()
        else {
            bail!(bad());
        };
        ensure!(*top == "ostree" && rest.len() == 3, bad());
        ensure!(rest.iter().all(|part| matches!(part, Component::Normal(_))), bad());
        let version = version.to_str().and_then(|version| version.strip_prefix("boot.")).with_context(bad)?;
        let path = PathBuf::from(karg.trim_start_matches('/'));
        Ok(Self { version: version.parse().with_context(bad)?, path })
    }

    /// Returns where it is, relative to the physical root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its version N: boot loader entries that are in use have another one than those before them.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the deployment that the link names.
    pub fn resolve(&self, root: &PhysicalRoot) -> Result<DeploymentPath> {
        let link = root.path().join(&self.path);
        let resolving = || format!("resolving boot link {}", link.display());
        let real = fs::canonicalize(&link).with_context(resolving)?;
        let top = fs::canonicalize(root.path()).context("resolving the physical root")?;
        let path = real.strip_prefix(&top).with_context(|| format!("{} is outside of the root", real.display()))?;
        DeploymentPath::parse(path).with_context(resolving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_counts() {
        let link =
            BootLink::of_cmdline("xostree=/a rw ostree=/ostree/boot.1/os/c/0 ostree=/ostree/boot.0/os/c/1").unwrap();
        assert_eq!(link.path(), Path::new("ostree/boot.1/os/c/0"));
        assert_eq!(BootLink::of_cmdline("rw ostree").unwrap_err().to_string(), "there is no ostree=");
    }

    #[test]
    fn refuses_other_shapes() {
        for karg in [
            "",
            "/",
            "/ostree/boot.1/os/csum",
            "/ostree/boot.x/os/csum/0",
            "/boot.1/os/csum/0",
            "/ostree/boot.1/../csum/0",
            "ostree/boot.1/os/csum/0",
            "/ostree/deploy/os/deploy/a.0",
        ] {
            assert!(BootLink::parse(karg).is_err(), "{karg}");
        }
    }
}
