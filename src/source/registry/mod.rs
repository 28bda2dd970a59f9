// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A registry and its mirrors: the OCI distribution protocol, as far as a pull by digest needs it.
//!
//! The manifest may come from one endpoint and a blob from another, a mirror that lacks half of the blobs is of use all
//! the same. Nothing but digests is trusted. An endpoint that is marked insecure is asked with TLS first, but whoever
//! answers is believed; then without TLS, as containers/image does it.
//!
//! Tested by `src/slipstream/tests/servers/`.

mod auth;
pub mod challenge;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use contract::names::{Scheme, Url};

use crate::containers::{Credentials, Endpoint, HostConfig};
use crate::http::{Client, Failure, Fetcher, Kind, Places, Request, Response, Secret, Tls, Want};
use crate::surroundings::{Surroundings, tls_for};
use auth::{Authorization, Wanted};

/// What a pull understands.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker Hub's name, and the host that serves it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

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
    Ok(Fetcher::new(Box::new(mirrors), limits, deadline))
}

/// The endpoints of an image.
#[derive(Debug)]
struct Mirrors {
    /// By name: how to ask it, or why that cannot be done, which is its answer.
    places: Vec<(String, Result<Place, Failure>)>,
    client: Client,
}

/// An endpoint, and what we have learned of it.
#[derive(Debug)]
struct Place {
    host: String,
    repository: String,
    insecure: bool,
    credentials: Option<Credentials>,
    tls: Tls,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// An insecure endpoint does not do TLS.
    plain: bool,
    authorization: Option<Authorization>,
}

impl Place {
    fn new(endpoint: &Endpoint, config: &HostConfig, anchors: &[Vec<u8>]) -> Result<Self> {
        let (host, repository) = endpoint.location.split_once('/').context("it has no repository")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        ensure!(!repository.is_empty() && repository.bytes().all(plain), "it has a bad repository {repository:?}");
        let tls = tls_for(config, host, anchors)?;
        let place = Self {
            host: if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host }.to_owned(),
            repository: repository.to_owned(),
            insecure: endpoint.insecure,
            credentials: config.credentials(&endpoint.location)?,
            tls: if endpoint.insecure { tls.unverified() } else { tls },
            state: Mutex::default(),
        };
        // A bad host is an error now, not one of each blob.
        place.url(Scheme::Https, "")?;
        Ok(place)
    }

    fn url(&self, scheme: Scheme, rest: &str) -> Result<Url> {
        Url::from_parts(scheme, &self.host, &format!("/v2/{}/{rest}", self.repository))
    }

    fn with_state<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Send a request with what we are known by, and authenticate if that is wanted.
    fn send(&self, client: &Client, scheme: Scheme, want: &Want, from: u64) -> Result<Response, Failure> {
        let kind = if want.manifest { "manifests" } else { "blobs" };
        let url = self.url(scheme, &format!("{kind}/{}", want.digest))?;
        let mut request = Request::get(url, self.tls.clone());
        request.accept = want.manifest.then_some(MANIFESTS);
        request.from = from;
        request.authorization = self.with_state(|state| {
            state
                .authorization
                .as_ref()
                .filter(|authorization| authorization.is_fresh())
                .map(|known| known.value.clone())
        });
        let failure = match client.send(request.clone()) {
            Err(failure) => failure,
            Ok(response) => return Ok(response),
        };
        let Kind::Denied(challenges) = &failure.kind else { return Err(failure) };
        let fresh = self.authorize(client, scheme, challenges, request.authorization.as_ref())?;
        request.authorization = Some(fresh);
        client.send(request).map_err(|failure| match failure.kind {
            Kind::Denied(_) => Failure::last(format!("{failure}, also with what the pull secret has for it")),
            _ => failure,
        })
    }

    /// A new authorization in place of `stale`. Of several streams that need one, one gets it.
    fn authorize(
        &self,
        client: &Client,
        scheme: Scheme,
        challenges: &[String],
        stale: Option<&Secret>,
    ) -> Result<Secret, Failure> {
        self.with_state(|state| {
            let known = state.authorization.as_ref().filter(|known| known.is_fresh() && Some(&known.value) != stale);
            if let Some(known) = known {
                return Ok(known.value.clone());
            }
            let (repository, credentials) = (self.repository.as_str(), self.credentials.as_ref());
            let wanted = Wanted { client, scheme, repository, credentials, tls: &self.tls };
            let fresh = wanted.answer(challenges)?;
            let value = fresh.value.clone();
            state.authorization = Some(fresh);
            Ok(value)
        })
    }
}

impl Places for Mirrors {
    fn names(&self) -> Vec<String> {
        self.places.iter().map(|(name, _)| name.clone()).collect()
    }

    fn open(&self, place: usize, want: &Want, from: u64) -> Result<Response, Failure> {
        let (_, place) = self.places.get(place).ok_or_else(|| Failure::last("there is no such endpoint"))?;
        let place = place.as_ref().map_err(Clone::clone)?;
        if !place.with_state(|state| state.plain) {
            let failure = match place.send(&self.client, Scheme::Https, want, from) {
                Err(failure) if place.insecure && failure.kind == Kind::NoConnection => failure,
                result => return result,
            };
            let result = place.send(&self.client, Scheme::Http, want, from);
            let answered = !matches!(&result, Err(Failure { kind: Kind::NoConnection, .. }));
            place.with_state(|state| state.plain |= answered);
            return result.map_err(|second| second.context(&failure.to_string()));
        }
        place.send(&self.client, Scheme::Http, want, from)
    }
}
