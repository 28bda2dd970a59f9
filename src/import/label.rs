// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SELinux labels: as an extended attribute among others, and over a whole tree.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::gvariant::{parse_dirmeta, parse_xattrs, xattrs};
use super::tree::{Dir, MAX_DEPTH, write_dirmeta};
use super::writer::Writer;
use crate::oci::Digest;
use crate::ostree::{FileHeader, ObjectType, SePolicy, Xattrs};

const SELINUX: &[u8] = b"security.selinux";

/// Put the label that `policy` has for `path` among `list`, in place of another. Without a policy, or without a label
/// in it, the list stays.
pub(super) fn apply(
    policy: Option<&SePolicy>,
    path: &str,
    mode: u32,
    list: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<bool> {
    let Some(label) = policy.map(|policy| policy.label(path, mode)).transpose()?.flatten() else {
        return Ok(false);
    };
    // On disk the value ends with a NUL.
    let value = [label.as_bytes(), &[0]].concat();
    if list.iter().any(|(name, old)| name == SELINUX && *old == value) {
        return Ok(false);
    }
    list.retain(|(name, _)| name != SELINUX);
    list.push((SELINUX.to_vec(), value));
    Ok(true)
}

/// Labels a tree by a policy, and remembers what it has written.
pub(super) struct Relabel<'a> {
    writer: &'a Writer<'a>,
    policy: &'a SePolicy,
    written: HashMap<(Digest, Vec<u8>), Digest>,
}

impl<'a> Relabel<'a> {
    pub(super) fn new(writer: &'a Writer<'a>, policy: &'a SePolicy) -> Self {
        Self { writer, policy, written: HashMap::new() }
    }

    /// Label `dir`, which is at `path` (`/` for the root), and all below it.
    pub(super) fn dir(&mut self, path: &str, dir: &mut Dir, depth: usize) -> Result<()> {
        ensure!(depth < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
        let store = self.writer.store();
        let bytes = store.load_metadata(ObjectType::DirMeta, &dir.meta)?;
        let (uid, gid, mode, stored) = parse_dirmeta(&bytes)?;
        let mut list = parse_xattrs(stored)?;
        if apply(Some(self.policy), path, mode, &mut list)? {
            dir.meta = write_dirmeta(self.writer, uid, gid, mode, &xattrs(&list))?;
        }
        let prefix = if path == "/" { "" } else { path };
        for (name, checksum) in &mut dir.files {
            let path = format!("{prefix}/{name}");
            *checksum = self.file(&path, checksum).with_context(|| format!("labelling {path}"))?;
        }
        for (name, node) in &mut dir.dirs {
            self.dir(&format!("{prefix}/{name}"), node.load(store)?, depth + 1)?;
        }
        Ok(())
    }

    /// The object that `checksum` becomes at `path`.
    fn file(&mut self, path: &str, checksum: &Digest) -> Result<Digest> {
        let store = self.writer.store();
        let (header, size) = store.load_header(checksum)?;
        let mut list = parse_xattrs(&header.xattrs.0)?;
        if !apply(Some(self.policy), path, header.mode, &mut list)? {
            return Ok(*checksum);
        }
        let key = (*checksum, xattrs(&list));
        if let Some(written) = self.written.get(&key) {
            return Ok(*written);
        }
        let relabelled = FileHeader { xattrs: Xattrs(key.1.clone()), ..header };
        let written = if relabelled.target.is_some() {
            self.writer.write_symlink(None, &relabelled)?
        } else {
            let mut content = store.open_file(checksum)?;
            self.writer.write_file(None, &relabelled, size, &mut content)?
        };
        self.written.insert(key, written);
        Ok(written)
    }
}
