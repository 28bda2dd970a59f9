// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signatures that are attached to an image, as `skopeo copy --sign-by-sigstore-private-key` and cosign write them: a
//! manifest at a tag that follows from the image's digest, whose layers are what was signed. Nothing is signed here: a
//! case says which bytes the signature is.

use std::collections::HashMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::blob::digest;
use crate::layout::{Layout, OCI_CONFIG, OCI_MANIFEST, digits, text};

/// The media type of a payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that is the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The signatures of an image, until they are written.
#[derive(Clone, Debug)]
pub struct Signatures {
    /// The manifest; what it says of the config is set when it is written.
    pub manifest: Value,
    /// The tag of the manifest.
    pub tag: String,
    blobs: Vec<Vec<u8>>,
}

/// Returns what is signed: that the image with this digest goes by this reference.
pub fn payload(digest: &str, reference: &str) -> Vec<u8> {
    let critical = json!({"type": "cosign container image signature", "image": {"docker-manifest-digest": digest},
        "identity": {"docker-reference": reference}});
    let optional = json!({"creator": "testkit", "timestamp": 1_700_000_000});
    json!({"critical": critical, "optional": optional}).to_string().into_bytes()
}

impl Signatures {
    /// Makes a manifest without signatures for the image with this digest.
    pub fn of(digest: &str) -> Self {
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": OCI_CONFIG}});
        Self { manifest, tag: format!("sha256-{}.sig", digits(digest)), blobs: Vec::new() }
    }

    /// Adds a payload and its signature, in base64.
    pub fn sign(self, payload: &[u8], signature: &str) -> Self {
        self.layer(PAYLOAD, payload, &[(SIGNATURE, signature)])
    }

    /// Adds a layer with these annotations.
    pub fn layer(mut self, media_type: &str, bytes: &[u8], annotations: &[(&str, &str)]) -> Self {
        let annotations: Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let layer = json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len(),
            "annotations": annotations});
        if let Some(layers) = self.manifest["layers"].as_array_mut() {
            layers.push(layer);
        }
        self.blobs.push(bytes.to_vec());
        self
    }

    /// Writes the blobs into a layout, names the manifest there by its tag, and returns its digest.
    pub fn write(&self, layout: &Layout) -> Result<String> {
        self.blobs.iter().try_for_each(|blob| layout.write(blob).map(drop))?;
        layout.write(self.config().as_bytes())?;
        let mut descriptor = layout.write_json(OCI_MANIFEST, &self.finished())?;
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": self.tag});
        let name = text(&descriptor["digest"])?.to_owned();
        layout.add(descriptor)?;
        Ok(name)
    }

    /// Returns what a registry gives out: the manifest by its tag, and each payload by the digits of its digest.
    pub fn served(&self) -> HashMap<String, Vec<u8>> {
        let named = |blob: &Vec<u8>| (digits(&digest(blob)).to_owned(), blob.clone());
        let mut files: HashMap<_, _> = self.blobs.iter().map(named).collect();
        files.insert(self.tag.clone(), self.finished().to_string().into_bytes());
        files
    }

    /// Returns the manifest as it is written.
    fn finished(&self) -> Value {
        let (mut manifest, config) = (self.manifest.clone(), self.config());
        manifest["config"]["digest"] = json!(digest(config.as_bytes()));
        manifest["config"]["size"] = json!(config.len());
        manifest
    }

    /// Returns the config, as skopeo makes it: an image that runs nowhere.
    fn config(&self) -> String {
        let ids: Vec<_> = self.blobs.iter().map(|blob| digest(blob)).collect();
        json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{PAYLOAD, SIGNATURE, Signatures, payload};
    use crate::blob::digest;
    use crate::image::Image;
    use crate::layout::{Layout, digits};

    #[test]
    fn names_a_manifest_by_its_tag_in_a_layout() {
        let dir = tempfile::tempdir().expect("a directory");
        let image = Image::plain().write(dir.path()).expect("an image");
        let layout = Layout::at(dir.path());
        let signed = payload(&image, "quay.example/os/node");
        let signatures = Signatures::of(&image).sign(&signed, "c2ln");
        let name = signatures.write(&layout).expect("signatures");
        let manifest = layout.read_json(&name).expect("the manifest");
        assert_eq!(layout.read(manifest["layers"][0]["digest"].as_str().expect("a digest")).expect("a blob"), signed);
        assert!(layout.read(manifest["config"]["digest"].as_str().expect("a digest")).is_ok());
        assert_eq!(manifest["layers"][0]["mediaType"], PAYLOAD);
        assert_eq!(manifest["layers"][0]["annotations"][SIGNATURE], "c2ln");
        let files = layout.served().expect("files");
        let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
        let tag = format!("sha256-{}.sig", digits(&image));
        assert_eq!(index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"], tag);
        assert_eq!(layout.image().expect("the image").digest, image, "the image stays the first");
        let served = signatures.served();
        assert_eq!(served[digits(&digest(&signed))], signed);
        assert_eq!(digest(&served[&tag]), name);
    }
}
