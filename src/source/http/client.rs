// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request, its options, its redirects.
//!
//! Redirects are followed here, not by libcurl: credentials and client certificates go to the scheme, host and port
//! that they were meant for and to no other. From https to http goes only a request that allows it.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::names::{Scheme, Url};
use curl::easy::{Easy2, HttpVersion, List};

use crate::http::curl_error::clean;
use crate::http::head::Head;
use crate::http::proxy::without_password;
use crate::http::transfer::{Answer, Patience, Pool, Response, Sink, explain, start};
use crate::http::{Failure, Kind, Limits, Proxy, Secret, Tls};

/// Most redirects. Registries need one, or two with a mirror in front.
const MAX_REDIRECTS: u32 = 5;
const USER_AGENT: &str = concat!("slipstream/", env!("CARGO_PKG_VERSION"));

/// Sends requests: what they have in common.
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    proxy: Proxy,
    deadline: Instant,
    pool: Pool,
    /// Whether a long wait for an answer was logged.
    logged: AtomicBool,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub url: Url,
    /// The value of Accept.
    pub accept: Option<&'static str>,
    /// The value of Authorization.
    pub authorization: Option<Secret>,
    /// The first byte that is wanted.
    pub from: u64,
    /// How to do TLS.
    pub tls: Tls,
    /// A form to post; otherwise it is a GET.
    pub form: Option<Secret>,
    /// How long to wait for the first byte of the answer, if not as the limits say.
    pub first_byte: Option<Duration>,
    /// What to do about a redirect from https to http.
    pub downgrade: Downgrade,
}

/// What to do about a redirect from https to http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downgrade {
    /// Follow it: the bytes are verified anyway. Credentials stay behind, as with any other origin.
    Follow,
    /// Refuse it, and say this.
    Refuse(&'static str),
}

impl Request {
    /// A plain GET.
    pub fn get(url: Url, tls: Tls) -> Self {
        let downgrade = Downgrade::Refuse("it is not followed");
        Self { url, accept: None, authorization: None, from: 0, tls, form: None, first_byte: None, downgrade }
    }
}

impl Client {
    /// A client whose requests all end by `deadline`.
    pub fn new(limits: Limits, proxy: Proxy, deadline: Instant) -> Self {
        Self { limits, proxy, deadline, pool: Pool::default(), logged: AtomicBool::new(false) }
    }

    /// Send a request, and others to where it is redirected. Only 200 and 206 are a success.
    pub fn send(&self, mut request: Request) -> Result<Response, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let url = request.url.clone();
            let context = |failure: Failure| failure.context(&url.to_string());
            let easy = self.set_up(&request).with_context(|| format!("setting up a request to {url}"))?;
            let first_byte = request.first_byte.unwrap_or(self.limits.first_byte);
            let patience = Patience { limits: &self.limits, first_byte, deadline: self.deadline, logged: &self.logged };
            match start(&self.pool, url.origin(), easy, patience).map_err(context)? {
                Answer::Success(response) => return Ok(response),
                Answer::Other(head, _) if matches!(head.status, 301 | 302 | 303 | 307 | 308) => {
                    request = redirect(request, head.location.as_deref()).map_err(context)?;
                }
                Answer::Other(head, body) => {
                    let why = explain(&body).map(|text| format!(": {text}")).unwrap_or_default();
                    let text = format!("HTTP status {}{why}", head.status);
                    return Err(context(Failure::new(kind_of(head), text)));
                }
            }
        }
        Err(Failure::last(format!("more than {MAX_REDIRECTS} redirects, the last one to {}", request.url)))
    }

    /// The one place where options are set.
    fn set_up(&self, request: &Request) -> Result<Easy2<Sink>> {
        let url = &request.url;
        let mut easy = self.pool.take(&url.origin());
        let left = self.deadline.saturating_duration_since(Instant::now());
        // 0 would be: no limit.
        easy.timeout(left.max(Duration::from_millis(1)))?;
        easy.connect_timeout(self.limits.connect)?;
        // `Url` is http or https, and nothing else is reached: redirects are ours.
        easy.url(&url.full())?;
        easy.follow_location(false)?;
        easy.path_as_is(true)?;
        easy.http_09_allowed(false)?;
        easy.http_version(HttpVersion::V2TLS)?;
        easy.useragent(USER_AGENT)?;
        easy.progress(true)?;
        // Empty: not what the environment says.
        let proxy = self.proxy.of(url).unwrap_or_default();
        easy.proxy(proxy).with_context(|| format!("using the proxy {}", without_password(proxy)))?;
        easy.noproxy("")?;
        request.tls.apply(&mut easy)?;
        let mut headers = List::new();
        // A server that is not told may choose any.
        headers.append("Accept-Encoding: identity")?;
        if let Some(accept) = request.accept {
            headers.append(&format!("Accept: {accept}"))?;
        }
        if request.from > 0 {
            headers.append(&format!("Range: bytes={}-", request.from))?;
        }
        if let Some(secret) = &request.authorization {
            anyhow::ensure!(secret.is_header_value(), "the credentials have characters that no header can have");
            headers.append(&format!("Authorization: {}", secret.reveal()))?;
        }
        if let Some(form) = &request.form {
            easy.post(true)?;
            easy.post_fields_copy(form.reveal().as_bytes())?;
            // Otherwise libcurl asks first whether it may send a large form, and waits a second for a server that does not say.
            headers.append("Expect:")?;
        }
        easy.http_headers(headers)?;
        Ok(easy)
    }
}

/// Returns what an answer means that is neither a success nor a redirect.
fn kind_of(head: Head) -> Kind {
    match head.status {
        401 => Kind::Denied(head.challenges),
        403 => Kind::Forbidden,
        404 => Kind::Missing,
        416 => Kind::BadRange,
        429 => Kind::Busy(head.retry_after),
        500..=599 if head.retry_after.is_some() => Kind::Busy(head.retry_after),
        408 | 500..=599 => Kind::Unwell,
        _ => Kind::Final,
    }
}

/// The request to where this one is redirected.
fn redirect(request: Request, location: Option<&[u8]>) -> Result<Request, Failure> {
    let location = location.ok_or_else(|| Failure::last("a redirect that leads nowhere"))?;
    let bad = || format!("a redirect to a bad place, {:?}", shown(&String::from_utf8_lossy(location)));
    let url = request.url.redirect(location).with_context(bad)?;
    if request.form.is_some() {
        return Err(Failure::last(format!("a redirect to {url} would take the credentials along")));
    }
    if let (Scheme::Https, Scheme::Http, Downgrade::Refuse(why)) =
        (request.url.scheme(), url.scheme(), request.downgrade)
    {
        return Err(Failure::last(format!("a redirect from https to {url}: {why}")));
    }
    Ok(if request.url.is_same_origin(&url) {
        Request { url, ..request }
    } else {
        Request { url, authorization: None, tls: request.tls.without_client(), ..request }
    })
}

/// What may be shown of a URL that could not be parsed.
fn shown(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    // Before an @ there may be a password.
    clean(url.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lose_what_was_meant_for_another_host() {
        let client = Some((Secret::new("certificate"), Secret::new("key")));
        let tls = Tls::new(&[], client).unwrap();
        let url = Url::parse("https://a.example/v2/blob").unwrap();
        let request = Request { authorization: Some(Secret::new("Bearer x")), from: 5, ..Request::get(url, tls) };
        let insecure = Request { downgrade: Downgrade::Follow, ..request.clone() };
        let next = redirect(insecure, Some(b"http://a.example/blob")).unwrap();
        assert!(next.authorization.is_none() && !format!("{:?}", next.tls).contains("Some"), "downgrade: {next:?}");
        assert_eq!(next.downgrade, Downgrade::Follow);
        for (label, location, kept) in [
            ("same origin", Some("https://A.example:443/other"), Ok(true)),
            ("other host", Some("https://b.example/blob"), Ok(false)),
            ("other port", Some("https://a.example:8443/blob"), Ok(false)),
            (
                "downgrade",
                Some("http://a.example/blob"),
                Err("a redirect from https to http://a.example/blob: it is not"),
            ),
            ("file", Some("file:///etc/shadow"), Err("a redirect to a bad place, \"file:///etc/shadow\"")),
            ("password", Some("https://u:hush@b.example/"), Err("a redirect to a bad place, \"b.example/\"")),
            ("nowhere", None, Err("a redirect that leads nowhere")),
        ] {
            match (redirect(request.clone(), location.map(str::as_bytes)), kept) {
                (Ok(next), Ok(kept)) => {
                    assert_eq!(next.authorization.is_some(), kept, "{label}");
                    assert_eq!(format!("{:?}", next.tls).contains("Some"), kept, "{label}");
                    assert_eq!(next.from, 5, "{label}");
                }
                (Err(failure), Err(text)) => assert!(failure.to_string().contains(text), "{label}: {failure}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
