// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels over a whole tree.
//!
//! Tested by `src/slipstream/tests/differential/corpus/selinux.rs`.

use std::collections::HashMap;
use std::io::BufReader;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use contract::names::Digest;
use ostree::SePolicy;
use repo::gvariant::{parse_dirmeta, parse_xattrs, xattrs};
use repo::tree::{Dir, MAX_DEPTH, Node, write_dirmeta};
use repo::writer::Writer;
use repo::{FileHeader, ObjectType, Xattrs};

use crate::import::layers::label;

/// Directories this deep are dealt out to threads, with all that is below them: `/usr/lib/modules` has depth 3.
const SPLIT_DEPTH: usize = 3;
/// Most dirmetas that are remembered. A tree has a few dozen.
const MAX_METAS: usize = 4096;

/// Labels trees by a policy, and remembers what it has written.
pub struct Relabel<'a> {
    writer: &'a Writer<'a>,
    policy: &'a SePolicy,
    written: Mutex<HashMap<(Digest, Vec<u8>), Digest>>,
    metas: Mutex<HashMap<Digest, Arc<DirMeta>>>,
}

/// A parsed dirmeta.
struct DirMeta {
    uid: u32,
    gid: u32,
    mode: u32,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A directory that waits for a thread, and its path.
type Waiting<'t> = (String, &'t mut Node);

impl<'a> Relabel<'a> {
    /// Returns a labeller that has labelled nothing yet.
    pub fn new(writer: &'a Writer<'a>, policy: &'a SePolicy) -> Self {
        Self { writer, policy, written: Mutex::default(), metas: Mutex::default() }
    }

    /// Label all of a tree, on as many threads as there are processors: for each path its object has to be looked at.
    pub fn tree(&self, root: &mut Dir) -> Result<()> {
        let mut waiting = Vec::new();
        self.own("/", root)?;
        for (name, node) in &mut root.dirs {
            self.split(format!("/{name}"), node, 1, &mut waiting)?;
        }
        let queue = Mutex::new(waiting);
        thread::scope(|scope| {
            let workers = thread::available_parallelism().map_or(1, NonZero::get);
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work(&queue))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread has panicked"))?)
        })
    }

    /// Label the upper directories, and collect those below them.
    fn split<'t>(&self, path: String, node: &'t mut Node, depth: usize, waiting: &mut Vec<Waiting<'t>>) -> Result<()> {
        if depth == SPLIT_DEPTH {
            waiting.push((path, node));
            return Ok(());
        }
        let dir = node.load(self.writer.store())?;
        self.own(&path, dir)?;
        for (name, node) in &mut dir.dirs {
            self.split(format!("{path}/{name}"), node, depth + 1, waiting)?;
        }
        Ok(())
    }

    fn work(&self, queue: &Mutex<Vec<Waiting<'_>>>) -> Result<()> {
        loop {
            let next = lock(queue).pop();
            let Some((path, node)) = next else { return Ok(()) };
            self.node(&path, node, SPLIT_DEPTH)?;
        }
    }

    /// Label a directory and all below it. Whether anything has changed: if not, what was not in memory is not kept.
    fn node(&self, path: &str, node: &mut Node, depth: usize) -> Result<bool> {
        ensure!(depth < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
        match node {
            Node::Loaded(dir) => self.dir(path, dir, depth),
            Node::Stored { tree, meta } => {
                let mut dir = Dir::read(self.writer.store(), tree, *meta)?;
                let changed = self.dir(path, &mut dir, depth)?;
                if changed {
                    *node = Node::Loaded(dir);
                }
                Ok(changed)
            }
        }
    }

    fn dir(&self, path: &str, dir: &mut Dir, depth: usize) -> Result<bool> {
        let mut changed = self.own(path, dir)?;
        for (name, node) in &mut dir.dirs {
            changed |= self.node(&format!("{path}/{name}"), node, depth + 1)?;
        }
        Ok(changed)
    }

    /// Label a directory and its files. `path` is `/` for the root.
    fn own(&self, path: &str, dir: &mut Dir) -> Result<bool> {
        let before = dir.meta;
        let meta = self.meta(&before)?;
        let mut list = meta.xattrs.clone();
        if label::apply(Some(self.policy), path, meta.mode, &mut list)? {
            dir.meta = write_dirmeta(self.writer, meta.uid, meta.gid, meta.mode, &xattrs(&list))?;
        }
        let mut changed = dir.meta != before;
        let prefix = path.trim_end_matches('/');
        for (name, checksum) in &mut dir.files {
            let path = format!("{prefix}/{name}");
            let labelled = self.file(&path, checksum).with_context(|| format!("labelling {path}"))?;
            changed |= labelled != *checksum;
            *checksum = labelled;
        }
        Ok(changed)
    }

    fn meta(&self, checksum: &Digest) -> Result<Arc<DirMeta>> {
        if let Some(meta) = lock(&self.metas).get(checksum) {
            return Ok(Arc::clone(meta));
        }
        let bytes = self.writer.store().load_metadata(ObjectType::DirMeta, checksum)?;
        let (uid, gid, mode, stored) = parse_dirmeta(&bytes)?;
        let meta = Arc::new(DirMeta { uid, gid, mode, xattrs: parse_xattrs(stored)? });
        let mut metas = lock(&self.metas);
        if metas.len() < MAX_METAS {
            metas.insert(*checksum, Arc::clone(&meta));
        }
        Ok(meta)
    }

    /// The object that `checksum` becomes at `path`.
    fn file(&self, path: &str, checksum: &Digest) -> Result<Digest> {
        let store = self.writer.store();
        let (header, size) = store.load_header(checksum)?;
        let mut list = parse_xattrs(&header.xattrs.0)?;
        if !label::apply(Some(self.policy), path, header.mode, &mut list)? {
            return Ok(*checksum);
        }
        let key = (*checksum, xattrs(&list));
        if let Some(written) = lock(&self.written).get(&key) {
            return Ok(*written);
        }
        let relabelled = FileHeader { xattrs: Xattrs(key.1.clone()), ..header };
        let written = if relabelled.target.is_some() {
            self.writer.write_symlink(None, &relabelled)?
        } else {
            let mut content = BufReader::new(store.open_file(checksum)?);
            self.writer.write_file(None, &relabelled, size, &mut content)?
        };
        lock(&self.written).insert(key, written);
        Ok(written)
    }
}

/// A thread that panicked ends the import; what it has left is whole.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
