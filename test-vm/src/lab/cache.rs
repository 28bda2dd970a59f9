// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Artefacts by the sha256 of what they are made of. An artefact is a directory that appears whole: it is made
//! under another name and renamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::cmd;

/// How many artefacts of a kind stay: the last one and the one before.
const KEPT: usize = 2;
/// Another run may be working with what was used since.
const IN_USE: Duration = Duration::from_secs(30 * 60);

/// What goes into an artefact.
#[derive(Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Adds a text, or the name of an artefact (its key stands in it).
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        self.bytes(text.as_ref().as_bytes());
        self
    }

    /// Adds a file's content.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        self.bytes(&content);
        Ok(self)
    }

    /// Adds every file and link below a directory, by name and content.
    pub fn tree(mut self, dir: &Path) -> Result<Self> {
        let mut entries = fs::read_dir(dir)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .with_context(|| format!("listing {}", dir.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().with_context(|| format!("examining {}", path.display()))?;
            self.bytes(entry.file_name().as_encoded_bytes());
            self = if kind.is_dir() {
                self.tree(&path)?
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).with_context(|| format!("reading {}", path.display()))?;
                self.text(target.to_string_lossy())
            } else {
                self.file(&path)?
            };
        }
        Ok(self)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // The length first, so that two inputs cannot run into one another.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Returns the key: 16 hex digits are enough for a handful of artefacts.
    fn key(self) -> String {
        self.0.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The directory where artefacts are kept.
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens `$SLIPSTREAM_CACHE`, or the user's cache directory.
    pub fn open() -> Result<Self> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = var("SLIPSTREAM_CACHE")
            .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("slipstream")))
            .or_else(|| var("HOME").map(|dir| dir.join(".cache/slipstream")))
            .context("finding a cache directory: neither SLIPSTREAM_CACHE nor HOME is set")?;
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("resolving {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Returns where the artefacts are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the artefact of this kind and these inputs, made by `build` if it is not there.
    pub fn artefact(&self, kind: &str, inputs: Inputs, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let key = inputs.key();
        let path = self.dir.join(format!("{kind}-{key}"));
        if path.is_dir() {
            // Pruning goes by age of use.
            fs::File::open(&path)
                .and_then(|dir| dir.set_modified(SystemTime::now()))
                .with_context(|| format!("touching {}", path.display()))?;
            return Ok(path);
        }
        let start = Instant::now();
        let made = self.dir.join(format!(".{kind}-{key}.{}", std::process::id()));
        fs::create_dir(&made).with_context(|| format!("creating {}", made.display()))?;
        if let Err(error) = build(&made) {
            remove(&made)?;
            return Err(error.context(format!("building the {kind}")));
        }
        match fs::rename(&made, &path) {
            Ok(()) => {}
            // Another run was faster; its inputs were the same.
            Err(_) if path.is_dir() => remove(&made)?,
            Err(error) => return Err(error).with_context(|| format!("renaming {}", made.display())),
        }
        eprintln!("built {} in {:.0} s", path.display(), start.elapsed().as_secs_f64());
        self.prune(kind)?;
        Ok(path)
    }

    /// Returns the artefact of this kind that was used last.
    pub fn newest(&self, kind: &str) -> Result<Option<PathBuf>> {
        Ok(self.by_age(kind)?.pop().map(|(_, path)| path))
    }

    fn prune(&self, kind: &str) -> Result<()> {
        for (used, path) in self.by_age(kind)?.iter().rev().skip(KEPT) {
            if used.elapsed().is_ok_and(|age| age > IN_USE) {
                remove(path)?;
            }
        }
        Ok(())
    }

    fn by_age(&self, kind: &str) -> Result<Vec<(SystemTime, PathBuf)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).context("listing the cache")? {
            let entry = entry.context("listing the cache")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // "disk-xfs" is not of the kind "disk".
            let Some(key) = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')) else { continue };
            if key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let used = entry.metadata().and_then(|metadata| metadata.modified());
                all.push((used.with_context(|| format!("examining {name}"))?, entry.path()));
            }
        }
        all.sort();
        Ok(all)
    }
}

/// Removes a directory in which deployments may lie: ostree makes those immutable.
pub fn remove(dir: &Path) -> Result<()> {
    if fs::remove_dir_all(dir).is_ok() {
        return Ok(());
    }
    cmd::run(cmd::words("find", [dir.as_os_str()]).args(["-type", "d", "-exec", "chattr", "-f", "-i", "{}", "+"]))
        .or_else(|error| if dir.exists() { bail!(error) } else { Ok(()) })?;
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::{Cache, Inputs};

    #[test]
    fn an_artefact_is_made_once_and_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache { dir: dir.path().to_path_buf() };
        let made = Cell::new(0);
        let build = |content: &'static str| {
            cache.artefact("thing", Inputs::default().text(content), |dir| {
                made.set(made.get() + 1);
                anyhow::ensure!(content != "bad", "no");
                fs::write(dir.join("file"), content).map_err(Into::into)
            })
        };
        let first = build("a").expect("made");
        assert_eq!(build("a").expect("found"), first);
        assert_eq!(made.get(), 1, "the second time it is there");
        assert_ne!(build("b").expect("made"), first, "another input");
        let error = build("bad").expect_err("the build fails");
        assert_eq!(format!("{error:#}"), "building the thing: no");
        assert_eq!(fs::read_dir(dir.path()).expect("the cache").count(), 2, "nothing is left of it");
    }

    #[test]
    fn inputs_do_not_run_into_one_another() {
        let key = |texts: [&str; 2]| texts.iter().fold(Inputs::default(), |inputs, text| inputs.text(text)).key();
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["ab", "c"]), key(["ab", "c"]));
    }
}
