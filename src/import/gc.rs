// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layer refs that no image needs are removed, as ostree-ext does after each import. Objects go with a later prune.

use std::collections::HashSet;

use anyhow::{Context, Result};
use serde_json::Value;

use super::gvariant::parse_commit;
use super::keys::MANIFEST;
use super::refs::{IMAGE_PREFIX, LAYER_PREFIX, OTHER_ROOTS, image_ref, layer_ref};
use crate::oci::{Digest, ImageReference};
use crate::ostree::{ObjectType, Repo};

/// Remove the refs of layers that are in no image of the repository. Returns how many.
pub fn collect_layers(repo: &Repo) -> Result<usize> {
    let mut needed = HashSet::new();
    for prefix in [IMAGE_PREFIX].iter().chain(&OTHER_ROOTS) {
        for (name, commit) in repo.refs(prefix)? {
            for layer in layers_of(repo, &commit).with_context(|| format!("reading the image of {name}"))? {
                needed.insert(layer_ref(&layer));
            }
        }
    }
    let mut removed = 0;
    for (name, _) in repo.refs(LAYER_PREFIX)? {
        if !needed.contains(&name) {
            repo.delete_ref(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Remove the ref of an image that came to nothing.
pub fn forget_image(repo: &Repo, image: &ImageReference) -> Result<()> {
    let name = image_ref(image);
    match repo.resolve_ref(&name)? {
        Some(_) => repo.delete_ref(&name),
        None => Ok(()),
    }
}

/// The layers that a merge commit was made of; none for other commits.
fn layers_of(repo: &Repo, commit: &Digest) -> Result<Vec<Digest>> {
    let parsed = parse_commit(&repo.load_metadata(ObjectType::Commit, commit)?)?;
    let Some(manifest) = parsed.get(MANIFEST) else { return Ok(Vec::new()) };
    let manifest: Value = serde_json::from_str(manifest).context("parsing the stored manifest")?;
    let layers = manifest.get("layers").and_then(Value::as_array).context("stored manifest has no layers")?;
    layers.iter().map(|layer| Digest::parse(layer.get("digest").and_then(Value::as_str).unwrap_or_default())).collect()
}
