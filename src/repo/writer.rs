// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one layer, or the merge, writes: the store, and a list of what has to be published for it.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`.

use std::collections::HashSet;
use std::io::BufRead;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use contract::names::Digest;

use crate::gvariant;
use crate::store::{ObjectName, Presence, Store};
use crate::{FileHeader, ObjectType};

/// Stages objects and keeps their names.
#[derive(Debug)]
pub struct Writer<'s> {
    store: &'s Store,
    /// File objects, in the order in which they were written.
    files: Mutex<Vec<Digest>>,
    /// Metadata objects, of which a tree writes the same ones again and again.
    metadata: Mutex<HashSet<ObjectName>>,
}

impl<'s> Writer<'s> {
    /// Returns a writer that has written nothing yet.
    pub fn new(store: &'s Store) -> Self {
        Self { store, files: Mutex::default(), metadata: Mutex::default() }
    }

    /// Returns the store that it writes to.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// The names of everything that was written and is not published.
    pub fn finish(self) -> Written {
        Written {
            files: self.files.into_inner().unwrap_or_else(PoisonError::into_inner),
            metadata: self.metadata.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect(),
        }
    }

    fn record(&self, kind: ObjectType, checksum: Digest) -> Digest {
        if kind == ObjectType::File {
            lock(&self.files).push(checksum);
        } else {
            lock(&self.metadata).insert((kind, checksum));
        }
        checksum
    }

    /// The number of the file that was written last.
    pub fn last_file(&self) -> Result<u32> {
        let count = u32::try_from(lock(&self.files).len()).context("counting files")?;
        count.checked_sub(1).context("no file was written")
    }

    /// The file with this number.
    pub fn file(&self, number: u32) -> Result<Digest> {
        lock(&self.files).get(number as usize).copied().context("no such file was written")
    }

    /// Whether an object is there. One that is staged is needed here too, and may be published with this.
    pub fn has(&self, kind: ObjectType, checksum: &Digest) -> Result<bool> {
        Ok(match self.store.presence(kind, checksum)? {
            Presence::Published => true,
            Presence::Staged => {
                self.record(kind, *checksum);
                true
            }
            Presence::Missing => false,
        })
    }

    /// Writes a metadata object; an `expected` checksum that it does not have is an error. Returns its checksum.
    pub fn write_metadata(&self, kind: ObjectType, expected: Option<&Digest>, bytes: &[u8]) -> Result<Digest> {
        let checksum = Digest::of(bytes);
        if expected.is_none_or(|expected| *expected == checksum) && lock(&self.metadata).contains(&(kind, checksum)) {
            return Ok(checksum);
        }
        self.store.write_metadata(kind, expected, bytes).map(|checksum| self.record(kind, checksum))
    }

    /// Writes a regular file of `size` bytes. Returns its checksum.
    pub fn write_file(
        &self,
        expected: Option<&Digest>,
        header: &FileHeader,
        size: u64,
        content: &mut dyn BufRead,
    ) -> Result<Digest> {
        let written = self.store.write_file(expected, header, size, content);
        written.map(|checksum| self.record(ObjectType::File, checksum))
    }

    /// Writes a symbolic link. Returns its checksum.
    pub fn write_symlink(&self, expected: Option<&Digest>, header: &FileHeader) -> Result<Digest> {
        self.store.write_symlink(expected, header).map(|checksum| self.record(ObjectType::File, checksum))
    }

    /// Write the detached metadata of a commit, which is named after the commit and not after itself.
    pub fn write_commit_metadata(&self, commit: &Digest, bytes: &[u8]) -> Result<()> {
        self.store.write_detached(commit, bytes)?;
        self.record(ObjectType::CommitMeta, *commit);
        Ok(())
    }

    /// Write a commit with empty subject and body.
    pub fn write_commit(
        &self,
        metadata: &[(&str, &str)],
        parent: Option<&Digest>,
        timestamp: u64,
        tree: &Digest,
        meta: &Digest,
    ) -> Result<Digest> {
        let bytes = gvariant::commit(metadata, parent, timestamp, tree, meta);
        self.write_metadata(ObjectType::Commit, None, &bytes)
    }
}

/// A thread that panicked has left the list as it was between two calls.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects that have to be published.
#[derive(Debug, Default)]
pub struct Written {
    files: Vec<Digest>,
    metadata: Vec<ObjectName>,
}

impl Written {
    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = ObjectName> {
        let files = self.files.iter().map(|checksum| (ObjectType::File, *checksum));
        files.chain(self.metadata.iter().copied())
    }

    /// Leave one out.
    pub fn forget_commit(&mut self, commit: &Digest) {
        self.metadata.retain(|name| *name != (ObjectType::Commit, *commit));
    }
}
