// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tree of a derived layer while it grows, entry by entry.

use anyhow::{Context, Result, bail, ensure};

use super::gvariant;
use super::label;
use super::tree::{Dir, MAX_DEPTH, Node, S_IFDIR, write_dirmeta};
use super::writer::Writer;
use crate::oci::Digest;
use crate::ostree::SePolicy;
use crate::stream::Entry;

/// Mode of directories that the tar does not mention, as libostree makes them.
const IMPLIED_MODE: u32 = 0o755;

/// Attributes that the kernel makes something else of (an ACL becomes mode bits): what is on disk would not be what the
/// checksum is over.
const KERNEL_XATTRS: &[u8] = b"system.";

/// A tree in memory. Paths are relative to the root, without `.`, `..` and empty names.
pub(super) struct LayerTree<'a> {
    writer: &'a Writer<'a>,
    policy: Option<&'a SePolicy>,
    root: Option<Dir>,
}

impl<'a> LayerTree<'a> {
    pub(super) fn new(writer: &'a Writer<'a>, policy: Option<&'a SePolicy>) -> Self {
        Self { writer, policy, root: None }
    }

    /// The finished tree.
    pub(super) fn finish(mut self) -> Result<Dir> {
        self.parent("", 0, 0)?;
        self.root.context("tree has no root")
    }

    /// Serialized xattrs with the label for `path`.
    pub(super) fn xattrs(&self, path: &str, mode: u32, list: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>> {
        labelled_xattrs(self.policy, path, mode, list)
    }

    /// Add a directory, or give one its owner and mode.
    pub(super) fn directory(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let meta = dirmeta(self.writer, self.policy, path, (entry.uid, entry.gid), entry.mode, entry.xattrs.clone())?;
        if path.is_empty() {
            self.root.get_or_insert_with(|| Dir::new(meta)).meta = meta;
            return Ok(());
        }
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!parent.files.contains_key(name), "a file of this name came before the directory");
        match parent.dirs.get_mut(name) {
            Some(Node::Loaded(dir)) => dir.meta = meta,
            _ => drop(parent.dirs.insert(name.to_owned(), Node::Loaded(Dir::new(meta)))),
        }
        Ok(())
    }

    /// Add a file or symbolic link, in place of an earlier one.
    pub(super) fn insert(&mut self, path: &str, entry: &Entry, checksum: Digest) -> Result<()> {
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!name.is_empty(), "the root is not a file");
        ensure!(!parent.dirs.contains_key(name), "a directory of this name came before the file");
        parent.files.insert(name.to_owned(), checksum);
        Ok(())
    }

    /// Make room for a hard link that comes later.
    pub(super) fn clear(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let (parent, name) = self.parent(path, entry.uid, entry.gid)?;
        ensure!(!name.is_empty(), "the root is not a link");
        ensure!(!parent.dirs.contains_key(name), "a directory of this name came before the link");
        parent.files.remove(name);
        Ok(())
    }

    /// Add a hard link to a file of this layer.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let names: Vec<&str> = target.split('/').collect();
        let root = self.root.as_mut().context("tree has no root")?;
        let checksum = root.find(self.writer.store(), &names)?;
        let checksum = checksum.with_context(|| format!("hard link {path} to {target}, which is not in the layer"))?;
        let (parent, name) = self.parent(path, 0, 0)?;
        ensure!(!parent.dirs.contains_key(name), "hard link {path} over a directory");
        parent.files.insert(name.to_owned(), checksum);
        Ok(())
    }

    /// The directory that holds `path`, and the last name of it.
    ///
    /// When it is missing, it is made, and it as well as every directory above it, there before or not, gets the mode
    /// and owner that libostree gives to all of them then (`ostree-repo-libarchive.c`, `aic_create_parent_dirs`).
    fn parent<'p>(&mut self, path: &'p str, uid: u32, gid: u32) -> Result<(&mut Dir, &'p str)> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parts: Vec<&str> = parents.split('/').filter(|part| !part.is_empty()).collect();
        ensure!(parts.len() < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
        let make = !self.has(&parts);
        let Self { writer, policy, root } = self;
        let imply = |path: &str| dirmeta(writer, *policy, path, (uid, gid), IMPLIED_MODE, Vec::new());
        if make {
            let meta = imply("")?;
            root.get_or_insert_with(|| Dir::new(meta)).meta = meta;
        }
        let mut dir = root.as_mut().context("tree has no root")?;
        let mut end = 0;
        for part in parts {
            end += part.len() + usize::from(end > 0);
            let path = &parents[..end];
            ensure!(!dir.files.contains_key(part), "{path:?} is a file, not a directory");
            if make {
                let meta = imply(path)?;
                match dir.dirs.get_mut(part) {
                    Some(Node::Loaded(inner)) => inner.meta = meta,
                    _ => drop(dir.dirs.insert(part.to_owned(), Node::Loaded(Dir::new(meta)))),
                }
            }
            dir = match dir.dirs.get_mut(part) {
                Some(Node::Loaded(inner)) => inner,
                _ => bail!("{path:?} is not in memory"),
            };
        }
        Ok((dir, name))
    }

    fn has(&self, parts: &[&str]) -> bool {
        let mut dir = self.root.as_ref();
        for part in parts {
            dir = match dir.and_then(|dir| dir.dirs.get(*part)) {
                Some(Node::Loaded(inner)) => Some(inner),
                _ => None,
            };
        }
        dir.is_some()
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
