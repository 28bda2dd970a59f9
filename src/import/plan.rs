// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is to be done, before anything is done.

use anyhow::{Context, Result};

use super::gvariant::parse_commit;
use super::keys::MANIFEST_DIGEST;
use super::refs::{image_ref, layer_ref};
use crate::oci::{Digest, ImageLayers, ImageReference, Layer};
use crate::ostree::{ObjectType, Repo};
use crate::source::VerifiedImage;

/// The result of looking at image and repository.
#[derive(Debug)]
pub enum Plan {
    /// The repository has the image: its merge commit.
    AlreadyPresent(Digest),
    /// It has to be imported.
    Ready(ImportPlan),
}

/// An import that can start.
#[derive(Debug)]
pub struct ImportPlan {
    /// The layers by what they mean.
    pub layers: ImageLayers,
    /// For each layer of the manifest, in its order: the commit that a finished import left, or none.
    pub present: Vec<Option<Digest>>,
}

impl ImportPlan {
    /// The commit that a finished import of a layer left, or none.
    pub fn present(&self, layer: &Layer) -> Option<Digest> {
        self.present.get(layer.number - 1).copied().flatten()
    }

    /// Layers that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &Layer> {
        self.layers.all().zip(&self.present).filter(|(_, present)| present.is_none()).map(|(layer, _)| layer)
    }

    /// Bytes that have to be read, as they are stored.
    pub fn missing_bytes(&self) -> u64 {
        self.missing().map(|layer| layer.descriptor.size).sum()
    }

    /// Bytes of layers that are already there, as they are stored.
    pub fn present_bytes(&self) -> u64 {
        self.layers.all().map(|layer| layer.descriptor.size).sum::<u64>() - self.missing_bytes()
    }
}

/// Compare an image with what the repository has.
pub fn plan(repo: &Repo, image: &VerifiedImage, reference: &ImageReference) -> Result<Plan> {
    if let Some(commit) = repo.resolve_ref(&image_ref(reference))? {
        let parsed = parse_commit(&repo.load_metadata(ObjectType::Commit, &commit)?)
            .with_context(|| format!("reading commit {}", commit.hex()))?;
        if parsed.get(MANIFEST_DIGEST) == Some(&image.manifest.digest.to_string()) {
            return Ok(Plan::AlreadyPresent(commit));
        }
    }
    let layers = ImageLayers::of(&image.manifest, &image.config)?;
    let present =
        layers.all().map(|layer| repo.resolve_ref(&layer_ref(&layer.descriptor.digest))).collect::<Result<_>>()?;
    Ok(Plan::Ready(ImportPlan { layers, present }))
}
