// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A derived layer: plain files that a container build put on top. Its tar becomes a commit of its own.
//!
//! What is kept and under which name follows ostree-ext (`tar/write.rs`) and libostree's tar import; the rules are
//! listed in `docs/format.md`. Whiteouts are ordinary files here; [`super::merge`] acts on them.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/tars.rs`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, bail, ensure};
use image::stream::{Entry, Kind, Skip, TarReader};
use ostree::SePolicy;
use repo::file_type::{S_IFLNK, S_IFREG};
use repo::writer::Writer;
use repo::{FileHeader, Xattrs};

use crate::import::layers::layer_tree::{Branch, LayerTree};
use crate::import::layers::path::{Place, link_target, normalize, place};

/// Below it are the base's objects, in a container build's view of the tree.
const OBJECTS: &str = "sysroot/ostree/repo/";

/// Most entries of a layer, and bytes of their paths and targets: the tree is in memory until it is complete.
pub const MAX_ENTRIES: usize = 500_000;
const MAX_NAMES: usize = 64 << 20;
/// Most names under which dropped entries are counted.
const MAX_DROPPED: usize = 64;

/// What the files of a layer depend on besides the layer.
#[derive(Debug)]
pub struct LayerContext<'a> {
    /// Labels by the policy of the base commit.
    pub policy: Option<&'a SePolicy>,
    /// Whether top-level names other than usr, etc, var may be in the tree: the base has a transient or composefs root.
    pub any_top_level: bool,
}

/// Build the tree of a layer.
pub fn import_tree<R: Skip + BufRead>(
    writer: &Writer<'_>,
    tar: &mut TarReader<R>,
    context: &LayerContext<'_>,
) -> Result<Branch> {
    let mut builder = Builder {
        writer,
        context,
        tree: LayerTree::new(writer, context.policy),
        links: Vec::new(),
        modified: HashMap::new(),
        dropped: BTreeMap::new(),
    };
    let (mut entries, mut names) = (0_usize, 0_usize);
    while let Some(entry) = tar.next_entry()? {
        (entries, names) = (entries + 1, names + entry.path.len() + entry.link.len());
        ensure!(entries <= MAX_ENTRIES, "layer has more than {MAX_ENTRIES} entries");
        ensure!(names <= MAX_NAMES, "names in the layer are over the limit of {MAX_NAMES} bytes");
        builder.entry(&entry, tar).with_context(|| format!("importing {}", entry.path.escape_ascii()))?;
    }
    for (path, target) in &builder.links {
        builder.tree.link(path, target)?;
    }
    for (what, count) in &builder.dropped {
        log::debug!("{count} entries below {what:?} are not part of an ostree tree");
    }
    builder.tree.finish()
}

struct Builder<'a> {
    writer: &'a Writer<'a>,
    context: &'a LayerContext<'a>,
    tree: LayerTree<'a>,
    /// Hard links: path and target. They are resolved at the end, as libostree does.
    links: Vec<(String, String)>,
    /// Objects of the base that the build changed in place, by their path.
    modified: HashMap<String, Modified>,
    dropped: BTreeMap<String, u64>,
}

enum Modified {
    /// Header, and where the content waits; no link to it has come.
    Waiting(Box<Entry>, String),
    /// The path of the first link, which is the file.
    At(String),
}

impl Builder<'_> {
    fn entry(&mut self, entry: &Entry, content: &mut impl BufRead) -> Result<()> {
        let path = normalize(&entry.path)?;
        // container/storage gives a file of the base that was changed as the changed object, with a real time, and
        // then links to it. Objects that were not changed keep ostree's time, 0.
        if path.starts_with(OBJECTS) && entry.mtime > 0 && entry.kind == Kind::File {
            let spool = self.writer.store().spool(entry.size, content)?;
            self.modified.insert(path, Modified::Waiting(Box::new(entry.clone()), spool));
            return Ok(());
        }
        let path = match place(&path, self.context.any_top_level) {
            Place::Keep(path) => path,
            Place::Drop(what) => {
                if self.dropped.len() < MAX_DROPPED || self.dropped.contains_key(&what) {
                    *self.dropped.entry(what).or_default() += 1;
                }
                return Ok(());
            }
        };
        match entry.kind {
            Kind::Directory => self.tree.directory(&path, entry),
            Kind::File => self.file(&path, entry, content),
            Kind::Symlink => self.symlink(&path, entry),
            Kind::Hardlink => self.hardlink(path, entry),
            Kind::Other(flag) => {
                bail!("type {:?}: devices, fifos and sockets cannot be in an ostree tree", char::from(flag))
            }
        }
    }

    fn header(&self, path: &str, mode: u32, entry: &Entry) -> Result<FileHeader> {
        let xattrs = Xattrs(self.tree.xattrs(path, mode, entry.xattrs.clone())?);
        Ok(FileHeader { uid: entry.uid, gid: entry.gid, mode, xattrs, target: None })
    }

    fn file(&mut self, path: &str, entry: &Entry, content: &mut dyn BufRead) -> Result<()> {
        let header = self.header(path, S_IFREG | entry.mode, entry)?;
        self.writer.write_file(None, &header, entry.size, content)?;
        self.tree.insert(path, entry)
    }

    fn symlink(&mut self, path: &str, entry: &Entry) -> Result<()> {
        // Whatever the tar says: a symbolic link on disk has no other mode, and the checksum is over what is on disk.
        let mut header = self.header(path, S_IFLNK | 0o777, entry)?;
        header.target = Some(link_target(&entry.link));
        self.writer.write_symlink(None, &header)?;
        self.tree.insert(path, entry)
    }

    fn hardlink(&mut self, path: String, entry: &Entry) -> Result<()> {
        let target = normalize(&entry.link).context("reading the target")?;
        if target.starts_with(OBJECTS) && entry.mtime > 0 {
            return self.link_to_modified(path, &target, entry);
        }
        let target = match place(&target, self.context.any_top_level) {
            Place::Keep(target) => target,
            Place::Drop(_) => target,
        };
        self.defer(path, target, entry)
    }

    /// A link comes to be at the end; its directories, and its place among entries of the same path, now.
    fn defer(&mut self, path: String, target: String, entry: &Entry) -> Result<()> {
        self.tree.clear(&path, entry)?;
        self.links.push((path, target));
        Ok(())
    }

    /// The first link to a changed object is the file; its other links point to that.
    fn link_to_modified(&mut self, path: String, target: &str, entry: &Entry) -> Result<()> {
        match self.modified.get(target) {
            // The object was not changed: the link says nothing new about the path.
            None => Ok(()),
            Some(Modified::At(first)) => {
                let first = first.clone();
                self.defer(path, first, entry)
            }
            Some(Modified::Waiting(..)) => {
                let at = Modified::At(path.clone());
                let Some(Modified::Waiting(mut object, spool)) = self.modified.insert(target.to_owned(), at) else {
                    bail!("changed object {target} is gone")
                };
                // The header is the object's, without its xattrs: container/storage gives them to the links as well.
                object.xattrs.clear();
                let mut content = BufReader::new(self.writer.store().open_spool(&spool)?);
                self.file(&path, &object, &mut content)
            }
        }
    }
}
