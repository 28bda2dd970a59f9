// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of a root as they are after Ignition has run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::files::{Files, MAX_ENTRIES, RootFiles};
use crate::request::ignition::Ignition;
use crate::request::ignition::links::resolve;

/// The config's files and links over those of a root.
#[derive(Debug)]
pub struct IgnitionFiles {
    config: Arc<Ignition>,
    /// The paths of the config, by where they are: Ignition follows the links that it finds, to a file's directory. It
    /// refuses a config with something below a link of its own.
    paths: BTreeMap<String, String>,
    root: RootFiles,
}

impl IgnitionFiles {
    /// The files of `root` after `config`.
    pub fn new(config: Arc<Ignition>, root: RootFiles) -> Self {
        let place = |path: &String| {
            let (directory, name) = path.rsplit_once('/').unwrap_or_default();
            // A directory that cannot be looked at is an error of who asks for what is in it.
            let directory = resolve(directory, |path| root.link(path)).unwrap_or_else(|_| directory.to_owned());
            (format!("{directory}/{name}"), path.clone())
        };
        let paths = config.paths().map(place).collect();
        Self { config, paths, root }
    }

    fn resolve(&self, path: &str) -> Result<String> {
        resolve(path, |path| match self.paths.get(path) {
            // A file takes the place of a link that was there.
            Some(path) => Ok(self.config.links.get(path).cloned()),
            None => self.root.link(path),
        })
    }
}

impl Files for IgnitionFiles {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let at = self.resolve(path)?;
        let before = || self.root.read(&at);
        self.paths.get(&at).map_or_else(before, |path| self.config.apply(path, before))
    }

    fn list(&self, dir: &str) -> Result<Option<Vec<String>>> {
        let at = self.resolve(dir)?;
        let before = self.root.list(&at)?;
        let start = format!("{at}/");
        let ours = self.paths.keys().filter_map(|path| path.strip_prefix(&start)?.split('/').next());
        let names: BTreeSet<_> = before.iter().flatten().map(String::as_str).chain(ours).collect();
        ensure!(names.len() <= MAX_ENTRIES, "{dir} has more than {MAX_ENTRIES} entries");
        let made = self.paths.get(&at).is_some_and(|path| self.config.directories.contains(path));
        let there = before.is_some() || made || !names.is_empty();
        Ok(there.then(|| names.into_iter().map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_config_wins_over_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("etc/conf.d");
        std::fs::create_dir_all(&root).unwrap();
        for (name, text) in [("a.conf", "root a\n"), ("b.conf", "root b\n")] {
            std::fs::write(root.join(name), text).unwrap();
        }
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {
            "directories": [{"path": "/etc/made"}],
            "files": [
                {"path": "/etc/conf.d/b.conf", "contents": {"source": "data:,b%0A"}, "append": [{"source": "data:,c%0A"}]},
                {"path": "/etc/conf.d/a.conf", "append": [{"source": "data:,1%0A"}, {"source": "data:,2%0A"}]},
                {"path": "/etc/conf.d/new/host/ca.crt", "append": [{"source": "data:,new"}]},
                {"path": "/etc/conf.d/empty", "contents": {}}
            ]}}"#;
        let config = Ignition::parse(text.as_bytes()).unwrap();
        let files = IgnitionFiles::new(Arc::new(config), RootFiles::new(directory.path()));
        for (label, path, expected) in [
            ("contents and append", "/etc/conf.d/b.conf", Some("b\nc\n")),
            ("append to the root's", "/etc/conf.d/a.conf", Some("root a\n1\n2\n")),
            ("append to nothing", "/etc/conf.d/new/host/ca.crt", Some("new")),
            ("empty", "/etc/conf.d/empty", Some("")),
            ("absent", "/etc/conf.d/absent", None),
        ] {
            assert_eq!(files.read(path).unwrap().as_deref(), expected.map(str::as_bytes), "{label}");
        }
        for (label, dir, expected) in [
            ("both", "/etc/conf.d", Some(&["a.conf", "b.conf", "empty", "new"][..])),
            ("the config's alone", "/etc/conf.d/new", Some(&["host"])),
            ("a directory alone", "/etc/made", Some(&[])),
            ("part of a name", "/etc/conf", None),
        ] {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(files.list(dir).unwrap(), expected, "{label}");
        }
    }

    #[test]
    fn links_are_listed_and_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (path, text) in [("usr/share/drop-in", "of the root"), ("etc/conf.d/alone", "of /etc")] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        }
        symlink("conf.d", root.join("etc/other.d")).unwrap();
        symlink("gone", root.join("etc/replaced")).unwrap();
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {
            "links": [
                {"path": "/etc/conf.d/1", "target": "/usr/share/drop-in"},
                {"path": "/etc/conf.d/2", "target": "../written"},
                {"path": "/etc/conf.d/3", "target": "/etc/written", "hard": true},
                {"path": "/etc/conf.d/4", "target": "/dev/null"},
                {"path": "/etc/conf.d/5", "target": "nowhere"},
                {"path": "/etc/certs.d", "target": "other.d"}
            ],
            "files": [
                {"path": "/etc/written", "contents": {"source": "data:,of%20the%20config"}},
                {"path": "/etc/replaced", "contents": {"source": "data:,no%20link"}},
                {"path": "/etc/other.d/6", "contents": {"source": "data:,beside%20them"}}
            ]}}"#;
        let config = Arc::new(Ignition::parse(text.as_bytes()).unwrap());
        let files = IgnitionFiles::new(config, RootFiles::new(root));
        for dir in ["/etc/conf.d", "/etc/other.d", "/etc/certs.d"] {
            assert_eq!(files.list(dir).unwrap().unwrap(), ["1", "2", "3", "4", "5", "6", "alone"], "{dir}");
            for (name, expected) in [
                ("1", Some("of the root")),
                ("2", Some("of the config")),
                ("3", Some("of the config")),
                ("4", Some("")),
                ("5", None),
                ("6", Some("beside them")),
                ("../replaced", Some("no link")),
                ("alone", Some("of /etc")),
            ] {
                let got = files.read(&format!("{dir}/{name}")).unwrap();
                assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{dir}/{name}");
            }
        }
    }
}
