// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which object belongs to which chunk of the node image: rpm-ostree decides by package, and so do we, from dpkg's
//! file lists. The result is the reference tool's "content meta" file.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Packages that have a chunk of their own: the biggest.
const SINGLES: usize = 36;
/// Chunks that the other packages share.
const SHARED: usize = 12;
/// Chunks for what dpkg does not know: the kernel, and everything made here.
const KERNEL: &str = "kernel";
const UNPACKAGED: &str = "unpackaged";

/// One file of a commit.
struct File<'a> {
    object: &'a str,
    size: u64,
    path: &'a str,
}

/// Parses a line of `ostree ls -R -C`: mode, uid, gid, size, checksum(s), path, for a link also its target.
fn parse_line(line: &str) -> Option<File<'_>> {
    if !line.starts_with(['-', 'l']) {
        return None;
    }
    let mut words = line.split_ascii_whitespace().skip(3);
    let size = words.next()?.parse().ok()?;
    let object = words.next()?;
    let path = &line[line.find(object)? + object.len()..];
    let path = path.split(" -> ").next()?.trim_start();
    Some(File { object, size, path })
}

/// Returns where a package's file is after the merge of /bin, /lib and /sbin into /usr and of /etc into /usr/etc.
fn deployed_path(path: &str) -> String {
    for (top, instead) in [
        ("/bin/", "/usr/bin/"),
        ("/sbin/", "/usr/sbin/"),
        ("/lib/", "/usr/lib/"),
        ("/lib64/", "/usr/lib64/"),
        ("/etc/", "/usr/etc/"),
    ] {
        if let Some(rest) = path.strip_prefix(top) {
            return format!("{instead}{rest}");
        }
    }
    path.to_owned()
}

/// Returns the owner of each path, by dpkg's lists in a Debian root.
fn owners(root: &Path) -> Result<HashMap<String, String>> {
    let info = root.join("var/lib/dpkg/info");
    let mut owners = HashMap::new();
    for entry in fs::read_dir(&info).with_context(|| format!("listing {}", info.display()))? {
        let path = entry.with_context(|| format!("listing {}", info.display()))?.path();
        if path.extension().is_none_or(|extension| extension != "list") {
            continue;
        }
        let stem = path.file_stem().context("naming a package")?.to_string_lossy().into_owned();
        let package = stem.split(':').next().unwrap_or(&stem).to_owned();
        let list = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for file in list.lines() {
            owners.insert(deployed_path(file), package.clone());
        }
    }
    Ok(owners)
}

/// Returns the name of each package's chunk.
fn group(sizes: &BTreeMap<String, u64>) -> HashMap<String, String> {
    let mut by_size: Vec<_> = sizes.iter().collect();
    by_size.sort_by_key(|(name, size)| (std::cmp::Reverse(**size), (*name).clone()));
    by_size
        .into_iter()
        .enumerate()
        .map(|(rank, (name, _))| {
            let alone = rank < SINGLES || name == KERNEL || name == UNPACKAGED;
            let chunk = if alone { name.clone() } else { format!("packages-{:02}", rank % SHARED) };
            (name.clone(), chunk)
        })
        .collect()
}

/// Returns the content meta of a commit whose files `listing` names.
pub fn content_meta(listing: &str, root: &Path) -> Result<Value> {
    let owners = owners(root)?;
    let mut sizes = BTreeMap::new();
    let mut packages = BTreeMap::new();
    for file in listing.lines().filter_map(parse_line) {
        let package = if file.path.starts_with("/usr/lib/modules/") {
            KERNEL
        } else {
            owners.get(file.path).map_or(UNPACKAGED, String::as_str)
        };
        // An object with several paths goes where its first path goes.
        if packages.insert(file.object, package.to_owned()).is_none() {
            *sizes.entry(package.to_owned()).or_default() += file.size;
        }
    }
    let chunks = group(&sizes);
    let layers: BTreeMap<&String, &String> = chunks.values().map(|chunk| (chunk, chunk)).collect();
    let mapping: BTreeMap<_, _> = packages.iter().map(|(object, package)| (object, &chunks[package])).collect();
    Ok(json!({ "version": 1, "layers": layers, "mapping": mapping }))
}

#[cfg(test)]
mod tests {
    use super::{deployed_path, group, parse_line};

    #[test]
    fn lines_of_a_listing() {
        let file = parse_line("-00755 0 0 1234 abc /usr/bin/with space").expect("a file");
        assert_eq!((file.object, file.size, file.path), ("abc", 1234, "/usr/bin/with space"));
        let link = parse_line("l00777 0 0      0 def /usr/bin/sh -> dash").expect("a link");
        assert_eq!((link.object, link.path), ("def", "/usr/bin/sh"));
        assert!(parse_line("d00755 0 0 0 abc def /usr").is_none(), "a directory has no object of its own here");
    }

    #[test]
    fn paths_as_deployed() {
        for (path, expected) in [
            ("/bin/sh", "/usr/bin/sh"),
            ("/etc/fstab", "/usr/etc/fstab"),
            ("/usr/bin/jq", "/usr/bin/jq"),
            ("/lib", "/lib"),
        ] {
            assert_eq!(deployed_path(path), expected, "{path}");
        }
    }

    #[test]
    fn big_packages_are_alone() {
        let sizes = (0..100_u64).map(|n| (format!("p{n:03}"), n)).collect();
        let chunks = group(&sizes);
        assert_eq!(chunks["p099"], "p099");
        assert!(chunks["p000"].starts_with("packages-"));
        let distinct: std::collections::BTreeSet<_> = chunks.values().collect();
        assert_eq!(distinct.len(), super::SINGLES + super::SHARED);
    }
}
