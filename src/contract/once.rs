// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `when=once`: which requests have had their boot.
//!
//! It is written down before the work begins, so that a request whose end cannot be recorded does not begin again for ever;
//! a run that the power has cut may go on a few times.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::disk_file::DiskFile;
use crate::names::Digest;
use crate::places::PhysicalRoot;

/// Why nothing is done for a request.
pub const HAD_ITS_BOOT: &str = "when=once, and the request has had its boot";
/// The file.
const FILE: DiskFile =
    DiskFile { path: "ostree/slipstream-once", temporary: "ostree/.slipstream-once.new", max: 8 << 10 };
/// Version of the file.
const VERSION: u64 = 1;
/// How often a request may begin.
const MAX_BOOTS: u64 = 3;
/// How many requests are remembered, the newest ones.
const MAX_REQUESTS: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    request: Digest,
    boots: u64,
    ended: bool,
}

impl Entry {
    fn has_had_its_boot(&self) -> bool {
        self.ended || self.boots >= MAX_BOOTS
    }
}

/// Returns whether a request has had its boot.
pub fn has_had_its_boot(root: &PhysicalRoot, request: Digest) -> Result<bool> {
    Ok(read(root)?.iter().any(|entry| entry.request == request && entry.has_had_its_boot()))
}

/// Writes down that a request begins. False if it has had its boot: then nothing is written.
pub fn begin(root: &PhysicalRoot, request: Digest) -> Result<bool> {
    let mut entries = read(root)?;
    match entries.iter_mut().find(|entry| entry.request == request) {
        Some(entry) if entry.has_had_its_boot() => return Ok(false),
        Some(entry) => entry.boots += 1,
        None => entries.push(Entry { request, boots: 1, ended: false }),
    }
    write(root, &entries)?;
    Ok(true)
}

/// Writes down that a request has come to its end, whichever that is.
pub fn end(root: &PhysicalRoot, request: Digest) -> Result<()> {
    let mut entries = read(root)?;
    let entry = entries.iter_mut().find(|entry| entry.request == request).context("the request was not begun")?;
    entry.ended = true;
    write(root, &entries)
}

fn read(root: &PhysicalRoot) -> Result<Vec<Entry>> {
    let Some(text) = FILE.read(root)? else { return Ok(Vec::new()) };
    parse(&text).with_context(|| format!("{} is not one of ours", FILE.at(root).display()))
}

fn parse(text: &str) -> Result<Vec<Entry>> {
    let value: Value = serde_json::from_str(text).context("parsing it")?;
    let version = value["version"].as_u64().unwrap_or_default();
    ensure!(version == VERSION, "it has version {version}, not {VERSION}");
    let entry = |entry: &Value| {
        let request = Digest::from_hex(entry["request"].as_str().context("an entry has no request")?)?;
        let boots = entry["boots"].as_u64().context("an entry has no number of boots")?;
        Ok(Entry { request, boots, ended: entry["ended"].as_bool().context("an entry does not say whether it ended")? })
    };
    value["requests"].as_array().context("it has no requests")?.iter().map(entry).collect()
}

fn write(root: &PhysicalRoot, entries: &[Entry]) -> Result<()> {
    let newest = &entries[entries.len().saturating_sub(MAX_REQUESTS)..];
    let requests: Vec<_> = newest
        .iter()
        .map(|entry| json!({"request": entry.request.hex(), "boots": entry.boots, "ended": entry.ended}))
        .collect();
    let text = json!({"version": VERSION, "requests": requests}).to_string();
    FILE.write(root, &text).context("writing down that the request has its boot")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root() -> (tempfile::TempDir, PhysicalRoot) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("ostree")).unwrap();
        let root = PhysicalRoot::new(directory.path());
        (directory, root)
    }

    #[test]
    fn a_request_has_one_boot() {
        let (_directory, root) = root();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert!(!has_had_its_boot(&root, one).unwrap());
        assert!(begin(&root, one).unwrap() && !has_had_its_boot(&root, one).unwrap());
        end(&root, one).unwrap();
        assert!(has_had_its_boot(&root, one).unwrap());
        let before = FILE.read(&root).unwrap();
        assert!(!begin(&root, one).unwrap(), "a second boot");
        assert_eq!(FILE.read(&root).unwrap(), before, "it was written for nothing");
        assert!(begin(&root, other).unwrap(), "another request");
        end(&root, other).unwrap();
        assert!(!begin(&root, one).unwrap(), "an older request comes back");
    }

    #[test]
    fn a_run_that_was_cut_goes_on_a_few_times() {
        let (_directory, root) = root();
        let request = Digest::of(b"one");
        let boots = (0..10).take_while(|_| begin(&root, request).unwrap()).count();
        assert_eq!(boots as u64, MAX_BOOTS);
    }

    #[test]
    fn the_file_stays_small() {
        let (_directory, root) = root();
        for n in 0..100u8 {
            assert!(begin(&root, Digest::of(&[n])).unwrap());
        }
        assert_eq!(read(&root).unwrap().len(), MAX_REQUESTS);
        assert!(end(&root, Digest::of(&[0])).is_err(), "an old one");
        end(&root, Digest::of(&[99])).unwrap();
    }

    #[test]
    fn what_is_not_ours_begins_nothing() {
        let digest = Digest::of(b"one").hex();
        for (label, text, expected) in [
            ("empty", String::new(), "parsing it"),
            ("version", r#"{"version": 2, "requests": []}"#.to_owned(), "it has version 2, not 1"),
            ("no list", r#"{"version": 1}"#.to_owned(), "it has no requests"),
            ("no number", format!(r#"{{"version": 1, "requests": [{{"request": "{digest}"}}]}}"#), "number of boots"),
            ("too large", " ".repeat(9 << 10), "is larger than 8192 bytes"),
        ] {
            let (_directory, root) = root();
            fs::write(FILE.at(&root), &text).unwrap();
            let error = begin(&root, Digest::of(b"one")).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{label}: {error:#}");
            assert_eq!(fs::read_to_string(FILE.at(&root)).unwrap(), text, "{label}: it was changed");
        }
    }
}
