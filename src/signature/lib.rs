// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Image signatures: what the machine's policy asks of an image ([`policy`]), and whether signatures that are attached to it
//! meet that. The rules are those of containers/image, as podman, skopeo and the MCO use it.
//!
//! [`decide`] needs nothing of the image but its name, so that a refusal costs no download. [`verify`] takes the signatures
//! as they were found. This crate opens no connection, and reads no file but through [`contract::files::Files`]. It is the
//! only user of libcrypto.
//!
//! Tested by `src/signature/tests/verify/`, beside the tests of each room.

mod chain;
mod der;
mod fulcio;
pub mod identity;
mod json;
mod keys;
mod material;
pub mod payload;
mod pem;
mod pki;
pub mod policy;
pub mod reference;
pub mod rekor;
mod sigstore;

use std::fmt::Write as _;

use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;

pub use crate::policy::{Policy, Requirement};
pub use crate::sigstore::Sigstore;

/// Most signatures of an image. Each may have to be verified with each key; an image of a release has one.
pub const MAX_SIGNATURES: usize = 32;
/// Longest reason for one signature, and for all of them, in bytes: they quote what anybody may have written.
pub(crate) const MAX_REASON: usize = 240;
const MAX_REASONS: usize = 1000;

/// Whether an image may be used, as far as its name tells.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It may.
    Accepted,
    /// It may not, whatever signatures it has: why.
    Refused(String),
    /// It may if its signatures meet all of these.
    NeedsSignatures(Vec<Sigstore>),
}

/// A requirement that is met, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The requirement: `sigstoreSigned by keyData`, for instance.
    pub requirement: String,
    /// The fingerprint of the key: sha256 of its SubjectPublicKeyInfo in hex. `None` if a certificate has it.
    pub key: Option<String>,
    /// The signed name of the image.
    pub identity: String,
    /// The signed digest: the index's or that of the manifest that was chosen from it.
    pub digest: Digest,
    /// Where the signature was found.
    pub endpoint: String,
}

/// Decides by policy and name whether an image may be used.
pub fn decide(policy: Option<&Policy>, image: &ImageReference) -> Decision {
    let Some(policy) = policy else { return Decision::Accepted };
    let (requirements, scope) = policy.for_image(image);
    let refused =
        |why: String| Decision::Refused(format!("checking {image} against {}: its {scope} {why}", policy.path()));
    let mut needed = Vec::new();
    let mut names = Vec::new();
    let mut supported = true;
    for requirement in requirements {
        match requirement {
            Requirement::Accept => names.push(policy::ACCEPT),
            Requirement::Reject => return refused(format!("says {}: this image may not be used", policy::REJECT)),
            Requirement::Sigstore(sigstore) => {
                names.push(policy::SIGSTORE);
                needed.push(sigstore.as_ref().clone());
            }
            Requirement::Unsupported(name) => {
                names.push(name);
                supported = false;
            }
        }
    }
    if names.is_empty() {
        return refused("has no requirement".to_owned());
    }
    if !supported {
        let (names, able) = (names.join(" and "), format!("{} and {}", policy::ACCEPT, policy::SIGSTORE));
        let left = "the MCO, which checks such signatures, is left to pull it";
        return refused(format!("requires {names}, and slipstream can only do {able}; {left}"));
    }
    if let Some((name, why)) = needed.iter().find_map(|one| Some((one.name(), one.unusable()?))) {
        return refused(format!("requires {name}, which no signature can meet: {why}"));
    }
    if needed.is_empty() { Decision::Accepted } else { Decision::NeedsSignatures(needed) }
}

/// Verifies that signatures of an image meet all requirements, each by one signature.
///
/// `digests` are the verified digests of the image: that of the index, if there is one, and that of the manifest that was
/// chosen from it. A signature of either is one of the image, as for rpm-ostree.
///
/// # Errors
/// Fails with the first requirement that is not met, and why each signature does not meet it.
pub fn verify(
    needed: &[Sigstore],
    image: &ImageReference,
    digests: &[Digest],
    signatures: &[AttachedSignature],
) -> Result<Vec<Met>, String> {
    if needed.is_empty() {
        return Err(format!("{image} has no requirement that signatures could meet"));
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(format!("{image} has {} signatures, more than {MAX_SIGNATURES}", signatures.len()));
    }
    needed.iter().map(|requirement| meet(requirement, image, digests, signatures)).collect()
}

fn meet(
    requirement: &Sigstore,
    image: &ImageReference,
    digests: &[Digest],
    signatures: &[AttachedSignature],
) -> Result<Met, String> {
    let name = requirement.name();
    if signatures.is_empty() {
        return Err(format!("{image} has no signature, and its policy requires {name}"));
    }
    let mut reasons = format!("{image} has no signature that meets {name}:");
    for (n, signature) in signatures.iter().enumerate() {
        match requirement.check(image, digests, signature) {
            Ok(met) => return Ok(met),
            Err(error) => {
                let why = shorten(&format!("{error:#}"), MAX_REASON);
                let mark = if n == 0 { "" } else { ";" };
                write!(reasons, "{mark} signature {}: {why}", n + 1).expect("writing to a string");
            }
        }
    }
    Err(shorten(&reasons, MAX_REASONS))
}

/// Makes a text one for a line of the log: without control characters, and not longer than this.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let text = text.replace(char::is_control, "?");
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shortened_between_characters() {
        for (text, expected) in [("abc", "abc"), ("abcd", "abc…"), ("abé", "ab…"), ("é\n", "é?"), ("", "")] {
            assert_eq!(shorten(text, 3), expected, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_not_verified() {
        let image = ImageReference::parse(&format!("quay.io/os/node@{}", Digest::of(b""))).unwrap();
        let error = verify(&[], &image, &[image.digest()], &[]).unwrap_err();
        assert_eq!(error, format!("{image} has no requirement that signatures could meet"));
    }
}
