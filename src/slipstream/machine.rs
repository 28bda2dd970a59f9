// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is there before anything is written: which deployment this boot runs, and what the boot loader entries name.
//!
//! Tested by `src/slipstream/tests/boot/agreement.rs`, `src/slipstream/tests/boot/kernel.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use contract::boot_link::BootLink;
use contract::entries::entries;
use contract::handoff::Bootimage;
use contract::names::Digest;
use contract::places::{DeploymentPath, PhysicalRoot};

use crate::boot_partition::BootPartition;
use crate::import::commit_version;
use crate::origin::origin_of;
use crate::os_release::field;

/// What this boot runs.
#[derive(Clone, Debug)]
pub struct Booted {
    /// The boot link that it follows.
    pub link: BootLink,
    /// The deployment that the link names.
    pub deployment: DeploymentPath,
    /// The image that the deployment's origin names, with its transport.
    pub image: Option<String>,
}

impl Booted {
    /// Reads what the boot with this kernel command line runs.
    pub fn read(root: &PhysicalRoot, cmdline: &str) -> Result<Self> {
        let link = BootLink::of_cmdline(cmdline).context("reading the kernel command line")?;
        let deployment = link.resolve(root)?;
        let image = origin_of(root, &deployment)?;
        Ok(Self { link, deployment, image })
    }

    /// Describes it for the account. `kernel` is the running one.
    pub fn report(&self, root: &PhysicalRoot, kernel: String) -> Bootimage {
        Bootimage {
            deployment: self.deployment.to_string(),
            commit: self.deployment.checksum().to_owned(),
            version: version(root, &self.deployment),
            kernel,
        }
    }
}

/// A machine that has been looked at, and not changed.
#[derive(Debug)]
pub struct Machine {
    /// The physical root.
    pub root: PhysicalRoot,
    /// The deployment that this boot runs.
    pub booted: Booted,
    /// The same for the account.
    pub bootimage: Bootimage,
    /// The kernel arguments of its boot loader entry, as they are written there.
    pub options: String,
    /// The deployments that have a boot loader entry, with the image that the origin of each names.
    pub deployments: Vec<(DeploymentPath, Option<String>)>,
    /// The boot partition, mounted for as long as this is there.
    pub boot_partition: BootPartition,
}

impl Machine {
    /// Reads the boot loader entries.
    pub fn read(
        root: &PhysicalRoot,
        booted: Booted,
        bootimage: Bootimage,
        boot_partition: BootPartition,
    ) -> Result<Self> {
        let mut deployments = Vec::new();
        let mut options = None;
        for entry in entries(root)? {
            // libostree reads all of them before it writes one, and refuses what it does not understand.
            let link = BootLink::of_cmdline(&entry.options).with_context(|| format!("reading {}", entry.path))?;
            let deployment = link.resolve(root)?;
            if deployment == booted.deployment && options.is_none() {
                options = Some(entry.options);
            }
            let image = origin_of(root, &deployment)?;
            deployments.push((deployment, image));
        }
        let options = options.with_context(|| format!("{} is in no boot loader entry", booted.deployment))?;
        Ok(Self { root: root.clone(), booted, bootimage, options, deployments, boot_partition })
    }
}

/// Returns the version of a deployment: CoreOS's own field of its os-release, else what its commit says, else the field that
/// every system has: that of a CentOS Stream CoreOS may be a bare 9, or OpenShift's version.
fn version(root: &PhysicalRoot, deployment: &DeploymentPath) -> Option<String> {
    let unreadable = |error: anyhow::Error| log::debug!("looking for the bootimage's version: {error:#}");
    let text = os_release(&root.at(deployment)).map_err(unreadable).unwrap_or_default();
    let of_commit = || {
        let version = Digest::from_hex(deployment.checksum()).and_then(|commit| commit_version(&root.repo(), &commit));
        version.map_err(unreadable).ok().flatten()
    };
    field(&text, "OSTREE_VERSION").or_else(of_commit).or_else(|| field(&text, "VERSION_ID"))
}

fn os_release(deployment: &Path) -> Result<String> {
    let path = deployment.join("usr/lib/os-release");
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    // A name in another encoding does not make the version unreadable.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the version of the running kernel.
pub fn running_kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
