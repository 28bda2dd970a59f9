// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an endpoint says at `/v2/`: which scheme it speaks, and how to log in.
//!
//! A real request may not say it: some registries answer it with 401 and no challenge, with 403 or with 404.
//!
//! Tested by `src/slipstream/tests/http/door.rs`, `src/slipstream/tests/servers/`.

use contract::names::{Scheme, Url};

use super::challenge::{self, Challenge};
use crate::http::{Client, Failure, Kind, Request, Tls};

/// Largest body at `/v2/`, in bytes. Registries say `{}`.
const MAX_BODY: usize = 64 << 10;

/// An endpoint that has answered.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// The scheme that it speaks.
    pub(super) scheme: Scheme,
    /// How to log in, in the order of the server; nothing if that is not wanted.
    pub(super) challenges: Vec<Challenge>,
}

/// Asks `/v2/` at a host. One that is insecure is asked without TLS after any failure with it: nothing may listen there, a
/// firewall may drop what is sent, or another service may answer.
pub(super) fn knock(client: &Client, host: &str, tls: &Tls, insecure: bool) -> Result<Door, Failure> {
    let first = match ping(client, Scheme::Https, host, tls) {
        Err(failure) if insecure && failure.kind != Kind::Late => failure,
        result => return result,
    };
    ping(client, Scheme::Http, host, tls).map_err(|second| {
        // What answers with TLS may be the registry after all.
        let passes = matches!(first.kind, Kind::Unwell | Kind::Busy(_));
        let kind = if passes { first.kind.clone() } else { second.kind.clone() };
        Failure::new(kind, format!("{first}; {second}"))
    })
}

fn ping(client: &Client, scheme: Scheme, host: &str, tls: &Tls) -> Result<Door, Failure> {
    let headers = match client.send(Request::get(Url::from_parts(scheme, host, "/v2/")?, tls.clone())) {
        Ok(response) => {
            let challenges = response.challenges().to_vec();
            // To its end, so that the connection can be used again.
            if let Err(failure) = response.read_all(MAX_BODY) {
                log::debug!("reading the answer of {host} at /v2/: {failure}");
            }
            challenges
        }
        Err(Failure { kind: Kind::Denied(challenges), .. }) => challenges,
        // It is not that something is missing in a registry.
        Err(failure) if matches!(failure.kind, Kind::Missing | Kind::Forbidden) => {
            return Err(Failure::last(failure.to_string()));
        }
        Err(failure) => return Err(failure),
    };
    Ok(Door { scheme, challenges: parse(&headers) })
}

/// Returns the challenges in all values of WWW-Authenticate.
pub(super) fn parse(headers: &[String]) -> Vec<Challenge> {
    headers.iter().flat_map(|header| challenge::parse(header)).collect()
}
