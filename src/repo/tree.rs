// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tree of files in memory, over the dirtrees of the repository: a directory is read when somebody goes into it.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/`.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use contract::names::Digest;

use crate::ObjectType;
use crate::file_type::S_IFDIR;
use crate::gvariant;
use crate::gvariant::{dirtree, parse_commit, parse_dirtree};
use crate::store::Store;
use crate::writer::Writer;

/// Deepest nesting of directories. Linux's PATH_MAX allows 2048; hostile trees must not exhaust the stack.
pub const MAX_DEPTH: usize = 256;

/// Most paths in a tree. RHEL CoreOS has 60,000; a tree of a few objects can have any number.
const MAX_PATHS: u64 = 1_000_000;

/// A directory.
#[derive(Clone, Debug)]
pub struct Dir {
    /// Checksum of its dirmeta.
    pub meta: Digest,
    /// Name to content object.
    pub files: BTreeMap<String, Digest>,
    /// Name to directory.
    pub dirs: BTreeMap<String, Node>,
}

/// A directory that may still be in the repository only.
#[derive(Clone, Debug)]
pub enum Node {
    /// As it is in the repository.
    Stored {
        /// Checksum of its dirtree.
        tree: Digest,
        /// Checksum of its dirmeta.
        meta: Digest,
    },
    /// Read, and perhaps changed.
    Loaded(Dir),
}

impl Dir {
    /// An empty directory.
    pub fn new(meta: Digest) -> Self {
        Self { meta, files: BTreeMap::new(), dirs: BTreeMap::new() }
    }

    /// The root of a commit.
    pub fn of_commit(store: &Store, commit: &Digest) -> Result<Self> {
        let parsed = parse_commit(&store.load_metadata(ObjectType::Commit, commit)?)?;
        Self::read(store, &parsed.tree, parsed.meta)
    }

    /// Read a directory that is stored.
    pub fn read(store: &Store, tree: &Digest, meta: Digest) -> Result<Self> {
        let bytes = store.load_metadata(ObjectType::DirTree, tree)?;
        let parsed = parse_dirtree(&bytes).with_context(|| format!("reading dirtree {}", tree.hex()))?;
        let stored = |(name, tree, meta)| (name, Node::Stored { tree, meta });
        Ok(Self {
            meta,
            files: parsed.files.into_iter().collect(),
            dirs: parsed.dirs.into_iter().map(stored).collect(),
        })
    }

    /// The directory at a path of names; `None` if there is none.
    pub fn enter(&mut self, store: &Store, path: &[&str]) -> Result<Option<&mut Self>> {
        let mut dir = self;
        for name in path {
            match dir.dirs.get_mut(*name) {
                Some(node) => dir = node.load(store)?,
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    /// The content object at a path of names; `None` if there is none.
    pub fn find(&mut self, store: &Store, path: &[&str]) -> Result<Option<Digest>> {
        let Some((last, parents)) = path.split_last() else { return Ok(None) };
        Ok(self.enter(store, parents)?.and_then(|dir| dir.files.get(*last).copied()))
    }

    /// Write the dirtrees of what is in memory. Returns the checksum of this directory's.
    pub fn write(&self, writer: &Writer<'_>) -> Result<Digest> {
        let mut dirs = Vec::with_capacity(self.dirs.len());
        for (name, node) in &self.dirs {
            let (tree, meta) = match node {
                Node::Stored { tree, meta } => (*tree, *meta),
                Node::Loaded(dir) => (dir.write(writer)?, dir.meta),
            };
            dirs.push((name.as_str(), tree, meta));
        }
        let files = self.files.iter().map(|(name, checksum)| (name.as_str(), *checksum));
        writer.write_metadata(ObjectType::DirTree, None, &dirtree(files, dirs.into_iter()))
    }
}

impl Node {
    /// Read it, if that was not done yet.
    pub fn into_dir(self, store: &Store) -> Result<Dir> {
        match self {
            Self::Loaded(dir) => Ok(dir),
            Self::Stored { tree, meta } => Dir::read(store, &tree, meta),
        }
    }

    /// Go in.
    pub fn load(&mut self, store: &Store) -> Result<&mut Dir> {
        if let Self::Stored { tree, meta } = self {
            *self = Self::Loaded(Dir::read(store, tree, *meta)?);
        }
        match self {
            Self::Loaded(dir) => Ok(dir),
            Self::Stored { .. } => unreachable!("it was loaded above"),
        }
    }
}

/// Check that every object below a commit's root is there, and that the tree is no larger than memory allows: nothing
/// else does before the boot needs it. A directory that is at many paths is read once.
pub fn ensure_complete(store: &Store, commit: &Digest) -> Result<()> {
    let parsed = parse_commit(&store.load_metadata(ObjectType::Commit, commit)?)?;
    let mut known = HashMap::new();
    complete(store, &parsed.tree, &parsed.meta, 0, &mut known)
        .with_context(|| format!("checking commit {}", commit.hex()))
        .map(drop)
}

/// How many paths are at and below a directory.
fn complete(
    store: &Store,
    tree: &Digest,
    meta: &Digest,
    depth: usize,
    known: &mut HashMap<Digest, u64>,
) -> Result<u64> {
    ensure!(depth < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
    ensure!(store.has(ObjectType::DirMeta, meta)?, "dirmeta {} is missing", meta.hex());
    if let Some(paths) = known.get(tree) {
        return Ok(*paths);
    }
    let found = parse_dirtree(&store.load_metadata(ObjectType::DirTree, tree)?)?;
    for (name, checksum) in &found.files {
        ensure!(store.has(ObjectType::File, checksum)?, "object {} of {name:?} is missing", checksum.hex());
    }
    let mut paths = found.files.len() as u64 + 1;
    drop(found.files);
    for (name, tree, meta) in &found.dirs {
        let below = complete(store, tree, meta, depth + 1, known);
        paths = paths.saturating_add(below.with_context(|| format!("checking directory {name:?}"))?);
        ensure!(paths <= MAX_PATHS, "the tree has more than {MAX_PATHS} paths");
    }
    known.insert(*tree, paths);
    Ok(paths)
}

/// Write a dirmeta. The type of the mode is added.
pub fn write_dirmeta(writer: &Writer<'_>, uid: u32, gid: u32, mode: u32, xattrs: &[u8]) -> Result<Digest> {
    let bytes = gvariant::dirmeta(uid, gid, S_IFDIR | (mode & 0o7777), xattrs);
    writer.write_metadata(ObjectType::DirMeta, None, &bytes)
}
