// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stack of readers of one layer, spread over threads, and its verdict.
//!
//! One thread reads the blob, hashes it and inflates it; one hashes the tar; the caller takes the tar apart. Between
//! them are short queues of blocks, so that memory is bounded and the slowest one sets the pace.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use anyhow::{Context, Result, anyhow, ensure};
use contract::names::Digest;
use sha2::{Digest as _, Sha256};

use crate::oci::Layer;
use crate::stream::{Inflate, LargeWindows, Skip, TarReader, VerifyReader};

/// Size of a block, in bytes: a few times what inflate and sha256 keep in the cache.
const BLOCK: usize = 256 << 10;
/// Blocks in a queue.
const QUEUE: usize = 4;

type Block = Arc<Vec<u8>>;

/// The tar entries of a layer, verified at the end.
#[derive(Debug)]
pub struct LayerStream<'scope> {
    tar: TarReader<Blocks>,
    inflate: ScopedJoinHandle<'scope, Result<()>>,
    hash: ScopedJoinHandle<'scope, (Digest, u64)>,
    diff_id: Digest,
}

impl<'scope> LayerStream<'scope> {
    /// Starts the threads of `layer` on its blob. If its windows are large, they wait for a turn.
    pub fn start<'env, R: Read + Send + 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        blob: R,
        layer: &Layer,
        windows: &'scope LargeWindows,
    ) -> Result<Self> {
        let compression = layer.descriptor.compression()?;
        // The blob as it is stored: length and digest.
        let inflate = Inflate::new(layer.descriptor.verify(blob), compression, windows)?;
        let (to_tar, from_inflate) = sync_channel(QUEUE);
        let (to_hash, hash_from) = sync_channel(QUEUE);
        Ok(Self {
            tar: TarReader::new(Blocks { queue: from_inflate, block: Block::default(), at: 0 }),
            inflate: scope.spawn(move || run_inflate(inflate, &to_tar, &to_hash)),
            hash: scope.spawn(move || run_hash(&hash_from)),
            diff_id: layer.diff_id,
        })
    }

    /// The entries.
    pub fn tar(&mut self) -> &mut TarReader<Blocks> {
        &mut self.tar
    }

    /// Read to the end of every reader and compare both digests. Returns the size of the tar in bytes. That bytes are
    /// not the expected ones is said before what was made of them (`result`) failed: it is the reason.
    pub fn finish<T>(self, result: Result<T>) -> Result<(T, u64)> {
        let drained = io::copy(&mut self.tar.into_inner(), &mut io::sink());
        let dead = |_| anyhow!("a thread of the layer has panicked");
        self.inflate.join().map_err(dead)?.context("reading the blob")?;
        drained.context("reading the blob")?;
        let (got, size) = self.hash.join().map_err(dead)?;
        // What the config promises. Upstream never checks it; a signature over the config covers it.
        let wanted = self.diff_id;
        ensure!(got == wanted, "diffID mismatch: expected {wanted}, got {got} after {size} bytes");
        Ok((result?, size))
    }
}

fn run_inflate<R: Read>(
    mut inflate: Inflate<'_, VerifyReader<R>>,
    to_tar: &SyncSender<io::Result<Block>>,
    to_hash: &SyncSender<Block>,
) -> Result<()> {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let read = inflate.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        if let Err(error) = read {
            let seen = format!("{error} at offset {}", inflate.get_ref().seen());
            // The other side may have given up; it has its own error then.
            drop(to_tar.send(Err(io::Error::new(error.kind(), seen))));
            let offset = inflate.get_ref().seen();
            // That the blob is not the right one is why it cannot be inflated.
            inflate.into_inner().finish()?;
            return Err(error).with_context(|| format!("inflating at offset {offset}"));
        }
        if block.is_empty() {
            break;
        }
        let block = Arc::new(block);
        if to_hash.send(Arc::clone(&block)).is_err() || to_tar.send(Ok(block)).is_err() {
            break;
        }
    }
    inflate.into_inner().finish()
}

fn run_hash(queue: &Receiver<Block>) -> (Digest, u64) {
    let mut hash = Sha256::new();
    let mut size = 0;
    for block in queue {
        hash.update(&block[..]);
        size += block.len() as u64;
    }
    (Digest::from_bytes(hash.finalize().into()), size)
}

/// What comes out of the queue, as a reader.
#[derive(Debug)]
pub struct Blocks {
    queue: Receiver<io::Result<Block>>,
    block: Block,
    at: usize,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Blocks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() {
            match self.queue.recv() {
                Ok(block) => (self.block, self.at) = (block?, 0),
                Err(_) => return Ok(&[]),
            }
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Skip for Blocks {
    fn skip(&mut self, mut n: u64) -> io::Result<()> {
        while n > 0 {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let step = available.min(usize::try_from(n).unwrap_or(usize::MAX));
            self.consume(step);
            n -= step as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
