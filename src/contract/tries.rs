// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `on-failure=reboot`: what was tried on earlier boots.
//!
//! A reboot of the initramfs leaves nothing but the disk, so the tries are in a file there. It is what keeps the machine from
//! rebooting for ever. Therefore nothing is rebooted before it is on the disk, and a file that cannot be understood
//! means that there were enough tries.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::disk_file::DiskFile;
use crate::handoff::Try as Reported;
use crate::names::Digest;
use crate::places::PhysicalRoot;

/// The file, relative to the physical root. `slipstream.service` looks for it as well.
pub const TRIES_FILE: &str = "ostree/slipstream-tries";
/// How often a request is tried: each try but the last ends with a reboot.
pub const MAX_TRIES: usize = 3;
/// Reboots in a row, whatever was asked for at each: a request that changes with every boot must not make a loop.
const MAX_REBOOTS: usize = 6;
/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 500;
/// Its largest size is more than six reasons take, even if JSON escapes every byte of them.
const FILE: DiskFile = DiskFile { path: TRIES_FILE, temporary: "ostree/.slipstream-tries.new", max: 32 << 10 };
/// Version of the file.
const VERSION: u64 = 1;

/// Describes a try on an earlier boot, which has ended with a reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The digest of its request.
    pub request: Digest,
    /// Why it failed.
    pub reason: String,
}

/// The tries before this boot, the first one first.
pub fn earlier(root: &PhysicalRoot) -> Result<Vec<Try>> {
    let Some(text) = FILE.read(root)? else { return Ok(Vec::new()) };
    parse(&text).with_context(|| format!("{} is not one of ours", FILE.at(root).display()))
}

/// Returns the same as the status reports it, which does without them if they cannot be read.
pub fn reported(root: &PhysicalRoot) -> Vec<Reported> {
    let tries = earlier(root).unwrap_or_else(|error| {
        log::debug!("{error:#}");
        Vec::new()
    });
    tries.into_iter().map(|earlier| Reported { reason: earlier.reason }).collect()
}

fn parse(text: &str) -> Result<Vec<Try>> {
    let value: Value = serde_json::from_str(text).context("parsing it")?;
    let version = value["version"].as_u64().unwrap_or_default();
    ensure!(version == VERSION, "it has version {version}, not {VERSION}");
    let tries = value["tries"].as_array().context("it has no tries")?;
    ensure!(tries.len() <= MAX_REBOOTS, "it has {} tries, more than {MAX_REBOOTS}", tries.len());
    let read = |entry: &Value| {
        let field = |name: &str| entry[name].as_str().with_context(|| format!("a try has no {name}"));
        let reason: String = field("reason")?.replace(char::is_control, "?");
        Ok(Try { request: Digest::from_hex(field("request")?)?, reason: cut(&reason).to_owned() })
    };
    tries.iter().map(read).collect()
}

/// Which try of `request` this is, if a reboot and another one may follow.
fn next(tries: &[Try], request: Digest) -> Option<usize> {
    let this = tries.iter().filter(|earlier| earlier.request == request).count() + 1;
    (this < MAX_TRIES && tries.len() < MAX_REBOOTS).then_some(this)
}

/// Whether there is to be another try of `request` if this one fails.
pub fn has_another(root: &PhysicalRoot, request: Digest) -> bool {
    earlier(root).is_ok_and(|tries| next(&tries, request).is_some())
}

/// Write down that `request` has failed, and return which try of it this was. `None` if there were enough: then nothing is
/// written, and the boot has to go on. What is written is on the disk when this returns.
pub fn record(root: &PhysicalRoot, request: Digest, reason: &str) -> Result<Option<usize>> {
    let mut tries = earlier(root)?;
    let Some(this) = next(&tries, request) else { return Ok(None) };
    tries.push(Try { request, reason: cut(reason).to_owned() });
    let tries: Vec<Value> =
        tries.iter().map(|entry| json!({"request": entry.request.hex(), "reason": entry.reason})).collect();
    let text = json!({"version": VERSION, "tries": tries}).to_string();
    FILE.write(root, &text).context("writing down this try")?;
    Ok(Some(this))
}

/// Remove what [`record`] has written, if there is any.
pub fn forget(root: &PhysicalRoot) -> Result<()> {
    FILE.remove(root)
}

/// The start of a text.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("ostree")).unwrap();
        root
    }

    fn at(root: &tempfile::TempDir) -> PhysicalRoot {
        PhysicalRoot::new(root.path())
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root.join("ostree")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_third_try_is_the_last() {
        let root = root();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert!(has_another(&at(&root), one));
        assert_eq!(record(&at(&root), one, "no network").unwrap(), Some(1));
        let mode = fs::metadata(root.path().join(TRIES_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(record(&at(&root), one, &"é".repeat(400)).unwrap(), Some(2));
        let tries = earlier(&at(&root)).unwrap();
        assert_eq!(tries[0], Try { request: one, reason: "no network".to_owned() });
        assert_eq!((tries.len(), tries[1].reason.as_str()), (2, "é".repeat(250).as_str()));
        for _ in 0..2 {
            assert!(!has_another(&at(&root), one));
            assert_eq!(record(&at(&root), one, "x").unwrap(), None);
            assert_eq!(earlier(&at(&root)).unwrap(), tries, "the last try is not written down");
        }
        // Another request has tries of its own.
        assert_eq!(record(&at(&root), other, "x").unwrap(), Some(1));
        assert_eq!(names(root.path()), ["slipstream-tries"]);
        forget(&at(&root)).unwrap();
        assert_eq!(names(root.path()), [""; 0]);
        assert_eq!(record(&at(&root), one, "x").unwrap(), Some(1));
    }

    #[test]
    fn requests_that_change_make_no_loop() {
        let root = root();
        let reboots = (0..100u8).take_while(|n| record(&at(&root), Digest::of(&[*n]), "x").unwrap().is_some()).count();
        assert_eq!(reboots, MAX_REBOOTS);
    }

    #[test]
    fn control_characters_fill_no_file_beyond_the_limit() {
        let root = root();
        for n in 0..MAX_REBOOTS {
            let request = Digest::of(&[u8::try_from(n).unwrap()]);
            assert_eq!(record(&at(&root), request, &"\u{1}".repeat(2000)).unwrap(), Some(1), "{n}");
        }
        assert!(earlier(&at(&root)).unwrap().iter().all(|entry| entry.reason == "?".repeat(MAX_REASON)));
    }

    #[test]
    fn what_is_not_ours_is_enough() {
        let digest = Digest::of(b"one").hex();
        let entry = format!(r#"{{"request": "{digest}", "reason": "x"}}"#);
        let list = |count: usize| format!(r#"{{"version": 1, "tries": [{}]}}"#, vec![entry.as_str(); count].join(","));
        for (label, text, expected) in [
            ("empty", String::new(), "parsing it"),
            ("no JSON", "1\n".repeat(10), "parsing it"),
            ("a number", "1".to_owned(), "it has version 0, not 1"),
            ("version", r#"{"version": 2, "tries": []}"#.to_owned(), "it has version 2, not 1"),
            ("no list", r#"{"version": 1, "tries": {}}"#.to_owned(), "it has no tries"),
            ("no request", r#"{"version": 1, "tries": [{"reason": "x"}]}"#.to_owned(), "a try has no request"),
            ("no reason", list(1).replace("reason", "season"), "a try has no reason"),
            ("no digest", list(1).replace(&digest, "abc"), "has 3 hex digits instead of 64"),
            ("too many", list(7), "it has 7 tries, more than 6"),
            ("too large", list(1) + &" ".repeat(32 << 10), "is larger than 32768 bytes"),
        ] {
            let root = root();
            fs::write(root.path().join(TRIES_FILE), &text).unwrap();
            let error = record(&at(&root), Digest::of(b"one"), "x").unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{label}: {error:#}");
            assert_eq!(fs::read_to_string(root.path().join(TRIES_FILE)).unwrap(), text, "{label}: it was changed");
            forget(&at(&root)).unwrap();
            assert_eq!(names(root.path()), [""; 0], "{label}");
        }
    }

    #[test]
    fn neither_links_nor_pipes_are_followed() {
        for (label, make) in [
            ("link", (|path| symlink("/etc/passwd", path).unwrap()) as fn(&Path)),
            ("dangling link", |path| symlink("/nonexistent", path).unwrap()),
            ("pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap()),
            ("directory", |path| fs::create_dir(path).unwrap()),
        ] {
            for name in [FILE.path, FILE.temporary] {
                let root = root();
                make(&root.path().join(name));
                let result = record(&at(&root), Digest::of(b"one"), "x");
                match (label, name) {
                    ("directory", _) | (_, TRIES_FILE) => assert!(result.is_err(), "{label} at {name}"),
                    _ => assert_eq!(result.unwrap(), Some(1), "{label} at {name}"),
                }
                assert_eq!(forget(&at(&root)).is_ok(), label != "directory", "{label} at {name}");
            }
        }
    }
}
