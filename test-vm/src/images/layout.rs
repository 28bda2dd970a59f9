// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An OCI layout on disk: reading its one image, adding a layer to it as a container build would, damaging it.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Returns `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layout with one image.
pub struct Layout(PathBuf);

/// Its image.
pub struct Image {
    /// Of the manifest.
    pub digest: String,
    /// Parsed.
    pub manifest: Value,
}

impl Layout {
    /// Returns the layout at this directory.
    pub fn at(dir: &Path) -> Self {
        Self(dir.to_path_buf())
    }

    /// Returns the path of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replace(':', "/"))
    }

    fn read_json(&self, digest: &str) -> Result<Value> {
        let bytes = fs::read(self.blob(digest)).with_context(|| format!("reading blob {digest}"))?;
        serde_json::from_slice(&bytes).with_context(|| format!("parsing blob {digest}"))
    }

    fn write_blob(&self, bytes: &[u8]) -> Result<String> {
        let digest = digest(bytes);
        fs::write(self.blob(&digest), bytes).with_context(|| format!("writing blob {digest}"))?;
        Ok(digest)
    }

    /// Returns the only image of the layout.
    pub fn image(&self) -> Result<Image> {
        let index = fs::read(self.0.join("index.json")).context("reading index.json")?;
        let index: Value = serde_json::from_slice(&index).context("parsing index.json")?;
        let digest = text(&index["manifests"][0]["digest"])?.to_owned();
        let manifest = self.read_json(&digest)?;
        Ok(Image { digest, manifest })
    }

    /// Puts one more layer on the image: `tar` as it is, and its gzip.
    pub fn add_layer(&self, tar: &[u8], gzip: &[u8], created_by: &str) -> Result<()> {
        let image = self.image()?;
        let mut config = self.read_json(text(&image.manifest["config"]["digest"])?)?;
        let created = config["created"].clone();
        list(&mut config["rootfs"]["diff_ids"])?.push(digest(tar).into());
        list(&mut config["history"])?.push(json!({ "created": created, "created_by": created_by }));

        let mut manifest = image.manifest;
        let bytes = serde_json::to_vec(&config).context("writing the image's config")?;
        manifest["config"]["size"] = bytes.len().into();
        manifest["config"]["digest"] = self.write_blob(&bytes)?.into();
        let layer = json!({ "mediaType": LAYER, "digest": self.write_blob(gzip)?, "size": gzip.len() });
        list(&mut manifest["layers"])?.push(layer);
        // A builder drops the base image's annotations; the labels in the config are what counts.
        if let Some(manifest) = manifest.as_object_mut() {
            manifest.remove("annotations");
        }

        let bytes = serde_json::to_vec(&manifest).context("writing the manifest")?;
        let entry = json!({ "mediaType": MANIFEST, "digest": self.write_blob(&bytes)?, "size": bytes.len() });
        let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;
        fs::write(self.0.join("index.json"), index).context("writing index.json")
    }

    /// Returns the digest of the biggest chunk: neither the commit layer nor the derived layer.
    pub fn biggest_chunk(&self) -> Result<String> {
        let image = self.image()?;
        let layers = image.manifest["layers"].as_array().context("reading the manifest's layers")?;
        ensure!(layers.len() > 2, "finding a chunk: the image has {} layers", layers.len());
        let chunks = &layers[1..layers.len() - 1];
        let biggest = chunks.iter().max_by_key(|layer| layer["size"].as_u64()).context("finding a chunk")?;
        Ok(text(&biggest["digest"])?.to_owned())
    }

    /// Flips one bit in the middle of a blob. The blob gets a new inode: others may have links to the old one.
    pub fn damage(&self, digest: &str) -> Result<()> {
        let path = self.blob(digest);
        let copy = path.with_extension("copy");
        fs::copy(&path, &copy).with_context(|| format!("copying blob {digest}"))?;
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&copy)
            .with_context(|| format!("opening blob {digest}"))?;
        let middle = file.metadata().context("examining the blob")?.len() / 2;
        let mut byte = [0];
        file.seek(SeekFrom::Start(middle)).context("seeking in the blob")?;
        file.read_exact(&mut byte).context("reading the blob")?;
        byte[0] ^= 1;
        file.seek(SeekFrom::Start(middle)).context("seeking in the blob")?;
        file.write_all(&byte).context("writing the blob")?;
        fs::rename(&copy, &path).with_context(|| format!("replacing blob {digest}"))
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("reading a string from {value}"))
}

fn list(value: &mut Value) -> Result<&mut Vec<Value>> {
    value.as_array_mut().context("reading a list in the image's metadata")
}

#[cfg(test)]
mod tests {
    use super::{Layout, digest};

    fn layout(dir: &std::path::Path) -> Layout {
        std::fs::create_dir_all(dir.join("blobs/sha256")).expect("directories");
        let layout = Layout::at(dir);
        let config = layout.write_blob(br#"{"created":"x","rootfs":{"diff_ids":["a"]},"history":[]}"#).expect("config");
        let big = layout.write_blob(b"0123456789").expect("a blob");
        let manifest = format!(
            r#"{{"config":{{"digest":"{config}","size":1}},"layers":[{{"digest":"sha256:c","size":99}},{{"digest":"{big}","size":10}}]}}"#
        );
        let manifest = layout.write_blob(manifest.as_bytes()).expect("manifest");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{manifest}"}}]}}"#);
        std::fs::write(dir.join("index.json"), index).expect("index");
        layout
    }

    #[test]
    fn a_layer_is_added_and_a_chunk_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = layout(dir.path());
        layout.add_layer(b"tar", b"gzip", "COPY").expect("a layer");
        let image = layout.image().expect("the image");
        let layers = image.manifest["layers"].as_array().expect("layers");
        assert_eq!(layers.len(), 3);
        assert_eq!(layers[2]["digest"], digest(b"gzip"));
        let bytes = std::fs::read(layout.blob(&image.digest)).expect("the manifest");
        assert_eq!(digest(&bytes), image.digest);

        let chunk = layout.biggest_chunk().expect("a chunk");
        assert_eq!(chunk, digest(b"0123456789"), "the commit layer is bigger and does not count");
        layout.damage(&chunk).expect("damage");
        assert_eq!(std::fs::read(layout.blob(&chunk)).expect("the blob"), b"0123446789");
    }
}
