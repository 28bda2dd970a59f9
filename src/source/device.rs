// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A staging device: waited for, and mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contract::names::Device;

/// How long to wait for a device to appear. Virtual media of a BMC can take this long after the kernel has started; a
/// source that is not there should not cost more than a small part of a boot.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Waits for a device and mounts it on `target`, which is created, with these options of mount(8).
pub fn mount_device(device: &Device, target: &Path, options: &str, deadline: Instant) -> Result<MountPoint> {
    wait(device, deadline)?;
    fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
    mount(device.node(), target, options).with_context(|| format!("mounting {device}"))?;
    Ok(MountPoint(target.to_owned()))
}

fn wait(device: &Device, deadline: Instant) -> Result<()> {
    let started = Instant::now();
    let until = deadline.min(started + DEVICE_TIMEOUT);
    while !device.node().exists() {
        if Instant::now() >= until {
            bail!("device {device} did not appear within {} s", started.elapsed().as_secs());
        }
        sleep(POLL);
    }
    Ok(())
}

/// A mount that ends when this is dropped.
#[derive(Debug)]
pub struct MountPoint(PathBuf);

impl MountPoint {
    /// Returns where the file system is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_ends_by_the_deadline() {
        let device = Device::parse("LABEL=slipstream-does-not-exist").unwrap();
        let error = mount_device(&device, Path::new("/nonexistent"), "ro", Instant::now()).unwrap_err();
        assert_eq!(error.to_string(), "device LABEL=slipstream-does-not-exist did not appear within 0 s");
    }
}
