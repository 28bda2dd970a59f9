// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is to be done, before anything is done.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/interrupt/`.

use anyhow::{Context, Result, ensure};
use contract::names::{Digest, ImageReference};
use image::oci::{ImageLayers, Layer};
use repo::ObjectType;
use repo::gvariant::parse_commit;
use repo::mark::Mark;
use repo::refs::{image_ref, layer_ref};
use repo::store::remove_stages;
use source::VerifiedImage;

use crate::import::metadata_keys::MANIFEST_DIGEST;
use crate::import::session::{Purpose, Session};

/// Longest part of a ref, in bytes: it is the name of a file or directory.
const MAX_REF_PART: usize = 255;

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
    /// The kernel that the image must have. It is known early that it does not: the import then ends with
    /// [`super::OtherKernel`]. That it has it is for the caller to check.
    pub kernel: Option<String>,
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

    /// Layers that are there, with their commits.
    pub(crate) fn present_commits(&self) -> Vec<(Digest, Digest)> {
        let layers = self.layers.all().zip(&self.present);
        layers.filter_map(|(layer, present)| Some((layer.descriptor.digest, (*present)?))).collect()
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

/// Compare an image with what the repository has. What a run that was killed at its very end has left there is removed.
pub fn plan(session: &Session<'_>, image: &VerifiedImage, reference: &ImageReference) -> Result<Plan> {
    let repo = session.repo;
    let name = image_ref(reference);
    ensure!(
        name.split('/').all(|part| part.len() <= MAX_REF_PART),
        "the name of image {reference} is too long for a ref"
    );
    if let Some(commit) = repo.resolve_ref(&name)? {
        let parsed = parse_commit(&repo.load_metadata(ObjectType::Commit, &commit)?)
            .with_context(|| format!("reading commit {}", commit.hex()))?;
        if parsed.get(MANIFEST_DIGEST) == Some(&image.manifest.digest.to_string()) {
            remove_stages(&session.path.join("tmp"), None)?;
            if session.purpose == Purpose::Pull {
                // One that an earlier boot has brought, and that is wanted now whether it boots or not.
                Mark::clear(&session.path, &name)?;
            }
            return Ok(Plan::AlreadyPresent(commit));
        }
    }
    let layers = ImageLayers::of(&image.manifest, &image.config)?;
    let present =
        layers.all().map(|layer| repo.resolve_ref(&layer_ref(&layer.descriptor.digest))).collect::<Result<_>>()?;
    Ok(Plan::Ready(ImportPlan { layers, present, kernel: None }))
}
