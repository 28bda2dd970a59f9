// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image between reading and writing: the blobs of a base, layers on top of them, and whatever a case does to the
//! metadata.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::blob::{Blob, Packing, digest};
use crate::layer::Layer;
use crate::layout::{Layout, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, text};

/// The version of an image, unless a test says otherwise: not far from the bootimage's of a [`crate::machine::Machine`].
pub const VERSION: &str = "41.2";

/// An image between reading and writing.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest; what it says of the config is set when it is written.
    pub manifest: Value,
    /// The config.
    pub config: Value,
    /// Digests and bytes of the blobs that the base's layout does not have.
    pub blobs: Vec<(String, Vec<u8>)>,
    /// Whether it is written behind an image index, beside an image for another architecture.
    pub indexed: bool,
    base: Option<Layout>,
}

impl Image {
    /// Loads the one image of a layout.
    pub fn load(layout: &Layout) -> Result<Self> {
        let manifest = layout.image()?.manifest;
        let config = layout.read_json(text(&manifest["config"]["digest"])?)?;
        Ok(Self { manifest, config, blobs: Vec::new(), indexed: false, base: Some(layout.clone()) })
    }

    /// Makes an image with no layer and no ostree in it, and the label of bootc.
    pub fn plain() -> Self {
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": OCI_CONFIG}});
        let config = json!({"architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z",
            "config": {"Labels": {"containers.bootc": "1", "org.opencontainers.image.version": VERSION}},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": []});
        Self { manifest, config, blobs: Vec::new(), indexed: false, base: None }
    }

    /// Reads a blob of the base.
    pub fn read_blob(&self, digest: &str) -> Result<Vec<u8>> {
        self.base.as_ref().context("finding the base")?.read(digest)
    }

    /// Adds a layer at the end, as a container build does.
    pub fn push(&mut self, blob: &Blob) -> Result<()> {
        let name = digest(&blob.packed);
        push(
            &mut self.manifest["layers"],
            json!({"mediaType": blob.media_type, "digest": name, "size": blob.packed.len()}),
        )?;
        push(&mut self.config["rootfs"]["diff_ids"], json!(digest(&blob.tar)))?;
        push(&mut self.config["history"], json!({"created_by": "testkit"}))?;
        self.blobs.push((name, blob.packed.clone()));
        Ok(())
    }

    /// Adds a gzip layer that `fill` writes.
    pub fn layer(&mut self, fill: impl FnOnce(&mut Layer)) -> Result<()> {
        self.push(&Blob::of(Packing::Gzip, fill))
    }

    /// Writes the image into `dir`, which may be the layout that it was loaded from, and returns the digest that the
    /// layout's index has.
    pub fn write(mut self, dir: &Path) -> Result<String> {
        let layout = Layout::create(dir)?;
        if let Some(base) = self.base.as_ref().filter(|base| base.dir() != dir) {
            link_blobs(base.dir(), dir)?;
        }
        self.blobs.iter().try_for_each(|(name, data)| layout.write_as(name, data))?;
        let config = layout.write_json(OCI_CONFIG, &self.config)?;
        for field in ["digest", "size"] {
            self.manifest["config"][field] = config[field].clone();
        }
        let media_type = self.manifest["mediaType"].as_str().unwrap_or(OCI_MANIFEST);
        let mut top = layout.write_json(media_type, &self.manifest)?;
        if self.indexed {
            let other = json!({"mediaType": OCI_MANIFEST, "digest": digest(b"of another machine"), "size": 18,
                "platform": {"architecture": "s390x", "os": "linux"}});
            top["platform"] = json!({"architecture": "amd64", "os": "linux"});
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other, top]});
            top = layout.write_json(OCI_INDEX, &index)?;
        }
        let digest = text(&top["digest"])?.to_owned();
        layout.write_index(&[top])?;
        Ok(digest)
    }
}

fn push(array: &mut Value, value: Value) -> Result<()> {
    array.as_array_mut().context("finding an array in the image's metadata")?.push(value);
    Ok(())
}

/// Shares the base's blobs: none is written into.
fn link_blobs(base: &Path, dir: &Path) -> Result<()> {
    for entry in fs::read_dir(base.join("blobs/sha256")).context("listing the base's blobs")? {
        let entry = entry.context("listing the base's blobs")?;
        let to = dir.join("blobs/sha256").join(entry.file_name());
        fs::hard_link(entry.path(), &to).with_context(|| format!("linking {}", to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Image;
    use crate::blob::digest;
    use crate::layout::Layout;

    #[test]
    fn adds_a_layer_to_what_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut image = Image::plain();
        image
            .layer(|layer| {
                layer.file("usr/a", "a");
            })
            .expect("a layer");
        let first = image.write(dir.path()).expect("an image");
        let layout = Layout::at(dir.path());
        let mut image = Image::load(&layout).expect("the image");
        image
            .layer(|layer| {
                layer.file("usr/b", "b");
            })
            .expect("a layer");
        let second = image.write(dir.path()).expect("an image");
        let stored = layout.image().expect("the image");
        assert!(first != second && stored.digest == second);
        assert_eq!(digest(&layout.read(&second).expect("the manifest")), second);
        let layers = stored.layers().expect("layers");
        assert_eq!(layers.len(), 2);
        for layer in layers {
            assert_eq!(digest(&layout.read(&layer).expect("a layer")), layer);
        }
    }

    #[test]
    fn names_an_index_when_it_is_behind_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let image = Image { indexed: true, ..Image::plain() };
        let digest = image.write(dir.path()).expect("an image");
        let index = Layout::at(dir.path()).read_json(&digest).expect("an index");
        assert_eq!(index["manifests"][1]["platform"]["architecture"], "amd64");
    }
}
