// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The name of an image as containers tools read it: `nginx` is `docker.io/library/nginx`.
//!
//! A [`contract::names::ImageReference`] is what slipstream is asked for, always by digest and kept as it was written. A
//! [`Reference`] is what somebody signed, with tag or digest or neither, in the form in which names are compared.

use std::fmt;

use anyhow::{Result, ensure};
use contract::names::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Namespace of Docker Hub's names without one.
const OFFICIAL: &str = "library";
/// Longest name without tag and digest, as distribution's grammar has it.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A normalized name, with what it was signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and normalizes a reference.
    pub fn parse(text: &str) -> Result<Self> {
        // What was signed is anybody's text: an error quotes it, but not all of a long one.
        let shown: String = text.chars().take(MAX_NAME).collect();
        // Without this, an image's ID would be the name of a repository.
        let is_id = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        ensure!(!is_id, "{shown:?} is the ID of an image");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder.as_str(), None),
        };
        ensure!(is_domain(domain) || is_component(domain), "{shown:?} has a bad registry");
        ensure!(path.split('/').all(is_component), "{shown:?} has a bad repository");
        ensure!(tag.is_none_or(is_tag), "{shown:?} has a bad tag");
        let name = format!("{domain}/{path}");
        ensure!(name.len() <= MAX_NAME, "{shown:?} has a name over the limit of {MAX_NAME}");
        Ok(Self { name, tag: tag.map(str::to_owned), digest })
    }

    /// Returns `registry/repository`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it has neither tag nor digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Returns whether `text` is where names begin: a registry, or a registry and a part of a repository.
pub(crate) fn is_prefix(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, path)) => is_domain(domain) && path.split('/').all(is_component),
        None => is_domain(text),
    }
}

/// Returns the registry and the rest. The first part of a name is a registry if it looks like a host.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, rest) = match text.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        (domain, format!("{OFFICIAL}/{rest}"))
    } else {
        (domain, rest.to_owned())
    }
}

/// Returns whether `text` is a host with or without a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether `text` is a part of a repository: words of lower case and digits, and between them a dot, one or two
/// underscores, or dashes.
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let between = |run: &[u8]| matches!(run, [] | [b'.'] | [b'_'] | [b'_', b'_']) || run.iter().all(|b| *b == b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| is_word(*b))
        && bytes.last().is_some_and(|b| is_word(*b))
        && bytes.split(|b| is_word(*b)).all(between)
}

fn is_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !text.is_empty()
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalized() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let long = "b".repeat(MAX_NAME - "quay.io/".len());
        for (label, text, expected) in [
            ("plain", "quay.io/os/node".to_owned(), "quay.io/os/node".to_owned()),
            ("tag", "quay.io/os/node:v1.2_3-4".to_owned(), "quay.io/os/node:v1.2_3-4".to_owned()),
            ("digest", format!("quay.io/os/node@{digest}"), format!("quay.io/os/node@{digest}")),
            ("both", format!("quay.io/os/node:v1@{digest}"), format!("quay.io/os/node:v1@{digest}")),
            ("short", "node".to_owned(), "docker.io/library/node".to_owned()),
            ("short with tag", "node:v1".to_owned(), "docker.io/library/node:v1".to_owned()),
            ("short with digest", format!("node@{digest}"), format!("docker.io/library/node@{digest}")),
            ("namespace", "os/node".to_owned(), "docker.io/os/node".to_owned()),
            ("Docker Hub", "docker.io/node".to_owned(), "docker.io/library/node".to_owned()),
            ("legacy", "index.docker.io/node".to_owned(), "docker.io/library/node".to_owned()),
            ("legacy namespace", "index.docker.io/os/node".to_owned(), "docker.io/os/node".to_owned()),
            ("localhost", "localhost/node".to_owned(), "localhost/node".to_owned()),
            ("port", "localhost:5000/node:v1".to_owned(), "localhost:5000/node:v1".to_owned()),
            ("port without dot", "host:5000/node".to_owned(), "host:5000/node".to_owned()),
            ("host in upper case", "Quay.IO/node".to_owned(), "Quay.IO/node".to_owned()),
            ("separators", "quay.io/a.b/c_d/e__f/g---h".to_owned(), "quay.io/a.b/c_d/e__f/g---h".to_owned()),
            ("host with underscore", "a_b.c/node".to_owned(), "a_b.c/node".to_owned()),
            ("longest", format!("quay.io/{long}"), format!("quay.io/{long}")),
        ] {
            assert_eq!(Reference::parse(&text).unwrap().to_string(), expected, "{label}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for (label, text, expected) in [
            ("empty", String::new(), "\"\" has a bad repository"),
            ("ID", "a".repeat(64), "is the ID of an image"),
            ("upper case", "quay.io/OS/node".to_owned(), "\"quay.io/OS/node\" has a bad repository"),
            ("upper case first", "OS/node".to_owned(), "has a bad repository"),
            ("empty part", "quay.io//node".to_owned(), "has a bad repository"),
            ("dots", "quay.io/../node".to_owned(), "has a bad repository"),
            ("three underscores", "quay.io/a___b".to_owned(), "has a bad repository"),
            ("mixed separators", "quay.io/a._b".to_owned(), "has a bad repository"),
            ("dash at the end", "quay.io/a-".to_owned(), "has a bad repository"),
            ("no repository", "quay.io/".to_owned(), "has a bad repository"),
            ("bad host", "-a.b/node".to_owned(), "has a bad registry"),
            ("no port", "host:/node".to_owned(), "has a bad registry"),
            ("IPv6", "[::1]:5000/node".to_owned(), "has a bad registry"),
            ("empty tag", "quay.io/node:".to_owned(), "has a bad tag"),
            ("bad tag", "quay.io/node:-v1".to_owned(), "has a bad tag"),
            ("long tag", format!("quay.io/node:{}", "v".repeat(129)), "has a bad tag"),
            ("two tags", "quay.io/node:v1:v2".to_owned(), "has a bad tag"),
            ("short digest", "quay.io/node@sha256:12".to_owned(), "has 2 hex digits instead of 64"),
            ("other digest", format!("quay.io/node@sha512:{}", "a".repeat(128)), "is not sha256:…"),
            ("transport", "docker://quay.io/node".to_owned(), "has a bad registry"),
            ("newline", "quay.io/node\n".to_owned(), "\"quay.io/node\\n\" has a bad repository"),
            ("long", format!("quay.io/{}", "b".repeat(MAX_NAME)), "has a name over the limit of 255"),
        ] {
            let error = Reference::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{label}: {error}");
        }
    }

    #[test]
    fn prefixes_begin_with_a_registry() {
        for (text, expected) in [
            ("quay.io", true),
            ("quay.io:5000", true),
            ("quay.io/os", true),
            ("host", true),
            ("host/os", true),
            ("", false),
            ("quay.io/", false),
            ("quay.io/os:v1", false),
            ("quay.io/OS", false),
            ("a_b/c", false),
        ] {
            assert_eq!(is_prefix(text), expected, "{text}");
        }
    }
}
