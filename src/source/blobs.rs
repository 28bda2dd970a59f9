// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every source can do: hand out blobs.
//!
//! Tested by `src/slipstream/tests/http/`.

use std::io::Read;

use anyhow::Result;
use contract::names::Digest;

use crate::http::EndpointLog;

/// Something that has blobs.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Open the blob with this digest, which should have `size` bytes. They are not verified yet.
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>>;

    /// Open a manifest or an index.
    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open_blob(digest, size)
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
