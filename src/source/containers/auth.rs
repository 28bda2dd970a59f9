// SPDX-License-Identifier: Apache-2.0 OR MIT
//! auth.json (containers-auth.json(5)): who we are at which registry.
//!
//! An entry is for a registry or for a part of its repositories; the longest match wins, as in containers/image,
//! pkg/docker/config. Files are read one after the other until one has credentials, and only the entry that is used is
//! decoded: a broken one elsewhere does no harm. What is broken on the way is an error, as there: without it we would go
//! on with other credentials, or none.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use contract::base64;
use contract::files::Files;
use contract::shape;
use contract::shape::Shape;
use serde_json::Value;

use crate::http::Secret;

/// Where credentials may be; the first file that has some for a place wins. First what the MCO and the kubelet pull
/// with, then what ostree's own container code reads. We create none of them: see docs/boot-flow.md on /run/ostree.
const PATHS: [&str; 4] =
    ["/var/lib/kubelet/config.json", "/run/ostree/auth.json", "/etc/ostree/auth.json", "/usr/lib/ostree/auth.json"];
const ENTRY: Shape = Shape::Object(&[("auth", Shape::Text, false), ("identitytoken", Shape::Text, false)]);
const AUTH: Shape = Shape::Object(&[("auths", Shape::Map(&ENTRY), false), ("credHelpers", Shape::Texts, false)]);

/// How to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// Their password.
    pub password: Secret,
    /// What a token server takes instead of both, as an OAuth2 refresh token.
    pub identity_token: Option<Secret>,
}

/// Without anything that could help somebody: robot accounts have telling names.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<credentials>")
    }
}

/// A file.
struct AuthFile {
    path: String,
    entries: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
}

struct Entry {
    auth: Secret,
    identity_token: Option<Secret>,
}

/// Returns the credentials for `location`, which is `host[:port]` or `host[:port]/repo`.
pub(super) fn find(files: &dyn Files, location: &str) -> Result<Option<Credentials>> {
    for path in PATHS {
        let Some(bytes) = files.read(path)? else { continue };
        let file = parse(&bytes, path)?;
        let Some((key, entry)) = file.entry(location) else { continue };
        if let Some(credentials) = entry.decode().with_context(|| format!("reading the entry {key:?} of {path}"))? {
            log::debug!("using credentials of {key} in {path}");
            return Ok(Some(credentials));
        }
    }
    Ok(None)
}

/// Parse a file. The error has a place, but none of the text: the parser's own words may quote it.
fn parse(bytes: &[u8], path: &str) -> Result<AuthFile> {
    let known = parse_auth(bytes).with_context(|| format!("reading {path}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let map = |name: &str| known.get(name).and_then(Value::as_object).into_iter().flatten();
    let entries = map("auths").map(|(key, value)| {
        let auth = Secret::new(value.get("auth").map(text).unwrap_or_default());
        let identity_token = value.get("identitytoken").map(text).filter(|token| !token.is_empty()).map(Secret::new);
        (key.clone(), Entry { auth, identity_token })
    });
    let helpers = map("credHelpers").map(|(key, value)| (key.clone(), text(value)));
    Ok(AuthFile { path: path.to_owned(), entries: entries.collect(), helpers: helpers.collect() })
}

/// The part of the JSON that is used.
pub(crate) fn parse_auth(bytes: &[u8]) -> Result<Value> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        Ok(_) => {}
        Err(error) => anyhow::bail!("line {}, column {}: it is not JSON", error.line(), error.column()),
    }
    // What is left to go wrong is a type, and a message about it has no values.
    shape::parse(bytes, AUTH, "auth.json")
}

impl AuthFile {
    /// The entry that fits best: the longest part of the location, then a URL of the host as old docker wrote it.
    fn entry(&self, location: &str) -> Option<(&str, &Entry)> {
        let host = location.split('/').next().unwrap_or_default();
        if let Some(helper) = self.helpers.get(host) {
            log::info!("{} wants credential helper {helper:?} for {host}, which is not run here", self.path);
        }
        let mut key = location;
        loop {
            if let Some((key, entry)) = self.entries.get_key_value(key) {
                return Some((key, entry));
            }
            match key.rsplit_once('/') {
                Some((shorter, _)) => key = shorter,
                None => break,
            }
        }
        let host = canonical(host);
        self.entries.iter().find(|(key, _)| host_of(key) == host).map(|(key, entry)| (key.as_str(), entry))
    }
}

impl Entry {
    /// `None`: docker leaves entries without credentials behind when a helper has them.
    fn decode(&self) -> Result<Option<Credentials>> {
        // Go's decoder skips line breaks, and tools wrap long lines.
        let auth = self.auth.reveal().replace(['\r', '\n'], "");
        let bytes = base64::decode(&auth).context("decoding auth")?;
        let text = String::from_utf8(bytes).ok().context("decoding auth: it is not UTF-8")?;
        let (username, password) = text.split_once(':').unwrap_or_default();
        let password = password.trim_matches('\0');
        if (username.is_empty() || password.is_empty()) && self.identity_token.is_none() {
            return Ok(None);
        }
        Ok(Some(Credentials {
            username: username.to_owned(),
            password: Secret::new(password),
            identity_token: self.identity_token.clone(),
        }))
    }
}

/// The host that a key is for: `https://index.docker.io/v1/` is docker.io.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("http://").unwrap_or(key);
    let bare = bare.strip_prefix("https://").unwrap_or(bare);
    if bare.len() == key.len() { canonical(key) } else { canonical(bare.split('/').next().unwrap_or_default()) }
}

/// docker.io has three names.
fn canonical(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::fixtures::root;

    /// `name` becomes the password, so that a test sees which entry was used.
    fn file(entries: &[&str]) -> String {
        let list: Vec<_> = entries.iter().map(|key| format!("{key:?}: {{\"auth\": \"{}\"}}", encode(key))).collect();
        format!("{{\"auths\": {{{}}}}}", list.join(", "))
    }

    fn encode(password: &str) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let text = format!("user:{password}");
        let mut out = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            (0..=chunk.len()).for_each(|n| out.push(DIGITS[(bits >> (18 - 6 * n)) as usize & 63].into()));
        }
        out + &"=".repeat((3 - text.len() % 3) % 3)
    }

    #[test]
    fn the_longest_match_wins() {
        let kubelet =
            file(&["quay.io", "quay.io/os", "quay.io/os/node", "https://index.docker.io/v1/", "a.example:5000"]);
        let etc = file(&["quay.io/os/node/deep", "etc.example", "http://old.example/v2/", "quay.io/other"]);
        let (_dir, files) = root(&[("/var/lib/kubelet/config.json", &kubelet), ("/etc/ostree/auth.json", &etc)]);
        for (label, location, expected) in [
            ("repository", "quay.io/os/node", Some("quay.io/os/node")),
            ("namespace", "quay.io/os/other", Some("quay.io/os")),
            ("registry", "quay.io/x", Some("quay.io")),
            ("only whole parts", "quay.io/osx", Some("quay.io")),
            ("host alone", "quay.io", Some("quay.io")),
            ("the first file wins, even with a shorter match", "quay.io/os/node/deep", Some("quay.io/os/node")),
            ("second file", "etc.example/x", Some("etc.example")),
            ("docker.io", "docker.io/library/x", Some("https://index.docker.io/v1/")),
            ("docker.io by its host", "registry-1.docker.io/library/x", Some("https://index.docker.io/v1/")),
            ("old URL", "old.example/x", Some("http://old.example/v2/")),
            ("port", "a.example:5000/x", Some("a.example:5000")),
            ("other port", "a.example/x", None),
            ("other host", "quay.io.evil.example/x", None),
        ] {
            let found = find(files.as_ref(), location).unwrap();
            assert_eq!(found.as_ref().map(|found| found.password.reveal()), expected, "{label}");
            assert!(found.is_none_or(|found| found.username == "user" && found.identity_token.is_none()), "{label}");
        }
    }

    #[test]
    fn entries_of_every_kind() {
        let text = r#"{"auths": {"empty": {}, "null": null, "token": {"auth": "dTo=", "identitytoken": "hush"},
            "nul": {"auth": "dTpw\nAAA="}, "nocolon": {"auth": "dXNlcg=="}, "colons": {"auth": "dTphOmI="},
            "bad": {"auth": "hush!"}, "bytes": {"auth": "/////w=="}, "more": {"auth": "dTpw", "email": 1}},
            "credHelpers": {"empty": "ecr-login"}, "credsStore": "x"}"#;
        let (_dir, files) = root(&[("/usr/lib/ostree/auth.json", text)]);
        for (label, expected) in [
            ("empty", Ok(None)),
            ("null", Ok(None)),
            ("token", Ok(Some(("u", "", Some("hush"))))),
            ("nul", Ok(Some(("u", "p", None)))),
            ("nocolon", Ok(None)),
            ("colons", Ok(Some(("u", "a:b", None)))),
            ("more", Ok(Some(("u", "p", None)))),
            (
                "bad",
                Err("reading the entry \"bad\" of /usr/lib/ostree/auth.json: decoding auth: base64 of 5 characters"),
            ),
            ("bytes", Err("decoding auth: it is not UTF-8")),
        ] {
            match (find(files.as_ref(), label), expected) {
                (Ok(found), Ok(expected)) => {
                    let token =
                        |found: &Credentials| found.identity_token.as_ref().map(|token| token.reveal().to_owned());
                    let got = found.as_ref().map(|f| (f.username.as_str(), f.password.reveal(), token(f)));
                    assert_eq!(got, expected.map(|(u, p, t)| (u, p, t.map(str::to_owned))), "{label}");
                    assert!(found.is_none_or(|found| format!("{found:?}") == "<credentials>"), "{label}");
                }
                (Err(error), Err(text)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains(text) && !error.contains("hush"), "{label}: {error}");
                }
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_broken_file_counts_only_on_the_way() {
        for (label, kubelet, etc, expected) in [
            ("not reached", file(&["a"]), "{".to_owned(), Ok(Some("a"))),
            ("no entry before it", file(&["b"]), "{".to_owned(), Err("reading /etc/ostree/auth.json: ")),
            ("before it", "{".to_owned(), file(&["a"]), Err("reading /var/lib/kubelet/config.json: ")),
            (
                "an entry before it",
                file(&["a"]).replace("auth\": \"", "auth\": \"!"),
                file(&["a"]),
                Err("reading the entry \"a\" of /var/lib/kubelet/config.json: decoding auth: "),
            ),
            (
                "an entry of another place",
                file(&["b"]).replace("auth\": \"", "auth\": \"!"),
                file(&["a"]),
                Ok(Some("a")),
            ),
            ("an entry without credentials", r#"{"auths": {"a": {}}}"#.to_owned(), file(&["a"]), Ok(Some("a"))),
        ] {
            let (_dir, files) = root(&[("/var/lib/kubelet/config.json", &kubelet), ("/etc/ostree/auth.json", &etc)]);
            match (find(files.as_ref(), "a"), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got.as_ref().map(|got| got.password.reveal()), wanted, "{label}"),
                (Err(error), Err(text)) => assert!(format!("{error:#}").starts_with(text), "{label}: {error:#}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        for (label, text, expected) in [
            ("not JSON", "{\"auths\": hush}", "reading /etc/ostree/auth.json: line 1, column 11: it is not JSON"),
            ("type", r#"{"auths": {"a": "hush"}}"#, "expected auths to be a map"),
            ("number", r#"{"auths": {"a": {"auth": 12345}}}"#, "expected auth to be a string"),
            ("twice", r#"{"auths": {"a": {}, "a": {}}}"#, "has the field \"a\" twice"),
        ] {
            let (_dir, files) = root(&[("/etc/ostree/auth.json", text)]);
            let error = format!("{:#}", find(files.as_ref(), "a").err().unwrap());
            assert!(error.contains(expected) && !error.contains("hush"), "{label}: {error}");
        }
    }
}
