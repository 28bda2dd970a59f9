// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a challenge to the value of Authorization: basic, and bearer tokens of a token server
//! (distribution.github.io/distribution/spec/auth/token).

use std::time::{Duration, Instant};

use contract::base64;
use contract::names::{Scheme, Url};
use serde_json::Value;

use crate::containers::{Credentials, HostConfig};
use crate::http::{Client, Failure, Kind, Request, Secret, Tls};
use crate::registry::challenge::Challenge;

/// Largest answer of a token server, in bytes.
const MAX_TOKEN: usize = 1 << 20;
/// How long a token is good if nobody says so; the specification has this number.
const DEFAULT_LIFE: u64 = 60;
/// A token is replaced when it has this long to go: it must be good when it arrives.
const MARGIN: Duration = Duration::from_secs(5);
/// What we call ourselves at a token server.
const CLIENT_ID: &str = "slipstream";

/// A value of Authorization, and how long it is good.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    /// The value.
    pub(super) value: Secret,
    expires: Option<Instant>,
    /// Why there is no token, although the registry would rather have one than this password.
    pub(super) instead_of: Option<Failure>,
}

impl Authorization {
    /// Whether it will still be good when it arrives.
    pub(super) fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() + MARGIN < expires)
    }
}

/// What one endpoint needs to authenticate.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) client: &'a Client,
    /// The registry's root.
    pub(super) registry: Url,
    pub(super) repository: &'a str,
    /// A scope that the token must have besides pulling.
    pub(super) more: Option<&'a str>,
    pub(super) credentials: Option<&'a Credentials>,
    /// How to do TLS with the registry.
    pub(super) tls: &'a Tls,
    /// Where other hosts have their client certificates.
    pub(super) config: &'a HostConfig,
}

impl Wanted<'_> {
    /// Answers the first challenge that can be answered. A password does where the token server is out of reach.
    pub(super) fn answer(&self, challenges: &[Challenge]) -> Result<Authorization, Failure> {
        let mut unreachable = None;
        for challenge in challenges {
            match (challenge.scheme.as_str(), self.password()) {
                ("basic", Some(value)) => {
                    return Ok(Authorization { value, expires: None, instead_of: unreachable });
                }
                ("bearer", _) if unreachable.is_none() => match self.bearer(challenge) {
                    Ok(authorization) => return Ok(authorization),
                    Err(failure) => {
                        let failure = failure.context("getting a token");
                        match failure.kind {
                            Kind::Denied(_) => {
                                let text = "the pull secret is wrong, or has nothing for it";
                                return Err(Failure::last(format!("{failure}: {text}")));
                            }
                            Kind::Busy(_) | Kind::Late => return Err(failure),
                            _ => unreachable = Some(failure),
                        }
                    }
                },
                _ => {}
            }
        }
        Err(unreachable.unwrap_or_else(|| no_way(challenges)))
    }

    /// Returns the value of Authorization that has the password, if there is one.
    fn password(&self) -> Option<Secret> {
        let known = self.credentials?;
        let is_whole = !known.username.is_empty() && !known.password.reveal().is_empty();
        is_whole.then(|| basic(known))
    }

    fn bearer(&self, challenge: &Challenge) -> Result<Authorization, Failure> {
        let realm = challenge.parameter("realm").ok_or_else(|| Failure::last("the registry names no token server"))?;
        // What a server says about scopes does not count: it could ask for more than a pull needs, or about other images.
        let ours = format!("repository:{}:pull", self.repository);
        let service = challenge.parameter("service").unwrap_or_default();
        let common = [("service", service), ("scope", &ours), ("scope", self.more.unwrap_or_default())];
        let mut request = match self.credentials.and_then(|known| known.identity_token.as_ref()) {
            Some(token) => {
                let more =
                    [("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", token.reveal())];
                let form = Secret::new(encode(&[&common[..], &more].concat()));
                Request { form: Some(form), ..self.request(realm, "")? }
            }
            None => {
                let user = self.credentials.map_or("", |known| &known.username);
                let query = encode(&[&[("account", user)], &common[..]].concat());
                Request { authorization: self.password(), ..self.request(realm, &query)? }
            }
        };
        request.accept = Some("application/json");
        let asked = Instant::now();
        let body = self.client.send(request).and_then(|response| response.read_all(MAX_TOKEN))?;
        parse_token(&body, asked)
    }

    /// Returns a request to the token server. The registry's client certificate is for the registry: another host is shown
    /// the one that it has in certs.d itself, if any.
    fn request(&self, realm: &str, query: &str) -> Result<Request, Failure> {
        let url = self.realm(realm, query)?;
        let tls = match self.registry.is_same_origin(&url) {
            true => self.tls.clone(),
            false => self.tls.with_client(self.config.certs(url.authority())?.client),
        };
        Ok(Request::get(url, tls))
    }

    /// The URL of the token server. Passwords go there, so it must not be worse than the registry.
    fn realm(&self, realm: &str, query: &str) -> Result<Url, Failure> {
        // What comes after a fragment would be a part of it.
        let realm = realm.split('#').next().unwrap_or_default();
        let joint = match (query.is_empty(), realm.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        let url = Url::parse(&format!("{realm}{joint}{query}"))
            .map_err(|error| Failure::last(format!("the registry names a bad token server: {error}")))?;
        if self.registry.scheme() == Scheme::Https && url.scheme() == Scheme::Http {
            return Err(Failure::last(format!("the registry has TLS, but names the token server {url}")));
        }
        Ok(url)
    }
}

/// Returns why none of these challenges can be answered.
fn no_way(challenges: &[Challenge]) -> Failure {
    if challenges.iter().any(|challenge| challenge.scheme == "basic") {
        return Failure::last("HTTP status 401, and there is no password for it in the pull secret");
    }
    let schemes: Vec<_> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
    Failure::last(format!("HTTP status 401, and it offers {} instead of bearer or basic", schemes.join(", ")))
}

fn parse_token(body: &[u8], asked: Instant) -> Result<Authorization, Failure> {
    // What the parser says may quote the body, which holds a token.
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Failure::last("the token server's answer is no JSON"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|token| !token.is_empty());
    let token = text("token").or(text("access_token"));
    let token = token.ok_or_else(|| Failure::last("the token server's answer has no token"))?;
    let life = value.get("expires_in").and_then(Value::as_u64).unwrap_or(DEFAULT_LIFE);
    // Nobody's token is good for longer than a day, for what we do with it.
    let expires = asked.checked_add(Duration::from_secs(life.clamp(DEFAULT_LIFE, 24 * 60 * 60)));
    Ok(Authorization { value: Secret::new(format!("Bearer {token}")), expires, instead_of: None })
}

fn basic(known: &Credentials) -> Secret {
    let pair = format!("{}:{}", known.username, known.password.reveal());
    Secret::new(format!("Basic {}", base64::encode(pair.as_bytes())))
}

/// A query, or a form: `application/x-www-form-urlencoded`.
fn encode(pairs: &[(&str, &str)]) -> String {
    let percent = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
    };
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}", percent(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let query = encode(&[("service", "a b"), ("empty", ""), ("scope", "repository:a/b:pull")]);
        assert_eq!(query, "service=a%20b&scope=repository%3Aa%2Fb%3Apull");
    }

    #[test]
    fn tokens() {
        let now = Instant::now();
        for (label, body, expected) in [
            ("token", r#"{"token": "abc", "access_token": "def"}"#, Ok("Bearer abc")),
            ("access_token", r#"{"token": "", "access_token": "def", "expires_in": 300}"#, Ok("Bearer def")),
            ("none", r#"{"token": 5}"#, Err("the token server's answer has no token")),
            ("no JSON", "hush", Err("the token server's answer is no JSON")),
        ] {
            match (parse_token(body.as_bytes(), now), expected) {
                (Ok(authorization), Ok(value)) => {
                    assert_eq!(authorization.value.reveal(), value, "{label}");
                    assert!(authorization.is_fresh(), "{label}");
                }
                (Err(failure), Err(text)) => assert_eq!(failure.to_string(), text, "{label}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
        let old = now.checked_sub(Duration::from_secs(290)).unwrap();
        for (life, fresh) in [(300, true), (294, false), (u64::MAX, true), (0, false)] {
            let body = format!(r#"{{"token": "abc", "expires_in": {life}}}"#);
            assert_eq!(parse_token(body.as_bytes(), old).unwrap().is_fresh(), fresh, "{life}");
        }
    }
}
