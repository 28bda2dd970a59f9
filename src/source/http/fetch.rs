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

use crate::blobs::Source;
use crate::http::Limits;
use crate::http::download::Download;
use crate::http::places::{EndpointLog, Places, Shared, Want};

/// Hands out blobs from places.
#[derive(Debug)]
pub struct Fetcher(Arc<Shared>);

impl Fetcher {
    /// A fetcher that gives up at `deadline`.
    pub fn new(places: Box<dyn Places>, limits: Limits, deadline: Instant) -> Self {
        Self(Arc::new(Shared::new(places, limits, deadline)))
    }

    fn open(&self, want: Want) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Download::open(Arc::clone(&self.0), want)?))
    }
}

impl Source for Fetcher {
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want { digest, size, manifest: false })
    }

    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want { digest, size, manifest: true })
    }

    fn blame(&self, digest: Digest, why: &str) -> bool {
        self.0.was_wrong(digest, why)
    }

    fn log(&self) -> EndpointLog {
        self.0.log()
    }
}
