// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A derived layer: plain files that a container build put on top. Its tar becomes a commit of its own.
//!
//! What is kept and under which name follows ostree-ext (`tar/write.rs`) and libostree's tar import; the rules are
//! listed in `docs/format.md`. Whiteouts are ordinary files here; [`super::merge`] acts on them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail, ensure};

use super::gvariant::xattrs;
use super::label;
use super::path::{Place, link_target, normalize, place};
use super::tree::{Dir, MAX_DEPTH, Node, S_IFDIR, S_IFLNK, S_IFREG, write_dirmeta};
use crate::oci::Digest;
use crate::ostree::{FileHeader, SePolicy, Transaction, Xattrs};
use crate::stream::{Entry, Kind, Skip, TarReader};

/// Mode of directories that the tar does not mention, as libostree makes them.
const IMPLIED_MODE: u32 = 0o755;

/// What the files of a layer depend on besides the layer.
pub(super) struct LayerContext<'a> {
    /// Labels by the policy of the base commit.
    pub(super) policy: Option<&'a SePolicy>,
    /// Whether top-level names other than usr, etc, var may be in the tree: the base has a transient or composefs root.
    pub(super) any_top_level: bool,
    /// Where temporary files go: the repository's `tmp`.
    pub(super) temporary: &'a std::path::Path,
}

/// Build the tree of a layer.
pub(super) fn import_tree<R: Skip>(
    transaction: &Transaction<'_>,
    tar: &mut TarReader<R>,
    context: &LayerContext<'_>,
) -> Result<Dir> {
    let root = write_dirmeta(
        transaction,
        0,
        0,
        IMPLIED_MODE,
        &labelled_xattrs(context.policy, "/", S_IFDIR | IMPLIED_MODE, Vec::new())?,
    )?;
    let mut builder = Builder {
        transaction,
        context,
        root: Dir::new(root),
        links: Vec::new(),
        modified: HashMap::new(),
        dropped: BTreeMap::new(),
    };
    while let Some(entry) = tar.next_entry()? {
        builder.entry(&entry, tar).with_context(|| format!("importing {}", entry.path.escape_ascii()))?;
    }
    builder.resolve_links()?;
    for (what, count) in &builder.dropped {
        log::debug!("{count} entries below {what:?} are not part of an ostree tree");
    }
    Ok(builder.root)
}

struct Builder<'a> {
    transaction: &'a Transaction<'a>,
    context: &'a LayerContext<'a>,
    root: Dir,
    /// Hard links: path and target. They are resolved at the end, as libostree does.
    links: Vec<(String, String)>,
    /// Objects of the base that the build changed in place: header and content, by their path. After the first link,
    /// the path that the content got.
    modified: HashMap<String, Modified>,
    dropped: BTreeMap<String, u64>,
}

enum Modified {
    Waiting(Box<Entry>, File),
    At(String),
}

impl Builder<'_> {
    fn entry(&mut self, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let path = normalize(&entry.path)?;
        // container/storage gives a file of the base that was changed as the changed object, with a real time, and
        // then links to it. Objects that were not changed keep ostree's time, 0.
        if path.starts_with("sysroot/ostree/repo/") && entry.mtime > 0 && entry.kind == Kind::File {
            let spool = self.spool(content)?;
            self.modified.insert(path, Modified::Waiting(Box::new(entry.clone()), spool));
            return Ok(());
        }
        let path = match place(&path, self.context.any_top_level) {
            Place::Keep(path) => path,
            Place::Drop(what) => {
                *self.dropped.entry(what).or_default() += 1;
                return Ok(());
            }
        };
        match entry.kind {
            Kind::Directory => self.directory(&path, entry),
            Kind::File => self.file(&path, entry, entry.size, content),
            Kind::Symlink => self.symlink(&path, entry),
            Kind::Hardlink => self.hardlink(path, entry),
            Kind::Other(flag) => {
                bail!("type {:?}: devices, fifos and sockets cannot be in an ostree tree", char::from(flag))
            }
        }
    }

    fn spool(&self, content: &mut impl Read) -> Result<File> {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = open(self.context.temporary, flags, Mode::RUSR | Mode::WUSR).context("creating a temporary file")?;
        let mut file = File::from(file);
        std::io::copy(content, &mut file).context("writing a temporary file")?;
        file.seek(SeekFrom::Start(0)).context("rewinding a temporary file")?;
        Ok(file)
    }

    fn xattrs(&self, path: &str, mode: u32, entry: &Entry) -> Result<Vec<u8>> {
        labelled_xattrs(self.context.policy, &format!("/{path}"), mode, entry.xattrs.clone())
    }

    fn directory(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let bytes = self.xattrs(path, S_IFDIR | entry.mode, entry)?;
        let meta = write_dirmeta(self.transaction, entry.uid, entry.gid, entry.mode, &bytes)?;
        if path.is_empty() {
            self.root.meta = meta;
            return Ok(());
        }
        let (transaction, context) = (self.transaction, self.context);
        let (parent, name) = parent_of(&mut self.root, transaction, context, path, entry)?;
        ensure!(!parent.files.contains_key(name), "a file of this name came before the directory");
        match parent.dirs.get_mut(name) {
            Some(Node::Loaded(dir)) => dir.meta = meta,
            _ => drop(parent.dirs.insert(name.to_owned(), Node::Loaded(Dir::new(meta)))),
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, entry: &Entry, checksum: Digest) -> Result<()> {
        let (transaction, context) = (self.transaction, self.context);
        let (parent, name) = parent_of(&mut self.root, transaction, context, path, entry)?;
        ensure!(!parent.dirs.contains_key(name), "a directory of this name came before the file");
        parent.files.insert(name.to_owned(), checksum);
        Ok(())
    }

    fn header(&self, path: &str, kind: u32, entry: &Entry) -> Result<FileHeader> {
        let mode = kind | if kind == S_IFLNK { 0o777 } else { entry.mode };
        let xattrs = Xattrs(self.xattrs(path, mode, entry)?);
        Ok(FileHeader { uid: entry.uid, gid: entry.gid, mode, xattrs, target: None })
    }

    fn file(&mut self, path: &str, entry: &Entry, size: u64, mut content: impl Read) -> Result<()> {
        let header = self.header(path, S_IFREG, entry)?;
        let checksum = self.transaction.write_file(None, &header, size, &mut content)?;
        self.insert(path, entry, checksum)
    }

    fn symlink(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let mut header = self.header(path, S_IFLNK, entry)?;
        header.target = Some(link_target(&entry.link));
        let checksum = self.transaction.write_symlink(None, &header)?;
        self.insert(path, entry, checksum)
    }

    fn hardlink(&mut self, path: String, entry: &Entry) -> Result<()> {
        let target = normalize(&entry.link).context("reading the target")?;
        if target.starts_with("sysroot/ostree/repo/") && entry.mtime > 0 {
            return self.link_to_modified(path, &target);
        }
        let target = match place(&target, self.context.any_top_level) {
            Place::Keep(target) => target,
            Place::Drop(_) => target,
        };
        // A placeholder, so that a later entry of the same path wins over this one.
        self.forget(&path)?;
        self.links.push((path, target));
        Ok(())
    }

    /// The first link to a changed object is the file; its other links point to that.
    fn link_to_modified(&mut self, path: String, target: &str) -> Result<()> {
        match self.modified.get_mut(target) {
            Some(Modified::Waiting(..)) => {
                let at = Modified::At(path.clone());
                let Some(Modified::Waiting(mut object, content)) = self.modified.insert(target.to_owned(), at) else {
                    bail!("changed object {target} is gone")
                };
                object.xattrs.clear();
                let size = object.size;
                self.file(&path, &object, size, content)
            }
            Some(Modified::At(first)) => {
                let first = first.clone();
                self.links.push((path, first));
                Ok(())
            }
            // The object was not changed: the link says nothing new about the path.
            None => Ok(()),
        }
    }

    /// A hard link replaces a file of its name.
    fn forget(&mut self, path: &str) -> Result<()> {
        let names: Vec<&str> = path.split('/').collect();
        let Some((last, parents)) = names.split_last() else { return Ok(()) };
        let mut dir = &mut self.root;
        for name in parents {
            match dir.dirs.get_mut(*name) {
                Some(Node::Loaded(inner)) => dir = inner,
                _ => return Ok(()),
            }
        }
        ensure!(!dir.dirs.contains_key(*last), "a directory of this name came before the link");
        dir.files.remove(*last);
        Ok(())
    }

    fn resolve_links(&mut self) -> Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            let names: Vec<&str> = target.split('/').collect();
            let found = self.root.find(self.transaction.repo(), &names)?;
            let checksum = found.with_context(|| format!("hard link {path} to {target}, which is not in the layer"))?;
            let entry = implied_entry(0, 0);
            self.insert(&path, &entry, checksum).with_context(|| format!("linking {path}"))?;
        }
        Ok(())
    }
}

fn labelled_xattrs(
    policy: Option<&SePolicy>,
    path: &str,
    mode: u32,
    mut list: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Vec<u8>> {
    label::apply(policy, path, mode, &mut list)?;
    Ok(xattrs(&list))
}

fn implied_entry(uid: u32, gid: u32) -> Entry {
    Entry {
        path: Vec::new(),
        link: Vec::new(),
        kind: Kind::Directory,
        mode: IMPLIED_MODE,
        uid,
        gid,
        mtime: 0,
        size: 0,
        xattrs: Vec::new(),
    }
}

/// The directory that holds `path`, and the last name of it. Directories that did not come get the entry's owner.
fn parent_of<'d, 'p>(
    root: &'d mut Dir,
    transaction: &Transaction<'_>,
    context: &LayerContext<'_>,
    path: &'p str,
    entry: &Entry,
) -> Result<(&'d mut Dir, &'p str)> {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    ensure!(!name.is_empty(), "entry without a name");
    ensure!(parents.split('/').count() < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
    let mut dir = root;
    let mut end = 0;
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        end += part.len() + usize::from(end > 0);
        ensure!(!dir.files.contains_key(part), "{:?} is a file, not a directory", &parents[..end]);
        if !dir.dirs.contains_key(part) {
            let full = format!("/{}", &parents[..end]);
            let bytes = labelled_xattrs(context.policy, &full, S_IFDIR | IMPLIED_MODE, Vec::new())?;
            let meta = write_dirmeta(transaction, entry.uid, entry.gid, IMPLIED_MODE, &bytes)?;
            dir.dirs.insert(part.to_owned(), Node::Loaded(Dir::new(meta)));
        }
        dir = match dir.dirs.get_mut(part) {
            Some(Node::Loaded(inner)) => inner,
            _ => bail!("a directory of the layer is not in memory"),
        };
    }
    Ok((dir, name))
}
