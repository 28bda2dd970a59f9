// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration files as text.
//!
//! Tested by `src/source/containers/host_config.rs`.

use anyhow::{Result, bail};
use contract::files::Files;

/// Returns the text of a configuration file; `None` if there is no such file.
pub(super) fn read_text(files: &dyn Files, path: &str) -> Result<Option<String>> {
    let Some(bytes) = files.read(path)? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        // Without the library's words: they would print what is in the file.
        Err(error) => bail!("reading {path}: byte {} is not UTF-8", error.utf8_error().valid_up_to()),
    }
}
