// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a deployment is whole: every file of its commit is there and is the repository's own, which `ostree fsck`
//! checks; and its `/etc` is what libostree made of `/usr/etc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::cmd;

/// A line of `ostree ls -R -C`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    /// `d`, `-` or `l`.
    kind: char,
    mode: u32,
    owner: (u32, u32),
    /// Of a file's content object.
    checksum: String,
}

/// What a commit says its tree is.
pub struct Tree(BTreeMap<String, Item>);

impl Tree {
    /// Of a commit in `repo`.
    pub fn of_commit(repo: &Path, commit: &str) -> Result<Self> {
        let mut command = cmd::words("ostree", ["ls", "-R", "-C", "--repo"]);
        Self::parse(&cmd::stdout(command.arg(repo).args([commit, "/"]))?)
    }

    fn parse(listing: &str) -> Result<Self> {
        let items = listing.lines().map(|line| item(line).with_context(|| format!("reading `{line}` of ostree ls")));
        let tree: BTreeMap<_, _> = items.collect::<Result<_>>()?;
        ensure!(tree.len() > 1, "reading ostree ls: no files in it");
        Ok(Self(tree))
    }

    /// How many files and directories it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Compare with a deployment of this commit.
    pub fn ensure_checked_out(&self, deployment: &Path, repo: &Path) -> Result<()> {
        for (path, item) in &self.0 {
            let place = deployment.join(path.trim_start_matches('/'));
            let at = || format!("{} of the deployment", if path.is_empty() { "/" } else { path });
            let there = place.symlink_metadata().with_context(|| format!("reading {}", at()))?;
            if item.kind != 'd' {
                let object =
                    repo.join("objects").join(&item.checksum[..2]).join(format!("{}.file", &item.checksum[2..]));
                let object =
                    (object.symlink_metadata().with_context(|| format!("reading object {}", item.checksum))?, object);
                // A link to the object is the object.
                if (there.dev(), there.ino()) == (object.0.dev(), object.0.ino()) {
                    continue;
                }
                ensure!(same_content(&place, &there, &object.1, &object.0)?, "{} has another content", at());
            }
            ensure!(kind(&there) == Some(item.kind), "{} is of another type", at());
            let (mode, owner) = (there.mode() & 0o7777, (there.uid(), there.gid()));
            ensure!(item.kind == 'l' || mode == item.mode, "{} has mode {mode:o} instead of {:o}", at(), item.mode);
            ensure!(owner == item.owner, "{} belongs to {owner:?} instead of {:?}", at(), item.owner);
        }
        Ok(())
    }

    /// Files of `/usr/etc` that are not the same in `/etc`.
    pub fn changed_in_etc(&self, deployment: &Path) -> Result<BTreeSet<String>> {
        let mut changed = BTreeSet::new();
        for (path, item) in &self.0 {
            let Some(below) = path.strip_prefix("/usr/etc/") else { continue };
            if item.kind == 'd' {
                continue;
            }
            let (default, place) = (deployment.join("usr/etc").join(below), deployment.join("etc").join(below));
            let same = match place.symlink_metadata() {
                Ok(there) => same_content(&place, &there, &default, &default.symlink_metadata()?)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(error) => return Err(error).with_context(|| format!("reading {}", place.display())),
            };
            if !same {
                changed.insert(below.to_owned());
            }
        }
        Ok(changed)
    }
}

fn kind(stat: &Metadata) -> Option<char> {
    let kind = stat.file_type();
    [(kind.is_dir(), 'd'), (kind.is_file(), '-'), (kind.is_symlink(), 'l')].iter().find(|(is, _)| *is).map(|(_, c)| *c)
}

fn same_content(left: &Path, left_stat: &Metadata, right: &Path, right_stat: &Metadata) -> Result<bool> {
    let reading = || format!("comparing {} with {}", left.display(), right.display());
    if kind(left_stat) != kind(right_stat) {
        return Ok(false);
    }
    if left_stat.is_symlink() {
        return Ok(fs::read_link(left).with_context(reading)? == fs::read_link(right).with_context(reading)?);
    }
    Ok(left_stat.len() == right_stat.len()
        && fs::read(left).with_context(reading)? == fs::read(right).with_context(reading)?)
}

/// `-00644 0 0 1234 CHECKSUM /path`; of a directory two checksums, of a link ` -> target` after the path.
fn item(line: &str) -> Result<(String, Item)> {
    let (head, path) = line.split_once(" /").context("no path")?;
    let words: Vec<_> = head.split_whitespace().collect();
    let (Some(mode), Some(uid), Some(gid), Some(checksum)) = (words.first(), words.get(1), words.get(2), words.get(4))
    else {
        bail!("too few columns");
    };
    let kind = mode.chars().next().context("no type")?;
    let path = if kind == 'l' { path.split(" -> ").next().unwrap_or(path) } else { path };
    ensure!(matches!(kind, 'd' | '-' | 'l') && checksum.len() == 64, "not a line that we know");
    let mode = u32::from_str_radix(&mode[1..], 8).context("reading the mode")?;
    let number = |text: &str| text.parse().with_context(|| format!("reading the owner {text}"));
    let owner = (number(uid)?, number(gid)?);
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    Ok((path, Item { kind, mode, owner, checksum: (*checksum).to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "0123456789012345678901234567890123456789012345678901234567890123";

    #[test]
    fn lines_of_ostree_ls() {
        for (label, line, path, kind, mode) in [
            ("root", format!("d00755 0 0      0 {SUM} {SUM} /"), "", 'd', 0o755),
            ("directory", format!("d01777 0 0      0 {SUM} {SUM} /tmp"), "/tmp", 'd', 0o1777),
            ("file", format!("-04755 0 8  70136 {SUM} /usr/bin/a b"), "/usr/bin/a b", '-', 0o4755),
            ("link", format!("l00777 0 0      0 {SUM} /bin -> usr/bin"), "/bin", 'l', 0o777),
        ] {
            let (found, item) = item(&line).expect(label);
            assert_eq!((found.as_str(), item.kind, item.mode), (path, kind, mode), "{label}");
            assert_eq!(item.checksum, SUM, "{label}");
        }
        assert!(item("error: no such commit").is_err());
        assert!(item(&format!("c00644 0 0 0 {SUM} /dev/null")).is_err());
    }

    #[test]
    fn a_deployment_is_compared_file_by_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (deployment, repo) = (dir.path().join("deployment"), dir.path().join("repo"));
        let object = repo.join("objects/01").join(format!("{}.file", &SUM[2..]));
        fs::create_dir_all(object.parent().expect("a parent")).expect("objects");
        fs::create_dir(&deployment).expect("the deployment");
        fs::write(&object, "text").expect("the object");
        let (uid, mode) =
            (object.metadata().expect("stat").uid(), deployment.metadata().expect("stat").mode() & 0o7777);
        let gid = object.metadata().expect("stat").gid();
        let listing = format!("d0{mode:o} {uid} {gid} 0 {SUM} {SUM} /\n-00644 {uid} {gid} 4 {SUM} /file\n");
        let tree = Tree::parse(&listing).expect("a listing");
        let check = || tree.ensure_checked_out(&deployment, &repo).map_err(|error| format!("{error:#}"));
        assert!(check().expect_err("nothing there").starts_with("reading /file of the deployment"));
        fs::write(deployment.join("file"), "").expect("a file");
        assert_eq!(check(), Err("/file of the deployment has another content".to_owned()));
        fs::remove_file(deployment.join("file")).expect("no file");
        fs::hard_link(&object, deployment.join("file")).expect("a link");
        assert_eq!(check(), Ok(()));
    }
}
