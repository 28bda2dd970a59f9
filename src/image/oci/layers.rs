// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which layers are the ostree commit, which are its chunks, which were put on top.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/documents.rs`.

use anyhow::{Context, Result, ensure};
use contract::names::Digest;

use crate::oci::{Descriptor, ImageConfig, Manifest};

/// A layer: its descriptor, and the digest that its uncompressed tar must have.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where the bytes are and what they hash to.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Its place in the manifest, from 1, for people.
    pub number: usize,
}

/// The layers of an image by what they mean (ostree-ext `parse_manifest_layout`).
#[derive(Clone, Debug)]
pub struct ImageLayers {
    /// The layer with the base commit and its metadata. `None`: an image with no ostree content.
    pub commit: Option<Layer>,
    /// Layers with content objects of the base commit, in order.
    pub chunks: Vec<Layer>,
    /// Layers with plain files, lowest first.
    pub derived: Vec<Layer>,
}

impl ImageLayers {
    /// Tell the layers of an image apart.
    pub fn of(manifest: &Manifest, config: &ImageConfig) -> Result<Self> {
        let (layers, ids) = (&manifest.layers, &config.diff_ids);
        ensure!(
            layers.len() == ids.len(),
            "manifest has {} layers, but config has {} diffIDs",
            layers.len(),
            ids.len()
        );
        let mut all: Vec<Layer> = layers
            .iter()
            .zip(ids)
            .enumerate()
            .map(|(n, (descriptor, id))| Layer { descriptor: descriptor.clone(), diff_id: *id, number: n + 1 })
            .collect();
        let Some(last) = config.final_diff_id()? else {
            return Ok(Self { commit: None, chunks: Vec::new(), derived: all });
        };
        let position = ids.iter().position(|id| *id == last);
        let position = position.with_context(|| format!("no layer has the diffID {last} of ostree.final-diffid"))?;
        let target = layers[position].digest;
        let count = layers.iter().filter(|layer| layer.digest == target).count();
        ensure!(count == 1, "the last ostree layer {target} is in the manifest {count} times");
        let derived = all.split_off(position + 1);
        let chunks = all.split_off(1);
        Ok(Self { commit: all.pop(), chunks, derived })
    }

    /// All layers, in the order of the manifest.
    pub fn all(&self) -> impl Iterator<Item = &Layer> {
        self.commit.iter().chain(&self.chunks).chain(&self.derived)
    }
}
