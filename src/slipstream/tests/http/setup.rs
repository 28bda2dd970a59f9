// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A mirror that cannot be set up, or must not be asked, is one attempt that failed, and the next endpoint is asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use contract::names::SourceSpec;
use testkit::server::{Reply, Server};
use testkit::suite::{Case, Shared};

use crate::image::{Image, QUICK};
use crate::registries::{AUTH, REGISTRIES, registries};

/// Nobody resolves it: it is not asked.
const MIRROR: &str = "mirror.example:5000/os/node";
const TIME: Duration = Duration::from_secs(60);
const KEY: &str = "etc/containers/certs.d/mirror.example:5000/node.key";
const BLOCKED: &str = "[[registry]]\nlocation = \"mirror.example:5000/os\"\nblocked = true\n";

/// Returns a case for each reason.
pub fn cases(image: &Arc<Shared<Image>>) -> [Case; 3] {
    let damaged = r#"{"auths": {"mirror.example:5000": {"auth": "hush!"}}}"#;
    let rows = [
        (
            "goes_on_after_damaged_credentials",
            AUTH,
            damaged,
            "setting it up: reading the entry \"mirror.example:5000\"",
        ),
        ("goes_on_after_a_key_without_a_certificate", KEY, "hush", "node.key has no client certificate node.cert"),
        ("goes_on_after_a_blocked_mirror", "etc/containers/registries.conf.d/1.conf", BLOCKED, "is blocked: /etc/"),
    ];
    rows.map(|(name, path, text, reason)| {
        let image = Arc::clone(image);
        Case::new(name, move || pull(image.get()?, path, text, reason))
    })
}

fn pull(image: &Image, path: &str, text: &str, reason: &str) -> Result<()> {
    let server = Server::start(Arc::clone(&image.blobs), Reply::good)?;
    let endpoint = format!("{}/os/node", server.host());
    let files = [(REGISTRIES, registries(&[MIRROR.to_owned(), endpoint.clone()])), (path, text.to_owned())];
    let (result, log) = image.pull(&SourceSpec::Registry, &files, TIME, QUICK);
    ensure!(result? == image.commit, "another commit: {log:?}");
    let [(mirror, Some(why)), (used, None)] = &log[..] else { bail!("{log:?}") };
    ensure!(mirror == MIRROR && *used == endpoint && why.contains(reason), "{log:?}");
    ensure!(!why.contains("hush"), "a secret: {why}");
    Ok(())
}
