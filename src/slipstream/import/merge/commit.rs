// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The merge commit of an image, and its ref.
//!
//! Tested by `src/slipstream/tests/differential/`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use contract::failpoint;
use contract::names::{Digest, ImageReference};
use image::oci::Layer;
use image::oci::time::parse_rfc3339;
use ostree::SePolicy;
use repo::mark::Mark;
use repo::refs::{image_ref, layer_ref};
use repo::store::Store;
use repo::tree::{Dir, write_dirmeta};
use repo::writer::{Writer, Written};
use source::VerifiedImage;

use crate::import::layers::job::write_layer_commit;
use crate::import::layers::publish::Publisher;
use crate::import::merge::overlay::{overlay, remove_mount_points};
use crate::import::merge::relabel::Relabel;
use crate::import::merge::selinux_policy::TreePolicy;
use crate::import::metadata_keys::{CONFIG, IMPORTER, IMPORTER_VERSION, MANIFEST, MANIFEST_DIGEST};
use crate::import::session::{Purpose, Session};

const CREATED: &str = "org.opencontainers.image.created";

/// What the merge commit is made of.
pub struct MergeCommit<'a> {
    pub store: &'a Store,
    pub image: &'a VerifiedImage,
    /// The repository's `tmp`.
    pub temporary: &'a Path,
    /// The base commit.
    pub base: Option<Digest>,
    /// Its tree.
    pub root: Option<Dir>,
    /// The policy in it.
    pub policy: Option<TreePolicy>,
    pub layers: &'a [Layer],
}

impl MergeCommit<'_> {
    /// Merges the commits of the derived layers.
    pub fn build(mut self, derived: &[Digest], publisher: &mut Publisher<'_>) -> Result<UnpublishedMergeCommit> {
        let store = self.store;
        let writer = Writer::new(store);
        let mut root = match self.root.take() {
            Some(root) => root,
            None => Dir::new(write_dirmeta(&writer, 0, 0, 0o755, &[])?),
        };
        for layer in derived {
            overlay(store, &mut root, Dir::of_commit(store, layer)?)?;
        }
        remove_mount_points(store, &mut root)?;
        // A layer may have brought another policy.
        let same = match &self.policy {
            Some(policy) => policy.is_of(store, &mut root)?,
            None => false,
        };
        if !same {
            self.policy = None;
            self.policy = TreePolicy::of_tree(store, &mut root, self.temporary)?;
        }
        let mut moved = Vec::new();
        if let Some(policy) = &self.policy {
            Relabel::new(&writer, &policy.policy).tree(&mut root)?;
            moved = self.relabel_layers(&writer, &policy.policy, derived, publisher)?;
        }
        let commit = self.write_commit(&writer, &root)?;
        Ok(UnpublishedMergeCommit { commit, moved, objects: writer.finish() })
    }

    fn write_commit(&self, writer: &Writer<'_>, root: &Dir) -> Result<Digest> {
        let (image, tree) = (self.image, root.write(writer)?);
        let digest = image.manifest.digest.to_string();
        let (config, manifest) = (image.config.canonical_json(), image.manifest.canonical_json());
        let metadata: [(&str, &str); 4] =
            [(CONFIG, &config), (IMPORTER, IMPORTER_VERSION), (MANIFEST, &manifest), (MANIFEST_DIGEST, &digest)];
        writer.write_commit(&metadata, self.base.as_ref(), timestamp(image)?, &tree, &root.meta)
    }

    /// The layers' own commits were labelled as the tar came, by the base's policy. They are labelled again, path by
    /// path, by the merged tree's, so that the merge shares its objects with them. Returns refs of layers that were
    /// published before and have moved.
    fn relabel_layers(
        &self,
        writer: &Writer<'_>,
        policy: &SePolicy,
        derived: &[Digest],
        publisher: &mut Publisher<'_>,
    ) -> Result<Vec<(String, Digest)>> {
        let mut moved = Vec::new();
        for (layer, commit) in self.layers.iter().zip(derived) {
            let mut root = Dir::of_commit(self.store, commit)?;
            Relabel::new(writer, policy).tree(&mut root)?;
            let relabelled = write_layer_commit(writer, root.write(writer)?, &root.meta)?;
            let digest = &layer.descriptor.digest;
            if relabelled != *commit && !publisher.replace(digest, relabelled) {
                moved.push((layer_ref(digest), relabelled));
            }
        }
        Ok(moved)
    }
}

/// A merge commit that is staged.
pub struct UnpublishedMergeCommit {
    commit: Digest,
    /// Refs of layers that were published before and have moved.
    moved: Vec<(String, Digest)>,
    objects: Written,
}

impl UnpublishedMergeCommit {
    /// Publish everything that is not yet, and set the image's ref. `present` are the layers that were there before,
    /// with their commits. Returns the merge commit.
    pub fn publish(
        self,
        session: &Session<'_>,
        store: &Store,
        reference: &ImageReference,
        present: &[(Digest, Digest)],
        publisher: &mut Publisher<'_>,
    ) -> Result<Digest> {
        let mark = if session.purpose == Purpose::Boot { Mark::Boot } else { Mark::None };
        let image = store.stage_ref(&self.commit, mark)?;
        let stage_moved = |(name, commit): (String, Digest)| {
            let staged = store.stage_ref(&commit, Mark::of(&session.path, &name)?)?;
            Ok((name, staged))
        };
        let moved = self.moved.into_iter().map(stage_moved).collect::<Result<Vec<_>>>()?;
        publisher.publish_with(&self.objects)?;
        failpoint::reached("merge-commit");
        for (name, staged) in moved {
            store.publish_ref(&staged, &name)?;
        }
        publisher.restore_refs(present)?;
        // All that the image needs is on disk before its name is.
        store.sync()?;
        store.publish_ref(&image, &image_ref(reference))?;
        store.sync()?;
        failpoint::reached("image-ref");
        Ok(self.commit)
    }
}

/// Returns when the image says it was made, in seconds since 1970; now if it does not say. What cannot be read is only of
/// interest to people and counts as nothing said. A time before 1970 has the bits of the negative number, as upstream has it.
fn timestamp(image: &VerifiedImage) -> Result<u64> {
    let said = image.manifest.annotation(CREATED).or(image.config.created()).map(parse_rfc3339);
    match said {
        Some(Ok(seconds)) => return Ok(seconds.cast_unsigned()),
        Some(Err(error)) => log::debug!("reading when the image was made: {error:#}"),
        None => {}
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).context("clock is before 1970")
}
