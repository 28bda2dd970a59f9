// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stack of readers of one layer, and its verdict.

use std::io::Read;

use anyhow::{Context, Result};

use super::{Inflate, TarReader, VerifyReader};
use crate::oci::Layer;

type Stack<R> = VerifyReader<Inflate<VerifyReader<R>>>;

/// The tar entries of a layer, verified at the end.
#[derive(Debug)]
pub struct LayerStream<R: Read> {
    tar: TarReader<Stack<R>>,
}

impl<R: Read> LayerStream<R> {
    /// Stack the readers for `layer` on its blob.
    pub fn new(blob: R, layer: &Layer) -> Result<Self> {
        let compression = layer.descriptor.compression()?;
        // The blob as it is stored: length and digest.
        let stored = layer.descriptor.verify(blob);
        let inflated = Inflate::new(stored, compression)?;
        // The tar: what the config promises. Upstream never checks it; a signature over the config covers it.
        let checked = VerifyReader::new(inflated, layer.diff_id, None);
        Ok(Self { tar: TarReader::new(checked) })
    }

    /// The entries.
    pub fn tar(&mut self) -> &mut TarReader<Stack<R>> {
        &mut self.tar
    }

    /// Read to the end of every reader and compare both digests. Returns the size of the tar in bytes.
    pub fn finish(self) -> Result<u64> {
        let mut checked = self.tar.into_inner();
        std::io::copy(&mut checked, &mut std::io::sink()).context("reading to the end")?;
        let size = checked.seen();
        let inflated = checked.finish_keeping().context("checking the diffID")?;
        inflated.into_inner().finish().context("checking the blob")?;
        Ok(size)
    }
}
