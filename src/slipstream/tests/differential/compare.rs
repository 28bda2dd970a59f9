// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two repositories that were filled from one image: where do they differ?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::commit::Repo;
use crate::metadata::{check_parent, compare_merge};
use crate::tools::Tools;

pub const IMAGE: &str = "ostree/container/image/";
pub const BLOB: &str = "ostree/container/blob/";

/// One side: the repository, also as the tools see it, and its refs.
pub struct Side {
    pub repo: Repo,
    pub inside: String,
    pub refs: BTreeMap<String, String>,
}

impl Side {
    pub fn new(repo: Repo, inside: String) -> Result<Self> {
        let refs = repo.refs()?;
        Ok(Self { repo, inside, refs })
    }

    /// Returns name and commit of the one image ref.
    pub fn image(&self) -> Result<(&str, &str)> {
        let mut images = self.refs.iter().filter(|(name, _)| name.starts_with(IMAGE));
        let (name, commit) = images.next().context("finding an image ref")?;
        ensure!(images.next().is_none(), "there is more than one image ref");
        Ok((name, commit))
    }

    fn blobs(&self) -> BTreeSet<&str> {
        self.refs.keys().map(String::as_str).filter(|name| name.starts_with(BLOB)).collect()
    }

    /// Returns every path of a commit's tree with what the tree says of it.
    pub fn list(&self, tools: &Tools, commit: &str) -> Result<BTreeMap<String, String>> {
        let text = tools.shell("ostree ls --repo=\"$1\" -R -X -C \"$2\"", &[&self.inside, commit])?;
        text.lines().map(split_line).collect()
    }
}

/// Splits a line of `ostree ls -RXC` into its path and the rest. A directory's content checksum
/// is left out: it repeats what the lines below it say.
fn split_line(line: &str) -> Result<(String, String)> {
    let at = line.find(" /").with_context(|| format!("finding the path in {line:?}"))?;
    let path = line[at + 1..].split(" -> ").next().unwrap_or_default().to_owned();
    let mut words: Vec<_> = line.split_whitespace().collect();
    if line.starts_with('d') && words.len() > 4 {
        words.remove(4);
    }
    Ok((path, words.join(" ")))
}

/// The findings of a comparison: differences, which a case may expect, and faults.
#[derive(Default)]
pub struct Findings {
    pub differences: BTreeSet<String>,
    /// The lines behind `differences`, to be read by people.
    pub detail: Vec<String>,
    pub faults: Vec<String>,
}

impl Findings {
    pub fn check(&mut self, good: bool, fault: impl FnOnce() -> String) {
        if !good {
            self.faults.push(fault());
        }
    }
}

/// Compares all that both importers wrote.
pub fn compare(tools: &Tools, peer: &Side, ours: &Side) -> Result<Findings> {
    let mut found = Findings::default();
    let (peer_merge, our_merge) = (peer.image()?.1, ours.image()?.1);
    found.check(peer.blobs() == ours.blobs(), || {
        format!("layer refs: peer {:?}, ours {:?}", peer.blobs(), ours.blobs())
    });
    let (theirs, mine) = (peer.repo.commit(peer_merge)?, ours.repo.commit(our_merge)?);
    compare_merge(&theirs, &mine, &mut found)?;
    check_parent(&mine, ours, &mut found)?;
    compare_trees(tools, "merge", (peer, peer_merge), (ours, our_merge), &mut found)?;
    for name in peer.blobs().intersection(&ours.blobs()) {
        compare_layer(tools, (peer, &peer.refs[*name]), (ours, &ours.refs[*name]), &mut found)?;
    }
    let unnamed = ours.repo.unnamed_commits()?;
    found.check(unnamed.is_empty(), || format!("commits that no ref names: {unnamed:?}"));
    if found.differences.is_empty() {
        let more: Vec<_> = ours.repo.objects()?.difference(&peer.repo.objects()?).cloned().collect();
        found.check(more.is_empty(), || format!("objects that only ours has: {more:?}"));
    }
    Ok(found)
}

/// A layer ref: chunks and the commit layer give the very same commit; a derived
/// layer's commit carries the time of its import, so its tree is compared.
fn compare_layer(tools: &Tools, peer: (&Side, &str), ours: (&Side, &str), found: &mut Findings) -> Result<()> {
    if peer.1 == ours.1 {
        return Ok(());
    }
    let (theirs, mine) = (peer.0.repo.commit(peer.1)?, ours.0.repo.commit(ours.1)?);
    let is_derived = theirs.keys() == ["ostree.importer.version"];
    found.check(is_derived, || format!("layer commit: peer {theirs:?}, ours {mine:?}"));
    compare_trees(tools, "layer", peer, ours, found)
}

fn compare_trees(
    tools: &Tools,
    what: &str,
    peer: (&Side, &str),
    ours: (&Side, &str),
    found: &mut Findings,
) -> Result<()> {
    let (theirs, mine) = (peer.0.repo.commit(peer.1)?, ours.0.repo.commit(ours.1)?);
    if (&theirs.root_tree, &theirs.root_meta) == (&mine.root_tree, &mine.root_meta) {
        return Ok(());
    }
    let (theirs, mine) = (peer.0.list(tools, peer.1)?, ours.0.list(tools, ours.1)?);
    found.check(theirs != mine, || format!("{what}: the root checksums differ, the listings do not"));
    for (sign, from, other) in [('-', &theirs, &mine), ('+', &mine, &theirs)] {
        for (path, line) in from.iter().filter(|(path, line)| other.get(*path) != Some(line)) {
            found.differences.insert(format!("{what} {sign}{path}"));
            found.detail.push(format!("{what} {sign} {line}"));
        }
    }
    Ok(())
}

/// Writes a string as part of a ref, by upstream's rule.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '-' => escaped.push(c),
            '_' => escaped.push_str("__"),
            '/' if rest.peek().is_some() && before.is_some_and(|b: char| b.is_ascii_alphanumeric()) => escaped.push(c),
            c => escaped.push_str(&format!("_{:02X}_", u32::from(c))),
        }
        before = Some(c);
    }
    escaped
}
