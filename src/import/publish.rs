// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finished layers become part of the repository: sync, move, refs, in this order.

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::layer::Finished;
use super::refs::layer_ref;
use super::store::Store;
use super::writer::Written;
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
            finished.objects.forget_commit(&old);
            true
        })
    }

    /// Publish what is there.
    pub(super) fn publish(&mut self) -> Result<()> {
        self.publish_with(&Written::default())
    }

    /// Publish what is there, and other objects.
    pub(super) fn publish_with(&mut self, others: &Written) -> Result<()> {
        let finished = std::mem::take(&mut self.pending);
        publish_layers(self.store, &finished, others)?;
        self.last = Instant::now();
        Ok(())
    }

    /// Publish what is there on a thread of its own, which takes as long as importing a layer.
    pub(super) fn publish_on<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
    ) -> ScopedJoinHandle<'scope, Result<()>>
    where
        'a: 'scope,
    {
        let (store, finished) = (self.store, std::mem::take(&mut self.pending));
        self.last = Instant::now();
        scope.spawn(move || publish_layers(store, &finished, &Written::default()))
    }
}

/// Publish layers and other objects. Object and ref files are on disk then; that they have their names may not be yet,
/// but names come to be on disk in this order.
fn publish_layers(store: &Store, layers: &[Finished], others: &Written) -> Result<()> {
    if layers.is_empty() && others.names().next().is_none() {
        return Ok(());
    }
    let refs = layers.iter().map(|finished| store.stage_ref(&finished.commit)).collect::<Result<Vec<_>>>()?;
    // Objects get their names when they are on disk, so that a name always means the whole object.
    store.sync()?;
    let objects = || layers.iter().map(|finished| &finished.objects).chain([others]).flat_map(Written::names);
    // Commits last: one that is there has all that it needs.
    store.publish(objects().filter(|(kind, _)| *kind != ObjectType::Commit))?;
    store.publish(objects().filter(|(kind, _)| *kind == ObjectType::Commit))?;
    for (finished, staged) in layers.iter().zip(refs) {
        store.publish_ref(&staged, &layer_ref(&finished.digest)).context("publishing a layer")?;
        failpoint::reached("layer-ref");
    }
    Ok(())
}
