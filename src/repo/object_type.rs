// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kinds of objects that a repository holds.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`.

/// The kinds of metadata objects that we write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// A directory's names.
    DirTree,
    /// A directory's owner, mode, xattrs.
    DirMeta,
    /// A commit.
    Commit,
    /// Detached metadata of a commit.
    CommitMeta,
    /// A file.
    File,
}

impl ObjectType {
    /// The type that an object's file name ends with; `None` for what is not imported.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "dirtree" => Self::DirTree,
            "dirmeta" => Self::DirMeta,
            "commit" => Self::Commit,
            "commitmeta" => Self::CommitMeta,
            "file" => Self::File,
            _ => return None,
        })
    }
}
