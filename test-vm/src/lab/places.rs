// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where everything is: the source tree, the cache, and the root with the tools that are run on images.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::{Cache, Inputs};
use super::cmd;

/// The suite of the tools: GRUB 2.14 is the first with `blscfg`, and Debian has it from forky on.
const TOOLS_SUITE: &str = "forky";

/// The places.
pub struct Lab {
    /// The workspace.
    pub source: PathBuf,
    /// Artefacts.
    pub cache: Cache,
    /// Logs and results of one run.
    pub logs: PathBuf,
    /// A Debian root with what the host may not have, or not in a version that will do.
    tools: PathBuf,
}

/// Returns the source tree. The variable is set by `cargo run`; a binary started by hand belongs to the tree it was
/// built from.
pub fn workspace() -> Result<PathBuf> {
    let member =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Ok(member.parent().context("finding the workspace")?.to_path_buf())
}

impl Lab {
    /// Finds the places; the tools are made if they are missing.
    pub fn open(logs: Option<PathBuf>) -> Result<Self> {
        let source = workspace()?;
        let logs = logs.unwrap_or_else(|| source.join("target/vm-logs"));
        fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
        let logs = logs.canonicalize().with_context(|| format!("resolving {}", logs.display()))?;
        let cache = Cache::open()?;
        let mut lab = Self { source, cache, logs, tools: PathBuf::new() };
        lab.tools = lab.debian_root("tools", TOOLS_SUITE, &lab.packages("tools")?)?;
        Ok(lab)
    }

    /// Returns the path of a file of this workspace member.
    pub fn own(&self, path: &str) -> PathBuf {
        self.source.join("test-vm").join(path)
    }

    /// Returns the packages of a list in `packages/`.
    pub fn packages(&self, list: &str) -> Result<Vec<String>> {
        let path = self.own(&format!("packages/{list}.txt"));
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
    }

    /// Returns a Debian root of these packages.
    pub fn debian_root(&self, kind: &str, suite: &str, packages: &[String]) -> Result<PathBuf> {
        let script = self.own("scripts/root.sh");
        let inputs = Inputs::default().text(suite).text(packages.join(" ")).file(&script)?;
        let root = self.cache.artefact(kind, inputs, |dir| {
            eprintln!("fetching the {kind} packages ({suite}); a minute or two");
            cmd::run(
                cmd::words("bash", [script.as_os_str(), suite.as_ref(), dir.join("root").as_os_str()]).args(packages),
            )
        })?;
        Ok(root.join("root"))
    }

    /// Returns a command in the tools root: cache, logs and scripts have the same paths there.
    pub fn tool<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = cmd::words("bash", [self.own("scripts/enter.sh").as_os_str(), self.tools.as_os_str()]);
        command.args([self.cache.dir(), &self.logs, &self.own("")]).arg("--").args(words);
        command
    }

    /// Returns a command that runs a script of `scripts/` in the tools root.
    pub fn script<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.tool(["bash"]);
        command.arg(self.own("scripts").join(name)).args(arguments);
        command
    }

    /// Returns the root with the tools.
    pub fn tools(&self) -> &Path {
        &self.tools
    }
}
