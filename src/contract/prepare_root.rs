// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ostree-prepare-root(1) is told, by `prepare-root.conf` and a kernel argument, about the root that it is to mount.
//!
//! It reads the file of the initramfs that runs: on this boot the bootimage's, from the next boot on the node image's,
//! which lies in the node image as well. Both must be able to mount the new deployment.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::files::{Files, RootFiles};
use crate::request::kargs;

/// The name of the file in the two directories of an initramfs. The later one replaces the earlier one as a whole.
const OF_INITRAMFS: [&str; 2] = ["/usr/lib/ostree/prepare-root.conf", "/etc/ostree/prepare-root.conf"];
/// The same in a deployment, from which its initramfs was made.
const OF_DEPLOYMENT: [&str; 2] = ["/usr/lib/ostree/prepare-root.conf", "/usr/etc/ostree/prepare-root.conf"];
/// Overrides `composefs.enabled`.
const KARG: &str = "ostree.prepare-root.composefs=";
/// The composefs image of a deployment, which libostree makes with the deployment if it is built with composefs.
const COMPOSEFS_IMAGE: &str = ".ostree.cfs";

/// How `/` is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Composefs {
    /// It is the deployment's directory.
    #[default]
    No,
    /// It is the deployment's composefs image if there is one.
    Maybe,
    /// It is the composefs image, or the boot fails.
    Yes,
    /// It is the composefs image, and fs-verity checks every file of it; perhaps a signature as well.
    Verified,
}

impl fmt::Display for Composefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
            Self::Verified => "verity or signed",
        })
    }
}

/// What ostree-prepare-root is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrepareRoot {
    /// `composefs.enabled`.
    pub composefs: Composefs,
    root_transient: bool,
    root_transient_ro: bool,
    etc_transient: bool,
    sysroot_readonly: Option<bool>,
}

impl PrepareRoot {
    /// In the initramfs whose root is `root`, on a boot with this command line.
    pub fn of_initramfs(root: &Path, cmdline: &str) -> Result<Self> {
        Self::load(root, OF_INITRAMFS, cmdline).context("reading how the initramfs mounts a deployment")
    }

    /// In the initramfs of the deployment at `path`, on a boot with these kernel arguments.
    pub fn of_deployment(path: &Path, kargs: &[String]) -> Result<Self> {
        Self::load(path, OF_DEPLOYMENT, &kargs.join(" ")).context("reading how the node image mounts its deployment")
    }

    fn load(root: &Path, paths: [&str; 2], cmdline: &str) -> Result<Self> {
        let files = RootFiles::new(root);
        let mut told = Self::default();
        for path in paths {
            let Some(bytes) = files.read(path)? else { continue };
            let text = String::from_utf8(bytes).with_context(|| format!("reading {path}"))?;
            told = Self::parse(&text).with_context(|| format!("reading {path}"))?;
        }
        // ostree-prepare-root takes the first one.
        if let Some(value) = kargs::split(cmdline).find_map(|karg| karg.strip_prefix(KARG)) {
            told.composefs = match (tristate(value).with_context(|| format!("reading {KARG}{value}"))?, told.composefs)
            {
                // It switches the signature off, but not fs-verity.
                (Composefs::Maybe | Composefs::Yes, Composefs::Verified) => Composefs::Verified,
                (value, _) => value,
            };
        }
        Ok(told)
    }

    /// A file that ostree-prepare-root cannot read is an error, as it is one there.
    fn parse(text: &str) -> Result<Self> {
        let mut told = Self::default();
        let mut section = None;
        for (n, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = Some(name);
                continue;
            }
            let pair = section.zip(line.split_once('='));
            let (section, (key, value)) =
                pair.with_context(|| format!("line {} is neither a section nor KEY=VALUE in one", n + 1))?;
            let (key, value) = (key.trim(), value.trim());
            let reading = || format!("reading {section}.{key}");
            match (section, key) {
                ("composefs", "enabled") => told.composefs = tristate(value).with_context(reading)?,
                ("root", "transient") => told.root_transient = boolean(value).with_context(reading)?,
                ("root", "transient-ro") => told.root_transient_ro = boolean(value).with_context(reading)?,
                ("etc", "transient") => told.etc_transient = boolean(value).with_context(reading)?,
                ("sysroot", "readonly") => told.sysroot_readonly = Some(boolean(value).with_context(reading)?),
                _ => {}
            }
        }
        ensure!(!(told.root_transient && told.root_transient_ro), "root.transient and root.transient-ro are both true");
        Ok(told)
    }

    /// That nothing has to be verified before it is mounted: the importer is run from the plain files of the bootimage's
    /// deployment, and the objects that it writes have no fs-verity.
    pub fn ensure_unverified(&self) -> Result<()> {
        ensure!(
            self.composefs != Composefs::Verified,
            "the root has to be verified (composefs.enabled is {} in prepare-root.conf), which is not supported",
            self.composefs
        );
        Ok(())
    }

    /// `KEY: THIS and OTHER` for each key that says something else in `other`.
    fn differences(&self, other: &Self) -> Vec<String> {
        let keys = |told: &Self| {
            [
                ("composefs.enabled", told.composefs.to_string()),
                ("root.transient", told.root_transient.to_string()),
                ("root.transient-ro", told.root_transient_ro.to_string()),
                ("etc.transient", told.etc_transient.to_string()),
                // With composefs it is the default.
                ("sysroot.readonly", told.sysroot_readonly.unwrap_or(told.composefs == Composefs::Yes).to_string()),
            ]
        };
        let pairs = keys(self).into_iter().zip(keys(other));
        pairs.filter(|(a, b)| a != b).map(|((key, a), (_, b))| format!("{key}: {a} and {b}")).collect()
    }
}

/// That the new deployment at `path` can be mounted: on this boot by the initramfs that runs and is told `this_boot`, and
/// by its own from the next boot on. Called before it is the default: later it would be an emergency.
pub fn ensure_mountable(path: &Path, this_boot: &PrepareRoot, kargs: &[String]) -> Result<()> {
    let next_boot = PrepareRoot::of_deployment(path, kargs)?;
    next_boot.ensure_unverified().context("the node image's next boot")?;
    if !path.join(COMPOSEFS_IMAGE).is_file() {
        for (boot, told) in [("this boot", this_boot), ("the node image's next boot", &next_boot)] {
            if told.composefs == Composefs::Yes {
                bail!(
                    "{boot} needs a composefs root (composefs.enabled is yes in prepare-root.conf), and the libostree of \
                     the bootimage makes none: it is too old, or built without composefs"
                );
            }
        }
    }
    let differences = this_boot.differences(&next_boot);
    if !differences.is_empty() {
        log::warn!("this boot and the next one mount the node image in another way: {}", differences.join(", "));
    }
    Ok(())
}

/// As GLib reads one: it knows neither yes nor no.
fn boolean(text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => bail!("{text:?} is neither true nor false"),
    }
}

fn tristate(text: &str) -> Result<Composefs> {
    match text {
        "maybe" => Ok(Composefs::Maybe),
        "signed" | "verity" => Ok(Composefs::Verified),
        "yes" | "true" | "1" => Ok(Composefs::Yes),
        "no" | "false" | "0" => Ok(Composefs::No),
        _ => bail!("{text:?} is none of yes, no, maybe, verity and signed"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn how_a_root_is_mounted() {
        for (label, lib, etc, cmdline, expected) in [
            ("no file", None, None, "", Ok(Composefs::No)),
            ("yes", Some("[composefs]\nenabled = yes\n"), None, "", Ok(Composefs::Yes)),
            ("1", Some("[composefs]\nenabled=1"), None, "", Ok(Composefs::Yes)),
            ("false", Some("# c\n\n[composefs]\nenabled=false\n"), None, "", Ok(Composefs::No)),
            ("maybe", Some("[composefs]\nenabled=maybe\n"), None, "", Ok(Composefs::Maybe)),
            ("signed", Some("[composefs]\nenabled=signed\nkeypath=/k\n"), None, "", Ok(Composefs::Verified)),
            ("verity", Some("[composefs]\nenabled=verity\n"), None, "", Ok(Composefs::Verified)),
            ("/etc is all", Some("[composefs]\nenabled=yes\n"), Some("[etc]\ntransient=true\n"), "", Ok(Composefs::No)),
            ("another section", Some("[root]\nenabled=yes\n"), None, "", Ok(Composefs::No)),
            (
                "karg off",
                Some("[composefs]\nenabled=signed\n"),
                None,
                "rw ostree.prepare-root.composefs=0",
                Ok(Composefs::No),
            ),
            ("karg on", None, None, "ostree.prepare-root.composefs=1 rw", Ok(Composefs::Yes)),
            (
                "the first counts",
                None,
                None,
                "ostree.prepare-root.composefs=maybe ostree.prepare-root.composefs=0",
                Ok(Composefs::Maybe),
            ),
            ("karg signed", None, None, "ostree.prepare-root.composefs=signed", Ok(Composefs::Verified)),
            (
                "verity stays",
                Some("[composefs]\nenabled=verity\n"),
                None,
                "ostree.prepare-root.composefs=yes",
                Ok(Composefs::Verified),
            ),
            (
                "a bad value",
                Some("[composefs]\nenabled=on\n"),
                None,
                "",
                Err("/usr/lib/ostree/prepare-root.conf: reading composefs.enabled: \"on\" is none of"),
            ),
            (
                "a bad karg",
                None,
                None,
                "ostree.prepare-root.composefs=on",
                Err("reading ostree.prepare-root.composefs=on: \"on\" is none of"),
            ),
            (
                "a bad boolean",
                None,
                Some("[etc]\ntransient=maybe\n"),
                "",
                Err("/etc/ostree/prepare-root.conf: reading etc.transient: \"maybe\" is neither"),
            ),
            (
                "GLib's booleans are others",
                Some("[sysroot]\nreadonly=yes\n"),
                None,
                "",
                Err("reading sysroot.readonly: \"yes\" is neither"),
            ),
            (
                "two kinds of transient",
                Some("[root]\ntransient=true\ntransient-ro=1\n"),
                None,
                "",
                Err("root.transient and root.transient-ro are both true"),
            ),
            ("no section", None, Some("enabled=yes\n"), "", Err("line 1 is neither a section nor KEY=VALUE in one")),
            ("no value", None, Some("[etc]\ntransient\n"), "", Err("line 2 is neither a section nor KEY=VALUE in one")),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (directory, text) in [("usr/lib", lib), ("etc", etc)] {
                let directory = root.path().join(directory).join("ostree");
                fs::create_dir_all(&directory).unwrap();
                if let Some(text) = text {
                    fs::write(directory.join("prepare-root.conf"), text).unwrap();
                }
            }
            match (PrepareRoot::of_initramfs(root.path(), cmdline), expected) {
                (Ok(told), Ok(composefs)) => assert_eq!(told.composefs, composefs, "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn mountable_table() {
        for (label, this_boot, next_boot, image, expected) in [
            ("without composefs", "", "", false, None),
            ("maybe", "maybe", "maybe", false, None),
            ("yes", "yes", "yes", true, None),
            ("this boot only", "yes", "no", true, None),
            ("no image for this boot", "yes", "no", false, Some("this boot needs a composefs root")),
            ("no image for the next", "maybe", "yes", false, Some("the node image's next boot needs a composefs root")),
            ("verity next", "yes", "verity", true, Some("the node image's next boot: the root has to be verified")),
        ] {
            let deployment = tempfile::tempdir().unwrap();
            let conf = |value: &str| format!("[composefs]\nenabled={}\n", if value.is_empty() { "no" } else { value });
            fs::create_dir_all(deployment.path().join("usr/lib/ostree")).unwrap();
            fs::write(deployment.path().join("usr/lib/ostree/prepare-root.conf"), conf(next_boot)).unwrap();
            if image {
                fs::write(deployment.path().join(COMPOSEFS_IMAGE), "erofs").unwrap();
            }
            let this_boot = PrepareRoot::parse(&conf(this_boot)).unwrap();
            match (ensure_mountable(deployment.path(), &this_boot, &[]), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(format!("{error:#}").starts_with(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn differences_are_named() {
        let parse = |text| PrepareRoot::parse(text).unwrap();
        let (yes, plain) =
            (parse("[composefs]\nenabled=yes\n[etc]\ntransient=1\n"), parse("[root]\ntransient=false\n"));
        let expected =
            ["composefs.enabled: yes and no", "etc.transient: true and false", "sysroot.readonly: true and false"];
        assert_eq!(yes.differences(&plain), expected);
        assert!(yes.differences(&yes).is_empty());
    }
}
