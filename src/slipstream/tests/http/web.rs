// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A layout behind a web server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use contract::names::SourceSpec;
use testkit::server::{Reply, Server};
use testkit::suite::{Case, Shared};

use crate::image::{Image, QUICK};

/// The most time that a pull may take.
const TIME: Duration = Duration::from_secs(60);

pub fn cases(image: &Arc<Shared<Image>>) -> [Case; 3] {
    let case = |name: &str, path: &'static str, expected: Option<&'static str>| {
        let image = Arc::clone(image);
        Case::new(name, move || pull(image.get()?, path, expected))
    };
    [
        case("pulls_a_layout", "node", None),
        case("pulls_a_layout_with_a_slash_behind_it", "node/", None),
        case("fails_where_there_is_no_layout", "none", Some("there is no oci-layout: this is no OCI layout")),
    ]
}

/// Every blob is cut the first time.
fn pull(image: &Image, path: &str, expected: Option<&str>) -> Result<()> {
    let server = Server::start(Arc::clone(&image.blobs), |ask| match ask.path.starts_with("/node/") {
        true if ask.is_blob() && ask.count == 0 => Reply::good(ask).cut(),
        true => Reply::good(ask),
        false => Reply::new("404 Not Found", ""),
    })?;
    let spec = SourceSpec::parse(&format!("http://{}/{path}", server.host()))?;
    let (result, log) = image.pull(&spec, &[], TIME, QUICK);
    match (result, expected) {
        (Ok(commit), None) => {
            ensure!(commit == image.commit, "commit {commit}, not {}", image.commit);
            ensure!(server.asked().iter().any(|ask| ask.from().is_some()), "nothing was resumed");
        }
        (Err(error), Some(text)) => ensure!(format!("{error:#}").contains(text), "{error:#}"),
        (result, _) => bail!("{result:?}"),
    }
    ensure!(log.len() == 1, "{log:?}");
    Ok(())
}
