// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finished layers become part of the repository: sync, move, refs, in this order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::layer::Finished;
use super::refs::layer_ref;
use super::store::{ObjectName, Store};
use crate::oci::Digest;
use crate::ostree::Repo;

/// A power cut should not cost more than this much work; a sync of little costs little.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// Collects finished layers and publishes them now and then.
#[derive(Debug)]
pub(super) struct Publisher<'a> {
    repo: &'a Repo,
    store: &'a Store,
    pending: Vec<Finished>,
    last: Instant,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(repo: &'a Repo, store: &'a Store) -> Self {
        Self { repo, store, pending: Vec::new(), last: Instant::now() }
    }

    /// Take a finished layer.
    pub(super) fn add(&mut self, finished: Finished) -> Result<()> {
        self.pending.push(finished);
        if self.last.elapsed() >= CHECKPOINT { self.publish() } else { Ok(()) }
    }

    /// Take the commit layer. Until the import is whole its commit must not look complete.
    pub(super) fn add_base(&mut self, finished: Finished) -> Result<()> {
        self.repo.mark_partial(&finished.commit)?;
        self.add(finished)
    }

    /// Give a layer that is not published another commit.
    pub(super) fn replace(&mut self, layer: &Digest, commit: Digest) -> bool {
        let found = self.pending.iter_mut().find(|finished| finished.digest == *layer);
        found.is_some_and(|finished| {
            let old = std::mem::replace(&mut finished.commit, commit);
            finished.objects.retain(|(_, checksum)| *checksum != old);
            true
        })
    }

    /// Publish what is there.
    pub(super) fn publish(&mut self) -> Result<()> {
        self.publish_with(&[])
    }

    /// Publish what is there, and other objects. The refs are set, but may not be on disk yet.
    pub(super) fn publish_with(&mut self, others: &[ObjectName]) -> Result<()> {
        if self.pending.is_empty() && others.is_empty() {
            return Ok(());
        }
        // Objects get their names when they are on disk, so that a name always means the whole object.
        self.store.sync()?;
        self.store.publish(others)?;
        for finished in &self.pending {
            self.store.publish(&finished.objects)?;
        }
        for finished in self.pending.drain(..) {
            self.repo.set_ref(&layer_ref(&finished.digest), &finished.commit).context("publishing a layer")?;
        }
        self.last = Instant::now();
        Ok(())
    }
}
