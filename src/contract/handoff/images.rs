// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two images of a boot, and their kernels.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Describes the deployment that was to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootimage {
    /// Path of the deployment, relative to the physical root.
    pub deployment: String,
    /// Its commit.
    pub commit: String,
    /// Its version.
    pub version: Option<String>,
    /// The running kernel.
    pub kernel: String,
}

/// Describes the node image as far as the run got with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeImage {
    /// The pullspec.
    pub image: String,
    /// Digest of the manifest for this machine.
    pub manifest_digest: Option<String>,
    /// The signatures that the policy asks for, as they were verified: one for each requirement.
    #[serde(default)]
    pub signatures: Vec<Signature>,
    /// The merge commit.
    pub commit: Option<String>,
    /// The version that the image claims.
    pub version: Option<String>,
    /// The kernel that its boot loader entry starts.
    pub kernel: Option<String>,
    /// The kernel arguments that its boot loader entry was written with, without `ostree=`.
    #[serde(default)]
    pub kargs: Vec<String>,
    /// What brings the boot loader up to date on the swapped boot, if that has to be.
    #[serde(default)]
    pub boot_loader_update: Option<BootLoaderUpdate>,
    /// Path of the deployment, relative to the physical root.
    pub deployment: Option<String>,
    /// True if local changes of the bootimage's `/etc` were merged into its own; missing without a deployment.
    pub etc_merged: Option<bool>,
}

words! {
    /// Names what updates the boot loader.
    BootLoaderUpdate {
        /// The node image's own unit.
        Unit = "bootloader-update.service",
        /// The node image's bootupd.
        Program = "bootupctl",
    }
}

/// Describes a signature that meets a requirement of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The requirement, and where the policy has its keys from.
    pub requirement: String,
    /// The fingerprint of the key: sha256 of its SubjectPublicKeyInfo in hexadecimal digits; missing for a certificate.
    pub key: Option<String>,
    /// The signed name.
    pub identity: String,
    /// The signed digest: that of the manifest, or of the index that led to it.
    pub digest: String,
    /// Where it was found.
    pub endpoint: String,
}

/// Compares the kernels of the node image's first boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernels {
    /// The kernel of this boot.
    pub running: Option<String>,
    /// The node image's.
    pub node_image: Option<String>,
    /// Whether this boot runs the node image on another kernel than its own. `None`: it is not known which image it runs, or
    /// which kernel that has.
    pub differs: Option<bool>,
}

impl Kernels {
    pub(super) fn of(outcome: Outcome, bootimage: Option<&Bootimage>, node_image: Option<&NodeImage>) -> Self {
        // After a swap that could not be settled the root may be either.
        let deployed = node_image.is_some_and(|node| node.deployment.is_some());
        let running = bootimage.map(|bootimage| bootimage.kernel.clone());
        let node_image = node_image.and_then(|node| node.kernel.clone());
        let known = || Some(node_image.as_ref()? != running.as_ref()?);
        let differs = match outcome {
            Outcome::Swapped => known(),
            Outcome::Failed if deployed => known().filter(|differs| !differs),
            Outcome::Failed | Outcome::Skipped | Outcome::AlreadyBooted => Some(false),
        };
        Self { running, node_image, differs }
    }
}
