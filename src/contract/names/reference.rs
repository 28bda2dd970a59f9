// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The name of a node image: `registry/repo@sha256:…`.

use std::fmt;

use anyhow::{Result, bail, ensure};

use crate::names::Digest;

/// Longest name, in bytes. Registries stop at 255; each part has to fit in a file name when it is escaped.
const MAX_NAME: usize = 255;

/// Docker Hub's name, the older one that means the same, and where it has images that are named without a path.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_BEFORE: &str = "index.docker.io";
const DOCKER_OFFICIAL: &str = "library";

/// A pullspec by digest. Its text is what the origin file carries and what the MCO compares, so it is kept as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    text: String,
    digest: Digest,
}

impl ImageReference {
    /// Parse a pullspec. Tags are refused: a tag names something else tomorrow, and nothing could be verified.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, digest)) = text.split_once('@') else {
            bail!("image {text:?} is not given by digest: write registry/repo@sha256:…");
        };
        ensure!(name.len() <= MAX_NAME, "image name of {} bytes is over the limit of {MAX_NAME}", name.len());
        let digest = Digest::parse(digest)?;
        ensure!(!name.contains("://"), "image {text:?} has a transport: write registry/repo@sha256:…");
        let Some((registry, repository)) = name.split_once('/') else {
            bail!("image {text:?} has no registry: write registry/repo@sha256:…");
        };
        let registry_ok =
            !registry.is_empty() && registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b));
        ensure!(registry_ok, "image {text:?} has a bad registry {registry:?}");
        ensure!(!repository.contains(':'), "image {text:?} has a tag as well as a digest: leave the tag out");
        let part_ok = |part: &str| {
            !part.bytes().all(|b| b == b'.')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        ensure!(repository.split('/').all(part_ok), "image {text:?} has a bad repository {repository:?}");
        Ok(Self { text: text.to_owned(), digest })
    }

    /// The digest of the manifest, or of the index that leads to it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// `registry/repo`.
    pub fn name(&self) -> &str {
        self.text.split_once('@').map_or(self.text.as_str(), |(name, _)| name)
    }

    /// Returns it as containers tools compare it and ask for it: of Docker Hub's images all have the same registry and a path
    /// (the Go package distribution/reference). What is compared with the origin or the MCO's words is the pullspec as given.
    pub fn canonical(&self) -> Self {
        let (registry, rest) = self.text.split_once('/').unwrap_or((&self.text, ""));
        let text = match registry {
            DOCKER_HUB | DOCKER_HUB_BEFORE if rest.contains('/') => format!("{DOCKER_HUB}/{rest}"),
            DOCKER_HUB | DOCKER_HUB_BEFORE => format!("{DOCKER_HUB}/{DOCKER_OFFICIAL}/{rest}"),
            _ => self.text.clone(),
        };
        Self { text, digest: self.digest }
    }

    /// The pullspec as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names() {
        for (name, expected) in [
            ("docker.io/x", "docker.io/library/x"),
            ("index.docker.io/x", "docker.io/library/x"),
            ("index.docker.io/a/x", "docker.io/a/x"),
            ("docker.io/library/x", "docker.io/library/x"),
            ("docker.io/a/b/x", "docker.io/a/b/x"),
            ("docker.io:443/x", "docker.io:443/x"),
            ("registry-1.docker.io/x", "registry-1.docker.io/x"),
            ("quay.io/x", "quay.io/x"),
            ("example.com/docker.io/x", "example.com/docker.io/x"),
        ] {
            let given = format!("{name}@sha256:{}", "b".repeat(64));
            let image = ImageReference::parse(&given).unwrap();
            let canonical = image.canonical();
            assert_eq!(canonical.name(), expected, "{name}");
            assert_eq!((canonical.digest(), canonical.canonical().name()), (image.digest(), expected), "{name}");
            assert_eq!((image.as_str(), image.name()), (given.as_str(), name), "as it was given");
            assert!(ImageReference::parse(canonical.as_str()).is_ok(), "{name}");
        }
    }

    #[test]
    fn parse_table() {
        let d = "b".repeat(64);
        for (label, input, expected) in [
            ("plain", format!("quay.io/a/b@sha256:{d}"), Ok(())),
            ("port", format!("localhost:5000/a@sha256:{d}"), Ok(())),
            ("tag", "quay.io/a/b:latest".to_owned(), Err("is not given by digest")),
            ("tag and digest", format!("quay.io/a/b:v1@sha256:{d}"), Err("has a tag as well as a digest")),
            ("no registry", format!("b@sha256:{d}"), Err("has no registry")),
            ("transport", format!("docker://quay.io/b@sha256:{d}"), Err("has a transport")),
            ("upper case", format!("quay.io/B@sha256:{d}"), Err("has a bad repository")),
            ("empty part", format!("quay.io/a//b@sha256:{d}"), Err("has a bad repository")),
            ("newline", format!("quay.io/a\nb@sha256:{d}"), Err("has a bad repository")),
            ("escape", format!("quay\u{1b}.io/b@sha256:{d}"), Err("has a bad registry")),
            ("dots", format!("quay.io/../b@sha256:{d}"), Err("has a bad repository")),
            ("long", format!("quay.io/{}@sha256:{d}", "b".repeat(255)), Err("over the limit of 255")),
            ("bad digest", "quay.io/b@sha256:12".to_owned(), Err("has 2 hex digits instead of 64")),
        ] {
            match (ImageReference::parse(&input), expected) {
                (Ok(parsed), Ok(())) => assert_eq!(parsed.as_str(), input, "{label}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{label}: {error}"),
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
