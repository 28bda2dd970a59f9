// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where containers tools look for their configuration, as root: the vendor's files are below `/usr/share`, the
//! administrator's below `/etc`, and there are directories for root alone.
//!
//! This is containers-config(5), in code storage/pkg/configfile of container-libs 9869b8fd, without the files of a user
//! and what the environment says: a node has neither.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::files::Files;

/// The directories of configuration, the one that counts more first.
const BASES: [&str; 2] = ["/etc/containers", "/usr/share/containers"];

/// Returns the places of a main file. The first one that is there is read, and no other.
pub(super) fn main_files(name: &str) -> [String; 2] {
    BASES.map(|base| format!("{base}/{name}"))
}

/// Returns the directories `STEM[.rootful]EXTENSION.d`, the one that counts most first. The extension is empty or has
/// a dot.
pub(super) fn directories(stem: &str, extension: &str) -> Vec<String> {
    let of = |base| [".rootful", ""].map(|whose| format!("{base}/{stem}{whose}{extension}.d"));
    BASES.into_iter().flat_map(of).collect()
}

/// Returns the paths of drop-ins in the order in which they are read: by their names, wherever they are. Of those with
/// the same name only that in the directory which counts most is there.
pub(super) fn drop_ins(files: &dyn Files, stem: &str, extension: &str) -> Result<Vec<String>> {
    let mut paths = BTreeMap::new();
    for directory in directories(stem, extension).iter().rev() {
        for name in files.list(directory)?.unwrap_or_default() {
            let path = format!("{directory}/{name}");
            if name.ends_with(extension) && files.list(&path)?.is_none() {
                paths.insert(name, path);
            }
        }
    }
    Ok(paths.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::fixtures::root;

    #[test]
    fn where_they_look() {
        for (stem, extension, expected) in [
            (
                "registries",
                ".conf",
                [
                    "/etc/containers/registries.rootful.conf.d",
                    "/etc/containers/registries.conf.d",
                    "/usr/share/containers/registries.rootful.conf.d",
                    "/usr/share/containers/registries.conf.d",
                ],
            ),
            (
                "certs",
                "",
                [
                    "/etc/containers/certs.rootful.d",
                    "/etc/containers/certs.d",
                    "/usr/share/containers/certs.rootful.d",
                    "/usr/share/containers/certs.d",
                ],
            ),
        ] {
            assert_eq!(directories(stem, extension), expected, "{stem}");
        }
        let expected = ["/etc/containers/registries.conf", "/usr/share/containers/registries.conf"];
        assert_eq!(main_files("registries.conf"), expected);
    }

    #[test]
    fn drop_ins_are_sorted_by_name_and_shadowed_by_name() {
        const PLACES: [&str; 4] = [
            "/etc/containers/registries.rootful.conf.d",
            "/etc/containers/registries.conf.d",
            "/usr/share/containers/registries.rootful.conf.d",
            "/usr/share/containers/registries.conf.d",
        ];
        for (label, files, expected) in [
            ("none", &[][..], &[][..]),
            (
                "by name, not by place",
                &["0/30.conf", "1/10.conf", "2/20.conf", "3/40.conf"],
                &["1/10", "2/20", "0/30", "3/40"],
            ),
            ("all the same", &["3/1.conf", "2/1.conf", "1/1.conf", "0/1.conf"], &["0/1"]),
            ("/etc over /usr/share", &["2/1.conf", "1/1.conf", "3/1.conf"], &["1/1"]),
            ("root's over those of all", &["2/1.conf", "3/1.conf", "3/2.conf"], &["2/1", "3/2"]),
            ("other names", &["1/README", "1/a.conf~", "1/.hidden.conf", "1/conf"], &["1/.hidden"]),
            ("a directory", &["1/sub.conf/x.conf", "3/sub.conf"], &["3/sub"]),
            ("other directories", &["1/../registries.d/1.conf", "1/../registries.rootless.conf.d/1.conf"], &[]),
        ] {
            let place = |short: &str| {
                let (place, name) = short.split_once('/').unwrap();
                format!("{}/{name}", PLACES[place.parse::<usize>().unwrap()])
            };
            let paths: Vec<_> = files.iter().map(|short| place(short)).collect();
            let texts: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
            let (_dir, files) = root(&texts);
            let expected: Vec<_> = expected.iter().map(|short| format!("{}.conf", place(short))).collect();
            assert_eq!(drop_ins(files.as_ref(), "registries", ".conf").unwrap(), expected, "{label}");
        }
    }
}
