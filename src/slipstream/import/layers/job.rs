// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One layer: its blob becomes staged objects and a commit.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/damage.rs`.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use contract::names::Digest;
use image::oci::Layer;
use image::stream::{Blocks, LargeWindows, LayerStream, TarReader};
use repo::ObjectType;
use repo::gvariant::dirtree;
use repo::store::Store;
use repo::tree::write_dirmeta;
use repo::writer::{Writer, Written};
use source::VerifiedImage;

use crate::import::layers::chunk::import_objects;
use crate::import::layers::derived::{LayerContext, import_tree};
use crate::import::metadata_keys::{IMPORTER, IMPORTER_VERSION};
use crate::import::progress::Progress;

/// What the layers of one import share. Threads have it together.
#[derive(Debug)]
pub struct Job<'a> {
    pub store: &'a Store,
    pub image: &'a VerifiedImage,
    pub deadline: Instant,
    pub progress: Progress,
    /// Layers that need much memory to be decoded take turns.
    pub windows: &'a LargeWindows,
    /// One layer has failed: the others need not go on.
    pub cancelled: AtomicBool,
}

/// A layer that is verified; its objects are staged.
#[derive(Debug)]
pub struct Finished {
    /// The digest of its blob.
    pub digest: Digest,
    /// Its commit.
    pub commit: Digest,
    /// What has to be published for it.
    pub objects: Written,
}

impl Job<'_> {
    /// Import a layer. Only one with the right digests is finished.
    fn import(
        &self,
        layer: &Layer,
        write: impl Fn(&Writer<'_>, &mut TarReader<Blocks>) -> Result<Digest>,
    ) -> Result<Finished> {
        let (commit, objects) = self.read(layer, |tar| {
            let writer = Writer::new(self.store);
            Ok((write(&writer, tar)?, writer.finish()))
        })?;
        Ok(Finished { digest: layer.descriptor.digest, commit, objects })
    }

    /// Read a layer, once more if its bytes were wrong and there is somebody else to ask.
    pub fn read<T>(&self, layer: &Layer, act: impl Fn(&mut TarReader<Blocks>) -> Result<T>) -> Result<T> {
        loop {
            match self.read_once(layer, &act) {
                Err(error) if self.image.is_worth_retrying(layer.descriptor.digest, &error) => {
                    log::warn!("{error:#}; reading it again");
                }
                result => return result,
            }
        }
    }

    /// Read a layer to the end, whatever `act` makes of it.
    fn read_once<T>(&self, layer: &Layer, act: impl Fn(&mut TarReader<Blocks>) -> Result<T>) -> Result<T> {
        let digest = layer.descriptor.digest;
        let what = || format!("importing layer {}/{} {digest}", layer.number, self.image.manifest.layers.len());
        let started = Instant::now();
        let blob = self.image.open_blob(digest).with_context(what)?;
        let blob = Metered { inner: blob, job: self };
        let (result, size) = std::thread::scope(|scope| {
            let mut stream = LayerStream::start(scope, blob, layer, self.windows)?;
            let result = act(stream.tar());
            stream.finish(result)
        })
        .with_context(what)?;
        log::debug!(
            "layer {} {digest}: {} bytes, unpacked {size}, in {:.2} s",
            layer.number,
            layer.descriptor.size,
            started.elapsed().as_secs_f64()
        );
        Ok(result)
    }

    /// A chunk becomes a commit of its own, with its objects in one flat directory: so they are reachable, and the
    /// next image that has the chunk finds it.
    pub fn chunk(&self, layer: &Layer) -> Result<Finished> {
        self.import(layer, |writer, tar| {
            let objects = import_objects(writer, tar, false)?;
            let meta = write_dirmeta(writer, 0, 0, 0o755, &[])?;
            let names: Vec<(String, Digest)> = objects.files.iter().map(|file| (file.hex(), *file)).collect();
            let files = names.iter().map(|(name, file)| (name.as_str(), *file));
            let tree = writer.write_metadata(ObjectType::DirTree, None, &dirtree(files, std::iter::empty()))?;
            writer.write_commit(&[], None, 0, &tree, &meta)
        })
    }

    /// The commit layer is the base commit itself.
    pub fn commit_layer(&self, layer: &Layer) -> Result<Finished> {
        self.import(layer, |writer, tar| import_objects(writer, tar, true)?.commit.context("layer has no commit"))
    }

    /// A derived layer.
    pub fn derived(&self, layer: &Layer, context: &LayerContext<'_>) -> Result<Finished> {
        self.import(layer, |writer, tar| {
            let root = import_tree(writer, tar, context)?;
            let (tree, meta) = root.write(writer)?;
            write_layer_commit(writer, tree, &meta)
        })
    }
}

/// The commit of a derived layer. Upstream writes the time of the import, so that every import gives another commit. A
/// fixed one does not.
pub fn write_layer_commit(writer: &Writer<'_>, tree: Digest, meta: &Digest) -> Result<Digest> {
    writer.write_commit(&[(IMPORTER, IMPORTER_VERSION)], None, 0, &tree, meta)
}

/// Counts what is read; ends at the deadline, and when another layer has failed.
struct Metered<'a, R> {
    inner: R,
    job: &'a Job<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.job.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer has failed"));
        }
        if Instant::now() >= self.job.deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the deadline is over"));
        }
        let n = self.inner.read(buffer)?;
        self.job.progress.add(n as u64);
        Ok(n)
    }
}
