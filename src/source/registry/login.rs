// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests to one endpoint, with what we are known by there.
//!
//! Where there are credentials, the endpoint is asked at `/v2/` how to log in before anything else, as containers/image does
//! it. Without them a request is sent as it is, and only if it is refused the endpoint is asked. What was learned is
//! remembered for all blobs of a pull.
//!
//! Tested by `src/slipstream/tests/http/door.rs`, `src/slipstream/tests/http/logins.rs`, `src/slipstream/tests/servers/`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::names::{Scheme, Url};

use super::auth::{Authorization, Wanted};
use super::challenge::Challenge;
use super::door::{Door, knock, parse};
use crate::containers::{Credentials, HostConfig};
use crate::http::{Client, Failure, Kind, Request, Response, Secret, Tls};

/// An endpoint, and who we are there.
#[derive(Debug)]
pub(super) struct Login {
    /// `host[:port]`.
    pub(super) host: String,
    pub(super) repository: String,
    /// TLS without verification, or none at all, will do.
    pub(super) insecure: bool,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: Tls,
    pub(super) config: HostConfig,
    pub(super) state: Mutex<State>,
}

/// What was learned of an endpoint.
#[derive(Debug, Default)]
pub(super) struct State {
    door: Option<Door>,
    authorization: Option<Authorization>,
    /// What the registry wants a token to be good for, besides pulling from our repository.
    more: Option<String>,
}

impl Login {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the scheme of the endpoint. An insecure one is asked for it.
    pub(super) fn scheme(&self, client: &Client) -> Result<Scheme, Failure> {
        match self.insecure {
            true => Ok(self.door(client)?.scheme),
            false => Ok(Scheme::Https),
        }
    }

    /// Returns what the endpoint says at `/v2/`. It is asked until it has said something, by one stream of several.
    fn door(&self, client: &Client) -> Result<Door, Failure> {
        let mut state = self.state();
        if let Some(door) = &state.door {
            return Ok(door.clone());
        }
        let door = knock(client, &self.host, &self.tls, self.insecure)?;
        Ok(state.door.insert(door).clone())
    }

    /// Sends a request, and logs in if that is wanted.
    pub(super) fn send(&self, client: &Client, mut request: Request) -> Result<Response, Failure> {
        request.authorization = self.first(client)?;
        // One that was just made is not stale.
        let (mut fresh, mut widened) = (false, false);
        loop {
            let failure = match client.send(request.clone()) {
                Err(failure) => failure,
                Ok(response) => return Ok(response),
            };
            let stale = request.authorization.take();
            match (&stale, &failure.kind) {
                (None, Kind::Denied(_) | Kind::Forbidden | Kind::Missing) => {
                    self.ask_how(client, &request, &failure)?
                }
                (Some(_), Kind::Denied(headers)) => {
                    let wider = !widened && self.widen(&parse(headers));
                    if fresh && !wider {
                        return Err(self.refused(failure));
                    }
                    widened |= wider;
                }
                _ => return Err(failure),
            }
            let new = self.authorization(client, stale.as_ref())?;
            if stale.as_ref() == Some(&new) {
                return Err(self.refused(failure));
            }
            request.authorization = Some(new);
            fresh = true;
        }
    }

    /// Returns what to send with the first request.
    fn first(&self, client: &Client) -> Result<Option<Secret>, Failure> {
        if self.credentials.is_some() && self.door(client)?.challenges.iter().any(Challenge::is_known) {
            return self.authorization(client, None).map(Some);
        }
        let known = self.state().authorization.clone();
        Ok(known.filter(Authorization::is_fresh).map(|known| known.value))
    }

    /// Finds out how to log in after a request without it has failed; otherwise that failure is returned.
    fn ask_how(&self, client: &Client, request: &Request, failure: &Failure) -> Result<(), Failure> {
        let said = match &failure.kind {
            Kind::Denied(headers) => parse(headers),
            _ => Vec::new(),
        };
        // Held while it is asked, so that several streams do not all ask.
        let mut state = self.state();
        let door = match &state.door {
            Some(door) if !door.challenges.is_empty() => door.clone(),
            _ if !said.is_empty() => Door { scheme: request.url.scheme(), challenges: said },
            Some(door) => door.clone(),
            None => match knock(client, &self.host, &self.tls, self.insecure) {
                Ok(door) => door,
                Err(silent) if matches!(failure.kind, Kind::Denied(_)) => return Err(silent),
                // Perhaps a mirror that lacks a blob, and is not a whole registry.
                Err(silent) => {
                    log::debug!("{silent}");
                    Door { scheme: request.url.scheme(), challenges: Vec::new() }
                }
            },
        };
        let is_wanted = !door.challenges.is_empty();
        state.door = Some(door);
        drop(state);
        match &failure.kind {
            _ if is_wanted => Ok(()),
            Kind::Denied(_) => Err(Failure::last(format!("{failure}, and it does not say how to log in"))),
            _ => Err(failure.clone()),
        }
    }

    /// Remembers what a registry wants a token to be good for, if it is about our repository.
    fn widen(&self, challenges: &[Challenge]) -> bool {
        let Some(more) = challenges.iter().find_map(|challenge| challenge.wider_scope(&self.repository)) else {
            return false;
        };
        self.state().more = Some(more);
        true
    }

    /// Returns a new authorization in place of `stale`. Of several streams that need one, one gets it.
    fn authorization(&self, client: &Client, stale: Option<&Secret>) -> Result<Secret, Failure> {
        let mut state = self.state();
        let known = state.authorization.as_ref().filter(|known| known.is_fresh() && Some(&known.value) != stale);
        if let Some(known) = known {
            return Ok(known.value.clone());
        }
        let Some(door) = &state.door else { return Err(Failure::last("the registry was not asked how to log in")) };
        let wanted = Wanted {
            client,
            registry: Url::from_parts(door.scheme, &self.host, "/")?,
            repository: &self.repository,
            more: state.more.as_deref(),
            credentials: self.credentials.as_ref(),
            tls: &self.tls,
            config: &self.config,
        };
        let fresh = wanted.answer(&door.challenges)?;
        Ok(state.authorization.insert(fresh).value.clone())
    }

    /// Returns why a request was refused with a new authorization.
    fn refused(&self, failure: Failure) -> Failure {
        match self.state().authorization.take().and_then(|used| used.instead_of) {
            // The password was sent because the token server was out of reach: that may pass.
            Some(unreachable) => {
                unreachable.context(&format!("{failure}, with the password because there is no token"))
            }
            None => Failure::last(format!("{failure}, also with what the pull secret has for it")),
        }
    }
}
