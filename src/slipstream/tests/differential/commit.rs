// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads refs and commit objects straight from a repository's files.
//!
//! A reader of its own, so that an error in slipstream's cannot hide itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use testkit::blob::hex;
use testkit::repo::{self, files_below};

/// A commit object: `(a{sv}aya(say)sstayay)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Commit {
    /// Key and value; a value is its type string and its bytes.
    pub metadata: Vec<(String, String, Vec<u8>)>,
    pub parent: String,
    pub related: Vec<u8>,
    pub subject: String,
    pub body: String,
    pub timestamp: u64,
    pub root_tree: String,
    pub root_meta: String,
}

impl Commit {
    fn parse(data: &[u8]) -> Result<Self> {
        // Six children of variable size stand before the last: six framing offsets, last first.
        let ends = offsets(data, 6)?;
        let metadata = slice(data, 0, ends[0])?;
        let parent = slice(data, ends[0], ends[1])?;
        let related = slice(data, ends[1], ends[2])?;
        let subject = slice(data, ends[2], ends[3])?;
        let body = slice(data, ends[3], ends[4])?;
        let time = align(ends[4], 8);
        let timestamp = slice(data, time, time + 8)?;
        let root_tree = slice(data, time + 8, ends[5])?;
        let width = offset_width(data.len());
        let root_meta = slice(data, ends[5], data.len() - 6 * width)?;
        Ok(Self {
            metadata: parse_dict(metadata)?,
            parent: hex(parent),
            related: related.to_vec(),
            subject: string(subject)?,
            body: string(body)?,
            timestamp: u64::from_be_bytes(timestamp.try_into().context("reading a timestamp")?),
            root_tree: hex(root_tree),
            root_meta: hex(root_meta),
        })
    }

    /// The value of a metadata key that is a string.
    pub fn string(&self, key: &str) -> Result<String> {
        let (_, kind, value) = self
            .metadata
            .iter()
            .find(|(name, ..)| name == key)
            .with_context(|| format!("finding metadata key {key}"))?;
        ensure!(kind == "s", "metadata key {key} is of type {kind}");
        string(value)
    }

    pub fn keys(&self) -> Vec<&str> {
        self.metadata.iter().map(|(key, ..)| key.as_str()).collect()
    }
}

/// An array `a{sv}`.
fn parse_dict(data: &[u8]) -> Result<Vec<(String, String, Vec<u8>)>> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let width = offset_width(data.len());
    let table = read_offset(data, data.len() - width, width)?;
    ensure!(table <= data.len() && (data.len() - table).is_multiple_of(width), "a broken array");
    let mut items = Vec::new();
    let mut start = 0;
    for at in (table..data.len()).step_by(width) {
        let end = read_offset(data, at, width)?;
        items.push(parse_item(slice(data, start, end)?)?);
        start = align(end, 8);
    }
    Ok(items)
}

/// One `{sv}`; the variant is its value, a zero byte and its type.
fn parse_item(data: &[u8]) -> Result<(String, String, Vec<u8>)> {
    let end = offsets(data, 1)?[0];
    let variant = slice(data, align(end, 8), data.len() - offset_width(data.len()))?;
    let zero = variant.iter().rposition(|byte| *byte == 0).context("finding a variant's type")?;
    let kind = std::str::from_utf8(&variant[zero + 1..]).context("reading a variant's type")?;
    Ok((string(slice(data, 0, end)?)?, kind.to_owned(), variant[..zero].to_vec()))
}

/// The first `count` framing offsets, in the order of the children.
fn offsets(data: &[u8], count: usize) -> Result<Vec<usize>> {
    let width = offset_width(data.len());
    (1..=count)
        .map(|n| read_offset(data, data.len().checked_sub(n * width).context("a short object")?, width))
        .collect()
}

fn offset_width(len: usize) -> usize {
    match len {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

fn read_offset(data: &[u8], at: usize, width: usize) -> Result<usize> {
    let bytes = slice(data, at, at + width)?;
    Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn align(at: usize, to: usize) -> usize {
    at.next_multiple_of(to)
}

fn slice(data: &[u8], start: usize, end: usize) -> Result<&[u8]> {
    data.get(start..end).with_context(|| format!("reading bytes {start}..{end} of {}", data.len()))
}

fn string(data: &[u8]) -> Result<String> {
    let text = data.strip_suffix(b"\0").context("reading a string")?;
    String::from_utf8(text.to_vec()).context("reading a string")
}

/// A repository, read from outside.
pub struct Repo(pub PathBuf);

impl Repo {
    pub fn commit(&self, checksum: &str) -> Result<Commit> {
        ensure!(checksum.len() == 64, "{checksum} is not a checksum");
        let path = self.0.join("objects").join(&checksum[..2]).join(format!("{}.commit", &checksum[2..]));
        let data = fs::read(&path).with_context(|| format!("reading commit {checksum}"))?;
        Commit::parse(&data).with_context(|| format!("parsing commit {checksum}"))
    }

    /// Returns every ref below `refs/heads` and the commit that it names.
    pub fn refs(&self) -> Result<BTreeMap<String, String>> {
        repo::refs(&self.0)
    }

    /// Returns the commits that no ref names.
    pub fn unnamed_commits(&self) -> Result<Vec<String>> {
        let named: BTreeSet<_> = self.refs()?.into_values().collect();
        let objects = files_below(&self.0.join("objects"))?.into_iter().map(|name| name.replace('/', ""));
        let commits = objects.filter_map(|name| name.strip_suffix(".commit").map(str::to_owned));
        Ok(commits.filter(|commit| !named.contains(commit)).collect())
    }

    /// Returns every object that is not a commit, and what must not be left behind in `state`.
    pub fn objects(&self) -> Result<BTreeSet<String>> {
        let mut objects = files_below(&self.0.join("objects"))?;
        objects.retain(|name| !name.ends_with(".commit") && !name.ends_with(".commitmeta"));
        objects.extend(files_below(&self.0.join("state"))?.into_iter().map(|name| format!("state/{name}")));
        Ok(objects.into_iter().collect())
    }
}
