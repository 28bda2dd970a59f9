// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a path leads. Ignition follows links inside the root only.

use anyhow::{Result, ensure};

/// Most links on the way of a path, and the longest target in bytes: the kernel's limits.
const MAX_LINKS: usize = 40;
const MAX_TARGET: usize = 4096;

/// Returns a path without links, by a function that knows where the link at such a path leads, if there is one.
pub(super) fn resolve(path: &str, link: impl Fn(&str) -> Result<Option<String>>) -> Result<String> {
    let mut left: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    let (mut done, mut links) = (String::new(), 0);
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or_default());
                continue;
            }
            _ => {}
        }
        let here = format!("{done}/{part}");
        let Some(target) = link(&here)? else {
            done = here;
            continue;
        };
        links += 1;
        ensure!(links <= MAX_LINKS, "{path} leads through more than {MAX_LINKS} links");
        ensure!(target.len() <= MAX_TARGET, "link {here} has a target of {} bytes", target.len());
        if target.starts_with('/') {
            done.clear();
        }
        left.extend(target.rsplit('/').map(str::to_owned));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_through_links() {
        let long = "b/".repeat(MAX_TARGET);
        let link = |path: &str| {
            let links = [
                ("/etc/absolute", "/usr/share/x"),
                ("/etc/relative", "../usr/./y"),
                ("/etc/twice", "absolute/z"),
                ("/etc/up", "../../../../outside"),
                ("/etc/loop", "loop"),
                ("/etc/nothing", ""),
                ("/etc/long", &long),
                ("/usr/share", "/opt"),
            ];
            Ok(links.iter().find(|(link, _)| *link == path).map(|(_, target)| (*target).to_owned()))
        };
        for (label, path, expected) in [
            ("no link", "/etc//./a/../b", Ok("/etc/b")),
            ("the root", "/", Ok("")),
            ("above the root", "/../a", Ok("/a")),
            ("absolute, through another", "/etc/absolute", Ok("/opt/x")),
            ("below it", "/etc/absolute/a/b", Ok("/opt/x/a/b")),
            ("relative", "/etc/relative/..", Ok("/usr")),
            ("to a link", "/etc/twice", Ok("/opt/x/z")),
            ("out of the root", "/etc/up", Ok("/outside")),
            ("beside a link", "/etc/absolutely", Ok("/etc/absolutely")),
            ("no target", "/etc/nothing", Ok("/etc")),
            ("loop", "/etc/loop", Err("/etc/loop leads through more than 40 links")),
            ("long", "/etc/long", Err("link /etc/long has a target of 8192 bytes")),
        ] {
            match (resolve(path, link), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{label}"),
                (Err(error), Err(text)) => assert_eq!(error.to_string(), text, "{label}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
