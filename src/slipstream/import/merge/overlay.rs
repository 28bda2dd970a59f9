// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The merge commit: the base commit's tree with every derived layer on top, whiteouts carried out.
//!
//! Upstream checks the base out, checks each layer out over it and commits the directory. The same tree comes out of
//! working on dirtrees in memory, in which only the directories that a layer touches are read.
//!
//! Tested by `src/slipstream/tests/differential/`.

use anyhow::{Result, ensure};
use contract::names::Digest;
use repo::ObjectType;
use repo::file_type::{S_IFMT, S_IFREG};
use repo::gvariant::parse_dirtree;
use repo::store::Store;
use repo::tree::{Dir, MAX_DEPTH, Node};

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Container tools make these as mount points. Empty, they would keep the machine from getting its own.
const MOUNT_POINTS: [[&str; 3]; 2] = [["usr", "etc", "hostname"], ["usr", "etc", "resolv.conf"]];

/// Put `layer` over `base`.
pub fn overlay(store: &Store, base: &mut Dir, layer: Dir) -> Result<()> {
    overlay_dir(store, base, layer, 0)
}

fn overlay_dir(store: &Store, base: &mut Dir, layer: Dir, depth: usize) -> Result<()> {
    ensure!(depth < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
    // In byte order, files and whiteouts alike: a whiteout also removes what came before it in the same layer.
    for (name, checksum) in layer.files {
        match name.strip_prefix(WHITEOUT) {
            Some(hidden) if is_regular(store, &checksum)? => {
                ensure!(!hidden.is_empty(), "whiteout without a name");
                if name != OPAQUE {
                    base.files.remove(hidden);
                    base.dirs.remove(hidden);
                }
            }
            _ => {
                base.dirs.remove(&name);
                base.files.insert(name, checksum);
            }
        }
    }
    for (name, node) in layer.dirs {
        if let Node::Stored { tree, .. } = &node
            && !base.dirs.contains_key(&name)
            && has_no_whiteouts(store, tree, depth + 1)?
        {
            // Nothing below it could change: there is no need to have it in memory.
            base.files.remove(&name);
            base.dirs.insert(name, node);
            continue;
        }
        let upper = node.into_dir(store)?;
        let opaque = match upper.files.get(OPAQUE) {
            Some(checksum) => is_regular(store, checksum)?,
            None => false,
        };
        if opaque {
            base.dirs.remove(&name);
        }
        base.files.remove(&name);
        // An existing directory keeps its own owner and mode; only a new one takes the layer's.
        let lower = base.dirs.entry(name).or_insert_with(|| Node::Loaded(Dir::new(upper.meta)));
        overlay_dir(store, lower.load(store)?, upper, depth + 1)?;
    }
    Ok(())
}

fn has_no_whiteouts(store: &Store, tree: &Digest, depth: usize) -> Result<bool> {
    ensure!(depth < MAX_DEPTH, "directories are nested deeper than {MAX_DEPTH}");
    let found = parse_dirtree(&store.load_metadata(ObjectType::DirTree, tree)?)?;
    if found.files.iter().any(|(name, _)| name.starts_with(WHITEOUT)) {
        return Ok(false);
    }
    drop(found.files);
    for (_, tree, _) in &found.dirs {
        if !has_no_whiteouts(store, tree, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Only regular files are whiteouts.
fn is_regular(store: &Store, checksum: &Digest) -> Result<bool> {
    Ok(store.load_header(checksum)?.0.mode & S_IFMT == S_IFREG)
}

/// Remove the mount points that container tools leave behind, if they are empty.
pub fn remove_mount_points(store: &Store, root: &mut Dir) -> Result<()> {
    for path in MOUNT_POINTS {
        let Some(checksum) = root.find(store, &path)? else { continue };
        let (header, size) = store.load_header(&checksum)?;
        if header.mode & S_IFMT == S_IFREG && size == 0 {
            let [usr, etc, name] = path;
            let usr = root.dirs.get_mut(usr).map(|node| node.load(store)).transpose()?;
            if let Some(etc) = usr.and_then(|usr| usr.dirs.get_mut(etc)) {
                etc.load(store)?.files.remove(name);
            }
        }
    }
    Ok(())
}
