// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The merge commit of an image, and its ref.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::keys::{CONFIG, IMPORTER, IMPORTER_VERSION, MANIFEST, MANIFEST_DIGEST};
use super::label::Relabel;
use super::layer::write_commit;
use super::merge::{overlay, remove_mount_points};
use super::policy;
use super::refs::{image_ref, layer_ref};
use super::time::parse_rfc3339;
use super::tree::{Dir, write_dirmeta};
use crate::oci::{Digest, ImageReference};
use crate::ostree::{Repo, SePolicy, Transaction};
use crate::source::VerifiedImage;

const CREATED: &str = "org.opencontainers.image.created";

/// Merge the layers' commits and set the image's ref on the result.
pub(super) fn write(
    repo: &Repo,
    image: &VerifiedImage,
    reference: &ImageReference,
    base: Option<&Digest>,
    derived: &[Digest],
) -> Result<Digest> {
    let mut root = match base {
        Some(base) => Dir::of_commit(repo, base)?,
        None => empty_root(repo)?,
    };
    for layer in derived {
        overlay(repo, &mut root, &mut Dir::of_commit(repo, layer)?)?;
    }
    remove_mount_points(repo, &mut root)?;
    let policy = policy::of_tree(repo, &mut root, base)?;
    let changed = base.map_or(Ok(false), |base| policy::is_same(repo, &mut root, base).map(|same| !same))?;
    let transaction = repo.begin()?;
    if let Some(policy) = &policy {
        Relabel::new(&transaction, policy).dir("/", &mut root, 0)?;
        if changed {
            relabel_layers(&transaction, policy, image, derived)?;
        }
    }
    let tree = root.write(&transaction)?;
    let digest = image.manifest.digest.to_string();
    let (config, manifest) = (image.config.canonical_json(), image.manifest.canonical_json());
    let metadata: [(&str, &str); 4] =
        [(CONFIG, &config), (IMPORTER, IMPORTER_VERSION), (MANIFEST, &manifest), (MANIFEST_DIGEST, &digest)];
    let commit = write_commit(&transaction, &metadata, base, timestamp(image)?, &tree, &root.meta)?;
    transaction.set_ref(&image_ref(reference), &commit)?;
    transaction.commit().context("writing the merge commit")?;
    Ok(commit)
}

/// What layers are put on when there is no base.
fn empty_root(repo: &Repo) -> Result<Dir> {
    let transaction = repo.begin()?;
    let meta = write_dirmeta(&transaction, 0, 0, 0o755, &[])?;
    transaction.commit()?;
    Ok(Dir::new(meta))
}

/// The layers' own commits were labelled by the base's policy. When a layer brought another, they are labelled again,
/// so that the merge shares its objects with them.
fn relabel_layers(
    transaction: &Transaction<'_>,
    policy: &SePolicy,
    image: &VerifiedImage,
    derived: &[Digest],
) -> Result<()> {
    let layers = &image.manifest.layers;
    for (layer, commit) in layers[layers.len() - derived.len()..].iter().zip(derived) {
        let repo = transaction.repo();
        let mut root = Dir::of_commit(repo, commit)?;
        Relabel::new(transaction, policy).dir("/", &mut root, 0)?;
        let tree = root.write(transaction)?;
        let relabelled = write_commit(transaction, &[(IMPORTER, IMPORTER_VERSION)], None, 0, &tree, &root.meta)?;
        transaction.set_ref(&layer_ref(&layer.digest), &relabelled)?;
    }
    Ok(())
}

/// When the image says it was made, in seconds since 1970; now if it does not say. An annotation that cannot be read
/// counts as none, as upstream has it.
fn timestamp(image: &VerifiedImage) -> Result<u64> {
    let now =
        || SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).context("clock is before 1970");
    match (image.manifest.annotation(CREATED), image.config.created()) {
        (Some(annotation), _) => parse_rfc3339(annotation).or_else(|error| {
            log::debug!("annotation {CREATED}: {error:#}");
            now()
        }),
        (None, Some(created)) => parse_rfc3339(created).context("reading the image's time of creation"),
        (None, None) => now(),
    }
}
