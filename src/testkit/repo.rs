// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A repository of ostree, looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::programs;

/// Makes a new, empty repository.
pub fn init(path: &Path, mode: &str) -> Result<()> {
    programs::ostree(path, &["init", &format!("--mode={mode}")]).map(drop)
}

/// Returns what `ostree fsck` finds wrong with a repository; nothing if it is clean.
pub fn fsck(repo: &Path) -> Result<Option<String>> {
    let output = Command::new("ostree").arg("fsck").arg("--quiet").arg("--repo").arg(repo).output();
    let output = output.context("running ostree fsck")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&text).trim().replace('\n', " | ")))
}

/// Returns the files below a directory, as sorted paths relative to it; none if it is not there.
pub fn files_below(dir: &Path) -> Result<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(prefix) = open.pop() {
        let path = dir.join(&prefix);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).with_context(|| format!("listing {}", path.display()))? {
            let entry = entry.with_context(|| format!("listing {}", path.display()))?;
            let below = prefix.join(entry.file_name());
            if entry.file_type().with_context(|| format!("looking at {}", below.display()))?.is_dir() {
                open.push(below);
            } else {
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns every ref below `refs/heads` and the commit that it names.
pub fn refs(repo: &Path) -> Result<BTreeMap<String, String>> {
    let heads = repo.join("refs/heads");
    let read = |name: String| {
        let text = fs::read_to_string(heads.join(&name)).with_context(|| format!("reading ref {name}"))?;
        Ok((name, text.trim().to_owned()))
    };
    files_below(&heads)?.into_iter().map(read).collect()
}

/// Returns the names in the repository's `tmp` that an importer has left.
pub fn staged(repo: &Path) -> Result<Vec<String>> {
    let tmp = repo.join("tmp");
    let mut found = Vec::new();
    for entry in fs::read_dir(&tmp).with_context(|| format!("listing {}", tmp.display()))? {
        let name = entry.context("listing tmp")?.file_name().to_string_lossy().into_owned();
        if name != "cache" && name != ".lock" {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{files_below, refs, staged};

    #[test]
    fn reads_what_is_there() {
        let repo = tempfile::tempdir().expect("a directory");
        assert!(files_below(&repo.path().join("refs")).expect("nothing").is_empty());
        for (name, text) in [("refs/heads/a/b", "commit\n"), ("refs/heads/c", "other\n"), ("tmp/stage/x", "")] {
            let path = repo.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        fs::create_dir(repo.path().join("tmp/cache")).expect("a directory");
        let found: Vec<_> = refs(repo.path()).expect("refs").into_iter().collect();
        assert_eq!(found, [("a/b".to_owned(), "commit".to_owned()), ("c".to_owned(), "other".to_owned())]);
        assert_eq!(staged(repo.path()).expect("names"), ["stage"]);
    }
}
