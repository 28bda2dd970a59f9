// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one writer of the account: the status file and the metrics that are made of it, both in the run directory.
//!
//! A file that cannot be written (the directory is on a tmpfs, which may be full) must neither hide an error nor undo work:
//!
//! - The status comes first; without the metrics there is a warning.
//! - At the end of a run, what cannot be written is a warning, and the run ends as it would have ended. The journal event
//!   has the account either way.
//! - A swap is written *before* the boot link is pointed at the node image. A directory that takes nothing then fails the run
//!   while the bootimage can still boot as it is; a node image that boots without a hand-off would lack the modules of the
//!   running kernel. If the link cannot be pointed, what was written is taken back. It does no harm where that fails, or where
//!   the run is killed in between: the launcher looks where the link leads, and what settles the root looks which deployment
//!   is mounted.
//! - From then on a write only adds to a hand-off that is there, since a file is replaced whole or not at all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::handoff::Status;
use crate::report::metrics::{METRICS_FILE, metrics};

/// Name of the status file in the run directory.
pub const STATUS_FILE: &str = "status.json";

/// Holds the account of this boot in the run directory.
#[derive(Clone, Debug)]
pub struct Record {
    run_dir: PathBuf,
}

impl Record {
    /// Names the run directory. It has to be there when something is written.
    pub fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    /// Returns the path of the status file.
    pub fn path(&self) -> PathBuf {
        self.run_dir.join(STATUS_FILE)
    }

    /// Returns whether a status has been written.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Reads the status; `None` if there is none.
    pub fn read(&self) -> Result<Option<Status>> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Status::parse(&text).with_context(|| format!("reading {}", path.display())).map(Some)
    }

    /// Reads the status file as it is.
    pub fn text(&self) -> Result<String> {
        let path = self.path();
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Writes the status file, whole or not at all, and then its metrics.
    pub fn write(&self, status: &Status) -> Result<()> {
        replace(&self.run_dir, STATUS_FILE, &status.to_text()?)?;
        if let Err(error) = replace(&self.run_dir, METRICS_FILE, &metrics(status)) {
            log::warn!("writing the metrics: {error:#}");
            // Those of an earlier status would contradict this one.
            drop(fs::remove_file(self.run_dir.join(METRICS_FILE)));
        }
        Ok(())
    }

    /// Writes the account when it no longer decides anything: that it cannot be written is a warning.
    pub fn write_or_warn(&self, status: &Status) {
        if let Err(error) = self.write(status) {
            log::warn!("writing the status: {error:#}");
        }
    }

    /// Removes what has been written, if there is anything.
    pub fn forget(&self) -> Result<()> {
        for name in [STATUS_FILE, METRICS_FILE] {
            let path = self.run_dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes a file, whole or not at all. Nothing is left of one that could not be written.
pub fn replace(dir: &Path, name: &str, text: &str) -> Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let result = write(&temporary, text).and_then(|()| {
        let path = dir.join(name);
        fs::rename(&temporary, &path).with_context(|| format!("renaming to {}", path.display()))
    });
    if result.is_err() {
        // It takes space that the next one may need.
        drop(fs::remove_file(&temporary));
    }
    result
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o644).open(path);
    let mut file = file.with_context(|| format!("creating {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::handoff::{Ending, Facts, Way};

    fn failed() -> Status {
        Status::new(Facts::default(), Ending::Failed("no network".to_owned()))
    }

    fn swapped() -> Status {
        Status::new(Facts::default(), Ending::Swapped(Way::BootLink))
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_files_come_and_go() {
        let run = tempfile::tempdir().unwrap();
        let record = Record::new(run.path());
        assert!(!record.exists() && record.read().unwrap().is_none() && record.text().is_err());
        for status in [failed(), swapped()] {
            record.write(&status).unwrap();
            assert_eq!(record.read().unwrap(), Some(status.clone()));
            assert_eq!(record.text().unwrap(), status.to_text().unwrap());
        }
        assert_eq!(names(run.path()), [METRICS_FILE, STATUS_FILE]);
        for name in [STATUS_FILE, METRICS_FILE] {
            let mode = fs::metadata(run.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o644, "{name}");
        }
        record.forget().unwrap();
        assert_eq!(names(run.path()), [""; 0]);
        record.forget().unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(STATUS_FILE);
        for (text, expected) in [("{", "parsing it: EOF"), (r#"{"version": 2}"#, "it has version 2, not 1")] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", Record::new(run.path()).read().unwrap_err());
            assert!(error.starts_with(&format!("reading {}: {expected}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_status_that_cannot_be_written_leaves_the_one_before() {
        let run = tempfile::tempdir().unwrap();
        let record = Record::new(run.path());
        record.write(&swapped()).unwrap();
        fs::create_dir(run.path().join(".status.json.new")).unwrap();
        assert!(record.write(&failed()).is_err());
        record.write_or_warn(&failed());
        assert_eq!(record.read().unwrap(), Some(swapped()));
        assert_eq!(names(run.path()), [".status.json.new", METRICS_FILE, STATUS_FILE]);
    }

    #[test]
    fn without_the_metrics_there_is_still_the_status() {
        let run = tempfile::tempdir().unwrap();
        let record = Record::new(run.path());
        record.write(&failed()).unwrap();
        fs::create_dir(run.path().join(".slipstream.prom.new")).unwrap();
        record.write(&swapped()).unwrap();
        assert_eq!(record.read().unwrap(), Some(swapped()));
        assert_eq!(names(run.path()), [".slipstream.prom.new", STATUS_FILE], "the metrics are of another status");
    }

    #[test]
    fn nothing_is_left_of_a_file_that_could_not_be_put_in_place() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join(STATUS_FILE)).unwrap();
        assert!(Record::new(run.path()).write(&failed()).is_err());
        assert_eq!(names(run.path()), [STATUS_FILE]);
    }
}
