// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An OCI image layout behind a web server: plain files below a URL.
//!
//! Tested by `src/slipstream/tests/http/web.rs`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contract::names::Url;

use crate::http::{Client, Downgrade, Failure, Fetcher, Kind, Places, Request, Response, Tls, Want};
use crate::layout::{MARKER, check_marker};
use crate::signatures::by_index;
use crate::surroundings::{Surroundings, tls_for};

/// What to say about a redirect from https to http.
const DOWNGRADE: &str = "a source with https is read with https only; give it with http to allow that";

/// The source that a layout at a URL is. Nothing is sent yet.
pub(super) fn open(url: &Url, around: &Surroundings<'_>) -> Result<Fetcher> {
    let Surroundings { config, limits, deadline, .. } = *around;
    let server = Server {
        url: url.clone(),
        tls: tls_for(config, url.authority(), &config.anchors()?)?,
        client: Client::new(limits, config.proxy()?, deadline),
    };
    Ok(Fetcher::new(Box::new(server), limits, deadline, by_index))
}

#[derive(Debug)]
struct Server {
    url: Url,
    tls: Tls,
    client: Client,
}

impl Server {
    fn get(&self, name: &str, from: u64, first_byte: Option<Duration>) -> Result<Response, Failure> {
        let downgrade = Downgrade::Refuse(DOWNGRADE);
        let request = Request::get(self.url.join(name)?, self.tls.clone());
        self.client.send(Request { from, first_byte, downgrade, ..request })
    }

    /// A digest that is not there says little; that there is no layout at all says more.
    fn is_layout(&self) -> Result<()> {
        let marker = self.get(MARKER, 0, None).and_then(|response| response.read_all(4096));
        let marker = marker.map_err(|failure| anyhow!("{failure}"));
        check_marker(&marker.with_context(|| format!("there is no {MARKER}: this is no OCI layout"))?[..])
    }
}

impl Places for Server {
    fn names(&self) -> Vec<String> {
        vec![self.url.to_string()]
    }

    fn open(&self, _: usize, want: &Want, from: u64, first_byte: Duration) -> Result<Response, Failure> {
        let digest = match want {
            Want::Blob(digest, _) | Want::Manifest(digest, _) => digest,
            Want::Named(name) => return self.get(name, from, Some(first_byte)),
        };
        let failure = match self.get(&format!("blobs/sha256/{}", digest.hex()), from, Some(first_byte)) {
            Err(failure) if failure.kind == Kind::Missing => failure,
            result => return result,
        };
        Err(self.is_layout().map_or_else(|error| Failure::last(format!("{error:#}")), |()| failure))
    }
}
