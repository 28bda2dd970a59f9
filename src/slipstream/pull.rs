// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream pull`: an image into a repository, without a boot.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/servers/`.

use std::ops::ControlFlow::{self, Break, Continue};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use contract::files::RootFiles;
use contract::names::{Digest, ImageReference, SourceSpec};
use ostree::Repo;
use source::Surroundings;
use source::containers::HostConfig;
use source::http::Limits;

use crate::import::{Plan, Purpose, Session, collect_layers, import, plan};
use crate::stop::Stop;
use crate::trust::{required, verify_signatures};

/// What to pull, and where to.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Where the bytes are.
    pub source: SourceSpec,
    /// The image.
    pub image: ImageReference,
    /// The repository.
    pub repo: PathBuf,
    /// Devices are mounted below it.
    pub run_dir: PathBuf,
    /// The root below which registries.conf, credentials and certificates are looked for.
    pub root: PathBuf,
    /// Time for all of it.
    pub deadline: Duration,
}

/// Imports an image. Returns the merge commit.
pub fn pull(options: &PullOptions) -> Result<Digest> {
    let (image, deadline) = (&options.image, Instant::now() + options.deadline);
    let files = Arc::new(RootFiles::new(&options.root));
    let needed = allowed(required(files.as_ref(), image)?)?;
    let config = HostConfig::new(files);
    let around =
        Surroundings { image, run_dir: &options.run_dir, config: &config, limits: Limits::default(), deadline };
    let source = source::open(&options.source, &around)?;
    let verified = source::verify(source, image.digest())?.image()?;
    allowed(verify_signatures(&needed, image, &verified)?)?;
    let repo = Repo::open(&options.repo)?;
    let session = Session::open(&repo, &options.repo, Purpose::Pull, deadline)?;
    let commit = match plan(&session, &verified, image)? {
        Plan::AlreadyPresent(commit) => commit,
        Plan::Ready(plan) => match import(&session, &verified, image, &plan, deadline)? {
            Continue(imported) => imported.commit,
            // Not without a kernel in the plan.
            Break(other) => bail!("{other}"),
        },
    };
    // This image was imported; a problem with another one is not fatal.
    if let Err(error) = collect_layers(&session) {
        log::warn!("cleaning up: {error:#}");
    }
    Ok(commit)
}

/// There is nobody else here who could pull the image: a refusal is an error.
fn allowed<T>(step: ControlFlow<Stop, T>) -> Result<T> {
    match step {
        Continue(value) => Ok(value),
        Break(stop) => bail!("{stop}"),
    }
}
