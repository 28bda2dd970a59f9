// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every source can do: hand out blobs.
//!
//! Tested by `src/slipstream/tests/http/`.

use std::io::Read;

use anyhow::Result;
use contract::names::Digest;
use image::oci::AttachedSignature;
use image::stream::Mismatch;

use crate::http::EndpointLog;

/// Something that has blobs.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Open the blob with this digest, which should have `size` bytes. They are not verified yet.
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>>;

    /// Open a manifest or an index.
    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open_blob(digest, size)
    }

    /// Returns the signatures of the manifest or index with this digest; none is not an error. They are not verified.
    fn signatures(&self, _digest: Digest) -> Result<Vec<AttachedSignature>> {
        Ok(Vec::new())
    }

    /// What was last read as `digest` is something else. Whether it makes sense to open it again: a disk will not get
    /// better, a server may, or there is another one.
    fn blame(&self, _digest: Digest, _why: &str) -> bool {
        false
    }

    /// What has happened at each endpoint, of a source that has several.
    fn log(&self) -> EndpointLog {
        EndpointLog::default()
    }
}

/// Returns whether an error is about wrong bytes, and the source may have right ones.
pub(crate) fn blame(source: &dyn Source, digest: Digest, error: &anyhow::Error) -> bool {
    let mismatch = error.chain().find(|cause| cause.is::<Mismatch>());
    mismatch.is_some_and(|mismatch| source.blame(digest, &mismatch.to_string()))
}

/// Reads until the bytes are right, or no place is left to ask.
pub(crate) fn read_right(source: &dyn Source, digest: Digest, read: impl Fn() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    loop {
        match read() {
            Err(error) if blame(source, digest, &error) => {
                log::warn!("{error:#}; reading it again");
            }
            result => return result,
        }
    }
}
