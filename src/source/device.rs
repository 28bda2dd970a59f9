// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A staging device: named like in fstab, waited for, mounted read-only.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long to wait for a device to appear. Virtual media of a BMC can take this long after the kernel has started; a
/// source that is not there should not cost more than a small part of a boot.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// `LABEL=x`, `UUID=x`, `PARTLABEL=x` or a path below /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    text: String,
    node: PathBuf,
}

impl Device {
    /// Parse the name of a device.
    pub fn parse(text: &str) -> Result<Self> {
        let by = |directory: &str, value: &str| -> Result<PathBuf> {
            let plain = !value.is_empty() && !value.contains('/') && !matches!(value, "." | "..");
            ensure!(plain, "device {text:?} has a bad value");
            Ok(Path::new("/dev/disk").join(directory).join(encode(value)))
        };
        let node = if let Some(value) = text.strip_prefix("LABEL=") {
            by("by-label", value)?
        } else if let Some(value) = text.strip_prefix("UUID=") {
            by("by-uuid", value)?
        } else if let Some(value) = text.strip_prefix("PARTLABEL=") {
            by("by-partlabel", value)?
        } else {
            let path = PathBuf::from(text);
            let plain = path.starts_with("/dev") && !path.components().any(|part| part == Component::ParentDir);
            ensure!(plain, "device {text:?} is neither LABEL=, UUID=, PARTLABEL= nor a path below /dev");
            path
        };
        Ok(Self { text: text.to_owned(), node })
    }

    /// Wait for the device and mount it on `target`, which is created, with these options of mount(8).
    pub fn mount(&self, target: &Path, options: &str, deadline: Instant) -> Result<MountPoint> {
        self.wait(deadline)?;
        fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
        mount(&self.node, target, options).with_context(|| format!("mounting {self}"))?;
        Ok(MountPoint(target.to_owned()))
    }

    fn wait(&self, deadline: Instant) -> Result<()> {
        let started = Instant::now();
        let until = deadline.min(started + DEVICE_TIMEOUT);
        while !self.node.exists() {
            if Instant::now() >= until {
                bail!("device {self} did not appear within {} s", started.elapsed().as_secs());
            }
            sleep(POLL);
        }
        Ok(())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A mount that ends when this is dropped.
#[derive(Debug)]
pub struct MountPoint(PathBuf);

impl MountPoint {
    /// The absolute path `path` of the mounted file system. A symbolic link that leads out of it is an error.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let wanted = self.0.join(path.strip_prefix("/").unwrap_or(path));
        let real =
            fs::canonicalize(&wanted).with_context(|| format!("looking for {} on the device", path.display()))?;
        let root = fs::canonicalize(&self.0).with_context(|| format!("resolving {}", self.0.display()))?;
        ensure!(real.starts_with(&root), "{} leads out of the device", path.display());
        Ok(real)
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH) {
            log::warn!("unmounting {}: {error}", self.0.display());
        }
    }
}

/// Mount through mount(8): it knows which file system is on a device, and how to say what is wrong with it.
// The one program that we run for its own sake; it parses nothing that we could parse better.
#[allow(clippy::disallowed_methods)]
fn mount(device: &Path, target: &Path, options: &str) -> Result<()> {
    let output =
        Command::new("mount").args(["-o", options, "--"]).args([device, target]).output().context("running mount")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().next().unwrap_or("mount failed without a word").trim());
    }
    Ok(())
}

/// Encode a label as udev does in the names of its links: what is not in its allow-list becomes `\xNN`.
fn encode(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_device_nodes() {
        for (text, node) in [
            ("LABEL=nodeimage", "/dev/disk/by-label/nodeimage"),
            ("LABEL=node image", "/dev/disk/by-label/node\\x20image"),
            ("UUID=8E1C-12AB", "/dev/disk/by-uuid/8E1C-12AB"),
            ("PARTLABEL=node", "/dev/disk/by-partlabel/node"),
            ("/dev/vdb", "/dev/vdb"),
        ] {
            assert_eq!(Device::parse(text).unwrap().node, Path::new(node), "{text}");
        }
    }

    #[test]
    fn a_missing_device_ends_by_the_deadline() {
        let device = Device::parse("LABEL=slipstream-does-not-exist").unwrap();
        let error = device.mount(Path::new("/nonexistent"), "ro", Instant::now()).unwrap_err();
        assert_eq!(error.to_string(), "device LABEL=slipstream-does-not-exist did not appear within 0 s");
    }
}
