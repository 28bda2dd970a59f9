// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tree of a derived layer while it grows, entry by entry.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/tars.rs`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use image::stream::Entry;
use ostree::SePolicy;
use repo::ObjectType;
use repo::file_type::S_IFDIR;
use repo::gvariant;
use repo::gvariant::dirtree;
use repo::tree::{MAX_DEPTH, write_dirmeta};
use repo::writer::Writer;

use crate::import::layers::label;

/// Mode of directories that the tar does not mention, as libostree makes them.
const IMPLIED_MODE: u32 = 0o755;

/// Attributes that the kernel makes something else of (an ACL becomes mode bits): what is on disk would not be what the
/// checksum is over.
const KERNEL_XATTRS: &[u8] = b"system.";

/// A tree in memory. Paths are relative to the root, without `.`, `..` and empty names.
#[derive(Debug)]
pub struct LayerTree<'a> {
    writer: &'a Writer<'a>,
    policy: Option<&'a SePolicy>,
    root: Option<Branch>,
}

/// A directory of it. A layer may have hundreds of thousands of files, so a file is what the writer calls it by, and not
/// its checksum a second time.
#[derive(Debug)]
pub struct Branch {
    meta: Digest,
    files: BTreeMap<Box<str>, u32>,
    dirs: BTreeMap<Box<str>, Branch>,
}

impl Branch {
    fn new(meta: Digest) -> Self {
        Self { meta, files: BTreeMap::new(), dirs: BTreeMap::new() }
    }

    /// Write the dirtrees. Returns the checksums of dirtree and dirmeta.
    pub fn write(&self, writer: &Writer<'_>) -> Result<(Digest, Digest)> {
        let mut dirs = Vec::with_capacity(self.dirs.len());
        for (name, dir) in &self.dirs {
            let (tree, meta) = dir.write(writer)?;
            dirs.push((&**name, tree, meta));
        }
        let files = self.files.iter().map(|(name, file)| Ok((&**name, writer.file(*file)?)));
        let files = files.collect::<Result<Vec<_>>>()?;
        let tree = dirtree(files.into_iter(), dirs.into_iter());
        Ok((writer.write_metadata(ObjectType::DirTree, None, &tree)?, self.meta))
    }
}

impl<'a> LayerTree<'a> {
    /// Returns an empty tree. What is put into it is written by `writer` and labelled by `policy`.
    pub fn new(writer: &'a Writer<'a>, policy: Option<&'a SePolicy>) -> Self {
        Self { writer, policy, root: None }
    }

    /// The finished tree.
    pub fn finish(mut self) -> Result<Branch> {
        self.parent("", 0, 0)?;
        self.root.context("tree has no root")
    }

    /// Serialized xattrs with the label for `path`.
    pub fn xattrs(&self, path: &str, mode: u32, list: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>> {
        labelled_xattrs(self.policy, path, mode, list)
    }

    /// Add a directory, or give one its owner and mode.
    pub fn directory(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let meta = dirmeta(self.writer, self.policy, path, (entry.uid, entry.gid), entry.mode, entry.xattrs.clone())?;
        if path.is_empty() {
            self.root.get_or_insert_with(|| Branch::new(meta)).meta = meta;
            return Ok(());
        }
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!parent.files.contains_key(name), "a file of this name came before the directory");
        parent.dirs.entry(name.into()).or_insert_with(|| Branch::new(meta)).meta = meta;
        Ok(())
    }

    /// Add the file or symbolic link that was written last, in place of an earlier one.
    pub fn insert(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let file = self.writer.last_file()?;
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!name.is_empty(), "the root is not a file");
        ensure!(!parent.dirs.contains_key(name), "a directory of this name came before the file");
        parent.files.insert(name.into(), file);
        Ok(())
    }

    /// Make room for a hard link that comes later.
    pub fn clear(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!name.is_empty(), "the root is not a link");
        ensure!(!parent.dirs.contains_key(name), "a directory of this name came before the link");
        parent.files.remove(name);
        Ok(())
    }

    /// Add a hard link to a file of this layer.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let (parents, name) = target.rsplit_once('/').unwrap_or(("", target));
        let parents = parents.split('/').filter(|part| !part.is_empty());
        let file = self.find(parents).and_then(|dir| dir.files.get(name)).copied();
        let file = file.with_context(|| format!("hard link {path} to {target}, which is not in the layer"))?;
        let (parent, name) = self.parent(path, 0, 0)?;
        ensure!(!parent.dirs.contains_key(name), "hard link {path} over a directory");
        parent.files.insert(name.into(), file);
        Ok(())
    }

    /// The directory that holds `path`, and the last name of it.
    ///
    /// When it is missing, it is made, and it as well as every directory above it, there before or not, gets the mode
    /// and owner that libostree gives to all of them then (`ostree-repo-libarchive.c`, `aic_create_parent_dirs`).
    fn parent<'p>(&mut self, path: &'p str, uid: u32, gid: u32) -> Result<(&mut Branch, &'p str)> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parts: Vec<&str> = parents.split('/').filter(|part| !part.is_empty()).collect();
        ensure!(parts.len() < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
        let make = self.find(parts.iter().copied()).is_none();
        let Self { writer, policy, root } = self;
        let imply = |path: &str| dirmeta(writer, *policy, path, (uid, gid), IMPLIED_MODE, Vec::new());
        if make {
            let meta = imply("")?;
            root.get_or_insert_with(|| Branch::new(meta)).meta = meta;
        }
        let mut dir = root.as_mut().context("tree has no root")?;
        let mut end = 0;
        for part in parts {
            end += part.len() + usize::from(end > 0);
            let path = &parents[..end];
            ensure!(!dir.files.contains_key(part), "{path:?} is a file, not a directory");
            if make {
                let meta = imply(path)?;
                dir.dirs.entry(part.into()).or_insert_with(|| Branch::new(meta)).meta = meta;
            }
            dir = dir.dirs.get_mut(part).with_context(|| format!("{path:?} is not in memory"))?;
        }
        Ok((dir, name))
    }

    /// The directory at a path of names.
    fn find<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Option<&Branch> {
        names.try_fold(self.root.as_ref()?, |dir, name| dir.dirs.get(name))
    }
}

fn labelled_xattrs(
    policy: Option<&SePolicy>,
    path: &str,
    mode: u32,
    mut list: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Vec<u8>> {
    if let Some((name, _)) = list.iter().find(|(name, _)| name.starts_with(KERNEL_XATTRS)) {
        bail!("extended attribute {} cannot be in an ostree tree", name.escape_ascii());
    }
    label::apply(policy, &format!("/{path}"), mode, &mut list)?;
    Ok(gvariant::xattrs(&list))
}

fn dirmeta(
    writer: &Writer<'_>,
    policy: Option<&SePolicy>,
    path: &str,
    (uid, gid): (u32, u32),
    mode: u32,
    list: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Digest> {
    let xattrs = labelled_xattrs(policy, path, S_IFDIR | mode, list)?;
    write_dirmeta(writer, uid, gid, mode, &xattrs)
}
