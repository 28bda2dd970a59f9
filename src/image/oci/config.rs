// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image config: labels, diffIDs, architecture, time of creation.

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use contract::shape;
use contract::shape::{Shape, canonical};
use serde_json::Value;

/// Label that says which layer is the last one with ostree objects (ostree-ext, `ostree.final-diffid`).
const FINAL_DIFFID: &str = "ostree.final-diffid";
/// Labels of which one must be there for an image to be deployed (ostree-ext `require_bootable`).
const BOOTABLE: [&str; 2] = ["ostree.bootable", "containers.bootc"];

const HISTORY: Shape = Shape::Object(&[
    ("created", Shape::Text, false),
    ("author", Shape::Text, false),
    ("created_by", Shape::Text, false),
    ("comment", Shape::Text, false),
    ("empty_layer", Shape::Flag, false),
]);

const CONTAINER: Shape = Shape::Object(&[
    ("User", Shape::Text, false),
    ("ExposedPorts", Shape::Set, false),
    ("Env", Shape::List(&Shape::Text), false),
    ("Entrypoint", Shape::List(&Shape::Text), false),
    ("Cmd", Shape::List(&Shape::Text), false),
    ("Volumes", Shape::Set, false),
    ("WorkingDir", Shape::Text, false),
    ("Labels", Shape::Texts, false),
    ("StopSignal", Shape::Text, false),
]);

const CONFIG: Shape = Shape::Object(&[
    ("created", Shape::Text, false),
    ("author", Shape::Text, false),
    ("architecture", Shape::Text, true),
    ("os", Shape::Text, true),
    ("os.version", Shape::Text, false),
    ("os.features", Shape::List(&Shape::Text), false),
    ("variant", Shape::Text, false),
    ("config", CONTAINER, false),
    ("rootfs", Shape::Object(&[("type", Shape::Text, true), ("diff_ids", Shape::List(&Shape::Text), true)]), true),
    ("history", Shape::List(&HISTORY), false),
]);

/// A parsed image config.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// The diffID of each layer: the digest of its uncompressed tar.
    pub diff_ids: Vec<Digest>,
    known: Value,
}

impl ImageConfig {
    /// Parse the bytes of a config.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let known = shape::parse(bytes, CONFIG, "image config")?;
        let diff_ids = known["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let diff_ids = diff_ids
            .iter()
            .map(|id| Digest::parse(id.as_str().unwrap_or_default()))
            .collect::<Result<_>>()
            .context("reading config.rootfs.diff_ids")?;
        Ok(Self { diff_ids, known })
    }

    /// The canonical JSON that the merge commit carries as `ostree.container.image-config`.
    pub fn canonical_json(&self) -> String {
        canonical(&self.known)
    }

    /// A label of the image.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.known.get("config")?.get("Labels")?.get(key)?.as_str()
    }

    /// The diffID of the last layer that holds ostree objects; `None` for an image without a base commit.
    pub fn final_diff_id(&self) -> Result<Option<Digest>> {
        self.label(FINAL_DIFFID).map(Digest::parse).transpose().with_context(|| format!("reading label {FINAL_DIFFID}"))
    }

    /// `created`, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        self.known.get("created")?.as_str()
    }

    /// The version that the image claims: the label that RHCOS and FCOS set, or its older name.
    pub fn version(&self) -> Option<&str> {
        self.label("org.opencontainers.image.version").or_else(|| self.label("version"))
    }

    /// The kernel version that the image claims, before anything is imported. Builders may not have updated it.
    pub fn kernel(&self) -> Option<&str> {
        self.label("ostree.linux").filter(|kernel| *kernel != "true")
    }

    /// Returns the architecture that the image is for (Go's name).
    pub fn architecture(&self) -> &str {
        self.known["architecture"].as_str().unwrap_or_default()
    }

    /// Refuses an image that has no label of a bootable one.
    pub fn ensure_bootable(&self) -> Result<()> {
        ensure!(
            BOOTABLE.iter().any(|label| self.label(label).is_some()),
            "image is not bootable: it has neither label {} nor {}",
            BOOTABLE[0],
            BOOTABLE[1]
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_and_refuses_what_is_not_bootable() {
        let id = format!("sha256:{}", "c".repeat(64));
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [id]},
            "config": {"Labels": {"containers.bootc": "1", "ostree.final-diffid": id}, "OnBuild": null},
        });
        let parsed = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.final_diff_id().unwrap().unwrap().to_string(), id);
        parsed.ensure_bootable().unwrap();
        assert_eq!(parsed.architecture(), "amd64");
        assert!(!parsed.canonical_json().contains("OnBuild"));
        let mut plain = config;
        plain["config"]["Labels"] = serde_json::json!({});
        let error = ImageConfig::parse(plain.to_string().as_bytes()).unwrap().ensure_bootable().unwrap_err();
        assert!(error.to_string().starts_with("image is not bootable"), "{error}");
    }
}
