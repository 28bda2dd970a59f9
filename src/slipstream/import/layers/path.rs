// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a path of a derived layer goes in an ostree tree. Pure.

use anyhow::{Context, Result, bail, ensure};

/// Top-level directories of which only the directory itself is kept: a running system mounts over them.
const EMPTY: [&str; 5] = ["run", "tmp", "proc", "sys", "dev"];
/// Symbolic link targets up to this length are rewritten by the crate tar, which upstream's filter uses.
const HEADER_LINK: usize = 100;

/// Longest path and name, in bytes: Linux's PATH_MAX and NAME_MAX. A longer one could not be checked out.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// What becomes of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// It is in the tree under this path.
    Keep(String),
    /// It is not in the tree; by what it is counted.
    Drop(String),
}

/// A path of the tar without leading `/`, without `.` and empty components. `..` and what is not UTF-8 is an error.
pub fn normalize(path: &[u8]) -> Result<String> {
    let path = std::str::from_utf8(path).context("path is not UTF-8")?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    ensure!(!parts.contains(&".."), "path has .. in it");
    ensure!(!path.contains('\0'), "path has a NUL byte in it");
    ensure!(path.len() <= MAX_PATH, "path of {} bytes is over the limit of {MAX_PATH}", path.len());
    if let Some(name) = parts.iter().find(|part| part.len() > MAX_NAME) {
        bail!("name of {} bytes is over the limit of {MAX_NAME}", name.len());
    }
    Ok(parts.join("/"))
}

/// Find the place of a normalized path.
pub fn place(path: &str, any_top_level: bool) -> Place {
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    match top {
        "" | "usr" | "var" => Place::Keep(path.to_owned()),
        "etc" => Place::Keep(format!("usr/{path}")),
        _ if EMPTY.contains(&top) && !rest.is_empty() => {
            Place::Drop(rest.split('/').next().unwrap_or_default().to_owned())
        }
        _ if EMPTY.contains(&top) || any_top_level => Place::Keep(path.to_owned()),
        _ => Place::Drop(top.to_owned()),
    }
}

/// The target of a symbolic link as upstream stores it: a short one loses `//` and inner `/./`, a long one is verbatim.
pub fn link_target(target: &[u8]) -> Vec<u8> {
    if target.len() > HEADER_LINK {
        return target.to_vec();
    }
    let absolute = target.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for (n, part) in target.split(|byte| *byte == b'/').enumerate() {
        let leading_dot = n == 0 && part == b".";
        if !part.is_empty() && (part != b"." || leading_dot) {
            parts.push(part);
        }
    }
    let mut out = parts.join(&b'/');
    if absolute {
        out.insert(0, b'/');
    }
    if target.ends_with(b"/") && !out.ends_with(b"/") {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let keep = |path: &str| Place::Keep(path.to_owned());
        let drop = |what: &str| Place::Drop(what.to_owned());
        for (path, any, expected) in [
            ("usr/bin/a", false, keep("usr/bin/a")),
            ("etc", false, keep("usr/etc")),
            ("etc/a", false, keep("usr/etc/a")),
            ("etcetera", false, drop("etcetera")),
            ("var/lib/a", false, keep("var/lib/a")),
            ("run", false, keep("run")),
            ("run/secrets/a", true, drop("secrets")),
            ("opt/a", false, drop("opt")),
            ("opt/a", true, keep("opt/a")),
            ("", false, keep("")),
        ] {
            assert_eq!(place(path, any), expected, "{path}");
        }
    }

    #[test]
    fn normal_paths() {
        for (path, expected) in [
            (&b"./usr//bin/./a/"[..], Some("usr/bin/a")),
            (b"/etc/a", Some("etc/a")),
            (b"./", Some("")),
            (b"usr/../etc", None),
            (b"..", None),
            (b"usr/\xff", None),
            (b"usr/..a", Some("usr/..a")),
            (b"usr/a\0b", None),
            (&[b'a'; 255], Some(&"a".repeat(255))),
            (&[b'a'; 256], None),
        ] {
            assert_eq!(normalize(path).ok().as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn link_targets() {
        for (target, expected) in [
            ("a/b", "a/b"),
            ("..//..//usr/./x/", "../../usr/x/"),
            ("./a", "./a"),
            ("/usr//lib/.", "/usr/lib"),
            ("/", "/"),
        ] {
            assert_eq!(link_target(target.as_bytes()), expected.as_bytes(), "{target}");
        }
        let long = format!("a//{}", "b".repeat(100));
        assert_eq!(link_target(long.as_bytes()), long.as_bytes());
    }
}
