// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The merge commit of an image, and its ref.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::keys::{CONFIG, IMPORTER, IMPORTER_VERSION, MANIFEST, MANIFEST_DIGEST};
use super::layer::write_commit;
use super::merge::{overlay, relabel, remove_mount_points};
use super::refs::image_ref;
use super::time::parse_rfc3339;
use super::tree::{Dir, write_dirmeta};
use crate::oci::{Digest, ImageReference};
use crate::ostree::{Repo, SePolicy};
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
    let transaction = repo.begin()?;
    let mut root = match base {
        Some(base) => Dir::of_commit(repo, base)?,
        None => Dir::new(write_dirmeta(&transaction, 0, 0, 0o755, &[])?),
    };
    for layer in derived {
        overlay(repo, &mut root, &mut Dir::of_commit(repo, layer)?)?;
    }
    remove_mount_points(repo, &mut root)?;
    // The policy is read out of a commit, so the tree is written once without labels. Unchanged directories and files
    // cost nothing the second time.
    let plain = root.write(&transaction)?;
    let plain = write_commit(&transaction, &[], None, 0, &plain, &root.meta)?;
    let policy = SePolicy::of_commit(repo, &plain)?;
    relabel(&transaction, policy.as_ref(), &mut root)?;
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

/// When the image says it was made, in seconds since 1970; now if it does not say.
fn timestamp(image: &VerifiedImage) -> Result<u64> {
    let created = image.manifest.annotation(CREATED).or_else(|| image.config.created());
    match created.map(parse_rfc3339) {
        Some(Ok(seconds)) => Ok(seconds),
        Some(Err(error)) => Err(error).context("reading the image's time of creation"),
        None => Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("clock is before 1970")?.as_secs()),
    }
}
