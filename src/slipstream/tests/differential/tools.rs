// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root in which ostree, skopeo, the peer and slipstream are run.
//!
//! Both importers run in it, so that they load the same libostree: what a checkout
//! does with a directory over a symlink, for one, differs between its releases.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::programs::needs;
use testkit::tools::{ROOT, variable};

pub use testkit::tools::{INSIDE, Tools, said};

const PEER: &str = "SLIPSTREAM_PEER";

/// Returns why the test cannot run here.
pub fn ready() -> Result<(), String> {
    if variable(ROOT).is_none() || variable(PEER).is_none() {
        return Err(format!("it needs {ROOT} and {PEER}: `make differential` sets them"));
    }
    needs(&["unshare"])
}

/// Makes a work directory with the programs that the environment names. A root that was named but does not serve is an error,
/// not a reason to skip.
pub fn from_env(slipstream: &Path) -> Result<Tools> {
    let named = |name| variable(name).with_context(|| format!("{name} is not set"));
    let (root, peer): (_, PathBuf) = (named(ROOT)?, named(PEER)?);
    let tools = Tools::new(root, Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let bin = tools.work().join("bin");
    fs::create_dir(&bin).context("creating bin")?;
    for (from, name) in [(peer.as_path(), "ostree-ext-cli"), (slipstream, "slipstream")] {
        fs::copy(from, bin.join(name)).with_context(|| format!("copying {}", from.display()))?;
    }
    tools
        .shell("ostree --version >/dev/null; skopeo --version >/dev/null; ostree-ext-cli --help >/dev/null", &[])
        .context("checking the tools root")?;
    Ok(tools)
}

/// Creates a file with all its parents.
pub fn put(root: &Path, path: &str, data: &str) -> Result<()> {
    let to = root.join(path);
    let parent = to.parent().context("finding the parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    ensure!(!to.exists(), "{path} is there twice");
    fs::write(&to, data).with_context(|| format!("writing {path}"))
}
