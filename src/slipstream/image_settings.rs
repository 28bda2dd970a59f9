// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an image sets beside its files: kernel arguments in `/usr/lib/bootc/kargs.d`, and images that belong to it.
//!
//! bootc applies the difference between the kernel arguments of the booted image and those of the new one when it deploys. A node
//! image that is booted without that has them in its files and not on its command line, and the next difference is
//! empty: they would never come. So the difference is made here, in the same way.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use contract::request::{kargs, mco};
use repo::store::Store;
use repo::tree::Dir;
use toml_span::Value;

/// Where an image has its kernel arguments.
const KARGS: [&str; 4] = ["usr", "lib", "bootc", "kargs.d"];
/// Where it names images that bootc fetches with it.
const BOUND_IMAGES: [&str; 4] = ["usr", "lib", "bootc", "bound-images.d"];
/// What the name of a file with kernel arguments ends in.
const TOML: &str = ".toml";
/// Largest of these files, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Most kernel arguments of an image, in bytes: half of what a kernel takes.
const MAX_KARGS: usize = 2048;

/// The kernel arguments of a boot loader entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryKargs {
    /// All of them.
    pub kargs: Vec<String>,
    /// Those that the running kernel does not have.
    pub waiting: Vec<String>,
}

impl EntryKargs {
    /// Returns those of an entry to which the difference between two images is applied. `cmdline` is what the running kernel has.
    pub fn new(mut entry: Vec<String>, bootimage: &[String], node: &[String], cmdline: &str) -> Self {
        entry.retain(|karg| !bootimage.contains(karg) || node.contains(karg));
        let added: Vec<_> = node.iter().filter(|karg| !bootimage.contains(karg)).cloned().collect();
        let running = |karg: &String| kargs::split(cmdline).any(|there| there == karg);
        let waiting = added.iter().filter(|karg| !running(karg)).cloned().collect();
        let missing: Vec<_> = added.into_iter().filter(|karg| !entry.contains(karg)).collect();
        entry.extend(missing);
        Self { kargs: entry, waiting }
    }

    /// Returns the first that must not wait for the next boot.
    pub fn cannot_wait(&self) -> Option<&String> {
        self.waiting.iter().find(|karg| mco::why_harmless(karg).is_none())
    }
}

/// Returns the kernel arguments that an image sets on this architecture, in order.
pub fn kargs_of(store: &Store, commit: &Digest) -> Result<Vec<String>> {
    let mut root = Dir::of_commit(store, commit)?;
    let Some(dir) = root.enter(store, &KARGS)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (name, digest) in dir.files.iter().filter(|(name, _)| name.ends_with(TOML)) {
        let mut text = String::new();
        let file = store.open_file(digest)?;
        let read = file.take(MAX_FILE + 1).read_to_string(&mut text).context("it is not text");
        let parsed = read.and_then(|_| {
            ensure!(text.len() as u64 <= MAX_FILE, "it is larger than {MAX_FILE} bytes");
            parse(&text, std::env::consts::ARCH)
        });
        found.extend(parsed.with_context(|| format!("reading /{}/{name}", KARGS.join("/")))?);
    }
    let length = found.iter().map(|karg| karg.len() + 1).sum::<usize>();
    ensure!(
        length <= MAX_KARGS,
        "the kernel arguments in /{} have {length} bytes, more than {MAX_KARGS}",
        KARGS.join("/")
    );
    Ok(found)
}

/// Returns how many images belong to an image.
pub fn bound_images(store: &Store, commit: &Digest) -> Result<usize> {
    let mut root = Dir::of_commit(store, commit)?;
    Ok(root.enter(store, &BOUND_IMAGES)?.map_or(0, |dir| dir.files.len()))
}

/// Parses a file as bootc does, which knows two keys and no other.
fn parse(text: &str, architecture: &str) -> Result<Vec<String>> {
    let document = toml_span::parse(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let table = document.as_table().context("it is no table")?;
    let mut kargs = None;
    let mut matches = true;
    for (key, value) in table {
        match &*key.name {
            "kargs" => kargs = Some(texts(value).context("reading kargs")?),
            "match-architectures" => {
                matches = texts(value).context("reading match-architectures")?.iter().any(|name| name == architecture);
            }
            other => anyhow::bail!("it has the unknown key {other:?}"),
        }
    }
    let kargs = kargs.context("it has no kargs")?;
    for karg in &kargs {
        ensure!(!karg.chars().any(char::is_control), "kernel argument {karg:?} has a control character");
    }
    Ok(if matches { kargs } else { Vec::new() })
}

fn texts(value: &Value<'_>) -> Result<Vec<String>> {
    let list = value.as_array().context("it is no list")?;
    list.iter().map(|item| item.as_str().map(str::to_owned).context("it is no list of strings")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn files_are_read_as_bootc_reads_them() {
        for (text, expected) in [
            (r#"kargs = ["mitigations=auto,nosmt", "quiet"]"#, Ok("mitigations=auto,nosmt quiet")),
            ("kargs = []", Ok("")),
            ("kargs = [\"a\"]\nmatch-architectures = [\"x86_64\", \"aarch64\"]", Ok("a")),
            ("kargs = [\"a\"]\nmatch-architectures = [\"aarch64\"]", Ok("")),
            ("match-architectures = []", Err("it has no kargs")),
            ("kargs = \"a\"", Err("reading kargs: it is no list")),
            ("kargs = [1]", Err("reading kargs: it is no list of strings")),
            ("kargs = [\"a\"]\nkarg = []", Err("it has the unknown key \"karg\"")),
            ("kargs = [\"a\\nb\"]", Err("kernel argument \"a\\nb\" has a control character")),
            ("kargs", Err("")),
        ] {
            match (parse(text, "x86_64"), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, list(expected), "{text}"),
                (Err(error), Err(expected)) => {
                    let error = format!("{error:#}");
                    assert!(error == expected || expected.is_empty(), "{text}: {error}");
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_difference_is_that_of_bootc() {
        let applied =
            |entry, bootimage, node, cmdline| EntryKargs::new(list(entry), &list(bootimage), &list(node), cmdline);
        for (label, got, kargs, waiting) in [
            ("nothing", applied("rw quiet", "", "", "rw"), "rw quiet", ""),
            ("added", applied("rw", "", "nosmt", "rw"), "rw nosmt", "nosmt"),
            ("the running kernel has it", applied("rw", "", "nosmt", "rw nosmt"), "rw nosmt", ""),
            ("kept", applied("rw nosmt", "nosmt", "nosmt", "rw nosmt"), "rw nosmt", ""),
            ("removed", applied("rw nosmt quiet", "nosmt", "", "rw nosmt"), "rw quiet", ""),
            ("removed where it was not", applied("rw", "nosmt", "psi=1", "rw"), "rw psi=1", "psi=1"),
        ] {
            assert_eq!(got, EntryKargs { kargs: list(kargs), waiting: list(waiting) }, "{label}");
        }
        let cannot_wait = applied("rw", "", "psi=1 nosmt", "rw").cannot_wait().cloned();
        assert_eq!(cannot_wait.as_deref(), Some("nosmt"));
    }
}
