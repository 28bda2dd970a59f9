// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the OCI layout of a base and writes that of a case: the base's blobs,
//! the case's layers behind them, and whatever the case does to the metadata.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::Blob;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// `sha256:` and the digest in hexadecimal.
pub fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// An image between reading and writing.
pub struct Image {
    pub manifest: Value,
    pub config: Value,
    /// Blobs that the base's layout does not have.
    pub blobs: Vec<(String, Vec<u8>)>,
    /// Written behind an image index, beside an image for another architecture.
    pub indexed: bool,
    base: Option<PathBuf>,
}

impl Image {
    /// The one image of the layout in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let index = load_json(&dir.join("index.json"))?;
        let manifest = load_json(&blob_path(dir, text(&index["manifests"][0]["digest"])?))?;
        let config = load_json(&blob_path(dir, text(&manifest["config"]["digest"])?))?;
        Ok(Self { manifest, config, blobs: Vec::new(), indexed: false, base: Some(dir.to_owned()) })
    }

    /// An image with no layer, no label and no ostree in it.
    pub fn plain() -> Self {
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json"}});
        let config = json!({"architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z",
            "config": {"Labels": {"containers.bootc": "1"}},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": []});
        Self { manifest, config, blobs: Vec::new(), indexed: false, base: None }
    }

    /// A blob of the base.
    pub fn read_blob(&self, digest: &str) -> Result<Vec<u8>> {
        let base = self.base.as_ref().context("finding the base")?;
        fs::read(blob_path(base, digest)).with_context(|| format!("reading blob {digest}"))
    }

    /// Adds a layer at the end, as a container build does.
    pub fn push(&mut self, blob: &Blob) -> Result<()> {
        let name = digest(&blob.packed);
        push(
            &mut self.manifest["layers"],
            json!({"mediaType": blob.media_type, "digest": name, "size": blob.packed.len()}),
        )?;
        push(&mut self.config["rootfs"]["diff_ids"], json!(digest(&blob.tar)))?;
        push(&mut self.config["history"], json!({"created_by": "corpus"}))?;
        self.blobs.push((name, blob.packed.clone()));
        Ok(())
    }

    /// Writes the layout and returns the digest of what its index names.
    pub fn write(mut self, dir: &Path) -> Result<String> {
        fs::create_dir_all(dir.join("blobs/sha256")).context("creating a layout")?;
        if let Some(base) = &self.base {
            link_blobs(base, dir)?;
        }
        for (name, data) in &self.blobs {
            fs::write(blob_path(dir, name), data).with_context(|| format!("writing blob {name}"))?;
        }
        let (config, size) = put_json(dir, &self.config)?;
        self.manifest["config"]["digest"] = json!(config);
        self.manifest["config"]["size"] = json!(size);
        let mut top = put_json(dir, &self.manifest)?;
        let mut media_type = self.manifest["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned();
        if self.indexed {
            let other = json!({"mediaType": OCI_MANIFEST, "digest": digest(b"of another machine"), "size": 18,
                "platform": {"architecture": "s390x", "os": "linux"}});
            let ours = json!({"mediaType": media_type, "digest": top.0, "size": top.1,
                "platform": {"architecture": "amd64", "os": "linux"}});
            top = put_json(dir, &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other, ours]}))?;
            media_type = OCI_INDEX.to_owned();
        }
        let index = json!({"schemaVersion": 2,
            "manifests": [{"mediaType": media_type, "digest": top.0, "size": top.1}]});
        fs::write(dir.join("index.json"), index.to_string()).context("writing index.json")?;
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("writing oci-layout")?;
        Ok(top.0)
    }
}

/// Where a layout keeps a blob.
fn blob_path(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs").join(digest.replace(':', "/"))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("reading a string, found {value}"))
}

fn push(array: &mut Value, value: Value) -> Result<()> {
    array.as_array_mut().context("finding an array in the image's metadata")?.push(value);
    Ok(())
}

fn load_json(path: &Path) -> Result<Value> {
    let data = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&data).with_context(|| format!("parsing {}", path.display()))
}

fn put_json(dir: &Path, value: &Value) -> Result<(String, usize)> {
    let data = value.to_string();
    let name = digest(data.as_bytes());
    fs::write(blob_path(dir, &name), &data).with_context(|| format!("writing blob {name}"))?;
    Ok((name, data.len()))
}

/// The base's blobs are shared, since no case writes into them.
fn link_blobs(base: &Path, dir: &Path) -> Result<()> {
    for entry in fs::read_dir(base.join("blobs/sha256")).context("listing the base's blobs")? {
        let entry = entry.context("listing the base's blobs")?;
        let to = dir.join("blobs/sha256").join(entry.file_name());
        fs::hard_link(entry.path(), &to).with_context(|| format!("linking {}", to.display()))?;
    }
    Ok(())
}
