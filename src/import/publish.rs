// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finished layers become part of the repository: sync, move, refs, in this order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::layer::Finished;
use super::refs::layer_ref;
use super::store::{ObjectName, Store};
use crate::failpoint;
use crate::oci::Digest;
use crate::ostree::ObjectType;

/// A power cut should not cost more than this much work; a sync of little costs little.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// Collects finished layers and publishes them now and then.
#[derive(Debug)]
pub(super) struct Publisher<'a> {
    store: &'a Store,
    pending: Vec<Finished>,
    last: Instant,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, pending: Vec::new(), last: Instant::now() }
    }

    /// Take a finished layer.
    pub(super) fn add(&mut self, finished: Finished) -> Result<()> {
        self.pending.push(finished);
        if self.last.elapsed() >= CHECKPOINT { self.publish() } else { Ok(()) }
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

    /// Publish what is there, and other objects. Object and ref files are on disk then; that they have their names may
    /// not be yet, but names come to be on disk in this order.
    pub(super) fn publish_with(&mut self, others: &[ObjectName]) -> Result<()> {
        if self.pending.is_empty() && others.is_empty() {
            return Ok(());
        }
        let refs = self.pending.iter().map(|finished| self.store.stage_ref(&finished.commit));
        let refs = refs.collect::<Result<Vec<_>>>()?;
        // Objects get their names when they are on disk, so that a name always means the whole object.
        self.store.sync()?;
        let objects = || self.pending.iter().flat_map(|finished| &finished.objects).chain(others);
        // Commits last: one that is there has all that it needs.
        self.store.publish(objects().filter(|(kind, _)| *kind != ObjectType::Commit))?;
        self.store.publish(objects().filter(|(kind, _)| *kind == ObjectType::Commit))?;
        for (finished, staged) in self.pending.drain(..).zip(refs) {
            self.store.publish_ref(&staged, &layer_ref(&finished.digest)).context("publishing a layer")?;
            failpoint::reached("layer-ref");
        }
        self.last = Instant::now();
        Ok(())
    }
}
