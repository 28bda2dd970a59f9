// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one importer wrote, and what is found of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::commit::Repo;
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

    pub fn blobs(&self) -> BTreeSet<&str> {
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
