// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A registry and its mirrors: the OCI distribution protocol, as far as a pull by digest needs it.
//!
//! The manifest may come from one endpoint and a blob from another, a mirror that lacks half of the blobs is of use all
//! the same. Nothing but digests is trusted. An endpoint that is marked insecure is asked with TLS first, but whoever
//! answers is believed; if that is not a registry, then without TLS, as containers/image does it.
//!
//! Tested by `src/slipstream/tests/servers/`.

mod auth;
pub mod challenge;
mod door;
mod login;

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::names::{Scheme, Url};

use crate::containers::{Endpoint, HostConfig};
use crate::http::{Client, Downgrade, Failure, Fetcher, Places, Request, Response, Want};
use crate::signatures::by_tag;
use crate::surroundings::{Surroundings, tls_for};
use login::Login;

/// What a pull understands.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker Hub's name, and the host that serves it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What to say about a redirect from https to http.
const DOWNGRADE: &str = "insecure = true for this endpoint in registries.conf allows it";

/// The source that an image's own name is: find out where the image may be. Nothing is sent yet.
pub(super) fn open(around: &Surroundings<'_>) -> Result<Fetcher> {
    let Surroundings { image, config, limits, deadline, .. } = *around;
    let endpoints = config.endpoints(image)?;
    ensure!(!endpoints.is_empty(), "the configuration has no place for {image}");
    let anchors = config.anchors()?;
    let places = endpoints.into_iter().map(|endpoint| {
        let place = match &endpoint.blocked {
            Some(reason) => Err(Failure::last(reason)),
            None => Place::new(&endpoint, config, &anchors).context("setting it up").map_err(Failure::from),
        };
        (endpoint.location, place)
    });
    let mirrors = Mirrors { places: places.collect(), client: Client::new(limits, config.proxy()?, deadline) };
    Ok(Fetcher::new(Box::new(mirrors), limits, deadline, by_tag))
}

/// The endpoints of an image.
#[derive(Debug)]
struct Mirrors {
    /// By name: how to ask it, or why that cannot be done, which is its answer.
    places: Vec<(String, Result<Place, Failure>)>,
    client: Client,
}

/// An endpoint.
#[derive(Debug)]
struct Place {
    login: Login,
}

impl Place {
    fn new(endpoint: &Endpoint, config: &HostConfig, anchors: &[Vec<u8>]) -> Result<Self> {
        let (host, repository) = endpoint.location.split_once('/').context("it has no repository")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        ensure!(!repository.is_empty() && repository.bytes().all(plain), "it has a bad repository {repository:?}");
        let tls = tls_for(config, host, anchors)?;
        let login = Login {
            host: if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host }.to_owned(),
            repository: repository.to_owned(),
            insecure: endpoint.insecure,
            credentials: config.credentials(&endpoint.location)?,
            tls: if endpoint.insecure { tls.unverified() } else { tls },
            config: config.clone(),
            state: Mutex::default(),
        };
        let place = Self { login };
        // A bad host is an error now, not one of each blob.
        place.url(Scheme::Https, "")?;
        Ok(place)
    }

    fn url(&self, scheme: Scheme, rest: &str) -> Result<Url> {
        Url::from_parts(scheme, &self.login.host, &format!("/v2/{}/{rest}", self.login.repository))
    }

    /// Sends a request with what we are known by.
    fn send(&self, client: &Client, want: &Want, from: u64, first_byte: Duration) -> Result<Response, Failure> {
        let url = self.url(self.login.scheme(client)?, &path_of(want))?;
        let mut request = Request::get(url, self.login.tls.clone());
        request.accept = (!matches!(want, Want::Blob(..))).then_some(MANIFESTS);
        request.from = from;
        request.first_byte = Some(first_byte);
        request.downgrade = if self.login.insecure { Downgrade::Follow } else { Downgrade::Refuse(DOWNGRADE) };
        self.login.send(client, request)
    }
}

/// Returns where a repository has what is wanted.
fn path_of(want: &Want) -> String {
    match want {
        Want::Blob(digest, _) => format!("blobs/{digest}"),
        Want::Manifest(digest, _) => format!("manifests/{digest}"),
        Want::Named(tag) => format!("manifests/{tag}"),
    }
}

impl Places for Mirrors {
    fn names(&self) -> Vec<String> {
        self.places.iter().map(|(name, _)| name.clone()).collect()
    }

    fn open(&self, place: usize, want: &Want, from: u64, first_byte: Duration) -> Result<Response, Failure> {
        let (_, place) = self.places.get(place).ok_or_else(|| Failure::last("there is no such endpoint"))?;
        place.as_ref().map_err(Clone::clone)?.send(&self.client, want, from, first_byte)
    }
}
