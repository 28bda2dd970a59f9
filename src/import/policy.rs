// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The SELinux policy of a tree that is not committed yet.

use anyhow::{Context, Result};

use super::gvariant::dirtree;
use super::layer::write_commit;
use super::tree::{Dir, Node};
use crate::oci::Digest;
use crate::ostree::{ObjectType, Repo, SePolicy};

/// Where a tree keeps its policies.
const PATH: [&str; 3] = ["usr", "etc", "selinux"];

/// The policy that `tree` carries; `None` if it has none. libostree reads a policy out of a commit: when it is still
/// the base's, that one will do; otherwise a commit of nothing but the policy is made for the purpose, and removed.
pub(super) fn of_tree(repo: &Repo, tree: &mut Dir, base: Option<&Digest>) -> Result<Option<SePolicy>> {
    let Some(own) = find(repo, tree)? else { return Ok(None) };
    if let Some(base) = base {
        if find(repo, &mut Dir::of_commit(repo, base)?)? == Some(own) {
            return SePolicy::of_commit(repo, base);
        }
    }
    let (commit, made) = commit_alone(repo, own)?;
    let policy = SePolicy::of_commit(repo, &commit);
    for (kind, object) in made {
        repo.delete_object(kind, &object)?;
    }
    policy
}

/// Whether two trees have the same policy.
pub(super) fn is_same(repo: &Repo, tree: &mut Dir, base: &Digest) -> Result<bool> {
    Ok(find(repo, tree)? == find(repo, &mut Dir::of_commit(repo, base)?)?)
}

/// Tree and dirmeta of the policies' directory. What is in memory is written first.
fn find(repo: &Repo, tree: &mut Dir) -> Result<Option<(Digest, Digest)>> {
    let mut dir = tree;
    for name in &PATH[..2] {
        match dir.dirs.get_mut(*name) {
            Some(node) => dir = node.load(repo)?,
            None => return Ok(None),
        }
    }
    Ok(match dir.dirs.get(PATH[2]) {
        None => None,
        Some(Node::Stored { tree, meta }) => Some((*tree, *meta)),
        Some(Node::Loaded(dir)) => {
            let transaction = repo.begin()?;
            let tree = dir.write(&transaction)?;
            transaction.commit()?;
            Some((tree, dir.meta))
        }
    })
}

type Made = Vec<(ObjectType, Digest)>;

/// A commit with the policies' directory at its place. Returns the objects that were made for it, too.
fn commit_alone(repo: &Repo, (policies, meta): (Digest, Digest)) -> Result<(Digest, Made)> {
    let transaction = repo.begin()?;
    let mut made = Vec::new();
    let mut tree = policies;
    for name in PATH.iter().rev() {
        let bytes = dirtree(std::iter::empty(), std::iter::once((*name, tree, meta)));
        tree = Digest::of(&bytes);
        if !repo.has_object(ObjectType::DirTree, &tree)? {
            made.push((ObjectType::DirTree, tree));
        }
        transaction.write_metadata(ObjectType::DirTree, None, &bytes)?;
    }
    let commit = write_commit(&transaction, &[], None, 0, &tree, &meta)?;
    made.push((ObjectType::Commit, commit));
    transaction.commit().context("committing the SELinux policy")?;
    Ok((commit, made))
}
