// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Refs of ours that nobody needs are removed, as ostree-ext does with those of layers after each import. Other tools'
//! refs are theirs: [`Mark`] tells. Objects go with a later prune.
//!
//! Tested by `src/slipstream/tests/boot/others.rs`, `src/slipstream/tests/concurrency/`.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use contract::names::{Digest, ImageReference};
use ostree::Repo;
use repo::ObjectType;
use repo::gvariant::parse_commit;
use repo::mark::Mark;
use repo::refs::{IMAGE_PREFIX, LAYER_PREFIX, OTHER_ROOTS, image_ref, layer_ref};
use serde_json::Value;

use crate::import::metadata_keys::MANIFEST;
use crate::import::session::Session;

/// Returns whether the repository at `path` has refs that are ours to remove, needed or not.
pub fn has_marked_refs(path: &Path) -> Result<bool> {
    let repo = Repo::open(path)?;
    for prefix in [IMAGE_PREFIX, LAYER_PREFIX] {
        for (name, _) in repo.refs(prefix)? {
            if Mark::of(path, &name)? != Mark::None {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Remove our refs of layers that are in no image of the repository. Returns how many.
pub fn collect_layers(session: &Session<'_>) -> Result<usize> {
    let repo = session.repo;
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
        if !needed.contains(&name) && Mark::of(&session.path, &name)? == Mark::Layer {
            repo.delete_ref(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Remove the refs of images that were imported to be booted, except that of `keep`, and came to nothing: their commits
/// are not among `deployed`.
pub fn forget_images(session: &Session<'_>, keep: Option<&ImageReference>, deployed: &[Digest]) -> Result<()> {
    let keep = keep.map(image_ref);
    for (name, commit) in session.repo.refs(IMAGE_PREFIX)? {
        let wanted = deployed.contains(&commit) || keep.as_ref() == Some(&name);
        if !wanted && Mark::of(&session.path, &name)? == Mark::Boot {
            session.repo.delete_ref(&name)?;
        }
    }
    Ok(())
}

/// The layers that a merge commit was made of; none for other commits.
fn layers_of(repo: &Repo, commit: &Digest) -> Result<Vec<Digest>> {
    let parsed = parse_commit(&repo.load_metadata(ObjectType::Commit, commit)?)?;
    let Some(manifest) = parsed.get(MANIFEST) else { return Ok(Vec::new()) };
    let manifest: Value = serde_json::from_str(manifest).context("parsing the stored manifest")?;
    let layers = manifest.get("layers").and_then(Value::as_array).context("stored manifest has no layers")?;
    layers.iter().map(|layer| Digest::parse(layer.get("digest").and_then(Value::as_str).unwrap_or_default())).collect()
}
