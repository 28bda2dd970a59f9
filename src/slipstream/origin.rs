// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The origin of a deployment: which image it is of.
//!
//! Tested by `src/slipstream/tests/boot/agreement.rs`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use contract::names::ImageReference;
use contract::places::{DeploymentPath, PhysicalRoot};

/// What rpm-ostree and the MCO write before the pullspec: from a registry, by the policy of containers-policy.json(5).
const ORIGIN_SCHEME: &str = "ostree-unverified-registry:";
/// The group of the file, and the key in it.
const GROUP: &str = "[origin]";
const KEY: &str = "container-image-reference";

/// Returns the text that a deployment of `image` has as its origin.
pub fn origin(image: &ImageReference) -> String {
    format!("{ORIGIN_SCHEME}{image}")
}

/// Returns the origin of a deployment, read from its file without libostree; `None` if it has none,
/// or is of no image.
pub fn origin_of(root: &PhysicalRoot, deployment: &DeploymentPath) -> Result<Option<String>> {
    let path = root.path().join(deployment.origin());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    Ok(image_of(&text).map(str::to_owned))
}

/// Returns the image of an origin: GLib's key files have white space around the `=`, and of two equal keys the last counts.
fn image_of(text: &str) -> Option<&str> {
    let mut in_group = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_group = line == GROUP;
        } else if let Some((key, value)) = line.split_once('=')
            && in_group
            && key.trim_end() == KEY
        {
            found = Some(value.trim_start());
        }
    }
    found
}

/// Returns whether an origin names `image`. Scheme and transport do not matter, as for the MCO.
pub fn is_of_image(origin: &str, image: &ImageReference) -> bool {
    origin.strip_suffix(image.as_str()).is_some_and(|scheme| scheme.ends_with(':') || scheme.ends_with("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_with_every_scheme() {
        let text = format!("quay.io/os/node@sha256:{}", "a".repeat(64));
        let image = ImageReference::parse(&text).unwrap();
        for (scheme, expected) in [
            ("ostree-unverified-registry:", true),
            ("ostree-image-signed:docker://", true),
            ("ostree-remote-image:fedora:docker://", true),
            ("ostree-unverified-image:registry:", true),
            ("", false),
            ("ostree-unverified-registry:mirror.example/", false),
        ] {
            assert_eq!(is_of_image(&format!("{scheme}{text}"), &image), expected, "{scheme}");
        }
        assert_eq!(origin(&image), format!("ostree-unverified-registry:{text}"));
    }

    #[test]
    fn reads_key_files_as_glib_does() {
        for (text, expected) in [
            ("[origin]\ncontainer-image-reference=docker:x\n", Some("docker:x")),
            ("[origin]\n container-image-reference = docker:x \n", Some("docker:x")),
            ("[origin]\ncontainer-image-reference=a\ncontainer-image-reference=b\n", Some("b")),
            ("# container-image-reference=a\n[other]\ncontainer-image-reference=b\n[origin]\nrefspec=c\n", None),
            ("container-image-reference=a\n", None),
        ] {
            assert_eq!(image_of(text), expected, "{text}");
        }
    }
}
