// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The entries of a directory.
//!
//! Tested by `src/slipstream/tests/boot/others.rs`.

use std::fs::{self, FileType};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the entries of a directory whose type is `wanted`; none if there is no such directory.
pub(crate) fn list(path: &Path, wanted: impl Fn(FileType) -> bool) -> Result<Vec<PathBuf>> {
    let listing = || format!("listing {}", path.display());
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(listing)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(listing)?;
        if wanted(entry.file_type().with_context(listing)?) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
