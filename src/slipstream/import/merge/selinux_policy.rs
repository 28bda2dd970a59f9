// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The SELinux policy that a tree carries in `/usr/etc/selinux`.
//!
//! libselinux wants files. They are unpacked below the repository's `tmp`, and removed with the policy.
//!
//! Tested by `src/slipstream/tests/differential/corpus/selinux.rs`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use contract::names::Digest;
use ostree::SePolicy;
use repo::store::{STAGE_PREFIX, Store};
use repo::tree::{Dir, Node};

/// Where a tree keeps its policies.
const PATH: [&str; 3] = ["usr", "etc", "selinux"];

/// A policy, and what it was read from: two trees with the same directory have the same policy.
#[derive(Debug)]
pub struct TreePolicy {
    /// Labels.
    pub policy: SePolicy,
    files: Files,
    _unpacked: Unpacked,
}

/// Names and content of a policy's files.
type Files = Vec<(String, Digest)>;

impl TreePolicy {
    /// The policy of `tree`; `None` if it has none. `temporary` is the repository's `tmp`.
    pub fn of_tree(store: &Store, tree: &mut Dir, temporary: &Path) -> Result<Option<Self>> {
        let Some(directory) = find(store, tree)? else { return Ok(None) };
        let files = list(store, directory)?;
        let unpacked = Unpacked(temporary.join(format!("{STAGE_PREFIX}policy-{}", std::process::id())));
        let at = unpacked.0.join(PATH.join("/"));
        fs::create_dir_all(&at).with_context(|| format!("creating {}", at.display()))?;
        for (path, checksum) in &files {
            unpack(store, &at.join(path), checksum).with_context(|| format!("unpacking {path}"))?;
        }
        let policy = SePolicy::at(&unpacked.0).context("loading the SELinux policy")?;
        Ok(policy.map(|policy| Self { policy, files, _unpacked: unpacked }))
    }

    /// Whether `tree` has this policy too.
    pub fn is_of(&self, store: &Store, tree: &mut Dir) -> Result<bool> {
        Ok(match find(store, tree)? {
            Some(directory) => list(store, directory)? == self.files,
            None => false,
        })
    }
}

fn find<'t>(store: &Store, tree: &'t mut Dir) -> Result<Option<&'t mut Node>> {
    let mut dir = tree;
    for name in &PATH[..2] {
        match dir.dirs.get_mut(*name) {
            Some(node) => dir = node.load(store)?,
            None => return Ok(None),
        }
    }
    Ok(dir.dirs.get_mut(PATH[2]))
}

/// All files below a directory, by path.
fn list(store: &Store, directory: &mut Node) -> Result<Files> {
    let mut files = Vec::new();
    collect(store, directory, "", &mut files)?;
    Ok(files)
}

fn collect(store: &Store, node: &mut Node, prefix: &str, files: &mut Files) -> Result<()> {
    let dir = node.load(store)?;
    files.extend(dir.files.iter().map(|(name, checksum)| (format!("{prefix}{name}"), *checksum)));
    for (name, node) in &mut dir.dirs {
        collect(store, node, &format!("{prefix}{name}/"), files)?;
    }
    Ok(())
}

fn unpack(store: &Store, path: &Path, checksum: &Digest) -> Result<()> {
    let Some(parent) = path.parent() else { bail!("no directory") };
    fs::create_dir_all(parent)?;
    let (header, _) = store.load_header(checksum)?;
    if let Some(target) = header.target {
        let target = String::from_utf8(target).context("symbolic link with an odd target")?;
        // libselinux would follow it. A policy is read from its own files only.
        if target.starts_with('/') || target.split('/').any(|part| part == "..") {
            log::debug!("left out {}, which leads out of the policy", path.display());
            return Ok(());
        }
        return symlink(target, path).map_err(Into::into);
    }
    let mut content = store.open_file(checksum)?;
    let mut file = File::create_new(path)?;
    std::io::copy(&mut content, &mut file)?;
    Ok(())
}

/// A directory that goes with this.
#[derive(Debug)]
struct Unpacked(PathBuf);

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("removing {}: {error}", self.0.display());
        }
    }
}
