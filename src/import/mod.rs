// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes to a commit: an image into an ostree repository, as ostree-ext would have written it.
//!
//! 1. [`plan`]: which layers the repository has.
//! 2. Each missing layer, in the order chunks, commit layer, derived layers: its entries are written in a transaction.
//!    The layer's ref is set only after both digests of the layer have been checked; the transaction is dropped
//!    otherwise, and nothing of it is reachable. A finished layer survives a power cut and is not read again.
//! 3. The merge commit, and with it the image's ref.
//! 4. Refs of layers that no image needs are removed.
//!
//! Refs, metadata keys and the tree are described in `docs/format.md`.

mod chunk;
mod derived;
mod gc;
mod gvariant;
mod keys;
mod label;
mod layer;
mod layer_tree;
mod merge;
mod merge_commit;
mod path;
mod plan;
mod policy;
mod refs;
mod time;
mod tree;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

pub use gc::{collect_layers, forget_image};
pub use plan::{ImportPlan, Plan, plan};

use crate::oci::{Digest, ImageReference};
use crate::ostree::Repo;
use crate::source::VerifiedImage;
use layer::LayerImporter;
use tree::Dir;

/// An image that is in the repository, whole and verified.
#[derive(Debug)]
pub struct Imported {
    /// The merge commit.
    pub commit: Digest,
}

/// Import what `plan` found missing, and write the merge commit. `repo_path` is where `repo` is.
pub fn import(
    repo: &Repo,
    repo_path: &Path,
    image: &VerifiedImage,
    reference: &ImageReference,
    plan: &ImportPlan,
    deadline: Instant,
) -> Result<Imported> {
    let mut importer = LayerImporter::new(repo, image, plan, deadline);
    for chunk in &plan.layers.chunks {
        importer.chunk(chunk)?;
    }
    let base = plan.layers.commit.as_ref().map(|layer| importer.commit_layer(layer)).transpose()?;
    let derived = importer.derived(&plan.layers.derived, base.as_ref(), &repo_path.join("tmp"))?;
    let commit = merge_commit::write(repo, image, reference, base.as_ref(), &derived)?;
    collect_layers(repo)?;
    Ok(Imported { commit })
}

/// The versions of the kernels in a commit: the directories of `/usr/lib/modules` that hold a `vmlinuz`.
pub fn kernels(repo: &Repo, commit: &Digest) -> Result<Vec<String>> {
    let mut root = Dir::of_commit(repo, commit)?;
    let mut dir = &mut root;
    for name in ["usr", "lib", "modules"] {
        let node =
            dir.dirs.get_mut(name).with_context(|| format!("commit {} has no /usr/lib/modules", commit.hex()))?;
        dir = node.load(repo)?;
    }
    let mut found = Vec::new();
    for (version, node) in &mut dir.dirs {
        if node.load(repo)?.files.contains_key("vmlinuz") {
            found.push(version.clone());
        }
    }
    Ok(found)
}
