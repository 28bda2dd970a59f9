// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finished layers become part of the repository: sync, move, refs, in this order.

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::failpoint;
use contract::names::Digest;
use repo::ObjectType;
use repo::mark::Mark;
use repo::refs::layer_ref;
use repo::store::Store;
use repo::writer::Written;

use crate::import::layers::job::Finished;

/// A power cut should not cost more than this much work; a sync of little costs little.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// Collects finished layers and publishes them now and then.
#[derive(Debug)]
pub struct Publisher<'a> {
    store: &'a Store,
    pending: Vec<Finished>,
    /// Layers that were published, and their commits.
    done: Vec<(Digest, Digest)>,
    last: Instant,
}

impl<'a> Publisher<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store, pending: Vec::new(), done: Vec::new(), last: Instant::now() }
    }

    /// Take a finished layer.
    pub fn add(&mut self, finished: Finished) -> Result<()> {
        self.pending.push(finished);
        if self.last.elapsed() >= CHECKPOINT { self.publish() } else { Ok(()) }
    }

    /// Give a layer that is not published another commit.
    pub fn replace(&mut self, layer: &Digest, commit: Digest) -> bool {
        let found = self.pending.iter_mut().find(|finished| finished.digest == *layer);
        found.is_some_and(|finished| {
            let old = std::mem::replace(&mut finished.commit, commit);
            finished.objects.forget_commit(&old);
            true
        })
    }

    /// Publish what is there.
    pub fn publish(&mut self) -> Result<()> {
        self.publish_with(&Written::default())
    }

    /// Publish what is there, and other objects.
    pub fn publish_with(&mut self, others: &Written) -> Result<()> {
        let finished = self.take_pending();
        publish_layers(self.store, &finished, others)?;
        self.last = Instant::now();
        Ok(())
    }

    fn take_pending(&mut self) -> Vec<Finished> {
        let finished = std::mem::take(&mut self.pending);
        self.done.extend(finished.iter().map(|finished| (finished.digest, finished.commit)));
        finished
    }

    /// Set the refs of layers again that somebody has removed meanwhile: those of `present`, and those that were
    /// published here. An import by ostree-ext that ends while ours goes on removes what is in no image yet. Objects are
    /// still there: nobody can have pruned.
    pub fn restore_refs(&self, present: &[(Digest, Digest)]) -> Result<()> {
        let mut staged = Vec::new();
        for (layer, commit) in present.iter().chain(&self.done) {
            let name = layer_ref(layer);
            if !self.store.has_ref(&name)? {
                log::debug!("{name} was removed by another program");
                staged.push((self.store.stage_ref(commit, Mark::Layer)?, name));
            }
        }
        if !staged.is_empty() {
            self.store.sync()?;
        }
        staged.iter().try_for_each(|(staged, name)| self.store.publish_ref(staged, name))
    }

    /// Publish what is there on a thread of its own, which takes as long as importing a layer.
    pub fn publish_on<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> ScopedJoinHandle<'scope, Result<()>>
    where
        'a: 'scope,
    {
        let (store, finished) = (self.store, self.take_pending());
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
    let refs =
        layers.iter().map(|finished| store.stage_ref(&finished.commit, Mark::Layer)).collect::<Result<Vec<_>>>()?;
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

#[cfg(test)]
mod tests {
    use repo::mode::RepoMode;

    use super::*;

    #[test]
    fn refs_that_somebody_has_removed_are_set_again() {
        let repo = tempfile::tempdir_in("/var/tmp").unwrap();
        for name in ["objects", "refs/heads", "tmp"] {
            std::fs::create_dir_all(repo.path().join(name)).unwrap();
        }
        let store = Store::open(repo.path(), RepoMode::BareUser, 0).unwrap();
        let mut publisher = Publisher::new(&store);
        let [there, gone, ours] = ["there", "gone", "ours"].map(|text| Digest::of(text.as_bytes()));
        let [old, new] = ["old", "new"].map(|text| Digest::of(text.as_bytes()));
        publisher.done.push((ours, new));
        store.publish_ref(&store.stage_ref(&old, Mark::None).unwrap(), &layer_ref(&there)).unwrap();
        publisher.restore_refs(&[(there, new), (gone, new)]).unwrap();
        for (label, layer, commit, mark) in [
            ("one that is there", there, old, Mark::None),
            ("one that was there at the beginning", gone, new, Mark::Layer),
            ("one of this run", ours, new, Mark::Layer),
        ] {
            let name = layer_ref(&layer);
            let text = std::fs::read_to_string(repo.path().join("refs/heads").join(&name)).unwrap();
            assert_eq!(text.trim(), commit.hex(), "{label}");
            assert_eq!(Mark::of(repo.path(), &name).unwrap(), mark, "{label}");
        }
    }
}
