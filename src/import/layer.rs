// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One layer: its blob, its transaction, its ref.

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::chunk::import_objects;
use super::derived::{LayerContext, import_tree};
use super::gvariant::{commit as serialize_commit, dirtree};
use super::keys::{IMPORTER, IMPORTER_VERSION};
use super::plan::ImportPlan;
use super::refs::layer_ref;
use super::tree::{self, Dir, write_dirmeta};
use crate::oci::{Digest, Layer};
use crate::ostree::{ObjectType, Repo, SePolicy, Transaction};
use crate::report::Progress;
use crate::source::VerifiedImage;
use crate::stream::{LayerStream, Skip, TarReader};

/// Where a base commit says what kind of root it boots with (ostree-ext `container/store.rs` looks here).
const PREPARE_ROOT: [&[&str]; 2] =
    [&["etc", "ostree", "prepare-root.conf"], &["usr", "lib", "ostree", "prepare-root.conf"]];
/// Largest prepare-root.conf, in bytes.
const MAX_CONF: u64 = 64 << 10;

/// Imports layers, and counts bytes while it does.
pub(super) struct LayerImporter<'a> {
    repo: &'a Repo,
    image: &'a VerifiedImage,
    plan: &'a ImportPlan,
    deadline: Instant,
    progress: Progress,
}

type Blob<'p> = Metered<'p, Box<dyn Read + Send>>;
/// The tar of a layer, as it comes out of the stack of readers.
type LayerTar<'p> =
    TarReader<crate::stream::VerifyReader<crate::stream::Inflate<crate::stream::VerifyReader<Blob<'p>>>>>;

impl<'a> LayerImporter<'a> {
    pub(super) fn new(repo: &'a Repo, image: &'a VerifiedImage, plan: &'a ImportPlan, deadline: Instant) -> Self {
        Self { repo, image, plan, deadline, progress: Progress::new(plan.missing_bytes()) }
    }

    fn present(&self, layer: &Layer) -> Option<Digest> {
        self.plan.present.get(layer.number - 1).copied().flatten()
    }

    /// Import a layer, unless it is there. Its ref is set, in the same transaction, when `write` has read all of it
    /// and both digests are right.
    fn import(
        &mut self,
        layer: &Layer,
        write: impl FnOnce(&Transaction<'_>, &mut LayerTar<'_>) -> Result<Digest>,
    ) -> Result<Digest> {
        if let Some(commit) = self.present(layer) {
            return Ok(commit);
        }
        let digest = layer.descriptor.digest;
        let what = || format!("importing layer {}/{} {digest}", layer.number, self.plan.present.len());
        let started = Instant::now();
        let blob = self.image.open_blob(digest).with_context(what)?;
        let blob = Metered { inner: blob, progress: &mut self.progress, deadline: self.deadline };
        let mut stream = LayerStream::new(blob, layer).with_context(what)?;
        let transaction = self.repo.begin()?;
        let commit = write(&transaction, stream.tar()).with_context(what)?;
        let size = stream.finish().with_context(what)?;
        transaction.set_ref(&layer_ref(&digest), &commit)?;
        transaction.commit().with_context(what)?;
        log::debug!(
            "layer {} {digest}: {} bytes, unpacked {size}, in {:.2} s",
            layer.number,
            layer.descriptor.size,
            started.elapsed().as_secs_f64()
        );
        Ok(commit)
    }

    /// A chunk becomes a commit of its own, with its objects in one flat directory: so they are reachable, and the
    /// next image that has the chunk finds it.
    pub(super) fn chunk(&mut self, layer: &Layer) -> Result<Digest> {
        self.import(layer, |transaction, tar| {
            let objects = import_objects(transaction, tar, false)?;
            let meta = write_dirmeta(transaction, 0, 0, 0o755, &[])?;
            let names: Vec<(String, Digest)> = objects.files.iter().map(|file| (file.hex(), *file)).collect();
            let files = names.iter().map(|(name, file)| (name.as_str(), *file));
            let tree = transaction.write_metadata(ObjectType::DirTree, None, &dirtree(files, std::iter::empty()))?;
            write_commit(transaction, &[], None, 0, &tree, &meta)
        })
    }

    /// The commit layer is the base commit itself. It stays marked as partial until the layer's objects are in.
    pub(super) fn commit_layer(&mut self, layer: &Layer) -> Result<Digest> {
        let commit = self.import(layer, |transaction, tar| {
            import_objects(transaction, tar, true)?.commit.context("layer has no commit")
        })?;
        tree::ensure_complete(self.repo, &commit)?;
        self.repo.mark_complete(&commit)?;
        Ok(commit)
    }

    /// Derived layers, lowest first.
    pub(super) fn derived(&mut self, layers: &[Layer], base: Option<&Digest>, temporary: &Path) -> Result<Vec<Digest>> {
        if layers.iter().all(|layer| self.present(layer).is_some()) {
            return Ok(layers.iter().filter_map(|layer| self.present(layer)).collect());
        }
        let policy = base.map(|base| SePolicy::of_commit(self.repo, base)).transpose()?.flatten();
        let any_top_level = base.map_or(Ok(true), |base| has_open_root(self.repo, base))?;
        let context = LayerContext { policy: policy.as_ref(), any_top_level, temporary };
        layers.iter().map(|layer| self.import(layer, |transaction, tar| derived(transaction, tar, &context))).collect()
    }
}

fn derived<R: Skip>(
    transaction: &Transaction<'_>,
    tar: &mut TarReader<R>,
    context: &LayerContext<'_>,
) -> Result<Digest> {
    let root = import_tree(transaction, tar, context)?;
    let tree = root.write(transaction)?;
    // Upstream writes the time of the import, so that every import gives another commit. A fixed one does not.
    write_commit(transaction, &[(IMPORTER, IMPORTER_VERSION)], None, 0, &tree, &root.meta)
}

pub(super) fn write_commit(
    transaction: &Transaction<'_>,
    metadata: &[(&str, &str)],
    parent: Option<&Digest>,
    timestamp: u64,
    tree: &Digest,
    meta: &Digest,
) -> Result<Digest> {
    transaction.write_metadata(ObjectType::Commit, None, &serialize_commit(metadata, parent, timestamp, tree, meta))
}

/// Whether the base boots with a root in which any top-level directory can be: a transient one, or composefs.
fn has_open_root(repo: &Repo, base: &Digest) -> Result<bool> {
    let mut root = Dir::of_commit(repo, base)?;
    for path in PREPARE_ROOT {
        let Some(checksum) = root.find(repo, path)? else { continue };
        let mut text = String::new();
        repo.load_file(&checksum, true)?
            .take(MAX_CONF)
            .read_to_string(&mut text)
            .context("reading prepare-root.conf")?;
        return Ok(is_open(&text));
    }
    Ok(false)
}

fn is_open(conf: &str) -> bool {
    let mut section = "";
    conf.lines().map(str::trim).any(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        match (section, key) {
            ("root", "transient") => matches!(value, "true" | "1"),
            ("composefs", "enabled") => matches!(value, "yes" | "true" | "1" | "maybe" | "signed" | "verity"),
            _ => false,
        }
    })
}

/// Counts what is read, and ends at the deadline.
#[derive(Debug)]
pub(super) struct Metered<'p, R> {
    inner: R,
    progress: &'p mut Progress,
    deadline: Instant,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "deadline is over"));
        }
        let n = self.inner.read(buffer)?;
        self.progress.add(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_roots() {
        for (conf, expected) in [
            ("[composefs]\nenabled = yes\n", true),
            ("[composefs]\nenabled=maybe", true),
            ("[composefs]\nenabled=no", false),
            ("[root]\ntransient=true", true),
            ("[etc]\ntransient=true", false),
            ("enabled=yes", false),
            ("", false),
        ] {
            assert_eq!(is_open(conf), expected, "{conf}");
        }
    }
}
