// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the name that was signed is that of the image: `signedIdentity` of a policy.
//!
//! The image is the one that was asked for, by digest, never the mirror that it comes from. Whether the signed digest is
//! the image's is another question, which a policy cannot switch off.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use contract::names::ImageReference;
use serde_json::Value;

use crate::json::Fields;
use crate::reference::{Reference, is_prefix};

/// Which signed names are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The pullspec itself.
    MatchExact,
    /// For a pullspec by digest: a name of the same repository, with any tag or digest.
    MatchRepoDigestOrExact,
    /// A name of the same repository, with or without tag or digest.
    MatchRepository,
    /// This name.
    ExactReference(Reference),
    /// A name of this repository.
    ExactRepository(Reference),
    /// As `MatchRepoDigestOrExact`, after the prefix of the image's name is replaced: it was signed under another name.
    RemapIdentity {
        /// A registry, or a registry and a part of a repository.
        prefix: String,
        /// What stands in its place in the signed name.
        signed_prefix: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MatchExact => f.write_str("matchExact"),
            Self::MatchRepoDigestOrExact => f.write_str("matchRepoDigestOrExact"),
            Self::MatchRepository => f.write_str("matchRepository"),
            Self::ExactReference(reference) => write!(f, "exactReference {reference}"),
            Self::ExactRepository(reference) => write!(f, "exactRepository {reference}"),
            Self::RemapIdentity { prefix, signed_prefix } => write!(f, "remapIdentity {prefix} to {signed_prefix}"),
        }
    }
}

impl Identity {
    /// Parses `signedIdentity`. Without one, `matchRepoDigestOrExact` holds.
    pub(crate) fn parse(value: Option<&Value>) -> Result<Self> {
        let Some(value) = value else { return Ok(Self::MatchRepoDigestOrExact) };
        let kind = value.get("type").and_then(Value::as_str).context("signedIdentity has no type")?;
        let fields = |more: &[&str]| Fields::of(value, "signedIdentity", &[&["type"], more].concat());
        let plain = |identity| fields(&[]).map(|_| identity);
        match kind {
            "matchExact" => plain(Self::MatchExact),
            "matchRepoDigestOrExact" => plain(Self::MatchRepoDigestOrExact),
            "matchRepository" => plain(Self::MatchRepository),
            "exactReference" => {
                let reference = Reference::parse(fields(&["dockerReference"])?.need_text("dockerReference")?)?;
                ensure!(!reference.is_name_only(), "dockerReference {reference} has neither tag nor digest");
                Ok(Self::ExactReference(reference))
            }
            "exactRepository" => {
                let text = fields(&["dockerRepository"])?.need_text("dockerRepository")?;
                Ok(Self::ExactRepository(Reference::parse(text)?))
            }
            "remapIdentity" => {
                let fields = fields(&["prefix", "signedPrefix"])?;
                let [prefix, signed_prefix] = [fields.need_text("prefix")?, fields.need_text("signedPrefix")?];
                for text in [prefix, signed_prefix] {
                    ensure!(is_prefix(text), "prefix {text:?} of signedIdentity is not one of names");
                }
                Ok(Self::RemapIdentity { prefix: prefix.to_owned(), signed_prefix: signed_prefix.to_owned() })
            }
            other => bail!("signedIdentity has the unknown type {other:?}"),
        }
    }

    /// Fails unless `signed`, the name in a signature, is one for `image`.
    pub(crate) fn check(&self, image: &ImageReference, signed: &str) -> Result<()> {
        let signed = Reference::parse(signed).context("the signed name is not one of an image")?;
        let image = Reference::parse(image.as_str())?;
        let (matches, wanted) = match self {
            Self::MatchExact => (signed == image, image.to_string()),
            Self::MatchRepoDigestOrExact => repository_of(&image, &signed),
            Self::MatchRepository => (signed.name() == image.name(), image.name().to_owned()),
            Self::ExactReference(reference) => (signed == *reference, reference.to_string()),
            Self::ExactRepository(reference) => (signed.name() == reference.name(), reference.name().to_owned()),
            Self::RemapIdentity { prefix, signed_prefix } => {
                repository_of(&remap(&image, prefix, signed_prefix)?, &signed)
            }
        };
        ensure!(matches, "it was signed as {signed}, not as {wanted}");
        Ok(())
    }
}

/// Returns whether a signed name with tag or digest is of the image's repository, and what it should be.
fn repository_of(image: &Reference, signed: &Reference) -> (bool, String) {
    let matches = signed.name() == image.name() && !signed.is_name_only();
    (matches, format!("{} with a tag or digest", image.name()))
}

/// Returns the name under which an image was signed. A prefix ends where a part of the name ends.
fn remap(image: &Reference, prefix: &str, signed_prefix: &str) -> Result<Reference> {
    let Some(rest) = image.name().strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return Ok(image.clone());
    };
    let text = image.to_string();
    let tail = text.get(image.name().len()..).unwrap_or_default();
    let text = format!("{signed_prefix}{rest}{tail}");
    let remapped = Reference::parse(&text)?;
    // A short name would become one of Docker Hub, which nobody has written.
    ensure!(remapped.to_string() == text, "{image} remapped to {text} is not a whole name");
    Ok(remapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn names_of_docker_hub_are_the_same_in_every_form() {
        let image = ImageReference::parse(&format!("docker.io/node@{A}")).unwrap();
        for (signed, expected) in [
            ("node:v1", None),
            ("library/node:v1", None),
            ("docker.io/library/node:v1", None),
            ("index.docker.io/library/node:v1", None),
            (
                "docker.io/os/node:v1",
                Some("it was signed as docker.io/os/node:v1, not as docker.io/library/node with a tag or digest"),
            ),
            (
                "node",
                Some("it was signed as docker.io/library/node, not as docker.io/library/node with a tag or digest"),
            ),
            ("Node:v1", Some("the signed name is not one of an image: \"Node:v1\" has a bad repository")),
        ] {
            let error = Identity::MatchRepoDigestOrExact.check(&image, signed).err().map(|error| format!("{error:#}"));
            assert_eq!(error.as_deref(), expected, "{signed}");
        }
    }
}
