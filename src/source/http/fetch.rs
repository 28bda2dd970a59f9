// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blobs that can be in several places.
//!
//! A blob is asked for at the place that worked last, then at the others in their order. What a place is, and how one
//! asks it, is the business of [`Places`].
//!
//! Tested by `src/slipstream/tests/http/`.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use contract::names::Digest;
use image::oci::AttachedSignature;

use crate::blobs::Source;
use crate::http::Limits;
use crate::http::download::Download;
use crate::http::places::{EndpointLog, Places, Shared, Want};

/// Finds the signatures of what has a digest: where they are depends on what the places are.
pub(crate) type FindSignatures = fn(&Fetcher, Digest) -> Result<Vec<AttachedSignature>>;

/// Hands out blobs from places.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
    find: FindSignatures,
}

impl Fetcher {
    /// A fetcher that gives up at `deadline`.
    pub(crate) fn new(places: Box<dyn Places>, limits: Limits, deadline: Instant, find: FindSignatures) -> Self {
        Self { shared: Arc::new(Shared::new(places, limits, deadline)), find }
    }

    /// Reads a document by its name, which no digest verifies, from the first place whose document `read` can use. `read`
    /// gets the place's name too; `None` from it is as if there were nothing. The result is `None` if no place has it.
    pub(crate) fn read_named<T>(
        &self,
        name: &str,
        read: impl Fn(&str, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let preferred = self.shared.preferred();
        let result = Download::read_named(Arc::clone(&self.shared), name, read);
        // Layers continue to come from the mirror that has them, even if it has no signatures.
        self.shared.prefer(preferred);
        result
    }

    fn open(&self, want: Want) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Download::open(Arc::clone(&self.shared), want)?))
    }
}

impl Source for Fetcher {
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want::Blob(digest, size))
    }

    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want::Manifest(digest, size))
    }

    fn signatures(&self, digest: Digest) -> Result<Vec<AttachedSignature>> {
        (self.find)(self, digest)
    }

    fn blame(&self, digest: Digest, why: &str) -> bool {
        self.shared.was_wrong(digest, why)
    }

    fn log(&self) -> EndpointLog {
        self.shared.log()
    }
}
