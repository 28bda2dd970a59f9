// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of a root as they are after Ignition has run.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::files::{Files, MAX_ENTRIES};
use crate::request::ignition::Ignition;

/// The config's files over those of a root.
#[derive(Debug)]
pub struct IgnitionFiles<F> {
    config: Arc<Ignition>,
    root: F,
}

impl<F: Files> IgnitionFiles<F> {
    /// The files of `root` after `config`.
    pub fn new(config: Arc<Ignition>, root: F) -> Self {
        Self { config, root }
    }
}

impl<F: Files> Files for IgnitionFiles<F> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.config.apply(path, || self.root.read(path))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let mut names = self.root.list(dir)?;
        names.extend(self.config.names(dir).map(str::to_owned));
        names.sort_unstable();
        names.dedup();
        ensure!(names.len() <= MAX_ENTRIES, "{dir} has more than {MAX_ENTRIES} entries");
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RootFiles;

    #[test]
    fn the_config_wins_over_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("etc/conf.d");
        std::fs::create_dir_all(&root).unwrap();
        for (name, text) in [("a.conf", "root a\n"), ("b.conf", "root b\n")] {
            std::fs::write(root.join(name), text).unwrap();
        }
        let text = r#"{"ignition": {"version": "3.4.0"}, "storage": {
            "links": [{"path": "/etc/linked", "target": "/elsewhere"}],
            "files": [
                {"path": "/etc/conf.d/b.conf", "contents": {"source": "data:,b%0A"}, "append": [{"source": "data:,c%0A"}]},
                {"path": "/etc/conf.d/a.conf", "append": [{"source": "data:,1%0A"}, {"source": "data:,2%0A"}]},
                {"path": "/etc/conf.d/new/host/ca.crt", "append": [{"source": "data:,new"}]},
                {"path": "/etc/conf.d/empty", "contents": {}}
            ]}}"#;
        let config = Ignition::parse(text.as_bytes()).unwrap();
        let files = IgnitionFiles::new(Arc::new(config), RootFiles::new(directory.path()));
        for (label, path, expected) in [
            ("contents and append", "/etc/conf.d/b.conf", Ok(Some("b\nc\n"))),
            ("append to the root's", "/etc/conf.d/a.conf", Ok(Some("root a\n1\n2\n"))),
            ("append to nothing", "/etc/conf.d/new/host/ca.crt", Ok(Some("new"))),
            ("empty", "/etc/conf.d/empty", Ok(Some(""))),
            ("absent", "/etc/conf.d/absent", Ok(None)),
            ("link", "/etc/linked", Err("the Ignition config makes /etc/linked a link")),
            ("below a link", "/etc/linked/x", Err("the Ignition config makes /etc/linked a link")),
            ("beside a link", "/etc/linkedx", Ok(None)),
        ] {
            match (files.read(path), expected) {
                (Ok(got), Ok(text)) => assert_eq!(got.as_deref(), text.map(str::as_bytes), "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        assert_eq!(files.list("/etc/conf.d").unwrap(), ["a.conf", "b.conf", "empty", "new"]);
        assert_eq!(files.list("/etc/conf.d/new").unwrap(), ["host"]);
        assert!(files.list("/etc/conf").unwrap().is_empty());
    }
}
