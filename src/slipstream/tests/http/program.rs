// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the program logs about servers that fail.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use testkit::server::{Reply, Server};
use testkit::suite::{Case, Shared};

use crate::image::Image;
use crate::registries::{REGISTRIES, registries};

pub fn cases(image: &Arc<Shared<Image>>) -> [Case; 2] {
    let case = |name: &str, debug: bool| {
        let image = Arc::clone(image);
        Case::new(name, move || pull(image.get()?, debug))
    };
    [case("logs_the_first_failure_of_each_place", false), case("logs_every_failure_with_debug", true)]
}

/// Pulls from two places. The first one always fails, the second one the first time that it
/// is asked for the manifest.
fn pull(image: &Image, debug: bool) -> Result<()> {
    let unwell = || Reply::new("503 Service Unavailable", "");
    let broken = Server::start(Arc::clone(&image.blobs), move |_| unwell())?;
    let shaky =
        Server::start(Arc::clone(&image.blobs), move |ask| match ask.path.contains("/manifests/") && ask.count == 0 {
            true => unwell(),
            false => Reply::good(ask),
        })?;
    let places = [&broken, &shaky].map(|server| format!("{}/os/node", server.host()));
    let root = image.root(&[(REGISTRIES, registries(&places))])?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
    command.args(["pull", "registry", "--repo"]).arg(image.repo()?).arg("--root").arg(root);
    command.args(["--image", &image.reference("registry.example")]).args(debug.then_some("--debug"));
    let output = command.output().context("running slipstream")?;
    ensure!(String::from_utf8_lossy(&output.stdout).trim() == image.commit, "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for place in places {
        let warnings: Vec<_> = said.lines().filter(|line| line.starts_with(&format!("<4>{place}: "))).collect();
        ensure!(warnings.len() == 1 && warnings[0].contains("HTTP status 503; trying again in "), "{said}");
        let details = said.lines().filter(|line| line.starts_with("<7>") && line.contains(&format!("from {place}: ")));
        ensure!((details.count() > 0) == debug, "{said}");
    }
    Ok(())
}
