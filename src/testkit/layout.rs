// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An OCI layout on disk. Every layout of every test is written here, whoever makes the image.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::blob::digest;

/// The media type of a manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The file that makes a directory a layout.
const MARKER: &str = "oci-layout";
/// The file that names its images.
const INDEX: &str = "index.json";

/// A layout.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The digest of the manifest.
    pub digest: String,
    /// The manifest, parsed.
    pub manifest: Value,
}

impl Layout {
    /// Returns the layout at a directory. Nothing is read.
    pub fn at(dir: &Path) -> Self {
        Self(dir.to_path_buf())
    }

    /// Creates a layout that has no blob and no image; the directory may be there.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("blobs/sha256")).with_context(|| format!("creating {}", dir.display()))?;
        fs::write(dir.join(MARKER), r#"{"imageLayoutVersion":"1.0.0"}"#).context("writing oci-layout")?;
        Ok(Self::at(dir))
    }

    /// Returns its directory.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replace(':', "/"))
    }

    /// Reads a blob.
    pub fn read(&self, digest: &str) -> Result<Vec<u8>> {
        fs::read(self.blob(digest)).with_context(|| format!("reading blob {digest}"))
    }

    /// Reads a blob that is JSON.
    pub fn read_json(&self, digest: &str) -> Result<Value> {
        serde_json::from_slice(&self.read(digest)?).with_context(|| format!("parsing blob {digest}"))
    }

    /// Writes a blob and returns its digest.
    pub fn write(&self, bytes: &[u8]) -> Result<String> {
        let name = digest(bytes);
        self.write_as(&name, bytes)?;
        Ok(name)
    }

    /// Writes a blob under a digest that may be another one's.
    pub fn write_as(&self, digest: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.blob(digest), bytes).with_context(|| format!("writing blob {digest}"))
    }

    /// Writes a document and returns its descriptor.
    pub fn write_json(&self, media_type: &str, value: &Value) -> Result<Value> {
        let bytes = value.to_string();
        let digest = self.write(bytes.as_bytes())?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    /// Writes the file that names the layout's images, which have these descriptors.
    pub fn write_index(&self, images: &[Value]) -> Result<()> {
        let index = json!({"schemaVersion": 2, "manifests": images});
        fs::write(self.0.join(INDEX), index.to_string()).context("writing index.json")
    }

    /// Adds an image to those that the layout names.
    pub fn add(&self, image: Value) -> Result<()> {
        let index = fs::read(self.0.join(INDEX)).context("reading index.json")?;
        let index: Value = serde_json::from_slice(&index).context("parsing index.json")?;
        let mut images = index["manifests"].as_array().context("finding the layout's images")?.clone();
        images.push(image);
        self.write_index(&images)
    }

    /// Returns the first image of the layout.
    pub fn image(&self) -> Result<Stored> {
        let index = fs::read(self.0.join(INDEX)).context("reading index.json")?;
        let index: Value = serde_json::from_slice(&index).context("parsing index.json")?;
        let digest = text(&index["manifests"][0]["digest"])?.to_owned();
        let manifest = self.read_json(&digest)?;
        Ok(Stored { digest, manifest })
    }

    /// Returns what a web server gives out: every blob by the digits of its digest, and the files beside them.
    pub fn served(&self) -> Result<HashMap<String, Vec<u8>>> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
        let mut files = HashMap::new();
        for name in [MARKER, INDEX] {
            files.insert(name.to_owned(), read(&self.0.join(name))?);
        }
        for entry in fs::read_dir(self.0.join("blobs/sha256")).context("listing blobs")? {
            let entry = entry.context("listing blobs")?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), read(&entry.path())?);
        }
        Ok(files)
    }
}

impl Stored {
    /// Returns the digests of the layers, the lowest first.
    pub fn layers(&self) -> Result<Vec<String>> {
        let layers = self.manifest["layers"].as_array().context("finding the manifest's layers")?;
        layers.iter().map(|layer| Ok(text(&layer["digest"])?.to_owned())).collect()
    }
}

/// Returns the digits of a digest.
pub fn digits(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("reading a string, found {value}"))
}
