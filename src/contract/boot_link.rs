// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot link: what the kernel argument `ostree=` names, and what ostree-prepare-root follows.
//!
//! `/ostree/boot.N -> boot.N.M`, and in it `STATEROOT/BOOTCSUM/SERIAL -> ../../../deploy/STATEROOT/deploy/CHECKSUM.S`.
//! Writing a new deployment makes the other N current; the links of the old N are then nobody's, and the next cleanup
//! removes them. Re-making the one that this boot follows therefore changes no boot loader entry, needs no bind mount
//! over `/proc/cmdline`, and works for every version of ostree-prepare-root and for Ignition's units, which read the
//! same argument.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// A parsed boot link, relative to the physical root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootLink {
    version: u32,
    path: PathBuf,
}

impl BootLink {
    /// Parse the value of `ostree=`.
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

    /// Where it is, relative to the physical root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The deployment that the link names, relative to the physical root.
    pub fn resolve(&self, physical_root: &Path) -> Result<PathBuf> {
        let link = physical_root.join(&self.path);
        let real = fs::canonicalize(&link).with_context(|| format!("resolving boot link {}", link.display()))?;
        let root = fs::canonicalize(physical_root).context("resolving the physical root")?;
        let path = real.strip_prefix(&root).with_context(|| format!("{} is outside of the root", real.display()))?;
        Ok(path.to_owned())
    }

    /// Whether the link is one of those that the boot loader entries name.
    pub fn is_current(&self, physical_root: &Path) -> Result<bool> {
        Ok(self.current_version(physical_root)? == Some(self.version))
    }

    /// Make the link name `deployment` (relative to the physical root).
    pub fn point_at(&self, physical_root: &Path, deployment: &Path) -> Result<()> {
        if self.resolve(physical_root).is_ok_and(|path| path == deployment) {
            return Ok(());
        }
        ensure!(
            !self.is_current(physical_root)?,
            "boot link {} belongs to a boot loader entry that is in use",
            self.path.display()
        );
        self.ensure_version_link(physical_root)?;
        let link = physical_root.join(&self.path);
        let parent = link.parent().context("boot link without a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        let target =
            Path::new("../../..").join(deployment.strip_prefix("ostree").context("deployment is not below /ostree")?);
        let temporary = parent.join(".slipstream-link");
        remove_if_there(&temporary)?;
        symlink(&target, &temporary).with_context(|| format!("creating {}", temporary.display()))?;
        fs::rename(&temporary, &link).with_context(|| format!("renaming to {}", link.display()))?;
        let found = self.resolve(physical_root)?;
        ensure!(found == deployment, "boot link names {}, not {}", found.display(), deployment.display());
        Ok(())
    }

    /// The version that the boot loader entries use: `/boot/loader -> loader.N`.
    fn current_version(&self, physical_root: &Path) -> Result<Option<u32>> {
        let loader = physical_root.join("boot/loader");
        let target = fs::read_link(&loader).with_context(|| format!("reading {}", loader.display()))?;
        Ok(target.to_str().and_then(|target| target.strip_prefix("loader.")?.parse().ok()))
    }

    /// `boot.N` has to be a link to a directory `boot.N.M`: libostree reads M from it.
    fn ensure_version_link(&self, physical_root: &Path) -> Result<()> {
        let name = format!("boot.{}", self.version);
        let link = physical_root.join("ostree").join(&name);
        match link.symlink_metadata() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let directory = format!("{name}.0");
                fs::create_dir_all(physical_root.join("ostree").join(&directory))
                    .context("creating a boot directory")?;
                symlink(&directory, &link).with_context(|| format!("creating {}", link.display()))
            }
            Err(error) => Err(error).with_context(|| format!("reading {}", link.display())),
        }
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A physical root with the bootimage's link at boot.1 and loader.`loader` current.
    fn root(loader: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for deployment in ["a.0", "b.0"] {
            fs::create_dir_all(at("ostree/deploy/os/deploy").join(deployment)).unwrap();
        }
        fs::create_dir_all(at("boot")).unwrap();
        symlink(format!("loader.{loader}"), at("boot/loader")).unwrap();
        fs::create_dir_all(at("ostree/boot.1.1/os/csum")).unwrap();
        symlink("boot.1.1", at("ostree/boot.1")).unwrap();
        symlink("../../../deploy/os/deploy/a.0", at("ostree/boot.1.1/os/csum/0")).unwrap();
        root
    }

    #[test]
    fn the_link_is_made_again_in_ostrees_shape() {
        let root = root(0);
        let link = BootLink::parse("/ostree/boot.1/os/csum/0").unwrap();
        assert_eq!(link.resolve(root.path()).unwrap(), Path::new("ostree/deploy/os/deploy/a.0"));
        let target = Path::new("ostree/deploy/os/deploy/b.0");
        link.point_at(root.path(), target).unwrap();
        let read = |path: &str| fs::read_link(root.path().join(path)).unwrap();
        assert_eq!(read("ostree/boot.1"), Path::new("boot.1.1"));
        assert_eq!(read("ostree/boot.1.1/os/csum/0"), Path::new("../../../deploy/os/deploy/b.0"));
        link.point_at(root.path(), target).unwrap();
        // As after a cleanup by libostree: the directory is gone.
        fs::remove_dir_all(root.path().join("ostree/boot.1.1")).unwrap();
        fs::remove_file(root.path().join("ostree/boot.1")).unwrap();
        link.point_at(root.path(), target).unwrap();
        assert_eq!(read("ostree/boot.1"), Path::new("boot.1.0"));
    }

    #[test]
    fn a_link_of_an_entry_in_use_stays() {
        let root = root(1);
        let link = BootLink::parse("/ostree/boot.1/os/csum/0").unwrap();
        let error = link.point_at(root.path(), Path::new("ostree/deploy/os/deploy/b.0")).unwrap_err();
        assert!(error.to_string().ends_with("belongs to a boot loader entry that is in use"), "{error}");
        assert_eq!(link.resolve(root.path()).unwrap(), Path::new("ostree/deploy/os/deploy/a.0"));
    }

    #[test]
    fn other_shapes_are_refused() {
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
